"""
Arithmetic expressions over properties: a small compiler to operations on arrays.

Grammar and functions are those of the native core's expression library: ``+ - * / ^`` (all of
them group from the left; ``^`` binds tighter than a sign), parentheses, functions of one
argument, named constants; every other name is a property's.

Results are those of the core's library, with two exceptions. Functions and powers may differ in
the last bit of a double (relative 2e-16) where NumPy's are not the C library's; the 32-bit
float that is kept of a result then nearly always is the same one, and at most differs in its
last bit (6e-8). And NaN may have another sign where NaNs of unlike signs are added or
multiplied, or one is raised to a power.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
"""One number per edit, shape (n_edits,)."""

Evaluation = Callable[[Mapping[str, Doubles]], Doubles]


class ExpressionProblem(Exception):
    """The expression cannot be understood; the message says where."""


CONSTANTS: dict[str, float] = {
    "e": math.e,
    "log2e": math.log2(math.e),
    "log10e": math.log10(math.e),
    "ln2": math.log(2),
    "ln10": math.log(10),
    "pi": math.pi,
    "pi_2": math.pi / 2,
    "pi_4": math.pi / 4,
    "1_pi": 1 / math.pi,
    "2_pi": 2 / math.pi,
    "2_sqrtpi": 2 / math.sqrt(math.pi),
    "sqrt2": math.sqrt(2),
    "sqrt1_2": math.sqrt(0.5),
}

_NAN = np.copysign(np.nan, -1)  # that arithmetic makes on x86

_erf = np.vectorize(math.erf, otypes=[np.float64])
_tanh = np.vectorize(math.tanh, otypes=[np.float64])  # NumPy's own differs in the last bits


def _as_c(
    function: Callable[[Doubles], Doubles], nan: float = _NAN
) -> Callable[[Doubles], Doubles]:
    """The function, whose NaN has the sign that the C library gives it; NumPy's varies."""

    def of(x: Doubles) -> Doubles:
        y = function(x)
        return np.where(np.isnan(y), np.where(np.isnan(x), x, nan), y)

    return of


def _power(x: Doubles, y: Doubles) -> Doubles:
    """C's ``pow``: NumPy takes ``x ^ 0.5`` for the root, which differs for -0 and -inf."""
    power = np.where((y == 0.5) & ((x == 0) | np.isinf(x)), np.abs(x), np.power(x, y))
    return np.where(np.isnan(power), np.where(np.isnan(x) | np.isnan(y), x + y, _NAN), power)


_OPERATORS: dict[str, Callable[[Doubles, Doubles], Doubles]] = {
    "+": lambda x, y: y + x,  # of two NaNs, the core's library as compiled keeps the second
    "-": np.subtract,
    "*": lambda x, y: y * x,
    "/": np.divide,
    "^": _power,
}

_log = _as_c(np.log)

FUNCTIONS: dict[str, Callable[[Doubles], Doubles]] = {
    "exp": _as_c(np.exp),
    "log": _log,
    "sqrt": np.sqrt,
    "sin": _as_c(np.sin),
    "cos": _as_c(np.cos),
    "tan": _as_c(np.tan),
    "cot": _as_c(lambda x: 1 / np.tan(x)),
    "sec": _as_c(lambda x: 1 / np.cos(x)),
    "csc": _as_c(lambda x: 1 / np.sin(x)),
    "asin": _as_c(np.arcsin, np.nan),
    "acos": _as_c(np.arccos, np.nan),
    "atan": _as_c(np.arctan),
    "acot": _as_c(lambda x: np.arctan(1 / x)),
    "asec": _as_c(lambda x: np.arccos(1 / x), np.nan),
    "acsc": _as_c(lambda x: np.arcsin(1 / x), np.nan),
    "sinh": _as_c(np.sinh),
    "cosh": _as_c(np.cosh),
    "tanh": _tanh,
    "coth": lambda x: 1 / _tanh(x),
    "sech": _as_c(lambda x: 1 / np.cosh(x)),
    "csch": _as_c(lambda x: 1 / np.sinh(x)),
    # The core's library has these by logarithms, which loses what is small: atanh(1e-20) is 0.
    "asinh": lambda x: _log(x + np.sqrt(x * x + 1)),
    "acosh": lambda x: _log(x + np.sqrt(x * x - 1)),
    "atanh": lambda x: 0.5 * _log((1 + x) / (1 - x)),
    "acoth": lambda x: 0.5 * _log((x + 1) / (x - 1)),
    "asech": lambda x: _log(1 / x + np.sqrt((1 / x) * (1 / x) - 1)),
    "acsch": lambda x: _log(1 / x + np.sqrt((1 / x) * (1 / x) + 1)),
    "abs": np.abs,
    "step": lambda x: np.where(np.isnan(x), x, np.where(x < 0, 0.0, 1.0)),
    "delta": lambda x: np.where(np.isnan(x), x, np.where(x == 0, np.inf, 0.0)),
    "nandelta": lambda x: np.where(np.isnan(x), x, np.where(x == 0, np.nan, 0.0)),
    "erf": _erf,
}

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![A-Za-z_])"
    r"|(?P<name>[A-Za-z_0-9]+)|(?P<sign>[-+*/^()]))"
)


@dataclass(frozen=True, slots=True)
class Expression:
    """
    A compiled expression.

    Attributes:
        names: The properties it reads.
        evaluate: Property → values, to the expression's values; every name of *names* must
            be there. Division by zero and the like follow IEEE 754.
    """

    names: frozenset[str]
    evaluate: Evaluation


def compile_expression(text: str) -> Expression:
    """
    Return the compiled expression.

    Raises:
        ExpressionProblem: It is not one.
    """
    reader = _Reader(text)
    node = reader.sum()
    reader.expect_end()
    return Expression(frozenset(reader.names), node.evaluate)


@dataclass(frozen=True, slots=True)
class _Node:
    evaluate: Evaluation
    number: float | None = None  # its value, where it is made of literal numbers alone


def _constant(value: float, *, is_number: bool) -> _Node:
    return _Node(lambda _: np.float64(value), value if is_number else None)  # type: ignore[arg-type, return-value]  # a scalar broadcasts as an array does


def _applied(operation: Callable[..., Doubles], *operands: _Node) -> _Node:
    """The operation on the operands; on numbers its result is a number."""
    evaluations = [each.evaluate for each in operands]

    def evaluate(values: Mapping[str, Doubles]) -> Doubles:
        return operation(*(each(values) for each in evaluations))

    if any(each.number is None for each in operands):
        return _Node(evaluate)
    with np.errstate(all="ignore"):
        return _constant(float(evaluate({})), is_number=True)


def _operated(sign: str, left: _Node, right: _Node) -> _Node:
    """
    The node of an operator.

    The core's library drops a literal 0 from sums, which keeps the sign of a zero; its powers
    are 0, whatever the exponent, and ``1 ^ x`` and ``x ^ 0`` are 1.
    """
    if left.number is None or right.number is None:
        if right.number == 0 and sign in {"+", "-"}:
            return left
        if left.number == 0 and sign == "+":
            return right
        if sign == "^" and (left.number in {0, 1} or right.number == 0):
            return _constant(float(left.number != 0), is_number=True)
    return _applied(_OPERATORS[sign], left, right)


class _Reader:
    """Reads an expression from left to right, by recursive descent."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.names: set[str] = set()
        self._tokens = self._split()
        self._at = 0

    def _split(self) -> list[tuple[str, str]]:
        tokens = []
        at = 0
        text = self.text.rstrip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise ExpressionProblem(f'cannot be understood at "{text[at:].strip()[:20]}"')
            tokens.append((match.lastgroup or "", match[match.lastgroup or 0]))
            at = match.end()
        return tokens

    def sum(self) -> _Node:
        node = self._product()
        while sign := self._take("+", "-"):
            node = _operated(sign, node, self._product())
        return node

    def _product(self) -> _Node:
        node = self._signed()
        while sign := self._take("*", "/"):
            node = _operated(sign, node, self._signed())
        return node

    def _signed(self) -> _Node:
        if self._take("-"):
            return _applied(np.negative, self._signed())
        node = self._atom()
        while self._take("^"):
            node = _operated("^", node, self._signed() if self._peek() == "-" else self._atom())
        return node

    def _atom(self) -> _Node:
        if self._take("("):
            node = self.sum()
            self._expect(")")
            return node
        if self._at == len(self._tokens):
            raise ExpressionProblem("ends too early")
        kind, token = self._tokens[self._at]
        self._at += 1
        if kind == "number":
            return _constant(float(token), is_number=True)
        if kind == "name":
            return self._named(token)
        raise ExpressionProblem(f'cannot be understood at "{token}"')

    def _named(self, name: str) -> _Node:
        if name in FUNCTIONS and self._take("("):
            argument = self.sum()
            self._expect(")")
            return _applied(FUNCTIONS[name], argument)
        if name in CONSTANTS:
            return _constant(CONSTANTS[name], is_number=False)
        if name[0].isdigit():
            raise ExpressionProblem(f'cannot be understood at "{name}"')
        self.names.add(name)
        return _Node(lambda values: values[name])

    def _peek(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def _take(self, *signs: str) -> str:
        if self._peek() not in signs:
            return ""
        self._at += 1
        return self._tokens[self._at - 1][1]

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            raise ExpressionProblem(f'"{sign}" is missing')

    def expect_end(self) -> None:
        if self._at < len(self._tokens):
            raise ExpressionProblem(f'cannot be understood at "{self._peek()}"')
