"""The one renderer of conversations: training, evaluation, chat and serving all take their ids from here.

The Jinja template of the model folder runs in a sandbox. What users wrote cannot become a special token:
names of special tokens in it are replaced by private characters before rendering and put back, as ordinary
text, afterwards.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

import jinja2

from hanlin.base.errors import CheckpointError, HanlinError, RequestError
from hanlin.base.language import Text
from hanlin.base.records import Message
from hanlin.tokenizer.jinja import SandboxedTemplate, TemplateRefusal
from hanlin.tokenizer.marks import private, put, replaced, strings
from hanlin.tokenizer.tokenizer import Tokenizer

CHATML = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}\n"
)
"""The template of the tokenizers that Hanlin trains (ChatML: OpenAI 2022)."""

ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
"""Special tokens that templates know as `bos_token` and so on."""

Span = tuple[int, int]
"""Begin and end of a part of a text."""


@dataclass(frozen=True)
class Rendered:
    """Ids of a conversation, and for each id 1 where it is to be learned, else 0."""

    ids: list[int]
    loss_mask: list[int]


class ChatTemplate:
    """The chat template of one tokenizer."""

    def __init__(self, tokenizer: Tokenizer, source: str | None = None) -> None:
        """Compile `source`, or the tokenizer's own template.

        Raises `CheckpointError` when there is none or when it is not valid Jinja.
        """
        source = tokenizer.chat_template if source is None else source
        if source is None:
            raise _no_template(list(tokenizer.chat_templates))
        self._tokenizer = tokenizer
        self._tokens = {
            f"{role}_token": text for role in ROLES if (text := tokenizer.special_text_of(role)) is not None
        }
        self._taken = frozenset(source)
        self._begin, self._end = (chr(code) for code in private(self._taken, 2))
        self._template = SandboxedTemplate(source, self._begin, self._end)
        names = sorted(
            map(tokenizer.special_text, tokenizer.special_ids), key=lambda text: (-len(text), text)
        )
        self._specials = re.compile("|".join(map(re.escape, names)) or r"(?!)")
        self._unwritable = re.compile("|".join(map(re.escape, [*names, self._begin, self._end])))

    @property
    def tokenizer(self) -> Tokenizer:
        """Whose template it is."""
        return self._tokenizer

    def render(
        self,
        messages: Sequence[Message],
        add_generation_prompt: bool = False,
        tools: Sequence[Mapping[str, Any]] | None = None,
        variables: Mapping[str, Any] | None = None,
        learned: Sequence[bool] | None = None,
    ) -> Rendered:
        """The ids of `messages`; with `add_generation_prompt`, up to where the assistant's next answer
        begins.

        `tools` are JSON schemas, `variables` are whatever else the template asks for, such as
        `enable_thinking`. The loss mask is 1 on what the template's `{% generation %}` blocks hold; without
        those, on the contents of the assistant and the token(s) that end its turn. `learned` says of each
        message whether it is learned, if it is an answer; default: all. Ids are those of
        `transformers`' `apply_chat_template`, except that an answer always begins a token of its own, as it
        does when it is generated. So the ids of a prompt are a prefix of the ids of the whole conversation.

        Raises `CheckpointError` when the template is forbidden or faulty, or when the mask cannot be told
        because a turn is rendered differently once another follows; a prompt is then rendered without mask
        (all 0). So it does when `learned` leaves answers out and the blocks are not one for each answer.
        Raises `RequestError` when the template refuses these messages.
        """
        given = {
            "messages": [message.for_template() for message in messages],
            "tools": list(tools) if tools is not None else None,
            "documents": None,
            **(variables or {}),
        }
        marks = self._marks(given)
        rendering = _Rendering(self._template, self._tokens | replaced(given, marks), datetime.now())
        text, spans = self._unmarked(rendering.text(len(messages), add_generation_prompt))
        if not self._template.marks_answers:
            spans = self._answers(rendering, messages, text, strict=not add_generation_prompt)
        if learned is not None and not all(learned):
            spans = _only_learned(spans, messages, learned)
        back = {mark: special for special, mark in marks.items()}
        ids: list[int] = []
        loss_mask: list[int] = []
        for new, counted in self._encoded(text, spans, back):
            ids += new
            loss_mask += [int(counted)] * len(new)
        if self._tokenizer.bos_id is not None and ids[:2] == [self._tokenizer.bos_id] * 2:
            raise _two_begins()
        return Rendered(ids, loss_mask)

    def _marks(self, given: Mapping[str, Any]) -> dict[str, str]:
        """A private character for every special token's name that users wrote; none of them occurs
        anywhere."""
        texts = list(strings(given))
        written = sorted({name for text in texts for name in self._unwritable.findall(text)})
        if not written:
            return {}
        free = private(self._taken.union(*texts, self._begin, self._end), len(written))
        return dict(zip(written, map(chr, free), strict=True))

    def _unmarked(self, text: str) -> tuple[str, list[Span]]:
        """`text` without the marks of `{% generation %}` blocks, and where the blocks were."""
        parts = re.split(f"[{self._begin}{self._end}]", text)
        ends = [0]
        for part in parts:
            ends.append(ends[-1] + len(part))
        return "".join(parts), list(zip(ends[1:-1:2], ends[2:-1:2], strict=False))

    def _answers(
        self, rendering: "_Rendering", messages: Sequence[Message], text: str, strict: bool
    ) -> list[Span]:
        """Where in `text` each of the assistant's turns begins (after its header) and ends, found from
        prefixes."""
        spans = []
        for number, message in enumerate(messages):
            if message.role != "assistant":
                continue
            try:
                before = rendering.text(number, add_generation_prompt=True)
                after = rendering.text(number + 1, add_generation_prompt=False)
            except HanlinError:
                if strict:
                    raise
                return []
            if not (after.startswith(before) and text.startswith(after)):
                if strict:
                    raise _unstable(number)
                return []
            spans.append((len(before), self._end_of_turn(after, len(before))))
        return spans

    def _end_of_turn(self, text: str, start: int) -> int:
        """The end of the answer that begins at `start`; a line break after its end token is the template's,
        not the answer's."""
        bare = len(text.rstrip())
        closed = any(match.end() == bare for match in self._specials.finditer(text, start))
        return bare if closed else len(text)

    def _encoded(
        self, text: str, spans: Sequence[Span], back: Mapping[str, str]
    ) -> Iterator[tuple[list[int], bool]]:
        """The ids of `text` cut at special tokens and at the borders of answers, each piece with whether it
        is learned."""
        names = {match.start(): match.end() for match in self._specials.finditer(text)}
        borders = {
            0,
            len(text),
            *names.keys(),
            *names.values(),
            *(border for span in spans for border in span),
        }
        after_special = False
        for start, stop in pairwise(sorted(borders)):
            piece = text[start:stop]
            is_special = names.get(start) == stop
            if is_special:
                id = self._tokenizer.token_id(piece)
                assert id is not None
                ids = [id]
            elif start == 0:
                ids = self._tokenizer.encode(put(piece, back))
            else:
                ids = self._tokenizer.encode_inside(put(piece, back), after_special)
            after_special = is_special
            yield ids, any(begin <= start < end for begin, end in spans)


def _only_learned(spans: list[Span], messages: Sequence[Message], learned: Sequence[bool]) -> list[Span]:
    """The spans of those answers that are learned."""
    answers = [
        wanted for message, wanted in zip(messages, learned, strict=True) if message.role == "assistant"
    ]
    if len(spans) != len(answers):
        raise CheckpointError(
            Text(
                f"The chat template marks {len(spans)} stretches to learn in {len(answers)} answers, so it cannot be "
                "told which of them belongs to which answer.",
                f"对话模板在 {len(answers)} 个回答中标出了 {len(spans)} 段，无法判断各段属于哪个回答。",
            ),
            Text(
                "Use a template with one {% generation %} block for each answer, or learn from all answers.",
                "请使用每个回答恰有一个 {% generation %} 块的模板，或学习全部回答。",
            ),
        )
    return [span for span, wanted in zip(spans, answers, strict=True) if wanted]


class _Rendering:
    """One conversation on its way to text, at one moment: `now`."""

    def __init__(self, template: SandboxedTemplate, variables: Mapping[str, Any], now: datetime) -> None:
        self._template, self._variables, self._now = template, variables, now

    def text(self, count: int, add_generation_prompt: bool) -> str:
        """The text of the first `count` messages."""
        variables = {
            **self._variables,
            "messages": self._variables["messages"][:count],
            "add_generation_prompt": add_generation_prompt,
        }
        try:
            return self._template.render(variables, self._now)
        except TemplateRefusal as error:
            raise _refused(str(error)) from error
        except jinja2.exceptions.SecurityError as error:
            raise _faulty(f"it does what the sandbox forbids: {error}") from error
        except (OverflowError, MemoryError, RecursionError) as error:
            raise _faulty(f"it takes too much: {type(error).__name__}") from error
        except (
            jinja2.TemplateError,
            TypeError,
            ValueError,
            ArithmeticError,
            LookupError,
            AttributeError,
            RuntimeError,
        ) as error:
            raise _faulty(f"{type(error).__name__}: {error}") from error


def _no_template(names: list[str]) -> CheckpointError:
    others = f" for plain conversations (it has: {', '.join(names)})" if names else ""
    others_zh = f"（它有：{'、'.join(names)}）" if names else ""
    return CheckpointError(
        Text(f"This model has no chat template{others}.", f"该模型没有普通对话的模板{others_zh}。"),
        Text(
            "Use a model tuned for conversation, put chat_template.jinja into its folder, or use `hanlin "
            "generate`.",
            "请使用经过对话微调的模型，或在其目录中放入 chat_template.jinja，或改用 `hanlin generate`。",
        ),
    )


def _refused(reason: str) -> RequestError:
    return RequestError(
        Text(f"The chat template refuses this conversation: {reason}", f"对话模板拒绝了该对话：{reason}"),
        Text("Change the roles or their order.", "请调整角色或其顺序。"),
    )


def _faulty(reason: str) -> CheckpointError:
    return CheckpointError(
        Text(f"The chat template cannot be used: {reason}", f"对话模板无法使用：{reason}"),
        Text("Mend chat_template.jinja in the model folder.", "请修改模型目录中的 chat_template.jinja。"),
    )


def _unstable(number: int) -> CheckpointError:
    return CheckpointError(
        Text(
            f"The chat template renders message {number + 1} differently once another turn is added, so "
            "it cannot be told which tokens the assistant would have to generate.",
            f"加入后续轮次后，对话模板对第 {number + 1} 条消息的渲染会改变，因此无法确定哪些词元应由助手生成。",
        ),
        Text(
            "Use a template whose rendering only grows with the conversation, such as ChatML, or one that "
            "marks answers with {% generation %} blocks.",
            "请使用渲染结果只随对话增长的模板（例如 ChatML），或用 {% generation %} 标出回答的模板。",
        ),
    )


def _two_begins() -> CheckpointError:
    return CheckpointError(
        Text("The chat template writes the begin token twice.", "对话模板写了两次起始符。"),
        Text(
            "Mend chat_template.jinja: bos_token must occur once.",
            "请修改 chat_template.jinja：bos_token 只能出现一次。",
        ),
    )
