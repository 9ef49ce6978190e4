"""
Word lists, ``main_bayes_train.dat`` and the like: in how many edits did each word occur?

A line is ``V word``: the word occurred in one edit, which was vandalism where V, read as C's
``atoi`` does, is not 0 (core-contract, "Bayes database"). There are millions of lines, and most
words occur once or twice and will be pruned. So words are counted as arrays, where they stand in
the file, and become Python objects only if they occur often enough:

1. Every word is hashed, eight bytes at a time, all words of a batch at once.
2. Words whose hash is rarer than `least` are left out.
3. The others are brought together by sorting their hashes, and each is compared byte by byte with
   the first of its hash: what is counted is exact, whatever the hash does.

Memory: twice the file while it is read, then once, and about 50 bytes a line.

A file in which two words share a hash, or with lines that the core never writes (V of more than
a digit, NUL bytes), is counted line by line instead: as exact, and about five times as slow.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from cbngtrain.engine.bayes import EDIT_TOTALS, WordCounts
from cbngtrain.engine.errors import FormatError

Integers = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
Lengths = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]

SHORTEST_LINE = 3  # bytes; shorter lines are skipped (core-contract, "Bayes database")

_SHORT_WORD = 64  # bytes; longer words are few and are hashed and compared one by one

_BATCH_BYTES = 1 << 20  # some 60,000 lines, whose arrays stay in the second-level cache

_PADDING = 8  # bytes

_THREADS = 2  # that make batches; more would wait for Python's lock

_WORDS_AT_ONCE = 1 << 16  # as many as in a batch

_BUCKET_BITS = 22  # of a hash, to find rare words by: 32 MB of counters

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio, odd: Knuth, TAOCP 3, 6.4

_MASKS = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)
"""Number of bytes → the mask that keeps so many of a little-endian 64-bit number."""

_ATOI = re.compile(rb"[ \t\n\v\f\r]*([+-]?\d+)")


def word_counts(path: Path, least: int = 1) -> WordCounts:
    """
    Return how many good and bad edits each word of a list occurred in: word → (good, bad).

    Args:
        path: The list.
        least: Words in fewer edits may be left out, except `EDIT_TOTALS`.

    Raises:
        FormatError: The list is missing, empty, does not end with a newline (it was cut), or has
            no line for `EDIT_TOTALS`.
    """
    text = Text.read(path)
    words = counted_as_arrays(text, least)
    if words is None:
        words = counted_line_by_line(text)
    if EDIT_TOTALS not in words:
        raise FormatError(path, "line 1", f"no line is 'V {EDIT_TOTALS.decode()}': no word list")
    return words


def counted_line_by_line(text: "Text") -> WordCounts:
    """Return every word of a list with its counts."""
    words: WordCounts = {}
    for line, count in Counter(text.data[:-_PADDING].split(b"\n")).items():
        if entry := word_of(line):
            word, is_bad = entry
            good, bad = words.get(word, (0, 0))
            words[word] = (good, bad + count) if is_bad else (good + count, bad)
    return words


def counted_as_arrays(text: "Text", least: int) -> WordCounts | None:
    """
    Return the words of a list that occur in at least so many edits, and maybe others.

    None where a line is not as the core writes it, or two words share a hash.
    """
    if 0 in text.ones[:-_PADDING]:  # a NUL
        return None
    with ThreadPoolExecutor(min(_THREADS, len(os.sched_getaffinity(0)))) as pool:
        batches = list(pool.map(partial(_words, text), range(0, text.size, _BATCH_BYTES)))
    plain = [batch for batch in batches if batch is not None]
    if len(plain) < len(batches):
        return None
    words = _joined(plain)
    buckets = words.hashes >> np.uint64(64 - _BUCKET_BITS)
    frequent = np.bincount(buckets.view(np.int64), minlength=1 << _BUCKET_BITS)[buckets] >= least
    words = words.at(frequent | (words.lengths == len(EDIT_TOTALS)))
    return _grouped(text, words, least)


def word_of(line: bytes) -> tuple[bytes, bool] | None:
    """
    Return a line's word and whether its edit was bad, or None for a line that is skipped.

    The native core treats lines as C strings, which a NUL ends: words are cut there.
    """
    number, space, word = line.partition(b"\0")[0].partition(b" ")
    if len(line) < SHORTEST_LINE or not space or not word:
        return None
    return word, atoi(number) != 0


def atoi(text: bytes) -> int:
    """Return what glibc's ``atoi`` makes of *text*: 0 where no number leads it; 32 bits kept."""
    number = _ATOI.match(text)
    if not number:
        return 0
    long = min(max(int(number[1][:25]), -(1 << 63)), (1 << 63) - 1)  # strtol saturates
    return (long + (1 << 31)) % (1 << 32) - (1 << 31)


class Text(NamedTuple):
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
    def read(cls, path: Path) -> Self:
        """Return the text of *path*; FormatError where it is missing, empty or cut."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise FormatError(path, "", f"cannot be read: {error.strerror}") from error
        if not data:
            raise FormatError(path, "line 1", "is empty")
        if not data.endswith(b"\n"):
            last = data.count(b"\n") + 1
            raise FormatError(path, f"line {last}", "is cut: no newline ends it")
        return cls.of(data)

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


def _words(text: Text, begin: int) -> _Words | None:
    """Return the words of the lines that end in a batch; None if a line's V is not one digit."""
    end = min(begin + _BATCH_BYTES, text.size)
    ends = np.flatnonzero(text.ones[begin:end] == ord("\n")) + begin
    before = text.data.rfind(b"\n", 0, begin) if len(ends) else 0  # else within one long line
    starts = np.concatenate(([before], ends[:-1]))[: len(ends)] + 1
    lengths = (ends - starts).astype(np.int32)
    if (lengths < SHORTEST_LINE).any():
        long_enough = lengths >= SHORTEST_LINE
        starts, lengths = starts[long_enough], lengths[long_enough]
    value = text.ones[starts] - np.uint8(ord("0"))  # wraps below "0"
    if (value > 9).any() or (text.ones[starts + 1] != ord(" ")).any():
        return None
    starts, lengths = starts + 2, lengths - 2
    return _Words(starts, lengths, value != 0, _hashes(text, starts, lengths))


def _joined(parts: Sequence[_Words]) -> _Words:
    columns = [(part.starts, part.lengths, part.is_bad, part.hashes) for part in parts]
    return _Words(*(np.concatenate(column) for column in zip(*columns, strict=True)))


def _hashes(text: Text, starts: Integers, lengths: Lengths) -> Hashes:
    """Return 64 bits per word that depend on each of its bytes."""
    hashes = lengths.astype(np.uint64)
    for which, eight in _eights(text, starts, lengths):
        mixed = (hashes[which] ^ eight) * _MULTIPLIER
        hashes[which] = mixed ^ (mixed >> np.uint64(32))
    for i in np.flatnonzero(lengths > _SHORT_WORD).tolist():
        word = text.data[starts[i] : starts[i] + lengths[i]]
        hashes[i] ^= np.uint64(hash(word) & 0xFFFFFFFFFFFFFFFF)
    return hashes * _MULTIPLIER


def _grouped(text: Text, words: _Words, least: int) -> WordCounts | None:
    """Return the words with their counts; None if two of them share a hash."""
    n = len(words.hashes)
    bits = np.uint64(n.bit_length())
    # Hash and index in one number: sorting it is three times as fast as argsort (measured).
    keys = words.hashes >> bits << bits | np.arange(n, dtype=np.uint64)
    keys.sort()
    order = (keys & ((np.uint64(1) << bits) - np.uint64(1))).view(np.int64)
    keys >>= bits
    is_first = np.ones(n, np.bool_)
    np.not_equal(keys[1:], keys[:-1], out=is_first[1:])
    group = np.empty(n, np.int32)  # of each word, as the words stand in the text
    group[order] = np.cumsum(is_first, dtype=np.int32) - np.int32(1)
    firsts = words.at(order[is_first])
    if not _are_equal(text, words, firsts, group):
        return None
    edits = np.bincount(group)
    bad = np.bincount(group[words.is_bad], minlength=len(edits))
    kept = np.flatnonzero((edits >= least) | (firsts.lengths == len(EDIT_TOTALS)))
    counts = zip((edits - bad)[kept].tolist(), bad[kept].tolist(), strict=True)
    return dict(zip(text.slices(firsts.at(kept)), counts, strict=True))


def _are_equal(text: Text, words: _Words, firsts: _Words, group: npt.NDArray[np.int32]) -> bool:
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
    text: Text, starts: Integers, lengths: Lengths
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
