"""Our pods in a cluster, as people see them, and which of them nobody needs any more. Pure."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from math import inf
from typing import Any

from cbngtrain.dispatch.classify import Means, classify, has_ended, waits_for
from cbngtrain.dispatch.manifest import COMPONENT, EDIT_SET, fingerprint_of_pod
from cbngtrain.plan import Plan


@dataclass(frozen=True, slots=True)
class Row:
    """
    One of our pods.

    Attributes:
        pod: As the API gives it.
        name: Its name.
        step: The step's name.
        fingerprint: What it works for.
        age: In seconds.
        state: What it does, or what came of it.
        surplus: Why nobody needs it; empty where somebody may.
    """

    pod: dict[str, Any]
    name: str
    step: str
    fingerprint: str
    age: float
    state: str
    surplus: str

    def __str__(self) -> str:
        told = f"{self.name}  {self.age:.0f} s  {self.step} as {self.fingerprint:.12}: {self.state}"
        return f"{told} ({self.surplus})" if self.surplus else told

    def to_json(self) -> dict[str, Any]:
        """Return it for programs; *age* is in seconds."""
        told = asdict(self)
        del told["pod"]
        return told


def rows(pods: Iterable[dict[str, Any]], plan: Plan, now: datetime) -> list[Row]:
    """Return our *pods*, the oldest first; *plan* tells which steps there are."""
    found = [_row(pod, plan, now) for pod in pods]
    return sorted(found, key=lambda row: (-row.age, row.name))


def _row(pod: dict[str, Any], plan: Plan, now: datetime) -> Row:
    metadata = pod["metadata"]
    recipe = (metadata.get("labels") or {}).get(COMPONENT, "unknown")
    slug = (metadata.get("annotations") or {}).get(EDIT_SET, "unknown")
    is_planned = any(step.recipe.name == recipe for step in plan.steps.get(slug, ()))
    surplus = "" if is_planned else "unknown to the plan"
    made = datetime.fromisoformat(metadata["creationTimestamp"])
    return Row(
        pod=pod,
        name=metadata["name"],
        step=f"{recipe}:{slug}",
        fingerprint=fingerprint_of_pod(pod),
        age=(now - made).total_seconds(),
        state=_state(pod),
        surplus="ended" if has_ended(pod) else surplus,
    )


def _state(pod: dict[str, Any]) -> str:
    """Return what *pod* does, or what came of it."""
    verdict = classify(pod, 0.0, inf)
    if verdict.means is Means.ENDED:
        return "ended well"
    if verdict.means is Means.WAITING and not verdict.why:
        return "runs" if waits_for(pod) == "its end" else f"waits for {waits_for(pod)}"
    return verdict.why
