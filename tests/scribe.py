"""A dispatcher in small: its steps write who they are, at once."""

import threading
from collections.abc import Mapping
from pathlib import Path

from cbngtrain.canonical import digest_of
from cbngtrain.step import Artifact, Fingerprint, Made, Record, Step
from cbngtrain.store import DirectoryStore


class Scribe:
    """A dispatcher whose steps leave their own name and what they read, one file an artifact."""

    def __init__(self, store: DirectoryStore, directory: Path) -> None:
        self._store = store
        self._directory = directory
        self.ran: list[str] = []
        self.is_idle = False

    def run(self, step: Step, key: Fingerprint, inputs: Mapping[str, Made]) -> None:
        """See `Dispatcher`."""
        self.ran.append(step.name)
        if self.is_idle:
            return
        for made in inputs.values():
            self._store.fetch(made.artifact.digest, self._scratch("input"))
        artifacts = []
        for leaf in step.recipe.leaves:
            path = self._scratch("output")
            path.write_text(f"{leaf.artifact} {key}")
            added = self._store.add(path)
            artifacts.append(Artifact(leaf.artifact, added, digest_of(path), path.stat().st_size))
        log = self._store.add(path)
        self._store.keep(Record(key, tuple(artifacts), log, step.parts(inputs), dict(inputs)))

    def _scratch(self, name: str) -> Path:
        """A file of this thread's own."""
        return self._directory / f"{name}-{threading.get_ident()}"
