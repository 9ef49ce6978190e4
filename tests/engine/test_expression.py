"""Expressions, against Python's own arithmetic and hand-worked cases."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbngtrain.engine.expression import ExpressionProblem, compile_expression

VALUES = {"a": 3.0, "b": 0.0, "c_size": 10.0, "d_1": -2.5, "minus_zero": -0.0}


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


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0 + minus_zero", "-0.0"),
        ("minus_zero - (1 - 1)", "-0.0"),
        ("0 - b", "0.0"),
        ("-0 + 0", "0.0"),
        ("0 ^ d_1", "0.0"),
        ("0 ^ b", "0.0"),
        ("0 ^ (0 ^ b)", "1.0"),
        ("(b ^ 0) ^ -1", "1.0"),
        ("0 ^ -(1 ^ b)", "inf"),
        ("minus_zero ^ 0.5", "0.0"),
        ("(-1 / b) ^ 0.5", "inf"),
    ],
)
def test_zeros_are_the_librarys(text, value):
    """A literal 0, also a computed one, is dropped from sums; its powers are 0."""
    assert str(evaluated(text)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("atanh(1e-20)", 0.0),
        ("acsch(1e10)", 1.000000082690371e-10),
        ("asinh(-1 / b)", math.nan),
        ("acoth(1 / b)", math.nan),
        ("step(b / b)", math.nan),
        ("delta(b / b)", math.nan),
        ("acosh(c_size)", 2.993222846126381),
        ("asech(.5)", 1.3169578969248166),
    ],
)
def test_functions_are_the_librarys(text, value):
    """Inverse hyperbolic functions are logarithms; NaN is nowhere a step."""
    assert evaluated(text) == pytest.approx(value, rel=1e-15, abs=0, nan_ok=True)


@pytest.mark.parametrize(
    ("text", "sign"),
    [("log(d_1)", "-"), ("d_1 ^ .5", "-"), ("sin(1 / b)", "-"), ("asin(a)", ""), ("-log(d_1)", "")],
)
def test_the_sign_of_nan_is_the_c_librarys(text, sign):
    """It is printed: most make -nan, the inverse sine nan."""
    assert str(abs(evaluated(text))) == "nan"
    assert np.signbit(evaluated(text)) == (sign == "-")


@pytest.mark.parametrize("text", ["", "1 +", "(a", "a)", "a b", "2a", "a $ b", "sin a", "()"])
def test_what_is_none_is_refused(text):
    """With a reason."""
    with pytest.raises(ExpressionProblem):
        compile_expression(text)
