"""
Counting long word lists: words as arrays, where they stand in the file.

There are millions of lines, and most words occur once or twice and will be pruned. So words
become Python objects only if they occur often enough:

1. Every word is hashed, eight bytes at a time, all words of a batch at once.
2. Words whose hash is rarer than `least` are left out.
3. The others are brought together by sorting their hashes, and each is compared byte by byte with
   the first of its hash: what is counted is exact, whatever the hash does.

Memory: the file twice, and about 50 bytes a line.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from cbngtrain.engine.bayes import EDIT_TOTALS, WordCounts
from cbngtrain.engine.hashes import Hashes, together
from cbngtrain.engine.packed import SHORT_WORD, Text, eights, hashes

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_SHORTEST_LINE = 3  # bytes; "0 " has no word

_BATCH_BYTES = 1 << 20  # some 60,000 lines, whose arrays stay in the second-level cache

_THREADS = 2  # that make batches; more would wait for Python's lock

_WORDS_AT_ONCE = 1 << 16  # as many as in a batch

_BUCKET_BITS = 22  # of a hash, to find rare words by: 32 MB of counters


def counted_as_arrays(data: bytes, least: int) -> WordCounts | None:
    """
    Return the words of a plain list that occur in at least so many edits, and `EDIT_TOTALS`.

    Args:
        data: Lines ``0 word`` or ``1 word``, each with its newline, without NULs.
        least: Words in fewer edits are left out, others of the totals' length excepted.

    Returns:
        Word → (good, bad); None if two words share a hash.
    """
    text = Text.of(data)
    with ThreadPoolExecutor(min(_THREADS, len(os.sched_getaffinity(0)))) as pool:
        batches = pool.map(partial(_words, text), range(0, text.size, _BATCH_BYTES))
        words = _joined(list(batches))
    buckets = words.hashes >> np.uint64(64 - _BUCKET_BITS)
    frequent = np.bincount(buckets.view(np.int64), minlength=1 << _BUCKET_BITS)[buckets] >= least
    words = words.at(frequent | (words.lengths == len(EDIT_TOTALS)))
    return _grouped(text, words, least)


@dataclass(frozen=True, slots=True)
class _Words:
    """
    Words that stand in a text, (n,) each: 21 bytes a word.

    Attributes:
        starts, lengths: Where, and how many bytes.
        is_bad: Whether the edit was vandalism.
        hashes: 64 bits that depend on each of the word's bytes.
    """

    starts: Integers
    lengths: npt.NDArray[np.int32]
    is_bad: Flags
    hashes: Hashes

    def at(self, which: Integers | npt.NDArray[np.int32] | Flags | slice) -> "_Words":
        return _Words(
            self.starts[which], self.lengths[which], self.is_bad[which], self.hashes[which]
        )


def _words(text: Text, begin: int) -> _Words:
    """Return the words of the lines that end in a batch."""
    end = min(begin + _BATCH_BYTES, text.size)
    ends = np.flatnonzero(text.ones[begin:end] == ord("\n")) + begin
    before = text.data.rfind(b"\n", 0, begin) if len(ends) else 0  # else within one long line
    starts = np.concatenate(([before], ends[:-1]))[: len(ends)] + 1
    lengths = (ends - starts).astype(np.int32)
    if (lengths < _SHORTEST_LINE).any():
        long_enough = lengths >= _SHORTEST_LINE
        starts, lengths = starts[long_enough], lengths[long_enough]
    is_bad = text.ones[starts] == ord("1")
    starts, lengths = starts + 2, lengths - 2
    return _Words(starts, lengths, is_bad, hashes(text, starts, lengths))


def _joined(parts: Sequence[_Words]) -> _Words:
    columns = [(part.starts, part.lengths, part.is_bad, part.hashes) for part in parts]
    return _Words(*(np.concatenate(column) for column in zip(*columns, strict=True)))


def _grouped(text: Text, words: _Words, least: int) -> WordCounts | None:
    """Return the words with their counts; None if two of them share a hash."""
    order, is_first = together(words.hashes)
    group = np.empty(len(order), np.int32)  # of each word, as the words stand in the text
    group[order] = np.cumsum(is_first, dtype=np.int32) - np.int32(1)
    firsts = words.at(order[is_first])
    if not _are_equal(text, words, firsts, group):
        return None
    edits = np.bincount(group)
    bad = np.bincount(group[words.is_bad], minlength=len(edits))
    kept = np.flatnonzero((edits >= least) | (firsts.lengths == len(EDIT_TOTALS)))
    counts = zip((edits - bad)[kept].tolist(), bad[kept].tolist(), strict=True)
    return dict(zip(_slices(text, firsts.at(kept)), counts, strict=True))


def _are_equal(text: Text, words: _Words, firsts: _Words, group: npt.NDArray[np.int32]) -> bool:
    """Tell whether each of *words* has the bytes of the first word of its group."""
    wanted = []  # of each first word, the next eight bytes: a table that fits the cache
    for which, eight in eights(text, firsts.starts, firsts.lengths):
        table = np.zeros(len(firsts.starts), np.uint64)
        table[which] = eight
        wanted.append(table)
    for begin in range(0, len(group), _WORDS_AT_ONCE):
        some, groups = (
            words.at(slice(begin, begin + _WORDS_AT_ONCE)),
            group[begin : begin + _WORDS_AT_ONCE],
        )
        if (some.lengths != firsts.lengths[groups]).any():
            return False
        parts = eights(text, some.starts, some.lengths)
        if not all(
            (eight == table[groups[which]]).all()
            for (which, eight), table in zip(parts, wanted, strict=False)
        ):
            return False
    long = words.lengths > SHORT_WORD
    firsts_of_long = firsts.at(group[long])
    return _slices(text, words.at(long)) == _slices(text, firsts_of_long)


def _slices(text: Text, words: _Words) -> list[bytes]:
    """Return the words as objects."""
    return text.slices(words.starts, words.lengths)
