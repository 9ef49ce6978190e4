"""Pruning of real stores: what goes, what is put to use meanwhile, builds beside it."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cbngtrain import pins
from cbngtrain.disk import remove
from cbngtrain.errors import PlanError, StoreError
from cbngtrain.instances import Instance, Instances
from cbngtrain.prune import prune, would_go
from cbngtrain.step import Artifact, Fingerprint, Record, fingerprint_of
from cbngtrain.store import DirectoryStore
from tests.conftest import Site, edits
from tests.prune.conftest import DAY, NOTHING_ELSE, RULES, add, age, days_ago, publish
from tests.web.conftest import digest_of
from web.names import Address
from web.tree import Tree


def test_nothing_is_not_a_store(store: DirectoryStore):
    """A store in which nothing is has nothing to prune, and stays nothing."""
    assert prune(store, RULES).goes.size == 0
    assert not store.root.exists()


def test_what_goes_is_what_was_said(store: DirectoryStore):
    """A dry run tells what goes, and changes nothing; then just that goes."""
    for days in (500, 400, 300):
        publish(store, "A/B", days_ago(days), f"{days} days")
    loose = add(store, "loose")
    (store.root / "cas" / ".1.part").write_text("of a killed writer", encoding="utf-8")
    age(store.root, 8)
    young = add(store, "young")
    before = sorted(store.root.rglob("*"))

    told = would_go(store, NOTHING_ELSE)
    assert sorted(store.root.rglob("*")) == before
    done = prune(store, NOTHING_ELSE)

    assert done.goes == told.goes
    assert [f.name for f in done.goes.folders] == [days_ago(500), days_ago(400)]
    assert set(done.goes.blobs) == {digest_of(b"500 days"), digest_of(b"400 days"), loose}
    assert done.goes.parts == ("cas/.1.part",)
    assert done.goes.size == 8 + 8 + 5 + 18
    assert store.missing([young, digest_of(b"300 days"), loose]) == {loose}
    assert store.latest("A/B") is not None
    assert prune(store, NOTHING_ELSE).goes.size == 0


def test_renewed_is_spared(tmp_path: Path):
    """A file that was relied upon after it was looked at is not removed."""
    path = tmp_path / "blob"
    path.write_text("x", encoding="utf-8")
    assert not remove(path, path.stat().st_mtime - 1)
    assert path.read_text(encoding="utf-8") == "x"
    assert remove(path, path.stat().st_mtime + 1)
    assert remove(path, 0)  # another pruning was faster
    assert [each.name for each in tmp_path.iterdir()] == []


def test_renewed_in_the_last_moment_is_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A file that is renewed between the last look and its removal is there again, renewed."""
    path = tmp_path / "blob"
    path.write_text("x", encoding="utf-8")
    age(tmp_path, 8)
    before = time.time() - 7 * DAY

    def relied_upon(directory: Path) -> Path:
        os.utime(path)
        return directory / ".aside.part"

    monkeypatch.setattr("cbngtrain.disk.part_in", relied_upon)  # called between the two
    assert not remove(path, before)
    assert [each.name for each in tmp_path.iterdir()] == ["blob"]
    assert path.stat().st_mtime > before


class Meddling(DirectoryStore):
    """A store in which something happens between looking and removing."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.meddle: Callable[[], None] = lambda: None

    def record_path(self, fingerprint: Fingerprint) -> Path:
        """The removal asks where the record is, just before it goes."""
        self.meddle()
        return super().record_path(fingerprint)

    def instance(self, target: str, name: str) -> Instance | None:
        """Instances are read one after the other."""
        self.meddle()
        return super().instance(target, name)


@pytest.mark.parametrize("use", ["pin", "production"])
def test_instance_that_is_put_to_use_meanwhile_stays_whole(tmp_path: Path, use: str):
    """An instance that was to go, and is wanted just before it does, keeps all that it has."""
    store = Meddling(tmp_path / "store")
    for days in (300, 200, 100):
        publish(store, "A", days_ago(days), f"{days}")
    age(store.root, 8)
    read = []

    def meddle() -> None:
        read.append(1)
        if len(read) == 2 and use == "pin":
            pins.pin(store.instances, "A", days_ago(300), {"why": "just now"})
        elif len(read) == 2:
            DirectoryStore(store.root).promote("A", days_ago(300), {})

    store.meddle = meddle
    assert [folder.name for folder in prune(store, NOTHING_ELSE).goes.folders] == [days_ago(200)]
    assert store.missing([digest_of(b"300")]) == set()


def test_instance_that_is_unpinned_meanwhile_is_never_half_gone(tmp_path: Path):
    """What is still there when instances have gone keeps all that it has, until the next time."""
    store = Meddling(tmp_path / "store")
    for days in (300, 100):
        publish(store, "A", days_ago(days), f"{days}")
    pins.pin(store.instances, "A", days_ago(300), {})
    age(store.root, 8)
    read = []

    def meddle() -> None:
        read.append(1)
        if len(read) == 2:
            pins.unpin(store.instances, "A", days_ago(300))

    store.meddle = meddle
    assert prune(store, NOTHING_ELSE).goes.folders == ()
    assert store.missing([digest_of(b"300")]) == set()
    assert len(prune(store, NOTHING_ELSE).goes.folders) == 1


@pytest.mark.parametrize("behind", [0, 600], ids=["", "by a clock that is behind"])
def test_record_found_meanwhile_keeps_its_blobs(tmp_path: Path, behind: int):
    """A build that finds a record while it is to be pruned keeps it whole; clocks differ."""
    store = Meddling(tmp_path / "store")
    digest = add(store, "x")
    record = Record(fingerprint_of({"a": 1}), (Artifact("a", digest, digest, 1),), None, {"a": 1})
    store.keep(record)
    age(store.root, 8)
    build = DirectoryStore(store.root)
    looked = []

    def find() -> None:
        looked.append(1)
        if len(looked) > 2:  # it was read twice, to decide
            assert build.find(record.fingerprint)
            for path in (build.record_path(record.fingerprint), build.path(digest)):
                os.utime(path, (time.time() - behind, time.time() - behind))

    store.meddle = find
    assert prune(store, RULES).goes.records == ()
    assert build.find(record.fingerprint) == record


def test_instance_is_put_back_where_it_was_put_to_use(store: DirectoryStore):
    """What an interrupted pruning had moved aside, and somebody wants, comes back."""
    publish(store, "A", days_ago(300), "old")
    publish(store, "A", days_ago(200), "older")
    publish(store, "A", days_ago(100), "new")
    age(store.root, 8)
    folder = store.instances.folder("A")
    for days in (300, 200):
        (folder / days_ago(days)).rename(folder / f".{days_ago(days)}.part")
    (folder / "production").symlink_to(days_ago(300))

    prune(store, NOTHING_ELSE)

    assert {p.name for p in folder.iterdir()} == {
        days_ago(300), days_ago(100), "latest", "production",
    }  # fmt: skip
    assert store.instance("A", days_ago(300))


class Vanishing(Instances):
    """Instances of which one goes while it is promoted."""

    def instance(self, target: str, name: str) -> Instance | None:
        """It is there when it is asked for."""
        found = super().instance(target, name)
        if name == days_ago(1):
            (self.folder(target) / name).rename(self.folder(target) / f".{name}.part")
        return found


@pytest.mark.parametrize("is_in_production", [True, False])
def test_production_is_not_moved_to_what_was_pruned(
    store: DirectoryStore, *, is_in_production: bool
):
    """Who moves the alias to an instance that goes just then is told, and the alias stays."""
    before = days_ago(2) if is_in_production else None
    for days in (2, 1):
        publish(store, "A", days_ago(days), "x")
    instances = Vanishing(store.root / "tree", store.blobs)
    if before:
        instances.promote("A", before, {})
    with pytest.raises(StoreError, match="pruned"):
        instances.promote("A", days_ago(1), {})
    production = store.production("A")
    assert (production and production["instance"]) == before


def test_pins(store: DirectoryStore):
    """A pinned instance stays, with the reason, until it is not pinned any more."""
    publish(store, "A", days_ago(300), "x")
    publish(store, "A", days_ago(2), "y")
    pins.pin(store.instances, "A", days_ago(300), {"why": "the paper", "who": "me"})
    with pytest.raises(PlanError, match="there is no instance"):
        pins.pin(store.instances, "A", days_ago(1), {})
    age(store.root, 8)
    (reason,) = prune(store, NOTHING_ELSE).stays.folders[f"A/{days_ago(300)}"]
    assert reason.startswith("pinned: the paper, me, ")
    pins.unpin(store.instances, "A", days_ago(300))
    with pytest.raises(PlanError, match="is not pinned"):
        pins.unpin(store.instances, "A", days_ago(300))
    assert [folder.name for folder in prune(store, NOTHING_ELSE).goes.folders] == [days_ago(300)]


def test_old_folders_stay(store: DirectoryStore):
    """What scripts filled, and what was there before, stays, with the blobs that it links to."""
    digest = add(store, "x")
    Tree(store).put(Address("A", days_ago(900), "some/file"), digest)
    (store.root / "tree" / "Old folder").mkdir()
    (store.root / "tree" / "Old folder" / "file").write_text("x", encoding="utf-8")
    age(store.root, 8)
    assert prune(store, NOTHING_ELSE).goes.size == 0
    assert store.missing([digest]) == set()


@pytest.mark.slow
def test_prune_beside_a_running_build(site: Site):
    """A build at work over a store that is pruned at every moment ends right, and is complete."""
    assert site.run("bayes_db:alpha", "bayes_train:beta").status == 0
    age(site.base / "store", 30)
    site.behave(create_ann={"sleep": 0.3}, two_bayes__db={"sleep": 0.3})
    site.dump(5, edits(300, 13, "mountain"))
    store = DirectoryStore(site.base / "store")
    removed = 0

    with site.start("-n", "2") as doit:
        while doit.poll() is None:
            removed += len(prune(store, NOTHING_ELSE).goes.blobs)
        out, _ = doit.communicate()

    assert doit.returncode == 0, out
    assert removed > 0
    site.forget_calls()
    assert site.run().lines[-1].startswith("Nothing to do: ")
    assert site.calls == []


@pytest.mark.slow
def test_pruned_store_builds_nothing_anew(built: Site):
    """After pruning a build in an empty directory finds everything."""
    age(built.base / "store", 400)
    store = DirectoryStore(built.base / "store")
    assert prune(store, NOTHING_ELSE).goes.folders == ()
    other = built.add_checkout("other")
    built.forget_calls()
    assert built.run(cwd=other).status == 0
    assert built.calls == []


def test_time_passes(tmp_path: Path):
    """What the tests call days are days."""
    (tmp_path / "x").write_text("x", encoding="utf-8")
    age(tmp_path, 3)
    assert abs(time.time() - (tmp_path / "x").stat().st_mtime - 3 * DAY) < 60
