"""
Files that appear whole or not at all, on a disk that several hosts may share.

A file is written beside its place, synced, and then linked or renamed into it. No locks.
"""

import json
import logging
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cbngtrain.errors import StoreError

log = logging.getLogger(__name__)

RENEW_AFTER = 3600  # seconds: what is relied upon gets a new time if its own is older

PART = ".part"
"""The end of the name of what is not in its place yet; it begins with a dot."""


def replace_file(path: Path, text: bytes) -> None:
    """Write *text* to *path*, whole or not at all, in place of what is there."""
    part = part_in(path.parent)
    try:
        write(part, text)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    sync(path.parent)


def replace_link(path: Path, goal: str) -> None:
    """Make *path* a symbolic link to *goal*, in place of what is there."""
    part = part_in(path.parent)
    try:
        part.symlink_to(goal)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    sync(path.parent)


def is_within(path: Path, directory: Path) -> bool:
    """Return whether *path*, there or not, is in *directory* once all links are followed."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(directory))


def read_json(path: Path) -> Any:
    """
    Return the JSON value in *path*, or None if there is no such file or it holds no JSON.

    Absence is believed only after the directory was read again, as in `is_there`.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return read_json(path) if _is_listed(path) and path.exists() else None
    except (ValueError, RecursionError):
        log.warning("%s: is no JSON, and counts as not there", path)
        return None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error


def part_in(directory: Path) -> Path:
    """Return a new temporary path in *directory*, which is made."""
    make(directory)
    return directory / f".{secrets.token_hex(8)}{PART}"


@contextmanager
def told(what: str, *but: type[OSError]) -> Iterator[None]:
    """Turn errors of the file system into StoreError; a file that is not there stays one."""
    try:
        yield
    except OSError as error:
        if isinstance(error, (FileNotFoundError, *but)):
            raise
        where = f" ({error.filename})" if error.filename else ""
        raise StoreError(f"{what}: {error.strerror or error}{where}") from error


def is_there(path: Path, size: int | None = None) -> bool:
    """
    Return whether the file exists, with that size if given.

    Absence is believed only after the directory was read again: on NFS a client may remember for
    a while that a file which another host has made is not there.
    """
    try:
        return size is None or path.stat().st_size == size if path.exists() else _is_listed(path)
    except OSError:
        return False


def _is_listed(path: Path) -> bool:
    """Return whether the directory, read anew, has the file."""
    with suppress(OSError), os.scandir(path.parent) as entries:
        return any(entry.name == path.name for entry in entries)
    return False


def renew(path: Path) -> bool:
    """
    Give the file a new time if its own is older than an hour: pruning leaves it alone.

    Returns:
        Whether the file is there; where it is not, pruning was faster.
    """
    try:
        if path.stat().st_mtime < time.time() - RENEW_AFTER:
            os.utime(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        log.warning("%s cannot be renewed: %s", path, error)
    return True


def remove(path: Path, before: float) -> bool:
    """
    Remove a file unless it was renewed, or written anew, since the time *before*.

    Whoever relies on the file renews it first (`renew`). So it is moved aside, looked at again,
    and put back if somebody was faster; who renews after that finds nothing, and says so.

    Returns:
        Whether it is gone.
    """
    try:
        if path.stat().st_mtime > before:
            return False
        aside = part_in(path.parent)
        path.rename(aside)
    except FileNotFoundError:
        return True
    if aside.stat().st_mtime > before:
        link(aside, path)
        aside.unlink()
        return False
    aside.unlink()
    return True


def make(directory: Path) -> None:
    """Make *directory* and those above it. Raises StoreError where there can be none: in /proc."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError as error:
        raise StoreError(f"{directory}: no directory can be made there") from error


def link(part: Path, place: Path) -> bool:
    """Give *part* the name *place* too; return False if that name is taken."""
    make(place.parent)
    try:
        place.hardlink_to(part)
    except FileExistsError:
        return False
    sync(place.parent)
    return True


def write(path: Path, text: bytes) -> None:
    """Write *text* to a new file, synced."""
    make(path.parent)
    with path.open("xb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def sync(directory: Path) -> None:
    """Make the names in *directory* last."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
