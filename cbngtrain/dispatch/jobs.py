"""
Steps as one-off jobs of a Toolforge tool.

Toolforge tells little of a job and forgets it soon after its end, so the store is asked first and
last: a record is success, and nothing else is. Why there is none is what the script said on the
last line of its log, where that can be had, and what Toolforge says, where it cannot.
"""

import json
import logging
import re
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from cbngtrain.dispatch.classify import Means, Verdict, classify
from cbngtrain.dispatch.deadline import Deadline
from cbngtrain.dispatch.elsewhere import (
    failure,
    image_of,
    more_memory,
    need_of,
    place_of,
    refuse_lost,
    timeout_of,
)
from cbngtrain.dispatch.manifest import TRANSFER, Room, pod_name
from cbngtrain.dispatch.programs import Images
from cbngtrain.dispatch.script import script
from cbngtrain.dispatch.slots import UNBOUNDED, Durations, Slots
from cbngtrain.dispatch.toolforge_jobs import Job, Jobs, Line, State, ended_pod, ended_pods
from cbngtrain.errors import (
    DispatchError,
    JobExists,
    QuotaExceeded,
    StoreError,
    ToolforgeError,
)
from cbngtrain.plan import Plan
from cbngtrain.scratch import Scratch
from cbngtrain.settings import Settings
from cbngtrain.step import Digest, Fingerprint, Made, Step
from cbngtrain.store import Store
from cbngtrain.toolforge_api import MAY_PASS

log = logging.getLogger(__name__)

INTERRUPTIONS = 3  # how often a step is tried again that the infrastructure interrupted
FAREWELL = 5.0  # seconds after a first Ctrl-C within which a second deletes this run's jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPace:
    """
    How often, and for how long; tests have less patience than operators.

    Attributes:
        look: Seconds within which a waiting step notices that the build is stopping.
        poll: Seconds between two looks at a job: it is forgotten 30 s after its end.
        store: Seconds between two looks into the store while a job runs.
        deaf: Seconds without an answer of the API after which steps are not waited for any more.
        gone: Seconds that a job may take to go.
        logs: Seconds within which a log should have come; the API lags.
        quota: Seconds between two tries while others use the quota up.
        again: Seconds before the second try of a step; before each further one twice as many.
        transfer: Seconds of a job's life besides its command.
        deadline: The end of the build.
    """

    look: float = 0.5
    poll: float = 5.0
    store: float = 60.0
    deaf: float = 900.0
    gone: float = 120.0
    logs: float = 60.0
    quota: float = 30.0
    again: float = 5.0
    transfer: int = TRANSFER
    deadline: Deadline = field(default_factory=Deadline)


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
        self._scratch = Scratch()
        self._durations = Durations(plan, store)
        self._slots = Slots()
        self._most = UNBOUNDED  # of one job
        self._is_stopping = False
        self._interrupts = 0
        self._has_limits = False
        self._attended: set[str] = set()  # jobs that this run waits for

    # Running

    def run(self, step: Step, key: Fingerprint, inputs: Mapping[str, Made]) -> None:
        """See `Dispatcher`."""
        self._go_on(step)
        self._read_limits()
        need = need_of(step, self._settings, self._most)
        had: list[int] = []
        known: set[str] = set()  # pods whose end has been judged
        interruptions = 0
        while True:
            refuse_lost(self._store, inputs)
            verdict = self._tried(step, key, inputs, need, known)
            if verdict is None:
                return
            if verdict.means is Means.OUT_OF_MEMORY:
                had.append(need.memory)
                need = replace(need, memory=more_memory(step, had, verdict, self._most.memory))
                continue
            if verdict.means is not Means.INTERRUPTED:
                raise failure(step, f"job {pod_name(step, key)}", verdict)
            interruptions += 1
            if interruptions > INTERRUPTIONS:
                raise DispatchError(
                    f"{step.name} was interrupted {interruptions} times, the last time since "
                    f"{verdict.why}{f'; its log: {verdict.log}' if verdict.log else ''}"
                )
            log.warning("%s: %s; trying again (%d of %d)", step.name, verdict.why, interruptions,
                        INTERRUPTIONS)  # fmt: skip
            self._pause(self._pace.again * 2 ** (interruptions - 1))

    def _tried(
        self,
        step: Step,
        key: Fingerprint,
        inputs: Mapping[str, Made],
        need: Room,
        known: set[str],
    ) -> Verdict | None:
        """Have a job run *step* once; return why there is no record, or None where there is."""
        name = pod_name(step, key)
        known |= ended_pods(self._log(step, name))  # of earlier jobs of that name
        there = self._looked(step, key, name)
        if isinstance(there, Job) and key in there.command and not there.has_ended:
            log.info("%s: attaching to job %s, which runs already", step.name, name)
            with self._slots.taken(step, need):
                return self._outcome(step, key, name, known)
        chain = self._durations.chain(step)
        with self._slots.turn(step, need, chain, lambda: self._go_on(step)):
            self._pace.deadline.admit(step, self._durations.known(step))
            known |= ended_pods(self._log(step, name))  # of those while it waited for its turn
            if not self._has_started(step, key, inputs, need):
                return None
            return self._outcome(step, key, name, known)

    def _has_started(
        self, step: Step, key: Fingerprint, inputs: Mapping[str, Made], need: Room
    ) -> bool:
        """Have a job for *step* that runs; return False where somebody has left the record."""
        name = pod_name(step, key)
        text = script(step, key, inputs, place_of(step, self._settings, self._store))
        command, image = ("bash", "-c", text), image_of(step, self._images)
        seconds = timeout_of(step, self._settings) + self._pace.transfer
        while True:
            self._go_on(step)
            if self._store.find(key):
                log.info("%s: somebody has left its record %.12s meanwhile", step.name, key)
                return False
            try:
                self._jobs.create(name, command, image, need=need, seconds=seconds)
            except JobExists:
                log.debug("%s: job %s is there already", step.name, name)
            except QuotaExceeded as error:
                log.info("%s: %s; waiting for others to end", step.name, error)
                self._pause(self._pace.quota)
                continue
            except ToolforgeError as error:
                _refuse(step, error)  # else it may have been made all the same
                log.info("%s: %s", step.name, error)
                self._pause(self._pace.poll)
            else:
                log.info("%s: job %s is made, with %d MiB and %d m CPU", step.name, name,
                         need.memory, need.cpu)  # fmt: skip
                return True
            if self._is_there(step, key, name):
                return True

    def _is_there(self, step: Step, key: Fingerprint, name: str) -> bool:
        """Return whether a job for *step* is at work; one that has ended is deleted."""
        there = self._looked(step, key, name)
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
            self._remove(step, key, name)
        return False

    # Waiting

    def _outcome(self, step: Step, key: Fingerprint, name: str, known: set[str]) -> Verdict | None:
        """Wait for the end of a job; return why there is no record, or None where there is."""
        self._attended.add(name)
        try:
            verdict = self._verdict(step, key, name, known)
        finally:
            if not self._is_stopping:
                self._attended.discard(name)
        if self._store.find(key):
            return None
        if verdict.means is Means.ENDED:
            why = "it ended well, but its record is not there"
            return replace(verdict, means=Means.INTERRUPTED, why=why)
        return verdict

    def _verdict(self, step: Step, key: Fingerprint, name: str, known: set[str]) -> Verdict:
        """Return what came of a job, when something has; success is asked of the store."""
        began = pending = looked = time.monotonic()
        while True:
            # A short job is looked at soon, a long one seldom.
            self._pause(min(self._pace.poll, max(time.monotonic() - began, self._pace.look)))
            self._go_on(step)
            there = self._looked(step, key, name)
            if there is _RECORD:
                return Verdict(Means.ENDED)
            if there is None or (isinstance(there, Job) and there.has_ended):
                return self._explained(step, key, name, there, known)
            assert isinstance(there, Job)
            if key not in there.command:
                return Verdict(Means.INTERRUPTED, "its job is gone; another one has its name")
            now = time.monotonic()
            if there.state is not State.PENDING or "quota" in there.messages.lower():
                pending = now
            waited = now - pending
            if waited > self._settings.schedule_timeout:
                self._remove(step, key, name)
                why = f"no start for {waited:.0f} s (CBNG_SCHEDULE_TIMEOUT): {there.messages}"
                return Verdict(Means.UNSCHEDULABLE, why)
            if now - looked > self._pace.store:
                looked = now
                if self._store.find(key):
                    return Verdict(Means.ENDED)

    def _looked(self, step: Step, key: Fingerprint, name: str) -> "Job | str | None":
        """
        Return the job as it is now, None where there is none, or `_RECORD`.

        While the API is away the store is asked instead, and `_RECORD` says that the record is
        there. Raises DispatchError if it stays away, or refuses.
        """
        end = time.monotonic() + self._pace.deaf
        while True:
            self._go_on(step)
            try:
                return self._jobs.job(name)
            except ToolforgeError as error:
                _refuse(step, error)
                if self._store.find(key):
                    return _RECORD
                if time.monotonic() > end:
                    raise DispatchError(
                        f"{step.name}: {error}; its job goes on, and the next build finds it"
                    ) from error
                log.info("%s: %s; its job goes on, if there is one", step.name, error)
            self._pause(self._pace.poll)

    def _explained(
        self, step: Step, key: Fingerprint, name: str, there: Job | None, known: set[str]
    ) -> Verdict:
        """Return why a job has ended: what its script said last, else what Toolforge says."""
        if self._store.find(key):
            return Verdict(Means.ENDED)
        lines, pod, told = self._last_words(step, key, name, known)
        known.add(pod)
        for line in (line for line in lines if line.pod == pod):
            log.info("%s: %s", step.name, line.text)
        if told:
            verdict = classify(_as_pod(told), 0, 0)
        else:
            verdict = _of_messages(there)
            lines = [line for line in lines if line.pod not in known]
        kept = Digest(verdict.log) if verdict.log else self._kept(step, lines)
        return replace(verdict, log=self._store.place(kept) if kept else None)

    def _last_words(
        self, step: Step, key: Fingerprint, name: str, known: set[str]
    ) -> tuple[list[Line], str, dict[str, object]]:
        """Return the log of a job, the pod that ended in it, and what that told; as it comes."""
        end = time.monotonic() + self._pace.logs
        lines: list[Line] = []
        while True:
            lines = self._log(step, name) or lines
            pod, told = ended_pod(lines, known)
            if told or time.monotonic() > end or self._store.find(key):
                return lines, pod, told
            self._pause(min(self._pace.poll, self._pace.logs / 4))

    def _log(self, step: Step, name: str) -> list[Line]:
        """Return what can be had of a job's log now."""
        try:
            return self._jobs.log(name)
        except ToolforgeError as error:
            log.info("%s: its log cannot be had: %s", step.name, error)
            return []

    def _kept(self, step: Step, lines: list[Line]) -> Digest | None:
        """Keep the log of a job whose script could not; None where there is nothing."""
        if not lines:
            return None
        try:
            with self._scratch.directory(step.name) as directory:
                path = directory / "log"
                path.write_text("".join(f"{line.text}\n" for line in lines), encoding="utf-8")
                return self._store.add(path)
        except StoreError as error:
            log.warning("%s: its log is not kept: %s", step.name, error)
            return None

    def _read_limits(self) -> None:
        """Read from the quota what may run at once, the first time."""
        if self._has_limits:
            return
        self._has_limits = True
        try:
            running, self._most = self._jobs.room()
        except (ToolforgeError, DispatchError) as error:
            log.warning("how much may run at once is not known: %s", error)
            return
        self._slots.set_limit(running)

    def _remove(self, step: Step, key: Fingerprint, name: str) -> None:
        """Delete a job of ours and wait until it is gone. Raises DispatchError."""
        end = time.monotonic() + self._pace.gone
        while True:
            self._go_on(step)
            try:
                there = self._jobs.job(name)
                if there is None or key not in there.command:
                    return
                self._jobs.delete(name)
            except ToolforgeError as error:
                _refuse(step, error)
                log.info("%s: %s", step.name, error)
            if time.monotonic() > end:
                raise DispatchError(
                    f"{step.name}: job {name} has not gone within {self._pace.gone:.0f} s; "
                    f"`toolforge jobs delete {name}`"
                )
            self._pause(self._pace.look)

    # Stopping

    def kill(self) -> None:
        """
        Start nothing more and wait for nothing; jobs go on, for the next build to find.

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
        names = sorted(self._attended)
        if not self._is_stopping or not names:
            return
        if self._interrupts == 1:
            _say(f"These jobs go on, and the next build finds them: {', '.join(names)}\n"
                 f"Ctrl-C again within {FAREWELL:.0f} s deletes them.")  # fmt: skip
            end = time.monotonic() + FAREWELL
            while self._interrupts == 1 and time.monotonic() < end:
                time.sleep(0.05)
        if self._interrupts > 1:
            for name in names:
                self._delete(name)
        elif self._interrupts == 0:
            log.info("these jobs go on: %s", ", ".join(names))

    def _delete(self, name: str) -> None:
        """Delete a job of this run, saying so."""
        try:
            self._jobs.delete(name)
        except ToolforgeError as error:
            _say(f"job {name} is not deleted: {error}")
        else:
            _say(f"job {name} is deleted")

    def _go_on(self, step: Step) -> None:
        """Raise DispatchError if nobody is to wait for *step* any more."""
        if self._is_stopping:
            raise DispatchError(f"{step.name} is not waited for: the build is stopping")
        if self._pace.deadline.left <= 0:
            raise DispatchError(
                f"{step.name} is left to the next build, which finds its job: CBNG_DEADLINE is over"
            )

    def _pause(self, seconds: float) -> None:
        """Wait. Raises DispatchError where the build is stopping."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._is_stopping:
                raise DispatchError("the build is stopping")
            time.sleep(min(left, self._pace.look))


_RECORD = "the record is there"

_NO_MEMORY = re.compile(r"OOMKilled|out of memory|\b137\b", re.IGNORECASE)
_NO_TIME = re.compile(r"DeadlineExceeded|\b124\b")


def _refuse(step: Step, error: ToolforgeError) -> None:
    """Raise DispatchError if *error* will not pass."""
    if error.code is not None and error.code not in MAY_PASS:
        raise DispatchError(f"{step.name}: {error}") from error


def _as_pod(told: Mapping[str, object]) -> dict[str, object]:
    """Return the state of a pod whose script ended with what was *told*, for `classify`."""
    end = {"exitCode": told["code"], "message": json.dumps(told)}
    status = {"containerStatuses": [{"state": {"terminated": end}}]}
    return {"metadata": {}, "status": status}


def _of_messages(there: Job | None) -> Verdict:
    """Return what it means that a job ended of which Toolforge alone says anything."""
    if there is None:
        return Verdict(Means.INTERRUPTED, "its job is gone without a word")
    said = f": {there.messages}" if there.messages else ""
    if there.state is State.SUCCEEDED:
        return Verdict(Means.ENDED)
    if _NO_MEMORY.search(there.messages):
        return Verdict(Means.OUT_OF_MEMORY, f"ran out of memory{said}")
    if _NO_TIME.search(there.messages):
        return Verdict(Means.STEP_TIMED_OUT, f"ran out of time{said}")
    return Verdict(Means.INTERRUPTED, f"its job failed without a word of its script{said}")


def _say(text: str) -> None:
    """Tell the person at the terminal, at the very end."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
