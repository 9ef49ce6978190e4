"""Property types: what the text of an element becomes."""

import ctypes
import re
from collections.abc import Callable, Mapping
from typing import Any

INT_LIMIT = 2**31  # the core keeps numbers in 32 bits
SHOWN = 40  # characters of a value in a message

TRUE = frozenset({"t", "true", "y", "yes", "1"})
FALSE = frozenset({"f", "false", "n", "no", "0"})

_ATOI = re.compile(r"[ \t\n\v\f]*([+-]?)0*([0-9]+)")

_STRTOD = ctypes.CDLL(None).strtod  # hexadecimal, "inf", the last digit: as the native core's
_STRTOD.restype = ctypes.c_double
_STRTOD.argtypes = (ctypes.c_char_p, ctypes.POINTER(ctypes.c_void_p))


def shown(value: str) -> str:
    """The beginning of a value, on one line."""
    return " ".join(value[:SHOWN].split())


def converted(value: str, kind: str) -> Any:
    """
    The value of the type *kind* that the text of an element is.

    Carriage returns are dropped first, as the native core does.

    Raises:
        ValueError: The text is none of its kind.
    """
    return CONVERSIONS[kind](value.replace("\r", ""))


def _integer(value: str) -> int:
    """What C's ``atoi`` makes of it, where that is well-defined and makes sense in an edit."""
    if not value.strip():
        return 0
    match = _ATOI.match(value)
    if match is None:
        raise ValueError(f'"{shown(value)}" is not a number')
    digits = match[1] + match[2]
    if len(digits) > len(str(-INT_LIMIT)) or not 0 <= int(digits) < INT_LIMIT:
        raise ValueError(f"{shown(digits)} is not between 0 and {INT_LIMIT - 1}")
    return int(digits)


def _number(value: str) -> float:
    """What C's ``atof`` makes of it, as a 32-bit float; infinite where it is too large for one."""
    text = ctypes.c_char_p(value.encode())
    end = ctypes.c_void_p()
    number = _STRTOD(text, ctypes.byref(end))
    if end.value == ctypes.cast(text, ctypes.c_void_p).value and value.strip():
        raise ValueError(f'"{shown(value)}" is not a number')
    return float(ctypes.c_float(number).value)


def _boolean(value: str) -> bool:
    word = value.lower()
    if word not in TRUE | FALSE:
        raise ValueError(f'"{shown(value)}" is neither true nor false')
    return word in TRUE


CONVERSIONS: Mapping[str, Callable[[str], Any]] = {
    "string": str.encode,
    "int": _integer,
    "datetime": _integer,
    "float": _number,
    "bool": _boolean,
}
"""Type → from text without carriage returns to value, or ValueError."""
