"""Operating points as the results tell them."""

from dataclasses import asdict
from typing import Any

from cbngtrain.evaluation import measures
from cbngtrain.evaluation.intervals import LEVEL, Figure, share_of, wilson
from cbngtrain.evaluation.measures import Point


def point_json(at: Point, share: float) -> dict[str, Any]:
    """Return *at* with its rates, where *share* of all edits is vandalism, and their intervals."""
    positives = at.true_positives + at.false_negatives
    negatives = at.false_positives + at.true_negatives
    recall = share_of(at.true_positives, positives, "the trial has no vandalism")
    fpr = share_of(at.false_positives, negatives, "the trial has no constructive edits")
    return {
        "threshold": at.threshold,
        "confusion": {name: value for name, value in asdict(at).items() if name != "threshold"},
        "recall": recall.to_json(),
        "false_positive_rate": fpr.to_json(),
        "precision_at_share": precision_at_share(at, share).to_json(),
    }


def precision_at_share(at: Point, share: float) -> Figure:
    """
    Return the precision where *share* of all edits is vandalism.

    Its interval reaches from the lowest recall with the highest false positive rate to the
    opposite, both Wilson's at a level that makes them hold together (Bonferroni): it is rather too
    wide, and does not collapse where no constructive edit is caught.
    """
    positives = at.true_positives + at.false_negatives
    negatives = at.false_positives + at.true_negatives
    if not positives or not negatives:
        return Figure.missing("it needs vandalism and constructive edits")
    value = measures.precision_at_share(at.recall, at.fpr, share)
    if value is None:
        return Figure.missing("nothing is caught")
    both = 1 - (1 - LEVEL) / 2
    recall, fpr = (
        wilson(at.true_positives, positives, both),
        wilson(at.false_positives, negatives, both),
    )
    low = measures.precision_at_share(recall[0], fpr[1], share)
    high = measures.precision_at_share(recall[1], fpr[0], share)
    return Figure(value=value, low=low, high=high, method="wilson, bonferroni")
