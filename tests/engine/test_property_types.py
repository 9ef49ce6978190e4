"""Property types: the value of a text is what the C library's functions make of it."""

import ctypes
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbngtrain.engine.property_types import converted

C = ctypes.CDLL(None)
C.atof.restype = ctypes.c_double


def _bits(value: float) -> bytes:
    """The bytes of a 32-bit float: a NaN is one like any other, with its sign."""
    return struct.pack("f", value) if math.isfinite(value) else repr(value).encode()


FLOATS = {
    "hexadecimal": ("0x1.8p3", 12.0),
    "infinite": ("inf", math.inf),
    "infinite, in full": ("-Infinity", -math.inf),
    "too large for a double": ("1e999", math.inf),
    "too large for 32 bits": ("-1e39", -math.inf),
    "too small": ("1e-60", 0.0),
    "rounded twice": ("1.00000017881393432617187500001", 1.000000238418579),
    "rubbish behind": ("1.5e-3x", 0.001500000013038516),
    "an exponent that is none": ("1e+", 1.0),
    "blanks and a sign before": (" \n\t+.5", 0.5),
    "carriage returns inside": ("1\r2\r.5", 12.5),
    "other digits behind": ("7\u0663", 7.0),
    "empty": ("", 0.0),
    "blank": (" \n", 0.0),
}


@pytest.mark.parametrize(("text", "value"), FLOATS.values(), ids=FLOATS)
def test_floats_are_taken_as_atof_takes_them(text, value):
    """And then have 32 bits."""
    assert converted(text, "float") == value


@pytest.mark.parametrize(("text", "sign"), [("nan", 1), ("-NaN(7)x", -1)])
def test_not_a_number_is_a_float_with_a_sign(text, sign):
    """A dump shows it."""
    value = converted(text, "float")
    assert (math.isnan(value), math.copysign(1, value)) == (True, sign)


@pytest.mark.parametrize("text", ["heavy", "-", ".", "e5", "\u0663", "+-1", "- 1", "\u00a01"])
def test_a_text_without_a_number_is_no_float_and_no_int(text):
    """The native core takes it for 0."""
    message = "is not a number"
    with pytest.raises(ValueError, match=message):
        converted(text, "float")
    with pytest.raises(ValueError, match=message):
        converted(text, "int")


numerals = st.text("0123456789.eE+-xXpPaAbBfFnNiIty() \t\n", min_size=1, max_size=12)
numbers = st.floats().map(repr) | st.floats(width=32).map(float.hex) | numerals


@given(text=numbers)
def test_any_float_is_atofs(text):
    """Whatever is accepted has the bits that a conversion in C gives it."""
    try:
        value = converted(text, "float")
    except ValueError:
        value = 0.0
    assert _bits(value) == _bits(ctypes.c_float(C.atof(text.encode())).value)


INTS = {
    "hexadecimal": ("0x10", 0),
    "a fraction": ("1.9", 1),
    "an exponent": ("1e3", 1),
    "many zeros": ("0" * 60 + "17", 17),
    "a minus and zeros": ("-000", 0),
    "the greatest": ("2147483647", 2147483647),
    "carriage returns inside": ("1\r2", 12),
    "other digits behind": ("7\u0663", 7),
    "a number behind": (" 1 2", 1),
}


@pytest.mark.parametrize(("text", "value"), INTS.values(), ids=INTS)
def test_ints_are_taken_as_atoi_takes_them(text, value):
    """Decimal digits of ASCII, and nothing behind them."""
    assert converted(text, "int") == C.atoi(text.replace("\r", "").encode()) == value


@pytest.mark.parametrize("text", ["2147483648", "-1", "-2147483649", "9" * 30, "-" + "9" * 30])
def test_ints_that_the_core_would_overflow_or_that_no_edit_has_are_refused(text):
    """The message has the limits."""
    with pytest.raises(ValueError, match="is not between 0 and 2147483647"):
        converted(text, "int")


@pytest.mark.parametrize("text", ["t", "TRUE", "Y", "yEs", "1", "tr\rue"])
def test_true_in_any_case(text):
    """Carriage returns inside do not matter."""
    assert converted(text, "bool") is True


@pytest.mark.parametrize("text", ["f", "FALSE", "N", "nO", "0", "\r0"])
def test_false_in_any_case(text):
    """The native core takes all else for false; here it is these."""
    assert converted(text, "bool") is False


@pytest.mark.parametrize("text", ["", " true", "true ", "01", "2", "ye\u017f", "tr\u00fce"])
def test_what_is_neither_is_refused(text):
    """The native core would train on it as constructive."""
    with pytest.raises(ValueError, match="is neither true nor false"):
        converted(text, "bool")
