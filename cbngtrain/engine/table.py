"""
The properties of a chunk of edits, as columns; steps that make columns; outputs of them.

A column has one value per edit, in the order of the edit set; None where an edit has no such
property. Values are ``bytes`` (text), ``int``, ``float`` (a 32-bit float's value), ``bool`` and
``dict`` (a word set). Columns of floats may be arrays: shape (n_edits,) for numbers,
(n_edits, n_values) for float sets.
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

Column = list[Any] | NDArray[np.float32] | Any
Doubles = NDArray[np.float64]

MAX_INDEXED = 512  # the core gives values of float sets shorter than this a name each

_NUMBERS = frozenset({int, float, bool})
_INDEXED = re.compile(r"(.+)_(0|[1-9]\d*)")


@dataclass(slots=True)
class Table:
    """
    The properties of the edits of a chunk.

    Attributes:
        path: The file that the edits are of, for messages.
        edits: The edits as they stand there.
        columns: Property → its values.
    """

    path: Path
    edits: Sequence[Edit]
    columns: dict[str, Column] = field(default_factory=dict)

    def optional(self, name: str) -> Column:
        """The values of a property, None where an edit has no such property."""
        column = self.columns.get(name)
        return [None] * len(self.edits) if column is None else column

    def required(self, name: str, *kinds: type) -> Column:
        """
        The values of a property that every edit must have.

        Raises:
            FormatError: An edit has none, or it is of none of *kinds* (where given).
        """
        column = self.optional(name)
        if isinstance(column, list):
            for edit, value in zip(self.edits, column, strict=True):
                if value is None:
                    raise FormatError(self.path, edit.place, f"the edit has no {name}")
                if kinds and type(value) not in kinds:
                    raise FormatError(self.path, edit.place, f"{name} is of the wrong type")
        return column

    def texts(self, name: str) -> list[bytes | None]:
        """The values of a property that is text, None where an edit has no such property."""
        column: list[bytes | None] = self.optional(name)
        for edit, value in zip(self.edits, column, strict=True):
            if value is not None and type(value) is not bytes:
                raise FormatError(self.path, edit.place, f"{name} is not text")
        return column

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
        values = [self._number(name, index) for index in range(len(self.edits))]
        is_whole = None not in values
        return np.array([value or 0.0 for value in values], np.float64), is_whole

    def _number(self, name: str, index: int) -> float | None:
        value = self.value(name, index)
        if type(value) in _NUMBERS:
            return float(value)
        if name.endswith("_size"):
            value = self.value(name.removesuffix("_size"), index)
            if isinstance(value, bytes | dict):
                return float(len(value))
        if match := _INDEXED.fullmatch(name):
            values = self.columns.get(match[1])
            position = int(match[2])
            if isinstance(values, np.ndarray) and values.ndim == 2:
                width = values.shape[1]
                if position < width < MAX_INDEXED:
                    return float(values[index, position])
        return None

    def value(self, name: str, index: int) -> Any:
        """One edit's value of a property; None where it has none, or a float set."""
        column = self.columns.get(name)
        if column is None or (isinstance(column, np.ndarray) and column.ndim == 2):
            return None
        value = column[index]
        return float(value) if isinstance(value, np.floating) else value


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
