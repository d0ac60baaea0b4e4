"""CSV as blocks of whole rows, which can be parsed apart from each other.

A quote opens a field only at the field's start, and within it a doubled quote stands
for one; so says RFC 4180, and so do Arrow's and Python's parsers. What follows a
closing quote, up to the next delimiter, is taken as it stands.
"""

import codecs
import csv
import dataclasses
import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from components import files

BLOCK = 4 << 20
_LARGEST_ROW = 256 << 20
_BOM = codecs.BOM_UTF8
# Encodings in which a line break, a quote or a delimiter is one byte and nothing else.
_CUTTABLE = ("utf-8", "ascii", "latin", "iso8859", "cp125", "koi8")


class NoText(OSError):
    """Bytes that are no text in the encoding."""

    def __init__(self, encoding: str, error: UnicodeError):
        wrong = ""
        if isinstance(error, UnicodeDecodeError):
            wrong = f" (byte 0x{error.object[error.start]:02x})"
        super().__init__(
            f"holds bytes that are no {encoding}{wrong}; name the file's encoding"
            " (encoding: latin-1 or cp1252, say), or write it again"
        )


@dataclasses.dataclass(frozen=True)
class Dialect:
    """How a CSV is written.

    Attributes:
      columns: their names, where the file has no header.
      delimiter: one ASCII character.
      quote: one ASCII character, or "" where fields are never quoted.
      nulls: what stands for a missing value, beside an empty field; None: as Arrow has
        it (NA, NULL, nan and the like).
      encoding: any that Python knows.
    """

    columns: tuple[str, ...] = ()
    delimiter: str = ","
    quote: str = '"'
    nulls: tuple[str, ...] | None = None
    encoding: str = "utf8"

    @classmethod
    def of(cls, options: dict[str, Any]) -> "Dialect":
        """From a source's options; keys of others are left alone."""
        known = {field.name for field in dataclasses.fields(cls)}
        given: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in options.items()
            if key in known
        }
        return cls(**given)

    @property
    def codec(self) -> str:
        """Python's own name of the encoding; a byte order mark is skipped anyway."""
        name = codecs.lookup(self.encoding).name
        return "utf-8" if name == "utf-8-sig" else name

    @property
    def is_cuttable(self) -> bool:
        """Whether rows can be told in the file's own bytes."""
        return self.codec.startswith(_CUTTABLE)


def row_end(block: bytes, dialect: Dialect) -> int:
    """How many of the bytes are whole rows; 0 if the first row has no end.

    Args:
      block: begins where a row does.
      dialect: delimiter and quote.
    """
    line_break = b"\n" if b"\n" in block else b"\r"
    quote = dialect.quote.encode()
    if not quote or quote not in block:
        return block.rfind(line_break) + 1
    opens, closes = _quoted(block, dialect)
    stop = len(block)
    if len(opens) > len(closes):
        stop = opens[-1]
    for i in range(len(closes) - 1, -1, -1):
        end = block.rfind(line_break, closes[i] + 1, stop) + 1
        if end:
            return int(end)
        stop = opens[i]
    return block.rfind(line_break, 0, stop) + 1


def _quoted(block: bytes, dialect: Dialect) -> tuple[np.ndarray, np.ndarray]:
    """Where quoted stretches open and close; the last may not close.

    A doubled quote closes one and opens the next. Quotes alternate, unless some stand
    where they mean nothing; then they are looked at one by one.
    """
    array = np.frombuffer(block, np.uint8)
    at = np.flatnonzero(array == ord(dialect.quote))
    opens, closes = at[::2], at[1::2]
    ends = np.zeros(256, bool)
    ends[[ord(dialect.delimiter), ord("\n"), ord("\r")]] = True
    starts_field = (opens == 0) | ends[array[opens - 1]]
    starts_field[1:] |= opens[1:] - 1 == closes[: len(opens) - 1]
    after = closes + 1
    inner = after < len(array)
    ends_field = ~inner | ends[array[np.where(inner, after, 0)]]
    following = opens[1 : len(closes) + 1]
    ends_field[: len(following)] |= after[: len(following)] == following
    if starts_field.all() and ends_field.all():
        return opens, closes
    return _quoted_one_by_one(at.tolist(), block, ends)


def _quoted_one_by_one(
    at: list[int], block: bytes, ends: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    opens, closes = [], []
    i = 0
    while i < len(at):
        if at[i] and not ends[block[at[i] - 1]]:
            i += 1
            continue
        opens.append(at[i])
        i += 1
        while i + 1 < len(at) and at[i + 1] == at[i] + 1:
            i += 2
        if i < len(at):
            closes.append(at[i])
            i += 1
    return np.array(opens, int), np.array(closes, int)


def cuts(path: str, dialect: Dialect, size: int, length: int) -> list[int]:
    """Byte offsets, beginning with 0, at which rows begin, at most `length` apart."""
    found = [0]
    with files.open_file(path) as file:
        while size - found[-1] > length:
            file.seek(found[-1])
            chunk, end = b"", 0
            while not end:
                more = file.read(max(length, len(chunk)))
                chunk += more
                end = row_end(chunk, dialect)
                if not more or len(chunk) > _LARGEST_ROW:
                    return found
            if found[-1] + end >= size:
                return found
            found.append(found[-1] + end)
    return found


def blocks(
    path: str, dialect: Dialect, start: int = 0, stop: int | None = None
) -> Iterator[bytes]:
    """Whole rows in UTF-8, about `BLOCK` bytes of them at a time, without the mark.

    Args:
      path: the file.
      dialect: its encoding and quoting.
      start: first byte, where a row begins.
      stop: the byte after the last; None: the file's end.

    Raises:
      OSError: truncated, no text of the encoding, or a quote that is never closed.
    """
    rest, first = b"", start == 0
    for chunk in _chunks(path, dialect, start, stop):
        if first:
            chunk, first = chunk.removeprefix(_BOM), False
        rest += chunk
        if len(rest) < BLOCK:
            continue
        end = row_end(rest, dialect)
        if end:
            yield rest[:end]
            rest = rest[end:]
        elif len(rest) > _LARGEST_ROW:
            raise OSError(
                f"a row has more than {_LARGEST_ROW >> 20} MiB; a quote may never be"
                " closed"
            )
    if rest.strip(b"\r\n"):
        yield rest


def _chunks(
    path: str, dialect: Dialect, start: int, stop: int | None
) -> Iterator[bytes]:
    decode = None if dialect.codec == "utf-8" else _decoder(dialect)
    with _stream(path, start, stop) as stream:
        left = None if stop is None else stop - start
        while left is None or left > 0:
            chunk = stream.read(BLOCK if left is None else min(BLOCK, left))
            if left is not None:
                left -= len(chunk)
            if not chunk:
                break
            yield decode(chunk, False) if decode else chunk
        if decode:
            yield decode(b"", True)


def _decoder(dialect: Dialect) -> Any:
    decoder = codecs.getincrementaldecoder(dialect.codec)()

    def decode(chunk: bytes, final: bool) -> bytes:
        try:
            return decoder.decode(chunk, final).encode()
        except UnicodeError as error:
            raise NoText(dialect.encoding, error) from error

    return decode


def _stream(path: str, start: int, stop: int | None) -> Any:
    if stop is None and not start:
        return files.open_stream(path)
    file = files.open_file(path)
    file.seek(start)
    return file


def split_header(block: bytes, dialect: Dialect) -> tuple[list[str], bytes, int]:
    """The first row, what follows it, and the number of lines that it takes.

    Args:
      block: the file's first.
      dialect: its quoting.

    Raises:
      OSError: it cannot be told.
    """
    taken, lines = 0, 0

    def each_line() -> Iterator[str]:
        nonlocal taken, lines
        text = io.StringIO(decoded(block), newline="")
        for line in text:
            taken += len(line.encode())
            lines += 1
            yield line

    try:
        for row in rows(each_line(), dialect):
            if row:
                return row, block[taken:], lines
    except csv.Error as error:
        raise OSError(str(error)) from error
    raise OSError("it has no header")


def rows(lines: Iterator[str], dialect: Dialect) -> Any:
    """Python's reader of the dialect."""
    csv.field_size_limit(_LARGEST_ROW)
    quoting: dict[str, Any] = {"quotechar": dialect.quote}
    if not dialect.quote:
        quoting = {"quoting": csv.QUOTE_NONE}
    return csv.reader(lines, delimiter=dialect.delimiter, **quoting)


def decoded(block: bytes) -> str:
    """The text of a block.

    Raises:
      NoText: it is not UTF-8.
    """
    try:
        return block.decode()
    except UnicodeDecodeError as error:
        raise NoText("utf8", error) from error


def count_lines(block: bytes) -> int:
    """Line breaks in a block."""
    return block.count(b"\n") or block.count(b"\r")


def lines_before(path: str, start: int) -> int:
    """Line breaks in the first `start` bytes of a file that is read in ranges."""
    found = 0
    with files.open_file(path) as file:
        while start > 0 and (chunk := file.read(min(BLOCK, start))):
            found += chunk.count(b"\n")
            start -= len(chunk)
    return found
