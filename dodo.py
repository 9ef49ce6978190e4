"""What `doit` builds here: settings, store and dispatcher are put together, once."""

import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

from doit.exceptions import InvalidDodoFile

from cbngtrain import tasks
from cbngtrain.compose import compose
from cbngtrain.doit_command import READERS, doit_command, refuse_unknown
from cbngtrain.errors import SettingsError, TrainerError, told
from cbngtrain.locks import hold_checkout
from cbngtrain.reporter import ready_streams

COMMAND = doit_command(sys.argv[1:])
RUNS = COMMAND == "run"

ready_streams()

try:
    if COMMAND in READERS:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `doit list | head` ends quietly
    else:
        LOCK = hold_checkout()
    tasks.see_to_database(repair=COMMAND not in READERS)
    BUILD = compose(os.environ, runs=RUNS)
    TASKS = list(tasks.as_doit_tasks(BUILD, runs=RUNS))
    refuse_unknown(sys.argv[1:], TASKS)
except SettingsError as error:
    sys.stderr.write(f"{told(error)}\n")
    raise SystemExit(error.status) from error
except TrainerError as error:
    raise InvalidDodoFile(told(error)) from error

DOIT_CONFIG = tasks.doit_config(BUILD)


def task_build() -> Iterator[dict[str, Any]]:
    """All artifacts of all edit sets."""
    yield from TASKS
