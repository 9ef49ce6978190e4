"""
Vocabularies of runs of words: what vocabulary.py has of words.

A run is known by the ids of its words, and spelled when somebody asks for its bytes: of the
hundreds of thousands of runs of a large text few are ever looked at.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbngtrain.engine.groups import followed
from cbngtrain.engine.hashes import together, together_by_all
from cbngtrain.engine.spellings import Spellings, in_rows
from cbngtrain.engine.vocabulary import (
    NOTHING,
    Change,
    Changing,
    Columns,
    Ints,
    Numbered,
    Vocabulary,
    numbers_of,
)

_BITS = 63  # of the numbers that keys become


@dataclass(frozen=True, slots=True)
class Runs:
    """What is taken for a word: every run of *length* words, joined."""

    length: int = 1
    separator: bytes = b" "

    def spelled(self, vocabulary: Vocabulary, keys: Sequence[Ints]) -> Spellings:
        """The runs of the words that have these ids."""
        return in_rows([vocabulary.spelled(key) for key in keys], self.separator)

    def are_apart(self, word_bytes: bytes) -> bool:
        """Whether runs of other words have other bytes, words being made of these."""
        return len(self.separator) == 1 and self.separator not in word_bytes

    def sort_as_words(self, word_bytes: bytes) -> bool:
        """Whether runs sort as their first words do, then as their second ones, and so on."""
        return self.are_apart(word_bytes) and self.separator < word_bytes[:1]


class RunVocabulary:
    """
    Distinct runs of words, numbered from 0 in the order in which they were met.

    Attributes:
        of: Whose words they are.
        runs: How many words are in a run, and what is between them.
        word_bytes: What the words are made of, in order; so the runs are apart.
        keys: Per place in a run the words there; shape (n_runs,) each.
    """

    def __init__(self, of: Vocabulary, runs: Runs, word_bytes: bytes) -> None:
        self.of = of
        self.runs = runs
        self.word_bytes = word_bytes
        self.keys: list[Ints] = [np.empty(0, np.int64)] * runs.length
        self._words = Spellings([])
        self._columns = Columns()
        self._changed: dict[Change, RunVocabulary | Changing] = {}
        self._ids_of_changed: dict[Change, Ints] = {}

    def __len__(self) -> int:
        return len(self.keys[0])

    @property
    def sort_as_words(self) -> bool:
        """Whether the runs sort as their first words do, then as their second ones, and so on."""
        return self.runs.sort_as_words(self.word_bytes)

    @property
    def words(self) -> Spellings:
        """The runs, each at its id."""
        if len(self._words) < len(self):
            self._words = self.runs.spelled(self.of, self.keys)
        return self._words

    def ids(self, keys: Sequence[Ints]) -> Ints:
        """The ids of runs whose words are given as `keys` are; those that are new get one."""
        number = len(self)
        both = list(map(followed, self.keys, keys))
        found = _numbered(both)
        self.keys = both if found.is_new.all() else [key[found.is_new] for key in both]
        return found.numbers[number:]

    def id(self, word: bytes) -> int:
        """The id of a run; `NOTHING` if it was never met."""
        parts = word.split(self.runs.separator)
        ids = [self.of.id(part) for part in parts]
        is_unknown = any(part and each == NOTHING for part, each in zip(parts, ids, strict=True))
        if is_unknown or len(ids) != self.runs.length:
            return NOTHING
        found = np.all([key == each for key, each in zip(self.keys, ids, strict=True)], axis=0)
        return int(found.argmax()) if found.any() else NOTHING

    def spelled(self, ids: Ints) -> Spellings:
        """The runs that have these ids."""
        return self.runs.spelled(self.of, [key[ids] for key in self.keys])

    def column(self, function: Callable[[Spellings], NDArray[Any]]) -> NDArray[Any]:
        """What a function makes of the runs: see `Vocabulary.column`."""
        return self._columns.of_each(function, self.words)

    def column_of_all(self, function: Callable[[Spellings], NDArray[Any]]) -> NDArray[Any]:
        """The same; an item may depend on all runs."""
        return self._columns.of_all(function, self.words)

    def changed(self, change: Change) -> tuple["AnyVocabulary", Ints]:
        """The vocabulary of the changed runs, and the id there of each run, or `NOTHING`."""
        if change not in self._changed:
            runs = self._changed_runs(change)
            self._changed[change] = Changing(change, Vocabulary()) if runs is None else runs
        into = self._changed[change]
        if isinstance(into, Changing):
            return into.into, self.column(into)
        known = self._ids_of_changed.get(change, np.empty(0, np.int64))
        if len(known) < len(self):
            ids = np.append(self.of.changed(change)[1], NOTHING)
            new = into.ids([ids[key[len(known) :]] for key in self.keys])
            known = self._ids_of_changed[change] = followed(known, new)
        return into, known

    def _changed_runs(self, change: Change) -> "RunVocabulary | None":
        """The vocabulary of the runs of changed words, if these are the changed runs."""
        if not change.is_bytewise:
            return None
        each = [self.runs.separator, *(b"%c" % byte for byte in self.word_bytes)]
        separator, *word_bytes = change.of_each(Spellings(each)).words
        runs, ordered = Runs(self.runs.length, separator), b"".join(sorted(word_bytes))
        if not runs.are_apart(ordered):
            return None
        return RunVocabulary(self.of.changed(change)[0], runs, ordered)


AnyVocabulary = Vocabulary | RunVocabulary


def _numbered(keys: Sequence[Ints]) -> Numbered:
    """
    The numbers of runs, equal ones alike.

    Items are brought together by as many high bits as leave room for their places below (see
    `together`); so the keys are moved up, and where they leave no room all bits are compared.
    """
    each = keys[0] + 1
    for key in keys[1:]:
        width = int(key.max(initial=NOTHING)) + 2
        if (int(each.max(initial=0)) * width).bit_length() > _BITS:
            each = np.unique(each, return_inverse=True)[1]
        each = each * width + (key + 1)
    if (each[1:] > each[:-1]).all():
        return Numbered(np.arange(len(each)), np.ones(len(each), np.bool_))
    bits = int(each.max(initial=0)).bit_length()
    high = each.astype(np.uint64) << np.uint64(_BITS - bits)
    is_room = bits + len(each).bit_length() <= _BITS
    return numbers_of(together(high) if is_room else together_by_all(high))
