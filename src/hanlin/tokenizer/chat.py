"""The one renderer of conversations: training, evaluation, chat and serving all take their ids from here.

The Jinja template of the model folder runs in a sandbox. What users wrote cannot become a special token:
names of special tokens in it are replaced by private characters before rendering and put back, as ordinary
text, afterwards.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import jinja2

from hanlin.base.errors import CheckpointError, HanlinError, RequestError
from hanlin.base.language import Text
from hanlin.base.records import Message
from hanlin.tokenizer.jinja import TemplateRefusal, compile_template
from hanlin.tokenizer.tokenizer import Tokenizer

CHATML = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}\n"
)
"""The template of the tokenizers that Hanlin trains (ChatML: OpenAI 2022)."""


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
            raise _no_template()
        self._tokenizer = tokenizer
        self._template = compile_template(source)
        self._variables = {
            f"{role}_token": tokenizer.special_text_of(role)
            for role in ("bos", "eos", "pad", "unk")
            if tokenizer.special_text_of(role) is not None
        }
        specials = sorted(
            map(tokenizer.special_text, tokenizer.special_ids), key=lambda text: (-len(text), text)
        )
        self._specials = re.compile("|".join(map(re.escape, specials)) or r"(?!)")
        self._taken = frozenset(source)

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = False) -> Rendered:
        """The ids of `messages`; with `add_generation_prompt`, up to where the assistant's next answer
        begins.

        The loss mask is 1 on the contents of the assistant and the token(s) that end its turn. Ids are
        those of `transformers`' `apply_chat_template`, except that an answer always begins a token of its
        own, as it does when it is generated. So the ids of a prompt are a prefix of the ids of the whole
        conversation.

        Raises `CheckpointError` when the template is forbidden or faulty, or when the mask cannot be told
        because a turn is rendered differently once another follows; a prompt is then rendered without mask
        (all 0). Raises `RequestError` when the template refuses these messages.
        """
        marks = self._marks(messages)
        marked = [{"role": message.role, "content": _replace(message.content, marks)} for message in messages]
        text = self._text(marked, add_generation_prompt)
        spans = self._answers(marked, text, strict=not add_generation_prompt)
        back = {mark: special for special, mark in marks.items()}
        ids: list[int] = []
        loss_mask: list[int] = []
        for piece, learned in self._pieces(text, spans):
            new = self._encode(piece, back)
            ids += new
            loss_mask += [int(learned)] * len(new)
        if self._tokenizer.bos_id is not None and ids[:2] == [self._tokenizer.bos_id] * 2:
            raise _two_begins()
        return Rendered(ids, loss_mask)

    def _text(self, messages: Sequence[dict[str, str]], add_generation_prompt: bool) -> str:
        try:
            return self._template.render(
                messages=messages,
                add_generation_prompt=add_generation_prompt,
                tools=None,
                documents=None,
                **self._variables,
            )
        except TemplateRefusal as error:
            raise RequestError(
                Text(
                    f"The chat template refuses this conversation: {error}", f"对话模板拒绝了该对话：{error}"
                ),
                Text("Change the roles or their order.", "请调整角色或其顺序。"),
            ) from error
        except jinja2.exceptions.SecurityError as error:
            raise _faulty(f"it does what the sandbox forbids: {error}") from error
        except (
            jinja2.TemplateError,
            TypeError,
            ValueError,
            ArithmeticError,
            LookupError,
            AttributeError,
        ) as error:
            raise _faulty(f"{type(error).__name__}: {error}") from error
        except (OverflowError, MemoryError, RecursionError) as error:
            raise _faulty(f"it takes too much: {type(error).__name__}") from error

    def _marks(self, messages: Sequence[Message]) -> dict[str, str]:
        """A private character for every special token's name that users wrote; none of them occurs
        anywhere."""
        written = sorted({name for message in messages for name in self._specials.findall(message.content)})
        if not written:
            return {}
        taken = self._taken.union(*(message.content for message in messages))
        free = (chr(code) for code in range(0xF0000, 0x10FFFE) if chr(code) not in taken)
        return dict(zip(written, free, strict=False))

    def _answers(self, messages: Sequence[dict[str, str]], text: str, strict: bool) -> list[tuple[int, int]]:
        """Where in `text` each of the assistant's turns begins (after its header) and ends, found from
        prefixes."""
        spans = []
        for number, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            try:
                before = self._text(messages[:number], add_generation_prompt=True)
                after = self._text(messages[: number + 1], add_generation_prompt=False)
            except HanlinError:
                if strict:
                    raise
                return []
            if not (after.startswith(before) and text.startswith(after)):
                if strict:
                    raise _unstable(number)
                return []
            spans.append((len(before), len(after)))
        return spans

    def _pieces(self, text: str, spans: Sequence[tuple[int, int]]) -> Iterator[tuple[str, bool]]:
        """`text` cut at special tokens and at the borders of answers, each piece with whether it is
        learned."""
        position = 0
        for start, stop in spans:
            yield from ((piece, False) for piece in self._split(text[position:start]))
            pieces = list(self._split(text[start:stop]))
            closed = (
                len(pieces) > 1
                and not pieces[-1].strip()
                and self._specials.fullmatch(pieces[-2]) is not None
            )
            learned = (
                len(pieces) - closed
            )  # the line break after the end token is the template's, not the answer's
            yield from ((piece, number < learned) for number, piece in enumerate(pieces))
            position = stop
        yield from ((piece, False) for piece in self._split(text[position:]))

    def _split(self, text: str) -> Iterator[str]:
        position = 0
        for match in self._specials.finditer(text):
            yield from (text[position : match.start()],) * (match.start() > position)
            yield match.group()
            position = match.end()
        yield from (text[position:],) * (len(text) > position)

    def _encode(self, piece: str, back: dict[str, str]) -> list[int]:
        if self._specials.fullmatch(piece):
            id = self._tokenizer.token_id(piece)
            assert id is not None
            return [id]
        return self._tokenizer.encode(_replace(piece, back))


def _replace(text: str, table: dict[str, str]) -> str:
    for old in sorted(table, key=len, reverse=True):
        text = text.replace(old, table[old])
    return text


def _no_template() -> CheckpointError:
    return CheckpointError(
        Text("This model has no chat template.", "该模型没有对话模板。"),
        Text(
            "Use a model tuned for conversation, put chat_template.jinja into its folder, or use `hanlin "
            "generate`.",
            "请使用经过对话微调的模型，或在其目录中放入 chat_template.jinja，或改用 `hanlin generate`。",
        ),
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
            "it cannot be told "
            "which tokens the assistant would have to generate.",
            f"加入后续轮次后，对话模板对第 {number + 1} 条消息的渲染会改变，因此无法确定哪些词元应由助手"
            "生成。",
        ),
        Text(
            "Use a template whose rendering only grows with the conversation, such as ChatML.",
            "请使用渲染结果只随对话增长的模板，例如 ChatML。",
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
