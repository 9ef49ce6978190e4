"""
Chains of repeated byte sets: the shape of nearly every expression that a configuration has.

A tree is taken apart into the chains whose union it is, where it is a small one; and of a chain
it is told what makes it fast and safe for ``re``: which links never give back what they took,
and whether the work on a text stays in proportion to its length.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cbngtrain.engine.regex_tree import (
    ANY,
    Bytes,
    Choice,
    Concatenation,
    End,
    Node,
    One,
    Repeat,
    Start,
)

MAX_CHAINS = 64  # that a tree is taken apart into
MAX_LINKS = 400  # that they have in all
FEW_STEPS = 40  # bytes of a match, in all ways to have them, that are tried from any byte
MAX_SPELLED = 16  # repetitions that are spelled out, for the literal that a search begins with


@dataclass(frozen=True, slots=True)
class ByteLink:
    """A byte of a set, from *low* to *high* times (None: any number)."""

    of: Bytes
    low: int = 1
    high: int | None = 1

    @property
    def is_fixed(self) -> bool:
        """Whether it takes one byte, always."""
        return self.low == self.high == 1


@dataclass(frozen=True, slots=True)
class ByteChain:
    """Links one after the other, and whether the chain is anchored at its ends."""

    links: tuple[ByteLink, ...] = ()
    at_start: bool = False
    at_end: bool = False

    @property
    def may_be_empty(self) -> bool:
        """Whether it matches the empty text."""
        return all(link.low == 0 for link in self.links)


def chains_of(tree: Node, *, newline: bool) -> list[ByteChain] | None:
    """
    The chains whose union the tree is; None where there is no such small union.

    Without *newline* an anchor in the middle holds only where the other links on its side are
    empty, and a chain that cannot be so is left out: the union may be of no chains.
    """
    sequences = _alternatives(tree)
    if sequences is None or sum(map(len, sequences)) > MAX_LINKS:
        return None
    if newline and any(_is_anchored_inside(sequence) for sequence in sequences):
        return None
    chains = [chain for sequence in sequences if (chain := _anchored(sequence))]
    return list(dict.fromkeys(chains))


_Part = ByteLink | Start | End
_Sequences = list[tuple[_Part, ...]]


def _alternatives(tree: Node) -> _Sequences | None:
    match tree:
        case One(of):
            return [(ByteLink(of),)]
        case Start() | End():
            return [(tree,)]
        case Repeat(part, low, high):
            return _repeated(part, low, high)
        case Choice(parts):
            return _joined([_alternatives(part) for part in parts])
        case Concatenation(parts):
            return _product([_alternatives(part) for part in parts])


def _repeated(part: Node, low: int, high: int | None) -> _Sequences | None:
    """A repeated byte is a link; a repeated group is spelled out, if it has an end."""
    if high == 0:
        return [()]
    if isinstance(part, One):
        return [(ByteLink(part.of, low, high),)]
    if high is None or high > MAX_CHAINS:
        return None
    once = _alternatives(part)
    return _joined([_product([once] * count) for count in range(low, high + 1)])


def _joined(each: Sequence[_Sequences | None]) -> _Sequences | None:
    found: _Sequences = []
    for sequences in each:
        if sequences is None or len(found) + len(sequences) > MAX_CHAINS:
            return None
        found += sequences
    return found


def _product(each: Sequence[_Sequences | None]) -> _Sequences | None:
    found: _Sequences = [()]
    for sequences in each:
        if sequences is None or len(found) * len(sequences) > MAX_CHAINS:
            return None
        found = [(*head, *tail) for head in found for tail in sequences]
        if sum(map(len, found)) > MAX_LINKS:
            return None
    return found


def _is_anchored_inside(sequence: tuple[_Part, ...]) -> bool:
    return any(isinstance(part, Start) for part in sequence[1:]) or any(
        isinstance(part, End) for part in sequence[:-1]
    )


def _anchored(sequence: tuple[_Part, ...]) -> ByteChain | None:
    """The sequence with its anchors at its ends; None where it matches nothing."""
    starts = [index for index, part in enumerate(sequence) if isinstance(part, Start)]
    ends = [index for index, part in enumerate(sequence) if isinstance(part, End)]
    first = starts[-1] + 1 if starts else 0
    last = ends[0] if ends else len(sequence)
    outside = (*sequence[:first], *sequence[last:])  # what can only be empty there
    if any(isinstance(part, ByteLink) and part.low for part in outside):
        return None
    links = tuple(part for part in sequence[first:last] if isinstance(part, ByteLink))
    return ByteChain(links, bool(starts), bool(ends))


def literal(links: Sequence[ByteLink]) -> bytes:
    """The bytes that every match of the links begins with."""
    begin = bytearray()
    for link in links:
        if len(link.of) != 1 or not link.low:
            break
        begin += bytes(link.of) * min(link.low, MAX_SPELLED)
        if link.low != link.high:
            break
    return bytes(begin)


def is_possessive(links: Sequence[ByteLink], index: int) -> bool:
    r"""
    Whether a link need never give back a byte that it took.

    So it is where no byte of its set can begin what follows; or where the only one that follows
    and could take such bytes is an unbounded link of the same set, which itself never gives
    back: it would end where this link ended. (``" *\n? *x"``: were one run of blanks shared
    between two links, there would be as many ways to fail as blanks.)
    """
    own = links[index].of
    for after in range(index + 1, len(links)):
        link = links[after]
        if own & link.of:
            is_same = link.of == own and (link.low, link.high) == (0, None)
            return is_same and is_possessive(links, after)
        if link.low:
            return True
    return True


def is_linear(chain: ByteChain, *, newline: bool, is_alone: bool) -> bool:
    """
    Whether finding the chain's matches takes time in proportion to the text.

    An attempt takes few steps but for its long links. If these never give back, and attempts
    begin outside of the runs of bytes that they read, or pass a byte outside shortly before,
    each run is read by only the few attempts that begin shortly before it. A chain that is one
    link alone takes all it reads; and so does the last link of any chain once it has as many
    bytes as it must have, unless the match of another chain may be taken for this one.
    """
    links = chain.links
    if (chain.at_start or chain.at_end) and newline:
        return False
    if len(links) == 1 and not chain.at_end:
        return True
    begins_once = chain.at_start and is_alone
    most = [link.high for link in links]
    if _takes_few_steps(links, most, begins_once=begins_once):
        return True
    is_open = is_alone and bool(links) and not chain.at_end
    return is_open and _takes_few_steps(links, [*most[:-1], links[-1].low], begins_once=begins_once)


def _takes_few_steps(
    links: Sequence[ByteLink], most: Sequence[int | None], *, begins_once: bool
) -> bool:
    """
    Whether attempts do but for long links, and few of them read the same of what these read.

    Args:
        links: Those of a chain.
        most: What each link takes at most before the attempt may fail.
        begins_once: An attempt begins where the match before ended, and at no other byte.
    """
    short = {i: high for i, high in enumerate(most) if high is not None and high <= FEW_STEPS}
    ways = math.prod(
        high - links[i].low + 1 for i, high in short.items() if not is_possessive(links, i)
    )
    if sum(short.values()) * ways > FEW_STEPS:
        return False
    long = [i for i in range(len(links)) if i not in short]
    if not all(is_possessive(links, i) for i in long):
        return False
    return begins_once or all(
        _begins_outside(links, i) or (i == long[0] and _comes_from_outside(links, i)) for i in long
    )


def _begins_outside(links: Sequence[ByteLink], index: int) -> bool:
    """Whether no byte that an attempt may begin with is one of the link's."""
    for link in links[:index]:
        if link.of & links[index].of:
            return False
        if link.low:
            return True
    return False


def _comes_from_outside(links: Sequence[ByteLink], index: int) -> bool:
    """Whether an attempt passes a byte that is none of the link's on its way there."""
    return any(link.low and not link.of & links[index].of for link in links[:index])


def set_regex(of: Bytes) -> bytes:
    """A byte set in the syntax of ``re``, under DOTALL."""
    if of == ANY:
        return b"."
    if len(of) == 1:
        return re.escape(bytes(of))
    negated = len(of) > len(ANY) // 2
    members = sorted(ANY - of if negated else of)
    return b"[%b%b]" % (b"^" if negated else b"", b"".join(b"\\x%02x" % b for b in members))


def links_regex(links: Sequence[ByteLink]) -> bytes:
    """The links in the syntax of ``re``, under DOTALL: possessive where that is proved."""
    return b"".join(
        _link_regex(link, possessive=is_possessive(links, index), first=index == 0)
        for index, link in enumerate(links)
    )


def chain_regex(chain: ByteChain, *, newline: bool) -> bytes:
    """The chain in the syntax of ``re``, under DOTALL, without its anchor at the start."""
    if not chain.at_end:
        return links_regex(chain.links)
    if not newline:
        return links_regex(chain.links) + rb"\Z"
    # A link may have to give back a newline: what is not followed by nothing is by that.
    greedy = [_link_regex(link, possessive=False, first=False) for link in chain.links]
    return b"".join(greedy) + rb"(?=\n|\Z)"


def _link_regex(link: ByteLink, *, possessive: bool, first: bool) -> bytes:
    one = set_regex(link.of)
    if link.is_fixed:
        return one
    spelled = link.low if first and link.low <= MAX_SPELLED else 0
    high = b"" if link.high is None else b"%d" % (link.high - spelled)
    bounds = b"{%d,%b}" % (link.low - spelled, high)
    repeated = one + bounds + (b"+" if possessive else b"")
    return one * spelled + repeated


def atoms(links: Sequence[ByteLink]) -> dict[int, int]:
    """
    Byte → a byte that stands for it: no link tells the two apart.

    A text translated so has the chain's matches at the same places, and a set of bytes that
    belong together, such as both cases of a letter, becomes one byte, which is found faster.
    """
    signatures = [0] * 256  # byte → a bit for each link that has it
    for index, link in enumerate(links):
        for byte in link.of:
            signatures[byte] |= 1 << index
    first: dict[int, int] = {}
    return {byte: first.setdefault(each, byte) for byte, each in enumerate(signatures)}
