"""
The notation of POSIX regular expressions: extended and basic syntax, in the C locale.

What the two have in common becomes one small tree; what POSIX leaves undefined, and
back-references, which no tree can express, are refused with a reason.
"""

from cbngtrain.engine.regex_tree import (
    ANY,
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
)

MAX_REPEATS = 0x7FFF  # RE_DUP_MAX of glibc

CLASSES: dict[str, Bytes] = {
    "alpha": frozenset(b for b in range(128) if chr(b).isalpha()),
    "digit": frozenset(b"0123456789"),
    "alnum": frozenset(b for b in range(128) if chr(b).isalnum()),
    "upper": frozenset(range(ord("A"), ord("Z") + 1)),
    "lower": frozenset(range(ord("a"), ord("z") + 1)),
    "space": frozenset(b" \t\n\v\f\r"),
    "blank": frozenset(b" \t"),
    "punct": frozenset(b for b in range(33, 127) if not chr(b).isalnum()),
    "print": frozenset(range(32, 127)),
    "graph": frozenset(range(33, 127)),
    "cntrl": frozenset([*range(32), 127]),
    "xdigit": frozenset(b"0123456789abcdefABCDEF"),
}
"""What ``[:name:]`` stands for in the C locale."""


def parse(pattern: bytes, *, extended: bool, ignore_case: bool, newline: bool) -> Node:
    """
    Return the tree of a regular expression.

    Args:
        pattern: The expression.
        extended: In extended syntax (flag ``E``), else basic.
        ignore_case: Letters stand for both cases (flag ``I``).
        newline: ``.`` and negated brackets leave the newline out (flag ``N``).

    Raises:
        SyntaxProblem: Says what is wrong or not supported.
    """
    return _Reader(pattern, extended, ignore_case, newline).whole()


_GNU_WORD = CLASSES["alnum"] | frozenset(b"_")
_GNU_CLASSES = {
    ord("w"): _GNU_WORD,
    ord("W"): ANY - _GNU_WORD,
    ord("s"): CLASSES["space"],
    ord("S"): ANY - CLASSES["space"],
}
_ASSERTIONS = b"bB<>`'"


class _Reader:
    """Reads an expression from left to right; one instance per expression."""

    def __init__(self, pattern: bytes, extended: bool, ignore_case: bool, newline: bool) -> None:  # noqa: FBT001  # the flags of regcomp
        self.pattern = pattern
        self.extended = extended
        self.ignore_case = ignore_case
        self.newline = newline
        self.at = 0
        self.depth = 0

    def whole(self) -> Node:
        node = self._choice()
        if self.at < len(self.pattern):
            raise SyntaxProblem("a closing parenthesis without an opening one")
        return node

    # The grammar: a choice of sequences of repeated atoms.

    def _choice(self) -> Node:
        parts = [self._sequence()]
        while self._take(b"|" if self.extended else b"\\|"):
            parts.append(self._sequence())
        return parts[0] if len(parts) == 1 else Choice(tuple(parts))

    def _sequence(self) -> Node:
        parts: list[Node] = []
        while self.at < len(self.pattern) and not self._ends_sequence():
            parts.append(self._repeated(first=all(isinstance(part, Start) for part in parts)))
        return parts[0] if len(parts) == 1 else Concatenation(tuple(parts))

    def _ends_sequence(self) -> bool:
        if self.extended:
            return self._sees(b"|") or (self.depth > 0 and self._sees(b")"))
        return self._sees(b"\\|") or self._sees(b"\\)")

    def _repeated(self, *, first: bool) -> Node:
        if self.extended and self._repeats_here():
            raise SyntaxProblem("a repetition with nothing to repeat")
        node = self._atom(first=first)
        while not (isinstance(node, Start) and not self.extended):
            bounds = self._bounds()
            if bounds is None:
                break
            if isinstance(node, Start | End):
                raise SyntaxProblem("a repeated anchor")
            node = Repeat(node, *bounds)
        return node

    def _repeats_here(self) -> bool:
        return self.pattern[self.at : self.at + 1] in {b"*", b"+", b"?", b"{"}

    def _atom(self, *, first: bool) -> Node:  # noqa: PLR0911  # one line for each kind
        if self._take(b"(" if self.extended else b"\\("):
            return self._group()
        if self._sees(b"^") and (self.extended or first):
            self.at += 1
            return Start()
        if self._sees(b"$") and (self.extended or self._is_last()):
            self.at += 1
            return End()
        if self._take(b"["):
            return One(self._bracket())
        if self._take(b"."):
            return One(ANY - {NEWLINE} if self.newline else ANY)
        if self._take(b"\\"):
            return self._escaped()
        return self._literal(self._next())

    def _is_last(self) -> bool:
        """In basic syntax ``$`` is an anchor only where the expression or a group ends."""
        rest = self.pattern[self.at + 1 :]
        return not rest or rest.startswith((b"\\)", b"\\|"))

    def _group(self) -> Node:
        self.depth += 1
        node = self._choice()
        self.depth -= 1
        if not self._take(b")" if self.extended else b"\\)"):
            raise SyntaxProblem("a parenthesis that is not closed")
        return node

    def _escaped(self) -> Node:
        if self.at == len(self.pattern):
            raise SyntaxProblem("a backslash at the end")
        byte = self._next()
        if chr(byte) in "123456789":
            raise SyntaxProblem("back-references are not supported")
        if byte in _ASSERTIONS:
            raise SyntaxProblem(f"\\{chr(byte)} is not of POSIX and not supported")
        if byte in _GNU_CLASSES:
            return One(_GNU_CLASSES[byte])
        return self._literal(byte)

    def _literal(self, byte: int) -> Node:
        return One(self._cases(frozenset([byte])))

    def _cases(self, of: Bytes) -> Bytes:
        if not self.ignore_case:
            return of
        return of | frozenset(bytes(of).lower()) | frozenset(bytes(of).upper())

    # Repetition.

    def _bounds(self) -> tuple[int, int | None] | None:
        if self._take(b"*"):
            return 0, None
        if self._take(b"+" if self.extended else b"\\+"):
            return 1, None
        if self._take(b"?" if self.extended else b"\\?"):
            return 0, 1
        if self._take(b"{" if self.extended else b"\\{"):
            return self._interval()
        return None

    def _interval(self) -> tuple[int, int | None]:
        low = self._count()
        high = low
        if self._take(b","):
            high = self._count()
            low = low or 0
        if not self._take(b"}" if self.extended else b"\\}") or low is None:
            raise SyntaxProblem("an interval that is not {n}, {n,} or {n,m}")
        if max(low, high or 0) > MAX_REPEATS or (high is not None and low > high):
            raise SyntaxProblem(f"an interval out of order or above {MAX_REPEATS}")
        return low, high

    def _count(self) -> int | None:
        start = self.at
        while self.pattern[self.at : self.at + 1].isdigit():
            self.at += 1
        digits = self.pattern[start : self.at]
        return int(digits) if digits else None

    # Brackets.

    def _bracket(self) -> Bytes:
        negated = self._take(b"^")
        of: Bytes = frozenset()
        first = True
        while first or not self._sees(b"]"):
            of |= self._bracket_part()
            first = False
        self.at += 1
        of = self._cases(of)
        if not negated:
            return of
        return ANY - of - ({NEWLINE} if self.newline else frozenset())

    def _bracket_part(self) -> Bytes:
        if self._take(b"[:"):
            name = self._until(b":]").decode("latin-1")
            if name not in CLASSES:
                raise SyntaxProblem(f"no such class: [:{name}:]")
            return CLASSES[name]
        low = self._bracket_end()
        if not self._sees(b"-") or self.pattern[self.at + 1 : self.at + 2] == b"]":
            return frozenset([low])
        self.at += 1
        high = self._bracket_end()
        if low > high:
            raise SyntaxProblem(f"a range out of order: {chr(low)}-{chr(high)}")
        return frozenset(range(low, high + 1))

    def _bracket_end(self) -> int:
        """One byte, also as ``[.x.]`` or ``[=x=]``."""
        for opening, closing in ((b"[.", b".]"), (b"[=", b"=]")):
            if self._take(opening):
                name = self._until(closing)
                if len(name) != 1:
                    raise SyntaxProblem("a collating element of more than one byte")
                return name[0]
        if self.at == len(self.pattern):
            raise SyntaxProblem("a bracket that is not closed")
        return self._next()

    def _until(self, closing: bytes) -> bytes:
        end = self.pattern.find(closing, self.at)
        if end < 0:
            raise SyntaxProblem("a bracket that is not closed")
        name = self.pattern[self.at : end]
        self.at = end + len(closing)
        return name

    # The input.

    def _sees(self, token: bytes) -> bool:
        return self.pattern.startswith(token, self.at)

    def _take(self, token: bytes) -> bool:
        if not self._sees(token):
            return False
        self.at += len(token)
        return True

    def _next(self) -> int:
        self.at += 1
        return self.pattern[self.at - 1]
