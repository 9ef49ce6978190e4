"""
Instances in a directory: what was published, under names.

    tree/{target}/{instance}/…       relative symbolic links into cas/, instance.json
    tree/{target}/latest             symbolic link, replaced atomically; never goes back
    tree/{target}/production         symbolic link, replaced atomically, by whoever promotes
    tree/{target}/.production.json   who promoted what, when and why: the last, and those before
"""

import errno
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from cbngtrain.blobs import Blobs
from cbngtrain.disk import (
    is_there,
    is_within,
    make,
    part_in,
    read_json,
    renew,
    replace_file,
    replace_link,
    sync,
    told,
    write,
)
from cbngtrain.errors import BlobNotFound, FormatError, InstanceConflict, StoreError
from cbngtrain.step import INSTANCE, Digest, canonical_json, digest, problem_with_target

log = logging.getLogger(__name__)

TIME = "%Y-%m-%d %H:%M:%S"  # UTC

PROMOTIONS = 50  # that are remembered


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


class Instances:
    """The instances of a store."""

    def __init__(self, root: Path, blobs: Blobs) -> None:
        """*root* is where they are; their files are *blobs*."""
        self.root = root
        self._blobs = blobs

    def latest(self, target: str) -> Instance | None:
        """See `Store`."""
        name = _goal(self.folder(target) / "latest")
        instance = self.instance(target, name) if name else None
        if instance and self._blobs.missing(instance.files.values()):
            log.info("%s: its latest instance %s is not whole", target, name)
            return None
        return instance

    def instance(self, target: str, name: str) -> Instance | None:
        """Return the instance, if there is one with an ``instance.json``."""
        path = self.folder(target) / name / "instance.json"
        if not is_within(path, self.root) or (value := read_json(path)) is None:
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

    def publish(self, instance: Instance) -> bool:
        """See `Store`. Returns whether it was not there yet."""
        if not INSTANCE.fullmatch(instance.name):
            raise StoreError(
                f"{instance.name!r} cannot name an instance; a UTC time can: YYYY-mm-dd HH:MM:SS"
            )
        folder = self.folder(instance.target)
        if not is_within(folder / instance.name, self.root):
            raise InstanceConflict(f"{instance.target}/{instance.name} leads out of the store")
        with told(f"{instance.target}/{instance.name} cannot be published"):
            is_new = self._publish(folder, instance)
            self._move_latest(folder)
        return is_new

    def names(self, target: str) -> list[str]:
        """See `Store`."""
        return list(_newest_first(self.folder(target)))

    def promote(self, target: str, name: str, about: Mapping[str, Any]) -> dict[str, Any]:
        """
        See `Store`.

        Pruning looks for aliases after it has moved an instance aside, as this looks for the
        instance after it has moved the alias: at least one of the two notices.
        """
        if not INSTANCE.fullmatch(name) or self.instance(target, name) is None:
            raise StoreError(f"{target}/{name} is not published: it cannot be in production")
        folder = self.folder(target)
        record = {**about, "instance": name, "when": time.strftime(TIME, time.gmtime())}
        with told(f"{target}/{name} cannot be promoted"):
            stood = _goal(folder / "production")
            before = self._promotions(folder)[:PROMOTIONS]
            text = canonical_json({**record, "before": before})
            replace_file(folder / ".production.json", text)
            replace_link(folder / "production", name)  # from now on the new record counts
            if not (folder / name / "instance.json").exists():
                _point_back(folder / "production", stood)
                raise StoreError(f"{target}/{name} has just been pruned: it is not in production")
        return record

    def production(self, target: str) -> dict[str, Any] | None:
        """See `Store`."""
        folder = self.folder(target)
        name = _goal(folder / "production")
        if name is None:
            return None
        kept = (each for each in self._promotions(folder) if each.get("instance") == name)
        return next(kept, {"instance": name})

    def _promotions(self, folder: Path) -> list[dict[str, Any]]:
        """Return the records of promotions, newest first."""
        value = read_json(folder / ".production.json")
        if not isinstance(value, dict):
            return []
        before = value.pop("before", [])
        earlier = before if isinstance(before, list) else []
        return [value, *(each for each in earlier if isinstance(each, dict))]

    def folder(self, target: str) -> Path:
        """Return the folder of *target*. Raises StoreError where its name is not allowed."""
        if problem := problem_with_target(target):
            raise StoreError(f"{target!r} cannot be in the store: {problem}")
        return self.root / target

    def _publish(self, folder: Path, instance: Instance) -> bool:
        """Make the instance aside and rename it into place; return False if it is there already."""
        aside = part_in(folder)
        try:
            for path, blob in instance.files.items():
                self._link_to_blob(aside / path, folder / instance.name / path, blob)
            write(aside / "instance.json", _pretty(instance.to_json()))
            sync(aside)
            is_new = _renamed(aside, folder / instance.name)
            if not is_new:
                self._refuse_other(instance)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return is_new

    def _link_to_blob(self, link: Path, place: Path, blob: Digest) -> None:
        """Make *link* point to the blob, as seen from *place*, where it will be."""
        target = self._blobs.path(blob)
        if not is_there(target) or not renew(target):
            raise BlobNotFound(blob)
        make(link.parent)
        link.symlink_to(os.path.relpath(target, place.parent))

    def _refuse_other(self, instance: Instance) -> None:
        """Raise InstanceConflict unless the instance that has this name has the same files."""
        renew(self.folder(instance.target) / instance.name / "instance.json")
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
        while (newest := _newest(folder)) and newest != _goal(folder / "latest"):
            replace_link(folder / "latest", newest)


def _renamed(aside: Path, place: Path) -> bool:
    """Give the folder *aside* its *place*; return False if that is taken."""
    try:
        aside.rename(place)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
            raise
        return False
    sync(place.parent)
    return True


def _goal(alias: Path) -> str | None:
    """Return the name of the instance that *alias* points to."""
    try:
        name = str(alias.readlink())
    except OSError:
        return None
    return name if INSTANCE.fullmatch(name) else None


def _point_back(alias: Path, name: str | None) -> None:
    """Let *alias* point to the instance that it pointed to before, if there was one."""
    if name is None:
        alias.unlink(missing_ok=True)
    else:
        replace_link(alias, name)


def _newest(folder: Path) -> str | None:
    """Return the name of the newest instance in *folder* that has an ``instance.json``."""
    return next(_newest_first(folder), None)


def _newest_first(folder: Path) -> Iterator[str]:
    """Yield the names of the instances in *folder* that have an ``instance.json``."""
    found: list[str] = []
    with suppress(FileNotFoundError):
        found = sorted(e.name for e in os.scandir(folder) if INSTANCE.fullmatch(e.name))
    for name in reversed(found):
        if (folder / name / "instance.json").exists():
            yield name


def _pretty(value: object) -> bytes:
    """Return *value* as JSON for people."""
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"
