"""
Columns of word sets: per edit, which words occur, and how often.

A column counts when it is asked for. Where its sets are the words of texts it keeps those
(see text_runs.py), and may never have to count.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np

from cbngtrain.engine.counts import Counts, summed, where
from cbngtrain.engine.first_words import least, near, rows_of_smallest
from cbngtrain.engine.groups import rows_of, starts_of
from cbngtrain.engine.spellings import Spellings
from cbngtrain.engine.split_texts import LineSplitter, SplitTexts
from cbngtrain.engine.splitter import Splitter
from cbngtrain.engine.text_runs import Runs, TextRuns
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
        vocabulary: Vocabulary,
        count: Callable[[], Counts],
        is_there: Sequence[bool],
        texts: TextRuns | None = None,
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
        starts, ids, _ = self.counts  # before the vocabulary is asked: to count adds words to it
        words = self.vocabulary.words
        return [words.at(ids[a:b]) for a, b in pairwise(starts.tolist())]

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
        ours, theirs = self.texts, other.texts
        if ours and theirs and ours.is_like(theirs):
            return WordSets(self.vocabulary, lambda: ours.minus(theirs), self.is_there)

        def count() -> Counts:
            total = summed(*_together(self, other, -1))
            return where(total, total.times != 0)

        return WordSets(self.vocabulary, count, self.is_there)

    def with_words_of(self, other: "WordSets") -> "WordSets":
        """These sets, and 0 times the words that others have besides."""
        return WordSets(self.vocabulary, lambda: summed(*_together(self, other, 0)), self.is_there)

    def where_above(self, *, sign: int) -> "WordSets":
        """The words that occur more than 0 times (*sign* -1: less), how often without its sign."""

        def count() -> Counts:
            starts, ids, times = where(self.counts, self.counts.times * sign > 0)
            return Counts(starts, ids, times * sign)

        return WordSets(self.vocabulary, count, self.is_there)

    def common(self, other: "WordSets") -> Ints:
        """The sums of the other sets' counts over the words in both, shape (n_sets,)."""
        mine = self.counts  # before the vocabulary is asked: to count adds words to it
        starts, ids, times = other.counts
        if other.vocabulary is not self.vocabulary:
            ids = self.vocabulary.ids(other.vocabulary.words.at(ids))
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
            total = summed(starts, new[ids], times)
            return where(total, total.ids != NOTHING)

        texts = self.texts.changed(change) if self.texts else None
        return WordSets(into, count, self.is_there, texts)

    def first(self, number: int) -> list[list[tuple[bytes, int]]]:
        """Of each set the first words in byte order, with their counts."""
        if self.texts and (first := self.texts.first(number)) is not None:
            return first
        counts = self.counts
        order = near(self.vocabulary)[counts.ids]
        starts, ids, times = where(counts, least(order, counts.starts, number))
        items = zip(self.vocabulary.named(ids), times.tolist(), strict=True)
        return rows_of_smallest(list(items), starts, number)


def _together(ours: WordSets, theirs: WordSets, sign: int) -> tuple[Ints, Ints, Ints]:
    """The counts of two columns, the second ones times *sign*; words of both are there twice."""
    starts, ids, times = theirs.counts
    if theirs.vocabulary is not ours.vocabulary:
        ids = ours.vocabulary.ids(theirs.vocabulary.words.at(ids))
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
