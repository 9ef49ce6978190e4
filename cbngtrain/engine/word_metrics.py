"""What the words of sets are like, of all edits of a chunk at once, as arrays."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from cbngtrain.engine.words import Counts

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

LOWER, UPPER, DIGIT, VOWEL, OTHER = 1, 2, 4, 8, 16  # what a byte is, bits
VOWELS = b"aeiouyAEIOUY"


def _kinds() -> NDArray[np.uint8]:
    kinds = np.full(256, OTHER, np.uint8)
    for byte in range(128):
        if chr(byte).isalnum():
            kinds[byte] = LOWER * chr(byte).islower() + UPPER * chr(byte).isupper()
            kinds[byte] += DIGIT * chr(byte).isdigit() + VOWEL * (byte in VOWELS)
    return kinds


KINDS = _kinds()
"""Byte → what it is, shape (256,)."""


@dataclass(frozen=True, slots=True)
class Words:
    """
    The distinct words of some sets, one after another.

    Attributes:
        sizes: How many distinct words each set has, shape (n_sets,).
        counts: How often each word occurs in its set, shape (n_words,).
        lengths: In bytes, shape (n_words,).
        some: What some byte of each word is, shape (n_words,).
        every: What every byte of each word is, shape (n_words,).
        first: What the first byte of each word is, shape (n_words,).
        runs: The longest run of one byte in each word, shape (n_words,).
    """

    sizes: Ints
    counts: Ints
    lengths: Ints
    some: NDArray[np.uint8]
    every: NDArray[np.uint8]
    first: NDArray[np.uint8]
    runs: Ints

    @property
    def upper(self) -> Bools:
        """Whether every byte is A-Z, of 2 or more."""
        return ((self.every & UPPER) > 0) & (self.lengths > 1)

    def has(self, kind: int) -> Bools:
        """Whether some byte of the word is of a kind."""
        return (self.some & kind) > 0

    def starts(self, kind: int) -> Bools:
        """Whether the first byte of the word is of a kind."""
        return (self.first & kind) > 0

    def total(self, which: Bools) -> Ints:
        """How often words that are so occur in each set, shape (n_sets,)."""
        sums = np.concatenate(([0], np.cumsum(self.counts * which)))
        ends = np.cumsum(self.sizes)
        totals: Ints = sums[ends] - sums[ends - self.sizes]
        return totals

    def greatest(self, values: Ints) -> Ints:
        """The greatest of values, one per word, in each set; 0 in an empty one."""
        result = np.zeros(len(self.sizes), np.int64)
        filled = np.flatnonzero(self.sizes)
        if len(filled):
            begins = (np.cumsum(self.sizes) - self.sizes)[filled]
            result[filled] = np.maximum.reduceat(values, begins)
        return result


METRICS: Mapping[str, Callable[[Words], Ints]] = {
    "word_count": lambda w: w.total(w.lengths > 0),
    "distinct_word_count": lambda w: w.sizes,
    "all_lcase_word_count": lambda w: w.total(w.has(LOWER) & ~w.has(UPPER)),
    "all_ucase_word_count": lambda w: w.total(w.upper),
    "max_all_ucase_word_len": lambda w: w.greatest(w.lengths * w.upper),
    "first_ucase_word_count": lambda w: w.total(w.starts(UPPER) & ~w.upper & (w.lengths > 1)),
    "middle_ucase_word_count": lambda w: w.total(w.has(UPPER) & ~w.starts(UPPER)),
    "numeric_word_count": lambda w: w.total(w.has(DIGIT) & ~w.has(LOWER | UPPER)),
    "part_numeric_word_count": lambda w: w.total(w.has(DIGIT) & w.has(LOWER | UPPER)),
    "novowels_word_count": lambda w: w.total(w.has(LOWER | UPPER) & ~w.has(VOWEL)),
    "max_word_len": lambda w: w.greatest(w.lengths),
    "max_word_repeats": lambda w: w.greatest(w.counts),
    "longest_char_run": lambda w: w.greatest(w.runs),
}
"""Metric of ``misc_raw_word_metrics`` → it, shape (n_sets,)."""


def words_of(sets: Sequence[Counts]) -> Words:
    """Return the words of the sets as arrays."""
    words = list(chain.from_iterable(sets))
    lengths = np.fromiter(map(len, words), np.int64, len(words))
    text = np.frombuffer(b"".join(words), np.uint8)
    begins = np.cumsum(lengths) - lengths  # (n_words,), where each begins in the text
    kinds = KINDS[text]
    counts = chain.from_iterable(each.values() for each in sets)
    return Words(
        sizes=np.fromiter(map(len, sets), np.int64, len(sets)),
        counts=np.fromiter(counts, np.int64, len(words)),
        lengths=lengths,
        some=np.bitwise_or.reduceat(kinds, begins) if words else kinds,
        every=np.bitwise_and.reduceat(kinds, begins) if words else kinds,
        first=kinds[begins],
        runs=_longest_runs(text, begins),
    )


def _longest_runs(text: NDArray[np.uint8], begins: Ints) -> Ints:
    """The longest run of one byte in each of the words that begin there, shape (n_words,)."""
    if not len(begins):
        return begins
    is_new = np.empty(len(text), np.bool_)  # a run begins here
    is_new[0] = True
    np.not_equal(text[1:], text[:-1], out=is_new[1:])
    is_new[begins] = True
    runs = np.flatnonzero(is_new)
    lengths = np.empty_like(runs)
    np.subtract(runs[1:], runs[:-1], out=lengths[:-1])
    lengths[-1] = len(text) - runs[-1]
    first_runs = np.cumsum(is_new)[begins] - 1  # (n_words,), of each word
    return np.maximum.reduceat(lengths, first_runs)
