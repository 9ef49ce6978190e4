"""What doit says of a build: a line for each step that was built, found or failed, and why."""

import os
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

from doit.exceptions import TaskFailed, UnmetDependency
from doit.reporter import ConsoleReporter
from tqdm import tqdm

from cbngtrain.build import Build
from cbngtrain.errors import StepFailed, TrainerError
from cbngtrain.locks import ROOM, set_room
from cbngtrain.summary import Course, Outcome, counts, log_digest, summary
from cbngtrain.watching import LONG, SHORT, leave

BUG = 1  # exit status of what is no error of ours; it keeps its traceback


class Reporter(ConsoleReporter):  # type: ignore[misc] # doit has no types
    """
    One line per step built, found or failed, and why; nothing for what is up to date.

    At the end it leaves the build's summary, and raises SystemExit with our exit status, when doit
    has closed its database.
    """

    desc = "one line per step that was built, found or failed, and why"

    def __init__(self, outstream: TextIO, options: Mapping[str, Any], build: Build) -> None:
        super().__init__(outstream, options)
        self._build = build
        self._began = time.time()
        self._outcomes: list[Outcome] = []
        self._running: list[str] = []
        self._statuses: set[int] = set()
        self._bar: Any = None

    def initialize(self, tasks: Mapping[str, Any], _selected: Sequence[str]) -> None:
        """Show a bar over the tasks, on a terminal."""
        set_room(0)
        total = sum(1 for task in tasks.values() if task.actions)
        self._bar = tqdm(total=total, desc="build", unit=" tasks", disable=None, leave=False)

    def execute_task(self, task: Any) -> None:
        """Show on the bar what is at work."""
        if task.actions:
            set_room(ROOM)
            self._running.append(task.name)
            self._show_running()

    def add_success(self, task: Any) -> None:
        """Say what was built, found, changed or published."""
        if not task.actions:
            return
        self._ended(task)
        did, why = task.values["did"], task.values["why"]
        self._outcomes.append(_succeeded(task))
        if did == "built":
            self._say(f"built {task.name} in {task.values['seconds']} s: {why}")
        elif did == "published":
            self._say(f"published {why}")
        elif did != "unchanged":
            self._say(f"{did} {task.name}: {why}" if why else f"{did} {task.name}")

    def skip_uptodate(self, task: Any) -> None:
        """Count it."""
        if task.actions:
            self._outcomes.append(Outcome(task=task.name, did="up to date"))
            self._bar.update()

    def skip_ignore(self, task: Any) -> None:
        """Say that the user had it ignored."""
        self._say(f"ignored {task.name}, as `doit ignore` was told; `doit forget TASK` ends that")

    def add_failure(self, task: Any, fail: Any) -> None:
        """Say why it failed, in one line; what depends on it is told at the end."""
        if isinstance(fail, UnmetDependency):
            if task.actions:
                self._outcomes.append(Outcome(task=task.name, did="not built"))
            return
        self._ended(task)
        self._outcomes.append(_failed(task, fail, self._build.place))
        self._statuses.add(fail.error.status if isinstance(fail, Failed) else BUG)
        message = fail.message if isinstance(fail, Failed) else fail.get_msg().rstrip()
        name = "" if message.startswith(task.name) else f"{task.name}: "
        self._say(f"FAILED {name}{message}")

    def runtime_error(self, msg: str) -> None:
        """Say what doit itself could not do."""
        self._statuses.add(BUG)
        self._say(f"FAILED: {msg}")

    def complete_run(self) -> None:
        """Sum up in one line, and end with the exit status: of several, the lowest number."""
        self._bar.close()
        stop = sys.exc_info()[1]
        if isinstance(stop, SystemExit):
            self._say("Stopped; finished steps are kept, the next doit goes on from there.")
            self._outcomes += [Outcome(task=name, did="stopped") for name in self._running]
            self._leave(stop.code if isinstance(stop.code, int) else BUG, SHORT)
            return
        if not_built := [each.task for each in self._outcomes if each.did == "not built"]:
            self._say(f"not built: {', '.join(not_built)}")
        self._say(self._told())
        status = min(self._statuses, default=0)
        self._leave(status, LONG)
        if status:
            raise SystemExit(status)

    def _leave(self, status: int, seconds: float) -> None:
        """Leave the build's summary; what cannot be left is said, and changes no exit status."""
        names = {edit_set.slug: edit_set.name for edit_set in self._build.plan.edit_sets}
        course = Course(began=self._began, ended=time.time(), status=status)
        told = summary(course, self._outcomes, names)
        for problem in leave(self._build.store, told, self._build.metrics_file, seconds):
            self._say(problem)

    def _told(self) -> str:
        """Return the counts in one line."""
        done = Counter(counts(self._outcomes))
        up_to_date = done["up to date"] + done["unchanged"]
        unchanged = f"{up_to_date} up to date, {done['source unchanged']} sources unchanged."
        failed, not_built = (done[did] + done[f"source {did}"] for did in ("failed", "not built"))
        told = [f"{failed} failed"] if failed else []
        told += [f"{done[did]} {did}" for did in ("built", "found", "published") if done[did]]
        if changed := done["source changed"]:
            told.append(f"{changed} source{'s' * (changed != 1)} changed")
        if not told and not not_built:
            return f"Nothing to do: {unchanged}"
        start = "Not complete" if failed else "Done"
        return f"{start}: {', '.join(told)}; {unchanged}"

    def _ended(self, task: Any) -> None:
        """Take *task* off the bar."""
        set_room(0)
        if task.name in self._running:
            self._running.remove(task.name)
        self._bar.update()
        self._show_running()

    def _show_running(self) -> None:
        self._bar.set_postfix_str(", ".join(self._running))

    def _say(self, line: str) -> None:
        """Write a line, above the bar if there is one; the build goes on if nobody can read it."""
        if self.outstream is None:  # standard output was closed before we began
            return
        try:
            with tqdm.external_write_mode(file=self.outstream):
                self.outstream.write(f"{line}\n")
                self.outstream.flush()
        except OSError:
            silence(self.outstream)


def ready_streams() -> None:
    """Have standard output and error take whatever is said, also where nobody will see it."""
    sys.stdout, sys.stderr = (_ready(stream) for stream in (sys.stdout, sys.stderr))


def _ready(stream: Any) -> Any:
    """Return *stream*, never refusing a character; where it was closed before, one to nowhere."""
    if stream is None:
        return Path(os.devnull).open("w", encoding="utf-8")
    if isinstance(stream, TextIOWrapper):  # else it is a test's
        stream.reconfigure(errors="backslashreplace")
    return stream


def silence(stream: TextIO) -> None:
    """Have what goes to *stream*, which takes nothing any more, go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class Failed(TaskFailed):  # type: ignore[misc] # doit has no types
    """A task failed with one of our errors."""

    def __init__(self, error: TrainerError, seconds: float) -> None:
        super().__init__(str(error))
        self.error = error
        self.seconds = seconds


def _succeeded(task: Any) -> Outcome:
    """Return what became of a task that did something."""
    told = task.values
    return Outcome(
        task=task.name,
        did=told["did"],
        why=told["why"],
        seconds=float(told.get("ran") or told.get("seconds", 0)),
        where=told.get("where", ""),
    )


def _failed(task: Any, fail: Any, place: str) -> Outcome:
    """Return what became of a task that failed; a step had been at work in *place*."""
    if not isinstance(fail, Failed):
        return Outcome(task=task.name, did="failed", why=fail.get_msg().strip().rpartition("\n")[2])
    error = fail.error
    if not isinstance(error, StepFailed):
        return Outcome(task=task.name, did="failed", why=str(error), seconds=fail.seconds)
    return Outcome(
        task=task.name,
        did="failed",
        why=error.problem,
        seconds=fail.seconds,
        where=place,
        log=log_digest(error.log),
    )
