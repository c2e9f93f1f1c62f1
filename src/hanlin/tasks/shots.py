"""How much of a figure is the prompt: with more examples in it, others of them, in another order, in other words.

Source of the question: arXiv 2102.09690, section 3 (choice and order of examples), arXiv 2104.08786 (order).
"""

import random
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from hanlin.base.errors import ConfigError
from hanlin.base.language import Text
from hanlin.base.records import Record
from hanlin.evaluate.figures import Across, Figure, across, figures
from hanlin.records.loaded import Loaded
from hanlin.tasks.examination import with_answers
from hanlin.tasks.opened import Opened
from hanlin.tasks.task import AnyRecordTask

Question = Literal["shots", "order", "template"]


class Tried(Record):
    """The main figure under one prompt. of: what this prompt is to tell about. seed: by which examples were drawn; order:
    0 as they were drawn, others at random."""

    of: Question
    shots: int
    seed: int
    order: int
    template: str | None
    figure: Figure


class PromptStudy(Record):
    """All prompts that were tried on the same records."""

    model: str
    kind: str
    n: int
    tried: tuple[Tried, ...]

    def of(self, question: Question) -> list[Tried]:
        """Those that tell about one question."""
        return [one for one in self.tried if one.of == question]

    def curve(self) -> dict[int, Across]:
        """Mean and deviation over draws of examples, by the number of shots."""
        values: dict[int, list[float]] = {}
        for one in self.of("shots"):
            values.setdefault(one.shots, []).append(one.figure.value)
        return {shots: across(found) for shots, found in values.items()}

    def spread(self, question: Question) -> Across | None:
        """Mean and deviation over orders, or over templates."""
        values = [one.figure.value for one in self.of(question)]
        return across(values) if values else None


def study_prompts(
    task: AnyRecordTask,
    opened: Opened,
    train: Loaded[Any],
    test: Loaded[Any],
    *,
    shots: Sequence[int] = (0, 1, 2, 4, 8),
    seeds: int = 3,
    orders: int = 0,
    templates: Sequence[str] = (),
    resamples: int = 1000,
) -> PromptStudy:
    """Examine a task that is asked by prompts under several of them.

    shots: numbers of training records in the prompt, each drawn by `seeds` seeds. orders: orders of one draw, of the
    most shots. templates: beside the task's own, with the fewest shots. Raises `ConfigError` for a task that shows no
    records in a prompt.
    """
    known = with_answers(test)
    tried = []
    for key, variant in _variants(task, train, shots, seeds, orders, templates):
        title = str(Text(f"{key['shots']} shots", f"{key['shots']} 个示例"))
        said = variant.predict(opened, known.records, title)
        (figure,) = figures(variant.measures(known.records, said)[:1], resamples)
        tried.append(Tried(**key, figure=figure))
    kind = getattr(task, "kind")  # noqa: B009 - each kind has it, as a literal of its own
    return PromptStudy(model=opened.name, kind=kind, n=len(known), tried=tuple(tried))


def with_shots(task: AnyRecordTask, train: Loaded[Any], shots: int, seed: int) -> AnyRecordTask:
    """The task with so many training records in its prompt. Raises `ConfigError` for one that shows none."""
    if "shown" not in type(task).model_fields:
        kind = getattr(task, "kind", "")
        raise ConfigError(
            Text(f"A task of kind {kind} shows no records in a prompt.", f"{kind} 类任务的提示中没有示例。"),
            Text("Leave --shots, --orders and templates out, or choose a task that is asked by a prompt.",
                 "请去掉 --shots、--orders 与 templates，或选用以提示完成的任务。"),
        )  # fmt: skip
    changed: dict[str, Any] = {"method": "zero-shot", "shown": ()}
    if shots:
        changed = {"method": "few-shot", "shots": shots, "shots_seed": seed, "shown": ()}
    values = {**task.model_dump(exclude_defaults=True), **changed}
    return type(task).model_validate(values).begun(train.records, train.places)


def _variants(
    task: AnyRecordTask,
    train: Loaded[Any],
    shots: Sequence[int],
    seeds: int,
    orders: int,
    templates: Sequence[str],
) -> Iterator[tuple[dict[str, Any], AnyRecordTask]]:
    for count in shots:
        for seed in range(seeds if count else 1):
            yield _key("shots", count, seed), with_shots(task, train, count, seed)
    most, least = max(shots), min(shots)
    for order in range(orders if most > 1 else 0):
        drawn = with_shots(task, train, most, 0)
        shown = list(getattr(drawn, "shown"))  # noqa: B009 - `with_shots` has looked
        if order:
            random.Random(order).shuffle(shown)
        yield _key("order", most, 0, order), drawn.model_copy(update={"shown": tuple(shown)})
    field = "template" if "template" in type(task).model_fields else "prompt"
    own = getattr(with_shots(task, train, least, 0), field) if templates else None
    for template in dict.fromkeys((own, *templates)) if templates else ():
        changed = task.model_copy(update={field: template})
        yield _key("template", least, 0, template=template), with_shots(changed, train, least, 0)


def _key(of: Question, shots: int, seed: int, order: int = 0, template: str | None = None) -> dict[str, Any]:
    return {"of": of, "shots": shots, "seed": seed, "order": order, "template": template}
