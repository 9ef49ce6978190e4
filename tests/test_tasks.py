"""What doit is told, and signals."""

import subprocess
import sys

import pytest

from cbngtrain.tasks import doit_command


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        ([], "run"),
        (["run"], "run"),
        (["ann:alpha"], "run"),
        (["-n", "4", "ann:alpha"], "run"),
        (["-f", "dodo.py", "list"], "list"),
        (["x=1", "list", "--all"], "list"),
        (["--file=dodo.py", "clean", "-a"], "clean"),
        (["info", "ann:alpha"], "info"),
        (["-n", "list"], "run"),
    ],
    ids=" ".join,
)
def test_command_is_the_one_that_doit_runs(arguments: list[str], command: str):
    """The command is the first word that is neither an option, its value, nor a variable."""
    assert doit_command(arguments) == command


UNHEARD = """
import signal, threading
from cbngtrain.tasks import stop_on_signals

def to_this_thread():
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

stop_on_signals(lambda: print("killed", flush=True))
lock = threading.Lock()
lock.acquire()
threading.Timer(0.1, to_this_thread).start()
lock.acquire()
"""


def test_signal_is_heard_while_the_main_thread_waits():
    """A signal that another thread received ends a main thread that waits for a lock."""
    ended = subprocess.run(
        [sys.executable, "-c", UNHEARD], check=False, capture_output=True, text=True, timeout=20
    )

    assert (ended.returncode, ended.stdout) == (143, "killed\n"), ended.stderr
