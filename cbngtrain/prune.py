"""
Taking out of a store what nothing that stays refers to (``retention.py``).

What refers goes before what is referred to: instances, then summaries and records, then blobs. An
instance is moved aside at once and taken apart there, so nobody sees a half of one. Everything is
looked at again just before it goes. So builds, uploads and other prunings may be at work, and an
interruption at any moment leaves only what the next pruning takes.
"""

import logging
import os
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from cbngtrain.disk import PART, remove, told
from cbngtrain.inventory import aliases, inventory
from cbngtrain.pins import pinned
from cbngtrain.retention import Decision, Folder, Inventory, Rules, decide
from cbngtrain.step import INSTANCE, Digest, Fingerprint
from cbngtrain.store import DirectoryStore

log = logging.getLogger(__name__)

Name = TypeVar("Name", bound=str)

_ASIDE = re.compile(rf"[.]({INSTANCE.pattern}){re.escape(PART)}")


@dataclass(frozen=True, slots=True)
class Goes:
    """
    What goes.

    Attributes:
        folders: Instances.
        builds: Names of summaries.
        records: Fingerprints.
        blobs: Digests.
        parts: Paths of what never came to its place, as seen from the store.
        size: Bytes that this frees.
    """

    folders: tuple[Folder, ...] = ()
    builds: tuple[str, ...] = ()
    records: tuple[Fingerprint, ...] = ()
    blobs: tuple[Digest, ...] = ()
    parts: tuple[str, ...] = ()
    size: int = 0


@dataclass(frozen=True, slots=True)
class Pruned:
    """What went, or would go, and what stays, with its reasons."""

    goes: Goes
    stays: Decision


def would_go(store: DirectoryStore, rules: Rules) -> Pruned:
    """Return what `prune` would do; nothing is changed."""
    found = inventory(store)
    decision = decide(found, rules)
    folders = tuple(each for each in found.folders if each.title not in decision.folders)
    return Pruned(_goes(found, decision, folders), decision)


def prune(store: DirectoryStore, rules: Rules) -> Pruned:
    """
    Take out of *store* what does not stay by *rules*; return what went.

    Raises:
        StoreError: The file system refused.
    """
    with told("the store cannot be pruned"):
        _clear_aside(store.root / "tree")
        folders = _prune_folders(store, rules)
        found = inventory(store)  # anew: an instance that is still here stays, with all it has
        decision = decide(found, rules, all_folders=True)
        wanted = _goes(found, decision, folders)
        return Pruned(_prune_files(store, found, wanted, found.at - rules.grace), decision)


def _goes(found: Inventory, decision: Decision, folders: tuple[Folder, ...]) -> Goes:
    """Return what does not stay: *folders*, and what the decision does not name."""
    builds = tuple(name for name in found.builds if name not in decision.builds)
    records = tuple(key for key in found.records if key not in decision.records)
    blobs = tuple(digest for digest in found.blobs if digest not in decision.blobs)
    parts = tuple(path for path in found.parts if path not in decision.parts)
    return _sized(found, Goes(folders, builds, records, blobs, parts))


def _sized(found: Inventory, goes: Goes) -> Goes:
    """Return *goes* with the bytes that it frees."""
    size = sum(found.builds[name][0].size for name in goes.builds)
    size += sum(found.records[key].size for key in goes.records)
    size += sum(found.blobs[digest].size for digest in goes.blobs)
    size += sum(found.parts[path].size for path in goes.parts)
    return replace(goes, size=size)


def _prune_files(store: DirectoryStore, found: Inventory, wanted: Goes, before: float) -> Goes:
    """Remove summaries, records and blobs that nobody renewed since *before*; and parts."""
    summaries = store.root / "builds"
    builds = _removed(wanted.builds, lambda name: summaries / f"{name}.json", before)
    records = _removed(wanted.records, store.record_path, before)
    idle = tqdm(wanted.blobs, "blobs", unit="", disable=None, leave=False)
    blobs = _removed(idle, store.path, before)  # who renewed a record has renewed its blobs
    for path in wanted.parts:
        _remove_part(store.root / path)
    return _sized(found, replace(wanted, builds=builds, records=records, blobs=blobs))


def _removed(
    names: Iterable[Name], path: Callable[[Name], Path], before: float
) -> tuple[Name, ...]:
    """Remove the files of *names* that nobody renewed since *before*; return which."""
    return tuple(name for name in names if remove(path(name), before))


def _remove_part(path: Path) -> None:
    """Remove what never came to its place: a file, a link, or the beginning of an instance."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


# Instances -------------------------------------------------------------------------------------


def _prune_folders(store: DirectoryStore, rules: Rules) -> tuple[Folder, ...]:
    """Remove the instances that do not stay; return which."""
    found = inventory(store)
    decision = decide(found, rules)
    idle = [folder for folder in found.folders if folder.title not in decision.folders]
    return tuple(each for each in idle if _is_removed(store.root / "tree" / each.target, each.name))


def _is_removed(folder: Path, name: str) -> bool:
    """
    Remove the instance *name*, unless it has just been pinned or put to use; return whether.

    It is moved aside first, then looked at: who pins it or points ``production`` to it does that
    first, and looks then whether the instance is still there. So at least one of the two notices.
    """
    if _is_wanted(folder, name):
        return False
    aside = folder / f".{name}{PART}"
    try:
        (folder / name).rename(aside)
    except FileNotFoundError:
        return True  # another pruning was faster
    if _is_wanted(folder, name):
        aside.rename(folder / name)
        log.warning("%s/%s stays: it has just been put to use", folder.name, name)
        return False
    shutil.rmtree(aside)
    return True


def _is_wanted(folder: Path, name: str) -> bool:
    """Return whether the instance *name* is pinned or has another name."""
    return bool(aliases(folder, name)) or pinned(folder, name) is not None


def _clear_aside(tree: Path) -> None:
    """Take apart, or put back, the instances that an interrupted pruning had moved aside."""
    for at, folders, _ in os.walk(tree):
        for name in folders:
            if aside := _ASIDE.fullmatch(name):
                folder = Path(at)
                if _is_wanted(folder, aside[1]) and not (folder / aside[1]).exists():
                    (folder / name).rename(folder / aside[1])
                else:
                    shutil.rmtree(folder / name, ignore_errors=True)
        folders[:] = [name for name in folders if name[:1] != "." and not INSTANCE.fullmatch(name)]
