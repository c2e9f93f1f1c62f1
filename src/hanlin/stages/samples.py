"""Continuations written while a model trains, so that people can read how it comes on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hanlin.base.device import Compute
from hanlin.base.distributed import ranks
from hanlin.base.errors import ConfigError
from hanlin.base.language import Text
from hanlin.base.sinks import JsonlSink, Metrics, TensorBoardSink
from hanlin.generate.language_model import LanguageModel
from hanlin.generate.parameters import SamplingParameters
from hanlin.model.decoder import Decoder
from hanlin.tokenizer.tokenizer import Tokenizer
from hanlin.trainer.config import PretrainConfig
from hanlin.trainer.parallel import usable_alone
from hanlin.trainer.state import TrainState


class SampleSink:
    """Continues `pretrain.samples` at the first line of metrics after each `sample_every` steps.

    Writes `samples.jsonl`, and texts for TensorBoard. The seed is that of the run, and no random state of training is
    touched: a run with samples ends with the same bytes as one without. Raises `RequestError` for a prompt that leaves
    no room in the window, `ConfigError` where no process holds the whole model.
    """

    def __init__(
        self,
        state: TrainState,
        tokenizer: Tokenizer,
        config: PretrainConfig,
        compute: Compute,
        folder: Path,
        boards: Sequence[TensorBoardSink],
    ) -> None:
        assert isinstance(state.model, Decoder)
        if ranks() > 1 and config.distribution == "shard":
            raise ConfigError(
                Text("pretrain.samples needs the whole model in one process.", "pretrain.samples 需要单个进程持有整个模型。"),
                Text("Leave it out, or set pretrain.distribution=replicate.", "请去掉它，或设 pretrain.distribution=replicate。"),
            )  # fmt: skip
        self._prompts, self._every = config.samples, config.sample_every or config.evaluate_every
        self._parameters: dict[str, Any] = {"max_new_tokens": 64, "temperature": 0.7, "seed": config.seed}
        self._model, self._tokenizer, self._compute = state.model, tokenizer, compute
        self._learner = state.learner or state.model
        self._taken = state.step // self._every
        self._file = JsonlSink(folder / "samples.jsonl", state.step)
        self._boards = boards
        speaker = self._speaker()
        for prompt in self._prompts:
            speaker.engine.check_prompt(tokenizer.encode_prompt(prompt))
        self._model.train()

    def write(self, step: int, metrics: Metrics) -> None:
        """Write the samples of `step` if they are due."""
        if step // self._every == self._taken:
            return
        self._taken = step // self._every
        speaker = self._speaker()
        for prompt in self._prompts:
            with usable_alone(self._learner):
                text = speaker.generate(prompt, **self._parameters).text
            self._file.write(step, {"prompt": prompt, "continuation": text})
            for board in self._boards:
                board.write_text(step, f"sample {prompt}", text)
        self._model.train()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _speaker(self) -> LanguageModel:
        """The model as it is now, put in evaluation mode."""
        return LanguageModel("training", self._model, self._tokenizer, self._compute, SamplingParameters())
