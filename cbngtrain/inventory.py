"""What is in a store's directory, read for pruning and for verifying."""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from cbngtrain.disk import PART, read_json
from cbngtrain.errors import FormatError
from cbngtrain.pins import FOLDER as PINS
from cbngtrain.pins import pinned
from cbngtrain.retention import Folder, Inventory, Stored
from cbngtrain.step import INSTANCE, Digest, Fingerprint, Record
from cbngtrain.store import DirectoryStore

ALIASES = ("latest", "production")

_SHA256 = re.compile(r"[0-9a-f]{64}")
_UNDER_WAY = re.compile(rf"[.].*([.]health|{re.escape(PART)})", re.DOTALL)


def inventory(store: DirectoryStore) -> Inventory:
    """Return what is in *store*. Raises StoreError where it cannot be read."""
    records = {Fingerprint(path.name): _stored(path) for path in keyed(store.root / "ac")}
    tree = store.root / "tree"
    return Inventory(
        at=time.time(),
        records=records,
        read=_read(store, records),
        blobs={Digest(path.name): _stored(path) for path in keyed(store.root / "cas")},
        folders=tuple(_folders(store, tree)),
        strays=dict(_strays(tree)),
        heads={path.stem: read_json(path) for path in (store.root / "heads").glob("[!.]*.json")},
        builds={
            path.stem: (_stored(path), read_json(path))
            for path in (store.root / "builds").glob("[!.]*.json")
        },
        parts={str(path.relative_to(store.root)): _stored(path) for path in _under_way(store.root)},
    )


def keyed(folder: Path) -> Iterator[Path]:
    """Yield the files in *folder* that are called by a sha256, each in its own folder."""
    for path in sorted(folder.glob("[0-9a-f][0-9a-f]/*")):
        if _SHA256.fullmatch(path.name) and path.name.startswith(path.parent.name):
            yield path


def _stored(path: Path) -> Stored:
    """Return a file's age and size; one that has just gone is old and empty."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return Stored(0, 0)
    return Stored(status.st_mtime, status.st_size)


def _read(store: DirectoryStore, records: dict[Fingerprint, Stored]) -> dict[Fingerprint, Record]:
    """Return those records that can be read."""
    read = {}
    for key in tqdm(records, desc="records", unit="", disable=None, leave=False):
        value = read_json(store.record_path(key))
        try:
            record = Record.from_json(value, key)
        except FormatError:
            continue
        if record.fingerprint == key:
            read[key] = record
    return read


def _folders(store: DirectoryStore, tree: Path) -> Iterator[Folder]:
    """Yield every instance."""
    for path in _instances(tree):
        target, name = str(path.parent.relative_to(tree)), path.name
        instance = store.instance(target, name)
        modified = _stored(path / "instance.json" if instance else path).modified
        yield Folder(
            target=target,
            name=name,
            modified=modified,
            links=frozenset(digest for each in _files(path) if (digest := _blob(each))),
            instance=instance,
            aliases=aliases(path.parent, name),
            pin=pinned(path.parent, name),
        )


def _instances(tree: Path) -> Iterator[Path]:
    """Yield the folder of every instance."""
    for at, folders, _ in os.walk(tree):
        yield from (Path(at) / name for name in sorted(folders) if INSTANCE.fullmatch(name))
        folders[:] = sorted(n for n in folders if not INSTANCE.fullmatch(n) and n[:1] != ".")


def aliases(folder: Path, name: str) -> frozenset[str]:
    """Return what else the instance *name* in an edit set's *folder* is called."""
    return frozenset(alias for alias in ALIASES if _goal(folder / alias) == name)


def _goal(link: Path) -> str | None:
    """Return what a symbolic link says, or None if there is none."""
    try:
        return os.readlink(link)  # noqa: PTH115 - as it is written, be it a path or not
    except OSError:
        return None


def _files(folder: Path) -> Iterator[Path]:
    """Yield all files and links below *folder*."""
    for at, folders, names in os.walk(folder):
        yield from (Path(at) / name for name in (*names, *folders))


def _blob(link: Path) -> Digest | None:
    """Return the digest of the blob that *link* leads to, there or not."""
    name = (_goal(link) or "").rsplit("/", 1)[-1]
    return Digest(name) if _SHA256.fullmatch(name) else None


def _strays(tree: Path) -> Iterator[tuple[str, frozenset[Digest]]]:
    """Yield links to blobs that are in no instance."""
    for at, folders, names in os.walk(tree):
        folders[:] = [name for name in folders if not INSTANCE.fullmatch(name) and name != PINS]
        for name in (*names, *folders):
            if not _UNDER_WAY.fullmatch(name) and (digest := _blob(Path(at) / name)):
                yield str((Path(at) / name).relative_to(tree)), frozenset({digest})
        folders[:] = [name for name in folders if not _UNDER_WAY.fullmatch(name)]


def _under_way(root: Path) -> Iterator[Path]:
    """Yield what was on its way to its place, and what a probe of the health left."""
    for at, folders, names in os.walk(root):
        yield from (Path(at) / n for n in (*names, *folders) if _UNDER_WAY.fullmatch(n))
        folders[:] = [name for name in folders if not _UNDER_WAY.fullmatch(name)]
