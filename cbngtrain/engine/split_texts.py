"""
Texts split into words, all texts of a chunk by one splitter together.

An edit leaves most lines of a page alone, and texts that are made of others have most lines in
common with them. So every distinct line is split once, if at all: a text's words are those of
its lines, and where two texts differ only the lines that differ are looked at.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, count, islice
from typing import NamedTuple

import numpy as np

from cbngtrain.engine.groups import (
    Groups,
    followed,
    grouped,
    in_ranges,
    kept,
    rows_of,
    starts_of,
)
from cbngtrain.engine.splitter import LONG, NEWLINE, Splitter
from cbngtrain.engine.vocabulary import NOTHING, Ints, Vocabulary

SHORT_LINES = 16  # bytes; a text whose lines are shorter is taken for one line

_UNSPLIT = -1


class Words(NamedTuple):
    """
    Words of rows, one row after another.

    Attributes:
        starts: Where each row's begin, shape (n_rows + 1,).
        ids: Shape (n_words,).
    """

    starts: Ints
    ids: Ints

    def numbers_of_runs(self, length: int) -> Ints:
        """How many runs of so many words each row has, shape (n_rows,)."""
        numbers: Ints = np.diff(self.starts) - (length - 1)
        return np.maximum(numbers, 0)

    def keys(self, numbers: Ints, length: int) -> list[Ints]:
        """Per place in a run the words there, of so many first runs of each row."""
        return [in_ranges(self.ids, self.starts[:-1] + aside, numbers) for aside in range(length)]


class Lines(NamedTuple):
    """
    Lines of texts that have words, one text after another.

    Attributes:
        starts: Where the lines of each text begin, shape (n_texts + 1,).
        numbers: The number of each line, equal lines have one; shape (n_lines,).
    """

    starts: Ints
    numbers: Ints


class LineSplitter:
    """
    Splits lines into words, every distinct one once.

    Attributes:
        splitter: How.
        vocabulary: The words that were met.
    """

    def __init__(self, splitter: Splitter) -> None:
        self.splitter = splitter
        self.vocabulary = Vocabulary(splitter.mark)
        self._long: set[bytes] = set()  # texts that may have lines in common
        self._has_lines = NEWLINE not in splitter.word_bytes
        self._numbers: defaultdict[bytes, int] = defaultdict(count().__next__)
        self._lines: list[bytes] = []  # that have words, or not, as told here:
        self._has_words = np.empty(0, np.bool_)
        self._words: Ints = np.empty(0, np.int64)  # of the lines that are split
        self._begins: Ints = np.empty(0, np.int64)  # of each line's words, or `_UNSPLIT`
        self._sizes: Ints = np.empty(0, np.int64)

    def split(self, texts: Sequence[bytes]) -> "SplitTexts":
        """The texts, which are made into lines when they are asked for."""
        self._long.update(text for text in texts if len(text) >= LONG)
        return SplitTexts(self, texts)

    def lines(self, texts: Sequence[bytes]) -> Lines:
        """The lines of texts."""
        each = [self._lines_of(text) for text in texts]
        starts = starts_of(np.fromiter(map(len, each), np.int64, len(each)))
        numbers = map(self._numbers.__getitem__, chain.from_iterable(each))
        lines = np.fromiter(numbers, np.int64, starts[-1])
        new = list(islice(self._numbers, len(self._lines), None))
        self._lines += new
        self._has_words = np.concatenate([self._has_words, self.splitter.have_words(new)])
        self._begins = np.concatenate([self._begins, np.full(len(new), _UNSPLIT)])
        self._sizes = np.concatenate([self._sizes, np.zeros(len(new), np.int64)])
        which = self._has_words[lines]
        return Lines(kept(starts, which), lines[which])

    def words(self, lines: Ints) -> Words:
        """The words of lines, a row each; of line `NOTHING`, none."""
        is_asked = np.zeros(len(self._lines) + 1, np.bool_)  # and whether `NOTHING` is, at the end
        is_asked[lines] = True
        self._split(np.flatnonzero(is_asked[:-1] & (self._begins == _UNSPLIT)))
        sizes = np.where(lines == NOTHING, 0, self._sizes[lines])
        return Words(starts_of(sizes), in_ranges(self._words, self._begins[lines], sizes))

    def _lines_of(self, text: bytes) -> list[bytes]:
        if not self._has_lines or text.count(b"\n") * SHORT_LINES > len(text):
            return [text]
        if self._long == {text}:  # no other can have many of its lines
            return [text]
        return text.split(b"\n")

    def _split(self, numbers: Ints) -> None:
        if not len(numbers):
            return
        each = [self._lines[number] for number in numbers.tolist()]
        words = self.vocabulary.ids(self.splitter.marked_words(each))
        is_mark = words == NOTHING
        marks = np.flatnonzero(is_mark)
        ends = marks - np.arange(len(marks))  # without the marks
        self._sizes[numbers] = np.diff(ends, prepend=0)
        self._begins[numbers] = len(self._words) + ends - self._sizes[numbers]
        self._words = followed(self._words, words[:-1] if len(marks) == 1 else words[~is_mark])


@dataclass(frozen=True, eq=False)
class SplitTexts:
    """
    A column of texts as lines.

    Attributes:
        by: What splits the lines.
        texts: The texts.
    """

    by: LineSplitter
    texts: Sequence[bytes]

    @cached_property
    def lines(self) -> Lines:
        """The lines of each text."""
        return self.by.lines(self.texts)

    @cached_property
    def words(self) -> Words:
        """The words of each text."""
        starts, numbers = self.lines
        words = self.by.words(numbers)
        return Words(words.starts[starts], words.ids)

    def contexts(self, number: int) -> list[Ints]:
        """Each line; what follows it in the text, line by line, so many lines in all."""
        starts, numbers = self.lines
        padded = np.concatenate([numbers, np.full(number, NOTHING)])
        ends = np.repeat(starts[1:], np.diff(starts))  # of each line's text
        places = np.arange(len(numbers))
        return [
            np.where(places + aside < ends, padded[places + aside], NOTHING)
            for aside in range(number)
        ]


def difference(ours: SplitTexts, theirs: SplitTexts, length: int) -> Groups:
    """
    Subtract the runs of words of a column of texts from those of another one.

    Lines that both have, with the same lines following, are left out before any is split: the
    runs that begin in them are the same.

    Returns:
        The runs of each text by their words, as `Words.keys`; how often each occurs more (less:
        below 0).
    """
    starts, others = ours.lines.starts, theirs.lines.starts
    order = np.concatenate([rows_of(starts), rows_of(others)]).argsort(kind="stable")
    signs = np.where(order < starts[-1], 1, -1)
    pairs = zip(ours.contexts(length), theirs.contexts(length), strict=True)
    contexts = [np.concatenate(pair)[order] for pair in pairs]
    lines = grouped(starts + others, contexts, signs)
    lines = lines.where(lines.sums != 0)
    # Each line that is left, with what follows it, as one row of words.
    in_context = np.stack(lines.keys, axis=1)
    starts, ids = ours.by.words(in_context.ravel())
    words = Words(starts[::length], ids)
    sizes = np.diff(starts)[::length]  # of the lines without what follows
    numbers = np.minimum(words.numbers_of_runs(length), sizes)
    keys = words.keys(numbers, length)
    row_starts = starts_of(numbers)[lines.starts]
    is_once = (lines.sums == 1).all()
    runs = grouped(row_starts, keys, None if is_once else np.repeat(lines.sums, numbers))
    return runs.where(runs.sums != 0)
