"""Files that appear whole or not at all."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from cbngtrain.engine.errors import EngineError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

OF_DEVICES = {Path("/dev"), Path("/dev/fd")}  # of /dev/stdout, too, which may stand for a file


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """
    Open a file for writing that takes the name *path* only when the block ends well.

    The bytes go to a temporary file beside *path*, which is renamed over it at the end and
    removed if the block raises: no reader ever sees part of a file under its final name. A
    device, a pipe, or what ``/dev/stdout`` stands for, is written to as it is.

    Raises:
        EngineError: The file cannot be written (no such directory, no permission, disk full, a
            name that is none); so does what writes to it.
        BrokenPipeError: It is a pipe that nobody reads.
    """
    part = path.parent / f".{path.name}.{os.getpid()}.part"
    try:
        with _named(path):
            stays = path.exists() and (not path.is_file() or path.parent in OF_DEVICES)
            raw = _Output(path if stays else part, path)
        with io.BufferedWriter(raw) as file:
            yield file
        if not stays:
            with _named(path):
                part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink()


class _Output(io.FileIO):
    """A file whose errors tell its name, be it one of many that are written at a time."""

    def __init__(self, at: Path, path: Path) -> None:
        super().__init__(at, "wb")
        self._path = path

    def write(self, data: "ReadableBuffer") -> int:
        with _named(self._path):
            return super().write(data)

    def close(self) -> None:
        with _named(self._path):
            super().close()


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """What the system refuses in the block is an error that names the file."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise EngineError(f"{path}: cannot be written: {error.strerror or error}") from error
