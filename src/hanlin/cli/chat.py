"""The verb `chat`."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from hanlin.cli.arguments import (
    AdapterFolders,
    Device,
    EngineName,
    ModelPath,
    Others,
    Weights,
    adapter_folders,
    other_parameters,
    without_defaults,
)


def chat(
    model: ModelPath,
    *,
    system: Annotated[
        str | None, Parameter(help="Instructions that stay at the head of the conversation.")
    ] = None,
    load: Annotated[Path | None, Parameter(help="A conversation to go on with, as /save wrote it.")] = None,
    max_new_tokens: int | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    overflow: Annotated[
        Literal["trim", "refuse"],
        Parameter(help="When the window is full: forget the oldest turns, or answer no more."),
    ] = "trim",
    adapter: AdapterFolders = (),
    engine: EngineName = "auto",
    weights: Weights = "auto",
    device: Device = "auto",
    history: Annotated[
        bool, Parameter(help="Keep what you type, to be found again with the arrow keys.")
    ] = True,
    **others: Others,
) -> None:
    """Talk with a model in the terminal; /help tells what can be done there."""
    from hanlin.generate.language_model import load as load_model
    from hanlin.stages.chat import run_chat
    from hanlin.stages.chat_input import terminal
    from hanlin.stages.chat_session import Session

    given = without_defaults(max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p, seed=seed)
    folders = adapter_folders(adapter)
    loaded = load_model(model, device, engine=engine, weights=weights, adapters=folders)
    session = Session(loaded, system, next(iter(folders), None), overflow, given | other_parameters(others))
    if load is not None:
        session.load(load)
    run_chat(session, terminal(history))
