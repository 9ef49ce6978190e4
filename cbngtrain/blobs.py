"""
Blobs in a directory: immutable bytes under their sha256.

    cas/ab/ab12…
"""

import fcntl
import hashlib
import logging
import mmap
import os
import shutil
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from io import FileIO
from itertools import cycle
from pathlib import Path
from typing import Protocol

from cbngtrain.canonical import digest_of
from cbngtrain.disk import PART, is_there, link, part_in, renew, told
from cbngtrain.errors import BlobNotFound, DigestMismatch
from cbngtrain.step import Digest

log = logging.getLogger(__name__)

_CHUNK = 1 << 20  # bytes
_FICLONE = 0x40049409  # linux/fs.h: share the blocks of another file
_PIECE = 1 << 20  # bytes read, hashed and written at once
_WRITEBACK = 8 << 20  # bytes after which the disk begins to write them


class Readable(Protocol):
    """Bytes that come one after another: an open file, the body of a request."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Write further bytes to the beginning of *buffer*; return how many, 0 at the end."""


class Blobs:
    """The blobs of a store."""

    def __init__(self, root: Path) -> None:
        """*root* is where they are; it is made when the first is stored."""
        self.root = root

    def path(self, digest: Digest) -> Path:
        """Return where the blob is, or would be."""
        return self.root / digest[:2] / digest

    def fetch(self, digest: Digest, path: Path) -> None:
        """See `Store`. A blob whose bytes have rotted is taken out of the store."""
        part = path.with_name(f".{path.name}{PART}")
        try:
            with told(f"blob {digest} cannot be fetched"):
                _copy(self.path(digest), part)
                found = digest_of(part)
        except FileNotFoundError as error:
            raise BlobNotFound(digest) from error
        if found != digest:
            part.unlink()
            self.path(digest).unlink(missing_ok=True)
            raise DigestMismatch(
                digest, f"blob {digest} had rotted on disk and was taken out of the store"
            )
        part.replace(path)

    def add(self, path: Path) -> Digest:
        """See `Store`. A blob that stands with other bytes, since it has rotted, is replaced."""
        with told(f"{path} cannot be stored"), path.open("rb", buffering=0) as source:
            return self.receive(source)[0]

    def receive(self, source: Readable, expected: Digest | None = None) -> tuple[Digest, bool]:
        """
        Store the bytes that *source* gives, to its end, with memory that does not grow with them.

        Returns:
            Their digest, and whether the blob is new.

        Raises:
            DigestMismatch: They do not have the *expected* digest; nothing was stored.
            StoreError: The file system refused, as ``__cause__`` tells.
        """
        with told("a blob cannot be stored"):
            part = part_in(self.root)
            try:
                found = _copy_hashed(source, part)
                if expected not in {None, found}:
                    raise DigestMismatch(found, f"the bytes have the digest {found}")
                return found, self._settle(part, found)
            finally:
                part.unlink(missing_ok=True)

    def _settle(self, part: Path, digest: Digest) -> bool:
        """Give the file *part* its place as a blob; return whether there was none."""
        place = self.path(digest)
        while not link(part, place):
            if not renew(place):
                continue  # it was pruned just now
            if digest_of(place) != digest:
                log.warning("blob %s had rotted on disk and was replaced", digest)
                part.replace(place)
            return False
        return True

    def drop_rotten(self, digest: Digest) -> bool:
        """Take the blob out of the store if its bytes have rotted; return whether it was."""
        try:
            is_rotten = digest_of(self.path(digest)) != digest
        except FileNotFoundError as error:
            raise BlobNotFound(digest) from error
        if is_rotten:
            self.path(digest).unlink(missing_ok=True)
        return is_rotten

    def missing(self, digests: Iterable[Digest]) -> set[Digest]:
        """See `Store`. What is there is renewed: who asks is about to rely on it."""
        wanted = set(digests)
        lacking = {digest for digest in wanted if not is_there(self.path(digest))}
        return lacking | {there for there in wanted - lacking if not renew(self.path(there))}


def _copy_hashed(source: Readable, path: Path) -> Digest:
    """
    Copy *source* to *path*, synced and read-only; return the sha256 of what was written.

    Two buffers take turns, so nothing is copied between reading and writing: while a second thread
    hashes one of them, the first writes it and fills the other. And the disk begins to write long
    before the end, so that syncing has little left to wait for.
    """
    sha256 = hashlib.sha256()
    pages = memoryview(mmap.mmap(-1, 2 * _PIECE))  # those that a small blob leaves cost nothing
    written = begun = 0
    with path.open("xb", buffering=0) as file, ThreadPoolExecutor(1) as hasher:
        hashed: Future[None] = Future()
        hashed.set_result(None)
        for buffer in cycle((pages[:_PIECE], pages[_PIECE:])):
            count = source.readinto(buffer)
            hashed.result()
            if not count:
                break
            if count < _PIECE:
                sha256.update(buffer[:count])
            else:
                hashed = hasher.submit(sha256.update, buffer)
            _write_all(file, buffer[:count])
            written += count
            if written - begun >= _WRITEBACK:
                os.posix_fadvise(file.fileno(), begun, written - begun, os.POSIX_FADV_DONTNEED)
                begun = written
        os.fchmod(file.fileno(), 0o444)
        os.fsync(file.fileno())
    return Digest(sha256.hexdigest())


def _write_all(file: FileIO, rest: memoryview) -> None:
    """Write *rest*, however many calls that takes."""
    while rest:
        rest = rest[file.write(rest) :]


def _copy(source: Path, path: Path) -> None:
    """Copy *source* to *path*, sharing its blocks where the file system can."""
    with source.open("rb") as blob, path.open("wb") as file:
        try:
            fcntl.ioctl(file, _FICLONE, blob.fileno())
        except OSError:
            shutil.copyfileobj(blob, file, _CHUNK)
