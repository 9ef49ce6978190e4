"""
The store: blobs under their digest, records under their fingerprint, instances under names.

    cas/ab/ab12…                     blobs, immutable
    ac/cd/cd34…                      records (JSON)
    heads/{slug}.json                fingerprints of an edit set's last complete build
    builds/{build}.json              what a build did, for people
    tree/{target}/{instance}/…       instances: relative symbolic links into cas/, instance.json
    tree/{target}/latest             symbolic link, replaced atomically; never goes back
    tree/{target}/production         symbolic link, replaced atomically, by whoever promotes

Everything appears whole or not at all (``disk.py``). No locks: links and renames only, so several
hosts may share the directory.
"""

import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from cbngtrain.blobs import Blobs, Readable
from cbngtrain.disk import is_there, link, part_in, read_json, renew, replace_file, told, write
from cbngtrain.errors import BlobNotFound, FormatError
from cbngtrain.instances import Instance, Instances
from cbngtrain.step import Digest, Fingerprint, Record, canonical_json

__all__ = ["DirectoryStore", "Instance", "Readable", "Store"]

log = logging.getLogger(__name__)


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

    def names(self, target: str) -> list[str]:
        """Return the names of all instances that are published, newest first."""

    def instance(self, target: str, name: str) -> Instance | None:
        """Return the instance of that name, whole or not, if it is published."""

    def production(self, target: str) -> dict[str, Any] | None:
        """Return the record of the instance in production: ``instance``, ``when``, who, why."""

    def promote(self, target: str, name: str, about: Mapping[str, Any]) -> dict[str, Any]:
        """
        Put the instance into production, all at once with the record of that.

        Args:
            target: The edit set's name.
            name: The instance's.
            about: ``who``, ``why``, and the ``verdict`` that it was promoted by or despite.

        Returns:
            The record: *about* with ``instance`` and ``when``.

        Raises:
            StoreError: It is not published.
        """

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
        self.blobs = Blobs(self.root / "cas")
        self.instances = Instances(self.root / "tree", self.blobs)

    # Blobs

    def path(self, digest: Digest) -> Path:
        """Return where the blob is, or would be."""
        return self.blobs.path(digest)

    def fetch(self, digest: Digest, path: Path) -> None:
        """See `Store`. A blob whose bytes have rotted is taken out of the store."""
        self.blobs.fetch(digest, path)

    def add(self, path: Path) -> Digest:
        """See `Store`. A blob that stands with other bytes, since it has rotted, is replaced."""
        return self.blobs.add(path)

    def receive(self, source: Readable, expected: Digest | None = None) -> tuple[Digest, bool]:
        """See `Blobs.receive`."""
        return self.blobs.receive(source, expected)

    def drop_rotten(self, digest: Digest) -> bool:
        """See `Blobs.drop_rotten`."""
        return self.blobs.drop_rotten(digest)

    def missing(self, digests: Iterable[Digest]) -> set[Digest]:
        """See `Store`. What is there is renewed: who asks is about to rely on it."""
        return self.blobs.missing(digests)

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
            if not is_there(self.blobs.path(artifact.digest), artifact.size):
                log.info("record %.12s: %s is not in the store", fingerprint, artifact.name)
                return None
        if record.log and not is_there(self.blobs.path(record.log)):
            log.info("record %.12s: its log is not in the store", fingerprint)
            return None
        places = (self.record_path(fingerprint), *map(self.blobs.path, record.blobs))
        return record if all(renew(place) for place in places) else None

    def keep(self, record: Record) -> Record:
        """See `Store`. Raises StoreError if a blob that it names is not here."""
        if lacking := self.blobs.missing(record.blobs):
            raise BlobNotFound(min(lacking))
        place = self.record_path(record.fingerprint)
        with told(f"record {record.fingerprint} cannot be kept"):
            part = part_in(self.root / "ac")
            write(part, canonical_json(record.to_json()))
            try:
                if link(part, place):
                    return record
                if standing := self.find(record.fingerprint):
                    return standing
                part.replace(place)
            finally:
                part.unlink(missing_ok=True)
        return record

    def forget(self, fingerprint: Fingerprint) -> None:
        """See `Store`."""
        with told(f"record {fingerprint} cannot be forgotten"):
            self.record_path(fingerprint).unlink(missing_ok=True)

    def record_path(self, fingerprint: Fingerprint) -> Path:
        """Return where the record is, or would be."""
        return self.root / "ac" / fingerprint[:2] / fingerprint

    def _record(self, fingerprint: Fingerprint) -> Record | None:
        """Return the record, valid or not; one that cannot be read counts as none."""
        value = read_json(self.record_path(fingerprint))
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
        with told(f"the head of {slug} cannot be kept"):
            replace_file(self.root / "heads" / f"{slug}.json", canonical_json(head))

    def keep_build(self, build: str, summary: Mapping[str, Any]) -> None:
        """See `Store`."""
        with told(f"the summary of build {build} cannot be kept"):
            replace_file(self.root / "builds" / f"{build}.json", canonical_json(summary))

    # Instances

    def latest(self, target: str) -> Instance | None:
        """See `Store`."""
        return self.instances.latest(target)

    def names(self, target: str) -> list[str]:
        """See `Store`."""
        return self.instances.names(target)

    def instance(self, target: str, name: str) -> Instance | None:
        """See `Store`."""
        return self.instances.instance(target, name)

    def production(self, target: str) -> dict[str, Any] | None:
        """See `Store`."""
        return self.instances.production(target)

    def promote(self, target: str, name: str, about: Mapping[str, Any]) -> dict[str, Any]:
        """See `Store`."""
        return self.instances.promote(target, name, about)

    def publish(self, instance: Instance) -> None:
        """See `Store`."""
        self.instances.publish(instance)
