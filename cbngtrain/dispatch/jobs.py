"""
Steps as one-off jobs of a Toolforge tool: made or found, and made again where that helps.

A job has the name that a pod would have, so whoever wants the same finds it; it outlives the
process that made it, and leaves its record in the store itself.
"""

import logging
import threading
from collections.abc import Mapping

from cbngtrain.dispatch.classify import Verdict
from cbngtrain.dispatch.elsewhere import image_of, need_of, place_of, refuse_lost, timeout_of
from cbngtrain.dispatch.job_attendant import JobAttendant, JobPace, refuse
from cbngtrain.dispatch.manifest import Room, pod_name
from cbngtrain.dispatch.programs import Images
from cbngtrain.dispatch.script import script
from cbngtrain.dispatch.slots import UNBOUNDED, Durations, Slots
from cbngtrain.dispatch.stopping import Stopping
from cbngtrain.dispatch.toolforge_jobs import Job, Jobs, ended_pods
from cbngtrain.dispatch.tries import Tries
from cbngtrain.errors import DispatchError, JobExists, QuotaExceeded, ToolforgeError
from cbngtrain.plan import Plan
from cbngtrain.settings import Settings
from cbngtrain.step import Fingerprint, Made, Step
from cbngtrain.store import Store

log = logging.getLogger(__name__)


class JobDispatcher:
    """Runs steps as one-off jobs of a Toolforge tool."""

    def __init__(  # noqa: PLR0913, PLR0917 - what PodDispatcher takes, and the tool's jobs
        self,
        store: Store,
        settings: Settings,
        plan: Plan,
        images: Images,
        jobs: Jobs,
        pace: JobPace | None = None,
    ) -> None:
        """
        Args:
            store: Where jobs leave their results; they reach it by the settings' URL.
            settings: Limits, release.
            plan: All steps: what waits for what.
            images: What jobs run in.
            jobs: The tool's.
            pace: How often, and for how long.
        """
        self._store = store
        self._settings = settings
        self._images = images
        self._jobs = jobs
        self._pace = pace or JobPace()
        self.stopping = Stopping("job", self._pace.deadline, self._pace.look)
        self._attendant = JobAttendant(store, settings, jobs, self._pace, self.stopping)
        self._durations = Durations(plan, store)
        self._slots = Slots()
        self._most = UNBOUNDED  # of one job
        self._limits = threading.Lock()
        self._has_limits = False

    def run(self, step: Step, key: Fingerprint, inputs: Mapping[str, Made]) -> None:
        """See `Dispatcher`."""
        self.stopping.go_on(step)
        self._read_limits()
        need = need_of(step, self._settings, self._most)
        known: set[str] = set()  # pods whose end has been judged
        tries = Tries(
            step=step,
            where=f"job {pod_name(step, key)}",
            most=self._most.memory,
            again=self._pace.again,
            pause=self.stopping.pause,
        )
        tries.run(need, lambda room: self._tried(step, key, inputs, room, known))

    def _tried(
        self,
        step: Step,
        key: Fingerprint,
        inputs: Mapping[str, Made],
        need: Room,
        known: set[str],
    ) -> Verdict | None:
        """Have a job run *step* once; return why there is no record, or None where there is."""
        refuse_lost(self._store, inputs)
        name = pod_name(step, key)
        known |= self._ended_pods(step, name)
        there = self._attendant.looked(step, key, name)
        if isinstance(there, Job) and key in there.command and not there.has_ended:
            log.info("%s: attaching to job %s, which runs already", step.name, name)
            with self._slots.taken(step, need):
                return self._attendant.outcome(step, key, name, known)
        chain = self._durations.chain(step)
        with self._slots.turn(step, need, chain, lambda: self.stopping.go_on(step)):
            self._pace.deadline.admit(step, self._durations.known(step))
            known |= self._ended_pods(step, name)  # and those since
            if not self._has_started(step, key, inputs, need):
                return None
            return self._attendant.outcome(step, key, name, known)

    def _ended_pods(self, step: Step, name: str) -> set[str]:
        """Return the pods of earlier jobs of that name, whose ends are not this one's."""
        return ended_pods(self._attendant.log(step, name))

    def _has_started(
        self, step: Step, key: Fingerprint, inputs: Mapping[str, Made], need: Room
    ) -> bool:
        """Have a job for *step* that runs; return False where somebody has left the record."""
        name = pod_name(step, key)
        text = script(step, key, inputs, place_of(step, self._settings, self._store))
        command, image = ("bash", "-c", text), image_of(step, self._images)
        seconds = timeout_of(step, self._settings) + self._pace.transfer
        while True:
            self.stopping.go_on(step)
            if self._store.find(key):
                log.info("%s: somebody has left its record %.12s meanwhile", step.name, key)
                return False
            try:
                self._jobs.create(name, command, image, need=need, seconds=seconds)
            except JobExists:
                log.debug("%s: job %s is there already", step.name, name)
            except QuotaExceeded as error:
                log.info("%s: %s; waiting for others to end", step.name, error)
                self.stopping.pause(self._pace.quota)
                continue
            except ToolforgeError as error:
                refuse(step, error)  # else it may have been made all the same
                log.info("%s: %s", step.name, error)
                self.stopping.pause(self._pace.poll)
            else:
                log.info("%s: job %s is made, with %d MiB and %d m CPU", step.name, name,
                         need.memory, need.cpu)  # fmt: skip
                return True
            if self._is_there(step, key, name):
                return True

    def _is_there(self, step: Step, key: Fingerprint, name: str) -> bool:
        """Return whether a job for *step* is at work; one that has ended is deleted."""
        there = self._attendant.looked(step, key, name)
        if not isinstance(there, Job):
            return False
        if key not in there.command:
            raise DispatchError(
                f"{step.name}: job {name} is there and is for something else; "
                f"`toolforge jobs delete {name}` if nobody needs it"
            )
        if not there.has_ended:
            log.info("%s: attaching to job %s, which runs already", step.name, name)
            return True
        if self._store.find(key) is None:
            log.info("%s: job %s has ended without a record; it is deleted", step.name, name)
            self._attendant.remove(step, key, name)
        return False

    def _read_limits(self) -> None:
        """Read from the quota what may run at once, the first time; others wait for that."""
        with self._limits:
            if self._has_limits:
                return
            self._has_limits = True
            try:
                running, self._most = self._jobs.room()
            except (ToolforgeError, DispatchError) as error:
                log.warning("how much may run at once is not known: %s", error)
                return
            self._slots.set_limit(running)
