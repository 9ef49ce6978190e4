"""
Columns of word sets: per edit, which words occur, and how often.

A column counts when it is asked for. Where its sets are the words of texts it knows the texts,
which makes its difference to other texts' words, and its first runs of words, quick to find.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import nsmallest
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cbngtrain.engine.groups import Groups, grouped, kept, rows_of, starts_of
from cbngtrain.engine.split_texts import LineSplitter, SplitTexts, Words, difference
from cbngtrain.engine.splitter import Splitter
from cbngtrain.engine.vocabulary import NOTHING, Change, Ints, Vocabulary

FEW = 64  # words of a set that are just sorted

Bools = NDArray[np.bool_]


class Counts(NamedTuple):
    """
    How often words occur in each set of a column.

    Attributes:
        starts: Where each set's words begin, shape (n_sets + 1,).
        ids: The words of each set, no two equal, in the order of their ids; shape (n_words,).
        times: How often each occurs, shape (n_words,).
    """

    starts: Ints
    ids: Ints
    times: Ints


@dataclass(frozen=True, slots=True)
class Runs:
    """What is taken for a word: every run of *length* words, joined."""

    length: int = 1
    separator: bytes = b" "

    def joined(self, vocabulary: Vocabulary, keys: Sequence[Ints]) -> list[bytes]:
        """The runs of the words that have these ids."""
        words = vocabulary.words
        each = [[words[number] for number in key.tolist()] for key in keys]
        return list(map(self.separator.join, zip(*each, strict=True)))


class WordSets:
    """
    A column of word sets.

    Args:
        vocabulary: Their words.
        count: Counts them, when they are asked for.
        is_there: Whether each edit has such a set.
        texts: The runs of words of texts that they are, if so.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        count: Callable[[], Counts],
        is_there: Sequence[bool],
        texts: "TextRuns | None" = None,
    ) -> None:
        self.vocabulary = vocabulary
        self.is_there = is_there
        self.texts = texts
        self._count = count

    @classmethod
    def of(cls, sets: Sequence[Mapping[bytes, int]]) -> "WordSets":
        """The column of sets that are counted already."""
        vocabulary = Vocabulary()
        starts = starts_of(np.array([len(each) for each in sets], np.int64))
        ids = vocabulary.ids([word for each in sets for word in each])
        times = np.array([n for each in sets for n in each.values()], np.int64)
        return cls(vocabulary, lambda: _summed(starts, ids, times), [True] * len(sets))

    @cached_property
    def counts(self) -> Counts:
        """How often each word occurs in each set."""
        return self._count()

    @property
    def sizes(self) -> Ints:
        """How many distinct words each set has, shape (n_sets,)."""
        return np.diff(self.counts.starts)

    def dicts(self) -> list[dict[bytes, int]]:
        """The sets: word → how often it occurs."""
        starts, ids, times = (each.tolist() for each in self.counts)
        words = self.vocabulary.words
        named = [words[i] for i in ids]
        bounds = pairwise(starts)
        return [dict(zip(named[a:b], times[a:b], strict=True)) for a, b in bounds]

    def times(self, word: bytes) -> Ints:
        """How often a word occurs in each set, shape (n_sets,)."""
        starts, ids, times = self.counts
        found = np.flatnonzero(ids == self.vocabulary.id(word))
        result = np.zeros(len(starts) - 1, np.int64)
        result[np.searchsorted(starts, found, side="right") - 1] = times[found]
        return result

    def minus(self, other: "WordSets") -> "WordSets":
        """These sets minus other ones: counts that may be below 0, and are never 0."""
        ours, theirs = self.texts, other.texts
        if ours and theirs and ours.is_like(theirs):
            return WordSets(self.vocabulary, lambda: ours.minus(theirs), self.is_there)

        def count() -> Counts:
            total = _summed(*_together(self, other, -1))
            return _where(total, total.times != 0)

        return WordSets(self.vocabulary, count, self.is_there)

    def with_words_of(self, other: "WordSets") -> "WordSets":
        """These sets, and 0 times the words that others have besides."""
        return WordSets(self.vocabulary, lambda: _summed(*_together(self, other, 0)), self.is_there)

    def where_above(self, *, sign: int) -> "WordSets":
        """The words that occur more than 0 times (*sign* -1: less), how often without its sign."""

        def count() -> Counts:
            starts, ids, times = _where(self.counts, self.counts.times * sign > 0)
            return Counts(starts, ids, times * sign)

        return WordSets(self.vocabulary, count, self.is_there)

    def common(self, other: "WordSets") -> Ints:
        """The sums of the other sets' counts over the words in both, shape (n_sets,)."""
        mine = self.counts  # before the vocabulary is asked: to count adds words to it
        starts, ids, times = other.counts
        if other.vocabulary is not self.vocabulary:
            words = other.vocabulary.words
            ids = np.array([self.vocabulary.id(words[i]) for i in ids.tolist()], np.int64)
        width = len(self.vocabulary) + 1
        ours = rows_of(mine.starts) * width + mine.ids  # ascending
        theirs = rows_of(starts) * width + ids
        is_ours = np.append(ours, NOTHING)[np.searchsorted(ours, theirs)] == theirs
        sums = np.concatenate(([0], np.cumsum(times * (is_ours & (ids != NOTHING)))))
        return np.diff(sums[starts])

    def changed(self, change: Change) -> "WordSets":
        """The sets of the changed words: those that become equal add up, empty ones go."""
        into, _ = self.vocabulary.changed(change)

        def count() -> Counts:
            starts, ids, times = self.counts
            _, new = self.vocabulary.changed(change)
            total = _summed(starts, new[ids], times)
            return _where(total, total.ids != NOTHING)

        texts = self.texts.changed(change) if self.texts else None
        return WordSets(into, count, self.is_there, texts)

    def first(self, number: int) -> list[list[tuple[bytes, int]]]:
        """Of each set the first words in byte order, with their counts."""
        if self.texts and (first := self.texts.first(number)) is not None:
            return first
        counts = self.counts
        near = self.vocabulary.column(first_two_bytes)[counts.ids]
        starts, ids, times = _where(counts, _least(near, counts.starts, number))
        words = self.vocabulary.words
        items = zip([words[i] for i in ids.tolist()], times.tolist(), strict=True)
        return _rows_of_smallest(list(items), starts, number)


@dataclass(frozen=True, slots=True, eq=False)
class TextRuns:
    """
    The runs of words of a column of texts.

    Attributes:
        run_vocabulary: The runs that were met; if they are single words, the words.
        change: What is done to the runs at the end.
    """

    texts: SplitTexts
    runs: Runs
    run_vocabulary: Vocabulary
    change: Change | None = None

    def counted(self) -> Counts:
        """How often each run occurs."""
        places, starts = self.texts.words.runs(self.runs.length)
        keys = self.texts.words.keys(places, self.runs.length)
        groups = grouped(starts, keys)
        return self._counts([key[groups.members] for key in keys], groups.starts, groups.sums)

    def is_like(self, other: "TextRuns") -> bool:
        """Whether the two are the same kind of runs, unchanged."""
        both = (self, other)
        return self.run_vocabulary is other.run_vocabulary and not any(e.change for e in both)

    def minus(self, other: "TextRuns") -> Counts:
        """How often each run occurs more (or less) than in other texts."""
        return self._counts(*difference(self.texts, other.texts, self.runs.length))

    def _counts(self, keys: Sequence[Ints], starts: Ints, times: Ints) -> Counts:
        if self.runs.length == 1:
            return Counts(starts, keys[0], times)
        ids = self.run_vocabulary.ids(self.runs.joined(self.texts.by.vocabulary, keys))
        total = _summed(starts, ids, times)  # runs of different words may read the same
        return _where(total, total.times != 0)

    def changed(self, change: Change) -> "TextRuns | None":
        """The changed runs, if to change their words changes them so."""
        return (
            dataclasses.replace(self, change=change)
            if change.is_bytewise and not self.change
            else None
        )

    def first(self, number: int) -> list[list[tuple[bytes, int]]] | None:
        """
        Return of each text the first runs in byte order, with their counts.

        None for single words, and where runs need not sort as their first words do: that is
        sure if the separator sorts before every byte of a word.
        """
        change = self.change or _UNCHANGED
        [separator] = change.of_each([self.runs.separator])
        bytes_of_words = change.of_each(
            [b"%c" % byte for byte in self.texts.by.splitter.word_bytes]
        )
        least_byte = min(filter(None, bytes_of_words), default=b"")
        if self.runs.length == 1 or not b"" < separator < least_byte:
            return None
        starts, ids = self.texts.words
        vocabulary, changed = self.texts.by.vocabulary.changed(change)
        words = Words(starts, changed[ids])
        near = np.append(
            vocabulary.column(first_two_bytes), np.uint16(0)
        )  # the last one is an empty word's
        names = [*vocabulary.words, b""]
        keys, groups = _first_runs(words, self.runs.length, near, number)
        spelled = [[names[i] for i in key.tolist()] for key in keys]
        counted = zip(
            map(separator.join, zip(*spelled, strict=True)), groups.sums.tolist(), strict=True
        )
        return _rows_of_smallest(list(counted), groups.starts, number)


class _Unchanged:
    """The change that is none."""

    is_bytewise = True

    def of_each(self, words: list[bytes]) -> list[bytes]:
        return words


_UNCHANGED = _Unchanged()


def _first_runs(
    words: Words, length: int, near: NDArray[np.uint16], number: int
) -> tuple[list[Ints], Groups]:
    """
    Return runs among which are the first ones of each text, as `Words.keys`, grouped.

    Those of the least words, by their first two bytes: as many as are wanted, and if these are
    too often the same ones, all.
    """
    places, starts = words.runs(length)
    which = _least(near[words.ids[places]], starts, number)
    for _ in range(2):
        keys = words.keys(places[which], length)
        groups = grouped(kept(starts, which), keys)
        taken = np.diff(kept(starts, which))
        short = (np.diff(groups.starts) < number) & (taken < np.diff(starts))
        if not short.any():
            break
        which |= np.repeat(short, np.diff(starts))
    return [key[groups.members] for key in keys], groups


def first_two_bytes(words: list[bytes]) -> NDArray[np.uint16]:
    """A number that orders words as their first two bytes do, shape (n_words,)."""
    return np.array(words, "S2").view(">u2").astype(np.uint16)


def _least(near: NDArray[np.uint16], starts: Ints, number: int) -> Bools:
    """Which items may be among so many least ones of their row: all of a short one."""
    sizes = np.diff(starts)
    limits = np.full(len(sizes), near.max(initial=0))
    for row in np.flatnonzero(sizes > max(FEW, number)).tolist():
        limits[row] = np.partition(near[starts[row] : starts[row + 1]], number - 1)[number - 1]
    return near <= np.repeat(limits, sizes)


def _rows_of_smallest(
    items: list[tuple[bytes, int]], starts: Ints, number: int
) -> list[list[tuple[bytes, int]]]:
    """Of each row of words with their counts the first ones."""
    bounds = pairwise(starts.tolist())
    return [_smallest(number, items[begin:end]) for begin, end in bounds]


def _smallest(number: int, items: list[tuple[bytes, int]]) -> list[tuple[bytes, int]]:
    if len(items) < 16 * number:  # so few that sorting is quicker
        return sorted(items)[:number]
    return nsmallest(number, items)


def _summed(starts: Ints, ids: Ints, times: Ints) -> Counts:
    """The counts of words that may occur several times in a set."""
    groups = grouped(starts, [ids], times)
    return Counts(groups.starts, ids[groups.members], groups.sums)


def _where(counts: Counts, which: Bools) -> Counts:
    """Some of the words of each set."""
    return Counts(kept(counts.starts, which), counts.ids[which], counts.times[which])


def _together(ours: WordSets, theirs: WordSets, sign: int) -> tuple[Ints, Ints, Ints]:
    """The counts of two columns, the second ones times *sign*; words of both are there twice."""
    starts, ids, times = theirs.counts
    if theirs.vocabulary is not ours.vocabulary:
        words = theirs.vocabulary.words
        ids = ours.vocabulary.ids([words[i] for i in ids.tolist()])
    rows = np.concatenate([rows_of(ours.counts.starts), rows_of(starts)])
    order = rows.argsort(kind="stable")
    all_ids = np.concatenate([ours.counts.ids, ids])[order]
    all_times = np.concatenate([ours.counts.times, times * sign])[order]
    return ours.counts.starts + starts, all_ids, all_times


class Splitting:
    """The words of a chunk's texts: each column is split once by each splitter."""

    def __init__(self) -> None:
        self._splitters: dict[Splitter, LineSplitter] = {}
        self._split: dict[tuple[int, Splitter], tuple[object, SplitTexts]] = {}
        self._run_vocabularies: dict[tuple[Splitter, Runs], Vocabulary] = {}

    def of(self, texts: Sequence[bytes | None], splitter: Splitter, runs: Runs) -> WordSets:
        """The runs of words of a column of texts."""
        by_lines = self._splitters.setdefault(splitter, LineSplitter(splitter))
        key = (id(texts), splitter)
        if key not in self._split:  # with the texts, so that their id stays theirs
            self._split[key] = texts, by_lines.split([each or b"" for each in texts])
        vocabulary = by_lines.vocabulary
        if runs.length > 1:
            vocabulary = self._run_vocabularies.setdefault((splitter, runs), Vocabulary())
        source = TextRuns(self._split[key][1], runs, vocabulary)
        is_there = [each is not None for each in texts]
        return WordSets(vocabulary, source.counted, is_there, source)
