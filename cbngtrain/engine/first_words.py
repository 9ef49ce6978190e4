"""
The first words of sets in byte order, without sorting all of them.

A dump shows a handful of words of sets that have hundreds. So words are told apart by their first
two bytes, as numbers, and only those that may be among the first are looked at as bytes.
"""

from heapq import nsmallest
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cbngtrain.engine.counts import Bools
from cbngtrain.engine.vocabulary import Ints

FEW = 64  # words of a set that are just sorted


def first_two_bytes(words: list[bytes]) -> NDArray[np.uint16]:
    """A number that orders words as their first two bytes do, shape (n_words,)."""
    return np.array(words, "S2").view(">u2").astype(np.uint16)


def least(near: NDArray[np.uint16], starts: Ints, number: int) -> Bools:
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
