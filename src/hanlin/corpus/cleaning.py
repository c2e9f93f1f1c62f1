"""The steps that look at one document alone: normalise, filter, identify the language, scrub."""

from collections import Counter

from hanlin.base.records import Document
from hanlin.corpus.config import CorpusConfig
from hanlin.corpus.duplicates import text_digest
from hanlin.corpus.filters import broken_rule
from hanlin.corpus.intake import Raw
from hanlin.corpus.language import language_identifier
from hanlin.corpus.normalize import normalize
from hanlin.corpus.report import StepReport
from hanlin.corpus.scrub import scrubber


class Cleaning:
    """Takes texts one by one and reports what it did to them."""

    def __init__(self, config: CorpusConfig) -> None:
        self._config = config
        self._scrub = scrubber(config.scrub)
        self._identify = language_identifier() if config.language.identify else None
        self.replaced: Counter[str] = Counter()
        self.normalized = StepReport("normalize", self.hide)
        self.filtered = StepReport("filter", self.hide)
        self.languages = StepReport("language", self.hide)
        self.scrubbed = StepReport("scrub", self.hide, show_before=False)

    @property
    def steps(self) -> tuple[StepReport, ...]:
        """The reports, in the order of the steps."""
        return self.normalized, self.filtered, self.languages, self.scrubbed

    def hide(self, text: str) -> str:
        """A text without personal data, for excerpts in the report."""
        return self._scrub(text, Counter())

    def clean(self, raw: Raw) -> Document | None:
        """The document that a text becomes, or None if it is dropped."""
        text = normalize(raw.text, self._config.normalize)
        self.normalized.passed(raw.text, text)
        rule = broken_rule(text, self._config.filters)
        if rule is not None:
            self.filtered.dropped(text, rule, raw.source)
            return None
        self.filtered.passed(text, text)
        language = self._identify(text) if self._identify else ""
        if self._config.language.keep and language not in self._config.language.keep:
            self.languages.dropped(text, f"language {language or 'unknown'}", raw.source)
            return None
        self.languages.passed(text, text)
        scrubbed = self._scrub(text, self.replaced)
        self.scrubbed.passed(text, scrubbed)
        return Document.model_construct(
            id=text_digest(raw.text).hex(),
            text=scrubbed,
            source=raw.source,
            language=language,
            licence=raw.licence,
        )
