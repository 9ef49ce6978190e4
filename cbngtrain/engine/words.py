"""
Words: how texts are split into them, and sets of them.

What an edit left alone is in both of its texts. So a set of words may have a twin, the set of
the other text, and is then the twin's with the difference between the two; and the difference
asks only for the words between what the texts have in common at their beginning and end.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import cached_property
from heapq import nsmallest
from typing import Self

from cbngtrain.engine import changes

Counts = dict[bytes, int]
"""Word → how often it occurs; in a difference never 0, but it may be negative."""

Change = Callable[[list[bytes]], list[bytes]]
"""What is done to words, of all at once."""

_SPACES = b" \t\n\v\f\r"
_IGNORED_IN_A_ROW = 8  # bytes before a word, at most, that are taken away one by one
_NEARBY = 256  # bytes in which a few neighbouring words are looked for at first


class Splitter:
    """
    Splits texts into words.

    A word is a byte of *valid* followed by bytes of *valid* or *ignored*: an ignored byte can
    end a word, never start one. A byte that is both is ignored.

    Args:
        valid, ignored: See above.
        together: Every run of so many words is taken for one,
        separator: joined by this.
    """

    def __init__(
        self, valid: bytes, ignored: bytes, together: int = 1, separator: bytes = b" "
    ) -> None:
        first = set(valid) - set(ignored)
        further = {*valid, *ignored} if first else set()
        self._word_bytes = bytes(further)
        self._starts_ignored = [b" %c" % byte for byte in sorted(set(ignored))]
        self._table = bytes(byte if byte in further else 32 for byte in range(256))
        self._is_plain = further.isdisjoint(_SPACES)
        sets = [b"".join(b"\\x%02x" % byte for byte in sorted(each)) for each in (first, further)]
        self._regex = re.compile(b"[%b][%b]*" % (*sets,) if first else b"(?!)")
        self._together = together
        self._separator = separator
        # A line with so many words that those at its ends, which are looked at together with
        # what is beside it, are not the same; and that no word reaches past.
        pattern = b"(?:[^%b]*+[%b]*+[^%b]){%d}" % (*sets[:1], *sets[1:], *sets[1:], 2 * together)
        self._is_anchor = re.compile(pattern if first and 10 not in further else b"(?!)").match

    def words(self, text: bytes) -> list[bytes]:
        """The words of a text, in order."""
        return self._grouped(self._single(text))

    def difference(self, text: bytes, twin: bytes) -> Counts:
        """The words of *text* minus the words of *twin*."""
        words: list[bytes] = []
        old_words: list[bytes] = []
        for region in changes.regions(text, twin, self._is_anchor):
            begin, end, old_begin, old_end = self._widened(text, region)
            before, after = self._last_words(text, begin), self._first_words(text, end)
            words += self._grouped(before + self._single(text[begin:end]) + after)
            old_words += self._grouped(before + self._single(twin[old_begin:old_end]) + after)
        counts = Counter(words)
        for word in old_words:
            counts[word] -= 1
        return {word: count for word, count in counts.items() if count}

    def _widened(self, text: bytes, region: changes.Region) -> tuple[int, int, int, int]:
        """The region, its ends moved away from each other to where they cut no word."""
        before = text[: region.begin]
        begin = len(before.rstrip(self._word_bytes)) - region.begin
        after = text[region.end :]
        end = len(after) - len(after.lstrip(self._word_bytes))
        return (
            region.begin + begin,
            region.end + end,
            region.old_begin + begin,
            region.old_end + end,
        )

    def _single(self, text: bytes) -> list[bytes]:
        """The words one by one: where words have no blanks, quickly."""
        if not self._is_plain:
            return self._regex.findall(text)
        text = b" " + text.translate(self._table)
        for _ in range(_IGNORED_IN_A_ROW):
            if not any(start in text for start in self._starts_ignored):
                return text.split()
            for start in self._starts_ignored:
                text = text.replace(start, b" ")
        return self._regex.findall(text)

    def _grouped(self, words: list[bytes]) -> list[bytes]:
        if self._together == 1:
            return words
        runs = zip(*(words[start:] for start in range(self._together)), strict=False)
        return list(map(self._separator.join, runs))

    def _last_words(self, text: bytes, end: int) -> list[bytes]:
        """The words before *end* that are grouped with one after it."""
        return self._nearby(
            lambda size: text[len(text[: max(0, end - size)].rstrip(self._word_bytes)) : end], end
        )[: -self._together : -1][::-1]

    def _first_words(self, text: bytes, begin: int) -> list[bytes]:
        """The words from *begin* on that are grouped with one before it."""

        def part(size: int) -> bytes:
            rest = text[begin + size :]
            return text[begin : len(text) - len(rest.lstrip(self._word_bytes))]

        return self._nearby(part, len(text) - begin)[: self._together - 1]

    def _nearby(self, part: Callable[[int], bytes], limit: int) -> list[bytes]:
        """The words of a part of a text (given its least size) that has enough of them."""
        if self._together == 1:
            return []
        size = _NEARBY
        while len(words := self._single(part(size))) < self._together - 1 and size < limit:
            size *= 2
        return words


class WordSet:
    """
    A set of words, counted when it is asked for.

    Args:
        count: Counts them.
        twin: A set that this one differs little from,
        difference: and how.
    """

    def __init__(
        self,
        count: Callable[[], Counts],
        twin: "WordSet | None" = None,
        difference: Callable[[], Counts] | None = None,
    ) -> None:
        self._count = count
        self._twin = twin
        self._difference = difference
        self._changed: dict[Change, WordSet] = {}

    @classmethod
    def of(cls, counts: Counts) -> "WordSet":
        """The set of words that are counted already."""
        return cls(lambda: counts)

    @cached_property
    def counts(self) -> Counts:
        """Word → how often it occurs."""
        if self._twin is None:
            return self._count()
        return added_up(self._twin.counts, self.difference)

    @cached_property
    def difference(self) -> Counts:
        """This set minus its twin."""
        assert self._difference is not None, "it has a twin"
        return self._difference()

    def minus(self, other: "WordSet") -> Counts:
        """This set minus another one."""
        if other is self._twin:
            return self.difference
        difference = Counter(self.counts)
        difference.subtract(other.counts)
        return {word: count for word, count in difference.items() if count}

    def changed(self, change: Change) -> "WordSet":
        """The set of the changed words: those that become equal add up, empty ones go."""
        if change not in self._changed:
            self._changed[change] = self._made(change)
        return self._changed[change]

    def _made(self, change: Change) -> "WordSet":
        twin = None if self._twin is None else self._twin.changed(change)
        return WordSet(
            lambda: mapped(self.counts, change), twin, lambda: mapped(self.difference, change)
        )

    def first(self, number: int) -> list[tuple[bytes, int]]:
        """
        The first words in byte order, with their counts.

        Of a twin that has as many more words as may have gone, the first ones are enough: no
        word after the last of them comes among the first ones here.
        """
        if self._twin is None:
            return self._first(number)
        gone = sum(count < 0 for count in self.difference.values())
        first = dict(self._twin.first(number + gone))
        is_all = len(first) < number + gone
        last = max(first, default=b"")
        for word, count in self.difference.items():
            if is_all or word <= last:
                first[word] = first.get(word, 0) + count
        return sorted(item for item in first.items() if item[1])[:number]

    def _first(self, number: int) -> list[tuple[bytes, int]]:
        counts = self.counts
        return [(word, counts[word]) for word in nsmallest(number, counts)]

    def __len__(self) -> int:
        return len(self.counts)


class TextWords(WordSet):
    """
    The words of a text.

    Args:
        words: What splits it.
        text: The text.
        twin: Such a set of another text, by the same splitter, that may be much the same.
    """

    def __init__(self, splitter: Splitter, text: bytes, twin: "TextWords | None" = None) -> None:
        self._splitter = splitter
        self._text = text
        super().__init__(
            lambda: dict(Counter(splitter.words(text))),
            twin,
            None if twin is None else lambda: splitter.difference(text, twin._text),
        )


def added_up(counts: Counts, difference: Counts) -> Counts:
    """The counts with a difference; what comes to 0 goes."""
    total = dict(counts)
    for word, count in difference.items():
        if new := total.get(word, 0) + count:
            total[word] = new
        else:
            del total[word]
    return total


def mapped(counts: Counts, change: Change) -> Counts:
    """The counts of the changed words: those that become equal add up, empty ones go."""
    total: Counts = defaultdict(int)
    for changed, count in zip(change(list(counts)), counts.values(), strict=True):
        total[changed] += count
    total.pop(b"", None)
    return {word: count for word, count in total.items() if count} if 0 in total.values() else total


def common_words(first: Counts, second: Counts) -> int:
    """The sum of the second set's counts over the words in both."""
    return sum(count for word, count in second.items() if word in first)

