"""
Packed words: where they stand in one text, instead of an object each.

Objects of hundreds of thousands of words lie all over the memory, and each step from one to the
next waits for it. Here the next eight bytes of all words are taken at once, as numbers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from cbngtrain.engine.hashes import Hashes

Integers = npt.NDArray[np.int64]
Lengths = npt.NDArray[np.signedinteger[Any]]
Flags = npt.NDArray[np.bool_]

SHORT_WORD = 64  # bytes; longer words are few and are hashed and compared one by one

_AT_ONCE = 1 << 13  # words whose bytes are brought together; they fit the second-level cache

_HASHED_AT_ONCE = 1 << 14  # words; the same (measured)

_BYTES_AT_ONCE = 1 << 16  # whose places fit that cache

SURELY_HASHED = 8  # bytes; shorter words that differ have hashes that differ

_PADDING = 8  # bytes

_NEXT = 5  # bytes beside which the number of a group of words has room in a 64-bit number

MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio, odd: Knuth, TAOCP 3, 6.4

_MASKS = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)
"""Number of bytes → the mask that keeps so many of a little-endian 64-bit number."""

_EACH = np.uint64(0x0101010101010101)  # 1 in every byte


class Text(NamedTuple):
    """
    Bytes, and eight more, so that there are eight bytes from each of them on.

    Attributes:
        data: The bytes, with the padding.
        ones: The same, shape (n + 8,).
        eights: Shape (n + 1,): the eight bytes from each byte on, as a little-endian number.
    """

    data: bytes
    ones: npt.NDArray[np.uint8]
    eights: Hashes

    @classmethod
    def of(cls, *parts: bytes | memoryview) -> Self:
        """Return the text of these bytes, one part after another."""
        padded = b"".join([*parts, bytes(_PADDING)])
        eights = np.ndarray(len(padded) - _PADDING + 1, "<u8", padded, strides=(1,))
        return cls(padded, np.frombuffer(padded, np.uint8), eights)

    @property
    def size(self) -> int:
        """How many bytes there are without the padding."""
        return len(self.data) - _PADDING

    def slices(self, starts: Integers, lengths: Lengths) -> list[bytes]:
        """Return the bytes of words."""
        ends = (starts + lengths).tolist()
        return [self.data[a:b] for a, b in zip(starts.tolist(), ends, strict=True)]


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """
    Words that stand in a text.

    Attributes:
        text: The text.
        starts, lengths: Where, and how many bytes; shape (n_words,) each.
    """

    text: Text
    starts: Integers
    lengths: Integers

    @classmethod
    def of(cls, words: Sequence[bytes]) -> Self:
        """Return words that are objects."""
        lengths = np.fromiter(map(len, words), np.int64, len(words))
        return cls.one_after_another(b"\n".join([*words, b""]), lengths)

    @classmethod
    def lines(cls, data: bytes | memoryview) -> Self:
        """Return the words of bytes that have a newline after each, and nowhere else."""
        ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))
        starts = np.append(0, ends[:-1] + 1)[: len(ends)]
        return cls(Text.of(data), starts, ends - starts)

    @classmethod
    def one_after_another(cls, data: bytes | memoryview, lengths: Integers) -> Self:
        """Return the words of bytes that are words of these lengths, a byte after each."""
        return cls(Text.of(data), np.cumsum(lengths + 1) - lengths - 1, lengths)

    def __len__(self) -> int:
        return len(self.starts)

    def at(self, which: Integers | Flags | slice) -> "Packed":
        """Return some of the words."""
        return Packed(self.text, self.starts[which], self.lengths[which])

    def only(self, which: Flags) -> "Packed":
        """Return some of the words, one after another, a byte after each, and nothing else."""
        words = self.compact()
        number = int(np.count_nonzero(which))
        if number == len(words):
            return words
        lengths = words.lengths[which]
        if which[:number].all():  # the first ones
            return Packed.one_after_another(words.text.data[: lengths.sum() + number], lengths)
        is_kept = np.repeat(which, words.lengths + 1)
        kept = bytes_where(is_kept, words.text.ones[: len(is_kept)])
        return Packed.one_after_another(kept, lengths)

    def compact(self) -> "Packed":
        """Return the same words one after another, a byte after each, and nothing else."""
        if self.text.size == self.lengths.sum() + len(self):
            return self
        return Packed.one_after_another(joined([self], b"", b"\n"), self.lengths)

    def words(self) -> list[bytes]:
        """Return the words as objects."""
        return self.text.slices(self.starts, self.lengths)

    def hashes(self) -> Hashes:
        """Return 64 bits per word that depend on each of its bytes."""
        return hashes(self.text, self.starts, self.lengths)

    def first_bytes(self, begin: int = 0) -> Hashes:
        """Return numbers that order words as eight of their bytes do, zeros behind their ends."""
        starts = np.minimum(self.starts + begin, self.text.size)
        rest = np.clip(self.lengths - begin, 0, 8)
        return (self.text.eights[starts] & _MASKS[rest]).byteswap()

    def are(self, word: bytes) -> Flags:
        """Whether each of the words is a given one, of eight bytes at most."""
        found: Flags = self.lengths == len(word)
        places = np.flatnonzero(found)
        found[places] = self.at(places).first_bytes() == Packed.of([word]).first_bytes()
        return found

    def are_equal(self, others: "Packed") -> bool:
        """Whether each of the words is the one at its place in the others."""
        if (self.lengths != others.lengths).any():
            return False
        is_long = self.lengths > SHORT_WORD
        ours = eights(self.text, self.starts, self.lengths)
        theirs = eights(others.text, others.starts, others.lengths)
        return (
            all((one == other).all() for (_, one), (_, other) in zip(ours, theirs, strict=True))
            and self.at(is_long).words() == others.at(is_long).words()
        )


def hashes(text: Text, starts: Integers, lengths: Lengths) -> Hashes:
    """
    Return 64 bits per word that depend on each of its bytes.

    Words shorter than `SURELY_HASHED` that differ have hashes that differ: such a word and its
    length fit in 64 bits, and each step from there can be undone.
    """
    found = np.empty(len(starts), np.uint64)
    for begin in range(0, len(starts), _HASHED_AT_ONCE):
        some = slice(begin, begin + _HASHED_AT_ONCE)
        found[some] = _hashes(text, starts[some], lengths[some])
    return found


def _hashes(text: Text, starts: Integers, lengths: Lengths) -> Hashes:
    found = lengths.astype(np.uint64) << np.uint64(56)  # above the bytes of a short word
    for which, eight in eights(text, starts, lengths):
        mixed = (found[which] ^ eight) * MULTIPLIER
        found[which] = mixed ^ (mixed >> np.uint64(32))
    longer = np.flatnonzero(lengths > SHORT_WORD)
    words = text.slices(starts[longer], lengths[longer])
    found[longer] ^= np.fromiter(map(hash, words), np.int64, len(words)).view(np.uint64)
    return found * MULTIPLIER


def eights(
    text: Text, starts: Integers, lengths: Lengths
) -> Iterator[tuple[Integers | slice, Hashes]]:
    """
    Yield the words' next eight bytes as numbers, zeros behind their ends, and which words'.

    Only the first `SHORT_WORD` bytes.
    """
    which: Integers | slice = slice(None)
    index = np.arange(len(starts))
    for _ in range(0, SHORT_WORD, 8):
        yield which, text.eights[starts] & _MASKS[np.minimum(lengths, 8)]
        longer = np.flatnonzero(lengths > 8)
        which = index = index[longer]
        starts, lengths = starts[longer] + 8, lengths[longer] - 8
        if not len(starts):
            return


def chained(parts: Sequence[Packed]) -> Packed:
    """Return the words of several texts, one after another, in one text."""
    texts = [memoryview(part.text.data)[: part.text.size] for part in parts]
    begins = np.cumsum([0, *map(len, texts)]).tolist()
    starts = [part.starts + begin for part, begin in zip(parts, begins, strict=False)]
    lengths = [part.lengths for part in parts]
    return Packed(Text.of(*texts), np.concatenate(starts), np.concatenate(lengths))


def joined(columns: Sequence[Packed], separator: bytes, end: bytes) -> bytes:
    """
    Return rows of words, one word of each column: joined by a separator, *end* after each row.

    The words of some rows are put beside each other, each in as many bytes as the longest one
    has, and then the bytes that are none of theirs go.
    """
    rows = range(0, len(columns[0]), _AT_ONCE)
    return b"".join(
        _joined([column.at(slice(begin, begin + _AT_ONCE)) for column in columns], separator, end)
        for begin in rows
    )


def _joined(columns: Sequence[Packed], separator: bytes, end: bytes) -> bytes:
    if any(column.lengths.max() > SHORT_WORD for column in columns):
        rows = zip(*(column.words() for column in columns), strict=True)
        return b"".join([separator.join(row) + end for row in rows])
    afters = [separator] * (len(columns) - 1) + [end]
    eight, number = [], []  # bytes side by side, and how many of them are wanted
    for column, after in zip(columns, afters, strict=True):
        for begin in range(0, int(column.lengths.max()), 8):
            eight.append(column.text.eights[np.minimum(column.starts + begin, column.text.size)])
            number.append(np.clip(column.lengths - begin, 0, 8))
        eight.append(np.full(len(column), int.from_bytes(after, "little"), "<u8"))
        number.append(np.full(len(column), len(after)))
    is_wanted = (_MASKS & _EACH)[np.stack(number, axis=1)].view(np.bool_)
    return bytes_where(is_wanted.ravel(), np.stack(eight, axis=1).view(np.uint8).ravel())


def bytes_where(which: Flags, ones: npt.NDArray[np.uint8]) -> bytes:
    """Return some of the bytes, a few at a time: for each, ``compress`` makes a number of eight."""
    begins = range(0, len(ones), _BYTES_AT_ONCE)
    parts = (slice(begin, begin + _BYTES_AT_ONCE) for begin in begins)
    return b"".join([ones[part].compress(which[part]).tobytes() for part in parts])


def byte_order(words: Packed) -> Integers:
    """
    Return the places of words in byte order, shape (n_words,).

    By their first eight bytes, as numbers; those where these are equal by the next five, and so
    on; long ones that are still equal, as objects.
    """
    key = words.first_bytes()
    order = key.argsort()
    key = key[order]
    alike = np.arange(len(words))  # places in the order that are not settled
    for begin in range(8, SHORT_WORD, _NEXT):
        is_same = np.diff(key) == 0  # as the next one
        is_alike = np.append(is_same, False) | np.append(False, is_same)
        group = np.cumsum(np.append(True, ~is_same), dtype=np.uint64)[is_alike]
        alike = alike[is_alike]
        if not len(alike):
            return order
        some = order[alike]
        next_bytes = words.at(some).first_bytes(begin) >> np.uint64(64 - 8 * _NEXT)
        key = group << np.uint64(8 * _NEXT) | next_bytes
        by = key.argsort()
        order[alike], key = some[by], key[by]
    spelled = dict(zip(order[alike].tolist(), words.at(order[alike]).words(), strict=True))
    order[alike] = sorted(spelled, key=spelled.__getitem__)
    return order
