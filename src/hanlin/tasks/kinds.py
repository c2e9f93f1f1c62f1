"""All kinds of tasks, by the name that stands under `task.kind`."""

from typing import Annotated

from pydantic import Field

from hanlin.tasks.classify import Classify

AnyTask = Annotated[Classify, Field()]
"""Any task, told apart by its kind."""
