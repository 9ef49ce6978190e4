"""What words are like, as arrays: of each word, and of the sets of a column."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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

    def of_sets(reduced: np.ufunc, values: Ints) -> Ints:
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


def _of_words(words: list[bytes]) -> Ints:
    """What `OF_WORDS` asks of each word, shape (n_words, n_metrics), metric by metric in memory."""
    described = _described(words)
    return np.array([function(described) for function in OF_WORDS.values()], np.int64).T


def _described(words: list[bytes]) -> Words:
    lengths = np.fromiter(map(len, words), np.int64, len(words))
    text = np.frombuffer(b"".join(words), np.uint8)
    begins = np.cumsum(lengths) - lengths  # (n_words,), where each begins in the text
    kinds = KINDS[text]
    return Words(
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
    lengths = np.diff(runs, append=len(text))
    first_runs = np.cumsum(is_new)[begins] - 1  # (n_words,), of each word
    return np.maximum.reduceat(lengths, first_runs)
