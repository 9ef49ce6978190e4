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
from cbngtrain.engine.groups import ranges
from cbngtrain.engine.vocabulary import Ints

MANY = 1 << 10  # words that are ordered by numbers in less time than `sorted` takes (measured)
AT_ONCE = 1 << 12  # words whose bytes are brought together; the places of these fit the cache
FEW = 64  # words of a set that are just sorted


def sorted_and_joined(words: list[bytes], separator: bytes) -> bytes:
    """
    The words in byte order, joined.

    Of many words the joined bytes are ordered, not the words: these lie all over the memory.
    """
    if len(words) < MANY:
        return separator.join(sorted(words))
    text = np.frombuffer(separator.join([*words, b""]), np.uint8)
    sizes = np.fromiter(map(len, words), np.int64, len(words)) + len(separator)
    starts = np.cumsum(sizes) - sizes
    order = _byte_order(words)
    parts = []
    for begin in range(0, len(words), AT_ONCE):
        some = order[begin : begin + AT_ONCE]
        parts.append(text[ranges(starts[some], sizes[some])].tobytes())
    return b"".join(parts).removesuffix(separator)


def _byte_order(words: list[bytes]) -> Ints:
    """
    The places of the words in byte order, shape (n_words,).

    By their first eight bytes, as numbers; where these are equal, by all.
    """
    first_bytes = np.array(words, "S8").view(">u8").astype(np.uint64)
    order = first_bytes.argsort()
    is_same = np.diff(first_bytes[order]) == 0  # as the next one's
    alike = np.flatnonzero(np.append(is_same, False) | np.append(False, is_same))
    order[alike] = sorted(order[alike].tolist(), key=words.__getitem__)
    return order


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
