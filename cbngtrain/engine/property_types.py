"""Property types: what the text of an element becomes."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

INT_LIMIT = 2**31  # the core keeps numbers in 32 bits
SHOWN = 40  # bytes of a value in a message

TRUE = frozenset({"t", "true", "y", "yes", "1"})
FALSE = frozenset({"f", "false", "n", "no", "0"})

_ATOI = re.compile(r"[ \t\n\v\f]*([+-]?\d+)")
_ATOF = re.compile(r"[ \t\n\v\f]*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)")


def shown(value: str) -> str:
    """The beginning of a value, on one line."""
    return " ".join(value[:SHOWN].split())


def _string(value: str) -> bytes:
    """The text without carriage returns, which the native core drops."""
    return value.replace("\r", "").encode()


def _integer(value: str) -> int:
    """What C's ``atoi`` makes of it, where that is well-defined and makes sense in an edit."""
    if not value.strip():
        return 0
    match = _ATOI.match(value)
    if match is None:
        raise ValueError(f'"{shown(value)}" is not a number')
    digits = match[1]
    if len(digits) > SHOWN or not 0 <= int(digits) < INT_LIMIT:
        raise ValueError(f"{shown(digits)} is not between 0 and {INT_LIMIT - 1}")
    return int(digits)


def _number(value: str) -> float:
    if not value.strip():
        return 0.0
    match = _ATOF.match(value)
    if match is None:
        raise ValueError(f'"{shown(value)}" is not a number')
    return float(np.float32(match[1]))


def _boolean(value: str) -> bool:
    word = value.lower()
    if word not in TRUE | FALSE:
        raise ValueError(f'"{shown(value)}" is neither true nor false')
    return word in TRUE


CONVERSIONS: Mapping[str, Callable[[str], Any]] = {
    "string": _string,
    "int": _integer,
    "datetime": _integer,
    "float": _number,
    "bool": _boolean,
}
"""Type → from text to value; raises ValueError where the text is none of its kind."""
