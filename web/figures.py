"""
What a trial's report says, as numbers and as small pictures.

Pure: text to numbers, numbers to the points of an SVG.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_SET = re.compile(r"Trial set: (\d+) Edits - (\d+) vandalism, (\d+) legit")
_RATES = re.compile(
    r"Using vandalism threshold (\S+):\s+"
    r"False positives: \d+ \((\S+)% of legit edits\)\s+"
    r"Correct positives: \d+ \((\S+)% of vandal edits\)"
)
_MAXIMUM = re.compile(r"With maximum false positive rate (\S+)%")


@dataclass(frozen=True, slots=True)
class Rates:
    """
    What a network does at one threshold.

    Attributes:
        threshold: Scores from here on count as vandalism, 0 to 1.
        false_positives: Percent of the constructive edits that are taken for vandalism.
        caught: Percent of the vandalism that is found.
    """

    threshold: float
    false_positives: float
    caught: float


@dataclass(frozen=True, slots=True)
class Figures:
    """
    What ``trial/report.txt`` says.

    Attributes:
        edits: Number of trial edits; of these so many are vandalism and constructive.
        vandalism: See there.
        constructive: See there.
        live: At the threshold that the bot is set to.
        strict: At the lowest threshold that keeps false positives under the maximum.
        maximum: That maximum, in percent of the constructive edits.
    """

    edits: int
    vandalism: int
    constructive: int
    live: Rates
    strict: Rates
    maximum: float


def figures(report: str) -> Figures | None:
    """Return what *report* says, or None where it is no report, or says that it cannot tell."""
    size, maximum = _SET.search(report), _MAXIMUM.search(report)
    rates = _RATES.findall(report)
    if size is None or maximum is None or len(rates) != 2:
        return None
    try:
        live, strict = (Rates(*map(_number, each)) for each in rates)
        edits, vandalism, constructive = map(int, size.groups())
        return Figures(edits, vandalism, constructive, live, strict, _number(maximum[1]))
    except ValueError:
        return None


def _number(text: str) -> float:
    """Return a finite number. Raises ValueError."""
    number = float(text)
    if not abs(number) < float("inf"):
        raise ValueError(text)
    return number


def points(values: Sequence[float], width: float, height: float) -> str:
    """
    Return the points of a line through *values*, evenly spaced, for an SVG of that size.

    The lowest value lies at the bottom, the highest at the top; equal ones in the middle.
    """
    low, high = min(values), max(values)
    across = width / max(len(values) - 1, 1)
    scale = height / (high - low) if high > low else 0.0
    ups = [(value - low) * scale if scale else height / 2 for value in values]
    return " ".join(f"{i * across:.1f},{height - up:.1f}" for i, up in enumerate(ups))


def curve(table: str, width: float, height: float) -> tuple[str, str] | None:
    """
    Return two lines for an SVG of that size: vandalism caught and false positives, by threshold.

    *table* is ``trial/thresholdtable.txt``: threshold and two shares, a line each. None where it
    is not.
    """
    rows = [line.split() for line in table.splitlines() if line and not line.startswith("#")]
    try:
        numbers = [tuple(map(_number, row)) for row in rows]
        caught = [(threshold, share) for threshold, share, _ in numbers]
        false = [(threshold, share) for threshold, _, share in numbers]
    except ValueError:
        return None
    if len(rows) < 2:
        return None
    return _line(caught, width, height), _line(false, width, height)


def _line(values: Sequence[tuple[float, float]], width: float, height: float) -> str:
    """Return the points of a line through *values*, both from 0 to 1."""
    return " ".join(f"{x * width:.1f},{height - y * height:.1f}" for x, y in values)
