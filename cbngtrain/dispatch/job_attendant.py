"""
Waiting for the end of a Toolforge job: what Toolforge tells of it, its log, and what came of it.

Toolforge tells little of a job and forgets it soon after its end, so the store is asked first and
last: a record is success, and nothing else is. Why there is none is what the script said on the
last line of its log, where that can be had, and what Toolforge says, where it cannot.
"""

import json
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from cbngtrain.dispatch.classify import Means, Verdict, classify
from cbngtrain.dispatch.deadline import Deadline
from cbngtrain.dispatch.manifest import TRANSFER
from cbngtrain.dispatch.stopping import Stopping
from cbngtrain.dispatch.toolforge_jobs import Job, Jobs, Line, State, ended_pod
from cbngtrain.errors import DispatchError, StoreError, ToolforgeError
from cbngtrain.scratch import Scratch
from cbngtrain.settings import Settings
from cbngtrain.step import Digest, Fingerprint, Step
from cbngtrain.store import Store
from cbngtrain.toolforge_api import MAY_PASS

log = logging.getLogger(__name__)


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


@dataclass(frozen=True, slots=True)
class JobAttendant:
    """
    Who waits for jobs.

    Attributes:
        store: Where they leave their records.
        settings: How long they may wait for a node.
        jobs: The tool's.
        pace: How often, and for how long.
        stopping: Ends the waiting.
    """

    store: Store
    settings: Settings
    jobs: Jobs
    pace: JobPace
    stopping: Stopping

    def outcome(self, step: Step, key: Fingerprint, name: str, known: set[str]) -> Verdict | None:
        """Wait for the end of a job; return why there is no record, or None where there is."""
        with self.stopping.attending(name, partial(self.jobs.delete, name)):
            verdict = self._verdict(step, key, name, known)
        if self.store.find(key):
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
            self.stopping.pause(min(self.pace.poll, max(time.monotonic() - began, self.pace.look)))
            self.stopping.go_on(step)
            there = self.looked(step, key, name)
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
            if waited > self.settings.schedule_timeout:
                self.remove(step, key, name)
                why = f"no start for {waited:.0f} s (CBNG_SCHEDULE_TIMEOUT): {there.messages}"
                return Verdict(Means.UNSCHEDULABLE, why)
            if now - looked > self.pace.store:
                looked = now
                if self.store.find(key):
                    return Verdict(Means.ENDED)

    def looked(self, step: Step, key: Fingerprint, name: str) -> "Job | str | None":
        """
        Return the job as it is now, None where there is none, or `_RECORD`.

        While the API is away the store is asked instead, and `_RECORD` says that the record is
        there. Raises DispatchError if it stays away, or refuses.
        """
        end = time.monotonic() + self.pace.deaf
        while True:
            self.stopping.go_on(step)
            try:
                return self.jobs.job(name)
            except ToolforgeError as error:
                refuse(step, error)
                if self.store.find(key):
                    return _RECORD
                if time.monotonic() > end:
                    raise DispatchError(
                        f"{step.name}: {error}; its job goes on, and the next build finds it"
                    ) from error
                log.info("%s: %s; its job goes on, if there is one", step.name, error)
            self.stopping.pause(self.pace.poll)

    def _explained(
        self, step: Step, key: Fingerprint, name: str, there: Job | None, known: set[str]
    ) -> Verdict:
        """Return why a job has ended: what its script said last, else what Toolforge says."""
        if self.store.find(key):
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
        return replace(verdict, log=self.store.place(kept) if kept else None)

    def _last_words(
        self, step: Step, key: Fingerprint, name: str, known: set[str]
    ) -> tuple[list[Line], str, dict[str, object]]:
        """Return the log of a job, the pod that ended in it, and what that told; as it comes."""
        end = time.monotonic() + self.pace.logs
        lines: list[Line] = []
        while True:
            lines = self.log(step, name) or lines
            pod, told = ended_pod(lines, known)
            if told or time.monotonic() > end or self.store.find(key):
                return lines, pod, told
            self.stopping.pause(min(self.pace.poll, self.pace.logs / 4))

    def log(self, step: Step, name: str) -> list[Line]:
        """Return what can be had of a job's log now."""
        try:
            return self.jobs.log(name)
        except ToolforgeError as error:
            log.info("%s: its log cannot be had: %s", step.name, error)
            return []

    def _kept(self, step: Step, lines: list[Line]) -> Digest | None:
        """Keep the log of a job whose script could not; None where there is nothing."""
        if not lines:
            return None
        try:
            with Scratch().directory(step.name) as directory:
                path = directory / "log"
                path.write_text("".join(f"{line.text}\n" for line in lines), encoding="utf-8")
                return self.store.add(path)
        except StoreError as error:
            log.warning("%s: its log is not kept: %s", step.name, error)
            return None

    def remove(self, step: Step, key: Fingerprint, name: str) -> None:
        """Delete a job of ours and wait until it is gone. Raises DispatchError."""
        end = time.monotonic() + self.pace.gone
        while True:
            self.stopping.go_on(step)
            try:
                there = self.jobs.job(name)
                if there is None or key not in there.command:
                    return
                self.jobs.delete(name)
            except ToolforgeError as error:
                refuse(step, error)
                log.info("%s: %s", step.name, error)
            if time.monotonic() > end:
                raise DispatchError(
                    f"{step.name}: job {name} has not gone within {self.pace.gone:.0f} s; "
                    f"`toolforge jobs delete {name}`"
                )
            self.stopping.pause(self.pace.look)


_RECORD = "the record is there"

_NO_MEMORY = re.compile(r"OOMKilled|out of memory|\b137\b", re.IGNORECASE)
_NO_TIME = re.compile(r"DeadlineExceeded|\b124\b")


def refuse(step: Step, error: ToolforgeError) -> None:
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
