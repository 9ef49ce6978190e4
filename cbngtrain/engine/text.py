"""What is done to texts: functions from bytes to bytes or counts."""

import re
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from os.path import commonprefix

import numpy as np
from numpy.typing import NDArray

from cbngtrain.engine.packed import Packed, bytes_where
from cbngtrain.engine.spellings import Spellings

Histograms = NDArray[np.int64]
"""How often each byte occurs in each text, shape (n_texts, 256)."""

NEWLINE = ord("\n")
QUOTE = ord('"')
LONG = 1 << 18  # bytes; the table of two bytes is to be worth its making
LEVELS = 16  # of a choice; Python's `re` goes no deeper than its stack allows
MANY_QUOTES = 256  # above which all bytes are looked at at once

_QUOTATION = re.compile(rb'"[^"\n]*"?')
_QUOTED = re.compile(rb'"([^"\n]*)("|\n|\Z)')


def ascii_of(text: bytes, charset: str = "utf-8") -> bytes:
    """The text without what is not ASCII."""
    if text.isascii():
        return text
    return text.decode(charset, "ignore").encode("ascii", "ignore")


def histograms(texts: Sequence[bytes]) -> Histograms:
    """How often each byte occurs in each of the texts."""
    counts = np.zeros((len(texts), 256), np.int64)
    for row, text in enumerate(texts):
        counts[row] = _histogram(text)
    return counts


def _histogram(text: bytes) -> NDArray[np.int64]:
    """How often each byte occurs; of a long text, how often each two do, in a third of the time."""
    if len(text) < LONG:
        return np.bincount(np.frombuffer(text, np.uint8), minlength=256)
    twos = np.frombuffer(text, np.uint16, len(text) // 2)
    of_twos = np.bincount(twos, minlength=1 << 16).reshape(256, 256)
    of_last = np.bincount(np.frombuffer(text[2 * len(twos) :], np.uint8), minlength=256)
    counts: NDArray[np.int64] = of_twos.sum(axis=0) + of_twos.sum(axis=1) + of_last
    return counts


def byte_sets(metrics: Iterable[bytes]) -> NDArray[np.int64]:
    """
    Per metric the bytes to count, shape (256, n_metrics).

    A byte that is given twice in a metric counts twice, as in the native core.
    """
    columns = [np.bincount(np.frombuffer(of, np.uint8), minlength=256) for of in metrics]
    return np.stack(columns, axis=1)


def longest_run(text: bytes) -> int:
    """How long the longest run of one byte is; 0 of an empty text."""
    each = np.frombuffer(text, np.uint8)
    changes = np.flatnonzero(each[1:] != each[:-1]) + 1
    return int(np.diff(changes, prepend=0, append=len(each)).max())


def quotes_separated(text: bytes) -> tuple[bytes, bytes]:
    """
    What is quoted, and what is not.

    A ``"`` begins or ends a quotation and goes to neither; a newline ends a quotation and goes
    to both.
    """
    if b'"' not in text:
        return b"", text
    if text.count(b'"') > MANY_QUOTES:
        return _many_quotes_separated(text)
    quoted = [part + (b"\n" if end == b"\n" else b"") for part, end in _QUOTED.findall(text)]
    return b"".join(quoted), _QUOTATION.sub(b"", text)


def _many_quotes_separated(text: bytes) -> tuple[bytes, bytes]:
    """The same, all bytes at once, where matches would be as many as bytes."""
    each = np.frombuffer(text, np.uint8)
    is_quote, is_newline = each == QUOTE, each == NEWLINE
    quotes = np.cumsum(is_quote, dtype=np.uint8)  # (n_bytes,), so far, modulo 256
    newlines = np.flatnonzero(is_newline)
    lengths = np.diff(newlines, prepend=-1, append=len(each) - 1)  # of lines, with the newline
    before = np.repeat(np.append(np.uint8(0), quotes[newlines]), lengths)  # the line
    is_quoted = ((quotes - before) & 1).view(np.bool_)
    not_quoted = ~is_quoted | is_newline
    return bytes_where(is_quoted & ~is_quote, each), bytes_where(not_quoted & ~is_quote, each)


class Replacement:
    """
    What goes over a text byte by byte: replaces, drops and collapses.

    Args:
        find, replace: A byte of *find* becomes the one at its place in *replace*; of a byte
            that is there twice the last counts.
        remove: Bytes to drop.
        removemulti: Bytes to drop where the last byte written is the same.
        keep: Where given, all other bytes are dropped.
    """

    def __init__(
        self, *, find: bytes, replace: bytes, remove: bytes, removemulti: bytes, keep: bytes | None
    ) -> None:
        table = bytearray(range(256))
        for before, after in zip(find, replace, strict=False):
            table[before] = after
        kept = set(range(256) if keep is None else keep) - set(remove)
        self._is_multi = np.isin(np.arange(256), sorted(set(removemulti) & kept))
        self.is_bytewise = not self._is_multi.any()  # what becomes of a byte depends on no other
        self._table = bytes(table)
        self._dropped = bytes(byte for byte in range(256) if table[byte] not in kept)
        # The same for words with a newline after each, which stays: as long as words get none
        # and two are not made one.
        table[NEWLINE] = NEWLINE
        self._is_linewise = table.count(NEWLINE) == 1 and not self._is_multi[NEWLINE]
        self._table_of_words = bytes(table)
        self._dropped_of_words = self._dropped.replace(b"\n", b"")

    def of(self, text: bytes) -> bytes:
        """The text after the replacement."""
        return self._collapsed(text.translate(self._table, self._dropped))

    def of_each(self, words: Spellings) -> Spellings:
        """The words after the replacement."""
        lines = words.lines()
        if not self._is_linewise or lines.count(b"\n") != len(words):
            return Spellings(list(map(self.of, words.words)))
        lines = self._collapsed(lines.translate(self._table_of_words, self._dropped_of_words))
        return Spellings(Packed.lines(lines) if words.is_packed else lines.split(b"\n")[:-1])

    def _collapsed(self, text: bytes) -> bytes:
        if self.is_bytewise:
            return text
        each = np.frombuffer(text, np.uint8)
        is_again = (each[1:] == each[:-1]) & self._is_multi[each[1:]]
        return text[:1] + bytes_where(~is_again, each[1:]) if is_again.any() else text


class Finder:
    """
    Counts occurrences of fixed strings, per metric.

    The text is scanned once; the string that *ends first* counts for its metric, and the scan
    begins anew after it. A string that is given again does not count for its second metric.

    A string that another one of them ends inside of can never end first. Of the others the one
    that begins first also ends first, so a regex finds them; where several end together, the
    native core takes the one whose place since the last find is least, modulo the longest
    string (its scan keeps that many readers in a ring).
    """

    def __init__(self, metrics: Mapping[str, Sequence[bytes]]) -> None:
        self._owner: dict[bytes, str] = {}
        for metric, needles in metrics.items():
            for needle in needles:
                self._owner.setdefault(needle, metric)
        self.metrics = tuple(dict.fromkeys(self._owner.values()))
        needles = [needle for needle in self._owner if needle]
        self._ring = max(map(len, needles), default=1)
        ending = _Ending(needles)
        possible = [each for each in needles if not ending.inside(each)]
        self._endings = {each: list(ending.at(each, len(each))) for each in possible}
        self._may_end_together = any(len(each) > 1 for each in self._endings.values())
        self._regex = re.compile(_choice(possible)) if possible else None

    def counts(self, text: bytes) -> dict[str, int]:
        """How often the strings of each metric occur."""
        counts = dict.fromkeys(self.metrics, 0)
        if not self._regex:
            return counts
        if not self._may_end_together:
            found = map(re.Match.group, self._regex.finditer(text))
            for needle, number in Counter(found).items():
                counts[self._owner[needle]] += number
            return counts
        begin = 0
        for match in self._regex.finditer(text):
            together = self._endings[match[0]]
            end = match.end() - begin
            first = min(together, key=lambda needle: (end - len(needle)) % self._ring)
            counts[self._owner[first]] += 1
            begin = match.end()
        return counts


def _choice(needles: Sequence[bytes], levels: int = LEVELS) -> bytes:
    """
    The expression of the needles, none the beginning of another: how all begin, a choice of the
    bytes that follow, after each the same of those that have it; so many levels deep.

    ``re`` tries alternatives one by one; so it does not try all that begin with one byte.
    """
    begin = commonprefix(needles) or b""  # noqa: RUF071 - no paths: bytes are to be compared
    rests: defaultdict[bytes, list[bytes]] = defaultdict(list)
    for needle in needles:
        rest = needle[len(begin) :]
        rests[rest[:1] if levels else rest].append(rest)
    if len(needles) == 1:
        return re.escape(begin)
    choices = (_choice(each, levels - 1) for each in rests.values())
    return b"%b(?:%b)" % (re.escape(begin), b"|".join(choices))


class _Ending:
    """Which strings end where in one of them: looked for by their lengths, not each by each."""

    def __init__(self, needles: Iterable[bytes]) -> None:
        self._known = frozenset(needles)
        self._sizes = sorted(set(map(len, self._known)))
        self._last_bytes = {needle[-1] for needle in self._known}

    def at(self, needle: bytes, end: int) -> Iterator[bytes]:
        """The strings that end in this one at *end*."""
        if needle[end - 1] in self._last_bytes:
            for size in self._sizes[: bisect_right(self._sizes, end)]:
                if (found := needle[end - size : end]) in self._known:
                    yield found

    def inside(self, needle: bytes) -> bool:
        """Whether one of them ends within this one, before its end."""
        return any(found for end in range(1, len(needle)) for found in self.at(needle, end))
