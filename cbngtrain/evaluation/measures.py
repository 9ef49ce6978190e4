"""
What a network's scores are worth: ranking, operating points, calibration.

All is counted on a `Tally`, the number of edits of each class at each distinct score, highest
first. So equal scores are never told apart: a threshold catches all of them or none, and an edit is
caught if its score is at least the threshold.

A measure needs at least one edit of each class; `brier` one edit, `calibration` none.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from cbngtrain.evaluation.scores import Floats, Trial

Counts = NDArray[np.int64]

MAX_FPR = 0.01  # of the partial AUC (issue 6)
N_BINS = 10  # of the calibration, of equal width


@dataclass(frozen=True, slots=True)
class Tally:
    """
    How many edits of each class have each score, highest score first.

    Attributes:
        scores: The distinct scores, falling, shape (n_levels,), each in [0, 1].
        vandalism: Edits of vandalism with each, shape (n_levels,), none negative.
        constructive: Constructive edits with each, shape (n_levels,).
        caught: Vandalism with that score or a higher one, shape (n_levels,).
        wronged: Constructive edits with that score or a higher one, shape (n_levels,).
    """

    scores: Floats
    vandalism: Counts
    constructive: Counts
    caught: Counts
    wronged: Counts

    @property
    def positives(self) -> int:
        """How many edits are vandalism."""
        return int(self.caught[-1]) if len(self.caught) else 0

    @property
    def negatives(self) -> int:
        """How many edits are constructive."""
        return int(self.wronged[-1]) if len(self.wronged) else 0


def tally(scores: Floats, vandalism: Counts, constructive: Counts) -> Tally:
    """Return the tally of distinct falling *scores* and the edits of each class with each."""
    return Tally(scores, vandalism, constructive, vandalism.cumsum(), constructive.cumsum())


def tally_of(trial: Trial) -> Tally:
    """Return the tally of *trial*."""
    scores, levels = levels_of(trial.scores)
    size = len(scores)
    vandalism = np.bincount(levels[trial.vandalism], minlength=size)
    return tally(scores, vandalism, np.bincount(levels, minlength=size) - vandalism)


def levels_of(scores: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """Return the distinct *scores*, falling, and which of them each of *scores*, shape (n,), is."""
    distinct, inverse = np.unique(scores, return_inverse=True)
    return np.ascontiguousarray(distinct[::-1]), len(distinct) - 1 - inverse


# Ranking ---------------------------------------------------------------------------------------


def roc_auc(edits: Tally) -> float:
    """
    Return the area under the ROC curve, in [0, 1].

    It is the chance that an edit of vandalism scores higher than a constructive one, equal scores
    counting one half (Hanley & McNeil, Radiology 143, 1982), counted in whole numbers.
    """
    higher = 2 * edits.caught - edits.vandalism  # twice the pairs won by vandalism, per level
    return int(edits.constructive @ higher) / (2 * edits.positives * edits.negatives)


def partial_auc(edits: Tally, max_fpr: float = MAX_FPR) -> float:
    """
    Return the area under the ROC curve from a false positive rate of 0 to *max_fpr*, raw.

    Between two thresholds the curve is a straight line, also where *max_fpr* cuts it. The result
    is in [0, max_fpr].
    """
    inside = int(np.searchsorted(edits.wronged, max_fpr * edits.negatives, side="right"))
    higher = 2 * edits.caught[:inside] - edits.vandalism[:inside]  # as in `roc_auc`
    area = int(edits.constructive[:inside] @ higher) / (2 * edits.positives * edits.negatives)
    corners = range(max(inside - 1, 0), min(inside + 1, len(edits.scores)))  # around max_fpr
    fpr = [0.0] * (not inside) + [int(edits.wronged[i]) / edits.negatives for i in corners]
    recall = [0.0] * (not inside) + [int(edits.caught[i]) / edits.positives for i in corners]
    at_end = float(np.interp(max_fpr, fpr, recall))
    return area + (max_fpr - fpr[0]) * (recall[0] + at_end) / 2


def standardised(area: float, max_fpr: float = MAX_FPR) -> float:
    """
    Return a raw partial area on a scale where 0.5 is chance and 1 is perfect.

    McClish, Medical Decision Making 9, 1989; scikit-learn's ``roc_auc_score(max_fpr=…)``.
    """
    chance = max_fpr**2 / 2
    return 0.5 * (1 + (area - chance) / (max_fpr - chance))


def average_precision(edits: Tally) -> float:
    """Return Σ (recall gained at a threshold · precision there), in [0, 1]; no interpolation."""
    seen = np.maximum(edits.caught + edits.wronged, 1)  # a resampled trial may begin with nothing
    return float((edits.vandalism * (edits.caught / seen)).sum() / edits.positives)


def brier(edits: Tally) -> float:
    """Return the mean of (score - truth)² over the edits, in [0, 1], 0 is best (Brier 1950)."""
    missed = (edits.vandalism * (1 - edits.scores) ** 2).sum()
    false_alarms = (edits.constructive * edits.scores**2).sum()
    return float(missed + false_alarms) / (edits.positives + edits.negatives)


# Operating points ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Point:
    """
    What a threshold does.

    Attributes:
        threshold: An edit is caught if its score is at least this; None catches nothing.
        true_positives: Vandalism that is caught.
        false_positives: Constructive edits that are caught.
        false_negatives: Vandalism that is not caught.
        true_negatives: Constructive edits that are not caught.
    """

    threshold: float | None
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    @property
    def recall(self) -> float:
        """The share of the vandalism that is caught."""
        return self.true_positives / (self.true_positives + self.false_negatives)

    @property
    def fpr(self) -> float:
        """The share of the constructive edits that is caught."""
        return self.false_positives / (self.false_positives + self.true_negatives)


def point(edits: Tally, levels: int) -> Point:
    """Return the operating point that catches the *levels* highest distinct scores."""
    caught, wronged, threshold = 0, 0, None
    if levels:
        caught, wronged = int(edits.caught[levels - 1]), int(edits.wronged[levels - 1])
        threshold = float(edits.scores[levels - 1])
    return Point(threshold, caught, wronged, edits.positives - caught, edits.negatives - wronged)


def point_at_rate(edits: Tally, rate: float) -> Point:
    """
    Return the point of the lowest threshold with a false positive rate of at most *rate*.

    Nothing is interpolated: the bot can use it. It catches nothing where the highest score alone
    is too often a constructive edit's.
    """
    return point(edits, _levels_at_rate(edits, rate))


def recall_at_rate(edits: Tally, rate: float) -> float:
    """Return the recall of `point_at_rate`, in [0, 1]."""
    levels = _levels_at_rate(edits, rate)
    return int(edits.caught[levels - 1]) / edits.positives if levels else 0.0


def _levels_at_rate(edits: Tally, rate: float) -> int:
    allowed = int(Fraction(str(rate)) * edits.negatives)  # the rate as it is written
    return int(np.searchsorted(edits.wronged, allowed, side="right"))


def point_at_recall(edits: Tally, recall: float) -> Point:
    """Return the point of the highest threshold that catches at least *recall* of the vandalism."""
    needed = -int(-Fraction(str(recall)) * edits.positives // 1)
    return point(edits, int(np.searchsorted(edits.caught, needed, side="left")) + 1)


def point_at_threshold(edits: Tally, threshold: float) -> Point:
    """Return the point of *threshold*; its `Point.threshold` is *threshold* itself."""
    levels = int(np.searchsorted(-edits.scores, -threshold, side="right"))
    at = point(edits, levels)
    counts = at.true_positives, at.false_positives, at.false_negatives, at.true_negatives
    return Point(threshold, *counts)


# At the real share of vandalism ----------------------------------------------------------------


def flagged_share(recall: float, fpr: float, share: float) -> float:
    """Return the share of all edits that is caught where *share* of them is vandalism."""
    return share * recall + (1 - share) * fpr


def precision_at_share(recall: float, fpr: float, share: float) -> float | None:
    """
    Return the share of vandalism among the caught edits where *share* of all edits is vandalism.

    Bayes' theorem: recall and false positive rate do not depend on the share, precision does.
    None where nothing is caught.
    """
    flagged = flagged_share(recall, fpr, share)
    return share * recall / flagged if flagged else None


# Calibration -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bin:
    """
    The edits whose scores lie in a range.

    Attributes:
        low: Scores are above this; at least this in the first bin.
        high: Scores are at most this.
        edits: How many there are.
        vandalism: How many of them are vandalism.
        mean_score: None where there are no edits.
    """

    low: float
    high: float
    edits: int
    vandalism: int
    mean_score: float | None


def calibration(edits: Tally, n_bins: int = N_BINS) -> list[Bin]:
    """Return *n_bins* bins of equal width over [0, 1]; a score on an edge is the lower bin's."""
    edges = np.arange(n_bins + 1) / n_bins  # as they are written: 0.3, not 0.30000000000000004
    where = np.searchsorted(edges[1:-1], edits.scores)  # (n_levels,)
    number = edits.vandalism + edits.constructive
    totals = np.bincount(where, number, n_bins)
    bad = np.bincount(where, edits.vandalism, n_bins)
    sums = np.bincount(where, number * edits.scores, n_bins)
    return [
        Bin(float(low), float(high), int(n), int(v), float(s / n) if n else None)
        for low, high, n, v, s in zip(edges[:-1], edges[1:], totals, bad, sums, strict=True)
    ]
