"""Expressions, against Python's own arithmetic and hand-worked cases."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbngtrain.engine.expression import ExpressionProblem, compile_expression

VALUES = {"a": 3.0, "b": 0.0, "c_size": 10.0, "d_1": -2.5}


def evaluated(text: str) -> float:
    """The expression's value over `VALUES`."""
    compiled = compile_expression(text)
    with np.errstate(all="ignore"):
        return float(compiled.evaluate({name: np.array(VALUES[name]) for name in compiled.names}))


numbers = st.sampled_from(["1", "2.5", ".125", "1e2", "a", "c_size", "d_1"])
trees = st.recursive(
    numbers,
    lambda inner: (
        st.tuples(inner, st.sampled_from("+-*"), inner).map(" ".join)
        | inner.map("({})".format)
        | inner.map("-({})".format)
    ),
    max_leaves=12,
)


@given(trees)
def test_arithmetic_is_pythons(text):
    """Precedence, parentheses and signs are as everywhere."""
    assert evaluated(text) == pytest.approx(eval(text, {}, VALUES), rel=1e-12)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2 ^ 3 ^ 2", 64.0),  # from the left, as in the core's library
        ("-2 ^ 2", -4.0),
        ("8 / 4 / 2", 1.0),
        ("1 - 1 / (.009 * a + 1.0)", 1 - 1 / (0.009 * 3 + 1)),
        ("a / b", math.inf),
        ("-a / b", -math.inf),
        ("log(exp(a))", 3.0),
        ("step(d_1) + step(a)", 1.0),
        ("sqrt(pi ^ 2) - pi", 0.0),
    ],
)
def test_hand_worked(text, value):
    """Powers group from the left, division follows IEEE, functions and constants are there."""
    assert evaluated(text) == pytest.approx(value)


def test_nothing_divided_by_nothing_is_the_nan_of_x86():
    """Its sign bit is set: the core prints it as -nan, and so it stays through sums."""
    assert np.signbit(evaluated("1 + b / b"))
    assert math.isnan(evaluated("1 + b / b"))


@pytest.mark.parametrize("text", ["", "1 +", "(a", "a)", "a b", "2a", "a $ b", "sin a", "()"])
def test_what_is_none_is_refused(text):
    """With a reason."""
    with pytest.raises(ExpressionProblem):
        compile_expression(text)
