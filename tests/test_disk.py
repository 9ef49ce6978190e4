"""Files appear whole or not at all, and last: what is done to the disk, and in which order."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cbngtrain.errors import StoreError
from cbngtrain.step import Artifact, Digest, Record, fingerprint_of
from cbngtrain.store import DirectoryStore, Instance

Done = list[tuple[str, Path]]

TARGET, NAME = "A set", "2025-08-01 18:36:31"


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    """An empty store."""
    return DirectoryStore(tmp_path / "store")


@pytest.fixture
def blob(store: DirectoryStore, tmp_path: Path) -> Digest:
    """A blob in it."""
    path = tmp_path / "file"
    path.write_text("some bytes")
    return store.add(path)


@pytest.fixture
def done(blob: Digest, monkeypatch: pytest.MonkeyPatch) -> Done:
    """What is synced, and what gets a name, from now on."""
    assert blob, "is there before"
    made: Done = []

    def noted(what: str, act: Callable[..., Any], path: Callable[..., Path]) -> None:
        def noting(*words: Any, **options: Any) -> Any:
            made.append((what, path(*words)))
            return act(*words, **options)

        monkeypatch.setattr(os, act.__name__, noting)

    noted("synced", os.fsync, lambda file: Path(f"/proc/self/fd/{file}").readlink())
    noted("named", os.link, lambda _, new: Path(new))
    noted("named", os.rename, lambda _, new: Path(new))
    noted("named", os.replace, lambda _, new: Path(new))
    return made


def check_order(done: Done, place: Path) -> None:
    """The bytes were synced before they got the name *place*, and its folder after that."""
    (first, part), *rest = done
    assert first == "synced"
    assert part != place
    assert rest == [("named", place), ("synced", place.parent)]


def test_blob_lasts_before_it_has_its_name(store: DirectoryStore, done: Done, tmp_path: Path):
    """Nobody, after a power cut either, finds a name without all its bytes."""
    (tmp_path / "other").write_text("other bytes")

    digest = store.add(tmp_path / "other")

    check_order(done, store.path(digest))


def test_record_lasts_before_it_has_its_name(store: DirectoryStore, blob: Digest, done: Done):
    """A record, too, which is the only proof of success."""
    parts = {"command": "any"}
    record = Record(fingerprint_of(parts), (Artifact("any", blob, blob, 10),), None, parts)

    store.keep(record)

    check_order(done, store.record_path(record.fingerprint))


def test_head_lasts_before_it_has_its_name(store: DirectoryStore, done: Done):
    """So does what is replaced."""
    store.set_head("any", {"edit_set": TARGET})

    check_order(done, store.root / "heads" / "any.json")


@pytest.mark.parametrize(
    ("folder", "keep"),
    [
        ("heads", lambda store: store.set_head("any", {})),
        ("builds", lambda store: store.keep_build("any", {})),
        ("ac", lambda store: store.keep(Record(fingerprint_of({}), (), None, {}))),
    ],
    ids=["head", "build", "record"],
)
def test_what_cannot_be_kept_is_told(
    store: DirectoryStore, folder: str, keep: Callable[[DirectoryStore], object]
):
    """Nobody takes for kept what the disk refused."""
    store.root.mkdir()
    (store.root / folder).write_text("in the way")

    with pytest.raises(StoreError, match=r"(any|[0-9a-f]{64}) cannot be kept: File exists"):
        keep(store)


def test_what_is_replaced_is_not_written_in_place(store: DirectoryStore):
    """Who has opened a head reads it to its end, though another has taken its place."""
    store.set_head("any", {"edit_set": "before"})
    with (store.root / "heads" / "any.json").open("rb") as reader:
        store.set_head("any", {"edit_set": "after"})

        assert json.loads(reader.read()) == {"edit_set": "before"}


def test_instance_is_seen_once_all_of_it_is_there(
    store: DirectoryStore, blob: Digest, monkeypatch: pytest.MonkeyPatch
):
    """While its files are linked nobody sees it."""
    files = {"artifacts/a": blob, "artifacts/b": blob}
    seen: list[list[str]] = []
    symlink = os.symlink

    def looking(*words: Any, **options: Any) -> None:
        seen.append([each.name for each in (store.root / "tree" / TARGET).glob("[0-9]*")])
        symlink(*words, **options)

    monkeypatch.setattr(os, "symlink", looking)

    store.publish(Instance(TARGET, NAME, files, {}, {}))

    assert seen == [[], [], [NAME]], "the last one is `latest`"
