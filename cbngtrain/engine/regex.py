"""
POSIX regular expressions that find what the native core finds: leftmost, then longest.

Three ways to find, from fast to general; which one an expression gets is decided once, by what
can be proved of it:

- `Chain`: a sequence of repeated byte sets, such as ``[a-z]{1,25} *=``. Python's ``re`` takes
  the lexicographically greatest counts, and for a chain that is the longest match: were another
  way through the chain longer, it would be behind the greedy one at first and ahead of it at
  the end, so both would stand in one link at one byte; changing from the greedy way to
  the other one there gives counts that are greater still, a contradiction.
- `Union`: a choice of chains. ``re`` finds where the first match starts, and the longest of the
  chains' own matches there is the match.
- `Automaton` (automaton.py): everything else.

Matches are found one after another; a search starts where the last match ended *as if the text
began there*, so ``^`` matches there too. An empty match counts and is the last one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from cbngtrain.engine import posix
from cbngtrain.engine.posix import ANY, Bytes, Choice, End, Node, One, Repeat, Sequence, Start

MAX_CHAINS = 64  # alternatives that a union may have
MAX_LINKS = 1000  # links that a union may have in all


class Pattern(Protocol):
    """A compiled expression."""

    def find(self, text: bytes, start: int) -> tuple[int, int] | None:
        """The first match of a search that starts at *start*, as (start, end)."""

    def count(self, text: bytes) -> int:
        """How many matches there are, one after another."""

    def removed(self, text: bytes) -> bytes:
        """The text without its matches."""


def compile_pattern(pattern: bytes, flags: str) -> Pattern:
    """
    Return what finds the matches of a POSIX regular expression.

    Args:
        pattern: The expression.
        flags: Of ``E`` extended, ``I`` ignore case, ``N`` newline-sensitive.

    Raises:
        posix.SyntaxProblem: The expression is not one that POSIX defines.
    """
    newline = "N" in flags
    tree = posix.parse(pattern, extended="E" in flags, ignore_case="I" in flags, newline=newline)
    chains = _chains(tree, newline=newline)
    if not chains:
        raise posix.SyntaxProblem("not supported yet")
    if len(chains) == 1:
        return Chain(chains[0], newline=newline)
    return Union(tuple(Chain(links, newline=newline) for links in chains))


@dataclass(frozen=True, slots=True)
class Link:
    """A byte of a set, from *low* to *high* times (None: any number)."""

    of: Bytes
    low: int
    high: int | None

    def regex(self) -> bytes:
        """The link in the syntax of ``re``."""
        if (self.low, self.high) == (1, 1):
            return _set_regex(self.of)
        high = b"" if self.high is None else b"%d" % self.high
        return b"%b{%d,%b}" % (_set_regex(self.of), self.low, high)


@dataclass(frozen=True, slots=True)
class Links:
    """A chain: links, and whether it is anchored at its ends."""

    links: tuple[Link, ...] = ()
    at_start: bool = False
    at_end: bool = False

    def is_empty_possible(self) -> bool:
        """Whether it matches the empty text."""
        return all(link.low == 0 for link in self.links)


class Chain:
    """A sequence of repeated byte sets, found by ``re``."""

    def __init__(self, links: Links, *, newline: bool) -> None:
        body = b"".join(link.regex() for link in links.links)
        end = (rb"(?=\n|\Z)" if newline else rb"\Z") if links.at_end else b""
        self._here = re.compile(body + end, re.DOTALL)
        self._later = re.compile(rb"(?<=\n)" + body + end, re.DOTALL)
        self._only_at_start = links.at_start and not newline
        self._at_line_starts = links.at_start and newline
        self._is_plain = not links.at_start and not links.is_empty_possible()

    def find(self, text: bytes, start: int) -> tuple[int, int] | None:
        if self._only_at_start:
            match = self._here.match(text, start)
        elif self._at_line_starts:
            match = self._here.match(text, start) or self._later.search(text, start)
        else:
            match = self._here.search(text, start)
        return match.span() if match else None

    def longest(self, text: bytes, start: int, at: int) -> int:
        """Where the match ends that begins at *at* in a search from *start*; -1: none does."""
        if self._only_at_start and at > start:
            return -1
        if self._at_line_starts and at > start and text[at - 1] != posix.NEWLINE:
            return -1
        match = self._here.match(text, at)
        return match.end() if match else -1

    def count(self, text: bytes) -> int:
        if self._is_plain:
            return len(self._here.findall(text))
        return sum(1 for _ in _matches(self, text))

    def removed(self, text: bytes) -> bytes:
        if self._is_plain:
            return self._here.sub(b"", text)
        return _without(self, text)


class Union:
    """A choice of chains."""

    def __init__(self, chains: tuple[Chain, ...]) -> None:
        self._chains = chains

    def find(self, text: bytes, start: int) -> tuple[int, int] | None:
        found = [span for chain in self._chains if (span := chain.find(text, start))]
        if not found:
            return None
        at = min(begin for begin, _ in found)
        return at, max(chain.longest(text, start, at) for chain in self._chains)

    def count(self, text: bytes) -> int:
        return sum(1 for _ in _matches(self, text))

    def removed(self, text: bytes) -> bytes:
        return _without(self, text)


def _matches(pattern: Pattern, text: bytes) -> Iterator[tuple[int, int]]:
    """The matches one after another, up to the first empty one."""
    start = 0
    while span := pattern.find(text, start):
        yield span
        if span[0] == span[1]:
            return
        start = span[1]


def _without(pattern: Pattern, text: bytes) -> bytes:
    kept = []
    end = 0
    for match_start, match_end in _matches(pattern, text):
        kept.append(text[end:match_start])
        end = match_end
    kept.append(text[end:])
    return b"".join(kept)


def _set_regex(of: Bytes) -> bytes:
    """A byte set in the syntax of ``re``, under DOTALL."""
    if of == ANY:
        return b"."
    if len(of) == 1:
        return re.escape(bytes(of))
    negated = len(of) > len(ANY) // 2
    members = sorted(ANY - of if negated else of)
    return b"[%b%b]" % (b"^" if negated else b"", b"".join(b"\\x%02x" % b for b in members))


def _chains(tree: Node, *, newline: bool) -> list[Links] | None:
    """The chains whose union the tree is, or None where there is no such small union."""
    sequences = _alternatives(tree)
    if sequences is None or sum(map(len, sequences)) > MAX_LINKS:
        return None
    chains = [_anchored(sequence, newline=newline) for sequence in sequences]
    if None in chains:
        return None
    return [chain for chain in chains if chain] or [Links((Link(frozenset(), 1, 1),))]


_Part = Link | Start | End


def _alternatives(tree: Node) -> list[tuple[_Part, ...]] | None:
    match tree:
        case One(of):
            return [(Link(of, 1, 1),)]
        case Start() | End():
            return [(tree,)]
        case Repeat(One(of), low, high):
            return [(Link(of, low, high),)]
        case Repeat(part, low, high):
            return None
        case Choice(parts):
            every = [_alternatives(part) for part in parts]
            if any(each is None for each in every):
                return None
            found = [sequence for each in every for sequence in each or ()]
            return found if len(found) <= MAX_CHAINS else None
        case Sequence(parts):
            return _product(parts)


def _product(parts: tuple[Node, ...]) -> list[tuple[_Part, ...]] | None:
    sequences: list[tuple[_Part, ...]] = [()]
    for part in parts:
        follow = _alternatives(part)
        if follow is None or len(sequences) * len(follow) > MAX_CHAINS:
            return None
        sequences = [(*head, *tail) for head in sequences for tail in follow]
    return sequences


def _anchored(sequence: tuple[_Part, ...], *, newline: bool) -> Links | None:
    """The sequence with its anchors at its ends."""
    links = tuple(part for part in sequence if isinstance(part, Link))
    at_start = bool(sequence) and isinstance(sequence[0], Start)
    at_end = bool(sequence) and isinstance(sequence[-1], End)
    if len(links) + at_start + at_end != len(sequence):
        return None
    return Links(links, at_start, at_end)
