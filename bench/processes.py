"""What a command costs: time, processor time, memory of all its processes together."""

import resource
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

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
    Run *command* and return what it cost.

    Raises:
        subprocess.CalledProcessError: It failed.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    with subprocess.Popen(
        command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        peak = _Peak(process.pid)
        peak.start()
        output, _ = process.communicate()
        wall = time.perf_counter() - start
        peak.over.set()
        peak.join()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, output)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall, cpu, peak.megabytes, output.decode(errors="replace"))


class _Peak(threading.Thread):
    """Watches the memory of a process and all below it until `over`."""

    def __init__(self, pid: int) -> None:
        super().__init__()
        self.pid = pid
        self.over = threading.Event()
        self.megabytes = 0.0

    def run(self) -> None:
        while not self.over.wait(SAMPLE_SECONDS):
            kilobytes = sum(_proportional_kilobytes(pid) for pid in _tree(self.pid))
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
