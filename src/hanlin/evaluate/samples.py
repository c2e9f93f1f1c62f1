"""Continuations of a few beginnings, for people to read."""

from hanlin.base.progress import track
from hanlin.evaluate.config import EvaluateConfig
from hanlin.evaluate.results import Sample
from hanlin.generate.language_model import LanguageModel


def check_prompts(model: LanguageModel, config: EvaluateConfig) -> None:
    """Raise `RequestError` for a prompt that leaves no room in the model's window, before any long work."""
    for prompt in config.prompts:
        model.engine.check_prompt(model.tokenizer.encode_prompt(prompt))


def write_samples(model: LanguageModel, config: EvaluateConfig) -> tuple[Sample, ...]:
    """Continue each of `config.prompts`; the same model, configuration and prompt give the same text.

    Raises `RequestError` for a prompt that leaves no room in the model's window.
    """
    samples: list[Sample] = []
    for prompt in track(config.prompts, "samples", len(config.prompts)):
        completion = model.generate(
            prompt,
            max_new_tokens=config.max_new_tokens,
            temperature=config.temperature,
            seed=config.seed,
        )
        samples.append(
            Sample(prompt=prompt, continuation=completion.text, finish_reason=completion.finish_reason)
        )
    return tuple(samples)
