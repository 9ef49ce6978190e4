"""
The published side of a store: folders, instances and their aliases, as files in ``tree/``.

What publishing makes is `DirectoryStore`'s; here it is read, and here is what people's scripts do:
one file after another into an instance of their own. Symbolic links lead into ``cas/``; one that
leads out of the store is not followed.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cbngtrain.disk import is_within, sync, told
from cbngtrain.errors import BlobNotFound, InstanceConflict
from cbngtrain.step import INSTANCE, Digest, problem_with_part
from cbngtrain.store import DirectoryStore
from web.names import ALIASES, Address


class GoneError(BlobNotFound):
    """A file is published whose blob is not in the store any more."""


@dataclass(frozen=True, slots=True)
class Entry:
    """
    A line of a folder's listing.

    Attributes:
        name: The file's or folder's.
        is_folder: Which of the two it is.
        size: Bytes; 0 for a folder, None where the blob is gone.
        digest: Of a file whose digest is known without reading it.
        modified: Seconds since the epoch.
    """

    name: str
    is_folder: bool
    size: int | None
    digest: Digest | None
    modified: float


@dataclass(frozen=True, slots=True)
class Found:
    """A file: where it really is, its digest, and when it got its name."""

    path: Path
    digest: Digest
    modified: float


class Tree:
    """The folders of a store."""

    def __init__(self, store: DirectoryStore) -> None:
        """*store* is where they are."""
        self._store = store
        self._root = store.root / "tree"

    def folder(self, at: Address) -> Path:
        """Return where *at* is; nothing is looked at."""
        return self._root.joinpath(at.target, at.instance, at.path)

    def resolved(self, at: Address) -> Address | None:
        """Return *at* with its alias replaced by the instance that it stands for."""
        if at.instance not in ALIASES:
            return at
        try:
            name = str((self._root / at.target / at.instance).readlink())
        except OSError:
            return None
        return Address(at.target, name, at.path) if INSTANCE.fullmatch(name) else None

    def file(self, at: Address) -> Found | None:
        """
        Return the file at *at*, or None if there is none.

        Raises:
            GoneError: Its blob is gone.
        """
        named = self.folder(at)
        path = self._followed(named)
        try:
            status = path.stat() if path else None
        except OSError:
            self._refuse_gone(named)
            return None
        if path is None or status is None or not stat.S_ISREG(status.st_mode):
            return None
        return Found(path, self._digest(path, status), named.lstat().st_mtime)

    def _followed(self, named: Path) -> Path | None:
        """Return *named* with its links followed; None if that is outside of the store."""
        path = Path(os.path.realpath(named))
        root = Path(os.path.realpath(self._store.root))
        inside = path.is_relative_to(root / "tree") or path.is_relative_to(root / "cas")
        return path if inside else None

    def _refuse_gone(self, named: Path) -> None:
        """Raise GoneError if *named* is a link to a blob."""
        if named.is_symlink() and (digest := self._blob(named)):
            raise GoneError(digest, f"{named.name} is published, but its blob {digest} is gone")

    def _blob(self, link: Path) -> Digest | None:
        """Return the digest of the blob that *link* leads to, there or not."""
        path = Path(os.path.realpath(link))
        digest = Digest(path.name)
        place = Path(os.path.realpath(self._store.root)) / "cas" / digest[:2] / digest
        return digest if path == place else None

    def _digest(self, path: Path, status: os.stat_result) -> Digest:
        """Return the digest of a file: its name, if it is a blob."""
        return self._blob(path) or _digest_of(path, status.st_ino, status.st_mtime_ns)

    def is_folder(self, at: Address) -> bool:
        """Return whether there is a folder at *at*."""
        path = self._followed(self.folder(at))
        return path is not None and path.is_dir()

    def is_published(self, at: Address) -> bool:
        """Return whether *at* is in an instance that nothing is added to any more."""
        return (self._root / at.target / at.instance / "instance.json").exists()

    def entries(self, at: Address) -> list[Entry]:
        """Return what is in the folder at *at*: folders first, instances newest first."""
        found = [entry for entry in self._entries(self.folder(at)) if entry.name not in ALIASES]
        dated = [entry for entry in found if INSTANCE.fullmatch(entry.name)]
        others = [entry for entry in found if not INSTANCE.fullmatch(entry.name)]
        newest = sorted(dated, key=lambda entry: entry.name, reverse=True)
        return newest + sorted(others, key=lambda entry: (not entry.is_folder, entry.name))

    def _entries(self, folder: Path) -> Iterator[Entry]:
        """Yield what is in *folder* and may be shown."""
        with os.scandir(folder) as listed:
            for each in listed:
                if problem_with_part(each.name):
                    continue
                named = each.stat(follow_symlinks=False)
                digest = self._blob(Path(each.path)) if each.is_symlink() else None
                if each.is_dir(follow_symlinks=False):
                    yield Entry(each.name, True, 0, None, named.st_mtime)
                elif digest or each.is_file(follow_symlinks=False):
                    yield Entry(each.name, False, _size(each), digest, named.st_mtime)

    def targets(self) -> Iterator[str]:
        """Yield the name of every edit set that has an instance, sorted."""
        for path, folders, _ in os.walk(self._root):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            if any(INSTANCE.fullmatch(name) for name in folders):
                yield str(Path(path).relative_to(self._root))
            folders[:] = [n for n in folders if not INSTANCE.fullmatch(n) and n not in ALIASES]

    # What scripts and people change

    def put(self, at: Address, digest: Digest) -> bool:
        """
        Give the blob a name in an instance that scripts fill; return whether it is new.

        Raises:
            InstanceConflict: The name has other bytes or leads elsewhere, or the instance is
                published.
            StoreError: The file system refused, as ``__cause__`` tells.
        """
        if self.is_published(at):
            raise InstanceConflict(
                f"{at.target}/{at.instance} is published: nothing is added to it"
            )
        link = self.folder(at)
        if not is_within(link.parent, self._root):
            raise InstanceConflict(f"{at.path} is below a file, or leads out of the store")
        goal = os.path.relpath(self._store.path(digest), link.parent)
        try:
            with told(f"{at.path:.80} cannot be stored", FileExistsError, NotADirectoryError):
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(goal)
                sync(link.parent)
        except (FileExistsError, NotADirectoryError) as error:
            if self._blob(link) == digest or _has_bytes(link, digest):
                return False
            raise InstanceConflict(
                f"{at.path} is there with other bytes; nothing is ever overwritten"
            ) from error
        if self.is_published(at):  # an empty folder of this name gave way to it meanwhile
            link.unlink()
            raise InstanceConflict(f"{at.target}/{at.instance} has just been published")
        return True


def _size(entry: "os.DirEntry[str]") -> int | None:
    """Return the size of a file, or None where a link leads nowhere."""
    try:
        return entry.stat().st_size
    except OSError:
        return None


def _has_bytes(path: Path, digest: Digest) -> bool:
    """Return whether *path* is a file, from before, with these bytes."""
    return path.is_file() and _digest_of(path, 0, path.stat().st_mtime_ns) == digest


@lru_cache(maxsize=4096)
def _digest_of(path: Path, _inode: int, _modified: int) -> Digest:
    """Return the sha256 of a file that is no blob; known again while the file is the same."""
    with path.open("rb") as file:
        return Digest(hashlib.file_digest(file, "sha256").hexdigest())
