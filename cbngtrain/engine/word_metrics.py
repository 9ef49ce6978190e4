"""What words are like, as arrays: of each word, and of the sets of a column."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbngtrain.engine.packed import Packed
from cbngtrain.engine.spellings import Spellings
from cbngtrain.engine.vocabulary import Ints
from cbngtrain.engine.word_sets import WordSets

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
    What words are like, shape (n_words,) each.

    Attributes:
        lengths: In bytes.
        some: What some byte of each word is.
        every: What every byte of each word is.
        first: What the first byte of each word is.
        runs: The longest run of one byte in each word.
    """

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


TOTALS: Mapping[str, Callable[[Words], Bools]] = {
    "word_count": lambda w: w.lengths > 0,
    "all_lcase_word_count": lambda w: w.has(LOWER) & ~w.has(UPPER),
    "all_ucase_word_count": lambda w: w.upper,
    "first_ucase_word_count": lambda w: w.starts(UPPER) & ~w.upper & (w.lengths > 1),
    "middle_ucase_word_count": lambda w: w.has(UPPER) & ~w.starts(UPPER),
    "numeric_word_count": lambda w: w.has(DIGIT) & ~w.has(LOWER | UPPER),
    "part_numeric_word_count": lambda w: w.has(DIGIT) & w.has(LOWER | UPPER),
    "novowels_word_count": lambda w: w.has(LOWER | UPPER) & ~w.has(VOWEL),
}
"""Metric of ``misc_raw_word_metrics`` → which words, as often as they occur, it counts."""

GREATEST: Mapping[str, Callable[[Words], Ints]] = {
    "max_all_ucase_word_len": lambda w: w.lengths * w.upper,
    "max_word_len": lambda w: w.lengths,
    "longest_char_run": lambda w: w.runs,
}
"""Metric → of which number of each word it is the greatest."""

OF_WORDS: Mapping[str, Callable[[Words], NDArray[Any]]] = {**TOTALS, **GREATEST}
"""Metric → what it asks of each word."""

METRICS = (*OF_WORDS, "distinct_word_count", "max_word_repeats")
"""The metrics of ``misc_raw_word_metrics``."""


def metrics(sets: WordSets) -> dict[str, Ints]:
    """Return all `METRICS` of each set, shape (n_sets,)."""
    starts, ids, times = sets.counts
    filled = np.flatnonzero(np.diff(starts))  # sets; `reduceat` has no answer for empty ones

    def of_sets(reduced: np.ufunc, values: NDArray[np.integer]) -> Ints:
        found = np.zeros(len(starts) - 1, np.int64)
        if len(filled):
            found[filled] = reduced.reduceat(values, starts[filled])
        return found

    of_words = dict(zip(OF_WORDS, sets.vocabulary.column(_of_words).T, strict=True))
    totals = {name: of_sets(np.add, of_words[name][ids] * times) for name in TOTALS}
    greatest = {name: of_sets(np.maximum, of_words[name][ids]) for name in GREATEST}
    return {
        **totals,
        **greatest,
        "distinct_word_count": np.diff(starts),
        "max_word_repeats": of_sets(np.maximum, times.clip(0)),  # a delta's may be below 0
    }


def _of_words(words: Spellings) -> NDArray[np.int32]:
    """What `OF_WORDS` asks of each word, shape (n_words, n_metrics), metric by metric in memory."""
    described = _described(words.packed.compact())
    return np.array([function(described) for function in OF_WORDS.values()], np.int32).T


def _described(words: Packed) -> Words:
    text = words.text.ones[: words.text.size]
    kinds = KINDS[text]
    both = kinds | (~kinds).astype(np.uint16) << 8
    both[words.starts + words.lengths] = 0  # what is between them
    some = np.bitwise_or.reduceat(both, words.starts) if len(words) else both
    return Words(
        lengths=words.lengths,
        some=some.astype(np.uint8),
        every=~(some >> 8).astype(np.uint8),
        first=kinds[words.starts],
        runs=_longest_runs(text, words),
    )


def _longest_runs(text: NDArray[np.uint8], words: Packed) -> Ints:
    """The longest run of one byte in each word of a text, shape (n_words,)."""
    is_next = np.zeros(len(text) + 1, np.bool_)  # the same byte as the one before
    np.equal(text[1:], text[:-1], out=is_next[1:-1])
    is_next[words.starts] = False
    is_next[words.starts + words.lengths] = False
    bounds = np.flatnonzero(is_next[1:] != is_next[:-1])  # of runs, without their first bytes
    begins, ends = bounds[::2], bounds[1::2]
    longest = np.minimum(words.lengths, 1)
    places = np.searchsorted(words.starts, begins, side="right") - 1
    np.maximum.at(longest, places, ends - begins + 1)
    return longest
