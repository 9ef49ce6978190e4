"""
The gate: may a network go into production?

`judged` is pure: from what the evaluation wrote of an instance, and a rule, to promote or hold and
why. Whoever promotes against the verdict says why, and that is kept with it.
"""

import json
import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cbngtrain.errors import HeldError, StoreError
from cbngtrain.settings import Settings
from cbngtrain.store import Instance, Store

log = logging.getLogger(__name__)

METRICS, COMPARISON = "trial/metrics.json", "trial/comparison.json"
NETWORK = "artifacts/main_ann.fann"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """
    What a network must show to be promoted.

    Attributes:
        rate: The false positive rate at which networks are compared, a share.
        margin: How much less of the vandalism it may catch than the reference, a share.
        overlap: How many of the trial's edits may have been trained on.
    """

    rate: float
    margin: float
    overlap: int


RULE = Rule(rate=0.001, margin=0.0, overlap=0)
"""Where the settings say nothing else."""


@dataclass(frozen=True, slots=True)
class Check:
    """A part of the rule: whether it holds, and what was found, in a sentence."""

    holds: bool
    told: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What the gate says of a network.

    Attributes:
        rule: By which it was judged.
        checks: The parts of the rule.
        reference: The network that it was compared with, as the comparison calls it; else nothing.
    """

    rule: Rule
    checks: tuple[Check, ...]
    reference: str

    @property
    def promotes(self) -> bool:
        """Whether the network may go into production."""
        return all(check.holds for check in self.checks)

    @property
    def word(self) -> str:
        """``promote`` or ``hold``."""
        return "promote" if self.promotes else "hold"

    @property
    def why(self) -> str:
        """The reasons to hold, where there are some; else all that was found."""
        against = [check.told for check in self.checks if not check.holds]
        return "; ".join(against or [check.told for check in self.checks])

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as it is kept."""
        checks = [asdict(check) for check in self.checks]
        return {
            "answer": self.word,
            "reference": self.reference,
            "checks": checks,
            "rule": asdict(self.rule),
        }


def rule_of(settings: Settings) -> Rule:
    """Return the rule that the settings ask for."""
    return Rule(
        rate=settings.promote_rate,
        margin=settings.promote_margin,
        overlap=settings.promote_overlap,
    )


def judged(metrics: Any, comparison: Any, rule: Rule, running: str = "") -> Verdict:
    """
    Return what the gate says of a network.

    What cannot be found in them, or is no number, holds it. It must not lose beside the first
    network of the comparison, nor beside the one in production.

    Args:
        metrics: What ``metrics.json`` holds; None where there is none.
        comparison: What ``comparison.json`` holds; None where there is none.
        rule: What it must show.
        running: The sha256 of the network in production; empty where that is this one or none.
    """
    beside = [each for each in _list(_get(comparison, "comparisons")) if isinstance(each, Mapping)]
    first = beside[0] if beside else None
    others = [each for each in beside[1:] if running and each.get("network") == running]
    checks = [_recall(each, rule) for each in (first, *others[:1])]
    if first and running and not others and first.get("network") != running:
        checks.append(Check(holds=False, told=_NOT_BESIDE))
    reference = _get(first, "names", "reference")
    return Verdict(
        rule,
        (*checks, _enough(metrics, first, rule), _overlap(metrics, rule)),
        reference if isinstance(reference, str) else "",
    )


_NOT_BESIDE = (
    "it was not compared with the network in production: the next build compares the latest one, "
    "cbng-trainer compare any two"
)


def _recall(comparison: Any, rule: Rule) -> Check:
    """Whether the whole interval of the difference of recalls is above minus the margin."""
    if comparison is None:
        return Check(
            holds=False,
            told="there is no network to compare it with: build again when one was published "
            "before, or name the bot's by CBNG_REFERENCE",
        )
    row = _at(_get(comparison, "at_rates"), rule.rate)
    low, high, value = (_number(_get(row, "difference", end)) for end in ("low", "high", "value"))
    if low is None or high is None or value is None:
        return Check(holds=False, told=f"nothing is known of the recall at {100 * rule.rate:g} %")
    if _number(_get(row, "new", "threshold")) is None:
        return Check(
            holds=False,
            told=f"no threshold of it keeps a false positive rate of {100 * rule.rate:g} %: "
            "constructive edits have its highest score",
        )
    beside = _get(comparison, "names", "reference")
    told = (
        f"at a false positive rate of {100 * rule.rate:g} % it catches {100 * value:+.2f} points "
        f"({100 * low:+.2f} to {100 * high:+.2f}) of the vandalism beside {beside}"
    )
    if low >= -rule.margin:
        return Check(holds=True, told=told)
    margin = f"{100 * rule.margin:g} points" if rule.margin else "none"
    return Check(
        holds=False, told=f"{told}, which may be less than is allowed to be lost: {margin}"
    )


def _enough(metrics: Any, comparison: Any, rule: Rule) -> Check:
    """Whether there are constructive edits enough to say anything at the rate."""
    rows = [_at(_get(each, "at_rates"), rule.rate) for each in (metrics, comparison) if each]
    number = _get(metrics, "counts", "constructive")
    told = f"{number} constructive edits" if _number(number) is not None else "the trial's edits"
    holds = bool(rows) and all(_get(row, "enough_constructive") is True for row in rows)
    word = "enough" if holds else "too few"
    return Check(holds=holds, told=f"{told} are {word} for a rate of {100 * rule.rate:g} %")


def _overlap(metrics: Any, rule: Rule) -> Check:
    """Whether the network was tried on edits that it was not trained on."""
    shared = _number(_get(metrics, "overlap", "edits"))
    if shared is None:
        return Check(holds=False, told="nobody knows how many of the trial's edits it trained on")
    told = f"{shared:g} of the trial's edits were trained on"
    allowed = "" if shared <= rule.overlap else f", and {rule.overlap} may be"
    return Check(holds=shared <= rule.overlap, told=told + allowed)


def _get(value: Any, *path: str) -> Any:
    """Return what is at *path* in nested JSON objects, or None."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _list(value: Any) -> Sequence[Any]:
    """Return a JSON list, or an empty one for anything else."""
    return value if isinstance(value, list) else []


def _number(value: Any) -> float | None:
    """Return a number, or None for anything else."""
    return value if type(value) in {int, float} else None


def _at(rows: Any, rate: float) -> Any:
    """Return the row of that rate, or None."""
    return next((row for row in _list(rows) if _get(row, "rate") == rate), None)


# Promoting -------------------------------------------------------------------------------------


def verdict_on(store: Store, instance: Instance, rule: Rule) -> Verdict:
    """
    Return what the gate says of *instance*.

    Raises:
        StoreError: The store cannot be asked, or a blob of the instance is gone.
    """
    metrics, comparison = (_json(store, instance, path) for path in (METRICS, COMPARISON))
    return judged(metrics, comparison, rule, running(store, instance))


def running(store: Store, instance: Instance) -> str:
    """
    Return the sha256 of the network that *instance* would replace in production.

    It is empty where there is none or it is the same; and ``unknown``, with which nothing was
    compared, where the store does not tell.

    Raises:
        StoreError: The store cannot be asked.
    """
    record = store.production(instance.target)
    if record is None or record.get("instance") == instance.name:
        return ""
    replaced = store.instance(instance.target, str(record.get("instance")))
    network = replaced.files.get(NETWORK, "") if replaced else ""
    return "" if network and network == instance.files.get(NETWORK) else network or "unknown"


def _json(store: Store, instance: Instance, path: str) -> Any:
    """Return the JSON of a file of *instance*, or None where it has no such file."""
    if path not in instance.files:
        return None
    with tempfile.TemporaryDirectory(prefix="cbng-") as directory:
        place = Path(directory) / "file"
        store.fetch(instance.files[path], place)
        try:
            return json.loads(place.read_bytes())
        except ValueError as error:
            raise StoreError(f"{instance.target}/{instance.name}/{path} is no JSON") from error


def promote(
    store: Store, instance: Instance, verdict: Verdict, who: str, reason: str = ""
) -> dict[str, Any]:
    """
    Put *instance* into production.

    Args:
        store: Where it is published.
        instance: Which.
        verdict: What the gate says of it.
        who: Who promotes it.
        reason: Why against the verdict; else nothing.

    Returns:
        The record of that.

    Raises:
        HeldError: The verdict is to hold it, and there is no reason not to heed it.
        StoreError: The store refused.
    """
    if not verdict.promotes and not reason:
        raise HeldError(f"{instance.target}/{instance.name} is held: {verdict.why}")
    about: dict[str, Any] = {"who": who, "why": reason or verdict.why, "verdict": verdict.to_json()}
    if reason and not verdict.promotes:
        about["forced"] = True
    log.info("%s/%s goes into production: %s", instance.target, instance.name, about["why"])
    return store.promote(instance.target, instance.name, about)
