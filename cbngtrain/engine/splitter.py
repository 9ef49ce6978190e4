"""How texts are split into words."""

import re
from collections.abc import Sequence

import numpy as np

from cbngtrain.engine.packed import Flags, Packed, bytes_where
from cbngtrain.engine.spellings import Spellings

NEWLINE = ord("\n")

LONG = 1 << 20  # bytes of texts whose words are packed; ordinary edits of a chunk have fewer

_SPACES = b" \t\n\v\f\r"
_IGNORED_IN_A_ROW = 8  # bytes before a word, at most, that are taken away one by one


class Splitter:
    """
    Splits texts into words; equal to every splitter into the same words.

    A word is a byte of *valid* followed by bytes of *valid* or *ignored*: an ignored byte can
    end a word, never start one. A byte that is both is ignored.

    Attributes:
        word_bytes: What words are made of.
        mark: What `marked_words` has at the end of each text; never a word.
    """

    def __init__(self, valid: bytes, ignored: bytes) -> None:
        self._sets = (frozenset(valid), frozenset(ignored))
        first = set(valid) - set(ignored)
        further = {*valid, *ignored} if first else set()
        self.word_bytes = bytes(sorted(further))
        self._starts_ignored = [b"\n%c" % byte for byte in sorted(further & set(ignored))]
        self._table = bytes(byte if byte in further else NEWLINE for byte in range(256))
        marks = sorted(set(range(256)) - further - set(_SPACES))
        self._is_plain = further.isdisjoint(_SPACES) and bool(marks)
        self.mark = bytes(marks[:1]) if self._is_plain else b""
        self._table_with_mark = bytes(
            byte if byte in {*further, *self.mark} else NEWLINE for byte in range(256)
        )
        self._firsts = bytes(byte in first for byte in range(256))
        self._ignored = bytes(byte in further - first for byte in range(256))
        sets = [b"".join(b"\\x%02x" % byte for byte in sorted(each)) for each in (first, further)]
        self._regex = re.compile(b"[%b][%b]*" % (*sets,) if first else b"(?!)")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Splitter) and self._sets == other._sets

    def __hash__(self) -> int:
        return hash(self._sets)

    def have_words(self, texts: Sequence[bytes]) -> Flags:
        """Whether each of the texts has a word, shape (n_texts,)."""
        is_first = np.frombuffer(b"".join(texts).translate(self._firsts), np.bool_)
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        found: Flags = lengths > 0
        begins = (np.cumsum(lengths) - lengths)[found]
        found[found] = np.logical_or.reduceat(is_first, begins) if len(begins) else False
        return found

    def words(self, text: bytes) -> list[bytes]:
        """The words of a text, in order."""
        return self.marked_words([text]).words[:-1]

    def marked_words(self, texts: Sequence[bytes]) -> Spellings:
        """The words of the texts, in order; after those of each text `mark`."""
        if self._is_plain:
            text = self._marked(texts)
            if len(text) >= LONG:
                return Spellings(self._packed(text))
            if (words := self._plain_words(text)) is not None:
                return Spellings(words)
        found = []
        for text in texts:
            found += self._regex.findall(text)
            found.append(self.mark)
        return Spellings(found)

    def _marked(self, texts: Sequence[bytes]) -> bytes:
        """The texts, each with the mark after it, and newlines for all that is of no word."""
        separator = b"\n%b\n" % self.mark
        text = b"\n" + separator.join([*texts, b""])
        if text.count(self.mark) == len(texts):
            return text.translate(self._table_with_mark)
        each = [text.translate(self._table) for text in texts]
        return b"\n" + separator.join([*each, b""])

    def _plain_words(self, text: bytes) -> list[bytes] | None:
        """The words between newlines; None where too much before them is to be ignored."""
        for _ in range(_IGNORED_IN_A_ROW):
            if not any(start in text for start in self._starts_ignored):
                return text.split()
            for start in self._starts_ignored:
                text = text.replace(start, b"\n")
        return None

    def _packed(self, text: bytes) -> Packed:
        """The words between newlines, of which the first byte is one."""
        each = np.frombuffer(text, np.uint8)
        is_of_word = each != NEWLINE
        if any(start in text for start in self._starts_ignored):
            is_ignored = np.frombuffer(text.translate(self._ignored), np.bool_)
            _leave_out_before_words(is_of_word, is_ignored)
        is_kept = is_of_word.copy()
        is_kept[1:] |= is_of_word[:-1]  # the byte after a word, too: a newline
        return Packed.lines(bytes_where(is_kept, each))


def _leave_out_before_words(is_of_word: Flags, is_ignored: Flags) -> None:
    """Take from what is of words the ignored bytes at their beginnings."""
    places = np.flatnonzero(is_ignored[1:] & ~is_of_word[:-1]) + 1
    for _ in range(_IGNORED_IN_A_ROW):
        is_of_word[places] = False
        places = places[is_ignored[places + 1]] + 1
    if len(places):
        every = np.arange(len(is_of_word), dtype=np.int32)
        last_blank = np.maximum.accumulate(every * ~is_of_word)
        last_first = np.maximum.accumulate(every * (is_of_word & ~is_ignored))
        is_of_word &= last_blank < last_first
