"""The trial's report: scores and truths become thresholds, rates and lists."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RATE_STEP = np.float32(0.0001)  # between the thresholds tried for a false positive rate
DEFAULT_INTERVAL = 0.01  # of the threshold table
DEFAULT_THRESHOLD = np.float32(0.5)  # for the misclassified edits, where none is given


def c_float(value: float, pattern: str) -> str:
    """A number as C prints it: ``-nan`` is the NaN that arithmetic makes on x86."""
    if value != value:  # noqa: PLR0124  # only NaN differs from itself
        return "-nan" if np.signbit(value) else "nan"
    return pattern % value


@dataclass(frozen=True, slots=True)
class Trial:
    """
    What was scored.

    Attributes:
        ids: The edits' names.
        vandalism: Whether each is vandalism, shape (n_edits,).
        scores: Shape (n_edits,), 32-bit floats.
    """

    ids: Sequence[bytes]
    vandalism: NDArray[np.bool_]
    scores: NDArray[np.float32]

    @property
    def positives(self) -> int:
        """How many are vandalism."""
        return int(self.vandalism.sum())

    @property
    def negatives(self) -> int:
        """How many are not."""
        return len(self.vandalism) - self.positives

    def positives_at(self, thresholds: NDArray[np.float32]) -> NDArray[np.int64]:
        """How many edits of vandalism score at least each threshold."""
        return _at_least(self.scores[self.vandalism], thresholds)

    def false_positives_at(self, thresholds: NDArray[np.float32]) -> NDArray[np.int64]:
        """How many other edits score at least each threshold."""
        return _at_least(self.scores[~self.vandalism], thresholds)


def _at_least(scores: NDArray[np.float32], thresholds: NDArray[np.float32]) -> NDArray[np.int64]:
    ordered = np.sort(scores[~np.isnan(scores)])
    return len(ordered) - np.searchsorted(ordered, thresholds, side="left")


def thresholds(interval: np.float32) -> NDArray[np.float32]:
    """0 to 1 in steps of *interval*, accumulated in 32-bit floats."""
    count = 2 * (int(1 / interval) + 2)  # more than enough: sums in 32 bits may fall short
    steps = np.full(count, interval, np.float32)
    steps[0] = 0
    accumulated = np.cumsum(steps, dtype=np.float32)
    return accumulated[accumulated <= 1]


def ratio(part: int | NDArray[np.int64], whole: int) -> NDArray[np.float32]:
    """The quotient in 32-bit floats; NaN (as x86 makes it) where there is nothing."""
    with np.errstate(all="ignore"):
        return np.asarray(part, np.float32) / np.float32(whole)


def threshold_table(trial: Trial, interval: np.float32) -> Iterator[str]:
    """The lines of the table: threshold, correct positives, false positives."""
    yield "# Threshold Correct_Positives False_Positives\n"
    steps = thresholds(interval)
    correct = ratio(trial.positives_at(steps), trial.positives)
    false = ratio(trial.false_positives_at(steps), trial.negatives)
    for row in zip(steps.tolist(), correct.tolist(), false.tolist(), strict=True):
        yield " ".join(c_float(value, "%.4f") for value in row) + "\n"


def threshold_for(trial: Trial, rate: np.float32) -> np.float32:
    """The first threshold at which no more than *rate* of the negatives are taken; else 1."""
    steps = thresholds(RATE_STEP)
    enough = ratio(trial.false_positives_at(steps), trial.negatives) <= rate
    return np.float32(steps[enough.argmax()] if enough.any() else 1)


def report(
    trial: Trial, threshold: np.float32 | None, rate: np.float32 | None
) -> tuple[str, np.float32]:
    """The text of the report, and the threshold that the misclassified edits are listed for."""
    share = _percent(trial.positives, len(trial.vandalism))
    text = "=== REPORT ===\n"
    text += f"Trial set: {len(trial.vandalism)} Edits - {trial.positives} vandalism, "
    text += f"{trial.negatives} legit ({share} vandalism)\n"
    primary = DEFAULT_THRESHOLD
    if threshold is not None:
        primary = threshold
        text += _at_threshold(trial, threshold)
    if rate is not None:
        primary = threshold_for(trial, rate)
        allowed = f"{float(rate) * 100:.4f}%"
        text += f"With maximum false positive rate {allowed}, Threshold={primary:.4f}\n"
        text += _at_threshold(trial, primary)
    return text, primary


def _at_threshold(trial: Trial, threshold: np.float32) -> str:
    at = np.array([threshold], np.float32)
    false, correct = trial.false_positives_at(at)[0], trial.positives_at(at)[0]
    return (
        f"Using vandalism threshold {threshold:.4f}:\n"
        f"False positives: {false} ({_percent(false, trial.negatives)} of legit edits)\n"
        f"Correct positives: {correct} ({_percent(correct, trial.positives)} of vandal edits)\n"
    )


def _percent(part: int, whole: int) -> str:
    return c_float(float(ratio(part, whole)) * 100, "%.4f") + "%"


def misclassified(trial: Trial, threshold: np.float32) -> tuple[bytes, bytes]:
    """The lists of false positives and of false negatives: score and name of each edit."""
    taken = trial.scores >= threshold
    heads = ("False positives", "False negatives")
    wrong = (taken & ~trial.vandalism, ~taken & trial.vandalism)
    positives, negatives = (
        f"# {head} based on threshold {threshold:.4f}\n".encode()
        + b"".join(_scored(trial, index) for index in np.flatnonzero(where).tolist())
        for head, where in zip(heads, wrong, strict=True)
    )
    return positives, negatives


def _scored(trial: Trial, index: int) -> bytes:
    score = c_float(float(trial.scores[index]), "%.4f")
    return score.encode() + b" " + trial.ids[index] + b"\n"
