"""Files that appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from cbngtrain.engine.errors import EngineError


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """
    Open a file for writing that takes the name *path* only when the block ends well.

    The bytes go to a temporary file beside *path*, which is renamed over it at the end and
    removed if the block raises: no reader ever sees part of a file under its final name. A
    device is written to as it is.

    Raises:
        EngineError: The file cannot be written (no such directory, no permission, disk full, a
            name that is none).
    """
    part = path.parent / f".{path.name}.{os.getpid()}.part"
    try:
        is_device = path.exists() and not path.is_file()  # /dev/stdout, say: it has to stay
        with (path if is_device else part).open("wb") as file:
            yield file
        if not is_device:
            part.replace(path)
    except BrokenPipeError:  # of standard output, to which the block prints
        raise
    except OSError as error:
        raise EngineError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            part.unlink()
