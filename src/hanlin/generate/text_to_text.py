"""What `load_seq2seq` returns: an encoder-decoder that writes a text for a text, and says how likely a given one is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hanlin.base.device import Compute, DeviceName, choose_compute
from hanlin.base.errors import CheckpointError
from hanlin.base.language import Text
from hanlin.batches.written import target_ids
from hanlin.checkpoint.folder import find_model, open_model
from hanlin.generate.beam import BeamConfig
from hanlin.generate.completion import Completion, tokens_of
from hanlin.generate.decoder_beam import BeamText, beam_text
from hanlin.generate.generation import Generation
from hanlin.generate.parameters import SamplingParameters
from hanlin.generate.refusals import empty_prompt
from hanlin.generate.seq2seq import draw_targets, score_targets, write_targets
from hanlin.model.seq2seq import Seq2Seq
from hanlin.tokenizer.tokenizer import Tokenizer


class TextToText:
    """An encoder-decoder with its tokenizer and its default parameters.

    A source is given whole, with any words that the model was trained to find before it ("translate English to German: ").
    """

    def __init__(
        self, name: str, model: Seq2Seq, tokenizer: Tokenizer, compute: Compute, defaults: SamplingParameters
    ) -> None:
        self.name, self.model, self.tokenizer = name, model, tokenizer
        self.compute, self.defaults = compute, defaults

    def beam(self, source: str, *, max_new_tokens: int | None = None, **settings: Any) -> list[BeamText]:
        """The likeliest texts, best first. settings: fields of `BeamConfig`.

        Raises `RequestError` for wrong settings and a source that is empty or does not fit the model's window.
        """
        tokenizer = self.tokenizer
        config = BeamConfig.chosen(settings)
        changed = self.defaults.changed({} if max_new_tokens is None else {"max_new_tokens": max_new_tokens})
        (found,) = write_targets(
            self.model, [self._read(source)], self.compute, config,
            start_id=tokenizer.start_id, ends=tokenizer.stop_ids, max_new_tokens=changed.max_new_tokens,
            banned=range(tokenizer.vocab_size, self.model.config.vocab_size), tokenizer=tokenizer,
        )  # fmt: skip
        return [beam_text(tokenizer, one) for one in found]

    def generate(self, source: str, **parameters: Any) -> Completion:
        """A text, drawn token by token. parameters: fields of `SamplingParameters`; what is left open is as in `defaults`.

        Raises as `beam`.
        """
        return self.samples(source, 1, **parameters)[0]

    def samples(self, source: str, n: int, **parameters: Any) -> list[Completion]:
        """`n` texts, each drawn by itself; the k-th, from 0, has the seed `seed + k` if one was given. Raises as `beam`."""
        asked, ids = self.defaults.changed(parameters), self._read(source)
        (drawn,) = draw_targets(self.model, [ids], self.compute, self.tokenizer, asked, samples=n)
        return [self._completion(one, len(ids)) for one in drawn]

    def logprob(self, source: str, target: str) -> float:
        """log P(target | source), in nats: the sum over its tokens, the end included. Raises as `beam`."""
        (scores,) = score_targets(
            self.model, [self._read(source)], target_ids([target], self.tokenizer), self.compute,
            start_id=self.tokenizer.start_id,
        )  # fmt: skip
        return float(scores.log_p.sum())

    def _read(self, source: str) -> Sequence[int]:
        if not source.strip():
            raise empty_prompt()
        return self.tokenizer.encode_single(source).ids

    def _completion(self, drawn: Generation, prompt_tokens: int) -> Completion:
        assert drawn.finish_reason is not None
        told = drawn.parameters.log_probabilities is not None
        return Completion(
            drawn.text,
            drawn.finish_reason,
            prompt_tokens,
            drawn.new_tokens,
            drawn.seed,
            tokens=tokens_of(self.tokenizer, drawn.chosen) if told else (),
            model=self.name,
        )


def load_seq2seq(folder: Path | str, device: DeviceName = "auto") -> TextToText:
    """Open the folder of an encoder-decoder such as T5, BART or Marian. Raises `CheckpointError` for what is none."""
    path = find_model(Path(folder))
    compute = choose_compute(device)
    model, tokenizer, advised = open_model(path, compute)
    if not isinstance(model, Seq2Seq):
        raise CheckpointError(
            Text(f"{folder} holds no encoder-decoder.", f"{folder} 中不是编码器-解码器模型。"),
            Text("Open it with hanlin.load or hanlin.load_encoder.", "请用 hanlin.load 或 hanlin.load_encoder 打开。"),
        )  # fmt: skip
    defaults = SamplingParameters().changed(advised.model_dump(exclude_none=True))
    return TextToText(path.resolve().name, model, tokenizer, compute, defaults)
