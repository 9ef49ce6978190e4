"""
Vocabularies: the distinct words of a chunk of edits, and what is known of each of them.

A word is handled as its number, its *id*: so what is said of words is said once of each distinct
one, and the words of many edits are arrays.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count, islice
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from cbngtrain.engine.hashes import Together, together, together_by_all
from cbngtrain.engine.spellings import Spellings, chained

Ints = NDArray[np.int64]

SAMPLE = 1 << 12  # words by which it is told whether most are repeated
REPEATED = 4  # times that words are met, on the average, where most are
_HALF = np.uint64(32)  # of the bits of a hash
_BUCKET_BITS = 16  # of a hash: a table of 512 KB, which fits the second-level cache

NOTHING = -1  # the id of what is no word


class Change(Protocol):
    """
    What is done to words.

    Attributes:
        is_bytewise: The change of two words, one after the other, is one's and then the other's.
    """

    is_bytewise: bool

    def of_each(self, words: Spellings) -> Spellings:
        """The changed words."""


class Vocabulary:
    """
    Distinct words, numbered from 0 in the order in which they were met.

    They are in a dictionary, or, once they were given packed, packed.

    Args:
        nothing: What is no word when it is met.
    """

    def __init__(self, nothing: bytes = b"") -> None:
        self._nothing = nothing
        self._ids = defaultdict(count().__next__, {nothing: NOTHING})
        self._words: list[bytes] = []
        self._packed: Spellings | None = None
        self._columns = Columns()
        self._changed: dict[Change, Changing] = {}

    def __len__(self) -> int:
        return len(self._ids) - 1 if self._packed is None else len(self._packed)

    @property
    def words(self) -> Spellings:
        """The words, each at its id."""
        if self._packed is not None:
            return self._packed
        if len(self._words) < len(self):
            self._words += islice(self._ids, 1 + len(self._words), None)
        return Spellings(self._words)

    def ids(self, words: Spellings) -> Ints:
        """The ids of words, shape (n_words,); those that are new get one."""
        if words.is_packed or self._packed is not None:
            if (ids := self._ids_of_many(words)) is not None:
                return ids
            self._unpack()
        return np.fromiter(map(self._ids.__getitem__, words.words), np.int64, len(words))

    def id(self, word: bytes) -> int:
        """The id of a word; `NOTHING` if it was never met."""
        if self._packed is None:
            return self._ids.get(word, NOTHING)
        [searched] = Spellings([word]).packed.hashes()
        alike = np.flatnonzero(self._packed.hashes == searched)
        spelled = zip(alike.tolist(), self._packed.at(alike).words, strict=True)
        return next((number for number, each in spelled if each == word), NOTHING)

    def spelled(self, ids: Ints) -> Spellings:
        """The words that have these ids; an empty one for `NOTHING`."""
        is_word = ids != NOTHING
        if is_word.all():
            return self.words.at(ids)
        return self.words.at_or_empty(ids, is_word)

    def column(self, function: Callable[[Spellings], NDArray[Any]]) -> NDArray[Any]:
        """
        Return what a function makes of the words, shape (n_words, …), and remember it.

        Args:
            function: From words to an array with an item for each of them, that depends on no
                other word.
        """
        return self._columns.of_each(function, self.words)

    def column_of_all(self, function: Callable[[Spellings], NDArray[Any]]) -> NDArray[Any]:
        """The same; an item may depend on all words."""
        return self._columns.of_all(function, self.words)

    def changed(self, change: Change) -> tuple["Vocabulary", Ints]:
        """The vocabulary of the changed words, and the id there of each word, or `NOTHING`."""
        changing = self._changed.setdefault(change, Changing(change, Vocabulary()))
        return changing.into, self.column(changing)

    def _ids_of_many(self, words: Spellings) -> Ints | None:
        """The ids of words that are packed from now on; None if two words share a hash."""
        n_before = len(self)
        found = numbered(chained([self.words, words]))
        if found is None:
            return None
        ids, is_new = found.numbers[n_before:], found.is_new[n_before:]
        new = np.flatnonzero(is_new)
        for place in new[words.packed.at(new).are(self._nothing)].tolist():
            is_new[place] = False
            ids = np.where(ids == ids[place], NOTHING, ids - (ids > ids[place]))
        if self._packed is None or is_new.any():
            self._packed = chained([self.words, words.only(is_new)])
        return ids

    def _unpack(self) -> None:
        """From now on the words are in a dictionary."""
        words = self.words.words
        self._ids = defaultdict(count(len(words)).__next__, {self._nothing: NOTHING})
        self._ids.update(zip(words, count()))
        self._words, self._packed = words, None


class Columns:
    """What functions made of the words of a vocabulary, for as many words as there were."""

    def __init__(self) -> None:
        self._known: dict[Any, NDArray[Any]] = {}

    def of_all(
        self, function: Callable[[Spellings], NDArray[Any]], words: Spellings
    ) -> NDArray[Any]:
        """What a function makes of the words, anew if there are more than before."""
        known = self._known.get(function)
        if known is None or len(known) < len(words):
            known = self._known[function] = function(words)
        return known

    def of_each(
        self, function: Callable[[Spellings], NDArray[Any]], words: Spellings
    ) -> NDArray[Any]:
        """What a function makes of the words, of those that are new to it."""
        known = self._known.get(function)
        if known is None:
            known = function(words)
        elif len(known) < len(words):
            known = np.concatenate([known, function(words.since(len(known)))])
        self._known[function] = known
        return known


@dataclass(frozen=True, slots=True, eq=False)
class Changing:
    """Changes words, and numbers the changed ones in a vocabulary of theirs."""

    change: Change
    into: Vocabulary

    def __call__(self, words: Spellings) -> Ints:
        """The ids of the changed words."""
        return self.into.ids(self.change.of_each(words))


class Numbered(NamedTuple):
    """
    The numbers of words, in the order in which they are met.

    Attributes:
        numbers: Of each word, shape (n_words,).
        is_new: Whether each word is met there first, shape (n_words,).
    """

    numbers: Ints
    is_new: NDArray[np.bool_]


def numbered(words: Spellings) -> Numbered | None:
    """
    Number equal words alike, by sorting their hashes; None if two words share a hash.

    Where two share the bits that are looked at, the other half of their hashes is tried first: to
    look at all bits takes nine times as long.
    """
    sample = words.hashes[:SAMPLE].tolist() if len(words) > SAMPLE else []
    if len(set(sample)) * REPEATED < len(sample):
        return _numbered_of_few(words)
    return (
        _numbered(words, together(words.hashes))
        or _numbered(words, together(words.hashes << _HALF | words.hashes >> _HALF))
        or _numbered(words, together_by_all(words.hashes))
    )


def _numbered_of_few(words: Spellings) -> Numbered | None:
    """The same, where most words are repeated: only those new to a table are sorted."""
    places = np.arange(len(words))
    buckets = words.hashes >> np.uint64(64 - _BUCKET_BITS)
    firsts = np.empty(1 << _BUCKET_BITS, np.int64)
    firsts[buckets[::-1]] = places[::-1]
    first = firsts[buckets]
    is_again = (words.hashes[first] == words.hashes) & (first != places)
    once = np.flatnonzero(~is_again)
    found = _numbered(words.at(once), together_by_all(words.hashes[once]))
    again, first = np.flatnonzero(is_again), first[is_again]
    if found is None or not words.are_equal(again, first):
        return None
    numbers, is_new = np.empty(len(words), np.int64), np.zeros(len(words), np.bool_)
    numbers[once], is_new[once] = found
    numbers[again] = numbers[first]
    return Numbered(numbers, is_new)


def _numbered(words: Spellings, alike: Together) -> Numbered | None:
    found = numbers_of(alike)
    again = np.flatnonzero(~found.is_new)
    first = np.flatnonzero(found.is_new)[found.numbers[again]]
    return found if words.are_equal(again, first) else None


def numbers_of(alike: Together) -> Numbered:
    """The numbers of items that are brought together."""
    order, is_first = alike
    is_new = np.ones(len(order), np.bool_)
    later = np.flatnonzero(~is_first)  # places in the order
    again, first = order[later], order[is_first][later - np.arange(1, len(later) + 1)]
    is_new[again] = False
    numbers: Ints = np.cumsum(is_new)
    numbers -= 1
    numbers[again] = numbers[first]
    return Numbered(numbers, is_new)
