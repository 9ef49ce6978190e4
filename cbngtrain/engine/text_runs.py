"""
Runs of words of texts: what the words of a column are, as long as nobody asks for all of them.

Knowing the texts makes the difference to other texts' words, and the first runs, quick to find.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cbngtrain.engine.counts import Counts, summed
from cbngtrain.engine.first_words import beginnings, may_be_first, rows_of_smallest
from cbngtrain.engine.groups import Groups, grouped, kept, starts_of
from cbngtrain.engine.run_vocabulary import AnyVocabulary, Runs, RunVocabulary
from cbngtrain.engine.split_texts import SplitTexts, Words, difference
from cbngtrain.engine.vocabulary import Change

_TIMES_MORE = 256  # runs are looked at where there were too few among those before


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
    run_vocabulary: AnyVocabulary
    change: Change | None = None

    def counted(self) -> Counts:
        """How often each run occurs."""
        numbers = self.texts.words.numbers_of_runs(self.runs.length)
        keys = self.texts.words.keys(numbers, self.runs.length)
        groups = grouped(starts_of(numbers), keys)
        return self._counts(groups)

    def is_like(self, other: "TextRuns") -> bool:
        """Whether the two are the same kind of runs, unchanged."""
        both = (self, other)
        return self.run_vocabulary is other.run_vocabulary and not any(e.change for e in both)

    def minus(self, other: "TextRuns") -> Counts:
        """How often each run occurs more (or less) than in other texts."""
        return self._counts(difference(self.texts, other.texts, self.runs.length))

    def _counts(self, groups: Groups) -> Counts:
        starts, keys = groups.starts, groups.keys
        if self.runs.length == 1:
            return Counts(starts, keys[0], groups.sums)
        if isinstance(self.run_vocabulary, RunVocabulary):
            ids = self.run_vocabulary.ids(keys)
        else:
            ids = self.run_vocabulary.ids(self.runs.spelled(self.texts.by.vocabulary, keys))
        total = summed(starts, ids, groups.sums)  # runs of different words may read the same
        return total.where(total.times != 0)

    def changed(self, change: Change) -> "TextRuns | None":
        """The changed runs, if to change their words changes them so."""
        if self.change or not change.is_bytewise:
            return None
        return dataclasses.replace(self, change=change)

    def first(self, number: int) -> list[list[tuple[bytes, int]]] | None:
        """
        Return of each text the first runs in byte order, with their counts.

        None for single words, and where runs need not sort as their first words do: that is
        sure if the separator sorts before every byte of a word.
        """
        starts, ids = self.texts.words  # first of all: the vocabularies have the words once met
        words, runs = self.texts.by.vocabulary, self.run_vocabulary
        if self.change:
            words, changed = words.changed(self.change)
            runs, ids = runs.changed(self.change)[0], changed[ids]
        if not isinstance(runs, RunVocabulary) or not runs.sort_as_words:
            return None
        # What `NOTHING` stands for, an empty word, comes last, where -1 finds it.
        order = np.append(beginnings(words), np.uint8(0))
        groups = _first_runs(Words(starts, ids), self.runs.length, order, number)
        spelled = runs.runs.spelled(words, groups.keys).words
        counted = zip(spelled, groups.sums.tolist(), strict=True)
        return rows_of_smallest(list(counted), groups.starts, number)


def _first_runs(
    words: Words, length: int, order: NDArray[np.unsignedinteger], wanted: int
) -> Groups:
    """
    Return runs among which are the first ones of each text, grouped by their words.

    Those of the least words, by their first bytes: as many as are wanted, and if these are too
    often the same ones, more.
    """
    numbers = words.numbers_of_runs(length)
    starts = starts_of(numbers)
    keys = words.keys(numbers, length)
    first_words = order[keys[0]]
    repeated = len(first_words) // len(order) ** length  # times each run, at least, on the average
    number = wanted * max(1, repeated)
    which = may_be_first(first_words, starts, number)
    while True:
        taken = kept(starts, which)
        groups = grouped(taken, [key[which] for key in keys])
        short = (np.diff(groups.starts) < wanted) & (np.diff(taken) < numbers)
        if not short.any():
            return groups
        number *= _TIMES_MORE
        which |= np.repeat(short, numbers) & may_be_first(first_words, starts, number)
