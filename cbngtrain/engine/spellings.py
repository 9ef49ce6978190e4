"""How words are spelled: as objects, or packed where they are many."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from cbngtrain.engine import packed
from cbngtrain.engine.hashes import Hashes
from cbngtrain.engine.packed import Flags, Integers, Packed


class Spellings:
    """
    The bytes of words, given as objects or packed; the other is made when it is asked for.

    Args:
        given: The words.
        hashes: 64 bits of each, shape (n_words,), if they are known.
    """

    def __init__(self, given: list[bytes] | Packed, hashes: Hashes | None = None) -> None:
        self._given = given
        self._hashes = hashes
        self.is_packed = isinstance(given, Packed)

    def __len__(self) -> int:
        return len(self._given)

    @cached_property
    def words(self) -> list[bytes]:
        """The words as objects."""
        return self._given.words() if isinstance(self._given, Packed) else self._given

    @cached_property
    def packed(self) -> Packed:
        """The words packed."""
        return self._given if isinstance(self._given, Packed) else Packed.of(self._given)

    @property
    def hashes(self) -> Hashes:
        """64 bits of each word, shape (n_words,)."""
        if self._hashes is None:
            self._hashes = self.packed.hashes()
        return self._hashes

    def are_equal(self, places: Integers, others: Integers) -> bool:
        """Whether each of the words at some places is the one at its place in the others."""
        lengths = self.packed.lengths[places]
        if (lengths != self.packed.lengths[others]).any():
            return False
        if (self.hashes[places] != self.hashes[others]).any():
            return False
        is_unsure = lengths >= packed.SURELY_HASHED
        unsure = self.packed.at(places[is_unsure])
        return unsure.are_equal(self.packed.at(others[is_unsure]))

    def lines(self) -> bytes:
        """The words, a newline after each."""
        if isinstance(self._given, Packed):
            text = self._given.compact().text
            return text.data[: text.size]
        return b"\n".join([*self._given, b""])

    def at(self, places: Integers) -> "Spellings":
        """Some of the words."""
        if not self.is_packed:
            return Spellings(list(map(self.words.__getitem__, places.tolist())))
        return Spellings(self.packed.at(places))

    def at_or_empty(self, places: Integers, is_there: Flags) -> "Spellings":
        """Some of the words, and empty ones where none is there."""
        last_for_none = np.where(is_there, places, -1)
        if not self.is_packed:
            words = [*self.words, b""]
            return Spellings([words[place] for place in last_for_none.tolist()])
        text, *columns = self.packed.text, self.packed.starts, self.packed.lengths
        return Spellings(Packed(text, *(np.append(each, 0)[last_for_none] for each in columns)))

    def since(self, number: int) -> "Spellings":
        """All words but so many at the beginning."""
        if not number:
            return self
        if not self.is_packed:
            return Spellings(self.words[number:])
        return Spellings(self.packed.at(slice(number, None)), self.hashes[number:])

    def only(self, which: Flags) -> "Spellings":
        """Some of the words, packed."""
        return Spellings(self.packed.only(which), self.hashes[which])


def chained(parts: Sequence[Spellings]) -> Spellings:
    """The words of several, one after another, packed."""
    parts = [part for part in parts if len(part)] or parts[:1]
    if len(parts) == 1:
        return Spellings(parts[0].packed, parts[0].hashes)
    words = packed.chained([part.packed for part in parts])
    return Spellings(words, np.concatenate([part.hashes for part in parts]))


def in_rows(columns: Sequence[Spellings], separator: bytes) -> Spellings:
    """Words that are a word of each column, joined by a separator."""
    if not all(column.is_packed for column in columns):
        rows = zip(*(column.words for column in columns), strict=True)
        return Spellings(list(map(separator.join, rows)))
    lengths = np.sum([column.packed.lengths for column in columns], axis=0)
    lengths += len(separator) * (len(columns) - 1)
    data = packed.joined([column.packed for column in columns], separator, b"\n")
    return Spellings(Packed.one_after_another(data, lengths))
