"""What a command costs: time, processor time, memory of all its processes together."""

import resource
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

SAMPLE_SECONDS = 0.03  # between two looks at the memory; each costs about a millisecond


class Cost(NamedTuple):
    """
    What a command cost.

    Attributes:
        wall, cpu: Seconds; cpu is user and system time of the command and its children.
        memory: MB, the highest sum of PSS over its processes: a page that several share is
            counted once in all. Looked at every `SAMPLE_SECONDS`, so a short peak may be missed.
        output: What it printed.
    """

    wall: float
    cpu: float
    memory: float
    output: str


def cost_of(command: Sequence[str], cwd: Path, env: Mapping[str, str]) -> Cost:
    """
    Run *command* and return what it cost; it does not outlive an exception, such as Ctrl-C.

    Raises:
        subprocess.CalledProcessError: It failed.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    with (
        subprocess.Popen(
            command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process,
        _Peak(process.pid) as peak,
    ):
        try:
            output, _ = process.communicate()
        except BaseException:
            process.terminate()
            raise
        wall = time.perf_counter() - start
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, output)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall, cpu, peak.megabytes, output.decode(errors="replace"))


def exit_status(measure: Callable[[], None]) -> int:
    """Measure; return 0, or 1 if a program failed, or 130 on Ctrl-C, and say so."""
    try:
        measure()
    except subprocess.CalledProcessError as error:
        command = " ".join(map(str, error.cmd))
        print(f"{command}: exit status {error.returncode}\n{error.output.decode()}")
        return 1
    except KeyboardInterrupt:
        print("\nstopped: what was made is removed")
        return 130
    return 0


class _Peak:
    """Watches the memory of a process and all below it, as long as the ``with`` block lasts."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.megabytes = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            kilobytes = sum(_proportional_kilobytes(pid) for pid in _tree(self._pid))
            self.megabytes = max(self.megabytes, kilobytes / 1024)


def _tree(pid: int) -> list[int]:
    """Return *pid* and all its descendants."""
    pids = [pid]
    for parent in pids:  # grows while we go
        with suppress(OSError):  # it has just ended
            for thread in Path(f"/proc/{parent}/task").iterdir():
                pids += map(int, (thread / "children").read_text().split())
    return pids


def _proportional_kilobytes(pid: int) -> int:
    """Return a process's PSS; 0 if it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0
