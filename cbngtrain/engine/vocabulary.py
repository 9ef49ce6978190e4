"""
Vocabularies: the distinct words of a chunk of edits, and what is known of each of them.

A word is handled as its number, its *id*: so what is said of words is said once of each distinct
one, and the words of many edits are arrays.
"""

from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import count, islice
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

NOTHING = -1  # the id of what is no word


class Change(Protocol):
    """
    What is done to words.

    Attributes:
        is_bytewise: The change of two words, one after the other, is one's and then the other's.
    """

    is_bytewise: bool

    def of_each(self, words: list[bytes]) -> list[bytes]:
        """The changed words."""


class Vocabulary:
    """
    Distinct words, numbered from 0 in the order in which they were met.

    Args:
        nothing: What is no word when it is met.
    """

    def __init__(self, nothing: bytes = b"") -> None:
        self._ids = defaultdict(count().__next__, {nothing: NOTHING})
        self._words: list[bytes] = []
        self._columns: dict[Any, NDArray[Any]] = {}
        self._changed: dict[Change, _Changing] = {}

    def __len__(self) -> int:
        return len(self._ids) - 1

    @property
    def words(self) -> list[bytes]:
        """The words, each at its id."""
        if len(self._words) < len(self):
            self._words += islice(self._ids, 1 + len(self._words), None)
        return self._words

    def ids(self, words: Collection[bytes]) -> Ints:
        """The ids of words, shape (n_words,); those that are new get one."""
        return np.fromiter(map(self._ids.__getitem__, words), np.int64, len(words))

    def id(self, word: bytes) -> int:
        """The id of a word; `NOTHING` if it was never met."""
        return self._ids.get(word, NOTHING)

    def column(self, function: Callable[[list[bytes]], NDArray[Any]]) -> NDArray[Any]:
        """
        Return what a function makes of the words, shape (n_words, …), and remember it.

        Args:
            function: From words to an array with an item for each of them.
        """
        known = self._columns.get(function)
        if known is None:
            known = function(self.words)
        elif len(known) < len(self):
            known = np.concatenate([known, function(self.words[len(known) :])])
        self._columns[function] = known
        return known

    def changed(self, change: Change) -> tuple["Vocabulary", Ints]:
        """The vocabulary of the changed words, and the id there of each word, or `NOTHING`."""
        changing = self._changed.setdefault(change, _Changing(change, Vocabulary()))
        return changing.into, self.column(changing)


@dataclass(frozen=True, slots=True, eq=False)
class _Changing:
    """From words to the ids of the changed ones."""

    change: Change
    into: Vocabulary

    def __call__(self, words: list[bytes]) -> Ints:
        return self.into.ids(self.change.of_each(words))
