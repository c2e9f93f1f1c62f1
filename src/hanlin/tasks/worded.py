"""Classes by the words that a language model would say: trained (verbalizer, prompt-tuning), or as the model is.

N records, K labels.
"""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any

import numpy as np
from torch import inference_mode, log_softmax, logsumexp, stack, tensor

from hanlin.base.errors import ConfigError
from hanlin.base.language import Text
from hanlin.base.records import Labelled
from hanlin.batches.asked import AskedWords
from hanlin.batches.batch import IGNORE
from hanlin.batches.labels import Places
from hanlin.batches.prompted import PromptedTexts
from hanlin.batches.template import GAP, Template, WordPrompt, filled_text
from hanlin.evaluate.measure import Ids
from hanlin.evaluate.words import script_of
from hanlin.model.cache import KeyValueCache
from hanlin.model.headed import Headed
from hanlin.model.heads import OVER_VOCABULARY
from hanlin.objective.prompt import PromptChoice
from hanlin.objective.term import Objective
from hanlin.tasks.class_forms import Scores
from hanlin.tasks.long_texts import TooLong, refuse_cut
from hanlin.tasks.opened import Opened
from hanlin.tasks.passes import passed
from hanlin.tokenizer.chat import ChatTemplate

CONTENT_FREE = ("N/A", "", "[MASK]")
"""Texts that say nothing, by which a model's liking for some words is seen (arXiv 2102.09690, section 5)."""

MOST_LISTED = 20
"""Classes that a default template lists; more are not named in it."""


@dataclass(frozen=True)
class WordsForm:
    """The word of each label in a template. shown: records that stand before each, with their words filled in.

    calibrate: the probabilities of the words are divided by those that they have beside `CONTENT_FREE` texts
    (contextual calibration, arXiv 2102.09690, section 5). chat: the template is asked as a turn of a conversation.
    """

    labels: tuple[str, ...]
    template: str
    words: Mapping[str, str]
    shown: tuple[Labelled, ...]
    chat: bool
    calibrate: bool
    max_tokens: int | None
    too_long: TooLong

    def head(self) -> dict[str, Any]:
        """The language model's own."""
        return {}

    def examples(
        self, opened: Opened, records: Sequence[Labelled], numbers: Ids, places: Places
    ) -> PromptedTexts:
        """Each record in the template. Raises `ConfigError` for a model that has no words, and as `Template`."""
        most = opened.window(self.max_tokens) + len(opened.prefix)
        fields = list(map(_fields, records))
        texts = PromptedTexts(fields, numbers, self._prompt(opened), opened.tokenizer.pad_id, most, places)
        if self.too_long == "refuse":
            refuse_cut(texts.cut, most, places)
        return texts

    def objective(self, numbers: Ids) -> Objective:
        """Cross-entropy over the words."""
        return PromptChoice()

    def scores(self, opened: Opened, records: Sequence[Labelled], title: str) -> Scores:
        """Log-probabilities of the words, or what calibration makes of them."""
        free = [_without_content(text, records[:1]) for text in CONTENT_FREE] if self.calibrate else []
        asked = [*records, *chain.from_iterable(free)]
        examples = self.examples(opened, asked, np.full(len(asked), IGNORE, np.int64), None)
        objective, model = PromptChoice(), opened.headed
        before, rest = None, examples
        if model.config.assembly == "decoder" and examples.shared:
            before, rest = _read(opened, examples.shared), examples.after(len(examples.shared))
        said = passed(opened, rest, lambda batch: objective.scores(model, batch, before), title)
        scores_NK = stack(said).double()
        if self.calibrate:
            prior_FK = log_softmax(scores_NK[len(records) :], 1)
            scores_NK = scores_NK[: len(records)] - logsumexp(prior_FK, 0)
        return Scores(scores_NK.numpy(), np.array(examples.cut[: len(records)], np.int64))

    def _prompt(self, opened: Opened) -> WordPrompt:
        model, tokenizer = opened.model, opened.tokenizer
        if not isinstance(model, Headed) or model.config.head not in OVER_VOCABULARY:
            raise ConfigError(
                Text(f"{opened.name} has no output over words, by which classes could be asked for.",
                     f"{opened.name} 没有词表输出，无法用词来询问类别。"),
                Text("Choose a causal or masked language model, or one of the methods full and lora.",
                     "请选用因果或掩码语言模型，或改用方法 full、lora。"),
            )  # fmt: skip
        words = [self.words[label] for label in self.labels]
        shots = [(_fields(record), self.words[(record.labels or ("",))[0]]) for record in self.shown]
        masked = model.config.head != "lm"
        if self.chat and not masked:
            template = ChatTemplate(tokenizer)
            return AskedWords(self.template, words, tokenizer, template, shots=shots, prefix=opened.prefix)
        before = "".join(filled_text(self.template, {**fields, GAP: word}) + "\n\n" for fields, word in shots)
        return Template(self.template, words, tokenizer, masked=masked, prefix=opened.prefix, before=before)


def draw_shots(
    records: Sequence[Labelled], labels: Sequence[str], shots: int, seed: int
) -> tuple[Labelled, ...]:
    """Records to show, by turns of each label, in random order; of each label, only from the shorter half of its records,
    which leaves each prompt more room for its own."""
    draw = random.Random(seed)
    by_label: dict[str, list[Labelled]] = defaultdict(list)
    for record in sorted(records, key=lambda one: sum(map(len, one.inputs))):
        by_label[(record.labels or ("",))[0]].append(record)
    sides = [
        draw.sample(half, len(half))
        for label in draw.sample(labels, len(labels))
        if (half := by_label[label][: (len(by_label[label]) + 1) // 2])
    ]
    turns = [record for turn in zip_longest(*sides) for record in turn if record is not None]
    return tuple(draw.sample(turns[:shots], min(shots, len(turns))))


def default_template(records: Sequence[Labelled], words: Sequence[str]) -> str:
    """A plain question in the language of the records: Chinese if they are, else English."""
    is_pair = any(record.pair is not None for record in records)
    listed = len(words) <= MOST_LISTED
    if script_of(chain.from_iterable(record.inputs for record in records[:1000])) == "han":
        choices = "：" + "、".join(words) if listed else ""
        if is_pair:
            return f"判断两个文本的关系{choices}。\n文本一：{{text}}\n文本二：{{pair}}\n关系：{{word}}"
        return f"判断文本的类别{choices}。\n文本：{{text}}\n类别：{{word}}"
    choices = " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
    if is_pair:
        how = f": {choices}" if listed else ""
        return f"Say how the two texts relate{how}.\nFirst text: {{text}}\nSecond text: {{pair}}\nRelation: {{word}}"
    how = f" as {choices}" if listed else ""
    return f"Classify the text{how}.\nText: {{text}}\nClass: {{word}}"


def words_of(labels: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """The word of each label: what is given, else the label's own name.

    Raises `ConfigError` for words of labels that do not exist, and for labels without letters, which no model would say.
    """
    unknown = [label for label in given if label not in labels]
    if unknown:
        raise ConfigError(
            Text(f"task.words has {', '.join(unknown)}; the labels are {', '.join(labels)}.",
                 f"task.words 中有 {'、'.join(unknown)}；而标签为 {'、'.join(labels)}。"),
            Text("Name the labels as the records have them.", "请使用记录中的标签名。"),
        )  # fmt: skip
    bare = [label for label in labels if label not in given and not any(map(str.isalpha, label))]
    if bare:
        raise ConfigError(
            Text(f"The labels {', '.join(bare)} are no words, by which a language model could be asked.",
                 f"标签 {'、'.join(bare)} 不是词，无法用来询问语言模型。"),
            Text("Give each a word: task.words={" + ", ".join(f"{label}: ..." for label in bare) + "}",
                 "请为每个标签给出一个词：task.words={" + ", ".join(f"{label}: ..." for label in bare) + "}"),
        )  # fmt: skip
    return {label: given.get(label, label) for label in labels}


def check_slots(slots: Sequence[str], records: Sequence[Labelled]) -> None:
    """Raise `ConfigError` for slots that records do not have, and for a template that leaves a text of them out."""
    have = ["text", "pair"] if any(record.pair is not None for record in records) else ["text"]
    if sorted(slots) != sorted(have):
        asked, there = (" ".join(f"{{{slot}}}" for slot in some) or "-" for some in (slots, have))
        raise ConfigError(
            Text(f"The template has the slots {asked}; the records have {there}.",
                 f"模板的槽位为 {asked}；记录有 {there}。"),
            Text(f"Write {there} into task.template.", f"请在 task.template 中写上 {there}。"),
        )  # fmt: skip


@inference_mode()
def _read(opened: Opened, ids: list[int]) -> KeyValueCache:
    """What a decoder keeps of a text that it has read: one row."""
    compute = opened.compute
    cache = KeyValueCache(opened.headed.config, 1, len(ids), compute.device, compute.precision)
    with compute.autocast():
        opened.headed.hidden(tensor([ids], device=compute.device), cache=cache)
    return cache


def _fields(record: Labelled) -> dict[str, str]:
    return {"text": record.text} if record.pair is None else {"text": record.text, "pair": record.pair}


def _without_content(text: str, like: Sequence[Labelled]) -> list[Labelled]:
    return [Labelled(text=text, pair=None if one.pair is None else text) for one in like]
