"""
Waiting for the end of a pod: its state, its log, and what came of it.

The record in the store decides. Where there is none, the pod's state says why; where that is not
to be had either, since the API is away, the store is asked now and then.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from cbngtrain.dispatch.classify import Means, Verdict, classify, has_begun, waits_for
from cbngtrain.dispatch.cluster import Cluster, Json
from cbngtrain.dispatch.deadline import Deadline
from cbngtrain.dispatch.manifest import TRANSFER
from cbngtrain.dispatch.pod_log import PodLog
from cbngtrain.dispatch.reflector import Reflector
from cbngtrain.errors import DispatchError, StoreError
from cbngtrain.scratch import Scratch
from cbngtrain.settings import Settings
from cbngtrain.step import Digest, Fingerprint, Step
from cbngtrain.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """
    How often, and for how long; tests have less patience than operators.

    Attributes:
        look: Seconds within which a waiting step notices that the build is stopping.
        poll: Seconds after which a pod is asked for by name: a broken connection may be silent.
        deaf: Seconds of silence of the API after which steps are not waited for any more.
        gone: Seconds that a pod may take to go.
        quota: Seconds between two tries while others use the quota up; and between two looks at it.
        last_lines: Seconds that the last lines of an ended pod's log may take.
        again: Seconds before the second try of a step; before each further one twice as many.
        transfer: Seconds of a pod's life besides its command.
        deadline: The end of the build.
    """

    look: float = 0.5
    poll: float = 30.0
    deaf: float = 900.0
    gone: float = 120.0
    quota: float = 15.0
    last_lines: float = 2.0
    again: float = 5.0
    transfer: int = TRANSFER
    deadline: Deadline = field(default_factory=Deadline)


@dataclass(frozen=True, slots=True)
class Attendant:
    """
    Who waits for pods.

    Attributes:
        cluster: Where they are.
        reflector: What is known of them.
        store: Where they leave their records.
        settings: How long they may wait for a node; what must not be in a log.
        pace: How often, and for how long.
        go_on: Is called now and then; it raises DispatchError to end the waiting for a step.
    """

    cluster: Cluster
    reflector: Reflector
    store: Store
    settings: Settings
    pace: Pace
    go_on: Callable[[Step], None]

    def outcome(
        self, step: Step, key: Fingerprint, pod: Json, when_ended: Callable[[], None]
    ) -> Verdict | None:
        """
        Wait for the end of *pod*; return why there is no record, or None where there is.

        *when_ended* is called at once when it has: its room is another's from then on.
        """
        with Scratch().directory(step.name) as directory:
            output = self._log(step, pod["metadata"]["name"], directory / "log")
            try:
                verdict = self._verdict(step, key, pod, output)
                when_ended()
                if self.store.find(key):
                    if log.isEnabledFor(logging.INFO):
                        output.let_end(self.pace.last_lines)  # somebody reads it
                    self._tidy(pod)
                    return None
                return self._explained(step, pod, verdict, output)
            finally:
                output.let_end(0)

    def _log(self, step: Step, name: str, path: Path) -> PodLog:
        """Return the log of a pod, not followed yet."""
        secrets = tuple(word.strip() for word in self.settings.file_api_key.split(","))
        return PodLog(
            self.cluster,
            name,
            path,
            lambda line: _pass_on(step, line),
            tuple(filter(None, secrets)),
        )

    def _verdict(self, step: Step, key: Fingerprint, pod: Json, output: PodLog) -> Verdict:
        """Return what came of *pod*, when something has."""
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        waiting, since = "", time.monotonic()
        asked, is_followed = time.monotonic(), False
        while True:
            self.go_on(step)
            there = self.reflector.pod(name)
            is_doubtful = there is None or there["metadata"]["uid"] != uid
            if is_doubtful or time.monotonic() - asked > self.pace.poll:
                asked = time.monotonic()
                there = self._asked(step, key, there or pod)
                if there is None:
                    return Verdict(Means.ENDED)  # its record is there
                if there.get("metadata", {}).get("uid") != uid:
                    return Verdict(Means.INTERRUPTED, "its pod is gone; somebody deleted it")
            assert there is not None
            if not is_followed and has_begun(there):
                is_followed = True
                output.start()
            if waits_for(there) != waiting:
                waiting, since = waits_for(there), time.monotonic()
                log.info("%s: waits for %s", step.name, waiting)
            waited = time.monotonic() - since
            verdict = classify(there, waited, self.settings.schedule_timeout)
            if verdict.means is not Means.WAITING:
                return verdict
            self.reflector.wait(self.pace.look)

    def _asked(self, step: Step, key: Fingerprint, pod: Json) -> Json | None:
        """
        Return *pod* as it is now, an empty object where there is none of its name.

        While the API is away the store is asked instead, and None says that the record is there.
        """
        name = pod["metadata"]["name"]
        try:
            there = self.cluster.pod(name, patience=0)
        except DispatchError as error:
            if self.store.find(key):
                return None
            if self.reflector.deaf > self.pace.deaf:
                raise DispatchError(
                    f"{step.name}: {error}; its pod goes on, and the next build finds it"
                ) from error
            log.info("%s: %s; its pod goes on", step.name, error)
            return pod
        if there is None:
            self.reflector.forget(name)
            return {}
        self.reflector.note(there)
        return there

    def _explained(self, step: Step, pod: Json, verdict: Verdict, output: PodLog) -> Verdict:
        """Return *verdict* with a log that was kept; a pod that would wait for ever is deleted."""
        if verdict.means in {Means.IMPOSSIBLE, Means.UNSCHEDULABLE}:
            self._tidy(pod)
            return verdict
        if verdict.means is Means.ENDED:
            verdict = replace(
                verdict, means=Means.INTERRUPTED, why="it ended well, but its record is not there"
            )
        if verdict.log is None:
            verdict = replace(verdict, log=self._kept(step, output))
        return replace(verdict, log=verdict.log and self.store.place(Digest(verdict.log)))

    def _kept(self, step: Step, output: PodLog) -> Digest | None:
        """Keep what a pod printed; return its digest, or None where there is nothing."""
        path = output.finish(self.pace.last_lines)
        if not path.stat().st_size:
            return None
        try:
            return self.store.add(path)
        except StoreError as error:
            log.warning("%s: its log is not kept: %s", step.name, error)
            return None

    def _tidy(self, pod: Json) -> None:
        """Delete a pod that nobody needs any more; if that fails, it is pruned some day."""
        try:
            self.cluster.delete(pod, patience=0)
        except DispatchError as error:
            log.info("%s; `cbng-trainer pods --prune` deletes it", error)


def _pass_on(step: Step, line: str) -> None:
    """Log a line that a pod printed."""
    if line.strip():
        log.info("%s: %s", step.name, line.rstrip())
