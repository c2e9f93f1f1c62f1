"""The one tree of errors that a user can cause or mend.

    HanlinError                 exit code 2, no traceback: what is wrong, and what to do
      ConfigError               a recipe, an override or a setting
      DataError                 a file or record that a person brought
      CheckpointError           a model folder, checkpoint or stage folder
        NewerFormatError        one that a newer Hanlin wrote
      TrainingError             a run that cannot go on (loss not finite, ...)
      RequestError              a prompt or a generation parameter
      DiskError                 a full or unwritable disk
      MissingExtra              a part of Hanlin that is not installed

Everything else that escapes is our own mistake and shows its traceback.
"""

from hanlin.base.language import Text


class HanlinError(Exception):
    """A mistake that the user can mend: `problem` says what and where, `remedy` what to do."""

    exit_code = 2

    def __init__(self, problem: Text, remedy: Text) -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}\n{self.remedy}"


class ConfigError(HanlinError):
    """A recipe, an override or a setting is wrong."""


class DataError(HanlinError):
    """A file or a record that a person brought cannot be used."""


class CheckpointError(HanlinError):
    """A model folder, checkpoint or stage folder is missing, damaged or of another kind."""


class NewerFormatError(CheckpointError):
    """A newer Hanlin wrote this folder; it is sound, so nothing may be written over it."""


class TrainingError(HanlinError):
    """A training run cannot go on; what was saved before stays."""


class RequestError(HanlinError):
    """A prompt or a generation parameter is outside what the model can do."""


class DiskError(HanlinError):
    """The disk is full or cannot be written."""


class MissingExtra(HanlinError):
    """A part of Hanlin is not installed: an extra of it, or a package that no extra brings."""

    def __init__(self, purpose: Text, extra: str = "", package: str = "") -> None:
        wanted = package or f"'hanlin[{extra}]'"
        super().__init__(
            Text(
                f"{purpose.en} needs packages that are not installed.", f"{purpose.zh}所需的软件包没有安装。"
            ),
            Text(f"Install them: pip install {wanted}", f"请安装：pip install {wanted}"),
        )
        self.extra = extra
