"""
The properties of a chunk of edits, as columns; steps that make columns; outputs of them.

A column has one value per edit, in the order of the edit set; None where an edit has no such
property. Values are ``bytes`` (text), ``int``, ``float`` (a 32-bit float's value) and ``bool``.
Columns of ints (64 bits) and floats (32 bits) may be arrays, shape (n_edits,); float sets are,
shape (n_edits, n_values); a column of texts may be `Deferred`; and one of word sets is `WordSets`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cbngtrain.engine.edits import Edit
from cbngtrain.engine.errors import FormatError
from cbngtrain.engine.word_sets import Splitting, WordSets

Doubles = NDArray[np.float64]

MAX_INDEXED = 512  # the core gives values of float sets shorter than this a name each

_NUMBERS = frozenset({int, float, bool})
_INDEXED = re.compile(r"(.+)_(0|[1-9]\d*)")


class Deferred:
    """
    A column of texts made of another one, when it is asked for.

    Args:
        texts: The other column.
        function: Makes the one of the other, from the beginning on: the beginning of a text
            becomes the beginning of its result.
    """

    def __init__(self, texts: Sequence[bytes | None], function: Callable[[bytes], bytes]) -> None:
        self._texts = texts
        self._function = function
        self._values: list[bytes | None] | None = None

    def values(self) -> list[bytes | None]:
        """The texts."""
        if self._values is None:
            self._values = [None if t is None else self._function(t) for t in self._texts]
        return self._values

    def beginnings(self, size: int) -> list[bytes | None]:
        """Of each text the beginning, at least *size* bytes of it."""
        return [None if t is None else self._beginning(t, size) for t in self._texts]

    def _beginning(self, text: bytes, size: int) -> bytes:
        taken = 2 * size
        while len(result := self._function(text[:taken])) < size and taken < len(text):
            taken *= 4
        return result


class Rendered(Protocol):
    """A column that is only ever written."""

    def texts(self, limit: int | None) -> list[bytes]:
        """The values as text, of long ones at least *limit* + 1 bytes."""


Column = list[Any] | NDArray[Any] | Deferred | WordSets | Rendered
"""See the module."""


@dataclass(slots=True)
class Table:
    """
    The properties of the edits of a chunk.

    Attributes:
        path: The file that the edits are of, for messages.
        edits: The edits as they stand there.
        columns: Property → its values.
        splitting: Splits their texts into words.
    """

    path: Path
    edits: Sequence[Edit]
    columns: dict[str, Column] = field(default_factory=dict)
    splitting: Splitting = field(default_factory=Splitting)

    def optional(self, name: str) -> Any:
        """The values of a property, None where an edit has no such property."""
        column = self.columns.get(name)
        if column is None:
            return [None] * len(self.edits)
        return column.values() if isinstance(column, Deferred) else column

    def put(self, name: str, column: Column) -> None:
        """Set a property; where a list has None, an edit keeps the value that it has."""
        before = self.columns.get(name)
        if isinstance(column, list) and None in column and _is_of_values(before):
            kept = before.tolist() if isinstance(before, np.ndarray) else self.optional(name)
            column = [old if new is None else new for old, new in zip(kept, column, strict=True)]
        self.columns[name] = column

    def required(self, name: str, *kinds: type) -> Any:
        """
        The values of a property that every edit must have.

        Raises:
            FormatError: An edit has none, or it is of none of *kinds* (where given).
        """
        column = self.optional(name)
        if isinstance(column, list):
            self.require(name, [value is not None for value in column])
            for edit, value in zip(self.edits, column, strict=True):
                if kinds and not isinstance(value, kinds):
                    raise self._of_wrong_type(name, edit)
            return column
        if isinstance(column, WordSets):
            self.require(name, column.is_there)
        if kinds:
            raise self._of_wrong_type(name, self.edits[0])
        return column

    def require(self, name: str, is_there: Sequence[bool]) -> None:
        """Raise the FormatError of the first edit that has not the property, if there is one."""
        for edit, has in zip(self.edits, is_there, strict=True):
            if not has:
                raise FormatError(self.path, edit.place, f"the edit has no {name}")

    def _of_wrong_type(self, name: str, edit: Edit) -> FormatError:
        return FormatError(self.path, edit.place, f"{name} is of the wrong type")

    def word_sets(self, name: str) -> WordSets:
        """
        The word sets that every edit must have.

        Raises:
            FormatError: An edit has none, or something else.
        """
        column = self.required(name)
        if not isinstance(column, WordSets):
            raise self._of_wrong_type(name, self.edits[0])
        return column

    def floats(self, name: str) -> NDArray[np.float32]:
        """
        The values of a property that is a float, and that every edit must have; (n_edits,).

        Raises:
            FormatError: An edit has none, or something else.
        """
        values = np.asarray(self.required(name))
        if values.ndim != 1 or values.dtype.kind != "f":
            raise self._of_wrong_type(name, self.edits[0])
        return values.astype(np.float32)

    def float_sets(self, name: str) -> NDArray[np.float32]:
        """
        The float sets that every edit must have, shape (n_edits, n_values).

        Raises:
            FormatError: An edit has none, or something else.
        """
        values = self.float_set(name)
        if values is None:
            self.required(name)
            raise self._of_wrong_type(name, self.edits[0])
        return values

    def texts(self, name: str) -> list[bytes | None]:
        """
        The values of a property that is text, None where an edit has no such property.

        Raises:
            FormatError: A value is not text.
        """
        column: list[bytes | None] = self.optional(name)
        for edit, value in zip(self.edits, column, strict=True):
            if value is not None and type(value) is not bytes:
                raise FormatError(self.path, edit.place, f"{name} is not text")
        return column

    def float_set(self, name: str) -> NDArray[np.float32] | None:
        """The values of a property that is a float set, shape (n_edits, n_values); else None."""
        column = self.columns.get(name)
        return column if isinstance(column, np.ndarray) and column.ndim == 2 else None

    def numbers(self, name: str) -> tuple[Doubles, bool]:
        """
        The values that an expression sees under a name, and whether all edits have it.

        A name is that of a number; or ``NAME_size``, how long a text is or how many distinct
        words a word set has; or ``NAME_3``, a value of a float set. What an edit has not is 0.
        """
        column = self.columns.get(name)
        if isinstance(column, np.ndarray) and column.ndim == 1:
            return column.astype(np.float64), True
        if isinstance(column, list) and _NUMBERS.issuperset(map(type, column)):
            return np.array(column, np.float64), True
        if column is None and name.endswith("_size"):
            return self._lengths(name.removesuffix("_size"))
        values = [self._number(name, index) for index in range(len(self.edits))]
        is_whole = None not in values
        return np.array([0.0 if v is None else v for v in values], np.float64), is_whole

    def presence(self, name: str) -> list[bool]:
        """Return which edits have the number that `numbers` gives under a name."""
        column = self.columns.get(name.removesuffix("_size"))
        if isinstance(column, WordSets) and name not in self.columns:
            return list(map(bool, column.is_there))
        if isinstance(column, Deferred) and name not in self.columns:
            return [isinstance(each, bytes) for each in self.optional(name.removesuffix("_size"))]
        return [self._number(name, index) is not None for index in range(len(self.edits))]

    def _lengths(self, name: str) -> tuple[Doubles, bool]:
        """How long texts are, or how many distinct words sets have; and whether all edits do."""
        column = self.columns.get(name)
        if isinstance(column, WordSets):
            return column.sizes.astype(np.float64), all(column.is_there)
        values = self.optional(name) if isinstance(column, list | Deferred) else []
        lengths = [len(each) if isinstance(each, bytes) else 0 for each in values]
        is_whole = bool(lengths) and all(isinstance(each, bytes) for each in values)
        return np.array(lengths or [0] * len(self.edits), np.float64), is_whole

    def _number(self, name: str, index: int) -> float | None:
        value = self._value(name, index)
        if type(value) in _NUMBERS:
            return float(value)
        if name.endswith("_size"):
            value = self._value(name.removesuffix("_size"), index)
            if isinstance(value, bytes):
                return float(len(value))
        if match := _INDEXED.fullmatch(name):
            values = self.float_set(match[1])
            if values is not None and int(match[2]) < values.shape[1] < MAX_INDEXED:
                return float(values[index, int(match[2])])
        return None

    def _value(self, name: str, index: int) -> Any:
        """One edit's value of a property; None where it has none, or a float set."""
        column = self.columns.get(name)
        if column is None or isinstance(column, WordSets) or self.float_set(name) is not None:
            return None
        value = self.optional(name)[index]
        return value.item() if isinstance(value, np.generic) else value


def _is_of_values(column: Column | None) -> bool:
    """Whether it has one value for each edit, or None."""
    if isinstance(column, np.ndarray):
        return column.ndim == 1
    return isinstance(column, list | Deferred)


def sources_of(name: str) -> set[str]:
    """The properties that a name in an expression may be made of."""
    names = {name}
    if name.endswith("_size"):
        names.add(name.removesuffix("_size"))
    if match := _INDEXED.fullmatch(name):
        names.add(match[1])
    return names


EVERYTHING = "*"
"""In `reads`: all properties there are."""


@dataclass(frozen=True, slots=True)
class Step:
    """
    Makes properties of properties.

    Attributes:
        reads: What it reads (`EVERYTHING`, or names).
        makes: What it sets; empty: it changes what is there, and is always run.
        run: Does it.
    """

    reads: tuple[str, ...]
    makes: tuple[str, ...]
    run: Callable[[Table], None]


class Output(Protocol):
    """Writes what becomes of edits: rendered where the edits are, written where the file is."""

    @property
    def reads(self) -> tuple[str, ...]:
        """The properties that it needs (`EVERYTHING`, or names)."""

    @property
    def filenames(self) -> tuple[str, ...]:
        """The files that it writes, relative to the working directory."""

    def rendered(self, table: Table) -> Any:
        """What is to be written of these edits; anything that can be pickled."""

    def writer(self, files: Mapping[str, Any]) -> "Writer":
        """What takes the rendered edits in order."""


class Writer(Protocol):
    """Takes rendered edits, chunk by chunk, in the order of the edit set."""

    def write(self, rendered: Any) -> None:
        """Take the next chunk."""

    def finish(self) -> None:
        """There are no more."""


Link = Step | Output
