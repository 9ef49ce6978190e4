"""Regular expressions as trees, over bytes: what is left once their notation is read."""

from dataclasses import dataclass

Bytes = frozenset[int]
"""A set of byte values."""

ANY: Bytes = frozenset(range(256))
NEWLINE = ord("\n")


class SyntaxProblem(Exception):
    """The expression has no tree, or too large a one; the message says why."""


@dataclass(frozen=True, slots=True)
class One:
    """One byte of a set."""

    of: Bytes


@dataclass(frozen=True, slots=True)
class Start:
    """``^``: where the search starts, and after a newline in newline-sensitive expressions."""


@dataclass(frozen=True, slots=True)
class End:
    """``$``: the end of the text, and before a newline in newline-sensitive expressions."""


@dataclass(frozen=True, slots=True)
class Concatenation:
    """One part after the other; of no parts: the empty match."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """A part at least *low* and at most *high* times (None: any number)."""

    part: "Node"
    low: int
    high: int | None


Node = One | Start | End | Concatenation | Choice | Repeat


def reversed_tree(tree: Node) -> Node:
    """The tree of the same texts read backwards; an anchor becomes the opposite one."""
    match tree:
        case One():
            return tree
        case Start():
            return End()
        case End():
            return Start()
        case Repeat(part, low, high):
            return Repeat(reversed_tree(part), low, high)
        case Choice(parts):
            return Choice(tuple(reversed_tree(part) for part in parts))
        case Concatenation(parts):
            return Concatenation(tuple(reversed_tree(part) for part in reversed(parts)))
