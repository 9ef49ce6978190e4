"""
Words in byte order, and the first words of sets without sorting all of them.

A dump shows a handful of words of sets that have hundreds. So words are told apart by their first
bytes, as numbers, and only those that may be among the first are looked at as bytes.
"""

from heapq import nsmallest
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cbngtrain.engine.counts import Bools
from cbngtrain.engine.packed import byte_order, joined
from cbngtrain.engine.spellings import Spellings
from cbngtrain.engine.vocabulary import Ints, Vocabulary

MANY = 1 << 10  # words that are ordered by numbers in less time than `sorted` takes (measured)
TOO_OFTEN = 4  # words, on the average, that begin with the same eight bytes
FEW = 64  # words of a set that are just sorted


def sorted_and_joined(words: Spellings, separator: bytes) -> bytes:
    """
    The words in byte order, joined.

    Of many words the joined bytes are ordered, not the words: these lie all over the memory.
    """
    if len(words) < MANY:
        return separator.join(sorted(words.words))
    ordered = words.packed.at(byte_order(words.packed))
    return joined([ordered], b"", separator).removesuffix(separator)


def near(vocabulary: Vocabulary) -> NDArray[np.unsignedinteger]:
    """Numbers that order a vocabulary's words, as far as their first bytes do; (n_words,)."""
    return vocabulary.column(_first_eight if vocabulary.words.is_packed else _first_two)


def _first_eight(words: Spellings) -> NDArray[np.uint64]:
    """Their first eight bytes, or if these are too often the same, their places in byte order."""
    near = words.packed.first_bytes()
    if np.count_nonzero(np.diff(np.sort(near))) * TOO_OFTEN > len(words):
        return near
    order = byte_order(words.packed)
    near[order] = np.arange(len(words), dtype=np.uint64)
    return near


def _first_two(words: Spellings) -> NDArray[np.uint16]:
    return np.array(words.words, "S2").view(">u2").astype(np.uint16)


def least(near: NDArray[np.unsignedinteger], starts: Ints, number: int) -> Bools:
    """Which items may be among so many least ones of their row: all of a short one."""
    sizes = np.diff(starts)
    limits = np.full(len(sizes), near.max(initial=0))
    for row in np.flatnonzero(sizes > max(FEW, number)).tolist():
        limits[row] = np.partition(near[starts[row] : starts[row + 1]], number - 1)[number - 1]
    return near <= np.repeat(limits, sizes)


def rows_of_smallest(
    items: list[tuple[bytes, int]], starts: Ints, number: int
) -> list[list[tuple[bytes, int]]]:
    """Of each row of words with their counts the first ones."""
    bounds = pairwise(starts.tolist())
    return [_smallest(number, items[begin:end]) for begin, end in bounds]


def _smallest(number: int, items: list[tuple[bytes, int]]) -> list[tuple[bytes, int]]:
    if len(items) < 16 * number:  # so few that sorting is quicker
        return sorted(items)[:number]
    return nsmallest(number, items)
