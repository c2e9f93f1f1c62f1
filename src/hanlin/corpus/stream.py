"""A file's bytes as blocks of decoded text, decompressed and with newlines unified, in bounded memory."""

import codecs
import contextlib
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from hanlin.base.errors import DataError, MissingExtra
from hanlin.base.language import Text
from hanlin.corpus.encoding import SAMPLE_BYTES, detect_encoding
from hanlin.corpus.intake import Intake

if TYPE_CHECKING:
    import zstandard

BLOCK_BYTES = 1 << 18
_ZSTD_BLOCK_BYTES = 1 << 14
LONGEST_LINE = 64 << 20
"""Characters in the longest line that record files may hold."""


def open_bytes(path: Path) -> IO[bytes]:
    """Open `path` for reading, decompressing `.gz` and `.zst`. Raises `DataError` if it cannot be opened."""
    try:
        if path.suffix.lower() == ".gz":
            return cast(IO[bytes], gzip.open(path, "rb"))
        if path.suffix.lower() == ".zst":
            return _open_zst(path)
        return open(path, "rb")
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> DataError:
    """The error for a file that the system does not let us read."""
    reason = error.strerror or str(error)
    return DataError(
        Text(f"Cannot read {path}: {reason}.", f"无法读取 {path}：{reason}。"),
        Text("Check the path and its permissions.", "请检查路径和权限。"),
    )


def _open_zst(path: Path) -> IO[bytes]:
    try:
        import zstandard
    except ImportError as error:
        raise MissingExtra(Text("Reading .zst files", "读取 .zst 文件"), "data") from error
    return io.BufferedReader(_ZstdStream(open(path, "rb"), zstandard.ZstdDecompressor()), BLOCK_BYTES)


class _ZstdStream(io.RawIOBase):
    """Frames one after another; a cut frame is an `EOFError`, which zstandard's own reader passes over."""

    def __init__(self, file: IO[bytes], decompressor: "zstandard.ZstdDecompressor") -> None:
        self._file = file
        self._decompressor = decompressor
        self._frame = decompressor.decompressobj()
        self._inside_frame = False
        self._held = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._held:
            block = self._frame.unused_data if self._frame.eof else b""
            if self._frame.eof:
                self._frame = self._decompressor.decompressobj()
                self._inside_frame = False
            block = block or self._file.read(_ZSTD_BLOCK_BYTES)
            if not block:
                if self._inside_frame:
                    raise EOFError("the last frame is cut off")
                return 0
            self._inside_frame = True
            self._held = self._frame.decompress(block)
        taken = len(buffer[: len(self._held)])
        buffer[:taken] = self._held[:taken]
        self._held = self._held[taken:]
        return taken

    def close(self) -> None:
        self._file.close()
        super().close()


@contextlib.contextmanager
def decompression_errors(path: Path, intake: Intake) -> Iterator[None]:
    """Turn damaged or truncated compressed data into trouble of `intake`."""
    damage: tuple[type[Exception], ...] = (EOFError, zlib.error, gzip.BadGzipFile)
    with contextlib.suppress(ImportError):
        import zstandard

        damage = (*damage, zstandard.ZstdError)
    try:
        yield
    except damage as error:
        intake.trouble(
            path,
            None,
            "damaged compression",
            Text(
                f"the compressed data is damaged or cut off ({error}).",
                f"压缩数据已损坏或不完整（{error}）。",
            ),
            Text("Download or compress the file again.", "请重新下载或压缩该文件。"),
        )


def text_blocks(path: Path, encoding: str, intake: Intake) -> Iterator[str]:
    """Yield the text of `path` in blocks, newlines unified to `\\n`.

    `encoding` is a codec name, or `auto` to detect it. An empty file, a file that is not text and bytes that
    do not decode are trouble of `intake`: raised, or counted (such bytes then become U+FFFD).
    """
    with open_bytes(path) as file, decompression_errors(path, intake):
        head, sample, complete = _sample(file)
        if not sample:
            intake.trouble(
                path,
                None,
                "empty file",
                Text("the file is empty.", "文件是空的。"),
                Text("Remove it.", "请移除该文件。"),
            )
            return
        codec = detect_encoding(sample, complete) if encoding == "auto" else encoding
        if codec is None:
            intake.trouble(
                path,
                None,
                "not text",
                Text("the file is not text in any known encoding.", "文件不是文本，或编码无法识别。"),
                Text(
                    "Remove it, or name its encoding: encoding: gb18030.",
                    "请移除该文件，或指明编码：encoding: gb18030。",
                ),
            )
            return
        intake.encodings[codec] += 1
        yield from _decoded(path, file, head, codec, intake)


def _sample(file: IO[bytes]) -> tuple[list[bytes], bytes, bool]:
    """Read on until bytes over 7F were seen: (what was read, the sample to judge, whether it is the whole).

    A file may begin with pages of ASCII before the first character that tells its encoding; at most
    64 MiB are looked through (and held) for it.
    """
    head = [file.read(SAMPLE_BYTES)]
    while head[-1].isascii() and len(head[-1]) == SAMPLE_BYTES and len(head) < 1024:
        head.append(file.read(SAMPLE_BYTES))
    complete = len(head[-1]) < SAMPLE_BYTES
    if len(head) > 1 and not head[-1].isascii():
        return head, _from_line_start(head[-1]), complete
    return head, head[0], complete and len(head) == 1


def _from_line_start(block: bytes) -> bytes:
    """A block from the middle of a file without the line that began before it (its tail, if it is one line)."""
    first_high = next(index for index, byte in enumerate(block) if byte > 0x7F)
    return block[max(0, block.rfind(b"\n", 0, first_high) + 1) :]


def _decoded(path: Path, file: IO[bytes], head: list[bytes], codec: str, intake: Intake) -> Iterator[str]:
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    decoder = codecs.getincrementaldecoder(codec)("strict")
    offset = 0
    while True:
        block = head.pop(0) if head else file.read(BLOCK_BYTES)
        state = decoder.getstate()
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            place = offset - len(state[0]) + error.start
            intake.trouble(
                path,
                None,
                "undecodable bytes",
                Text(
                    f"byte {place} is not {codec} ({error.reason}).",
                    f"第 {place} 字节不是 {codec} 编码（{error.reason}）。",
                ),
                Text(
                    "Name the right encoding (encoding: gb18030) or mend the file.",
                    "请指明正确的编码（如 encoding: gb18030），或修复该文件。",
                ),
            )
            decoder = codecs.getincrementaldecoder(codec)("replace")
            decoder.setstate(state)
            text = decoder.decode(block, final=not block)
            intake.counts["undecodable places replaced by U+FFFD"] += text.count("\ufffd")
            state = decoder.getstate()
            decoder = codecs.getincrementaldecoder(codec)("strict")
            decoder.setstate(state)
        offset += len(block)
        yield newlines.decode(text, final=not block)
        if not block:
            return


def text_lines(path: Path, encoding: str, intake: Intake) -> Iterator[str]:
    """Yield the lines of `path` without their newline; a line longer than `LONGEST_LINE` is a `DataError`."""
    parts: list[str] = []
    held = 0
    for block in text_blocks(path, encoding, intake):
        first, *rest = block.split("\n")
        parts.append(first)
        held += len(first)
        if held > LONGEST_LINE:
            raise DataError(
                Text(
                    f"{path} has a line of more than {LONGEST_LINE:,} characters.",
                    f"{path} 中有一行超过 {LONGEST_LINE:,} 个字符。",
                ),
                Text("Write one record a line.", "请每行只写一条记录。"),
            )
        for line in rest:
            yield "".join(parts)
            parts, held = [line], len(line)
    if held:
        yield "".join(parts)


def whole_text(path: Path, encoding: str, intake: Intake, limit: int) -> str:
    """The whole text of a file that a reader needs at once; more than `limit` characters are a `DataError`."""
    parts: list[str] = []
    held = 0
    for block in text_blocks(path, encoding, intake):
        parts.append(block)
        held += len(block)
        if held > limit:
            raise DataError(
                Text(f"{path} has more than {limit:,} characters.", f"{path} 超过 {limit:,} 个字符。"),
                Text(
                    "Files of this kind are read whole: split it, or convert it to JSONL.",
                    "这类文件要整体读入：请将其拆分，或转换为 JSONL。",
                ),
            )
    return "".join(parts)
