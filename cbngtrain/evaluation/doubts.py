"""What a trial cannot tell, in sentences."""

from cbngtrain.evaluation import measures
from cbngtrain.evaluation.measures import Tally
from cbngtrain.evaluation.options import RATES

FEW = 10  # edits of a class: fewer, and resampling repeats a handful of samples


def lacking(edits: Tally) -> str:
    """Return why nothing can be measured on both classes, or nothing where it can."""
    if not edits.positives and not edits.negatives:
        return "the trial has no edits"
    if not edits.positives:
        return "the trial has no vandalism"
    return "" if edits.negatives else "the trial has no constructive edits"


def enough(edits: Tally, rate: float) -> bool:
    """
    Return whether there are constructive edits enough to say anything at a false positive *rate*.

    The rule of three: if none of n is caught, the rate may still be 3/n (95 %; Hanley &
    Lippman-Hand, Journal of the American Medical Association 249, 1983).
    """
    return edits.negatives * rate >= 3 * (1 - 1e-12)


def warnings(edits: Tally) -> list[str]:
    """Return, in sentences, what cannot be relied upon."""
    if reason := lacking(edits):
        return [f"{reason}: what is measured on both classes is not there"]
    found = [
        f"only {number} of the trial's edits are {name}: do not rely on the intervals"
        for name, number in (("vandalism", edits.positives), ("constructive", edits.negatives))
        if number < FEW
    ]
    if len(edits.scores) == 1:
        found.append("all scores are equal: the network tells nothing apart")
    elif measures.roc_auc(edits) in {0, 1}:
        found.append("the classes do not overlap: the interval of the ROC AUC has no width")
    return [*found, *_warnings_at_rates(edits)]


def _warnings_at_rates(edits: Tally) -> list[str]:
    few = [
        f"{edits.negatives} constructive edits are too few for a false positive rate of "
        f"{100 * rate:g} %: it takes {round(3 / rate)} to bound it by that"
        for rate in RATES
        if not enough(edits, rate)
    ]
    blind = [
        f"no threshold keeps a false positive rate of {100 * rate:g} %: constructive edits are "
        f"among those with the highest score, {edits.scores[0]:g}"
        for rate in RATES
        if measures.point_at_rate(edits, rate).threshold is None
    ]
    return few + blind


def doubts_about_edits(repeated: int, overlap: int | None) -> list[str]:
    """Return what is odd about the edits: those told of twice, and those trained on."""
    found = []
    if repeated:
        found.append(f"{repeated} lines tell of an edit that was told of before; all are counted")
    if overlap:
        found.append(
            f"{overlap} of the trial's edits were trained on: the figures flatter the network"
        )
    return found
