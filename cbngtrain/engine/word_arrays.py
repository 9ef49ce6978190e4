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
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from cbngtrain.engine.bayes import EDIT_TOTALS, WordCounts
from cbngtrain.engine.hashes import Hashes, together

Integers = npt.NDArray[np.int64]
Lengths = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]

_SHORTEST_LINE = 3  # bytes; "0 " has no word

_SHORT_WORD = 64  # bytes; longer words are few and are hashed and compared one by one

_BATCH_BYTES = 1 << 20  # some 60,000 lines, whose arrays stay in the second-level cache

_PADDING = 8  # bytes

_THREADS = 2  # that make batches; more would wait for Python's lock

_WORDS_AT_ONCE = 1 << 16  # as many as in a batch

_BUCKET_BITS = 22  # of a hash, to find rare words by: 32 MB of counters

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio, odd: Knuth, TAOCP 3, 6.4

_MASKS = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)
"""Number of bytes → the mask that keeps so many of a little-endian 64-bit number."""


def counted_as_arrays(data: bytes, least: int) -> WordCounts | None:
    """
    Return the words of a plain list that occur in at least so many edits, and `EDIT_TOTALS`.

    Args:
        data: Lines ``0 word`` or ``1 word``, each with its newline, without NULs.
        least: Words in fewer edits are left out, others of the totals' length excepted.

    Returns:
        Word → (good, bad); None if two words share a hash.
    """
    text = _Text.of(data)
    with ThreadPoolExecutor(min(_THREADS, len(os.sched_getaffinity(0)))) as pool:
        batches = pool.map(partial(_words, text), range(0, text.size, _BATCH_BYTES))
        words = _joined(list(batches))
    buckets = words.hashes >> np.uint64(64 - _BUCKET_BITS)
    frequent = np.bincount(buckets.view(np.int64), minlength=1 << _BUCKET_BITS)[buckets] >= least
    words = words.at(frequent | (words.lengths == len(EDIT_TOTALS)))
    return _grouped(text, words, least)


class _Text(NamedTuple):
    """
    A list's bytes, and eight more, so that there are eight bytes from each of its bytes on.

    Attributes:
        data: The bytes, with the padding.
        ones: The same, shape (n + 8,).
        eights: Shape (n + 1,): the eight bytes from each byte on, as a little-endian number.
    """

    data: bytes
    ones: npt.NDArray[np.uint8]
    eights: Hashes

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Return the text of a list's bytes."""
        padded = data + bytes(_PADDING)
        eights = np.ndarray(len(data) + 1, "<u8", padded, strides=(1,))
        return cls(padded, np.frombuffer(padded, np.uint8), eights)

    @property
    def size(self) -> int:
        """How many bytes the list has."""
        return len(self.data) - _PADDING

    def slices(self, words: "_Words") -> list[bytes]:
        """Return the bytes of each of *words*."""
        ends = (words.starts + words.lengths).tolist()
        return [self.data[a:b] for a, b in zip(words.starts.tolist(), ends, strict=True)]


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

    def at(self, which: Integers | Lengths | Flags | slice) -> "_Words":
        return _Words(
            self.starts[which], self.lengths[which], self.is_bad[which], self.hashes[which]
        )


def _words(text: _Text, begin: int) -> _Words:
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
    return _Words(starts, lengths, is_bad, _hashes(text, starts, lengths))


def _joined(parts: Sequence[_Words]) -> _Words:
    columns = [(part.starts, part.lengths, part.is_bad, part.hashes) for part in parts]
    return _Words(*(np.concatenate(column) for column in zip(*columns, strict=True)))


def _hashes(text: _Text, starts: Integers, lengths: Lengths) -> Hashes:
    """Return 64 bits per word that depend on each of its bytes."""
    hashes = lengths.astype(np.uint64)
    for which, eight in _eights(text, starts, lengths):
        mixed = (hashes[which] ^ eight) * _MULTIPLIER
        hashes[which] = mixed ^ (mixed >> np.uint64(32))
    for i in np.flatnonzero(lengths > _SHORT_WORD).tolist():
        word = text.data[starts[i] : starts[i] + lengths[i]]
        hashes[i] ^= np.uint64(hash(word) & 0xFFFFFFFFFFFFFFFF)
    return hashes * _MULTIPLIER


def _grouped(text: _Text, words: _Words, least: int) -> WordCounts | None:
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
    return dict(zip(text.slices(firsts.at(kept)), counts, strict=True))


def _are_equal(text: _Text, words: _Words, firsts: _Words, group: npt.NDArray[np.int32]) -> bool:
    """Tell whether each of *words* has the bytes of the first word of its group."""
    wanted = []  # of each first word, the next eight bytes: a table that fits the cache
    for which, eight in _eights(text, firsts.starts, firsts.lengths):
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
        eights = _eights(text, some.starts, some.lengths)
        if not all(
            (eight == table[groups[which]]).all()
            for (which, eight), table in zip(eights, wanted, strict=False)
        ):
            return False
    long = words.lengths > _SHORT_WORD
    firsts_of_long = firsts.at(group[long])
    return text.slices(words.at(long)) == text.slices(firsts_of_long)


def _eights(
    text: _Text, starts: Integers, lengths: Lengths
) -> Iterator[tuple[Integers | slice, Hashes]]:
    """
    Yield the words' next eight bytes as numbers, zeros behind their ends, and which words'.

    Only the first `_SHORT_WORD` bytes.
    """
    which: Integers | slice = slice(None)
    index = np.arange(len(starts))
    for _ in range(0, _SHORT_WORD, 8):
        yield which, text.eights[starts] & _MASKS[np.minimum(lengths, 8)]
        longer = np.flatnonzero(lengths > 8)
        which = index = index[longer]
        starts, lengths = starts[longer] + 8, lengths[longer] - 8
        if not len(starts):
            return
