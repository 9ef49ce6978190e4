"""
The store: blobs under their digest, records under their fingerprint, instances under names.

    cas/ab/ab12…                     blobs, immutable
    ac/cd/cd34…                      records (JSON)
    heads/{slug}.json                fingerprints of an edit set's last complete build
    builds/{build}.json              what a build did, for people
    tree/{target}/{instance}/…       instances: relative symbolic links into cas/, instance.json
    tree/{target}/latest             symbolic link, replaced atomically; never goes back

Everything appears whole or not at all: a file is written beside its place, synced, and then linked
or renamed into it. No locks: links and renames only, so several hosts may share the directory.
"""

import errno
import fcntl
import hashlib
import json
import logging
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path
from typing import Any, Protocol, Self

from cbngtrain.errors import (
    BlobNotFound,
    DigestMismatch,
    FormatError,
    InstanceConflict,
    StoreError,
)
from cbngtrain.step import (
    INSTANCE,
    Digest,
    Fingerprint,
    Record,
    canonical_json,
    digest,
    problem_with_target,
)

log = logging.getLogger(__name__)

RENEW_AFTER = 3600  # seconds: what is relied upon gets a new time if its own is older

_CHUNK = 1 << 20  # bytes
_PIECE = 256 << 10  # bytes hashed at once: larger buffers go back to the kernel each time
_WRITEBACK = 8 << 20  # bytes after which the disk begins to write them
_FICLONE = 0x40049409  # linux/fs.h: share the blocks of another file


@dataclass(frozen=True, slots=True)
class Instance:
    """
    A published build of an edit set.

    Attributes:
        target: The edit set's name.
        name: The UTC time its build began, ``YYYY-mm-dd HH:MM:SS``.
        files: Path below the instance → digest.
        meanings: Path → meaning, of the artifacts; logs have none.
        about: All else in ``instance.json``: what everything was made from.
    """

    target: str
    name: str
    files: Mapping[str, Digest]
    meanings: Mapping[str, Digest]
    about: Mapping[str, Any]

    @classmethod
    def from_json(cls, value: Any, source: object) -> Self:
        """Raises FormatError, naming *source*, where *value* is no instance."""
        try:
            return cls(
                target=value["target"],
                name=value["instance"],
                files={path: digest(text, source) for path, text in value["files"].items()},
                meanings={path: digest(text, source) for path, text in value["meanings"].items()},
                about=dict(value["about"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FormatError(source, "", f"the instance is malformed: {error!r}") from error

    def to_json(self) -> dict[str, Any]:
        """Return what ``instance.json`` holds."""
        return {
            "target": self.target,
            "instance": self.name,
            "files": dict(self.files),
            "meanings": dict(self.meanings),
            "about": dict(self.about),
        }


class Readable(Protocol):
    """Bytes that come one after another: an open file, the body of a request."""

    def read(self, size: int, /) -> bytes:
        """Return at most *size* further bytes; none at the end."""


class Store(Protocol):
    """Blobs under their digest, records under their fingerprint, instances under names."""

    def fetch(self, digest: Digest, path: Path) -> None:
        """
        Write the blob to *path*, whole or not at all.

        Raises:
            BlobNotFound: There is none, or (DigestMismatch) its bytes had rotted.
        """

    def add(self, path: Path) -> Digest:
        """Store the bytes of *path*; storing them twice changes nothing."""

    def missing(self, digests: Iterable[Digest]) -> set[Digest]:
        """Return those of *digests* of which there is no blob."""

    def place(self, digest: Digest) -> str:
        """Return where a person finds the blob: a path or a URL."""

    def find(self, fingerprint: Fingerprint) -> Record | None:
        """Return the record, if there is one and every blob it names is here."""

    def keep(self, record: Record) -> Record:
        """Store *record*; if a valid one stands already, return that one."""

    def forget(self, fingerprint: Fingerprint) -> None:
        """Disown the record, if there is one."""

    def head(self, slug: str) -> dict[str, Any]:
        """Return what `set_head` kept, or nothing."""

    def set_head(self, slug: str, head: Mapping[str, Any]) -> None:
        """Keep the fingerprints that an edit set's last complete build used."""

    def keep_build(self, build: str, summary: Mapping[str, Any]) -> None:
        """
        Keep what a build did, for people, in place of what was kept under its name.

        Args:
            build: Its name, which begins with its time: ``2025-08-01T18.36.31-host-4711``.
            summary: As ``summary.py`` has it.
        """

    def latest(self, target: str) -> Instance | None:
        """Return the latest instance if every file it has is here."""

    def publish(self, instance: Instance) -> None:
        """
        Publish *instance*, all at once or not at all, and move ``latest`` if it is newer.

        Raises:
            BlobNotFound: A file's blob is not here.
            InstanceConflict: An instance with other files has this name.
        """


class DirectoryStore:
    """A store in a directory, made when something is first written to it."""

    def __init__(self, root: Path) -> None:
        """*root* is the directory; nothing outside it is touched."""
        self.root = root.absolute()

    # Blobs

    def path(self, digest: Digest) -> Path:
        """Return where the blob is, or would be."""
        return self.root / "cas" / digest[:2] / digest

    def fetch(self, digest: Digest, path: Path) -> None:
        """See `Store`. A blob whose bytes have rotted is taken out of the store."""
        part = path.with_name(f".{path.name}.part")
        try:
            with _told(f"blob {digest} cannot be fetched"):
                _copy(self.path(digest), part)
                found = _digest_of(part)
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
        with _told(f"{path} cannot be stored"), path.open("rb") as source:
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
        with _told("a blob cannot be stored"):
            part = _part(self.root / "cas")
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
        is_new = _link(part, place)
        if not is_new and _digest_of(place) != digest:
            log.warning("blob %s had rotted on disk and was replaced", digest)
            part.replace(place)
        _renew(place)
        return is_new

    def drop_rotten(self, digest: Digest) -> bool:
        """Take the blob out of the store if its bytes have rotted; return whether it was."""
        try:
            is_rotten = _digest_of(self.path(digest)) != digest
        except FileNotFoundError as error:
            raise BlobNotFound(digest) from error
        if is_rotten:
            self.path(digest).unlink(missing_ok=True)
        return is_rotten

    def missing(self, digests: Iterable[Digest]) -> set[Digest]:
        """See `Store`. What is there is renewed: who asks is about to rely on it."""
        wanted = set(digests)
        lacking = {digest for digest in wanted if not _is_there(self.path(digest))}
        for there in wanted - lacking:
            _renew(self.path(there))
        return lacking

    def place(self, digest: Digest) -> str:
        """See `Store`."""
        return os.path.relpath(self.path(digest))

    # Records

    def find(self, fingerprint: Fingerprint) -> Record | None:
        """See `Store`. A blob of another size than the record's has rotted: it does not count."""
        record = self._record(fingerprint)
        if record is None:
            return None
        for artifact in record.artifacts:
            if not _is_there(self.path(artifact.digest), artifact.size):
                log.info("record %.12s: %s is not in the store", fingerprint, artifact.name)
                return None
        if record.log and not _is_there(self.path(record.log)):
            log.info("record %.12s: its log is not in the store", fingerprint)
            return None
        for place in (self._record_path(fingerprint), *map(self.path, record.blobs)):
            _renew(place)
        return record

    def keep(self, record: Record) -> Record:
        """See `Store`. Raises StoreError if a blob that it names is not here."""
        if lacking := self.missing(record.blobs):
            raise BlobNotFound(min(lacking))
        place = self._record_path(record.fingerprint)
        with _told(f"record {record.fingerprint} cannot be kept"):
            part = _part(self.root / "ac")
            _write(part, canonical_json(record.to_json()))
            try:
                if _link(part, place):
                    return record
                if standing := self.find(record.fingerprint):
                    return standing
                part.replace(place)
            finally:
                part.unlink(missing_ok=True)
        return record

    def forget(self, fingerprint: Fingerprint) -> None:
        """See `Store`."""
        with _told(f"record {fingerprint} cannot be forgotten"):
            self._record_path(fingerprint).unlink(missing_ok=True)

    def _record_path(self, fingerprint: Fingerprint) -> Path:
        return self.root / "ac" / fingerprint[:2] / fingerprint

    def _record(self, fingerprint: Fingerprint) -> Record | None:
        """Return the record, valid or not; one that cannot be read counts as none."""
        value = read_json(self._record_path(fingerprint))
        if value is None:
            return None
        try:
            return Record.from_json(value, f"record {fingerprint:.12}")
        except FormatError as error:
            log.warning("%s; it is made anew", error)
            return None

    # Heads

    def head(self, slug: str) -> dict[str, Any]:
        """See `Store`."""
        value = read_json(self.root / "heads" / f"{slug}.json")
        return value if isinstance(value, dict) else {}

    def set_head(self, slug: str, head: Mapping[str, Any]) -> None:
        """See `Store`."""
        with _told(f"the head of {slug} cannot be kept"):
            replace_file(self.root / "heads" / f"{slug}.json", canonical_json(head))

    def keep_build(self, build: str, summary: Mapping[str, Any]) -> None:
        """See `Store`."""
        with _told(f"the summary of build {build} cannot be kept"):
            replace_file(self.root / "builds" / f"{build}.json", canonical_json(summary))

    # Instances

    def latest(self, target: str) -> Instance | None:
        """See `Store`."""
        name = self._latest_name(self._folder(target))
        instance = self.instance(target, name) if name else None
        if instance and self.missing(instance.files.values()):
            log.info("%s: its latest instance %s is not whole", target, name)
            return None
        return instance

    def instance(self, target: str, name: str) -> Instance | None:
        """Return the instance, if there is one with an ``instance.json``."""
        value = read_json(self._folder(target) / name / "instance.json")
        if value is None:
            return None
        try:
            return replace(
                Instance.from_json(value, f"{target}/{name}/instance.json"),
                target=target,
                name=name,
            )
        except FormatError as error:
            log.warning("%s", error)
            return None

    def publish(self, instance: Instance) -> None:
        """See `Store`."""
        if not INSTANCE.fullmatch(instance.name):
            raise StoreError(
                f"{instance.name!r} cannot name an instance; a UTC time can: YYYY-mm-dd HH:MM:SS"
            )
        folder = self._folder(instance.target)
        with _told(f"{instance.target}/{instance.name} cannot be published"):
            self._publish(folder, instance)
            self._move_latest(folder)

    def _folder(self, target: str) -> Path:
        """Return the folder of *target*. Raises StoreError where its name is not allowed."""
        if problem := problem_with_target(target):
            raise StoreError(f"{target!r} cannot be in the store: {problem}")
        return self.root / "tree" / target

    def _publish(self, folder: Path, instance: Instance) -> None:
        """Make the instance aside and rename it into place; a name that is taken stays as it is."""
        aside = _part(folder)
        try:
            for path, blob in instance.files.items():
                self._link_to_blob(aside / path, folder / instance.name / path, blob)
            _write(aside / "instance.json", _pretty(instance.to_json()))
            _sync(aside)
            aside.rename(folder / instance.name)
            _sync(folder)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
            self._refuse_other(instance)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _link_to_blob(self, link: Path, place: Path, blob: Digest) -> None:
        """Make *link* point to the blob, as seen from *place*, where it will be."""
        target = self.path(blob)
        if not _is_there(target):
            raise BlobNotFound(blob)
        _renew(target)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(target, place.parent))

    def _refuse_other(self, instance: Instance) -> None:
        """Raise InstanceConflict unless the instance that has this name has the same files."""
        standing = self.instance(instance.target, instance.name)
        if standing is None or standing.meanings != instance.meanings:
            raise InstanceConflict(
                f"{instance.target}/{instance.name} is published already, with other files; "
                "instances are never overwritten: choose another name"
            )

    def _move_latest(self, folder: Path) -> None:
        """
        Point ``latest`` to the newest instance.

        The newest is looked up again after the link was replaced: of two publishers at once, the
        one that looks last sees both instances, so the link ends at the newer one.
        """
        while (newest := _newest(folder)) and newest != self._latest_name(folder):
            replace_link(folder / "latest", newest)

    def _latest_name(self, folder: Path) -> str | None:
        """Return the name of the instance that ``latest`` points to."""
        try:
            name = str((folder / "latest").readlink())
        except OSError:
            return None
        return name if INSTANCE.fullmatch(name) else None


def replace_file(path: Path, text: bytes) -> None:
    """Write *text* to *path*, whole or not at all, in place of what is there."""
    part = _part(path.parent)
    try:
        _write(part, text)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    _sync(path.parent)


def replace_link(path: Path, goal: str) -> None:
    """Make *path* a symbolic link to *goal*, in place of what is there."""
    part = _part(path.parent)
    try:
        part.symlink_to(goal)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    _sync(path.parent)


def read_json(path: Path) -> Any:
    """
    Return the JSON value in *path*, or None if there is no such file or it holds no JSON.

    Absence is believed only after the directory was read again, as in `_is_there`.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return read_json(path) if _is_listed(path) and path.exists() else None
    except ValueError:
        log.warning("%s: is no JSON; it is made anew", path)
        return None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error


def _part(directory: Path) -> Path:
    """Return a new temporary path in *directory*, which is made."""
    directory.mkdir(parents=True, exist_ok=True)
    return directory / f".{secrets.token_hex(8)}.part"


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Turn errors of the file system into StoreError; a file that is not there stays one."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StoreError(f"{what}: {error.strerror or error} ({error.filename})") from error


def _is_there(path: Path, size: int | None = None) -> bool:
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


def _renew(path: Path) -> None:
    """Give the file a new time if its own is older than an hour: pruning leaves it alone."""
    with suppress(OSError):
        if path.stat().st_mtime < time.time() - RENEW_AFTER:
            os.utime(path)


def _digest_of(path: Path) -> Digest:
    """Return the sha256 of the bytes of *path*."""
    with path.open("rb") as file:
        return Digest(hashlib.file_digest(file, "sha256").hexdigest())


def _copy(source: Path, path: Path) -> None:
    """Copy *source* to *path*, sharing its blocks where the file system can."""
    with source.open("rb") as blob, path.open("wb") as file:
        try:
            fcntl.ioctl(file, _FICLONE, blob.fileno())
        except OSError:
            shutil.copyfileobj(blob, file, _CHUNK)


def _copy_hashed(source: Readable, path: Path) -> Digest:
    """
    Copy *source* to *path*, synced and read-only; return the sha256 of what was written.

    A large file is hashed by a second thread while the first one reads and writes, and the disk
    begins to write long before the end, so that syncing has little left to wait for.
    """
    sha256 = hashlib.sha256()
    written = begun = 0
    with path.open("xb", buffering=0) as file, ThreadPoolExecutor(1) as hasher:
        hashed: Future[None] = Future()
        hashed.set_result(None)
        while chunk := source.read(_PIECE):
            hashed.result()
            if len(chunk) < _PIECE:
                sha256.update(chunk)
            else:
                hashed = hasher.submit(sha256.update, chunk)
            written += _write_all(file, chunk)
            if written - begun >= _WRITEBACK:
                os.posix_fadvise(file.fileno(), begun, written - begun, os.POSIX_FADV_DONTNEED)
                begun = written
        hashed.result()
        os.fchmod(file.fileno(), 0o444)
        os.fsync(file.fileno())
    return Digest(sha256.hexdigest())


def _write_all(file: FileIO, chunk: bytes) -> int:
    """Write *chunk*, however many calls that takes; return its length."""
    rest = memoryview(chunk)
    while rest:
        rest = rest[file.write(rest) :]
    return len(chunk)


def _link(part: Path, place: Path) -> bool:
    """Give *part* the name *place* too; return False if that name is taken."""
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        place.hardlink_to(part)
    except FileExistsError:
        return False
    _sync(place.parent)
    return True


def _write(path: Path, text: bytes) -> None:
    """Write *text* to a new file, synced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    """Make the names in *directory* last."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _pretty(value: object) -> bytes:
    """Return *value* as JSON for people."""
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def _newest(folder: Path) -> str | None:
    """Return the name of the newest instance in *folder* that has an ``instance.json``."""
    with suppress(FileNotFoundError):
        found = sorted(e.name for e in os.scandir(folder) if INSTANCE.fullmatch(e.name))
        return next((n for n in reversed(found) if (folder / n / "instance.json").exists()), None)
    return None
