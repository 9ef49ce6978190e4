"""Lists and dumps of properties: how each kind of value is written."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from cbngtrain.engine.configuration import Block, encoded
from cbngtrain.engine.report import c_float
from cbngtrain.engine.table import EVERYTHING, MAX_INDEXED, Deferred, Link, Table
from cbngtrain.engine.word_sets import WordSets

DOUBLE_MAP = "expr_dmap_dbg"
"""What the last expressions of a chain could see: a property for dumps alone."""

LONGEST_NUMBER = 20  # digits of a 64-bit integer

_DOTS = b" ..."  # the end of what was cut

Files = Mapping[str, BinaryIO]
"""File name → the open file."""


class Copier:
    """Writes rendered bytes to one file."""

    def __init__(self, file: BinaryIO, before: bytes = b"", after: bytes = b"") -> None:
        self._file = file
        self._after = after
        file.write(before)

    def write(self, rendered: bytes) -> None:
        """Take the next chunk."""
        self._file.write(rendered)

    def finish(self) -> None:
        """There are no more."""
        self._file.write(self._after)


@dataclass(frozen=True, slots=True)
class Properties:
    """Per edit a line of ``name=value``, joined by commas."""

    filename: str
    names: tuple[str, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        """The properties that it needs."""
        return self.names

    @property
    def filenames(self) -> tuple[str, ...]:
        """The files that it writes."""
        return (self.filename,)

    def rendered(self, table: Table) -> bytes:
        """Values as in a dump."""
        columns = [_texts_of(table.required(name), None) for name in self.names]
        names = [encoded(name) for name in self.names]
        return b"".join(
            b", ".join(b"%b=%b" % pair for pair in zip(names, row, strict=True)) + b"\n"
            for row in zip(*columns, strict=True)
        )

    def writer(self, files: Files) -> Copier:
        """Lines, one after another."""
        return Copier(files[self.filename])


def write_properties(block: Block) -> list[Link]:
    """A list of edits with some of their properties."""
    block.only("filename", "properties")
    return [Properties(block.text("filename"), block.texts("properties"))]


@dataclass(frozen=True, slots=True)
class Dump:
    """
    Every edit with all its properties, as XML.

    Attributes:
        limit: Bytes that a value may have; longer ones are cut and end in `` ...``.
    """

    filename: str
    limit: int | None
    reads: tuple[str, ...] = (EVERYTHING,)

    @property
    def filenames(self) -> tuple[str, ...]:
        """The files that it writes."""
        return (self.filename,)

    def rendered(self, table: Table) -> bytes:
        """Properties by name, a line each."""
        columns = [
            _elements(name, column, self.limit) for name, column in sorted(table.columns.items())
        ]
        rows = zip(*columns, strict=True)
        return b"".join(b"<WPEdit>\n%b</WPEdit>\n\n\n" % b"".join(row) for row in rows)

    def writer(self, files: Files) -> Copier:
        """An edit set."""
        return Copier(files[self.filename], b"<WPEditSet>\n", b"</WPEditSet>\n")


def edit_dump(block: Block) -> list[Link]:
    """Edits with all their properties."""
    block.only("filename", "maxlen")
    limit = block.integer("maxlen", -1)
    return [Dump(block.text("filename"), limit if limit >= 0 else None)]


def print_progress(block: Block) -> list[Link]:
    """Nothing: progress is shown on every terminal, and ``interval`` is the bar's own choice."""
    block.only("interval")
    return []


def _elements(name: str, column: Any, limit: int | None) -> list[bytes]:
    """The values as elements; nothing where an edit has none."""
    tag = encoded(name)
    begin, end = b"<%b>" % tag, b"</%b>\n" % tag
    is_short = _is_number(column) and (limit is None or limit >= LONGEST_NUMBER)
    is_plain = "%" not in name and len(name.splitlines()) == 1
    if is_short and is_plain and (pattern := _pattern(column)):
        values = column.tolist() if isinstance(column, np.ndarray) else column
        return ((begin + pattern + end) * len(values) % tuple(values)).splitlines(keepends=True)
    # To less than the dots, the native core cuts nothing and appends them.
    texts = _texts_of(column, None if limit is not None and limit < len(_DOTS) else limit)
    if not is_short:
        texts = [None if text is None else _escaped(_cut(text, limit)) for text in texts]
    return [b"" if text is None else begin + text + end for text in texts]


def _is_number(column: Any) -> bool:
    """Whether the values are numbers alone, which are short and need no escapes."""
    if isinstance(column, np.ndarray):
        return column.ndim == 1
    return isinstance(column, list) and {int, float, bool}.issuperset(map(type, column))


def _pattern(column: Any) -> bytes | None:
    """How all values of a column are written, if they are numbers but for NaN."""
    if isinstance(column, np.ndarray):
        if column.ndim != 1 or np.isnan(column).any():
            return None
        return b"%d" if np.issubdtype(column.dtype, np.integer) else b"%g"
    return b"%d" if isinstance(column, list) and set(map(type, column)) == {int} else None


def _cut(text: bytes, limit: int | None) -> bytes:
    """The text, or its beginning; the native core takes a negative length for none."""
    if limit is None or len(text) <= limit:
        return text
    return (text[: limit - len(_DOTS)] if limit >= len(_DOTS) else text) + _DOTS


_BEYOND_ASCII = bytes(range(128, 256))


def _escaped(text: bytes) -> bytes:
    if not text.isascii():
        text = text.translate(None, _BEYOND_ASCII)
    if b"&" in text:
        text = text.replace(b"&", b"&amp;")
    return text.replace(b"<", b"&lt;").replace(b">", b"&gt;")


class DoubleMap:
    """
    The numbers that expressions could see, by name, of each edit.

    Columns are only replaced, never changed, so keeping them keeps what was seen.
    """

    def __init__(self, table: Table) -> None:
        self._table = Table(table.path, table.edits, dict(table.columns))

    def texts(self, limit: int | None) -> list[bytes]:
        """``DoubleMap:`` and a line each, of each edit; at least *limit* + 1 bytes of them."""
        texts = [b"DoubleMap:\n"] * len(self._table.edits)
        for name in self._names(limit):
            numbers, is_whole = self._table.numbers(name)
            lines = [f"{name}: {c_float(number, '%g')}\n" for number in numbers.tolist()]
            if not is_whole:
                there = self._table.presence(name)
                lines = [line * has for line, has in zip(lines, there, strict=True)]
            texts = [text + encoded(line) for text, line in zip(texts, lines, strict=True)]
        return texts

    def _names(self, limit: int | None) -> list[str]:
        """
        The names in order: all, or the first ones whose lines exceed a limit in every edit.

        Names begin with their column's name, so those before the next column's are settled.
        """
        found: list[str] = []
        whole: list[str] = []
        for name, column in sorted(self._table.columns.items()):
            settled = sum(len(each) for each in whole if each < name)
            if limit is not None and settled > limit:
                break
            seen = _names_seen(name, column)
            found += seen
            whole += [each for each in seen if self._table.numbers(each)[1]]
        return sorted(found)


def _names_seen(name: str, column: Any) -> list[str]:
    """The names under which expressions see a column."""
    if isinstance(column, DoubleMap):
        return []
    if isinstance(column, Deferred | WordSets):
        return [name + "_size"]
    if isinstance(column, np.ndarray):
        if column.ndim == 1:
            return [name]
        width = column.shape[1]
        return [f"{name}_{index}" for index in range(width)] if width < MAX_INDEXED else []
    names = []
    if any(type(value) in {int, float, bool} for value in column):
        names.append(name)
    if any(isinstance(value, bytes) for value in column):
        names.append(name + "_size")
    return names


def keep_double_map(table: Table) -> None:
    """Set the property that tells what expressions can see now."""
    table.columns[DOUBLE_MAP] = DoubleMap(table)


def _texts_of(column: Any, limit: int | None) -> list[bytes | None]:
    """The values as text; of long ones at least the first *limit* + 1 bytes."""
    if isinstance(column, DoubleMap):
        return [*column.texts(limit)]
    if isinstance(column, Deferred):
        return column.values() if limit is None else column.beginnings(limit + 1)
    if isinstance(column, np.ndarray) and column.ndim == 2:
        return [_float_set_text(row, limit) for row in column]
    if isinstance(column, WordSets):
        texts = zip(_word_set_texts(column, limit), column.is_there, strict=True)
        return [text if is_there else None for text, is_there in texts]
    values = column.tolist() if isinstance(column, np.ndarray) else column
    return [_TEXTS[type(value)](value) for value in values]


def _word_set_texts(sets: WordSets, limit: int | None) -> list[bytes]:
    """
    A line each: of as many words as fill the limit.

    A line has five bytes at least, and nine come before the first, which tells how many lines
    are enough in any case.
    """
    most = sets.sizes.max(initial=0) if limit is None else max(limit - 9, 0) // 5 + 1
    return [
        b"WordSet:\n" + b"%b: %d\n" * len(words) % tuple(chain.from_iterable(words))
        for words in sets.first(int(most))
    ]


def _float_set_text(values: NDArray[np.float32], limit: int | None) -> bytes:
    """A line has two bytes at least."""
    some = values if limit is None else values[: limit // 2 + 1]
    return ("FloatSet:\n" + "".join(c_float(each, "%g") + "\n" for each in some.tolist())).encode()


_TEXTS: Mapping[type, Callable[[Any], bytes | None]] = {
    type(None): lambda _: None,
    bytes: lambda value: value,
    bool: lambda value: b"true" if value else b"false",
    int: lambda value: b"%d" % value,
    float: lambda value: c_float(value, "%g").encode(),
}
