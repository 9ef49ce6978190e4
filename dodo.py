"""What `doit` builds here: settings, store and dispatcher are put together, once."""

import os
import sys
from collections.abc import Iterator
from typing import Any

from doit.exceptions import InvalidDodoFile

from cbngtrain import tasks
from cbngtrain.compose import compose
from cbngtrain.doit_command import READERS, doit_command
from cbngtrain.errors import SettingsError, TrainerError, told
from cbngtrain.locks import hold_checkout

COMMAND = doit_command(sys.argv[1:])
RUNS = COMMAND == "run"

try:
    LOCK = None if COMMAND in READERS else hold_checkout()
    BUILD = compose(os.environ, runs=RUNS)
except SettingsError as error:
    sys.stderr.write(f"{told(error)}\n")
    raise SystemExit(error.status) from error
except TrainerError as error:
    raise InvalidDodoFile(told(error)) from error

DOIT_CONFIG = tasks.doit_config(BUILD)


def task_build() -> Iterator[dict[str, Any]]:
    """All artifacts of all edit sets."""
    yield from tasks.as_doit_tasks(BUILD, runs=RUNS)
