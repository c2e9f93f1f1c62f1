"""All kinds of tasks, by the name that stands under `task.kind`."""

from typing import Annotated

from pydantic import Field

from hanlin.tasks.answer import Answer
from hanlin.tasks.chat import Chat
from hanlin.tasks.choice import Choice
from hanlin.tasks.classify import Classify
from hanlin.tasks.extract import Extract
from hanlin.tasks.extract_json import ExtractJson
from hanlin.tasks.match import Match
from hanlin.tasks.regress import Regress
from hanlin.tasks.relate import Relate
from hanlin.tasks.reply import Reply
from hanlin.tasks.rerank import Rerank
from hanlin.tasks.tag import Tag
from hanlin.tasks.write import Write

AnyTask = Annotated[
    Classify
    | Regress
    | Match
    | Rerank
    | Write
    | Reply
    | Chat
    | Choice
    | Tag
    | Extract
    | ExtractJson
    | Relate
    | Answer,
    Field(discriminator="kind"),
]
"""Any task, told apart by its kind."""
