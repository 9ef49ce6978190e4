"""
Steps as pods: made or found, watched, judged, and made again where that helps.

A pod's name is that of what it makes, so whoever wants the same finds it; it outlives the process
that made it. It leaves its record in the store itself: whatever else is told of it, that record
is success, and nothing else is.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from math import inf

from cbngtrain.dispatch.attendant import Attendant, Pace
from cbngtrain.dispatch.classify import (
    Means,
    Verdict,
    classify,
    has_ended,
    is_going,
)
from cbngtrain.dispatch.cluster import Cluster, Json
from cbngtrain.dispatch.elsewhere import (
    failure,
    image_of,
    more_memory,
    need_of,
    place_of,
    refuse_lost,
)
from cbngtrain.dispatch.manifest import (
    Room,
    Shell,
    fingerprint_of_pod,
    manifest,
    pod_name,
)
from cbngtrain.dispatch.programs import Images
from cbngtrain.dispatch.reflector import Reflector
from cbngtrain.dispatch.script import script
from cbngtrain.dispatch.slots import (
    UNBOUNDED,
    Durations,
    Slots,
    largest_container,
    room_within,
)
from cbngtrain.errors import (
    DispatchError,
    PodExists,
    QuotaExceeded,
)
from cbngtrain.plan import Plan
from cbngtrain.settings import Settings
from cbngtrain.step import Fingerprint, Made, Step
from cbngtrain.store import Store

log = logging.getLogger(__name__)

INTERRUPTIONS = 3  # how often a step is tried again that the infrastructure interrupted
FAREWELL = 5.0  # seconds after a first Ctrl-C within which a second deletes this run's pods


class PodDispatcher:
    """Runs steps as pods of a Kubernetes cluster."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        plan: Plan,
        images: Images,
        pace: Pace | None = None,
    ) -> None:
        """
        Args:
            store: Where pods leave their results; they reach it by the settings' URL.
            settings: Cluster, limits, release.
            plan: All steps: what waits for what.
            images: What pods run in.
            pace: How often, and for how long.

        Raises:
            SettingsError: There is no kubeconfig that can be used.
        """
        self._store = store
        self._settings = settings
        self._images = images
        self._pace = pace or Pace()
        self._is_stopping = False
        self._interrupts = 0
        self._cluster = Cluster(settings.kubeconfig, settings.namespace, self._pause)
        self._reflector = Reflector(self._cluster, lambda: self._is_stopping)
        self._attendant = Attendant(
            self._cluster, self._reflector, store, settings, self._pace, self._go_on
        )
        self._durations = Durations(plan, store)
        self._slots = Slots()
        self._most = UNBOUNDED  # of one container
        self._limits = threading.Lock()
        self._limits_read = -1e9
        self._ours: set[str] = set()  # names of pods whose step has its turn
        self._attended: dict[str, Json] = {}  # pods that this run waits for

    # Running

    def run(self, step: Step, key: Fingerprint, inputs: Mapping[str, Made]) -> None:
        """See `Dispatcher`."""
        self._go_on(step)
        self._reflector.start()
        self._read_limits()
        need = need_of(step, self._settings, self._most)
        had: list[int] = []
        interruptions = 0
        while True:
            refuse_lost(self._store, inputs)
            verdict = self._tried(step, key, inputs, need)
            if verdict is None:
                return
            if verdict.means is Means.OUT_OF_MEMORY:
                had.append(need.memory)
                need = replace(need, memory=more_memory(step, had, verdict, self._most.memory))
                continue
            if verdict.means is not Means.INTERRUPTED:
                raise failure(step, f"pod {pod_name(step, key)}", verdict)
            interruptions += 1
            if interruptions > INTERRUPTIONS:
                raise DispatchError(
                    f"{step.name} was interrupted {interruptions} times, the last time since "
                    f"{verdict.why}{_log_of(verdict)}"
                )
            log.warning("%s: %s; trying again (%d of %d)", step.name, verdict.why, interruptions,
                        INTERRUPTIONS)  # fmt: skip
            self._pause(self._pace.again * 2 ** (interruptions - 1))

    def _tried(
        self, step: Step, key: Fingerprint, inputs: Mapping[str, Made], need: Room
    ) -> Verdict | None:
        """Have a pod run *step* once; return why there is no record, or None where there is."""
        there = self._reflector.pod(pod_name(step, key))
        self._ours.discard(pod_name(step, key))
        if there and _can_attach(there, key):
            log.info("%s: attaching to pod %s, which runs already", step.name, pod_name(step, key))
            self._ours.add(pod_name(step, key))
            with ExitStack() as room:
                room.enter_context(self._slots.taken(step, need))
                return self._attended_to(step, key, there, room.close)
        pause = 1.0  # the quota lags a little behind a pod's end
        while True:
            try:
                with ExitStack() as room:
                    chain = self._durations.chain(step)
                    turn = self._slots.turn(step, need, chain, lambda: self._waiting(step))
                    room.enter_context(turn)
                    self._pace.deadline.admit(step, self._durations.known(step))
                    self._ours.add(pod_name(step, key))
                    pod = self._made(step, key, inputs, need)
                    return self._attended_to(step, key, pod, room.close) if pod else None
            except QuotaExceeded as error:
                log.info("%s: %s; waiting for others to end", step.name, error)
                self._read_limits(at_once=True)
                self._pause(min(pause, self._pace.quota))
                pause *= 2

    def _made(
        self, step: Step, key: Fingerprint, inputs: Mapping[str, Made], need: Room
    ) -> Json | None:
        """Return a pod for *step* that runs; None where somebody has left the record meanwhile."""
        wanted = manifest(step, key, self._shell(step, key, inputs), need)
        name = wanted["metadata"]["name"]
        while True:
            self._go_on(step)
            if self._store.find(key):
                log.info("%s: somebody has left its record %.12s meanwhile", step.name, key)
                return None
            try:
                pod = self._cluster.create(wanted)
            except PodExists:
                there = self._cluster.pod(name)
            else:
                log.info("%s: pod %s is made, with %d MiB and %d m CPU", step.name, name,
                         need.memory, need.cpu)  # fmt: skip
                self._reflector.note(pod)
                return pod
            if there is None:  # it has just gone; or the quota was being changed, which is 409 too
                self._pause(self._pace.look)
                continue
            if fingerprint_of_pod(there) != key:
                raise DispatchError(
                    f"{step.name}: pod {name} is there and is for something else; "
                    f"`kubectl delete pod {name}` if nobody needs it"
                )
            if _can_attach(there, key):
                log.info("%s: attaching to pod %s, which runs already", step.name, name)
                self._reflector.note(there)
                return there
            log.info("%s: pod %s has ended without a record; it is deleted", step.name, name)
            self._remove(step, there)

    def _shell(self, step: Step, key: Fingerprint, inputs: Mapping[str, Made]) -> Shell:
        """Return what the container of *step* is."""
        place = place_of(step, self._settings, self._store)
        return Shell(
            image=image_of(step, self._images),
            script=script(step, key, inputs, place),
            workspace=place.workspace if place.release else "",
            seconds=place.timeout + self._pace.transfer,
        )

    def _attended_to(
        self, step: Step, key: Fingerprint, pod: Json, when_ended: Callable[[], None]
    ) -> Verdict | None:
        """Wait for the end of *pod*; return why there is no record, or None where there is."""
        name = pod["metadata"]["name"]
        self._attended[name] = pod
        try:
            return self._attendant.outcome(step, key, pod, when_ended)
        finally:
            if not self._is_stopping:  # else it goes on, and `leave` tells of it
                self._attended.pop(name, None)

    # Deciding

    def _read_limits(self, *, at_once: bool = False) -> None:
        """Read from the quota what may run at once, unless that was done just now."""
        with self._limits:
            if not at_once and time.monotonic() - self._limits_read < self._pace.quota:
                return
            is_first = self._limits_read < 0
            self._limits_read = time.monotonic()
            patience = None if is_first else 0.0
            try:
                quotas = self._cluster.quotas(patience)
                pods, _ = self._cluster.pods("", patience)
                ranges = self._cluster.limit_ranges(patience)
            except DispatchError as error:
                log.warning("how much may run at once is not known: %s", error)
                return
            others = [
                pod
                for pod in pods
                if pod["metadata"]["name"] not in self._ours and not has_ended(pod)
            ]
            self._most = largest_container(ranges, room_within(quotas, ()))
            self._slots.set_limit(room_within(quotas, others))

    # Removing

    def _remove(self, step: Step, pod: Json) -> None:
        """Delete *pod* and wait until it is gone. Raises DispatchError."""
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        self._cluster.delete(pod)
        end = time.monotonic() + self._pace.gone
        while (there := self._cluster.pod(name)) and there["metadata"]["uid"] == uid:
            if time.monotonic() > end:
                raise DispatchError(
                    f"{step.name}: pod {name} has not gone within {self._pace.gone:.0f} s; is its "
                    f"node lost? `kubectl delete pod {name} --force --grace-period=0` ends that"
                )
            self._go_on(step)
            self._pause(self._pace.look)
        self._reflector.forget(name)

    # Stopping

    def kill(self) -> None:
        """
        Start nothing more and wait for nothing; pods go on, for the next build to find.

        For a signal handler: it takes no lock and waits for nothing.
        """
        self._is_stopping = True

    def interrupt(self) -> None:
        """Count a Ctrl-C; for a signal handler, as `kill`."""
        self._interrupts += 1

    def leave(self) -> None:
        """
        At the very end: say what goes on, and delete it on a second Ctrl-C.

        After a first one it waits for a second for a few seconds, if there is anything to delete.
        """
        pods = list(self._attended.values())
        if not self._is_stopping or not pods:
            return
        names = ", ".join(sorted(pod["metadata"]["name"] for pod in pods))
        if self._interrupts == 1:
            _say(f"These pods go on, and the next build finds them: {names}\n"
                 f"Ctrl-C again within {FAREWELL:.0f} s deletes them.")  # fmt: skip
            end = time.monotonic() + FAREWELL
            while self._interrupts == 1 and time.monotonic() < end:
                time.sleep(0.05)
        if self._interrupts > 1:
            self._delete_all(pods)
        elif self._interrupts == 0:
            log.info("these pods go on: %s", names)

    def _delete_all(self, pods: list[Json]) -> None:
        """Delete *pods*, saying so."""
        for pod in pods:
            name = pod["metadata"]["name"]
            try:
                self._cluster.delete(pod, patience=0)
            except DispatchError as error:
                _say(f"pod {name} is not deleted: {error}")
            else:
                _say(f"pod {name} is deleted")

    def _go_on(self, step: Step) -> None:
        """Raise DispatchError if nobody is to wait for *step* any more."""
        if self._is_stopping:
            raise DispatchError(f"{step.name} is not waited for: the build is stopping")
        if self._pace.deadline.left <= 0:
            raise DispatchError(
                f"{step.name} is left to the next build, which finds its pod: CBNG_DEADLINE is over"
            )

    def _waiting(self, step: Step) -> None:
        """What a step does while it waits for its turn."""
        self._go_on(step)
        with suppress(DispatchError):
            self._read_limits()

    def _pause(self, seconds: float) -> None:
        """Wait. Raises DispatchError where the build is stopping."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._is_stopping:
                raise DispatchError("the build is stopping")
            time.sleep(min(left, self._pace.look))


def _can_attach(pod: Json, key: Fingerprint) -> bool:
    """Return whether *pod* is at work on *key*; never attach to one of which nothing can come."""
    is_at_work = classify(pod, 0.0, inf).means is Means.WAITING
    return fingerprint_of_pod(pod) == key and is_at_work and not is_going(pod)


def _log_of(verdict: Verdict) -> str:
    """Return where the log is, where there is one."""
    return f"; its log: {verdict.log}" if verdict.log else ""


def _say(text: str) -> None:
    """Tell the person at the terminal, at the very end."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
