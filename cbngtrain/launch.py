"""
One Toolforge job for each edit set, which builds it: ``run-edit-sets --launch jobs``.

A job is named after its edit set. One that runs already, started by whoever, is waited for instead
of another one. What became of it is told by the last line of its log, where that can be had.
"""

import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from cbngtrain.dispatch.manifest import Room
from cbngtrain.dispatch.toolforge_jobs import Job, Jobs, Line, State, ended_pod, ended_pods
from cbngtrain.errors import DispatchError, JobExists, QuotaExceeded, ToolforgeError
from cbngtrain.image import Image
from cbngtrain.toolforge_api import MAY_PASS

log = logging.getLogger(__name__)

NEED = Room(memory=2048, cpu=1000)  # a job that runs all steps of a large edit set by itself

LIMIT = 86_400  # seconds that an edit set may take where CBNG_DEADLINE does not say

# The command's words are bash's arguments: what is in them is never read as bash.
_TELLS_ITS_END = (
    '"$@"; code=$?; printf \'cbngtrain: {"code":%d}\\n\' "$code"; exit "$code"'  # as step.sh does
)

_LONGEST_SLUG = 33  # of 52 characters, what the rest of the name leaves


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """
    What a job does for an edit set.

    Attributes:
        edit_set: The edit set's name, which is not to be trusted.
        slug: The same for names of jobs.
        command: ``cbng-trainer run-edit-set …``.
    """

    edit_set: str
    slug: str
    command: Sequence[str]

    @property
    def name(self) -> str:
        """The job's name: the same for the same edit set, another for every other."""
        readable = self.slug[:_LONGEST_SLUG].strip("-") or "edit-set"
        return f"cbng-set-{readable}-{sha256(self.edit_set.encode()).hexdigest()[:8]}"

    def is_it(self, job: Job) -> bool:
        """Return whether *job* builds this edit set."""
        return "run-edit-set" in job.command and self.name == job.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """
    What became of a job.

    Attributes:
        status: The exit status of its command; 14 where that is not known.
        told: The same in words.
    """

    status: int
    told: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchPace:
    """
    How often, and for how long; tests have less patience than operators.

    Attributes:
        poll: Seconds between two looks at the jobs: one is forgotten 30 s after its end.
        quota: Seconds between two tries while the quota has no room.
        logs: Seconds within which a log should have come; the API lags.
        deaf: Seconds without an answer of the API after which jobs are not waited for any more.
        sleep: Waits that many seconds.
    """

    poll: float = 5.0
    quota: float = 30.0
    logs: float = 60.0
    deaf: float = 900.0
    sleep: Callable[[float], None] = field(default=time.sleep)


def launch(
    wanted: Sequence[Launch],
    image: Image,
    jobs: Jobs,
    seconds: int = LIMIT,
    pace: LaunchPace | None = None,
) -> dict[str, Ending]:
    """
    Have a job build each edit set, wait for all, and return what became of each, by its name.

    Args:
        wanted: What is to be built.
        image: The trainer's, in which the jobs run.
        jobs: The tool's.
        seconds: What a job may take.
        pace: How often, and for how long.
    """
    pace = pace or LaunchPace()
    endings: dict[str, Ending] = {}
    waiting: dict[str, tuple[Launch, set[str]]] = {}  # name of a job → for what, earlier pods
    for each in wanted:
        earlier = ended_pods(_log(jobs, each))
        try:
            _start(each, image, jobs, seconds, pace)
        except (DispatchError, ToolforgeError) as error:
            endings[each.edit_set] = Ending(status=error.status, told=str(error))
        else:
            waiting[each.name] = (each, earlier)
    heard = time.monotonic()
    while waiting:
        pace.sleep(pace.poll)
        for name, (each, earlier) in list(waiting.items()):
            try:
                job = jobs.job(name)
            except ToolforgeError as error:
                if not _is_over(error) and time.monotonic() - heard < pace.deaf:
                    log.info("%s: %s; its job goes on", each.edit_set, error)
                    continue
                told = f"{error}; its job {name} goes on, and the next run finds it"
                ending = Ending(status=error.status, told=told)
            else:
                heard = time.monotonic()
                if job and not job.has_ended:
                    continue
                ending = _ending(each, job, jobs, earlier, pace)
            del waiting[name]
            log.info("%s: %s", each.edit_set, ending.told)
            endings[each.edit_set] = ending
    return {each.edit_set: endings[each.edit_set] for each in wanted}


def _start(each: Launch, image: Image, jobs: Jobs, seconds: int, pace: LaunchPace) -> None:
    """
    Have a job for an edit set that runs, or did so just now.

    Raises:
        DispatchError: A job for something else has its name.
        ToolforgeError: Toolforge refused, or stayed away.
    """
    command = ("bash", "-c", _TELLS_ITS_END, "cbng-trainer", *each.command)
    end = time.monotonic() + pace.deaf
    is_first = True
    while True:
        try:
            if is_first:
                _remove_ended(each, jobs)
            is_first = False
            jobs.create(each.name, command, image, need=NEED, seconds=seconds)
        except JobExists:
            pass
        except QuotaExceeded as error:
            log.info("%s: %s; waiting for others to end", each.edit_set, error)
            pace.sleep(pace.quota)
            continue
        except ToolforgeError as error:
            if _is_over(error) or time.monotonic() > end:
                raise
            log.info("%s: %s", each.edit_set, error)  # it may have been made all the same
            pace.sleep(pace.poll)
        else:
            log.info("%s: job %s is made", each.edit_set, each.name)
            return
        if _is_there(each, jobs, end, pace):
            return


def _remove_ended(each: Launch, jobs: Jobs) -> None:
    """Delete what an earlier run has left of a job that has ended. Raises ToolforgeError."""
    there = jobs.job(each.name)
    if there and there.has_ended and each.is_it(there):
        jobs.delete(each.name)


def _is_there(each: Launch, jobs: Jobs, end: float, pace: LaunchPace) -> bool:
    """Return whether there is a job for an edit set, which ran a moment ago at least."""
    try:
        there = jobs.job(each.name)
    except ToolforgeError as error:
        if _is_over(error) or time.monotonic() > end:
            raise
        log.info("%s: %s", each.edit_set, error)
        there = None
    if there is None:
        pace.sleep(pace.poll)
        return False
    if not each.is_it(there):
        raise DispatchError(
            f"job {each.name} is there and is for something else; "
            f"`toolforge jobs delete {each.name}` if nobody needs it"
        )
    log.info("%s: job %s is there already; waiting for it", each.edit_set, each.name)
    return True


def _is_over(error: ToolforgeError) -> bool:
    """Return whether Toolforge will say nothing else."""
    return error.code is not None and error.code not in MAY_PASS


def _ending(
    each: Launch, job: Job | None, jobs: Jobs, earlier: set[str], pace: LaunchPace
) -> Ending:
    """Return what became of a job that has ended, or is not known any more."""
    end = time.monotonic() + pace.logs
    while True:
        lines = _log(jobs, each)
        pod, told = ended_pod(lines, earlier)
        if told or time.monotonic() > end:
            break
        pace.sleep(min(pace.poll, pace.logs / 4))
    if told:
        return _told(int(told["code"]), [line for line in lines if line.pod == pod])
    if job and job.state is State.SUCCEEDED:
        return Ending(status=0, told="done")
    if job is None:
        why = "its job is gone without a word; what it built is in the store"
        return Ending(status=DispatchError.status, told=why)
    said = f": {job.messages}" if job.messages else ""
    return Ending(status=DispatchError.status, told=f"its job failed{said}")


def _told(code: int, lines: Sequence[Line]) -> Ending:
    """Return what a job said at its end, with the line before that."""
    if code == 0:
        return Ending(status=0, told="done")
    last = [text for line in lines if (text := line.text.strip())][-2:-1]
    return Ending(
        status=code,
        told=f"failed with exit status {code}{': ' if last else ''}{''.join(last)[:300]}",
    )


def _log(jobs: Jobs, each: Launch) -> list[Line]:
    """Return what can be had of a job's log now."""
    try:
        return jobs.log(each.name)
    except ToolforgeError as error:
        log.info("%s: its log cannot be had: %s", each.edit_set, error)
        return []


def status_of(endings: Sequence[Ending]) -> int:
    """Return the exit status of all: of several that are not 0, the lowest."""
    return min((ending.status for ending in endings if ending.status), default=0)


def shown(text: str) -> str:
    """Return *text* for a terminal: what is not printable is not passed on."""
    return re.sub(r"[^\x20-\x7e\xa0-\U0010ffff]", "?", text)
