"""
Steps as pods: made or found, watched, judged, and made again where that helps.

A pod's name is that of what it makes, so whoever wants the same finds it; it outlives the process
that made it. It leaves its record in the store itself: whatever else is told of it, that record
is success, and nothing else is.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from math import inf

from cbngtrain.dispatch.attendant import Attendant, Pace
from cbngtrain.dispatch.classify import Means, Verdict, classify, has_ended, is_going
from cbngtrain.dispatch.cluster import Cluster, Json
from cbngtrain.dispatch.elsewhere import image_of, need_of, place_of, refuse_lost
from cbngtrain.dispatch.manifest import Room, Shell, fingerprint_of_pod, manifest, pod_name
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
from cbngtrain.dispatch.stopping import Stopping
from cbngtrain.dispatch.tries import Tries
from cbngtrain.errors import DispatchError, PodExists, QuotaExceeded
from cbngtrain.plan import Plan
from cbngtrain.settings import Settings
from cbngtrain.step import Fingerprint, Made, Step
from cbngtrain.store import Store

log = logging.getLogger(__name__)


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
        self.stopping = Stopping("pod", self._pace.deadline, self._pace.look)
        pause, go_on = self.stopping.pause, self.stopping.go_on
        self._cluster = Cluster(settings.kubeconfig, settings.namespace, pause)
        self._reflector = Reflector(self._cluster, lambda: self.stopping.has_begun)
        self._attendant = Attendant(
            self._cluster, self._reflector, store, settings, self._pace, go_on
        )
        self._durations = Durations(plan, store)
        self._slots = Slots()
        self._most = UNBOUNDED  # of one container
        self._limits = threading.Lock()
        self._limits_read = -1e9
        self._ours: set[str] = set()  # names of pods whose step has its turn

    # Running

    def run(self, step: Step, key: Fingerprint, inputs: Mapping[str, Made]) -> None:
        """See `Dispatcher`."""
        self.stopping.go_on(step)
        self._reflector.start()
        self._read_limits()
        need = need_of(step, self._settings, self._most)
        tries = Tries(
            step=step,
            where=f"pod {pod_name(step, key)}",
            most=self._most.memory,
            again=self._pace.again,
            pause=self.stopping.pause,
        )
        tries.run(need, lambda room: self._tried(step, key, inputs, room))

    def _tried(
        self, step: Step, key: Fingerprint, inputs: Mapping[str, Made], need: Room
    ) -> Verdict | None:
        """Have a pod run *step* once; return why there is no record, or None where there is."""
        refuse_lost(self._store, inputs)
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
                self.stopping.pause(min(pause, self._pace.quota))
                pause *= 2

    def _made(
        self, step: Step, key: Fingerprint, inputs: Mapping[str, Made], need: Room
    ) -> Json | None:
        """Return a pod for *step* that runs; None where somebody has left the record meanwhile."""
        wanted = manifest(step, key, self._shell(step, key, inputs), need)
        name = wanted["metadata"]["name"]
        while True:
            self.stopping.go_on(step)
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
                self.stopping.pause(self._pace.look)
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
        delete = partial(self._cluster.delete, pod, patience=0)
        with self.stopping.attending(pod["metadata"]["name"], delete):
            return self._attendant.outcome(step, key, pod, when_ended)

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
            self.stopping.go_on(step)
            self.stopping.pause(self._pace.look)
        self._reflector.forget(name)

    def _waiting(self, step: Step) -> None:
        """What a step does while it waits for its turn."""
        self.stopping.go_on(step)
        with suppress(DispatchError):
            self._read_limits()


def _can_attach(pod: Json, key: Fingerprint) -> bool:
    """Return whether *pod* is at work on *key*; never attach to one of which nothing can come."""
    is_at_work = classify(pod, 0.0, inf).means is Means.WAITING
    return fingerprint_of_pod(pod) == key and is_at_work and not is_going(pod)
