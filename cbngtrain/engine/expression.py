"""
Arithmetic expressions over properties: a small compiler to operations on arrays.

Grammar and functions are those of the native core's expression library: ``+ - * / ^`` (all of
them group from the left; ``^`` binds tighter than a sign), parentheses, functions of one
argument, named constants; every other name is a property's.
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

_erf = np.vectorize(math.erf, otypes=[np.float64])

FUNCTIONS: dict[str, Callable[[Doubles], Doubles]] = {
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "cot": lambda x: 1 / np.tan(x),
    "sec": lambda x: 1 / np.cos(x),
    "csc": lambda x: 1 / np.sin(x),
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "acot": lambda x: np.arctan(1 / x),
    "asec": lambda x: np.arccos(1 / x),
    "acsc": lambda x: np.arcsin(1 / x),
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "coth": lambda x: 1 / np.tanh(x),
    "sech": lambda x: 1 / np.cosh(x),
    "csch": lambda x: 1 / np.sinh(x),
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "acoth": lambda x: np.arctanh(1 / x),
    "asech": lambda x: np.arccosh(1 / x),
    "acsch": lambda x: np.arcsinh(1 / x),
    "abs": np.abs,
    "step": lambda x: np.where(x < 0, 0.0, 1.0),
    "delta": lambda x: np.where(x == 0, np.inf, 0.0),
    "nandelta": lambda x: np.where(x == 0, np.nan, 0.0),
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
    constant: float | None = None  # the value of a literal number


def _number(value: float) -> _Node:
    return _Node(lambda _: np.float64(value), value)  # type: ignore[arg-type, return-value]  # a scalar broadcasts as an array does


def _combined(operation: Callable[[Doubles, Doubles], Doubles], left: _Node, right: _Node) -> _Node:
    a, b = left.evaluate, right.evaluate
    return _Node(lambda values: operation(a(values), b(values)))


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
            other = self._product()
            if other.constant == 0:
                continue  # the core's library drops it, which keeps the sign of a zero
            node = _combined(np.add if sign == "+" else np.subtract, node, other)
        return node

    def _product(self) -> _Node:
        node = self._signed()
        while sign := self._take("*", "/"):
            node = _combined(np.multiply if sign == "*" else np.divide, node, self._signed())
        return node

    def _signed(self) -> _Node:
        if self._take("-"):
            inner = self._signed().evaluate
            return _Node(lambda values: np.negative(inner(values)))
        node = self._atom()
        while self._take("^"):
            exponent = self._signed() if self._peek() == "-" else self._atom()
            node = _combined(np.power, node, exponent)
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
            return _number(float(token))
        if kind == "name":
            return self._named(token)
        raise ExpressionProblem(f'cannot be understood at "{token}"')

    def _named(self, name: str) -> _Node:
        if name in FUNCTIONS and self._take("("):
            argument = self.sum().evaluate
            self._expect(")")
            function = FUNCTIONS[name]
            return _Node(lambda values: function(argument(values)))
        if name in CONSTANTS:
            return _number(CONSTANTS[name])
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
