"""Conversations: the assistant's words are learned, and the last turn of the user is answered.

N records.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from hanlin.base.errors import ConfigError, DataError
from hanlin.base.language import Text
from hanlin.base.progress import console
from hanlin.base.records import Dialogue, Message, Record, Turn
from hanlin.batches.answers import Answers, render_dialogues
from hanlin.batches.labels import Places
from hanlin.evaluate.likelihood import likelihood_measures
from hanlin.evaluate.measure import Floats, Measure
from hanlin.evaluate.written import written_measures
from hanlin.generate.conversation import fit_conversation
from hanlin.generate.many import continue_all
from hanlin.generate.parameters import SamplingParameters
from hanlin.generate.scoring import token_scores
from hanlin.model.decoder import Decoder
from hanlin.objective.causal import Causal
from hanlin.objective.term import Objective
from hanlin.tasks.opened import ADAPTER, Opened
from hanlin.tasks.task import Method, Task
from hanlin.tokenizer.chat import ChatTemplate
from hanlin.tokenizer.folder import TEMPLATE
from hanlin.tokenizer.tokenizer import Tokenizer

TURNS = (
    "{{ bos_token if bos_token is defined and bos_token != eos_token else '' }}"
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\\n' + message['content'] }}"
    "{{ eos_token if message['role'] == 'assistant' else '' }}{{ '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)
"""The template of a model that has none: roles in plain text, and an answer ends in the token that ends a text, which every
model knows and stops at. ChatML would need two tokens that such a model has never seen."""


class Replied(Record):
    """The answer to the last turn of the user.

    ended: whether it came to an end within `max_new_tokens`. dropped_turns: how many old turns did not fit. Of the answer
    that the record has: how likely it is, in nats, over how many tokens, the end included; None where it has none.
    """

    text: str
    ended: bool
    dropped_turns: int = 0
    answer_nats: float | None = None
    answer_tokens: int | None = None


class Chat(Task[Dialogue, Replied]):
    """Conversations of several turns; what only the user or the system says is read, not learned."""

    kind: Literal["chat"] = "chat"
    system: str | None = None
    """What the system says before conversations that do not begin with it."""
    max_new_tokens: int = Field(128, ge=1)
    """The longest answer."""

    record: ClassVar[type[Dialogue]] = Dialogue
    prediction: ClassVar[type[Replied]] = Replied
    methods: ClassVar[tuple[Method, ...]] = ("full", "lora", "prompt-tuning", "zero-shot")

    def begun(self, records: Sequence[Dialogue], places: Places = None) -> Self:
        return self

    def head(self) -> dict[str, Any]:
        return {}

    def examples(self, opened: Opened, records: Sequence[Dialogue], places: Places = None) -> Answers:
        template, tokenizer = _template(opened), opened.tokenizer
        if tokenizer.chat_template is None:
            console.print(str(_given_template(opened.name)), markup=False)
        whole = [self._whole(one) for one in records]
        fitted = render_dialogues(whole, template, opened.window(self.max_tokens), places)
        return Answers(fitted, tokenizer.pad_id, prefix=opened.prefix)

    def files(self, opened: Opened) -> dict[str, str]:
        """The template of a model that had none, so that whoever serves it speaks as it was taught."""
        return {} if opened.tokenizer.chat_template is not None else {TEMPLATE: TURNS}

    def objective(self, records: Sequence[Dialogue]) -> Objective:
        return Causal()

    def predict(self, opened: Opened, records: Sequence[Dialogue], title: str = "") -> list[Replied]:
        template, window = _template(opened), opened.window(self.max_tokens)
        assert isinstance(opened.model, Decoder)
        asked = [_asked(self._whole(one), number) for number, one in enumerate(records)]
        prompts = [fit_conversation(template, turns, window, self.max_new_tokens) for turns in asked]
        parameters = SamplingParameters(temperature=0, max_new_tokens=self.max_new_tokens, seed=0)
        generations = continue_all(
            opened.model, opened.tokenizer, opened.compute, [one.ids for one in prompts], parameters,
            adapters=opened.adapters, adapter=None if opened.adapters is None else ADAPTER, title=title,
        )  # fmt: skip
        likely = self._likelihoods(opened, template, records)
        return [
            Replied(
                text=said.text.strip(),
                ended=said.finish_reason == "stop",
                dropped_turns=prompt.dropped_turns,
                answer_nats=nats,
                answer_tokens=tokens,
            )
            for said, prompt, (nats, tokens) in zip(generations, prompts, likely, strict=True)
        ]

    def measures(self, records: Sequence[Dialogue], predictions: Sequence[Replied]) -> tuple[Measure, ...]:
        truth = [_last_answer(one) or "" for one in records]
        likely = likelihood_measures(
            [one.answer_nats or 0.0 for one in predictions],
            [one.answer_tokens or 0 for one in predictions],
            [len(text.encode()) for text in truth],
        )
        perplexity_first = sorted(likely, key=lambda one: one.name != "perplexity")
        return (
            *perplexity_first,
            *written_measures([[text] for text in truth], [one.text for one in predictions]),
        )

    def wrongness(self, records: Sequence[Dialogue], predictions: Sequence[Replied]) -> Floats:
        return np.array(
            [(one.answer_nats or 0.0) / max(1, one.answer_tokens or 0) for one in predictions], np.float64
        )

    def said(self, prediction: Replied) -> str:
        return prediction.text

    def _whole(self, dialogue: Dialogue) -> Dialogue:
        """The conversation with what the system says."""
        if self.system is None or (dialogue.messages[:1] and dialogue.messages[0].role == "system"):
            return dialogue
        return Dialogue(messages=(Turn(role="system", content=self.system), *dialogue.messages))

    def _likelihoods(
        self, opened: Opened, template: ChatTemplate, records: Sequence[Dialogue]
    ) -> list[tuple[float | None, int | None]]:
        """How likely the last answer of each conversation is, and its tokens."""
        assert isinstance(opened.model, Decoder)
        known = [number for number, one in enumerate(records) if _last_answer(one) is not None]
        rendered = []
        for number in known:
            turns = self._whole(records[number]).messages
            learned = [False] * (len(turns) - 1) + [True]
            rendered.append(template.render(turns, learned=learned))
        texts = [[*opened.prefix, *one.ids] for one in rendered]
        firsts = [len(opened.prefix) + one.loss_mask.index(1) for one in rendered]
        scores = token_scores(opened.model, texts, opened.compute, firsts)
        found: list[tuple[float | None, int | None]] = [(None, None)] * len(records)
        for number, one, scored in zip(known, rendered, scores, strict=True):
            answer = scored.log_p[: sum(one.loss_mask)]  # the template may write something behind its end
            found[number] = -float(answer.sum()), len(answer)
        return found


def _template(opened: Opened) -> ChatTemplate:
    """The template of the model, or for one without any, ours. Raises `ConfigError` for a model that is no decoder."""
    if not isinstance(opened.model, Decoder) or opened.model.config.head != "lm":
        raise ConfigError(
            Text("Only a decoder that continues text can converse.", "只有因果语言模型才能对话。"),
            Text("Choose a causal language model.", "请选用因果语言模型。"),
        )
    tokenizer: Tokenizer = opened.tokenizer
    return ChatTemplate(tokenizer, None if tokenizer.chat_template is not None else TURNS)


def _last_answer(dialogue: Dialogue) -> str | None:
    """The answer to the last turn of the user, if the conversation ends in one."""
    *_, last = dialogue.messages
    return last.content if last.role == "assistant" else None


def _asked(dialogue: Dialogue, number: int) -> list[Message]:
    """The conversation up to the last turn of the user."""
    turns = dialogue.messages
    ends = [place + 1 for place, turn in enumerate(turns) if turn.role == "user"]
    if not ends:
        raise DataError(
            Text(f"Conversation #{number + 1} has no turn of the user.", f"对话 #{number + 1} 中没有用户的发言。"),
            Text("Give it a message of the role user.", "请加入 role 为 user 的消息。"),
        )  # fmt: skip
    return list(turns[: ends[-1]])


def _given_template(name: str) -> Text:
    return Text(
        f"{name} has no chat template. It is given one, which the new folder keeps: roles as <|user|>, <|assistant|> in "
        "plain text, and the end token behind each answer.",
        f"{name} 没有对话模板。已为其设定一个并写入新目录：角色以纯文本 <|user|>、<|assistant|> 标出，每个回答后接结束符。",
    )
