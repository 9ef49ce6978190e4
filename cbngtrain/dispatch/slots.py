"""
Which step starts next: as many pods as the quota has room for, the longest chain first.

A build is as long as its longest chain of steps; a step at its head that waits makes the whole
build wait. How long a step takes is what it took in the record before.
"""

import logging
import re
import statistics
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from cbngtrain.dispatch.manifest import Room
from cbngtrain.errors import DispatchError, StoreError
from cbngtrain.plan import Plan
from cbngtrain.step import Step
from cbngtrain.store import Store

log = logging.getLogger(__name__)

NOTICED = 0.5  # seconds within which a waiting step notices that the build is stopping
PASSED_OVER = 10  # pods that may start before a step whose turn it is, since they need less

UNBOUNDED = Room(memory=2**40, cpu=2**40, pods=2**20)


# How long --------------------------------------------------------------------------------------


class Durations:
    """How long steps take, by the records of earlier builds; asked for when first wanted."""

    def __init__(self, plan: Plan, store: Store) -> None:
        """
        Args:
            plan: All steps.
            store: Where the records are.
        """
        self._plan = plan
        self._store = store
        self._known: dict[str, dict[str, float]] = {}  # slug → recipe → seconds
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def known(self, step: Step) -> float | None:
        """Return the seconds that *step* took before, or None where it never was made."""
        return self._of_edit_set(step.slug).get(step.recipe.name)

    def chain(self, step: Step) -> float:
        """Return the seconds from the start of *step* to the end of the edit set, as expected."""
        steps = self._plan.steps[step.slug]
        return longest_chains(steps, [self._expected(each) for each in steps])[step.recipe.name]

    def _expected(self, step: Step) -> float:
        """Return the seconds of *step*: its own, those of others like it, or a guess."""
        known = self.known(step)
        if known is not None:
            return known
        others = [seconds[step.recipe.name] for seconds in list(self._known.values())
                  if step.recipe.name in seconds]  # fmt: skip
        # No record at all: what counts is the proportion between steps.
        return statistics.median(others) if others else step.recipe.resources.seconds / 20

    def _of_edit_set(self, slug: str) -> dict[str, float]:
        """Return recipe → seconds, as the records of the edit set's last complete build tell."""
        with self._locks[slug]:
            if slug not in self._known:
                try:
                    self._known[slug] = _seconds(self._store, slug)
                except StoreError as error:
                    log.info("%s: how long its steps took is not known: %s", slug, error)
                    self._known[slug] = {}
            return self._known[slug]


def longest_chains(steps: Sequence[Step], seconds: Sequence[float]) -> dict[str, float]:
    """
    Return recipe → seconds of the longest chain of *steps* that begins with it, itself included.

    Args:
        steps: Of one edit set, in building order.
        seconds: How long each takes.
    """
    chains: dict[str, float] = {}
    for step, own in reversed(list(zip(steps, seconds, strict=True))):
        made = {leaf.artifact for leaf in step.recipe.leaves}
        below = [
            chains[other.recipe.name]
            for other in steps
            if other.recipe.name in chains and made.intersection(other.recipe.reads.values())
        ]
        chains[step.recipe.name] = own + max(below, default=0.0)
    return chains


def _seconds(store: Store, slug: str) -> dict[str, float]:
    """Return recipe → seconds, by the head of an edit set."""
    found = {}
    for name, row in (store.head(slug).get("steps") or {}).items():
        record = store.find(row["fingerprint"])
        seconds = record.about.get("seconds") if record else None
        if isinstance(seconds, int | float):
            found[name] = float(seconds)
    return found


# How many --------------------------------------------------------------------------------------


def room_within(quotas: Iterable[Mapping[str, Any]], others: Iterable[Mapping[str, Any]]) -> Room:
    """
    Return the room that *quotas* leave for us.

    Args:
        quotas: Resource quotas, as the API gives them.
        others: Pods that are not ours and count.
    """
    room = UNBOUNDED
    for quota in quotas:
        hard = quota.get("spec", {}).get("hard") or {}
        for name, amount in hard.items():
            kind = name.removeprefix("limits.").removeprefix("requests.").removeprefix("count/")
            if kind == "memory":
                room = replace(room, memory=min(room.memory, mebibytes(amount)))
            elif kind == "cpu" and name == "limits.cpu":
                room = replace(room, cpu=min(room.cpu, millicores(amount)))
            elif kind == "pods":
                room = replace(room, pods=min(room.pods, int(quantity(amount))))
    for pod in others:
        limits = _limits(pod)
        room = Room(
            memory=room.memory - limits.memory, cpu=room.cpu - limits.cpu, pods=room.pods - 1
        )
    return room


def _limits(pod: Mapping[str, Any]) -> Room:
    """Return what *pod* takes of a quota."""
    found = [each.get("resources", {}).get("limits") or {} for each in pod["spec"]["containers"]]
    return Room(
        memory=sum(mebibytes(limits.get("memory", "0")) for limits in found),
        cpu=sum(millicores(limits.get("cpu", "0")) for limits in found),
    )


def largest_container(ranges: Iterable[Mapping[str, Any]], quota: Room) -> Room:
    """Return the most that one container may have: by limit ranges, and by the *quota*."""
    most = Room(memory=quota.memory, cpu=quota.cpu)
    for each in ranges:
        for limit in each.get("spec", {}).get("limits") or []:
            if limit.get("type") == "Container":
                by = limit.get("max") or {}
                most = Room(
                    memory=min(most.memory, mebibytes(by.get("memory", str(2**60)))),
                    cpu=min(most.cpu, millicores(by.get("cpu", str(2**40)))),
                )
    return most


_SUFFIXES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15,
             "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50}  # fmt: skip


def quantity(text: object) -> Fraction:
    """Return an amount as Kubernetes writes it, such as ``500m``; raises DispatchError."""
    match = re.fullmatch(r"([0-9.]+(?:[eE][0-9]+)?)(m|[kMGTP]?|[KMGTP]i)", str(text))
    if match is None:
        raise DispatchError(f"the cluster names an amount of {text!r}, which is none")
    number, suffix = match.groups()
    return Fraction(number) * (Fraction(1, 1000) if suffix == "m" else _SUFFIXES[suffix])


def mebibytes(text: object) -> int:
    """Return an amount of memory in MiB."""
    return int(quantity(text) / 2**20)


def millicores(text: object) -> int:
    """Return an amount of CPU in thousandths of a core."""
    return int(quantity(text) * 1000)


# Whose turn ------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _Turn:
    """A step that waits for its start, or has it."""

    name: str
    need: Room
    chain: float
    has_it: bool = False
    passed_over: int = 0


class Slots:
    """What may run at once; who waits gets its turn by the length of its chain."""

    def __init__(self) -> None:
        self._limit = UNBOUNDED
        self._running: list[_Turn] = []
        self._waiting: list[_Turn] = []
        self._changed = threading.Condition()

    def set_limit(self, limit: Room) -> None:
        """From now on, let what runs at once be within *limit*; what runs is left alone."""
        with self._changed:
            if limit != self._limit:
                log.info("room for %d pods, %d MiB, %.1f CPU", limit.pods, limit.memory,
                         limit.cpu / 1000)  # fmt: skip
            self._limit = limit
            self._give()

    @contextmanager
    def turn(
        self, step: Step, need: Room, chain: float, until: Callable[[], None]
    ) -> Iterator[None]:
        """
        Wait for the turn of *step*, and have it while the block runs.

        Args:
            step: Who waits.
            need: What it takes.
            chain: How long its chain is, in seconds.
            until: Is called now and then; it raises to end the waiting.
        """
        turn = _Turn(step.name, need, chain)
        try:
            self._wait(turn, until)
            yield
        finally:
            self._leave(turn)

    @contextmanager
    def taken(self, step: Step, need: Room) -> Iterator[None]:
        """Count *step*, which runs already, while the block runs."""
        turn = _Turn(step.name, need, 0.0, has_it=True)
        with self._changed:
            self._running.append(turn)
        try:
            yield
        finally:
            self._leave(turn)

    def _wait(self, turn: _Turn, until: Callable[[], None]) -> None:
        with self._changed:
            self._waiting.append(turn)
            self._give()
            if not turn.has_it:
                log.info("%s: waits for its turn, with a chain of about %.0f s before it",
                         turn.name, turn.chain)  # fmt: skip
        while True:
            until()
            with self._changed:
                if turn.has_it or self._changed.wait_for(lambda: turn.has_it, NOTICED):
                    return

    def _leave(self, turn: _Turn) -> None:
        with self._changed:
            if turn in self._waiting:
                self._waiting.remove(turn)
            if turn in self._running:
                self._running.remove(turn)
            self._give()

    def _give(self) -> None:
        """Give their turn to those that wait and fit, the longest chain first."""
        left = self._left()
        held_up: list[_Turn] = []
        for turn in sorted(self._waiting, key=lambda each: -each.chain):
            if not _fits(turn.need, left):
                held_up.append(turn)
                if turn.passed_over >= PASSED_OVER:
                    break  # it has let enough others pass
                continue
            for each in held_up:
                each.passed_over += 1
            turn.has_it = True
            self._waiting.remove(turn)
            self._running.append(turn)
            left = self._left()
        self._changed.notify_all()

    def _left(self) -> Room:
        """Return the room that is left."""
        return Room(
            memory=self._limit.memory - sum(turn.need.memory for turn in self._running),
            cpu=self._limit.cpu - sum(turn.need.cpu for turn in self._running),
            pods=self._limit.pods - sum(turn.need.pods for turn in self._running),
        )


def _fits(need: Room, left: Room) -> bool:
    """Return whether *need* is within what is *left*."""
    return need.memory <= left.memory and need.cpu <= left.cpu and need.pods <= left.pods
