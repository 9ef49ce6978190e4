"""
Words: how texts are split into them, and sets of them.

What an edit left alone is in both of its texts. So a set of words may have a twin, the set of
the other text, and is then the twin's with the difference between the two; and the difference
asks only for the words between what the texts have in common at their beginning and end.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Container, Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import nsmallest
from itertools import compress
from typing import Protocol

from cbngtrain.engine.changes import Region, regions

NEWLINE = ord("\n")

Counts = dict[bytes, int]
"""Word → how often it occurs; in a difference never 0, but it may be negative."""

_SPACES = b" \t\n\v\f\r"
_IGNORED_IN_A_ROW = 8  # bytes before a word, at most, that are taken away one by one
SOME = 32  # first words of a set that are kept for its twin
_NEARBY = 256  # bytes in which a few neighbouring words are looked for at first


class Change(Protocol):
    """
    What is done to words.

    Attributes:
        is_bytewise: The change of two words, one after the other, is one's and then the other's.
    """

    is_bytewise: bool

    def of_each(self, words: list[bytes]) -> list[bytes]:
        """The changed words."""


class Splitter:
    """
    Splits texts into words; equal to every splitter into the same words.

    A word is a byte of *valid* followed by bytes of *valid* or *ignored*: an ignored byte can
    end a word, never start one. A byte that is both is ignored.
    """

    def __init__(self, valid: bytes, ignored: bytes) -> None:
        self._sets = (frozenset(valid), frozenset(ignored))
        first = set(valid) - set(ignored)
        further = {*valid, *ignored} if first else set()
        self.word_bytes = bytes(sorted(further))
        self._starts_ignored = [b" %c" % byte for byte in sorted(set(ignored))]
        self._table = bytes(byte if byte in further else 32 for byte in range(256))
        self._is_plain = further.isdisjoint(_SPACES)
        sets = [b"".join(b"\\x%02x" % byte for byte in sorted(each)) for each in (first, further)]
        self._regex = re.compile(b"[%b][%b]*" % (*sets,) if first else b"(?!)")
        several = b"(?:[^%b]*+[%b]*+[^%b]){%%d}" % (sets[0], sets[1], sets[1])
        self._several = several if first and NEWLINE not in further else b"(?!){%d}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Splitter) and self._sets == other._sets

    def __hash__(self) -> int:
        return hash(self._sets)

    def words(self, text: bytes) -> list[bytes]:
        """The words of a text, in order: where words have no blanks, quickly."""
        if not self._is_plain:
            return self._regex.findall(text)
        text = b" " + text.translate(self._table)
        for _ in range(_IGNORED_IN_A_ROW):
            if not any(start in text for start in self._starts_ignored):
                return text.split()
            for start in self._starts_ignored:
                text = text.replace(start, b" ")
        return self._regex.findall(text)

    def begins_with(self, number: int) -> Callable[[bytes], object]:
        """Whether a line begins with so many whole words."""
        return re.compile(self._several % number).match

    def widened(self, text: bytes, region: Region) -> Region:
        """The region of a text, its ends moved away from each other to where they cut no word."""
        before = text[: region.begin]
        begin = len(before.rstrip(self.word_bytes)) - region.begin
        after = text[region.end :]
        end = len(after) - len(after.lstrip(self.word_bytes))
        return Region(
            region.begin + begin,
            region.end + end,
            region.old_begin + begin,
            region.old_end + end,
        )

    def last_words(self, text: bytes, end: int, number: int) -> list[bytes]:
        """Up to *number* words before *end*, where no word is cut."""

        def part(size: int) -> bytes:
            begin = len(text[: max(0, end - size)].rstrip(self.word_bytes))
            return text[begin:end]

        return self._nearby(part, end, number)[-number:] if number else []

    def first_words(self, text: bytes, begin: int, number: int) -> list[bytes]:
        """Up to *number* words from *begin* on, where no word is cut."""

        def part(size: int) -> bytes:
            rest = text[begin + size :].lstrip(self.word_bytes)
            return text[begin : len(text) - len(rest)]

        return self._nearby(part, len(text) - begin, number)[:number] if number else []

    def _nearby(self, part: Callable[[int], bytes], limit: int, number: int) -> list[bytes]:
        """The words of a part of a text (given its least size) that has enough of them."""
        size = _NEARBY
        while len(words := self.words(part(size))) < number and size < limit:
            size *= 2
        return words


class SplitText:
    """A text, and its words when they are asked for."""

    def __init__(self, text: bytes, splitter: Splitter) -> None:
        self.text = text
        self.splitter = splitter
        self._regions: dict[tuple[int, int], list[Region]] = {}

    @cached_property
    def words(self) -> list[bytes]:
        """The words, in order."""
        return self.splitter.words(self.text)

    @cached_property
    def counts(self) -> Counts:
        """Word → how often it occurs."""
        return dict(Counter(self.words))

    def regions(self, twin: "SplitText", words: int) -> list[Region]:
        """Where the text differs from another; between two regions are so many words at least."""
        key = (id(twin), words)
        if key not in self._regions:
            is_anchor = self.splitter.begins_with(words)
            self._regions[key] = regions(self.text, twin.text, is_anchor)
        return self._regions[key]


@dataclass(frozen=True, slots=True)
class Runs:
    """What is taken for a word: every run of *length* words, joined."""

    length: int = 1
    separator: bytes = b" "

    def counts(self, text: SplitText) -> Counts:
        """Run → how often it occurs in the text."""
        return text.counts if self.length == 1 else dict(Counter(self.of(text.words)))

    def of(self, words: Sequence[bytes]) -> list[bytes]:
        """The runs, in order."""
        if self.length == 1:
            return list(words)
        each = zip(*(words[start:] for start in range(self.length)), strict=False)
        return list(map(self.separator.join, each))

    def regions(self, text: SplitText, twin: SplitText) -> list[Region]:
        """
        Where two texts differ.

        Between two regions there is a line with so many words that the runs that reach into
        one region are others than those that reach into the other.
        """
        return text.regions(twin, 2 * self.length)

    def are_close(self, text: SplitText, twin: SplitText) -> bool:
        """Whether it is less work to look at where the texts differ than at all of one."""
        each = self.regions(text, twin)
        changed = sum(r.end - r.begin + r.old_end - r.old_begin for r in each)
        return 2 * changed < len(text.text)

    def difference(self, text: SplitText, twin: SplitText) -> Counts:
        """The runs of a text minus those of another one."""
        splitter, aside = text.splitter, self.length - 1
        found: list[bytes] = []
        lost: list[bytes] = []
        for each in self.regions(text, twin):
            region = splitter.widened(text.text, each)
            before = splitter.last_words(text.text, region.begin, aside)
            after = splitter.first_words(text.text, region.end, aside)
            words = splitter.words(text.text[region.begin : region.end])
            old_words = splitter.words(twin.text[region.old_begin : region.old_end])
            found += self.of(before + words + after)
            lost += self.of(before + old_words + after)
        return subtracted(Counter(found), Counter(lost))

    def that_begin_with(self, begins: Container[bytes], words: Sequence[bytes]) -> list[bytes]:
        """Those of the runs whose first word is one of *begins*."""
        runs = range(len(words) - self.length + 1)
        places = compress(runs, map(begins.__contains__, words))
        return [self.separator.join(words[place : place + self.length]) for place in places]


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
        return WordSet(lambda: counts)

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
        return self.difference if other is self._twin else subtracted(self.counts, other.counts)

    def changed(self, change: Change) -> "WordSet":
        """The set of the changed words: those that become equal add up, empty ones go."""
        if change not in self._changed:
            twin = None if self._twin is None else self._twin.changed(change)
            self._changed[change] = self._made(change, twin)
        return self._changed[change]

    def _made(self, change: Change, twin: "WordSet | None") -> "WordSet":
        return WordSet(
            lambda: mapped(self.counts, change),
            twin,
            lambda: {w: n for w, n in mapped(self.difference, change).items() if n},
        )

    def forget(self) -> None:
        """Let go of the changed sets, which hold this one: so all go when no one needs them."""
        self._changed.clear()

    def first(self, number: int) -> list[tuple[bytes, int]]:
        """The first words in byte order, with their counts."""
        known, is_all = self._known
        return known[:number] if is_all or number <= len(known) else self._first(number)

    @cached_property
    def _known(self) -> tuple[list[tuple[bytes, int]], bool]:
        """
        Some first words, and whether they are all.

        Up to the last that is known of a twin, this set has what is known and what differs.
        """
        if self._twin is None:
            known = self._first(SOME)
            return known, len(known) < SOME
        known, is_all = self._twin._known  # noqa: SLF001  # of the same class
        total = dict(known)
        last = known[-1][0] if known else b""
        for word, count in self.difference.items():
            if is_all or word <= last:
                total[word] = total.get(word, 0) + count
        return sorted(item for item in total.items() if item[1]), is_all

    def _first(self, number: int) -> list[tuple[bytes, int]]:
        counts = self.counts
        return [(word, counts[word]) for word in smallest(number, counts)]

    def __len__(self) -> int:
        return len(self.counts)


class TextWords(WordSet):
    """The runs of words of a text; *twin* is such a set of another text, split in the same way."""

    def __init__(self, split: SplitText, runs: Runs, twin: "TextWords | None" = None) -> None:
        self.split = split
        self._runs = runs
        super().__init__(
            lambda: runs.counts(split),
            twin,
            None if twin is None else lambda: runs.difference(split, twin.split),
        )

    @cached_property
    def counts(self) -> Counts:
        """Word → how often it occurs."""
        twin = self._twin
        if isinstance(twin, TextWords) and self._runs.are_close(self.split, twin.split):
            return added_up(twin.counts, self.difference)
        return self._count()

    def _first(self, number: int) -> list[tuple[bytes, int]]:
        if self._runs.length == 1:
            return super()._first(number)
        first = first_runs(self._runs, self.split, _Unchanged(), number)
        return super()._first(number) if first is None else first

    def _made(self, change: Change, twin: WordSet | None) -> WordSet:
        made = super()._made(change, twin)
        if self._runs.length > 1 and change.is_bytewise:
            return _ChangedRuns(self.split, self._runs, change, made)
        return made


class _Unchanged:
    """The change that is none."""

    is_bytewise = True

    def of_each(self, words: list[bytes]) -> list[bytes]:
        return words


class _ChangedRuns(WordSet):
    """Changed runs of words, whose first ones can be told without counting all."""

    def __init__(self, split: SplitText, runs: Runs, change: Change, made: WordSet) -> None:
        super().__init__(made._count, made._twin, made._difference)  # noqa: SLF001  # its own kind
        self._split = split
        self._runs = runs
        self._change = change

    def _first(self, number: int) -> list[tuple[bytes, int]]:
        first = first_runs(self._runs, self._split, self._change, number)
        return super()._first(number) if first is None else first


def first_runs(
    runs: Runs, split: SplitText, change: Change, number: int
) -> list[tuple[bytes, int]] | None:
    """
    Return the first of a text's changed runs in byte order, with their counts.

    It can be told where the changed separator sorts before every byte of changed words (else
    None is returned): then a run sorts as its first word does, changed. Every word but the last
    ones of a text begins a run, so the first words, and as many more as a run is long, begin
    the first runs.
    """
    [separator] = change.of_each([runs.separator])
    single = change.of_each([b"%c" % byte for byte in split.splitter.word_bytes])
    if not separator or separator >= min(filter(None, single), default=b""):
        return None
    distinct = list(split.counts)
    changed = change.of_each(distinct)
    least = set(smallest(number + runs.length, set(changed)))
    begins = set(compress(distinct, map(least.__contains__, changed)))
    first = Counter(change.of_each(runs.that_begin_with(begins, split.words)))
    return sorted(first.items())[:number]


class Sets:
    """
    The words of edits' texts: each text is split once, and each set made once.

    A set that is given no twin gets one: that of the edit's text that was split first, of which
    others are often but a part.
    """

    def __init__(self) -> None:
        self._splits: dict[tuple[int, Splitter], SplitText] = {}
        self._first: dict[tuple[int, Splitter], SplitText] = {}
        self._sets: dict[tuple[SplitText, Runs, TextWords | None], TextWords] = {}

    def of(
        self, edit: int, text: bytes, how: tuple[Splitter, Runs], twin: TextWords | None
    ) -> TextWords:
        """The set of the runs of words of a text of an edit; see `TextWords`."""
        splitter, runs = how
        # The text stays with what is kept under its id, so the id stays its own.
        split = self._splits.setdefault((id(text), splitter), SplitText(text, splitter))
        first = self._first.setdefault((edit, splitter), split)
        if twin is None and first is not split:
            twin = self._set(first, runs, None)
        return self._set(split, runs, twin)

    def forget(self) -> None:
        """Let go of what the sets remember."""
        for each in self._sets.values():
            each.forget()

    def _set(self, split: SplitText, runs: Runs, twin: TextWords | None) -> TextWords:
        key = (split, runs, twin)
        if key not in self._sets:
            self._sets[key] = TextWords(*key)
        return self._sets[key]


def subtracted(counts: Counts, others: Counts) -> Counts:
    """The counts minus other ones; what comes to 0 goes."""
    difference = {w: n for w, n in counts.items() if w not in others}
    for word, count in others.items():
        if new := counts.get(word, 0) - count:
            difference[word] = new
    return difference


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
    changed = change.of_each(list(counts))
    total = dict(zip(changed, counts.values(), strict=True))
    if len(total) < len(changed):  # some became equal
        total = defaultdict(int)
        for word, count in zip(changed, counts.values(), strict=True):
            total[word] += count
    total.pop(b"", None)
    return total


def smallest(number: int, words: Collection[bytes]) -> list[bytes]:
    """The first of distinct words in byte order."""
    if len(words) < 16 * number:  # so few that sorting is quicker
        return sorted(words)[:number]
    return nsmallest(number, words)


def common_words(first: Counts, second: Counts) -> int:
    """The sum of the second set's counts over the words in both."""
    return sum(count for word, count in second.items() if word in first)
