"""
Steps on this machine: a scratch directory and a process.

The command runs in a session of its own, so that all it starts can be stopped at once, and dies
with this process, however that ends. What it leaves is checked before its record is kept.
"""

import hashlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from cbngtrain.canonical import artifact_of, digest_of
from cbngtrain.dispatch.deadline import Deadline
from cbngtrain.errors import (
    DispatchError,
    FormatError,
    SettingsError,
    StepFailed,
    StepTimedOut,
)
from cbngtrain.scratch import Scratch
from cbngtrain.settings import Settings
from cbngtrain.step import Artifact, Digest, Fingerprint, Made, Record, Step
from cbngtrain.store import Store

log = logging.getLogger(__name__)

ENGINE = Path(__file__).parents[1] / "engine"
EVALUATION = Path(__file__).parents[1] / "evaluation"
PROGRAMS = ("cluebotng", "create_ann", "create_bayes_db", "print_bayes_db")

_GRACE = 5  # seconds between asking a step that is out of time to stop, and killing it
_NEXT_TO_NOTHING = 64 << 10  # bytes
_TAIL = 2000  # bytes of a log in which the reason for a failure is looked for


class LocalDispatcher:
    """Runs steps as processes of this machine, with the embedded engine or the native core."""

    def __init__(
        self, store: Store, settings: Settings, scratch: Scratch, deadline: Deadline | None = None
    ) -> None:
        """
        Args:
            store: Where inputs come from and results go.
            settings: Program, configuration, time limit.
            scratch: Where the directories are in which commands run.
            deadline: The end of the build.
        """
        self._deadline = deadline or Deadline()
        self._store = store
        self._settings = settings
        self._scratch = scratch
        self._groups: set[int] = set()
        self._is_stopping = False

    def run(self, step: Step, key: Fingerprint, inputs: Mapping[str, Made]) -> None:
        """See `Dispatcher`."""
        self._deadline.admit(step, None)
        began = time.monotonic()
        with self._scratch.directory(step.name) as directory:
            self._lay_out(step, inputs, directory)
            output = directory.with_suffix(".log")
            try:
                code = self._execute(step, directory, output)
                kept_log = self._store.add(output)
                told = _end_of(output)
            finally:
                output.unlink(missing_ok=True)
            if code:
                problem = _problem(code, told) + _full(directory)
                raise StepFailed(step.name, problem, self._store.place(kept_log))
            artifacts = self._artifacts(step, directory, kept_log)
            about = {"seconds": round(time.monotonic() - began, 1), "where": "local"}
            parts = step.parts(inputs)
            self._store.keep(Record(key, artifacts, kept_log, parts, dict(inputs), about))

    def kill(self) -> None:
        """
        Kill every command and all that it started; start nothing any more.

        For a signal handler: it takes no lock and waits for nothing.
        """
        self._is_stopping = True
        for group in {*self._groups, *_children()}:
            _kill_group(group)

    def _lay_out(self, step: Step, inputs: Mapping[str, Made], directory: Path) -> None:
        """Put into *directory* what *step* declares, and nothing else."""
        for path in (*inputs, *(leaf.path for leaf in step.recipe.leaves)):
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
        for path, made in inputs.items():
            self._store.fetch(made.artifact.digest, directory / path)
        if step.conf:
            _copy_conf(conf_directory(self._settings), directory / "conf", step.conf)

    def _execute(self, step: Step, directory: Path, output: Path) -> int:
        """Run the command of *step* and return its exit code. Raises StepTimedOut."""
        if self._is_stopping:
            raise DispatchError(f"{step.name} is not started: the build is stopping")
        with output.open("wb") as file:
            process = self._started(step, directory, file.fileno())
        try:
            return self._wait(step, process, output)
        finally:
            _kill_group(process.pid)
            process.wait()
            self._groups.discard(process.pid)

    def _started(self, step: Step, directory: Path, output: int) -> "subprocess.Popen[bytes]":
        """Start the command of *step*, which `kill` kills. Raises DispatchError."""
        try:
            process = subprocess.Popen(
                [*_DIE_WITH_PARENT, str(os.getpid()), *self._command(step)],
                cwd=directory,
                env={**self._settings.step_env, **_step_env(step)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise DispatchError(f"{step.name} cannot be started: {error}") from error
        self._groups.add(process.pid)
        if self._is_stopping:  # by now, and `kill` may not have known of it
            _kill_group(process.pid)
        return process

    def _command(self, step: Step) -> list[str]:
        """Return the command with its program's place on this machine."""
        program, *arguments = step.command
        if step.recipe.program == "trainer":
            return [sys.executable, "-P", "-m", "cbngtrain.evaluation", program, *arguments]
        if self._settings.core:
            return [str(self._settings.core / program), *arguments]
        return [sys.executable, "-P", "-m", "cbngtrain.engine", program, *arguments]

    def _wait(self, step: Step, process: "subprocess.Popen[bytes]", output: Path) -> int:
        """Wait for *process*, passing on what it prints. Raises DispatchError, StepTimedOut."""
        limit = self._settings.step_timeout or step.recipe.resources.seconds
        end = time.monotonic() + min(limit, self._deadline.left)
        with output.open("rb") as printed:
            while (left := end - time.monotonic()) > 0:
                with suppress(subprocess.TimeoutExpired):
                    code = process.wait(min(1, left))
                    _pass_on(step, printed.read())
                    return code
                _pass_on(step, printed.read())
        self._terminate(process)
        self._deadline.admit(step, None)
        place = self._store.place(self._store.add(output))
        problem = f"no end after {limit} s, when it was stopped"
        raise StepTimedOut(step.name, f"{problem} (CBNG_STEP_TIMEOUT)", place)

    def _terminate(self, process: "subprocess.Popen[bytes]") -> None:
        """Ask the command to stop, then kill it."""
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)

    def _artifacts(self, step: Step, directory: Path, kept_log: Digest) -> tuple[Artifact, ...]:
        """Check, store and return what the command left. Raises StepFailed."""
        try:
            artifacts = tuple(artifact_of(leaf, directory) for leaf in step.recipe.leaves)
        except FormatError as error:
            problem = f"exit code 0 but a bad output: {error}"
            raise StepFailed(step.name, problem, self._store.place(kept_log)) from error
        for leaf, artifact in zip(step.recipe.leaves, artifacts, strict=True):
            if self._store.add(directory / leaf.path) != artifact.digest:
                raise StepFailed(
                    step.name, f"{leaf.path} changing after its end", self._store.place(kept_log)
                )
        return artifacts


def core_program(settings: Settings) -> dict[str, str]:
    """
    Return what stands for the core in fingerprints.

    Raises:
        SettingsError: ``CBNG_CORE`` lacks a program.
    """
    if settings.core is None:
        return {"engine": _digest_of_files(ENGINE, sorted(ENGINE.rglob("*.py")))}
    programs = [settings.core / name for name in PROGRAMS]
    if lacking := [path.name for path in programs if not os.access(path, os.X_OK)]:
        raise SettingsError(
            f"CBNG_CORE={settings.core} has no program {' or '.join(lacking)} that can be run"
        )
    return {"core": _digest_of_files(settings.core, programs)}


def trainer_program() -> dict[str, str]:
    """Return what stands for our own evaluation in fingerprints."""
    return {"trainer": _digest_of_files(EVALUATION, sorted(EVALUATION.rglob("*.py")))}


def conf_directory(settings: Settings) -> Path:
    """Return the directory of the core's configuration."""
    if settings.core_conf:
        return settings.core_conf
    if settings.core and (settings.core / "conf").is_dir():
        return settings.core / "conf"
    return ENGINE / "conf"


def conf_digest(directory: Path) -> Digest:
    """Return the digest of a configuration: of its files' names and bytes."""
    return Digest(_digest_of_files(directory, sorted(directory.rglob("*.conf"))))


def _digest_of_files(root: Path, paths: list[Path]) -> str:
    """Return the sha256 of the lines ``digest path`` of the files, paths as seen from *root*."""
    lines = [f"{digest_of(path)} {path.relative_to(root)}\n" for path in paths]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _copy_conf(source: Path, directory: Path, wanted: Digest) -> None:
    """Copy a configuration; raises DispatchError if it is not the one that was planned with."""
    for path in sorted(source.rglob("*.conf")):
        place = directory / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
    if not directory.is_dir() or conf_digest(directory) != wanted:
        raise DispatchError(f"the configuration {source} has changed since the build began")


def _children() -> list[int]:
    """Return the processes that this one has made, be it that their `Popen` is not there yet."""
    found: list[int] = []
    for path in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):  # that thread has just ended
            found += map(int, path.read_text(encoding="ascii").split())
    return found


def _kill_group(group: int) -> None:
    """Kill a command and what it may have left running."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _step_env(step: Step) -> dict[str, str]:
    """Return the variables that are part of *step*: its seed, and the engine that was planned."""
    seed = step.parameters.get("seed")
    seeded = {} if seed is None else {"CBNG_SEED": str(seed)}
    return {"PYTHONPATH": str(ENGINE.parents[1]), **seeded}


def _pass_on(step: Step, printed: bytes) -> None:
    """Log what a command printed, line by line."""
    for line in printed.decode(errors="replace").replace("\r", "\n").splitlines():
        if line.strip():
            log.info("%s: %s", step.name, line.rstrip())


def _end_of(output: Path) -> str:
    """Return the last of what a command printed, which may be very much."""
    with output.open("rb") as file:
        file.seek(max(output.stat().st_size - _TAIL, 0))
        return file.read(_TAIL).decode(errors="replace")


def _full(directory: Path) -> str:
    """Say so if the disk of *directory* is full: a command may die of that without a word."""
    free = shutil.disk_usage(directory).free
    return f"; the disk of {directory.parent} is full" if free < _NEXT_TO_NOTHING else ""


def _problem(code: int, told: str) -> str:
    """Return an exit code in words, with the last line that the command printed."""
    lines = [line.strip() for line in told.replace("\r", "\n").splitlines() if line.strip()]
    last = f": {lines[-1][:300]}" if lines else ""
    if code < 0:
        return f"signal {-code} ({signal.Signals(-code).name}){last}"
    return f"exit code {code}{last}"


_DIE_WITH_PARENT = (
    *("setpriv", "--pdeathsig", "KILL", "--"),  # util-linux
    *("sh", "-c", '[ "$PPID" -eq "$0" ] && exec "$@"'),  # unless it died before that
)
"""What kills a command when this process dies: the prefix of its pid and the command's words."""
