"""`hanlin serve`: a model folder -> an HTTP service with a chat page."""

from collections.abc import Sequence
from pathlib import Path

from hanlin.base.config import settings_from_overrides
from hanlin.base.device import DeviceName
from hanlin.generate.language_model import load
from hanlin.serve.config import ServeConfig
from hanlin.serve.server import open_listener, serve


def run_serve(folder: Path, overrides: Sequence[str], device: DeviceName) -> None:
    """Serve until Ctrl-C. The port is taken before the model is loaded, so that a taken one is told at once."""
    config = settings_from_overrides(ServeConfig, overrides)
    listener = open_listener(config)
    serve(load(folder, device), config, listener)
