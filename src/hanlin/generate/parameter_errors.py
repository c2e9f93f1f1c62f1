"""What is wrong with a parameter, in both languages, with its range."""

import difflib

import annotated_types
from pydantic_core import ErrorDetails, PydanticCustomError

from hanlin.base.config import Settings
from hanlin.base.language import Text

_TYPES = {"int": "整数", "float": "数值", "string": "文本", "tuple": "列表", "dict": "对象", "bool": "布尔值"}


def mistake(en: str, zh: str) -> PydanticCustomError:
    """What a validator raises; `describe` takes it apart again."""
    # The message reaches the error as a template, so braces in it must not be read as fields.
    return PydanticCustomError("mistake", "{en}", {"en": en, "zh": zh})


def describe(detail: ErrorDetails, parameters: type[Settings]) -> Text:
    """One mistake found by Pydantic, naming the parameter, its value and its range."""
    message = _message(detail)
    if not detail["loc"]:  # between parameters, which the message names
        return Text(f"{message.en}.", f"{message.zh}。")
    name = str(detail["loc"][0])
    if detail["type"] == "extra_forbidden":
        return _unknown(name, list(parameters.model_fields))
    value = repr(detail["input"])[:80]
    permitted = permitted_range(parameters, name)
    return Text(
        f"{name} = {value}: {message.en}" + (f" ({name} {permitted})." if permitted else "."),
        f"{name} = {value} 无效"
        + (f"（须满足 {name} {permitted.replace(' and ', ' 且 ')}）。" if permitted else f"：{message.zh}。"),
    )


def permitted_range(parameters: type[Settings], name: str) -> str:
    """The range of a numeric parameter, as "> 0 and <= 1"; empty for the others."""
    bounds = []
    for constraint in parameters.model_fields[name].metadata:
        match constraint:
            case annotated_types.Ge(ge=bound):
                bounds.append(f">= {bound:g}")
            case annotated_types.Gt(gt=bound):
                bounds.append(f"> {bound:g}")
            case annotated_types.Le(le=bound):
                bounds.append(f"<= {bound:g}")
            case annotated_types.Lt(lt=bound):
                bounds.append(f"< {bound:g}")
    return " and ".join(bounds)


def _message(detail: ErrorDetails) -> Text:
    if detail["type"] == "mistake":
        return Text(detail["ctx"]["en"], detail["ctx"]["zh"])
    wanted = _TYPES.get(detail["type"].split("_")[0])
    return Text(detail["msg"], f"须为{wanted}" if wanted else detail["msg"])


def _unknown(name: str, known: list[str]) -> Text:
    near = difflib.get_close_matches(name, known, 1, cutoff=0.5)
    names = ", ".join(known)
    return Text(
        f"There is no parameter {name}" + (f"; did you mean {near[0]}?" if near else f"; there are {names}."),
        f"没有参数 {name}" + (f"；是否想写 {near[0]}？" if near else f"；可用的参数有：{names}。"),
    )
