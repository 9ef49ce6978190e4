"""
Columns of word sets: per edit, which words occur, and how often.

A column counts when it is asked for. Where its sets are the words of texts it keeps those
(see text_runs.py), and may never have to count.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import numpy as np

from cbngtrain.engine.counts import Counts, summed
from cbngtrain.engine.first_words import beginnings, may_be_first, rows_of_smallest
from cbngtrain.engine.groups import rows_of, starts_of
from cbngtrain.engine.run_vocabulary import AnyVocabulary, Runs, RunVocabulary
from cbngtrain.engine.spellings import Spellings
from cbngtrain.engine.split_texts import LineSplitter, SplitTexts
from cbngtrain.engine.splitter import Splitter
from cbngtrain.engine.text_runs import TextRuns
from cbngtrain.engine.vocabulary import NOTHING, Change, Ints, Vocabulary


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
        vocabulary: AnyVocabulary,
        count: Callable[[], Counts],
        is_there: Sequence[bool],
        texts: TextRuns | None = None,
    ) -> None:
        self.vocabulary = vocabulary
        self.is_there = is_there
        self.texts = texts
        self._count = count
        self._without: dict[WordSets, WordSets] = {}

    @classmethod
    def of(cls, sets: Sequence[Mapping[bytes, int]]) -> "WordSets":
        """The column of sets that are counted already."""
        vocabulary = Vocabulary()
        starts = starts_of(np.array([len(each) for each in sets], np.int64))
        ids = vocabulary.ids(Spellings([word for each in sets for word in each]))
        times = np.array([n for each in sets for n in each.values()], np.int64)
        return cls(vocabulary, lambda: summed(starts, ids, times), [True] * len(sets))

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
        times = np.split(self.counts.times, self.counts.starts[1:-1])
        pairs = zip(self.spelled(), times, strict=True)
        return [dict(zip(each.words, n.tolist(), strict=True)) for each, n in pairs]

    def spelled(self) -> list[Spellings]:
        """The words of each set."""
        return [self.vocabulary.spelled(ids) for ids in self.ids()]

    def ids(self) -> list[Ints]:
        """The ids of the words of each set."""
        return np.split(self.counts.ids, self.counts.starts[1:-1])

    def times(self, word: bytes) -> Ints:
        """How often a word occurs in each set, shape (n_sets,)."""
        starts, ids, times = self.counts
        result = np.zeros(len(starts) - 1, np.int64)
        if (number := self.vocabulary.id(word)) == NOTHING:
            return result
        found = np.flatnonzero(ids == number)
        result[np.searchsorted(starts, found, side="right") - 1] = times[found]
        return result

    def minus(self, other: "WordSets") -> "WordSets":
        """These sets minus other ones: counts that may be below 0, and are never 0."""
        mine, others = self.texts, other.texts
        if mine and others and mine.is_like(others):
            difference = WordSets(self.vocabulary, lambda: mine.minus(others), self.is_there)
            return self._without.setdefault(other, difference)
        ours, theirs = _of_one_vocabulary(self, other)

        def count() -> Counts:
            total = summed(*_together(ours, theirs, -1))
            return total.where(total.times != 0)

        return WordSets(ours.vocabulary, count, self.is_there)

    def with_words_of(self, other: "WordSets") -> "WordSets":
        """These sets, and 0 times the words that others have besides."""
        ours, theirs = _of_one_vocabulary(self, other)
        return WordSets(ours.vocabulary, lambda: summed(*_together(ours, theirs, 0)), self.is_there)

    def where_above(self, *, sign: int) -> "WordSets":
        """The words that occur more than 0 times (*sign* -1: less), how often without its sign."""

        def count() -> Counts:
            starts, ids, times = self.counts.where(self.counts.times * sign > 0)
            return Counts(starts, ids, times * sign)

        return WordSets(self.vocabulary, count, self.is_there)

    def common(self, other: "WordSets") -> Ints:
        """The sums of the other sets' counts over the words in both, shape (n_sets,)."""
        one, another = _of_one_vocabulary(self, other)
        mine, (starts, ids, times) = one.counts, another.counts
        width = len(one.vocabulary) + 1
        ours = rows_of(mine.starts) * width + mine.ids  # ascending
        theirs = rows_of(starts) * width + ids
        is_ours = np.append(ours, NOTHING)[np.searchsorted(ours, theirs)] == theirs
        sums = np.concatenate(([0], np.cumsum(times * is_ours)))
        return np.diff(sums[starts])

    def changed(self, change: Change) -> "WordSets":
        """The sets of the changed words: those that become equal add up, empty ones go."""
        into, _ = self.vocabulary.changed(change)

        def count() -> Counts:
            starts, ids, times = self.counts
            _, new = self.vocabulary.changed(change)
            total = summed(starts, new[ids], times)
            return total.where(total.ids != NOTHING)

        texts = self.texts.changed(change) if self.texts else None
        return WordSets(into, count, self.is_there, texts)

    def first(self, number: int) -> list[list[tuple[bytes, int]]]:
        """Of each set the first words in byte order, with their counts."""
        if self.texts and (first := self.texts.first(number)) is not None:
            return first
        counts = self.counts
        order = beginnings(self.vocabulary)[counts.ids]
        starts, ids, times = counts.where(may_be_first(order, counts.starts, number))
        items = zip(self.vocabulary.spelled(ids).words, times.tolist(), strict=True)
        return rows_of_smallest(list(items), starts, number)


def _of_one_vocabulary(one: WordSets, other: WordSets) -> tuple[WordSets, WordSets]:
    """The same sets, so that equal words of theirs have one id."""
    if one.vocabulary is other.vocabulary:
        return one, other
    vocabulary = Vocabulary()
    return _respelled(one, vocabulary), _respelled(other, vocabulary)


def _respelled(sets: WordSets, vocabulary: Vocabulary) -> WordSets:
    """The same sets with another vocabulary."""

    def count() -> Counts:
        starts, ids, times = sets.counts
        return summed(starts, vocabulary.ids(sets.vocabulary.spelled(ids)), times)

    return WordSets(vocabulary, count, sets.is_there)


def _together(ours: WordSets, theirs: WordSets, sign: int) -> tuple[Ints, Ints, Ints]:
    """The counts of two columns, the second ones times *sign*; words of both are there twice."""
    starts, ids, times = theirs.counts
    rows = np.concatenate([rows_of(ours.counts.starts), rows_of(starts)])
    order = rows.argsort(kind="stable")
    all_ids = np.concatenate([ours.counts.ids, ids])[order]
    all_times = np.concatenate([ours.counts.times, times * sign])[order]
    return ours.counts.starts + starts, all_ids, all_times


class Splitting:
    """The words of a chunk's texts: equal columns are split, and counted, once by each splitter."""

    def __init__(self) -> None:
        self._columns: list[Sequence[bytes | None]] = []
        self._splitters: dict[Splitter, LineSplitter] = {}
        self._split: dict[tuple[int, Splitter], SplitTexts] = {}
        self._run_vocabularies: dict[tuple[Splitter, Runs], AnyVocabulary] = {}
        self._sets: dict[tuple[int, Splitter, Runs], WordSets] = {}

    def of(self, texts: Sequence[bytes | None], splitter: Splitter, runs: Runs) -> WordSets:
        """The runs of words of a column of texts."""
        number = self._number(texts)
        by_lines = self._splitters.setdefault(splitter, LineSplitter(splitter))
        new = by_lines.split([each or b"" for each in texts])
        split = self._split.setdefault((number, splitter), new)
        source = TextRuns(split, runs, self._vocabulary(by_lines, runs))
        is_there = [each is not None for each in texts]
        sets = WordSets(source.run_vocabulary, source.counted, is_there, source)
        return self._sets.setdefault((number, splitter, runs), sets)

    def _number(self, texts: Sequence[bytes | None]) -> int:
        """The number of the column, the same for equal ones."""
        if texts not in self._columns:
            self._columns.append(texts)
        return self._columns.index(texts)

    def _vocabulary(self, by_lines: LineSplitter, runs: Runs) -> AnyVocabulary:
        if runs.length == 1:
            return by_lines.vocabulary
        key = (by_lines.splitter, runs)
        if key not in self._run_vocabularies:
            word_bytes = by_lines.splitter.word_bytes
            self._run_vocabularies[key] = (
                RunVocabulary(by_lines.vocabulary, runs, word_bytes)
                if runs.are_apart(word_bytes)
                else Vocabulary()
            )
        return self._run_vocabularies[key]
