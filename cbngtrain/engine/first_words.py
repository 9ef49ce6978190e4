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
from cbngtrain.engine.groups import grouped
from cbngtrain.engine.packed import byte_order, joined
from cbngtrain.engine.run_vocabulary import AnyVocabulary, RunVocabulary
from cbngtrain.engine.spellings import Spellings
from cbngtrain.engine.vocabulary import NOTHING, Ints

MANY = 1 << 10  # words that are ordered by numbers in less time than `sorted` takes (measured)
TOO_OFTEN = 4  # words, on the average, that begin with the same eight bytes
FEW = 64  # words of a set that are just sorted


def sorted_and_joined(vocabulary: AnyVocabulary, ids: Ints, separator: bytes) -> bytes:
    """
    The words that have these ids, no two equal, in byte order, joined.

    Of many words the joined bytes are ordered, not the words: these lie all over the memory.
    """
    if len(ids) < MANY:
        return separator.join(sorted(vocabulary.spelled(ids).words))
    if isinstance(vocabulary, RunVocabulary) and vocabulary.sort_as_words:
        ranks = vocabulary.of.column_of_all(_ranks)
        words, ranks = np.append(_inverse(ranks), NOTHING), np.append(ranks, NOTHING)
        keys = grouped(np.array([0, len(ids)]), [ranks[key[ids]] for key in vocabulary.keys]).keys
        columns = [vocabulary.of.spelled(words[key]).packed for key in keys]
        return joined(columns, vocabulary.runs.separator, separator).removesuffix(separator)
    if len(ids) * 2 > len(vocabulary):
        ordered = ids[vocabulary.column_of_all(_ranks)[ids].argsort()]
    else:
        ordered = ids[byte_order(vocabulary.spelled(ids).packed)]
    return joined([vocabulary.spelled(ordered).packed], b"", separator).removesuffix(separator)


def beginnings(vocabulary: AnyVocabulary) -> NDArray[np.unsignedinteger]:
    """Numbers that order a vocabulary's words, as far as their beginnings do; (n_words,)."""
    if isinstance(vocabulary, RunVocabulary) and vocabulary.sort_as_words:
        first = beginnings(vocabulary.of)
        return np.append(first, first.dtype.type(0))[vocabulary.keys[0]]  # 0: of an empty word
    if not vocabulary.words.is_packed:
        return vocabulary.column(_first_two)
    return vocabulary.column_of_all(_first_eight)


def _ranks(words: Spellings) -> Ints:
    """The places of words in byte order."""
    return _inverse(byte_order(words.packed))


def _inverse(permutation: Ints) -> Ints:
    """Where each number stands in it."""
    places = np.empty(len(permutation), np.int64)
    places[permutation] = np.arange(len(permutation))
    return places


def _first_eight(words: Spellings) -> NDArray[np.uint64]:
    """Their first eight bytes, or if these are too often the same, their places in byte order."""
    eights = words.packed.first_bytes()
    is_told_apart = np.count_nonzero(np.diff(np.sort(eights))) * TOO_OFTEN >= len(words)
    return eights if is_told_apart else _ranks(words).astype(np.uint64)


def _first_two(words: Spellings) -> NDArray[np.uint16]:
    return np.array(words.words, "S2").view(">u2").astype(np.uint16)


def may_be_first(beginnings: NDArray[np.unsignedinteger], starts: Ints, number: int) -> Bools:
    """Which items may be among so many least ones of their row: all of a short one."""
    sizes = np.diff(starts)
    limits = np.full(len(sizes), beginnings.max(initial=0))
    for row in np.flatnonzero(sizes > max(FEW, number)).tolist():
        limits[row] = np.partition(beginnings[starts[row] : starts[row + 1]], number - 1)[
            number - 1
        ]
    return beginnings <= np.repeat(limits, sizes)


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
