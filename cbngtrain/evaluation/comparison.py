"""A network beside others on the same edits, as ``comparison.json`` tells it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any
from urllib.parse import quote

import numpy as np

from cbngtrain.evaluation import measures
from cbngtrain.evaluation.doubts import enough, lacking, warnings
from cbngtrain.evaluation.intervals import (
    LEVEL,
    Figure,
    Statistic,
    recall_in_samples,
    sampled,
    sampled_share,
)
from cbngtrain.evaluation.measures import Point, Tally, tally_of
from cbngtrain.evaluation.metrics import RANKINGS, recall_name
from cbngtrain.evaluation.options import HEADLINE_RATE, LIVE_THRESHOLD, RATES, Options
from cbngtrain.evaluation.pairs import Pairs, is_right, mcnemar, paired_bootstrap
from cbngtrain.evaluation.points import point_json
from cbngtrain.evaluation.scores import Bools, Floats

VERSION = 1  # of comparison.json; comparison.schema.json describes it

DIFF = "https://en.wikipedia.org/w/index.php?diff="

_LIVE = "recall at the live threshold"


def _recall_live(edits: Tally) -> float:
    return measures.point_at_threshold(edits, LIVE_THRESHOLD).recall


STATISTICS: Mapping[str, Statistic] = {
    **RANKINGS,
    **{recall_name(rate): partial(measures.recall_at_rate, rate=rate) for rate in RATES},
    _LIVE: _recall_live,
}


def _in_samples(edits: Tally) -> Mapping[str, Statistic]:
    """Return what is told of resampled *edits*, by the same names as `STATISTICS`."""
    return {**STATISTICS, **{recall_name(rate): recall_in_samples(edits, rate) for rate in RATES}}


class Comparison:
    """
    Two networks with their bootstrapped samples, from which figures are made.

    Attributes:
        pairs: What both scored.
        options: What was asked for.
        edits: The tallies: the new network's, the reference's.
        lacking: Why nothing can be measured on both classes; empty where it can.
        samples: Statistic → its values, shape (2, n_samples).
    """

    def __init__(self, pairs: Pairs, options: Options) -> None:
        self.pairs = pairs
        self.options = options
        self.edits = [tally_of(trial) for trial in pairs.trials]
        self.lacking = lacking(self.edits[0])
        self.samples: dict[str, Floats] = {}
        if not self.lacking:
            new, reference = (list(_in_samples(edits).values()) for edits in self.edits)
            drawn = paired_bootstrap(pairs, (new, reference), options.bootstrap, options.seed)
            names = enumerate(STATISTICS)
            self.samples = {name: drawn[:, :, number] for number, name in names}

    def figures(self, name: str) -> dict[str, Figure]:
        """Return the statistic called *name* of both networks, and the difference."""
        if self.lacking:
            return dict.fromkeys(("new", "reference", "difference"), Figure.missing(self.lacking))
        new, reference = (STATISTICS[name](each) for each in self.edits)
        of_new, of_reference = self.samples[name]
        return {
            "new": sampled(new, of_new),
            "reference": sampled(reference, of_reference),
            "difference": sampled(new - reference, of_new - of_reference),
        }


def document(
    comparisons: Sequence[Mapping[str, Any]], options: Options, spread: Mapping[str, Any] | None
) -> dict[str, Any]:
    """
    Return what ``comparison.json`` holds.

    Args:
        comparisons: One per reference; the first is that of the plots.
        options: What decides the figures besides the trials.
        spread: What ``spread.json`` holds, where networks of other seeds were tried.
    """
    return {
        "format": "cbngtrain/comparison",
        "version": VERSION,
        "edit_set": options.edit_set,
        "instance": options.instance,
        "network": options.network,
        "settings": {**options.to_json(), "level": LEVEL},
        "comparisons": list(comparisons),
        "spread": spread,
    }


def comparison(
    pairs: Pairs, names: tuple[str, str], options: Options, network: str = ""
) -> dict[str, Any]:
    """
    Return the comparison with one reference.

    Args:
        pairs: What both networks scored.
        names: The new network's, the reference's.
        options: What decides the figures besides.
        network: The reference's sha256; empty where nobody told.
    """
    compared = Comparison(pairs, options)
    at_rates = [_at_rate(compared, rate) for rate in RATES]
    return {
        "names": dict(zip(("new", "reference"), names, strict=True)),
        "network": network,
        "counts": _counts(compared),
        "answer": _answer(next(row for row in at_rates if row["rate"] == HEADLINE_RATE), names),
        "rankings": {name: _json(compared.figures(name)) for name in RANKINGS},
        "at_rates": at_rates,
        "at_live_threshold": _at_live_threshold(compared),
        "changes": {
            "at_rate": _changes(compared, _points(compared, HEADLINE_RATE)),
            "at_live_threshold": _changes(compared, _live_points(compared)),
        },
        "warnings": _warnings(compared, names),
    }


def _json(figures: Mapping[str, Figure]) -> dict[str, Any]:
    return {name: figure.to_json() for name, figure in figures.items()}


def _counts(compared: Comparison) -> dict[str, int]:
    pairs, edits = compared.pairs, compared.edits[0]
    return {
        "edits": len(pairs.ids),
        "vandalism": edits.positives,
        "constructive": edits.negatives,
        "only_new": pairs.only_new,
        "only_reference": pairs.only_reference,
        "relabelled": pairs.relabelled,
    }


# Operating points ------------------------------------------------------------------------------


def _points(compared: Comparison, rate: float) -> tuple[Point, Point]:
    """Return each network's point at its own threshold for *rate*."""
    new, reference = (measures.point_at_rate(edits, rate) for edits in compared.edits)
    return new, reference


def _live_points(compared: Comparison) -> tuple[Point, Point]:
    new, reference = (
        measures.point_at_threshold(edits, LIVE_THRESHOLD) for edits in compared.edits
    )
    return new, reference


def _at_rate(compared: Comparison, rate: float) -> dict[str, Any]:
    row = {"rate": rate, "enough_constructive": enough(compared.edits[0], rate)}
    return {**row, **_at(compared, _points(compared, rate), recall_name(rate))}


def _at_live_threshold(compared: Comparison) -> dict[str, Any]:
    return _at(compared, _live_points(compared), _LIVE)


def _at(compared: Comparison, points: tuple[Point, Point], recall: str) -> dict[str, Any]:
    """Return both networks at their thresholds, the difference of their recalls, the tests."""
    figures = compared.figures(recall)
    if not compared.lacking:
        for name, at, samples in zip(
            ("new", "reference"), points, compared.samples[recall], strict=True
        ):
            whole = at.true_positives + at.false_negatives
            figures[name] = sampled_share(at.true_positives, whole, samples)
    sides = {
        name: {**point_json(at, compared.options.share), "recall": figures[name].to_json()}
        for name, at in zip(("new", "reference"), points, strict=True)
    }
    difference = figures["difference"].to_json()
    return {**sides, "difference": difference, "mcnemar": _tests(compared, points)}


def _tests(compared: Comparison, points: tuple[Point, Point]) -> dict[str, Any]:
    """Return McNemar's test on the vandalism and on the constructive edits."""
    new, reference = _right(compared, points)
    vandalism = compared.pairs.vandalism
    classes = {"vandalism": vandalism, "constructive": ~vandalism}
    return {
        name: asdict(
            mcnemar(int((new & ~reference & of).sum()), int((reference & ~new & of).sum()))
        )
        for name, of in classes.items()
    }


def _right(compared: Comparison, points: tuple[Point, Point]) -> tuple[Bools, Bools]:
    """Return where each network is right at its own threshold, shape (n_edits,) each."""
    pairs = compared.pairs
    return (
        is_right(pairs.new, pairs.vandalism, points[0].threshold),
        is_right(pairs.reference, pairs.vandalism, points[1].threshold),
    )


# The answer ------------------------------------------------------------------------------------


def _answer(row: Mapping[str, Any], names: tuple[str, str]) -> dict[str, Any]:
    """Return whether the new network is better at the rate that is in use, and why."""
    is_so, why = _verdict(row, names)
    return {"rate": row["rate"], "is": is_so, "why": why}


def _verdict(row: Mapping[str, Any], names: tuple[str, str]) -> tuple[str, str]:
    new, reference = names
    difference = row["difference"]
    if difference["value"] is None:
        return "unknown", difference["reason"]
    low, high = (100 * difference[end] for end in ("low", "high"))
    sides = " and ".join(
        f"{name} {100 * row[side]['recall']['value']:.2f} %"
        for name, side in ((new, "new"), (reference, "reference"))
    )
    told = (
        f"at a false positive rate of {100 * row['rate']:g} % of the vandalism {sides} are caught: "
        f"{100 * difference['value']:+.2f} points ({low:+.2f} to {high:+.2f})"
    )
    if not row["enough_constructive"]:
        return "unknown", f"{told}, but there are too few constructive edits for this rate"
    if low > 0 or high < 0:
        return ("better" if low > 0 else "worse"), told
    return "undecided", f"{told}, which may be chance"


def _warnings(compared: Comparison, names: tuple[str, str]) -> list[str]:
    """Return what cannot be relied upon; what is said of one network alone names it."""
    of_new, of_reference = (warnings(edits) for edits in compared.edits)
    found = [each for each in of_new if each in of_reference]
    for name, told, other in ((names[0], of_new, of_reference), (names[1], of_reference, of_new)):
        found += [f"{name}: {each}" for each in told if each not in other]
    pairs = compared.pairs
    left_out = (
        (pairs.only_new, f"are only in the trial of {names[0]}"),
        (pairs.only_reference, f"are only in the trial of {names[1]}"),
        (pairs.relabelled, "are vandalism in one trial and constructive in the other"),
    )
    return found + [f"{number} edits {what}; left out" for number, what in left_out if number]


# Edits that change -----------------------------------------------------------------------------


def _changes(compared: Comparison, points: tuple[Point, Point]) -> dict[str, Any]:
    """Return the edits on which one network alone is right, largest change of score first."""
    new, reference = _right(compared, points)
    return {
        "thresholds": {"new": points[0].threshold, "reference": points[1].threshold},
        "newly_wrong": list(_edits(compared.pairs, reference & ~new)),
        "newly_right": list(_edits(compared.pairs, new & ~reference)),
    }


def _edits(pairs: Pairs, where: Bools) -> Iterator[dict[str, Any]]:
    moved = np.abs(pairs.new - pairs.reference)
    for i in sorted(np.flatnonzero(where), key=lambda i: -moved[i]):  # stable: then by name
        yield {
            "edit": pairs.ids[i],
            "vandalism": bool(pairs.vandalism[i]),
            "new": float(pairs.new[i]),
            "reference": float(pairs.reference[i]),
            "url": DIFF + quote(pairs.ids[i], safe=""),
        }
