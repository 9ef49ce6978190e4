"""What the tests of pruning share: a store, what is stored in it, and days that pass."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cbngtrain.instances import Instance
from cbngtrain.retention import Rules
from cbngtrain.step import Digest
from cbngtrain.store import DirectoryStore

DAY = 86400
RULES = Rules(instances=2, months=2, builds=2, grace=7 * DAY)
NOTHING_ELSE = Rules(instances=1, months=0, builds=1, grace=7 * DAY)


def age(root: Path, days: int) -> None:
    """Let so many days pass for all that is in a store."""
    for path in [*root.rglob("*")]:
        if not path.is_symlink():
            modified = path.stat().st_mtime - days * DAY
            os.utime(path, (modified, modified))


def days_ago(days: int) -> str:
    """The name of an instance."""
    return (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%d 00:00:00")


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "store")


def add(store: DirectoryStore, text: str) -> Digest:
    """Store a text."""
    path = store.root.with_name("added")
    path.write_text(text, encoding="utf-8")
    return store.add(path)


def publish(store: DirectoryStore, target: str, name: str, text: str) -> Digest:
    """Publish an instance of one file."""
    digest = add(store, text)
    store.publish(Instance(target, name, {"a": digest}, {"a": digest}, {}))
    return digest
