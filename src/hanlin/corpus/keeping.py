"""The step that compares documents: exact and near copies are dropped, or kept together in one cluster."""

from hanlin.base.records import Document
from hanlin.corpus.config import DeduplicateConfig
from hanlin.corpus.duplicates import Clusters, NearCopies, text_digest
from hanlin.corpus.report import Clean, StepReport
from hanlin.corpus.spill import Spill


class Keeping:
    """Decides which documents stay; those that do are in `spill`, numbered in the order in which they came."""

    def __init__(self, config: DeduplicateConfig, spill: Spill, clean: Clean) -> None:
        self._config = config
        self._spill = spill
        self._first_of: dict[bytes, int] = {}
        self._digests = bytearray()
        self._clusters = Clusters()
        self._near = NearCopies(config, spill.text) if config.near != "off" else None
        self.exact = StepReport("exact duplicates", clean)
        self.near = StepReport("near duplicates", clean)

    @property
    def steps(self) -> tuple[StepReport, ...]:
        """The reports, in the order of the steps."""
        return self.exact, self.near

    def keep(self, document: Document) -> bool:
        """Keep a document or drop it as a copy; says whether it stays."""
        text = document.text
        digest = text_digest(text)
        twin = self._first_of.get(digest)
        if twin is not None and self._config.exact == "drop":
            self.exact.dropped(text, "repeats an earlier document", document.source, self._spill.text(twin))
            return False
        self.exact.passed(text, text)
        if twin is not None:
            self.exact.noted(text, "repeats an earlier document, kept", document.source)
            self.near.passed(text, text)
            self._add(document, digest, [twin])
            return True
        copies = self._near_copies(text)
        if copies and self._config.near == "drop":
            self.near.dropped(
                text, "near copy of an earlier document", document.source, self._spill.text(copies[0])
            )
            return False
        self.near.passed(text, text)
        if copies:
            self.near.noted(
                text, "near copy of an earlier document, kept", document.source, self._spill.text(copies[0])
            )
        self._first_of[digest] = self._add(document, digest, copies)
        return True

    def _near_copies(self, text: str) -> list[int]:
        if self._near is None:
            return []
        return self._near.find_and_add(text, len(self._spill), keep_copies=self._config.near == "keep")

    def _add(self, document: Document, digest: bytes, copies: list[int]) -> int:
        number = self._clusters.add()
        assert number == len(self._spill)
        self._spill.append(document)
        self._digests += digest
        for copy in copies:
            self._clusters.join(copy, number)
        return number

    def cluster_key(self, number: int) -> bytes:
        """16 bytes that a kept document shares with all its exact and near copies, and with no other."""
        first = self._clusters.first(number)
        return bytes(self._digests[16 * first : 16 * first + 16])

    @property
    def candidates(self) -> int:
        """How many pairs of documents were compared shingle by shingle."""
        return self._near.candidates if self._near else 0
