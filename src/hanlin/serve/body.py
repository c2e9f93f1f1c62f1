"""What all bodies of requests have in common, and how a validator says what is wrong."""

from typing import Any

from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic_core import PydanticCustomError


class Body(BaseModel):
    """Base of request bodies: strict, frozen, nothing unknown."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


def mistake(kind: str, en: str, zh: str) -> PydanticCustomError:
    """What a validator raises, in both languages."""
    # The message reaches the error as a template, so braces in it must not be read as fields.
    return PydanticCustomError(kind, "{en}", {"en": en, "zh": zh})


def only(*neutral: Any) -> AfterValidator:
    """Refuse every value but None and those that ask for nothing."""

    def check(value: Any) -> Any:
        if value is not None and value not in neutral:
            raise mistake("unsupported_parameter", "is not supported", "不受支持")
        return None

    return AfterValidator(check)
