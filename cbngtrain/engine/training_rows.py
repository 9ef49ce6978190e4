"""
A network's training file: what the network is to learn, row by row.

The first line is ``rows inputs outputs``; then two lines per row, its inputs and its wanted
outputs, numbers joined by spaces (the core's neuralnet.hpp, ``WriteAnnTrainingData``).
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cbngtrain.engine.errors import FormatError

Floats = npt.NDArray[np.float32]

_DECIMALS = 10  # the core writes "%.10f"
_WIDTH = len("0.") + _DECIMALS + len(" ")  # bytes of a number below 10, and what follows it

_NUMBERS_AT_ONCE = 1 << 14  # their digits as 64-bit floats fill a 1 MB cache


class TrainingRows(NamedTuple):
    """
    The rows of a training file, in canonical order.

    Attributes:
        inputs: Shape (n_rows, n_inputs).
        wanted: Shape (n_rows, n_outputs).
    """

    inputs: Floats
    wanted: Floats


def read_training_rows(path: Path) -> TrainingRows:
    """
    Return the rows of *path* in canonical order: by input line, then output line, as bytes.

    The core writes rows in any order; files that differ in nothing else give the same arrays.

    Raises:
        FormatError: The file is missing, empty, cut, or has a line that is not what the first
            line promises, or a number that is not finite; with the line.
    """
    lines = _lines(path)
    n_rows, n_inputs, n_outputs = _header(path, lines[0])
    if len(lines) != 1 + 2 * n_rows:
        where = f"line {min(len(lines), 1 + 2 * n_rows) + 1}"
        rows = (len(lines) - 1) / 2
        raise FormatError(path, where, f"line 1 promises {n_rows} rows, but there are {rows:g}")
    inputs, wanted = lines[1::2], lines[2::2]
    order = sorted(range(n_rows), key=lambda row: (inputs[row], wanted[row]))
    return TrainingRows(
        _numbers(path, n_inputs, [(2 * row + 2, inputs[row]) for row in order]),
        _numbers(path, n_outputs, [(2 * row + 3, wanted[row]) for row in order]),
    )


def _lines(path: Path) -> list[bytes]:
    """Return the lines of *path*; FormatError where there are none or the last is cut."""
    try:
        *lines, rest = path.read_bytes().split(b"\n")
    except OSError as error:
        raise FormatError(path, "", f"cannot be read: {error.strerror}") from error
    if rest:
        raise FormatError(path, f"line {len(lines) + 1}", "is cut: no newline ends it")
    if not lines:
        raise FormatError(path, "line 1", "is empty")
    return lines


def _header(path: Path, line: bytes) -> tuple[int, int, int]:
    """Return the first line's three numbers: rows, inputs, outputs."""
    numbers = re.fullmatch(rb"([1-9]\d{0,8}) ([1-9]\d{0,8}) ([1-9]\d{0,8})\s*", line)
    if not numbers:
        raise FormatError(path, "line 1", "is not 'rows inputs outputs', three numbers above 0")
    n_rows, n_inputs, n_outputs = map(int, numbers.groups())
    return n_rows, n_inputs, n_outputs


def _numbers(path: Path, count: int, lines: Sequence[tuple[int, bytes]]) -> Floats:
    """
    Return *count* numbers from each of *lines*, shape (n_lines, count).

    Args:
        path: For errors.
        count: How many numbers a line must have.
        lines: Line numbers for errors, and the lines.
    """
    numbers = fixed_width_numbers(count, (line for _, line in lines))
    if numbers is None:
        numbers = np.array([_line_numbers(path, number, line, count) for number, line in lines])
    return numbers.astype(np.float32)


def fixed_width_numbers(count: int, lines: Iterable[bytes]) -> npt.NDArray[np.float64] | None:
    """
    Return the numbers of *lines* if each line is *count* numbers ``d.dddddddddd``, else None.

    That is how the core writes what lies in 0…10, and so nearly all that it writes. All the
    digits are taken as one array: eight times as fast as reading number by number (measured).
    A number's digits make a whole number below 2**53, so dividing it rounds correctly.
    """
    length = count * _WIDTH
    text = bytearray()
    n_lines = 0
    for line in lines:
        if len(line) != length - 1:
            return None
        text += line
        text += b" "
        n_lines += 1
    fields = np.frombuffer(text, np.uint8).reshape(-1, _WIDTH)
    place = 10.0 ** np.arange(_DECIMALS, -1, -1)
    numbers = np.empty(len(fields))
    for start in range(0, len(fields), _NUMBERS_AT_ONCE):
        some = fields[start : start + _NUMBERS_AT_ONCE]
        digits = np.delete(some, (1, _WIDTH - 1), axis=1) - np.uint8(ord("0"))  # wraps below "0"
        if digits.max() > 9 or (some[:, (1, -1)] != (ord("."), ord(" "))).any():
            return None
        np.matmul(digits.astype(np.float64), place, out=numbers[start : start + _NUMBERS_AT_ONCE])
    return (numbers / 10.0**_DECIMALS).reshape(n_lines, count)


def _line_numbers(path: Path, number: int, line: bytes, count: int) -> npt.NDArray[np.float64]:
    """Return the *count* numbers of one line, whatever their width."""
    words = line.split()
    if len(words) != count:
        raise FormatError(path, f"line {number}", f"{len(words)} numbers where {count} belong")
    if b"_" in line:  # Python's numbers may have them
        raise FormatError(path, f"line {number}", "there is a number that is none")
    try:
        numbers = np.array([float(word) for word in words])
    except ValueError as error:
        raise FormatError(path, f"line {number}", str(error)) from error
    if not (np.abs(numbers) <= np.finfo(np.float32).max).all():
        raise FormatError(path, f"line {number}", "a number is not finite in 32 bits")
    return numbers
