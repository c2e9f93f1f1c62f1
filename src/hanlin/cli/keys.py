"""The verb `keys`: who may call a server."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from hanlin.cli.arguments import Json, as_json

keys = App(name="keys", help="Make, list and revoke the API keys of a server (hanlin serve MODEL keys=FILE).")

File = Annotated[Path, Parameter(help="The file of keys.")]


@keys.command
def add(
    file: File,
    name: Annotated[str, Parameter(help="Whose key it is; conversations belong to this name.")],
    *,
    scope: Annotated[
        tuple[Literal["generate", "feedback", "metrics", "admin"], ...],
        Parameter(
            negative=(), help="What it may do; may be given several times. Default: generate, feedback."
        ),
    ] = (),
    requests_per_minute: Annotated[int | None, Parameter(help="Default: no limit.")] = None,
    tokens_per_minute: Annotated[
        int | None, Parameter(help="Of prompts and answers together. Default: no limit.")
    ] = None,
    days: Annotated[float | None, Parameter(help="After so many days it ends. Default: never.")] = None,
) -> None:
    """Make a key; it is printed once and kept nowhere."""
    from hanlin.serve.keys import USUAL, add_key

    print(add_key(file, name, scope or USUAL, requests_per_minute, tokens_per_minute, days))


@keys.command(name="list")
def list_(file: File, json: Json = False) -> None:
    """The names, scopes and limits of the keys; not the keys, which nobody has."""
    from hanlin.serve.keys import read_keys

    found = read_keys(file)
    if json:
        print(as_json([key.model_dump(exclude={"digest"}) for key in found]))
        return
    for key in found:
        limits = [
            f"{limit} {what}/min"
            for what, limit in (("requests", key.requests_per_minute), ("tokens", key.tokens_per_minute))
            if limit is not None
        ]
        print("  ".join([key.name, ",".join(key.scopes), *limits]))


@keys.command
def revoke(file: File, name: Annotated[str, Parameter(help="Whose key is to end.")]) -> None:
    """End a key; a running server stops answering to it at once."""
    from hanlin.serve.keys import revoke_key

    revoke_key(file, name)
