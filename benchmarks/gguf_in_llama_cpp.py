"""The same GGUF file in llama.cpp and here: greedy text of 20 prompts, 64 tokens each.

Writes the model that is given (a name or a .gguf file) as F32, F16, Q8_0 and Q4_0. llama.cpp continues each prompt;
our model reads its text back, and each token must be our first choice too: then our greedy text is the same. Prints
how many texts agree to the last token, how many tokens, and the widest gap in our logits where one does not (we
compute in float32, llama.cpp rounds activations to the format of the weights). Needs llama-cpp-python.

    python benchmarks/gguf_in_llama_cpp.py smollm2-135m-instruct
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import llama_cpp
import torch

from hanlin.base.files import write_text
from hanlin.base.records import Message
from hanlin.checkpoint.gguf.model import GgufModel, open_gguf
from hanlin.checkpoint.gguf.quants import Quantization
from hanlin.checkpoint.gguf.write import write_gguf
from hanlin.checkpoint.known import locate
from hanlin.checkpoint.recognize import FAMILIES
from hanlin.checkpoint.weights import fill_model
from hanlin.model.assemble import build_empty
from hanlin.model.decoder import Decoder
from hanlin.tokenizer.chat import ChatTemplate
from hanlin.tokenizer.tokenizer import Tokenizer

KINDS: tuple[Quantization, ...] = ("F32", "F16", "Q8_0", "Q4_0")
NEW_TOKENS = 64
PROMPTS = (
    "What is the capital of France?",
    "Name three colours.",
    "Write a haiku about the sea.",
    "Explain gravity to a child.",
    "What is 12 + 34?",
    "你好，请介绍一下你自己。",
    "Translate 'good morning' into French.",
    "List the planets of the solar system.",
    "Who wrote Hamlet?",
    "Give me a recipe for pancakes.",
    "What is a transformer in machine learning?",
    "Why is the sky blue?",
    "Write a short story about a dragon.",
    "How do I reverse a list in Python?",
    "中国的首都是哪里？",
    "What does DNA stand for?",
    "Tell me a joke.",
    "Summarise the plot of Romeo and Juliet.",
    "What year did the Titanic sink?",
    "How many legs does a spider have?",
)


def main() -> None:
    source = open_gguf(locate(sys.argv[1] if len(sys.argv) > 1 else "smollm2-135m-instruct"))
    with TemporaryDirectory() as folder:
        place = Path(folder)
        for name, text in source.tokenizer.texts.items():
            write_text(place / name, text)
        for kind in KINDS:
            write_gguf(place / f"{kind}.gguf", source.config, source.tensors, place, kind)
            compare(place / f"{kind}.gguf", kind)


def compare(path: Path, kind: str) -> None:
    opened = open_gguf(path)
    model, chat = open_model(path, opened), ChatTemplate(Tokenizer(opened.tokenizer))
    theirs = llama_cpp.Llama(str(path), n_ctx=512, n_threads=1, verbose=False)
    equal, agreeing, total, widest = 0, 0, 0, 0.0
    for prompt in PROMPTS:
        ids = chat.render([Message(role="user", content=prompt)], add_generation_prompt=True).ids
        new = continue_greedily(theirs, ids)
        with torch.no_grad():
            logits_NV = model(torch.tensor([ids + new]))[0, len(ids) - 1 : -1]
        gaps_N = logits_NV.max(dim=-1).values - logits_NV[range(len(new)), new]
        equal += bool((gaps_N == 0).all())
        agreeing, total = agreeing + int((gaps_N == 0).sum()), total + len(new)
        widest = max(widest, float(gaps_N.max()))
    print(
        f"{kind}: {equal} of {len(PROMPTS)} texts, {agreeing} of {total} tokens agree; widest gap {widest:.3f}",
        flush=True,
    )


def open_model(path: Path, opened: GgufModel) -> Decoder:
    family = FAMILIES[opened.config["model_type"]]
    model = build_empty(family.read(opened.config), torch.device("cpu"))
    assert isinstance(model, Decoder)
    fill_model(model, family, opened.tensors, str(path))
    return model.eval()


def continue_greedily(model: llama_cpp.Llama, ids: list[int]) -> list[int]:
    """The most probable tokens after `ids`, up to an end token and with it."""
    new: list[int] = []
    for id in model.generate(ids, temp=0.0, repeat_penalty=1.0):
        new.append(id)
        if len(new) == NEW_TOKENS or id == model.token_eos():
            break
    return new


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
