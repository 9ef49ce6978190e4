"""Pruning against a model of a store, with kills in the middle."""

import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cbngtrain import pins
from cbngtrain.instances import Instance
from cbngtrain.prune import prune, would_go
from cbngtrain.step import Artifact, Digest, Fingerprint, Made, Record, fingerprint_of
from cbngtrain.store import DirectoryStore
from tests.prune.conftest import RULES, age, days_ago
from tests.web.conftest import digest_of
from tests.web.killed import killed_at
from web.names import Address
from web.tree import Tree

pytestmark = pytest.mark.slow

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


TestPrunings = Prunings.TestCase
TestPrunings.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
