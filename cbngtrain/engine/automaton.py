"""
Finite automata: the general way to find a POSIX expression's leftmost, longest matches.

A tree becomes a nondeterministic automaton (Thompson's construction), which is made
deterministic as texts ask for it. Two of them find the matches of a text: one that reads the
text backwards once and tells at which bytes some match begins, and one that reads on from
there as far as a match may go. Where a longer one might have followed (``a|a*b``), that is
farther than to where it ends. What is read beyond it, in vain, another search would read again;
so places that were passed are remembered, and the time stays in proportion to the text,
whatever the expression [1]_.

.. [1] T. Reps, "Maximal-munch" tokenization in linear time, ACM Transactions on Programming
   Languages and Systems 20, 1998. Here only every `APART`-th byte is such a place, which takes
   less memory.
"""

from dataclasses import dataclass, field

from cbngtrain.engine.regex_tree import (
    NEWLINE,
    Bytes,
    Choice,
    Concatenation,
    End,
    Node,
    One,
    Repeat,
    Start,
    SyntaxProblem,
    reversed_tree,
)

MAX_STATES = 5000  # of an expression: repetitions are spelled out
MAX_KEPT = 4000  # deterministic states kept; when there are more, all are forgotten
APART = 64  # bytes from one place that is remembered to the next

Places = set[tuple[int, frozenset[int]]]
"""Places of a text, each with the states that an attempt was in there."""


class Automaton:
    """Finds the matches of a tree; see `regex.Pattern`."""

    def __init__(self, tree: Node, *, newline: bool) -> None:
        self._forward = _Machine(tree, newline=newline, restarts=False)
        self._backward = _Machine(reversed_tree(tree), newline=newline, restarts=True)

    def spans(self, text: bytes) -> list[tuple[int, int]]:
        """The matches one after another, up to the first empty one."""
        begins = self._backward.ends(text[::-1])
        begins = [len(text) - end for end in reversed(begins)]
        found: list[tuple[int, int]] = []
        passed: Places = set()
        start = index = 0
        while True:
            begin, end = start, self._forward.longest(text, start, passed, at_start=True)
            while end < 0 and index < len(begins):
                begin = begins[index]
                index += 1
                if begin > start:
                    end = self._forward.longest(text, begin, passed, at_start=False)
            if end < 0:
                return found
            found.append((begin, end))
            if begin == end:
                return found
            start = end
            while index < len(begins) and begins[index] <= start:
                index += 1


@dataclass(slots=True)
class _State:
    """
    A deterministic state: where in the expression a match may be.

    Attributes:
        inside: Nondeterministic states, anchors at the end not passed.
        accepts: A match ends here.
        accepts_at_end: A match ends here if this is where ``$`` holds.
        next: Byte → state, as far as known.
    """

    inside: frozenset[int]
    accepts: bool
    accepts_at_end: bool
    next: dict[int, "_State"] = field(default_factory=dict)


class _Machine:
    """
    Reads a text forwards, byte by byte.

    Args:
        tree: The expression.
        newline: Anchors hold at newlines too.
        restarts: A match may begin at every byte, not only where reading begins.
    """

    def __init__(self, tree: Node, *, newline: bool, restarts: bool) -> None:
        self._newline = newline
        self._restarts = restarts
        self._steps: list[tuple[Bytes, int] | None] = []  # state → its byte, and what follows
        self._free: list[list[int]] = []  # state → states that follow without a byte
        self._starts: dict[int, int] = {}  # state → what follows where ^ holds
        self._ends: dict[int, int] = {}  # state → what follows where $ holds
        self._match = self._state()
        self._first = self._build(tree, self._match)
        self._known: dict[frozenset[int], _State] = {}

    def longest(self, text: bytes, begin: int, passed: Places, *, at_start: bool) -> int:
        """
        Where the longest match ends that begins at *begin*; -1 if none does.

        Args:
            text: The text.
            begin: Not before the end of any match that was found.
            passed: Where attempts came by in this text; what follows is not read again.
            at_start: The text begins at *begin*, as far as anchors are concerned.
        """
        after_newline = self._newline and begin > 0 and text[begin - 1] == NEWLINE
        state = self._entry(starts=at_start or after_newline)
        end = -1
        for at in range(begin, len(text)):
            byte = text[at]
            if state.accepts or (state.accepts_at_end and self._newline and byte == NEWLINE):
                end = at
            elif at % APART == 0:
                place = at, state.inside
                if place in passed:
                    return end
                passed.add(place)
            following = state.next.get(byte)
            state = following if following is not None else self._following(state, byte)
            if not state.inside:
                return end
        if state.accepts or state.accepts_at_end:
            end = len(text)
        return end

    def ends(self, text: bytes) -> list[int]:
        """Where matches end, whatever begins them, in ascending order."""
        state = self._entry(starts=True)
        found = []
        newline = NEWLINE if self._newline else -1
        for at, byte in enumerate(text):
            if state.accepts or (state.accepts_at_end and byte == newline):
                found.append(at)
            following = state.next.get(byte)
            state = following if following is not None else self._following(state, byte)
        if state.accepts or state.accepts_at_end:
            found.append(len(text))
        return found

    # Making it deterministic.

    def _entry(self, *, starts: bool) -> _State:
        return self._known_as(self._closed({self._first}, starts=starts, ends=False))

    def _following(self, state: _State, byte: int) -> _State:
        is_newline = self._newline and byte == NEWLINE
        inside = self._closed(state.inside, starts=False, ends=True) if is_newline else state.inside
        reached = {step[1] for each in inside if (step := self._steps[each]) and byte in step[0]}
        if self._restarts:
            reached.add(self._first)
        following = self._known_as(self._closed(reached, starts=is_newline, ends=False))
        state.next[byte] = following
        return following

    def _known_as(self, inside: frozenset[int]) -> _State:
        found = self._known.get(inside)
        if found is None:
            if len(self._known) >= MAX_KEPT:
                self._forget()
            at_end = self._closed(inside, starts=False, ends=True)
            found = _State(inside, self._match in inside, self._match in at_end)
            self._known[inside] = found
        return found

    def _forget(self) -> None:
        for state in self._known.values():
            state.next.clear()
        self._known.clear()

    def _closed(
        self, states: set[int] | frozenset[int], *, starts: bool, ends: bool
    ) -> frozenset[int]:
        """The states and what follows them without a byte."""
        found: set[int] = set()
        pending = list(states)
        while pending:
            state = pending.pop()
            if state in found:
                continue
            found.add(state)
            pending += self._free[state]
            if starts and state in self._starts:
                pending.append(self._starts[state])
            if ends and state in self._ends:
                pending.append(self._ends[state])
        return frozenset(found)

    # Thompson's construction, from the end to the beginning.

    def _state(self) -> int:
        if len(self._steps) == MAX_STATES:
            raise SyntaxProblem("too large: its repetitions multiply")
        self._steps.append(None)
        self._free.append([])
        return len(self._steps) - 1

    def _build(self, tree: Node, after: int) -> int:
        """The state from which the tree leads to *after*."""
        match tree:
            case One(of):
                state = self._state()
                self._steps[state] = (of, after)
                return state
            case Start():
                state = self._state()
                self._starts[state] = after
                return state
            case End():
                state = self._state()
                self._ends[state] = after
                return state
            case Choice(parts):
                state = self._state()
                self._free[state] = [self._build(part, after) for part in parts]
                return state
            case Concatenation(parts):
                for part in reversed(parts):
                    after = self._build(part, after)
                return after
            case Repeat():
                return self._build_repeat(tree, after)

    def _build_repeat(self, tree: Repeat, after: int) -> int:
        if tree.high is None:
            loop = self._state()
            self._free[loop] = [self._build(tree.part, loop), after]
            after = loop
        else:
            end = after
            for _ in range(tree.high - tree.low):
                state = self._state()
                self._free[state] = [self._build(tree.part, after), end]
                after = state
        for _ in range(tree.low):
            after = self._build(tree.part, after)
        return after
