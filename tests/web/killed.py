"""A process that is killed before it touches the file system for the so-manyth time."""

import os
import signal
import sys
import warnings
from collections.abc import Callable, Collection
from typing import Any

FILE_EVENTS = ("open", "os.link", "os.rename", "os.symlink", "os.mkdir", "os.remove", "os.chmod")


def killed_at(step: int, request: Callable[[], Any], events: Collection[str] = FILE_EVENTS) -> bool:
    """
    Do *request* in a process that is killed before its so-manyth touch of the file system.

    *events* count as touches; return whether it came to that.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of forking a process with threads: ours touch nothing
        child = os.fork()
    if child == 0:
        left = [step]

        def count(event: str, _args: object) -> None:
            if event in events:
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(count)
            request()
        finally:
            os._exit(0)  # this process is a copy of the tests': it must not go on with them
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])
