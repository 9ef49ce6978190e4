"""
Vocabularies: the distinct words of a chunk of edits, and what is known of each of them.

A word is handled as its number, its *id*: so what is said of words is said once of each distinct
one, and the words of many edits are arrays.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress, count, islice
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cbngtrain.engine.hashes import together

Ints = NDArray[np.int64]

NOTHING = -1  # the id of what is no word

MANY = 1 << 18  # words at once; of a chunk of edits that nobody has contrived there are fewer
FEW = 1 << 12  # of them, at least, that are looked at to tell how many are distinct


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
        self._nothing = nothing
        self._ids = defaultdict(count().__next__, {nothing: NOTHING})
        self._words: list[bytes] = []
        self._columns: dict[Any, NDArray[Any]] = {}
        self._changed: dict[Change, _Changing] = {}

    def __len__(self) -> int:
        return max(len(self._ids) - 1, len(self._words))

    @property
    def words(self) -> list[bytes]:
        """The words, each at its id."""
        if len(self._words) < len(self):
            self._words += islice(self._ids, 1 + len(self._words), None)
        return self._words

    def ids(self, words: Sequence[bytes]) -> Ints:
        """The ids of words, shape (n_words,); those that are new get one."""
        if _are_many(words) and (found := numbered([self._nothing, *self.words, *words])):
            ids, [_, *self._words] = found
            return ids[-len(words) :] + NOTHING
        return np.fromiter(map(self._known().__getitem__, words), np.int64, len(words))

    def id(self, word: bytes) -> int:
        """The id of a word; `NOTHING` if it was never met."""
        if len(self._ids) > len(self._words):  # all words, and what is none
            return self._ids.get(word, NOTHING)
        alike = np.flatnonzero(self.column(_hashes) == hash(word)).tolist()
        return next((number for number in alike if self.words[number] == word), NOTHING)

    def _known(self) -> defaultdict[bytes, int]:
        """Word → its id: all words, also those that were many at once."""
        known = len(self._ids) - 1
        if known < len(self._words):
            self._ids.update(zip(islice(self._words, known, None), count(known)))
            self._ids.default_factory = count(len(self._words)).__next__
        return self._ids

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


def _are_many(words: Sequence[bytes]) -> bool:
    """Whether so many of the words are distinct that a `dict` of them is slow."""
    if len(words) < MANY:
        return False
    some = words[:: MANY // FEW]
    return len(set(some)) > len(some) // 2


def numbered(words: list[bytes]) -> tuple[Ints, list[bytes]] | None:
    """
    Return the number of each word, and the distinct words, numbered in the order of the list.

    Sorts hashes: of hundreds of thousands of words in a third of the time that a `dict` takes,
    each of whose steps waits for another part of the memory. None if two words share a hash.
    """
    order, is_first = together(_hashes(words).view(np.uint64))
    if is_first.all():
        return np.arange(len(words)), words
    firsts = order[is_first]
    is_new = np.zeros(len(words), np.bool_)
    is_new[firsts] = True
    numbers = np.empty(len(words), np.int64)
    sizes = np.diff(np.flatnonzero(is_first), append=len(words))
    numbers[order] = np.repeat((np.cumsum(is_new) - 1)[firsts], sizes)
    distinct = list(compress(words, is_new.tolist()))
    met_again = np.flatnonzero(~is_new)
    first_met = [distinct[number] for number in numbers[met_again].tolist()]
    if first_met != [words[place] for place in met_again.tolist()]:
        return None
    return numbers, distinct


def _hashes(words: Sequence[bytes]) -> Ints:
    return np.fromiter(map(hash, words), np.int64, len(words))
