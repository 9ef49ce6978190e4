"""
Reading a whole store: blobs that have rotted, records that do not count, instances with holes.

A rotten blob and a record that does not count can be forgotten: the next build makes them anew.
So can a head or a build's summary that cannot be read.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from cbngtrain.canonical import digest_of
from cbngtrain.disk import part_in, read_json
from cbngtrain.inventory import ALIASES, inventory
from cbngtrain.retention import Inventory
from cbngtrain.step import Digest, Fingerprint
from cbngtrain.store import DirectoryStore


@dataclass(frozen=True, slots=True)
class Damage:
    """
    Something that is not as it should be.

    Attributes:
        kind: ``blob``, ``record``, ``head``, ``summary``, ``instance`` or ``alias``.
        name: Its digest, fingerprint, title or path.
        problem: What is wrong.
        is_repaired: Whether it was forgotten.
    """

    kind: str
    name: str
    problem: str
    is_repaired: bool = False


@dataclass(frozen=True, slots=True)
class Verified:
    """What was read, and what is damaged."""

    blobs: int
    size: int  # bytes of the blobs
    records: int
    instances: int
    damages: tuple[Damage, ...]


def verify(store: DirectoryStore, *, repair: bool) -> Verified:
    """
    Read every blob and every record of *store*; with *repair* forget what is damaged.

    Raises:
        StoreError: The store's directories cannot be read.
    """
    found = inventory(store)
    rotten = dict(_rotten(store, found))
    damages = []
    for digest, problem in rotten.items():
        if repair:
            _take_out(store.path(digest), digest)
        damages.append(Damage("blob", digest, problem, repair))
    sizes = {d: stored.size for d, stored in found.blobs.items() if d not in rotten}
    for key, problem in _bad_records(found, sizes):
        if store.find(key) or not store.record_path(key).exists():
            continue  # made anew meanwhile, or gone
        if repair:
            store.forget(key)
        damages.append(Damage("record", key, problem, repair))
    for kind, path in _malformed(store, found):
        if repair:
            path.unlink(missing_ok=True)
        damages.append(Damage(kind, path.stem, "is malformed", repair))
    damages += _holes(store, found, sizes)
    size = sum(stored.size for stored in found.blobs.values())
    return Verified(len(found.blobs), size, len(found.records), len(found.folders), tuple(damages))


def _rotten(store: DirectoryStore, found: Inventory) -> Iterator[tuple[Digest, str]]:
    """Yield every blob whose bytes are not what its digest says, and what is wrong."""
    total = sum(stored.size for stored in found.blobs.values())
    with tqdm(
        total=total, desc="blobs", unit="B", unit_scale=True, disable=None, leave=False
    ) as bar:
        for digest, stored in found.blobs.items():
            if problem := _problem(store.path(digest), digest):
                yield digest, problem
            bar.update(stored.size)


def _problem(path: Path, digest: Digest) -> str | None:
    """Return what is wrong with a blob; one that has gone meanwhile is none."""
    try:
        actual = digest_of(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None if actual == digest else f"has rotted: its bytes have the digest {actual}"


def _take_out(path: Path, digest: Digest) -> None:
    """Take a rotten blob out, unless somebody has just put the right bytes in its place."""
    aside = part_in(path.parent)
    try:
        path.rename(aside)
    except FileNotFoundError:
        return
    if _problem(aside, digest) is None:
        aside.replace(path)
    else:
        aside.unlink()


def _bad_records(found: Inventory, sizes: dict[Digest, int]) -> Iterator[tuple[Fingerprint, str]]:
    """Yield every record that does not count, and why."""
    for key in found.records:
        record = found.read.get(key)
        if record is None:
            yield key, "is malformed, or under another fingerprint than its own"
            continue
        for artifact in record.artifacts:
            if sizes.get(artifact.digest) != artifact.size:
                yield key, f"dangles: its {artifact.name} {artifact.digest:.12} is not here"
                break
        else:
            if record.log and record.log not in sizes:
                yield key, f"dangles: its log {record.log:.12} is not here"


def _malformed(store: DirectoryStore, found: Inventory) -> Iterator[tuple[str, Path]]:
    """Yield every head and every build's summary that is no JSON object, and its kind."""
    heads = [store.root / "heads" / f"{slug}.json" for slug in found.heads]
    builds = [store.root / "builds" / f"{build}.json" for build in found.builds]
    for kind, paths in (("head", heads), ("summary", builds)):
        for path in paths:
            if path.exists() and not isinstance(read_json(path), dict):
                yield kind, path


def _holes(store: DirectoryStore, found: Inventory, sizes: dict[Digest, int]) -> Iterator[Damage]:
    """Yield what of the published side leads nowhere: only a build, or a person, can mend that."""
    tree = store.root / "tree"
    for folder in found.folders:
        files = folder.instance.files if folder.instance else {}
        lost = sorted(path for path, digest in files.items() if digest not in sizes)
        lost += sorted(digest[:12] for digest in folder.links - set(files.values()) - set(sizes))
        if lost:
            yield Damage("instance", folder.title, f"is not whole: {', '.join(lost)}")
        if folder.instance is None and (tree / folder.title / "instance.json").exists():
            yield Damage("instance", folder.title, "is not whole: its instance.json is malformed")
    for folder_path in {tree / folder.target for folder in found.folders}:
        for alias in ALIASES:
            link = folder_path / alias
            if link.is_symlink() and not link.exists():
                goal = os.readlink(link)  # noqa: PTH115 - as it is written
                name = str(link.relative_to(tree))
                yield Damage("alias", name, f"leads to {goal!r}, which is not here")
