"""Compiling chat templates: Jinja in a sandbox, with the conventions of the ecosystem.

Source of the conventions: `transformers`, `utils/chat_template_utils.py`.
"""

import json
from typing import Any, NoReturn

import jinja2
from jinja2.ext import Extension
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from hanlin.base.errors import CheckpointError
from hanlin.base.language import Text


class TemplateRefusal(Exception):
    """A template called `raise_exception`: it does not take this conversation."""


class _GenerationBlock(Extension):
    """`{% generation %}...{% endgeneration %}` marks answers for tools that need it; its body is rendered
    as it is."""

    tags = {"generation"}  # noqa: RUF012 - the type that Jinja declares

    def parse(self, parser: Parser) -> Node | list[Node]:
        """Parse to the body of the block."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def compile_template(source: str) -> jinja2.Template:
    """Compile a chat template; raises `CheckpointError` with the line at fault when it is not valid Jinja."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlock, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    try:
        return environment.from_string(source)
    except (jinja2.TemplateError, RecursionError) as error:
        line = f"line {error.lineno}: " if isinstance(error, jinja2.TemplateSyntaxError) else ""
        raise CheckpointError(
            Text(
                f"The chat template is not valid Jinja: {line}{error}",
                f"对话模板不是有效的 Jinja：{line}{error}",
            ),
            Text("Mend chat_template.jinja in the model folder.", "请修改模型目录中的 chat_template.jinja。"),
        ) from error


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None) -> str:
    """Jinja's own filter escapes for HTML, which no model was trained on."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)


def _refuse(message: str) -> NoReturn:
    raise TemplateRefusal(message)
