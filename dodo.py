"""What `doit` builds here: settings, store and dispatcher are put together, once."""

import os
import sys
from collections.abc import Iterator
from typing import Any

from doit.exceptions import InvalidDodoFile

from cbngtrain import tasks
from cbngtrain.compose import compose
from cbngtrain.errors import SettingsError, TrainerError

COMMAND = tasks.doit_command(sys.argv[1:])
RUNS = COMMAND == "run"

try:
    LOCK = None if COMMAND in tasks.READERS else tasks.hold_checkout()
    BUILD = compose(os.environ, runs=RUNS)
except SettingsError as error:
    sys.stderr.write(f"{tasks.told(error)}\n")
    raise SystemExit(error.status) from error
except TrainerError as error:
    raise InvalidDodoFile(tasks.told(error)) from error

DOIT_CONFIG = tasks.doit_config(BUILD)


def task_build() -> Iterator[dict[str, Any]]:
    """All artifacts of all edit sets."""
    yield from tasks.as_doit_tasks(BUILD, runs=RUNS)
