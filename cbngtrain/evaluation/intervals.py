"""How sure a figure is: intervals for shares and from resampling."""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from statistics import NormalDist
from threading import Event, Lock
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cbngtrain.evaluation.measures import Tally, point_at_rate, tally
from cbngtrain.evaluation.scores import Floats

LEVEL = 0.95  # of every interval

Statistic = Callable[[Tally], float]
Indices = NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """
    A number, how sure it is, or why there is none.

    Attributes:
        value: None where there is none.
        low: The lower end of its interval at `LEVEL`; None where there is none.
        high: The upper end.
        method: How the interval was found; empty where there is none.
        reason: Why there is no number; empty where there is one.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    method: str = ""
    reason: str = ""

    @classmethod
    def missing(cls, reason: str) -> Self:
        """No number, and why."""
        return cls(value=None, reason=reason)

    def to_json(self) -> dict[str, Any]:
        """Return the number and its interval, or the reason why there is none."""
        if self.value is None:
            return {"value": None, "reason": self.reason}
        if self.low is None:
            return {"value": self.value}
        return {"value": self.value, "low": self.low, "high": self.high, "method": self.method}


def wilson(part: int, whole: int, level: float = LEVEL) -> tuple[float, float]:
    """
    Return the score interval of the share *part* / *whole*; *whole* is at least 1.

    Wilson, Journal of the American Statistical Association 22, 1927. It stays within [0, 1] and
    has a width where *part* is 0 or *whole*.
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    centre = (part + z**2 / 2) / (whole + z**2)
    half = z / (whole + z**2) * math.sqrt(part * (whole - part) / whole + z**2 / 4)
    low = 0.0 if part == 0 else centre - half
    high = 1.0 if part == whole else centre + half
    return low, high


def share_of(part: int, whole: int, nothing: str) -> Figure:
    """Return *part* / *whole* with Wilson's interval; *nothing*: what it means if *whole* is 0."""
    if not whole:
        return Figure.missing(nothing)
    low, high = wilson(part, whole)
    return Figure(value=part / whole, low=low, high=high, method="wilson")


def percentiles(samples: Floats, level: float = LEVEL) -> tuple[float, float]:
    """
    Return the percentile interval of bootstrapped values, shape (n_samples,).

    Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    low, high = np.quantile(samples, ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)


def sampled(value: float, samples: Floats) -> Figure:
    """Return *value* with the percentile interval of its *samples*, (n_samples,), and in it."""
    low, high = percentiles(samples)
    return Figure(value=value, low=min(low, value), high=max(high, value), method="bootstrap")


def sampled_share(part: int, whole: int, samples: Floats) -> Figure:
    """
    Return *part* / *whole* with the percentile interval of its bootstrapped *samples*.

    It is never narrower than Wilson's, which takes the threshold as known: samples that are all
    equal, such as where all vandalism is caught, know of no error.
    """
    (low, high), known = percentiles(samples), wilson(part, whole)
    low, high = min(low, known[0]), max(high, known[1])
    return Figure(value=part / whole, low=low, high=high, method="bootstrap")


def draws(
    vandalism: int, constructive: int, samples: int, seed: int
) -> Iterator[tuple[Indices, Indices]]:
    """
    Yield *samples* times which edits a resampled trial is made of, per class.

    The classes are resampled apart (Efron & Tibshirani, chapter 8), so each trial has as many
    edits of each as the real one: shapes (vandalism,) and (constructive,), indices from 0. The
    same *seed* gives the same samples.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    for _ in range(samples):
        yield (
            random.integers(vandalism, size=vandalism, dtype=np.int32),
            random.integers(constructive, size=constructive, dtype=np.int32),
        )


def bootstrap(edits: Tally, statistics: Sequence[Statistic], samples: int, seed: int) -> Floats:
    """
    Return *statistics* of resampled trials, shape (samples, n_statistics).

    A resampled trial is counted, not sorted: its scores are among those of *edits*.
    """
    levels = np.arange(len(edits.scores), dtype=np.int32)
    of_vandalism = np.repeat(levels, edits.vandalism)  # (positives,): each edit's level
    of_constructive = np.repeat(levels, edits.constructive)  # (negatives,)

    def row(bad: Indices, good: Indices) -> list[float]:
        trial = recounted(edits.scores, of_vandalism[bad], of_constructive[good])
        return [statistic(trial) for statistic in statistics]

    drawn = draws(edits.positives, edits.negatives, samples, seed)
    return measured(drawn, row, np.empty((samples, len(statistics))))


def measured(
    drawn: Iterator[tuple[Indices, Indices]],
    row: Callable[[Indices, Indices], ArrayLike],
    found: Floats,
) -> Floats:
    """
    Return *found* with the *row* of each of the trials *drawn*, on all processors at once.

    Threads do, as numpy lets others work while it counts. Each takes the next trial in turn, so how
    many there are changes nothing in what is found.
    """
    numbered = enumerate(drawn)
    turn = Lock()
    is_over = Event()

    def work() -> None:
        while not is_over.is_set():
            with turn:
                if (drawing := next(numbered, None)) is None:
                    return
            number, (bad, good) = drawing
            found[number] = row(bad, good)

    processors = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(processors) as pool:
        try:
            for worker in [pool.submit(work) for _ in range(processors)]:
                worker.result()
        finally:
            is_over.set()  # after Ctrl-C, which only this thread is told of, nobody draws on
    return found


def recounted(scores: Floats, vandalism: Indices, constructive: Indices) -> Tally:
    """
    Return the tally of edits whose levels are given.

    Args:
        scores: The distinct scores, falling, shape (n_levels,).
        vandalism: The level of each edit of vandalism, shape (n_positives,).
        constructive: The level of each constructive edit, shape (n_negatives,).
    """
    size = len(scores)
    bad, good = np.bincount(vandalism, minlength=size), np.bincount(constructive, minlength=size)
    return tally(scores, bad, good)


def recall_in_samples(edits: Tally, rate: float) -> Statistic:
    """
    Return the function that tells the recall at *rate* that a resampled trial lets one expect.

    The threshold of a rate that allows a handful of false positives is hardly known, and resampling
    repeats the handful: where it allows 3, the plain percentile interval holds the truth in 90 % of
    trials. Counting is surer. The constructive edits above the true threshold are as many as
    chance draws at that rate, whatever the scores (Woodruff, Journal of the American Statistical
    Association 47, 1952). A resample draws them: as many as it has above the threshold of *edits*.
    So many are then passed from the top of *edits*; the true threshold lies between the last
    of them and the next edit, and the mean recall of the two ends counts. What the rate leaves of
    a tie, or of an edit, counts as that part of it.
    """
    at = point_at_rate(edits, rate)
    levels = int(np.searchsorted(edits.wronged, at.false_positives, side="right"))
    left = Fraction(str(rate)) * edits.negatives - at.false_positives
    part = float(left / int(edits.constructive[levels])) if levels < len(edits.scores) else 0.0

    def recall(sample: Tally) -> float:
        above = int(sample.wronged[levels - 1]) if levels else 0
        if part:
            above += math.floor(part * int(sample.constructive[levels]) + 0.5)
        ends = np.searchsorted(edits.wronged, (above - 1, above), side="right")
        caught = [int(sample.caught[end - 1]) if end else 0 for end in ends.tolist()]
        return sum(caught) / (2 * edits.positives)

    return recall
