"""Whether a JSON schema asks for texts without end: a person who must have a parent, who is a person."""

from collections.abc import Iterator
from typing import Any


def is_endless(schema: dict[str, Any]) -> bool:
    """Whether every text of a schema would nest for ever. Only references within the schema are followed."""
    finite: set[str] = set()
    references = set(_references(schema))
    while new := {name for name in references - finite if _ends(_at(schema, name), finite)}:
        finite |= new
    return not _ends(schema, finite)


def _ends(schema: Any, finite: set[str]) -> bool:
    """Whether some text of a part ends, if the references `finite` do."""
    if not isinstance(schema, dict):
        return schema is not False
    if "enum" in schema or "const" in schema:
        return True
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#") and reference not in finite:
        return False
    if not all(_ends(part, finite) for part in _list(schema, "allOf")):
        return False
    for name in ("anyOf", "oneOf"):
        parts = _list(schema, name)
        if parts and not any(_ends(part, finite) for part in parts):
            return False
    kinds = schema.get("type")
    return any(_kind_ends(kind, schema, finite) for kind in (kinds if isinstance(kinds, list) else [kinds]))


def _kind_ends(kind: Any, schema: dict[str, Any], finite: set[str]) -> bool:
    if kind == "object":
        properties = schema.get("properties")
        known = properties if isinstance(properties, dict) else {}
        return all(
            _ends(known.get(name), finite) for name in _list(schema, "required") if isinstance(name, str)
        )
    if kind == "array":
        least = schema.get("minItems", 0)
        first = _list(schema, "prefixItems")
        needed = [*first, *([schema.get("items")] if least > len(first) else [])][:least]
        return all(_ends(part, finite) for part in needed)
    return True


def _list(schema: dict[str, Any], name: str) -> list[Any]:
    value = schema.get(name)
    return value if isinstance(value, list) else []


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        reference = part.get("$ref")
        if isinstance(reference, str) and reference.startswith("#"):
            yield reference
    for child in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from _references(child)


def _at(schema: Any, reference: str) -> Any:
    """What a reference names; None, which permits anything, where there is nothing: the library tells of that."""
    for name in reference.removeprefix("#").removeprefix("/").split("/") if reference != "#" else ():
        name = name.replace("~1", "/").replace("~0", "~")
        if isinstance(schema, list) and name.isdigit() and int(name) < len(schema):
            schema = schema[int(name)]
        else:
            schema = schema.get(name) if isinstance(schema, dict) else None
    return schema
