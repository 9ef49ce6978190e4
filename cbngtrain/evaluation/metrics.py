"""A trial's figures, as ``metrics.json`` tells them."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from cbngtrain.evaluation import measures
from cbngtrain.evaluation.intervals import (
    LEVEL,
    Figure,
    Statistic,
    bootstrap,
    percentiles,
    sampled,
    sampled_share,
    share_of,
    wilson,
)
from cbngtrain.evaluation.measures import MAX_FPR, Point, Tally
from cbngtrain.evaluation.options import LIVE_THRESHOLD, RATES, RECALLS, Options
from cbngtrain.evaluation.scores import Floats, Trial

VERSION = 1  # of metrics.json; metrics.schema.json describes it

FEW = 10  # edits of a class: fewer, and resampling repeats a handful of samples


class Evaluation:
    """
    A trial with its bootstrapped samples, from which figures are made.

    Attributes:
        edits: The tally.
        options: What was asked for.
        lacking: Why nothing can be measured on both classes; empty where it can.
        samples: Statistic → its values, shape (n_samples,); empty where *lacking* is not.
    """

    def __init__(self, edits: Tally, options: Options) -> None:
        self.edits = edits
        self.options = options
        self.lacking = lacking(edits)
        self.statistics = statistics(options.share)
        self.samples: Mapping[str, Floats] = {}
        if not self.lacking:
            functions = list(self.statistics.values())
            drawn = bootstrap(edits, functions, options.bootstrap, options.seed)
            self.samples = dict(zip(self.statistics, drawn.T, strict=True))

    def figure(self, name: str) -> Figure:
        """Return the statistic called *name* with its interval."""
        if self.lacking:
            return Figure.missing(self.lacking)
        return sampled(self.statistics[name](self.edits), self.samples[name])


def statistics(share: float) -> dict[str, Statistic]:
    """Return what is bootstrapped, by name; *share* is the real share of vandalism."""
    return {
        "roc_auc": measures.roc_auc,
        "partial_auc": measures.partial_auc,
        "average_precision": measures.average_precision,
        "brier": measures.brier,
        **{recall_name(rate): partial(measures.recall_at_rate, rate=rate) for rate in RATES},
        **{
            _flagged_name(recall): partial(_flagged, recall=recall, share=share)
            for recall in RECALLS
        },
    }


def recall_name(rate: float) -> str:
    """Return the name of the statistic that is the recall at a false positive rate."""
    return f"recall at {rate}"


def _flagged_name(recall: float) -> str:
    return f"flagged at {recall}"


def _flagged(edits: Tally, recall: float, share: float) -> float:
    at = measures.point_at_recall(edits, recall)
    return measures.flagged_share(at.recall, at.fpr, share)


def lacking(edits: Tally) -> str:
    """Return why nothing can be measured on both classes, or nothing where it can."""
    if not edits.positives and not edits.negatives:
        return "the trial has no edits"
    if not edits.positives:
        return "the trial has no vandalism"
    return "" if edits.negatives else "the trial has no constructive edits"


def metrics(trial: Trial, options: Options, overlap: int | None) -> dict[str, Any]:
    """
    Return what ``metrics.json`` holds.

    Args:
        trial: What was scored.
        options: What decides the figures besides.
        overlap: How many of the trial's edits were trained on; None where nobody told.
    """
    edits = measures.tally_of(trial)
    evaluation = Evaluation(edits, options)
    return {
        "format": "cbngtrain/metrics",
        "version": VERSION,
        "edit_set": options.edit_set,
        "instance": options.instance,
        "settings": {**options.to_json(), "level": LEVEL},
        "counts": counts(edits, trial.repeated),
        "overlap": _overlap(overlap, len(trial.ids)),
        **_rankings(evaluation),
        "at_rates": [_at_rate(evaluation, rate) for rate in RATES],
        "at_live_threshold": _at_live_threshold(evaluation),
        "to_look_at": [_to_look_at(evaluation, recall) for recall in RECALLS],
        "calibration": [_bin(each) for each in measures.calibration(edits)],
        "warnings": [*warnings(edits), *_doubts(trial.repeated, overlap)],
    }


def counts(edits: Tally, repeated: int) -> dict[str, int]:
    """Return how many edits of each class there are."""
    return {
        "edits": edits.positives + edits.negatives,
        "vandalism": edits.positives,
        "constructive": edits.negatives,
        "distinct_scores": len(edits.scores),
        "repeated": repeated,
    }


def _overlap(overlap: int | None, edits: int) -> dict[str, Any]:
    if overlap is None:
        return {"edits": None, "share": None, "reason": "nobody told which edits were trained on"}
    if not edits:
        return {"edits": overlap, "share": None, "reason": "the trial has no edits"}
    return {"edits": overlap, "share": overlap / edits}


def _rankings(evaluation: Evaluation) -> dict[str, Any]:
    raw = evaluation.figure("partial_auc")
    brier = evaluation.figure("brier")
    edits = evaluation.edits
    if brier.value is None and edits.positives + edits.negatives:
        brier = Figure(value=measures.brier(edits))
    return {
        "roc_auc": evaluation.figure("roc_auc").to_json(),
        "partial_auc": {
            "max_fpr": MAX_FPR,
            "raw": raw.to_json(),
            "standardised": _standardised(raw).to_json(),
        },
        "average_precision": evaluation.figure("average_precision").to_json(),
        "brier": brier.to_json(),
    }


def _standardised(raw: Figure) -> Figure:
    if raw.value is None or raw.low is None or raw.high is None:
        return raw
    value, low, high = map(measures.standardised, (raw.value, raw.low, raw.high))
    return Figure(value=value, low=low, high=high, method=raw.method)


# Operating points ------------------------------------------------------------------------------


def _at_rate(evaluation: Evaluation, rate: float) -> dict[str, Any]:
    edits = evaluation.edits
    row = {"rate": rate, "enough_constructive": enough(edits, rate)}
    if evaluation.lacking:
        missing = Figure.missing(evaluation.lacking).to_json()
        names = ("recall", "false_positive_rate", "precision_at_share")
        return {**row, "threshold": None, "confusion": None, **dict.fromkeys(names, missing)}
    at = measures.point_at_rate(edits, rate)
    recall = sampled_share(
        at.true_positives, edits.positives, evaluation.samples[recall_name(rate)]
    )
    return {**row, **_point(at, evaluation.options.share), "recall": recall.to_json()}


def _at_live_threshold(evaluation: Evaluation) -> dict[str, Any]:
    at = measures.point_at_threshold(evaluation.edits, LIVE_THRESHOLD)
    caught = share_of(
        at.true_positives, at.true_positives + at.false_positives, "nothing is caught"
    )
    return {**_point(at, evaluation.options.share), "precision": caught.to_json()}


def _point(at: Point, share: float) -> dict[str, Any]:
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


def _to_look_at(evaluation: Evaluation, recall: float) -> dict[str, Any]:
    edits = evaluation.edits
    if evaluation.lacking:
        missing = Figure.missing(evaluation.lacking).to_json()
        return {"recall": recall, "threshold": None, "of_trial": missing, "at_share": missing}
    at = measures.point_at_recall(edits, recall)
    seen = at.true_positives + at.false_positives
    low, high = percentiles(evaluation.samples[_flagged_name(recall)])
    value = measures.flagged_share(at.recall, at.fpr, evaluation.options.share)
    at_share = Figure(value=value, low=low, high=high, method="bootstrap")
    return {
        "recall": recall,
        "threshold": at.threshold,
        "of_trial": {"value": seen / (edits.positives + edits.negatives)},
        "at_share": at_share.to_json(),
    }


def _bin(each: measures.Bin) -> dict[str, Any]:
    share = share_of(each.vandalism, each.edits, "no edit scores so")
    return {**asdict(each), "share": share.to_json()}


# Warnings --------------------------------------------------------------------------------------


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


def _doubts(repeated: int, overlap: int | None) -> list[str]:
    found = []
    if repeated:
        found.append(f"{repeated} lines tell of an edit that was told of before; all are counted")
    if overlap:
        found.append(
            f"{overlap} of the trial's edits were trained on: the figures flatter the network"
        )
    return found
