"""Directories in which steps and downloads are at work."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cbngtrain.errors import DispatchError

DIRECTORY = Path("build")
"""What a build keeps in its working directory; it may be deleted at any time."""


class Scratch:
    """Directories for the time of a build; those of builds that died are removed at the start."""

    def __init__(self, root: Path = DIRECTORY / ".scratch") -> None:
        """*root* is where the directories of all builds in this working directory are."""
        self._root = root

    @contextmanager
    def directory(self, name: str) -> Iterator[Path]:
        """
        Give an empty directory whose name begins with *name*; it goes when the block ends.

        Raises:
            DispatchError: The file system refused what the block did, since it is full perhaps.
        """
        prefix = name.replace("/", "-").replace(":", "-")[:60]
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f"{prefix}-", dir=self._root) as path:
                yield Path(path)
        except OSError as error:
            where = error.filename or self._root
            raise DispatchError(f"{name}: {error.strerror or error} ({where})") from error

    def clear(self) -> None:
        """Remove what dead builds left; call it only while no other build can be at work here."""
        shutil.rmtree(self._root, ignore_errors=True)
