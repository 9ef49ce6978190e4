"""
Two builds at once: a lock on a fingerprint, and one on a checkout.

Both are a ``flock``, which ends with its holder, however that ends.
"""

import errno
import fcntl
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cbngtrain.errors import DispatchError

log = logging.getLogger(__name__)

LOCK = Path(".doit.lock")

ROOM = 256 << 10  # bytes: doit's database has some hundred per task
_PID = 20  # bytes in which a process's number is told


@contextmanager
def one_at_a_time(key: str, name: str) -> Iterator[None]:
    """
    Hold the lock on *key* for this machine, waiting (and saying so) while another build has it.

    The lock is on a file of this user. The holder removes the file; who gets the lock of a file
    that was removed meanwhile tries again.

    Raises:
        DispatchError: The file cannot be had.
    """
    path = _directory() / f"{key}.lock"
    while True:
        with path.open("wb") as file:
            _lock(file.fileno(), name)
            if not (path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno()))):
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _directory() -> Path:
    """Return where this user's locks are on this machine."""
    path = Path(tempfile.gettempdir()) / f"cbngtrain-{os.getuid()}"
    try:
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise DispatchError(f"{path}: {error.strerror}; set TMPDIR to a place of yours") from error
    if path.stat().st_uid != os.getuid():
        raise DispatchError(f"{path} belongs to somebody else; set TMPDIR to a place of yours")
    return path


def _lock(descriptor: int, name: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log.warning("%s: another build on this machine is at it; waiting for it", name)
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def hold_checkout(path: Path = LOCK) -> int:
    """
    Wait until no other build is at work in this directory, and keep others waiting.

    doit's database bears one writer. The lock ends with the process that holds it. While a task is
    at work the lock's file holds room on the disk for what doit writes into its database at the
    very end: a full disk then fails that task, in one line, and not doit.

    Returns:
        The descriptor that holds the lock.

    Raises:
        DispatchError: The disk is full already.
    """
    try:
        held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if not os.access(path.absolute().parent, os.W_OK):  # doit's database needs files beside it
            os.close(held)
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise DispatchError(f"{Path.cwd() / path}: {error.strerror}") from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        other = os.pread(held, 20, 0).decode(errors="replace").partition("\n")[0] or "unknown"
        log.warning("process %s is building in %s; waiting for its end", other, Path.cwd())
        fcntl.flock(held, fcntl.LOCK_EX)
    try:
        os.ftruncate(held, 0)
        os.posix_fallocate(held, 0, ROOM)
        os.ftruncate(held, _PID)
        os.pwrite(held, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:
        os.close(held)
        raise DispatchError(
            f"{Path.cwd()}: {error.strerror}: a build needs {ROOM >> 10} KB there at least"
        ) from error
    return held


def set_room(size: int) -> None:
    """Have the lock's file hold *size* bytes of the disk; if they are not there, none."""
    with suppress(OSError), LOCK.open("r+b") as file:
        os.ftruncate(file.fileno(), _PID)
        if size:
            os.posix_fallocate(file.fileno(), 0, size)
