"""Pruning: real stores, a model of one, kills in the middle, builds beside it."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from cbngtrain import pins
from cbngtrain.disk import remove
from cbngtrain.errors import PlanError, StoreError
from cbngtrain.instances import Instance, Instances
from cbngtrain.prune import prune, would_go
from cbngtrain.retention import Rules
from cbngtrain.step import Artifact, Digest, Fingerprint, Made, Record, fingerprint_of
from cbngtrain.store import DirectoryStore
from tests.conftest import Site, edits
from tests.web.conftest import digest_of
from tests.web.test_state_machine import killed_at
from web.names import Address
from web.tree import Tree

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


@pytest.mark.parametrize("before", [days_ago(2), None])
def test_production_is_not_moved_to_what_was_pruned(store: DirectoryStore, before: str | None):
    """Who moves the alias to an instance that goes just then is told, and the alias stays."""
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


# A model ---------------------------------------------------------------------------------------

CONTENTS = st.sampled_from([b"a", b"bb", b"ccc", b"dddd", b"eeeee"])
TARGETS = st.sampled_from(["Set", "Other/set"])
AGES = st.sampled_from([0, 3, 20, 40, 70, 100, 400])
KEYS = st.integers(0, 7)
KILLS = st.integers(1, 12)
CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.link")


class Prunings(RuleBasedStateMachine):
    """
    A store and a model of it: what there is, its age in days, what refers to what.

    The model decides by itself what stays. After a pruning just that is there; after one that was
    killed at least that, and no instance that is seen has a hole.
    """

    def __init__(self) -> None:
        super().__init__()
        self.base = Path(tempfile.mkdtemp(prefix="prune-"))
        self.store = DirectoryStore(self.base / "store")
        self.tree = Tree(self.store)
        self.blobs: dict[Digest, int] = {}
        self.records: dict[Fingerprint, Record] = {}
        self.ages: dict[Fingerprint, int] = {}
        self.instances: dict[tuple[str, str], tuple[Instance, int]] = {}
        self.scripts: dict[tuple[str, str], set[Digest]] = {}
        self.production: dict[str, str] = {}
        self.pinned: set[tuple[str, str]] = set()
        self.heads: dict[str, set[Fingerprint]] = {}

    def teardown(self) -> None:
        """Remove the store."""
        shutil.rmtree(self.base)

    # What happens

    @initialize(days=st.lists(AGES, min_size=2, unique=True), waited=st.sampled_from([0, 8]))
    def begin(self, days: list[int], waited: int) -> None:
        """There are instances already, each of a record of its own."""
        for key, ago in enumerate(days):
            self.keep(key, b"x" * key, {key - 1})
            record = self.records[fingerprint_of({"key": key})]
            self._publish({record.fingerprint}, "Set", ago)
        self.wait(waited)

    @rule(content=CONTENTS)
    def add(self, content: bytes) -> None:
        """Bytes are stored; those that were there are renewed."""
        path = self.base / "in"
        path.write_bytes(content)
        self.blobs[self.store.add(path)] = 0

    @rule(key=KEYS, content=CONTENTS, others=st.sets(KEYS, max_size=2))
    def keep(self, key: int, content: bytes, others: set[int]) -> None:
        """A record is kept, made from others; one that stands is renewed."""
        self.add(content)
        parts = {"key": key}
        digest = digest_of(content)
        below = [fingerprint_of({"key": other}) for other in others if other < key]
        inputs = {
            f"data/{name}": Made(self.records[name].artifacts[0], name)
            for name in below
            if name in self.records
        }
        artifact = Artifact("a", digest, digest, len(content))
        record = Record(fingerprint_of(parts), (artifact,), None, parts, inputs)
        standing = self.store.keep(record)
        expected = self.records.setdefault(record.fingerprint, record)
        assert standing == expected
        self._relied(record.fingerprint)

    def _relied(self, key: Fingerprint) -> None:
        self.ages[key] = 0
        self.blobs.update(dict.fromkeys(self.records[key].blobs, 0))

    @precondition(lambda self: self.records)
    @rule(data=st.data())
    def find(self, data: st.DataObject) -> None:
        """A record is found, and renewed."""
        key = data.draw(st.sampled_from(sorted(self.records)))
        assert self.store.find(key) == self.records[key]
        self._relied(key)

    @precondition(lambda self: self.records)
    @rule(data=st.data(), edit_set=TARGETS, days=AGES)
    def publish(self, data: st.DataObject, edit_set: str, days: int) -> None:
        """An instance of some records is published."""
        keys = data.draw(st.sets(st.sampled_from(sorted(self.records)), min_size=1))
        if (edit_set, days_ago(days)) not in {*self.instances, *self.scripts}:
            self._publish(keys, edit_set, days)

    def _publish(self, keys: set[Fingerprint], edit_set: str, days: int) -> None:
        at = (edit_set, days_ago(days))
        files = {f"f/{key}": self.records[key].artifacts[0].digest for key in keys}
        about = {"steps": {key: {"fingerprint": key} for key in keys}}
        instance = Instance(*at, files, files, about)
        self.store.publish(instance)
        self.instances[at] = (instance, 0)
        self.blobs.update(dict.fromkeys(files.values(), 0))

    @rule(content=CONTENTS, edit_set=TARGETS, days=AGES)
    def script(self, content: bytes, edit_set: str, days: int) -> None:
        """A script fills a folder."""
        at = (edit_set, days_ago(days))
        if at not in self.instances:
            self.add(content)
            digest = digest_of(content)
            self.tree.put(Address(*at, str(digest)), digest)
            self.scripts.setdefault(at, set()).add(digest)

    @precondition(lambda self: self.instances)
    @rule(data=st.data(), is_pin=st.booleans())
    def use(self, data: st.DataObject, *, is_pin: bool) -> None:
        """An instance is pinned, or put into production."""
        at = data.draw(st.sampled_from(sorted(self.instances)))
        if is_pin:
            pins.pin(self.store.instances, *at, {"why": "x"})
            self.pinned.add(at)
        else:
            self.store.promote(*at, {})
            self.production[at[0]] = at[1]

    @precondition(lambda self: self.pinned)
    @rule(data=st.data())
    def unpin(self, data: st.DataObject) -> None:
        """A pin is taken away."""
        at = data.draw(st.sampled_from(sorted(self.pinned)))
        pins.unpin(self.store.instances, *at)
        self.pinned.discard(at)

    @precondition(lambda self: self.records)
    @rule(data=st.data(), slug=st.sampled_from(["set", "other"]))
    def complete(self, data: st.DataObject, slug: str) -> None:
        """A build of an edit set is complete."""
        keys = data.draw(st.sets(st.sampled_from(sorted(self.records)), min_size=1))
        steps = {key: {"fingerprint": key, "before": None} for key in keys}
        self.store.set_head(slug, {"steps": steps})
        self.heads[slug] = keys

    @rule(days=st.sampled_from([1, 5, 10]))
    def wait(self, days: int) -> None:
        """Days pass."""
        age(self.store.root, days)
        self.blobs = {digest: old + days for digest, old in self.blobs.items()}
        self.ages = {key: old + days for key, old in self.ages.items()}
        self.instances = {at: (i, old + days) for at, (i, old) in self.instances.items()}

    # What stays

    def _instances_that_stay(self) -> set[tuple[str, str]]:
        now = datetime.now(UTC)
        months = {now.strftime("%Y-%m"), (now.replace(day=1) - timedelta(1)).strftime("%Y-%m")}
        stays = set()
        for at, (_, old) in self.instances.items():
            newer = [name for target, name in self.instances if target == at[0] and name > at[1]]
            is_last_of_month = at[1][:7] in months and not any(n[:7] == at[1][:7] for n in newer)
            is_used = self.production.get(at[0]) == at[1] or at in self.pinned
            if len(newer) < 2 or is_last_of_month or is_used or old < 7:
                stays.add(at)
        return stays

    def _stays(self) -> tuple[set[tuple[str, str]], set[Fingerprint], set[Digest]]:
        """Instances, records and blobs that must stay."""
        instances = self._instances_that_stay()
        about = [self.instances[at][0].about["steps"] for at in instances]
        waiting = [key for each in (*about, *self.heads.values()) for key in each]
        records: set[Fingerprint] = set()
        blobs = {digest for each in self.scripts.values() for digest in each}
        blobs |= {d for at in instances for d in self.instances[at][0].files.values()}
        while waiting:
            key = waiting.pop()
            if key in self.records and key not in records:
                records.add(key)
                for made in self.records[key].inputs.values():
                    blobs.add(made.artifact.digest)
                    waiting.append(made.by)
        records |= {key for key, old in self.ages.items() if old < 7}
        blobs |= {digest for key in records for digest in self.records[key].blobs}
        blobs |= {digest for digest, old in self.blobs.items() if old < 7}
        return instances, records, blobs & set(self.blobs)

    def _seen(self) -> tuple[set[tuple[str, str]], set[Fingerprint], set[Digest]]:
        """Instances, records and blobs that are there."""
        root = self.store.root
        return (
            {
                (str(path.parent.relative_to(root / "tree")), path.name)
                for path in root.glob("tree/**/20*")
                if path.is_dir()
            }
            - set(self.scripts),
            {Fingerprint(p.name) for p in root.glob("ac/*/[!.]*")},
            {Digest(p.name) for p in root.glob("cas/*/[!.]*")},
        )

    # Pruning

    @rule()
    def prune(self) -> None:
        """What must stay stays, and nothing else."""
        expected = self._stays()
        told = would_go(self.store, RULES).goes
        done = prune(self.store, RULES).goes
        assert (done.folders, done.records, done.blobs) == (told.folders, told.records, told.blobs)
        assert self._seen() == expected
        assert [*self.store.root.rglob("*.part")] == []
        self._forget(expected)

    @rule(step=KILLS)
    def prune_killed(self, step: int) -> None:
        """An interrupted pruning has taken nothing that must stay; the next one goes on."""
        expected = self._stays()
        killed_at(step, lambda: prune(self.store, RULES), CHANGES)
        for there, wanted in zip(self._seen(), expected, strict=True):
            assert wanted <= there  # type: ignore[operator] # each of its own kind
        self.nothing_seen_has_a_hole()
        self.prune()

    def _forget(self, stays: tuple[set[tuple[str, str]], set[Fingerprint], set[Digest]]) -> None:
        instances, records, blobs = stays
        self.instances = {at: self.instances[at] for at in instances}
        self.records = {key: self.records[key] for key in records}
        self.ages = {key: self.ages[key] for key in records}
        self.blobs = {digest: self.blobs[digest] for digest in blobs}

    @invariant()
    def nothing_seen_has_a_hole(self) -> None:
        """Every instance that is seen is whole, and every alias leads somewhere."""
        for target, name in self._seen()[0]:
            instance = self.store.instance(target, name)
            assert instance is not None
            for path, digest in instance.files.items():
                place = self.store.instances.folder(target) / name / path
                assert digest_of(place.read_bytes()) == digest
        for alias in ("latest", "production"):
            assert all(path.exists() for path in self.store.root.rglob(alias))


TestPrunings = pytest.mark.slow(Prunings.TestCase)
TestPrunings.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def test_time_passes(tmp_path: Path):
    """What the tests call days are days."""
    (tmp_path / "x").write_text("x", encoding="utf-8")
    age(tmp_path, 3)
    assert abs(time.time() - (tmp_path / "x").stat().st_mtime - 3 * DAY) < 60
