"""
What the evaluation wrote of an instance, as a page shows it.

Pure but for the one function that reads. Other clients publish what they like under these names:
what is not as it should be is not there.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from cbngtrain.promote import COMPARISON, METRICS, Rule, judged, running
from cbngtrain.store import DirectoryStore, Instance

LARGEST = 16 << 20  # bytes of a file that is looked into
CHANGED = 10  # edits of a list that are shown
HEADLINE = 0.001  # the false positive rate in production

DIFF = "https://en.wikipedia.org/w/index.php?diff="

MEASURES = {
    "roc_auc": "ROC AUC",
    "partial_auc": "area under the ROC curve to 1 %, raw",
    "average_precision": "average precision",
    "brier": "Brier score (less is better)",
}
"""What a spread measures without a threshold, for people."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """
    What was measured, compared and judged; None where it was not.

    Attributes:
        metrics: Counts, rows at fixed false positive rates, rankings, warnings.
        comparisons: A network beside another, one after another.
        spread: A network among others of other seeds.
        verdict: What the gate says.
    """

    metrics: Json | None = None
    comparisons: tuple[Json, ...] = ()
    spread: Json | None = None
    verdict: Json | None = None

    def to_json(self) -> Json | None:
        """Return it for programs; None where nothing was measured."""
        if self.metrics is None and not self.comparisons:
            return None
        return {
            "metrics": self.metrics,
            "comparisons": list(self.comparisons),
            "spread": self.spread,
            "verdict": self.verdict,
        }


def evaluation(store: DirectoryStore, instance: Instance | None, rule: Rule) -> Evaluation:
    """Return what the evaluation wrote of *instance*; *rule* is the gate's."""
    if instance is None:
        return Evaluation()
    files = (instance.files.get(path) for path in (METRICS, COMPARISON))
    metrics, comparison = (store.path(digest) if digest else None for digest in files)
    return _read(metrics, comparison, rule, running(store, instance))


@lru_cache(maxsize=512)
def _read(metrics: Path | None, comparison: Path | None, rule: Rule, replaced: str) -> Evaluation:
    """Read the blobs, which never change, and keep the little that is shown."""
    measured, compared = _json(metrics), _json(comparison)
    verdict = None
    if isinstance(measured, dict):
        verdict = judged(measured, compared, rule, replaced).to_json()
    beside = compared.get("comparisons") if isinstance(compared, dict) else None
    found = [_try(_comparison, each) for each in _list(beside)]
    return Evaluation(
        _try(_metrics, measured),
        tuple(each for each in found if each),
        _try(_spread, compared.get("spread") if isinstance(compared, dict) else None),
        verdict,
    )


def _json(path: Path | None) -> Any:
    """Return the JSON in a file, or None where there is none or it is too large."""
    try:
        if path is None or path.stat().st_size > LARGEST:
            return None
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def _try(read: Any, value: Any) -> Json | None:
    """Return what *read* makes of *value*, or None where that is not what it should be."""
    try:
        made: Json = read(value)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    return made


def _metrics(value: Any) -> Json:
    """Return what is shown of ``metrics.json``. Raises KeyError, TypeError or ValueError."""
    rows = [_point(row) | {"rate": _number(row["rate"])} for row in value["at_rates"]]
    live = value["at_live_threshold"]
    rankings = {
        "ROC AUC": value["roc_auc"],
        "partial ROC AUC, to 1 %": value["partial_auc"]["standardised"],
        "average precision": value["average_precision"],
        "Brier score (less is better)": value["brier"],
    }
    counts = {
        name: _count(value["counts"][name]) for name in ("edits", "vandalism", "constructive")
    }
    return {
        "counts": counts,
        "share": _number(value["settings"]["share"]),
        "headline": next((row for row in rows if row["rate"] == HEADLINE), None),
        "at_rates": rows,
        "live": _point(live),
        "rankings": {name: _figure(figure) for name, figure in rankings.items()},
        "to_look_at": [
            {"recall": _number(row["recall"]), "share": _figure(row["at_share"])}
            for row in value["to_look_at"]
        ],
        "overlap": None if value["overlap"]["edits"] is None else _count(value["overlap"]["edits"]),
        "warnings": [_text(each) for each in value["warnings"][:50]],
    }


def _point(row: Any) -> Json:
    """Return an operating point."""
    threshold = row["threshold"]
    return {
        "threshold": None if threshold is None else _number(threshold),
        "enough": bool(row.get("enough_constructive", True)),
        "caught": _figure(row["recall"]),
        "false_positives": _figure(row["false_positive_rate"]),
        "precision": _figure(row["precision_at_share"]),
    }


def _comparison(value: Any) -> Json:
    """Return what is shown of one comparison."""
    answer, changes = value["answer"], value["changes"]["at_live_threshold"]
    return {
        "reference": _text(value["names"]["reference"]),
        "network": _text(value["network"]),
        "answer": _text(answer["is"]),
        "why": _text(answer["why"]),
        "counts": {name: _count(value["counts"][name]) for name in ("edits", "constructive")},
        "at_rates": [
            {
                "rate": _number(row["rate"]),
                "enough": bool(row["enough_constructive"]),
                "new": _figure(row["new"]["recall"]),
                "reference": _figure(row["reference"]["recall"]),
                "difference": _figure(row["difference"]),
            }
            for row in value["at_rates"]
        ],
        "changes": {
            kind: {
                "number": len(changes[kind]),
                "edits": [_edit(each) for each in changes[kind][:CHANGED]],
            }
            for kind in ("newly_wrong", "newly_right")
        },
    }


def _edit(value: Any) -> Json:
    """Return an edit that changed; its link is made here, of its name."""
    name = _text(value["edit"])
    return {
        "edit": name,
        "url": DIFF + name if name.isascii() and name.isdecimal() else "",
        "vandalism": bool(value["vandalism"]),
        "new": _number(value["new"]),
        "reference": _number(value["reference"]),
    }


def _spread(value: Any) -> Json:
    """Return what is shown of a spread over seeds."""
    return {
        "seeds": [_count(each) for each in value["seeds"]],
        "measures": {
            MEASURES.get(name, _text(name)): {
                key: _number(row[key]) for key in ("this", "mean", "low", "high")
            }
            for name, row in value["measures"].items()
        },
    }


def _figure(value: Any) -> Json:
    """Return a figure: ``value``, ``low`` and ``high``, or None each, and ``reason``."""
    ends = {name: value.get(name) for name in ("value", "low", "high")}
    found: Json = {name: None if end is None else _number(end) for name, end in ends.items()}
    return {**found, "reason": _text(value.get("reason", ""))}


def _number(value: Any) -> float:
    """Return a finite number. Raises ValueError."""
    if type(value) not in {int, float} or not abs(value) < 1e300:
        raise ValueError(value)
    return float(value)


def _count(value: Any) -> int:
    """Return a number of something. Raises ValueError."""
    if type(value) is not int or not 0 <= value < 1 << 53:
        raise ValueError(value)
    return value


def _text(value: Any) -> str:
    """Return a text, not too long. Raises TypeError."""
    if not isinstance(value, str):
        raise TypeError(value)
    return value[:500]


def _list(value: Any) -> list[Any]:
    return value[:20] if isinstance(value, list) else []


def of_network(digest: str, instances: Mapping[str, Instance | None]) -> str | None:
    """Return the name of the newest of *instances* that has this network, if one has."""
    for name, instance in instances.items():
        if instance and digest and instance.files.get("artifacts/main_ann.fann") == digest:
            return name
    return None
