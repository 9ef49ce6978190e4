"""A trial's figures, as ``metrics.json`` tells them."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from cbngtrain.evaluation import measures
from cbngtrain.evaluation.doubts import doubts_about_edits, enough, lacking, warnings
from cbngtrain.evaluation.intervals import (
    LEVEL,
    Figure,
    Statistic,
    bootstrap,
    recall_in_samples,
    sampled,
    sampled_share,
    share_of,
)
from cbngtrain.evaluation.measures import MAX_FPR, Tally
from cbngtrain.evaluation.options import LIVE_THRESHOLD, RATES, RECALLS, Options
from cbngtrain.evaluation.points import point_json
from cbngtrain.evaluation.scores import Floats, Trial

VERSION = 1  # of metrics.json; metrics.schema.json describes it


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
        self.samples: Mapping[str, Floats] = {}
        if not self.lacking:
            functions = statistics(edits, options.share)
            drawn = bootstrap(edits, list(functions.values()), options.bootstrap, options.seed)
            self.samples = dict(zip(functions, drawn.T, strict=True))

    def figure(self, name: str) -> Figure:
        """Return the ranking called *name* with its interval."""
        if self.lacking:
            return Figure.missing(self.lacking)
        return sampled(RANKINGS[name](self.edits), self.samples[name])


RANKINGS: Mapping[str, Statistic] = {
    "roc_auc": measures.roc_auc,
    "partial_auc": measures.partial_auc,
    "average_precision": measures.average_precision,
    "brier": measures.brier,
}
"""What is measured without a threshold."""


def statistics(edits: Tally, share: float) -> dict[str, Statistic]:
    """Return what is told of resampled *edits*, by name; *share* is the real one of vandalism."""
    return {
        **RANKINGS,
        **{recall_name(rate): recall_in_samples(edits, rate) for rate in RATES},
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
        "network": options.network,
        "settings": {**options.to_json(), "level": LEVEL},
        "counts": counts(edits, trial.repeated),
        "overlap": _overlap(overlap, len(trial.ids)),
        **_rankings(evaluation),
        "at_rates": [_at_rate(evaluation, rate) for rate in RATES],
        "at_live_threshold": _at_live_threshold(evaluation),
        "to_look_at": [_to_look_at(evaluation, recall) for recall in RECALLS],
        "calibration": [_bin(each) for each in measures.calibration(edits)],
        "warnings": [*warnings(edits), *doubts_about_edits(trial.repeated, overlap)],
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
        return {"edits": None, "share": None, "reason": "nobody told which of the trial's edits"}
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
    return {**row, **point_json(at, evaluation.options.share), "recall": recall.to_json()}


def _at_live_threshold(evaluation: Evaluation) -> dict[str, Any]:
    at = measures.point_at_threshold(evaluation.edits, LIVE_THRESHOLD)
    caught = share_of(
        at.true_positives, at.true_positives + at.false_positives, "nothing is caught"
    )
    return {**point_json(at, evaluation.options.share), "precision": caught.to_json()}


def _to_look_at(evaluation: Evaluation, recall: float) -> dict[str, Any]:
    edits = evaluation.edits
    if evaluation.lacking:
        missing = Figure.missing(evaluation.lacking).to_json()
        return {"recall": recall, "threshold": None, "of_trial": missing, "at_share": missing}
    at = measures.point_at_recall(edits, recall)
    seen = at.true_positives + at.false_positives
    value = measures.flagged_share(at.recall, at.fpr, evaluation.options.share)
    at_share = sampled(value, evaluation.samples[_flagged_name(recall)])
    return {
        "recall": recall,
        "threshold": at.threshold,
        "of_trial": {"value": seen / (edits.positives + edits.negatives)},
        "at_share": at_share.to_json(),
    }


def _bin(each: measures.Bin) -> dict[str, Any]:
    share = share_of(each.vandalism, each.edits, "no edit scores so")
    return {**asdict(each), "share": share.to_json()}
