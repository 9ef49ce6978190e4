"""
Plan → doit tasks; what doit says; our errors → exit status.

A source is asked in every build. A step is looked at when a reference that it reads, its recipe or
its program has changed, when a reference that it makes is gone, or when the store has lost what
that refers to. All else is up to date, and nothing is said of it.
"""

import fcntl
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, TextIO, TypeVar

from doit.exceptions import TaskFailed, UnmetDependency
from doit.reporter import ConsoleReporter
from doit.tools import config_changed
from tqdm import tqdm

from cbngtrain.build import Build
from cbngtrain.errors import DispatchError, StepFailed, TrainerError
from cbngtrain.plan import EditSet
from cbngtrain.publish import is_published, is_published_artifact, publish
from cbngtrain.recipes import MODELS, RECIPES
from cbngtrain.reference import Models, find_previous, has_previous
from cbngtrain.step import Model, Source, Step
from cbngtrain.summary import Course, Outcome, counts, log_digest, summary
from cbngtrain.watching import LONG, SHORT, leave

log = logging.getLogger(__name__)

T = TypeVar("T")

BUG = 1  # exit status of what is no error of ours; it keeps its traceback

OTHER_COMMANDS = frozenset(
    {"clean", "dumpdb", "forget", "help", "ignore", "info", "list", "reset-dep", "tabcompletion"}
)
"""Commands of doit that run no tasks: they need no network."""

READERS = frozenset({"dumpdb", "help", "info", "list", "tabcompletion"})
"""Commands of doit that change nothing: they need not wait for a build."""

LOCK = Path(".doit.lock")

_ROOM = 256 << 10  # bytes: doit's database has some hundred per task
_PID = 20  # bytes in which a process's number is told
_INSISTENCE = 0.05  # seconds
_BOUNCE = 0.4  # seconds within which a second SIGINT is the first one, sent again

_WITH_VALUE = frozenset(
    {"-f", "--file", "-d", "--dir", "--db-file", "--backend", "-n", "--process"}
)


def doit_command(arguments: Sequence[str]) -> str:
    """Return the command that ``doit ARGUMENTS`` runs: ``run`` where none is named."""
    words = iter(arguments)
    for word in words:
        if word in _WITH_VALUE:
            next(words, None)
        elif not word.startswith("-") and "=" not in word:
            return word if word in OTHER_COMMANDS else "run"
    return "run"


# Tasks -----------------------------------------------------------------------------------------


def as_doit_tasks(build: Build, *, runs: bool) -> Iterator[dict[str, Any]]:
    """
    Yield the tasks of *build*'s plan, plain dicts as doit wants them.

    Args:
        build: What the tasks act on.
        runs: Whether tasks will be run: only then is a source out of date.
    """
    yield {"basename": "edit_set", "name": None, "doc": "download the edits"}
    for recipe in RECIPES:
        yield {"basename": recipe.name, "name": None, "doc": f"make the {recipe.doc}"}
    if any(build.plan.models.values()):
        yield {"basename": "model", "name": None, "doc": "download the bot's network in use"}
    yield {"basename": "publish", "name": None, "doc": "publish what was built"}
    models = Models(build)
    asks = runs or build.has_store_here
    for edit_set in build.plan.edit_sets:
        for source in edit_set.sources:
            yield _source_task(build, source, runs=runs)
        for model in build.plan.models[edit_set.slug]:
            yield _model_task(build, models, model, runs=runs)
        for step in build.plan.steps[edit_set.slug]:
            task = _TASK_OF.get(step.recipe.name, _step_task)
            yield task(build, step, asks=asks)
        yield _publish_task(build, edit_set, asks=asks)


def _task(verb: Callable[[T], dict[str, str]], noun: T, **task: Any) -> dict[str, Any]:
    """Return a task that does *verb* on *noun*; doit shall not touch standard output for it."""
    return {**task, "actions": [(_outcome, [verb, noun])], "io": {"capture": False}}


def _outcome(verb: Callable[[T], dict[str, str]], noun: T) -> "dict[str, str] | Failed":
    """Return what *verb* did, or its error as doit reports failures."""
    began = time.monotonic()
    try:
        return verb(noun)
    except TrainerError as error:
        return Failed(error, time.monotonic() - began)


class Failed(TaskFailed):  # type: ignore[misc] # doit has no types
    """A task failed with one of our errors."""

    def __init__(self, error: TrainerError, seconds: float) -> None:
        super().__init__(str(error))
        self.error = error
        self.seconds = seconds


def _source_task(build: Build, source: Source, *, runs: bool) -> dict[str, Any]:
    """Return the task of *source*: always asked in a build."""
    reference = str(build.reference(source.slug, source.artifact))
    after = [f"edit_set:{source.slug}/train"] if source.role == "trial" else []
    return _task(
        build.ask,
        source,
        basename="edit_set",
        name=f"{source.slug}/{source.role}",
        doc=f"{source.role} edits of {build.plan.edit_set(source.slug).name}",
        targets=[reference],
        task_dep=after,  # the overlap of the two is told with the second
        uptodate=[not runs],
        clean=True,
    )


def _step_task(build: Build, step: Step, *, asks: bool) -> dict[str, Any]:
    """Return the task of *step*; *asks*: whether the store may be asked if it is up to date."""
    made = [leaf.artifact for leaf in step.recipe.leaves]
    return _task(
        build.make,
        step,
        basename=step.recipe.name,
        name=step.slug,
        doc=f"{step.recipe.doc} of {build.plan.edit_set(step.slug).name}",
        file_dep=[str(build.reference(step.slug, name)) for name in step.recipe.reads.values()],
        targets=[str(build.reference(step.slug, name)) for name in made],
        uptodate=[config_changed(step.spec), lambda: not asks or build.is_stored(step.slug, made)],
        clean=True,
    )


def _model_task(build: Build, models: Models, model: Model, *, runs: bool) -> dict[str, Any]:
    """Return the task of *model*: always asked for in a build."""
    return _task(
        models.ask,
        model,
        basename="model",
        name=f"{model.slug}/{model.file}",
        doc=f"{model.file} of the bot's network in use",
        targets=[str(build.reference(model.slug, model.artifact))],
        uptodate=[not runs],
        clean=True,
    )


def _previous_task(build: Build, step: Step, *, asks: bool) -> dict[str, Any]:
    """
    Return the task that looks for the network published before, and tries it if need be.

    It is looked for when the network, its trial or the program has changed, not in every build.
    """
    of = (*MODELS, "trial.xml", "trial/details.txt")

    def is_up_to_date(values: Mapping[str, str]) -> bool:
        name = values.get("previous")
        return name is not None and has_previous(build, step, name, asks=asks)

    made = [f"previous/{name}" for name in (*MODELS, "details.txt")]
    return _task(
        lambda each: find_previous(build, each),
        step,
        basename=step.recipe.name,
        name=step.slug,
        doc=f"{step.recipe.doc} of {build.plan.edit_set(step.slug).name}",
        file_dep=[str(build.reference(step.slug, name)) for name in of],
        targets=_standing(build, step.slug, made),
        uptodate=[config_changed(step.spec), lambda task, values: is_up_to_date(values)],  # noqa: ARG005 - doit goes by these names
        clean=True,
    )


def _compare_task(build: Build, step: Step, *, asks: bool) -> dict[str, Any]:
    """Return the task of *step*, which may have nothing to do: only references tell."""
    slug = step.slug
    made = [leaf.artifact for leaf in step.recipe.leaves]
    tried = [each.name for each in build.plan.steps[slug]
             if each.recipe.name in {"previous", "reference"}]  # fmt: skip

    def is_up_to_date(values: Mapping[str, str]) -> bool:
        key = build.key(step)
        return values.get("key") == key and (not key or not asks or build.is_stored(slug, made))

    return _task(
        build.make_if_due,
        step,
        basename=step.recipe.name,
        name=slug,
        doc=f"{step.recipe.doc}, of {build.plan.edit_set(slug).name}",
        file_dep=[str(build.reference(slug, name)) for name in step.recipe.reads.values()],
        task_dep=tried,
        targets=_standing(build, slug, made),
        uptodate=[config_changed(step.spec), lambda task, values: is_up_to_date(values)],  # noqa: ARG005 - as above
        clean=True,
    )


def _standing(build: Build, slug: str, artifacts: Sequence[str]) -> list[str]:
    """Return the references to *artifacts* that are there: targets of what may leave nothing."""
    paths = (build.reference(slug, artifact) for artifact in artifacts)
    return [str(path) for path in paths if path.exists()]


_TASK_OF = {"previous": _previous_task, "compare": _compare_task}
"""Recipe → what makes its task, of those that may have nothing to do."""


def _publish_task(build: Build, edit_set: EditSet, *, asks: bool) -> dict[str, Any]:
    """Return the task that publishes *edit_set* once all of it stands."""
    slug = edit_set.slug
    steps = build.plan.steps[slug]
    made = [source.artifact for source in edit_set.sources]
    made += [leaf.artifact for step in steps if not step.recipe.if_any
             for leaf in step.recipe.leaves if is_published_artifact(leaf.artifact)]  # fmt: skip
    return _task(
        lambda each: publish(build, each),
        edit_set,
        basename="publish",
        name=slug,
        doc=f"instance of {edit_set.name}",
        file_dep=[str(build.reference(slug, name)) for name in made],
        task_dep=[step.name for step in steps if step.recipe.name == "compare"],
        uptodate=[lambda: not asks or is_published(build, edit_set)],
    )


# What doit says --------------------------------------------------------------------------------


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
        _set_room(0)
        total = sum(1 for task in tasks.values() if task.actions)
        self._bar = tqdm(total=total, desc="build", unit=" tasks", disable=None, leave=False)

    def execute_task(self, task: Any) -> None:
        """Show on the bar what is at work."""
        if task.actions:
            _set_room(_ROOM)
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
        self._say(f"ignored {task.name}, as `doit ignore` was told; `doit forget` ends that")

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
        _set_room(0)
        if task.name in self._running:
            self._running.remove(task.name)
        self._bar.update()
        self._show_running()

    def _show_running(self) -> None:
        self._bar.set_postfix_str(", ".join(self._running))

    def _say(self, line: str) -> None:
        """Write a line, above the bar if there is one."""
        with tqdm.external_write_mode(file=self.outstream):
            self.outstream.write(f"{line}\n")
            self.outstream.flush()


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


def doit_config(build: Build) -> dict[str, Any]:
    """Return what doit is told to do with *build*."""

    class BuildReporter(Reporter):
        """doit makes the reporter, and knows no build."""

        def __init__(self, outstream: TextIO, options: Mapping[str, Any]) -> None:
            super().__init__(outstream, options, build)

    return {
        "backend": "sqlite3",  # one file, which a kill cannot cut
        "dep_file": ".doit.db",
        "par_type": "thread",  # steps wait for processes and pods; nothing needs to be pickled
        "continue": True,  # one edit set's failure leaves the others to finish
        "reporter": BuildReporter,
        "verbosity": 0,
        # Elsewhere steps are only waited for; how many run at once is the dispatcher's business.
        "num_process": 0 if build.place == "local" else len(build.plan.edit_sets),
    }


# Stopping, and two at once ---------------------------------------------------------------------


def stop_on_signals(kill: Callable[[], None], interrupt: Callable[[], None] = lambda: None) -> None:
    """
    On SIGTERM and SIGINT call *kill*, which must not wait, and end with 128 + the signal's number.

    Further signals are ignored from then on, since the end is short; but *interrupt* is told of
    every SIGINT, the first one included.
    """
    begun: list[float] = []

    def ignore(_number: int, _frame: object) -> None:
        """Do nothing: SIG_IGN would have Python complain of a signal that came just before."""

    def again(_number: int, _frame: object) -> None:
        if time.monotonic() - begun[-1] > _BOUNCE:
            begun.append(time.monotonic())
            interrupt()

    def stop(number: int, _frame: object) -> NoReturn:
        begun.append(time.monotonic())
        signal.signal(signal.SIGTERM, ignore)
        signal.signal(signal.SIGINT, again)
        if number == signal.SIGINT:
            interrupt()
        kill()
        raise SystemExit(128 + number)

    _have_signals_heard(begun)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)


def _have_signals_heard(begun: Sequence[float]) -> None:
    """
    See to it that a signal is heard though the main thread waits for a lock.

    Python runs handlers in the main thread, between two of its instructions. A signal that comes
    just before that thread begins to wait for another does not end the wait, and nothing runs. So
    a thread, told of signals through a pipe, sends the signal again until *begun* is not empty.
    """
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    signal.set_wakeup_fd(tell, warn_on_full_buffer=False)

    def insist() -> None:
        number = os.read(told, 1)[0]
        while not begun:
            signal.pthread_kill(threading.main_thread().ident or 0, number)
            time.sleep(_INSISTENCE)

    threading.Thread(target=insist, name="signals", daemon=True).start()


def hold_checkout(path: Path = LOCK) -> int:
    """
    Wait until no other build is at work in this directory, and keep others waiting.

    doit's database bears one writer. The lock ends with the process that holds it. While a task is
    at work the lock's file holds room on the disk for what doit writes into its database at the
    very end: a full disk then fails that task, in one line, and not doit.

    Returns:
        The descriptor that holds the lock.

    Raises:
        DispatchError: The disk is full already.
    """
    try:
        held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise DispatchError(f"{Path.cwd() / path}: {error.strerror}") from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        other = os.pread(held, 20, 0).decode(errors="replace").partition("\n")[0] or "unknown"
        log.warning("process %s is building in %s; waiting for its end", other, Path.cwd())
        fcntl.flock(held, fcntl.LOCK_EX)
    try:
        os.ftruncate(held, 0)
        os.posix_fallocate(held, 0, _ROOM)
        os.ftruncate(held, _PID)
        os.pwrite(held, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:
        os.close(held)
        raise DispatchError(
            f"{Path.cwd()}: {error.strerror}: a build needs {_ROOM >> 10} KB there at least"
        ) from error
    return held


def _set_room(size: int) -> None:
    """Have the lock's file hold *size* bytes of the disk; if they are not there, none."""
    with suppress(OSError), LOCK.open("r+b") as file:
        os.ftruncate(file.fileno(), _PID)
        if size:
            os.posix_fallocate(file.fileno(), 0, size)


def told(error: TrainerError) -> str:
    """Return the error as the one line that a person reads."""
    log.debug("%s", "".join(traceback.format_exception(error)))
    return f"{type(error).__name__}: {error}".replace("\n", " ")
