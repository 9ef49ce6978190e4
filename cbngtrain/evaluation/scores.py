"""A trial as it was scored: ``details.txt`` becomes arrays."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cbngtrain.evaluation.errors import EvaluationError, FormatError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

TRUTHS = {"true": True, "false": False}

_EDIT_ID = re.compile(rb"<EditID>\s*([^<\s]+)\s*</EditID>")


@dataclass(frozen=True, slots=True)
class Trial:
    """
    Edits, what they are and how they were scored.

    Attributes:
        ids: The edits' names, in the order of the file; an edit may stand there twice.
        vandalism: Whether each is vandalism, shape (n_edits,).
        scores: Shape (n_edits,), each in [0, 1]: 1 is certainly vandalism.
    """

    ids: tuple[str, ...]
    vandalism: Bools
    scores: Floats

    @property
    def repeated(self) -> int:
        """How many lines tell of an edit that was told of before."""
        return len(self.ids) - len(set(self.ids))


def read_details(path: Path) -> Trial:
    """
    Return the trial that the lines ``editid=…, isvandalism=…, score=…, …`` of *path* tell of.

    Raises:
        EvaluationError: The file cannot be read.
        FormatError: A line lacks one of the three, a truth is neither true nor false, or a score
            is no number in [0, 1].
    """
    ids, truths, scores = [], [], []
    for number, line in enumerate(_lines(path), 1):
        try:
            name, truth, score = _detail(line)
        except ValueError as error:
            raise FormatError(path, number, str(error)) from error
        ids.append(name)
        truths.append(truth)
        scores.append(score)
    return Trial(tuple(ids), np.array(truths, np.bool_), np.array(scores, np.float64))


def _lines(path: Path) -> list[str]:
    text = _bytes(path).decode("ascii", "backslashreplace")
    lines = text.split("\n")
    if lines.pop():  # a number that is cut is a number still
        raise FormatError(path, len(lines) + 1, "is cut: it does not end with a newline")
    return lines


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise EvaluationError(f"{path}: cannot be read: {error.strerror or error}") from error


def _detail(line: str) -> tuple[str, bool, float]:
    """Return name, truth and score. Raises ValueError, which says what is wrong."""
    fields = dict(_field(part) for part in line.split(", "))
    lacking = [name for name in ("editid", "isvandalism", "score") if not fields.get(name)]
    if lacking:
        raise ValueError(f"has no {lacking[0]}: {line[:60]!r}")
    if fields["isvandalism"] not in TRUTHS:
        raise ValueError(f"isvandalism is neither true nor false: {fields['isvandalism'][:40]!r}")
    return fields["editid"], TRUTHS[fields["isvandalism"]], _score(fields["score"])


def _field(part: str) -> tuple[str, str]:
    name, _, value = part.partition("=")
    return name, value


def _score(text: str) -> float:
    try:
        score = float(text)
    except ValueError:
        raise ValueError(f"the score is no number: {text[:40]!r}") from None
    if not 0 <= score <= 1:  # NaN is not either
        raise ValueError(f"the score is not in 0…1: {text[:40]!r}")
    return score


def read_ids(path: Path) -> frozenset[str]:
    """
    Return the names of edits in *path*: an edit set in XML, or one name a line.

    Raises:
        EvaluationError: The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            is_xml = file.read(1) == b"<"
            file.seek(0)
            return frozenset(_ids_in_xml(file) if is_xml else _ids_in_lines(file))
    except OSError as error:
        raise EvaluationError(f"{path}: cannot be read: {error.strerror or error}") from error


def _ids_in_xml(lines: Iterator[bytes]) -> Iterator[str]:
    for line in lines:
        for match in _EDIT_ID.finditer(line):
            yield match[1].decode("ascii", "backslashreplace")


def _ids_in_lines(lines: Iterator[bytes]) -> Iterator[str]:
    for line in lines:
        if name := line.strip():
            yield name.decode("ascii", "backslashreplace")
