"""Tokens/s of greedy generation, one stream, beside `transformers.generate` on the same random weights.

The weights go through our own model folder: `transformers` opens what we wrote.
"""

import time
from pathlib import Path
from pydoc_data.topics import topics
from tempfile import TemporaryDirectory

import torch
from side_by_side import compare
from transformers import AutoModelForCausalLM

from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.checkpoint.folder import save_model
from hanlin.generate.language_model import load
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.tokenizer.bpe import save_trained, train_bpe
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.tokenizer import Tokenizer

NEW_TOKENS = 96


def main() -> None:
    with TemporaryDirectory() as folder:
        place = Path(folder)
        save_trained(train_bpe(topics.values(), TokenizerConfig(vocab_size=2048)), place)
        for width, layers, heads in ((128, 4, 2), (576, 12, 9)):
            core = CoreConfig(vocab_size=2048, width=width, layers=layers, heads=heads, window=256)
            compare_one(core, place)


def compare_one(core: CoreConfig, place: Path) -> None:
    torch.manual_seed(0)
    tokenizer = Tokenizer.load(place)
    save_model(place / "model", Decoder(core), tokenizer, GenerationDefaults(), {}, {})
    ours = load(place / "model", "cpu")
    peer = AutoModelForCausalLM.from_pretrained(place / "model", dtype=torch.float32).eval()
    prompt = "The with statement is used to wrap the execution of a block"
    ids = torch.tensor([tokenizer.encode_prompt(prompt)])

    def generate() -> float:
        start = time.perf_counter()
        made = ours.generate(prompt, temperature=0.0, max_new_tokens=NEW_TOKENS).new_tokens
        return made / (time.perf_counter() - start)

    def generate_peer() -> float:
        start = time.perf_counter()
        with torch.inference_mode():
            out = peer.generate(ids, do_sample=False, max_new_tokens=NEW_TOKENS, pad_token_id=1)
        return (out.shape[1] - ids.shape[1]) / (time.perf_counter() - start)

    compare(
        f"greedy generation, width {core.width}, {core.layers} layers, one stream, against transformers.generate",
        "tokens/s",
        generate,
        generate_peer,
    )


if __name__ == "__main__":
    main()
