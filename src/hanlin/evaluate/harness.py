"""The bridge to lm-evaluation-harness: its tasks through Hanlin's engine and scoring.

Contexts and continuations become tokens as in the harness' own `hf` model, so that the figures are those of `hf` on the
same weights. Source: github.com/EleutherAI/lm-evaluation-harness, `api/model.py`, `models/huggingface.py`, version 0.4.13.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hanlin.base.errors import MissingExtra, RequestError
from hanlin.base.language import Text
from hanlin.base.records import Message
from hanlin.generate.language_model import LanguageModel
from hanlin.generate.scoring import token_scores

try:
    from lm_eval import utils
    from lm_eval.api.model import TemplateLM
    from lm_eval.models.utils import normalize_gen_kwargs
except ImportError as error:
    raise MissingExtra(
        Text("Tasks of lm-evaluation-harness", "lm-evaluation-harness 的任务"), "harness"
    ) from error

Scored = tuple[Any, list[int], list[int]]
"""What was asked, the ids of the context, and those of the continuation."""


class HanlinLM(TemplateLM):  # type: ignore[misc]
    """A model of Hanlin as the harness wants one: `lm_eval.simple_evaluate(model=HanlinLM(hanlin.load(folder)))`."""

    max_gen_toks = 256
    """Tokens to generate where a task does not say, as in `hf`."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.model, self.tokenizer = model, model.tokenizer
        names = sorted(map(self.tokenizer.special_text, self.tokenizer.special_ids), key=len, reverse=True)
        self._specials = re.compile("|".join(map(re.escape, names)) or r"(?!)")

    @property
    def eot_token_id(self) -> int:
        """The token that ends a document."""
        return self.tokenizer.eos_id

    @property
    def prefix_token_id(self) -> int:
        """What an empty context is: the begin token, or the end token where there is none."""
        return self.tokenizer.eos_id if self.tokenizer.bos_id is None else self.tokenizer.bos_id

    @property
    def max_length(self) -> int:
        """The longest input."""
        return self.model.window

    @property
    def tokenizer_name(self) -> str:
        """A name for the harness' cache of requests."""
        return self.tokenizer.fingerprint

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        """The ids of a text in which names of special tokens stand for them; the begin token first, where there is one.

        Unlike in the rest of Hanlin: the harness hands conversations over as text.
        """
        ids, start = list[int](), 0
        for found in [*self._specials.finditer(string), None]:
            text = string[start : None if found is None else found.start()]
            if text:
                ids += self.tokenizer.encode_inside(text, start > 0) if start else self.tokenizer.encode(text)
            if found is not None:
                id, start = self.tokenizer.token_id(found.group()), found.end()
                assert id is not None
                ids.append(id)
        begins = self.tokenizer.begins_with_bos and add_special_tokens is not False
        if not begins or (add_special_tokens is None and ids[:1] == [self.prefix_token_id]):
            return ids
        return [self.prefix_token_id, *ids]

    def _loglikelihood_tokens(
        self, requests: Sequence[Scored], disable_tqdm: bool = False, **kwargs: Any
    ) -> list[tuple[float, bool]]:
        """log P(continuation | context) in nats, and whether greedy decoding would write it; cut on the left."""
        texts, firsts = [], []
        for _, context, continuation in requests:
            if len(continuation) > self.max_length:
                raise _too_long(len(continuation), self.max_length)
            ids = [*context, *continuation][-(self.max_length + 1) :]
            texts.append(ids)
            firsts.append(len(ids) - len(continuation))
        title = "" if disable_tqdm else str(Text("score", "计算概率"))
        scores = token_scores(self.model.decoder, texts, self.model.compute, firsts, title)
        return [(float(one.log_p.sum()), bool(one.likeliest.all())) for one in scores]

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """log P(text) in nats, in windows as the harness cuts them: each token once, the last window full."""
        windows = [self._windows(request.args[0]) for request in requests]
        flat = [window for one in windows for window in one]
        scores = iter(self._loglikelihood_tokens(flat, disable_tqdm))
        return [sum(next(scores)[0] for _ in one) for one in windows]

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """A continuation of each context up to one of its stop texts; contexts are cut on the left."""
        engine, running = self.model.engine, []
        for request in requests:
            context, asked = request.args
            wanted = normalize_gen_kwargs(asked, self.max_gen_toks)
            most, sampled = wanted.pop("max_gen_toks"), wanted.pop("do_sample")
            stops = [text for text in wanted.pop("until") if text]
            temperature = wanted.pop("temperature", 1.0)
            if most >= self.max_length:
                raise _too_long(most, self.max_length)
            given = {"max_new_tokens": most, "stop": stops, "temperature": temperature if sampled else 0.0}
            parameters = self.model.defaults.changed({**wanted, **given})
            ids = self.tok_encode(context)[-(self.max_length - most) :] or [self.prefix_token_id]
            running.append(engine.submit(ids, parameters))
        while engine.busy:
            engine.step()
        return [generation.text for generation in running]

    def apply_chat_template(
        self, chat_history: Sequence[Mapping[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """A conversation as text; without `add_generation_prompt` its last message stays open, to be continued."""
        messages = [Message.model_validate(message) for message in chat_history]
        given = messages if add_generation_prompt else messages[:-1]
        ids = self.model.chat_template.render(given, add_generation_prompt=True).ids
        text = self.tokenizer.decode(ids, skip_special=False)
        return text if add_generation_prompt else text + messages[-1].content

    def _windows(self, text: str) -> list[Scored]:
        cut = utils.get_rolling_token_windows(
            token_list=self.tok_encode(text),
            prefix_token=self.prefix_token_id,
            max_seq_len=self.max_length,
            context_len=1,
        )
        return [(None, *utils.make_disjoint_window(window)) for window in cut]


def _too_long(length: int, window: int) -> RequestError:
    return RequestError(
        Text(f"The task asks for {length} tokens at once; the model's window is {window}.",
             f"任务一次需要 {length} 个词元，而模型窗口为 {window}。"),
        Text("Use a model with a longer window, or set max_gen_toks in the task.", "请换用窗口更长的模型，或在任务中设置 max_gen_toks。"),
    )  # fmt: skip
