"""
Work spread over processes, its results in order.

The processes are forked, so that they have what the parent has loaded, and never outlive it:
the kernel kills them when it dies, however it dies.
"""

import ctypes
import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, count, islice
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from cbngtrain.engine.errors import EngineError

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 3  # items per process that may be finished and wait for an earlier one
BETWEEN_COLLECTIONS = 4  # items; work leaves little to collect
PR_SET_PDEATHSIG = 1  # linux/prctl.h
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
KEPT = 1 << 25  # bytes: the largest threshold that every glibc takes


def in_order(
    work: Callable[[Item], Result], items: Iterator[Item], processes: int
) -> Generator[Result]:
    """
    Yield the results of *work* on *items*, in the order of the items.

    Items are drawn no further ahead than `AHEAD` per process, so that neither they nor their
    results pile up behind a slow one. A single item needs no process: it is worked on here.

    Raises:
        EngineError: The first (in the order of the items) that *work* raised, or a process
            died.
    """
    first = list(islice(items, 2))
    if len(first) < 2:
        _keep_memory()
        yield from map(work, first)
        return
    with _crew(work, processes) as crew:
        done: dict[int, _Answer] = {}
        numbered = enumerate(chain(first, items))
        drawn = given = 0
        while True:
            for worker in crew:
                if worker.item is None and drawn - given < AHEAD * processes:
                    drawn += worker.take(next(numbered, None))
            if drawn == given:
                return
            for worker in _ready(crew):
                done[worker.number] = worker.answer()
            while given in done:
                yield done.pop(given).result()
                given += 1


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a process sends back: a result, an error's sentence, or a bug's traceback."""

    value: Any = None
    error: str = ""
    bug: str = ""

    def result(self) -> Any:
        if self.error:
            raise EngineError(self.error)
        if self.bug:
            raise RuntimeError(f"in a worker process:\n{self.bug}")
        return self.value


@dataclass(slots=True)
class _Worker:
    """A process, and the item it is busy with (None: with none)."""

    process: BaseProcess
    connection: Connection
    item: Any = None
    number: int = -1

    def take(self, numbered: tuple[int, Any] | None) -> int:
        """Start on an item; returns how many items that were, 1 or 0."""
        if numbered is None:
            return 0
        self.number, self.item = numbered
        with suppress(OSError):  # a dead process is found out when its answer is read
            self.connection.send(self.item)
        return 1

    def answer(self) -> _Answer:
        try:
            answer: _Answer = self.connection.recv()
        except (EOFError, OSError) as error:
            self.process.join()
            raise EngineError(
                f"a worker process died (exit status {self.process.exitcode}); out of memory?"
            ) from error
        self.item = None
        return answer


def _ready(crew: list[_Worker]) -> list[_Worker]:
    """The workers that have answered; waits for one."""
    busy = {worker.connection: worker for worker in crew if worker.item is not None}
    return [busy[ready] for ready in wait(list(busy)) if isinstance(ready, Connection)]


@contextmanager
def _crew(work: Callable[[Any], Any], processes: int) -> Iterator[list[_Worker]]:
    """Processes that do *work*; killed at the end, whatever they are doing."""
    context = get_context("fork")
    crew: list[_Worker] = []
    try:
        for _ in range(processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(work, theirs, os.getpid()), daemon=True)
            process.start()
            theirs.close()  # so that a dead process is an end of file, not a silence
            crew.append(_Worker(process, ours))
        yield crew
    finally:
        for worker in crew:
            worker.process.kill()
        for worker in crew:
            worker.process.join()
            worker.connection.close()


def _serve(work: Callable[[Any], Any], connection: Connection, parent: int) -> None:
    """A process's life: answer items until it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _die_with(parent)
    _keep_memory()
    gc.freeze()  # what is there stays: nothing to look through, and no page to copy
    gc.disable()
    for number in count(1):
        try:
            item = connection.recv()
        except EOFError:
            return
        connection.send(_answer_to(work, item))
        if number % BETWEEN_COLLECTIONS == 0:
            gc.collect()


def _answer_to(work: Callable[[Any], Any], item: Any) -> _Answer:
    try:
        return _Answer(work(item))
    except EngineError as error:
        return _Answer(error=str(error))
    except Exception:  # noqa: BLE001  # the parent raises it
        return _Answer(bug=traceback.format_exc())


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, also of SIGKILL."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)


def _keep_memory() -> None:
    """Have freed memory used again: an item needs as much as the one before."""
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc's
    if set_option:
        set_option(M_MMAP_THRESHOLD, KEPT)
        set_option(M_TRIM_THRESHOLD, KEPT)
