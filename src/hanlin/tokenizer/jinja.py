"""Compiling chat templates: Jinja in a sandbox, with the conventions of the ecosystem and a limit to its
work.

Source of the conventions: `transformers`, `utils/chat_template_utils.py`.
"""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from hanlin.base.errors import CheckpointError
from hanlin.base.language import Text

MOST_STEPS = 200_000
"""Turns of loops and calls in one rendering."""
LONGEST_VALUE = 50_000_000
"""Characters or items that an operator may make."""

_STEPS = " steps"  # names with a space cannot be written in a template
_COUNTED = " counted"
_DIGITS = re.compile(r"\d+")  # of "%1000d"


class TemplateRefusal(Exception):
    """A template called `raise_exception`: it does not take this conversation."""


class SandboxedTemplate:
    """A compiled chat template. `marks_answers` says that it has `{% generation %}` blocks."""

    def __init__(self, source: str, begin: str, end: str) -> None:
        """Compile `source`; what is in `{% generation %}` blocks is rendered between `begin` and `end`.

        Raises `CheckpointError` with the line at fault when it is not valid Jinja.
        """
        environment = _Environment(
            trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlock, "jinja2.ext.loopcontrols"]
        )
        environment.answer_marks = (begin, end)
        environment.filters |= {"tojson": _to_json, _COUNTED: _counted}
        environment.globals |= {"raise_exception": _refuse, "namespace": _Namespace}
        try:
            self._template = environment.from_string(source)
        except (jinja2.TemplateError, RecursionError) as error:
            raise _invalid(error) from error
        self.marks_answers = environment.marks_answers

    def render(self, variables: Mapping[str, Any], now: datetime) -> str:
        """The text for `variables`, at the time `now`; raises what Jinja and `raise_exception` raise."""
        return self._template.render({"strftime_now": now.strftime, **variables, _STEPS: _Steps()})


class _Steps:
    """What a rendering may still do."""

    def __init__(self) -> None:
        self._left = MOST_STEPS

    def spend(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise SecurityError(f"it takes more than {MOST_STEPS:,} steps")


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox, where every turn of a loop and every call is a step."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})
    answer_marks: tuple[str, str]
    marks_answers = False

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for loop in tree.find_all(nodes.For):
            loop.iter = nodes.Filter(loop.iter, _COUNTED, [], [], None, None, lineno=loop.lineno)
            loop.iter.set_environment(self)
        return tree

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Call what a template calls."""
        __context[_STEPS].spend(1)
        return super().call(__context, __obj, *args, **kwargs)

    def unsafe_undefined(self, obj: Any, attribute: str) -> jinja2.Undefined:
        """Jinja would let a forbidden attribute be, as long as nothing is done with it."""
        raise SecurityError(f"{attribute!r} of {type(obj).__name__} is not for templates")

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Apply an operator, unless its result would be huge."""
        if _size(operator, left, right) > LONGEST_VALUE:
            raise SecurityError(f"the operator {operator} makes too large a value")
        return super().call_binop(context, operator, left, right)


def _size(operator: str, left: Any, right: Any) -> int:
    """About how large the result is: characters or items of a sequence, digits of a power."""
    sizes = [len(value) for value in (left, right) if isinstance(value, str | list | tuple)]
    numbers = [int(abs(value)) for value in (left, right) if isinstance(value, int | float)]
    match operator:
        case "+":
            return sum(sizes)
        case "*":
            return max(sizes, default=0) * max(numbers, default=0)
        case "**":
            return (len(numbers) == 2 and numbers[0].bit_length() * numbers[1]) or 0
    widths = [int(digits) for digits in _DIGITS.findall(left)] if isinstance(left, str) else []
    return max([*widths, *sizes], default=0)


class _GenerationBlock(Extension):
    """`{% generation %}...{% endgeneration %}` marks what the assistant generates."""

    tags = {"generation"}  # noqa: RUF012 - the type that Jinja declares

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Parse to the body of the block between the two marks."""
        environment = self.environment
        assert isinstance(environment, _Environment)
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        environment.marks_answers = True
        begin, end = (
            nodes.Output([nodes.TemplateData(mark, lineno=line)], lineno=line)
            for mark in environment.answer_marks
        )
        return [begin, *body, end]


class _Namespace(Namespace):
    """Jinja's, but nothing of Python's own can be put into it."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        self, *others = args
        for name in dict(*others, **kwargs):
            _check_name(name)
        Namespace.__init__(self, *others, **kwargs)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: str) -> None:
    if str(name).startswith("_"):
        raise SecurityError(f"a namespace cannot hold {name!r}")


@jinja2.pass_context
def _counted(context: Context, values: Any) -> list[Any]:
    items = list(values)
    context[_STEPS].spend(1 + len(items))
    return items


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Jinja's own filter escapes for HTML, which no model was trained on."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _refuse(message: str) -> NoReturn:
    raise TemplateRefusal(message)


def _invalid(error: Exception) -> CheckpointError:
    line = f"line {error.lineno}: " if isinstance(error, jinja2.TemplateSyntaxError) else ""
    return CheckpointError(
        Text(
            f"The chat template is not valid Jinja: {line}{error}",
            f"对话模板不是有效的 Jinja：{line}{error}",
        ),
        Text("Mend chat_template.jinja in the model folder.", "请修改模型目录中的 chat_template.jinja。"),
    )
