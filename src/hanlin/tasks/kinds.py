"""All kinds of tasks, by the name that stands under `task.kind`."""

from typing import Annotated

from pydantic import Field

from hanlin.tasks.classify import Classify
from hanlin.tasks.match import Match
from hanlin.tasks.regress import Regress
from hanlin.tasks.rerank import Rerank

AnyTask = Annotated[Classify | Regress | Match | Rerank, Field(discriminator="kind")]
"""Any task, told apart by its kind."""
