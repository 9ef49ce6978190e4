"""
Ways to find the matches of a chain (see byte_chains.py), each for a shape of chain.

All of them find matches one after another: the leftmost, of those the longest, and the next one
in what follows it; an empty match is the last.
"""

import re
from collections.abc import Iterator, Sequence

from cbngtrain.engine.byte_chains import ByteChain, ByteLink, atoms, chain_regex, links_regex
from cbngtrain.engine.regex_tree import ANY

MIN_GAP = 8  # bytes from which on a gap is worth a way of its own
FEW_ENDINGS = 64  # bytes of a text for each ending, at least, for which to begin with those
MAX_BARRIERS = 4  # bytes that may end a run
RARER = 4  # times fewer bytes than the first link has, for a link to begin with

Span = tuple[int, int]
"""A match: where it starts and where it ends."""


class Greedy:
    """
    A chain, found by Python's ``re``.

    ``re`` takes the lexicographically greatest counts that match, and for a chain that is the
    longest match: were another way through the chain longer, it would be behind the greedy one
    at first and ahead of it at the end, so somewhere both would stand in one link at one byte;
    changing there from the greedy way to the other gives counts that are greater still, a
    contradiction.
    """

    def __init__(self, chain: ByteChain, *, newline: bool) -> None:
        body = chain_regex(chain, newline=newline)
        self.regex = re.compile(body, re.DOTALL)
        self.at_start = chain.at_start
        self._at_lines = re.compile(rb"(?<=\n)" + body, re.DOTALL) if newline else None

    def spans(self, text: bytes) -> Iterator[Span]:
        """The matches."""
        start = 0
        while span := self.find(text, start):
            yield span
            if span[0] == span[1]:
                return
            start = span[1]

    def find(self, text: bytes, start: int) -> Span | None:
        """The first match of a search from *start*."""
        if not self.at_start:
            match = self.regex.search(text, start)
        else:
            match = self.regex.match(text, start)
            if match is None and self._at_lines:
                match = self._at_lines.search(text, start)
        return match.span() if match else None

    def end(self, text: bytes, start: int, at: int) -> int:
        """Where the match at *at* ends in a search from *start*; -1: none begins there."""
        if self.at_start and at > start:
            match = self._at_lines.match(text, at) if self._at_lines else None
        else:
            match = self.regex.match(text, at)
        return match.end() if match else -1


class Union:
    """A choice of chains: the first place where one matches, and the longest that does there."""

    def __init__(self, chains: Sequence[Greedy]) -> None:
        self._chains = chains

    def spans(self, text: bytes) -> Iterator[Span]:
        """The matches."""
        start = 0
        following: dict[Greedy, Span | None] = dict.fromkeys(self._chains, (-1, -1))
        while True:
            for chain, span in following.items():  # where each matches next; None: nowhere
                if chain.at_start or (span and span[0] < start):
                    following[chain] = chain.find(text, start)
            at = min((span[0] for span in following.values() if span), default=-1)
            if at < 0:
                return
            end = max(chain.end(text, start, at) for chain in self._chains)
            yield at, end
            if at == end:
                return
            start = end


class Gap:
    """
    A chain of fixed links, any bytes up to a limit, and a literal: ``<.{1,99}>``.

    Each step finds where a match could begin and the first literal after that. If it is too
    far, no match begins before the literal comes within reach; so all steps go forward, where
    ``re`` would look through the gap again from each beginning.
    """

    @staticmethod
    def fits(chain: ByteChain) -> bool:
        """Whether the chain has this shape."""
        split = _split(chain)
        if split is None:
            return False
        _, gap, after = split
        is_long = gap.of == ANY and gap.high is not None and gap.high >= MIN_GAP
        return is_long and bool(after) and all(len(link.of) == 1 for link in after)

    def __init__(self, chain: ByteChain) -> None:
        before, gap, after = _split(chain) or ((), ByteLink(ANY), ())
        self._begin = re.compile(links_regex(before), re.DOTALL)
        self._size = len(before)
        self._low, self._high = gap.low, gap.high or 0
        self._literal = b"".join(bytes(link.of) for link in after)

    def spans(self, text: bytes) -> Iterator[Span]:
        """The matches."""
        start = 0
        while begin := self._begin.search(text, start):
            low, high = begin.end() + self._low, begin.end() + self._high
            nearest = text.find(self._literal, low)
            if nearest < 0:
                return
            if nearest > high:
                start = nearest - self._high - self._size
                continue
            start = text.rfind(self._literal, low, high + len(self._literal)) + len(self._literal)
            yield begin.start(), start


class Fixed:
    """
    A chain of fixed links, found from its rarest byte: ``[a-z][0-9][a-z]``.

    ``re`` searches from the first byte on, and where that is nearly every byte of a text it is
    slow. So the link with the fewest bytes is searched for, and what is around it looked at.
    """

    @staticmethod
    def fits(chain: ByteChain) -> bool:
        """Whether the chain has this shape, and a link that is rarer than the first one."""
        sizes = [len(link.of) for link in chain.links]
        is_fixed = bool(sizes) and all(link.is_fixed for link in chain.links)
        is_anchored = chain.at_start or chain.at_end
        return is_fixed and not is_anchored and min(sizes) * RARER < sizes[0]

    def __init__(self, links: Sequence[ByteLink]) -> None:
        self._size = len(links)
        self._rarest = min(range(len(links)), key=lambda index: len(links[index].of))
        self._table = translation(atoms(links))
        standing = mapped(ByteChain(tuple(links))).links
        until, after = standing[: self._rarest + 1], standing[self._rarest + 1 :]
        rarest = links_regex(until[-1:])
        around = links_regex(until), links_regex(after)
        self._regex = re.compile(b"%b(?<=%b)(?=%b)" % (rarest, *around), re.DOTALL)
        self._from_first = re.compile(links_regex(standing), re.DOTALL)
        self._rare_bytes = [bytes([byte]) for byte in until[-1].of]

    def places(self, text: bytes) -> Iterator[int]:
        """Where the links match, also overlapping."""
        return self._places(text.translate(self._table))

    def spans(self, text: bytes) -> Iterator[Span]:
        """The matches."""
        text = text.translate(self._table)
        if not self._is_rare_in(text):
            return (match.span() for match in self._from_first.finditer(text))
        return self._spans(text)

    def count(self, text: bytes) -> int:
        """How many matches there are."""
        text = text.translate(self._table)
        if not self._is_rare_in(text):
            return len(self._from_first.findall(text))
        return sum(1 for _ in self._spans(text))

    def _is_rare_in(self, text: bytes) -> bool:
        return sum(map(text.count, self._rare_bytes)) <= len(text) // FEW_ENDINGS + 1

    def _places(self, text: bytes) -> Iterator[int]:
        for match in self._regex.finditer(text):
            yield match.start() - self._rarest

    def _spans(self, text: bytes) -> Iterator[Span]:
        end = 0
        for place in self._places(text):
            if place >= end:
                end = place + self._size
                yield place, end


class Run:
    r"""
    A chain of fixed links, a run without limit, and an ending, found from its endings.

    The fitting chain's first byte is none of the run's: ``n[^#][^\n]+[a-z]xx``. Before an
    ending the run reaches back to the last byte that is none of its own, the barrier; a match
    begins with such a byte too, so it begins at the barrier or nearer before it than the fixed
    links are long. The beginnings for later endings are not before those for earlier ones, so
    the first that matches is the leftmost.
    """

    @staticmethod
    def fits(chain: ByteChain) -> bool:
        """Whether the chain has this shape, and looking for endings is quick."""
        split = _split(chain)
        if split is None:
            return False
        before, run, after = split
        is_told_apart = not before[0].of & run.of and len(ANY - run.of) <= MAX_BARRIERS
        is_literal = len(after) > 2 and len(after[-1].of) == len(after[-2].of) == 1
        return run.high is None and is_told_apart and is_literal

    def __init__(self, chain: ByteChain) -> None:
        before, run, after = _split(chain) or ((), ByteLink(ANY), ())
        self._size = len(before)
        self._barriers = [bytes([byte]) for byte in sorted(ANY - run.of)]
        self._here = re.compile(links_regex(chain.links), re.DOTALL)
        self._last_two = b"".join(bytes(link.of) for link in after[-2:])
        self._ending = Fixed(after)

    def spans(self, text: bytes) -> Iterator[Span]:
        """The matches."""
        if text.count(self._last_two) > len(text) // FEW_ENDINGS:
            return (match.span() for match in self._here.finditer(text))
        return self._spans(text)

    def _spans(self, text: bytes) -> Iterator[Span]:
        barrier = scanned = start = 0
        tried = -1  # beginnings up to here are no longer possible
        for ending in self._ending.places(text):
            barrier = max(barrier, self._last_barrier(text, scanned, ending))
            scanned = ending
            for begin in range(max(start, tried + 1, barrier - self._size + 1), barrier + 1):
                tried = begin
                if match := self._here.match(text, begin):
                    yield match.span()
                    start = match.end()
                    tried = start - 1
                    break

    def _last_barrier(self, text: bytes, begin: int, end: int) -> int:
        return max((text.rfind(byte, begin, end) for byte in self._barriers), default=-1)


def translation(mapping: dict[int, int]) -> bytes:
    """A mapping of all bytes as `bytes.translate` takes it."""
    return bytes(mapping[byte] for byte in range(256))


def mapped(chain: ByteChain) -> ByteChain:
    """The chain for a text of its atoms: a set that is one atom is one byte there."""
    mapping = atoms(chain.links)
    links = []
    for link in chain.links:
        standing = frozenset(mapping[byte] for byte in link.of)
        of = standing if len(standing) == 1 else link.of
        links.append(ByteLink(of, link.low, link.high))
    return ByteChain(tuple(links), chain.at_start, chain.at_end)


def _split(chain: ByteChain) -> tuple[tuple[ByteLink, ...], ByteLink, tuple[ByteLink, ...]] | None:
    """The fixed links before, the one that is not, and those after; None for other chains."""
    loose = [index for index, link in enumerate(chain.links) if not link.is_fixed]
    if chain.at_start or chain.at_end or len(loose) != 1 or loose[0] == 0:
        return None
    index = loose[0]
    return chain.links[:index], chain.links[index], chain.links[index + 1 :]
