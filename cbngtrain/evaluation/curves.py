"""What plots show, as numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cbngtrain.evaluation.measures import Counts, Tally
from cbngtrain.evaluation.scores import Floats
from cbngtrain.evaluation.table import Json

N_THRESHOLDS = 2001  # as in thresholdtable.txt: steps of 0.0005
N_BARS = 50  # of a histogram


@dataclass(frozen=True, slots=True)
class Mark:
    """
    A recall with its interval, at a false positive rate; all in [0, 1].

    Attributes:
        rate: The false positive rate that is allowed.
        recall: What is caught then.
        low: The lower end of the recall's interval.
        high: The upper end.
    """

    rate: float
    recall: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Network:
    """
    A network as plots show it.

    Attributes:
        name: For the legend.
        edits: The tally of its trial.
        marks: Its recalls at fixed rates, where there are constructive edits enough.
    """

    name: str
    edits: Tally
    marks: Sequence[Mark]


def marks(rows: Sequence[Json], side: str = "") -> list[Mark]:
    """
    Return the recalls to mark, of a result's ``at_rates``.

    Args:
        rows: The rows; those without constructive edits enough are left out.
        side: Which network of a comparison; empty where there is only one.
    """
    found = []
    for row in rows:
        recall = (row[side] if side else row)["recall"]
        if row["enough_constructive"] and recall["value"] is not None:
            found.append(Mark(row["rate"], recall["value"], recall["low"], recall["high"]))
    return found


def roc(edits: Tally) -> tuple[Floats, Floats]:
    """Return false positive rates and recalls from (0, 0) to (1, 1), rising, (n_levels + 1,)."""
    fpr = np.concatenate(([0], edits.wronged)) / edits.negatives
    return fpr, np.concatenate(([0], edits.caught)) / edits.positives


def precision_recall(edits: Tally, share: float | None = None) -> tuple[Floats, Floats]:
    """
    Return precisions and rising recalls, shape (n_levels,).

    Args:
        edits: The tally.
        share: The real share of vandalism; None for the trial's own.
    """
    if share is None:
        share = edits.positives / (edits.positives + edits.negatives)
    fpr, recall = (rates[1:] for rates in roc(edits))
    flagged = share * recall + (1 - share) * fpr  # above 0: each level has an edit
    return share * recall / flagged, recall


def by_threshold(edits: Tally) -> tuple[Floats, Floats, Floats]:
    """Return thresholds from 0 to 1, and recall and false positive rate at each, (n,) each."""
    thresholds = np.linspace(0, 1, N_THRESHOLDS)
    levels = np.searchsorted(-edits.scores, -thresholds, side="right")
    fpr, recall = roc(edits)
    return thresholds, recall[levels], fpr[levels]


def histogram(edits: Tally) -> tuple[Floats, Counts, Counts]:
    """Return edges, shape (n + 1,), and edits of vandalism and constructive ones, (n,) each."""
    edges = np.linspace(0, 1, N_BARS + 1)
    where = np.minimum((edits.scores * N_BARS).astype(np.int64), N_BARS - 1)  # (n_levels,)
    bad = np.bincount(where, edits.vandalism, N_BARS).astype(np.int64)
    return edges, bad, np.bincount(where, edits.constructive, N_BARS).astype(np.int64)
