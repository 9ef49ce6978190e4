"""What every store promises: one suite over a directory and over the file service."""

import hashlib
import json
import re
from dataclasses import replace

import pytest

from cbngtrain.errors import BlobNotFound, DigestMismatch, InstanceConflict, StoreError
from cbngtrain.http_store import HttpStore
from cbngtrain.step import Artifact, Digest, Fingerprint, Record, fingerprint_of
from cbngtrain.store import DirectoryStore, Instance
from tests.store_on_disk import spoil
from tests.web.conftest import TOKEN, serving_anew

NOWHERE = Digest("0" * 64)
SETS = (
    "A set",
    "Original ☃ Random Edits 50/50",
    "50% & more? #1;ü",
    "no-break\u00a0space \u200c\U0001fae9",
)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """One file service for the whole suite; every test has names of its own."""
    with serving_anew(tmp_path_factory) as running:
        yield running


@pytest.fixture(params=["directory", "service"])
def stores(request, tmp_path):
    """A store, and a look behind it."""
    if request.param == "directory":
        directory = DirectoryStore(tmp_path / "store")
        return directory, directory
    served = request.getfixturevalue("served")
    return HttpStore(served.url, TOKEN), DirectoryStore(served.root)


@pytest.fixture
def store(stores):
    return stores[0]


@pytest.fixture
def behind(stores):
    return stores[1]


@pytest.fixture
def unique(tmp_path):
    """A text that no other test has."""
    return str(tmp_path)


@pytest.fixture
def add(store, tmp_path, unique):
    """Store a text, made this test's own."""

    def add(text: str) -> Digest:
        path = tmp_path / "added"
        path.write_text(unique + text)
        return Digest(store.add(path))

    return add


def record_of(key, *artifacts, log=None):
    """A record of these blobs (digest, size)."""
    parts = {"command": key}
    made = tuple(Artifact(f"a{i}", d, d, size) for i, (d, size) in enumerate(artifacts))
    return Record(fingerprint_of(parts), made, log, parts, about={"seconds": 1})


class TestBlobs:
    """Blobs."""

    def test_round_trip(self, store, tmp_path, unique):
        """What was added is fetched as it was, under its sha256."""
        content = unique.encode() * 50_000
        (tmp_path / "in").write_bytes(content)
        digest = store.add(tmp_path / "in")
        store.fetch(digest, tmp_path / "out")
        assert digest == hashlib.sha256(content).hexdigest()
        assert (tmp_path / "out").read_bytes() == content

    def test_empty(self, store, tmp_path):
        """No bytes are bytes too."""
        (tmp_path / "in").write_bytes(b"")
        store.fetch(store.add(tmp_path / "in"), tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == b""

    def test_twice(self, add):
        """Storing the same bytes twice changes nothing."""
        assert add("one") == add("one")

    def test_not_there(self, store, tmp_path):
        """A blob that is not there is not found, and nothing is left in its place."""
        with pytest.raises(BlobNotFound) as caught:
            store.fetch(NOWHERE, tmp_path / "out")
        assert caught.value.digest == NOWHERE
        assert list(tmp_path.glob("*out*")) == []

    def test_fetch_replaces(self, store, add, tmp_path, unique):
        """What stood in the place of a fetched blob is replaced as a whole."""
        (tmp_path / "out").write_text("before")
        store.fetch(add("one"), tmp_path / "out")
        assert (tmp_path / "out").read_text() == unique + "one"

    def test_no_file(self, store, tmp_path):
        """A file that is not there cannot be added, and the file is named."""
        with pytest.raises((StoreError, FileNotFoundError), match="nowhere"):
            store.add(tmp_path / "nowhere")

    def test_rotten(self, store, behind, add, tmp_path):
        """A blob that has rotted is never handed out: it is taken out of the store."""
        digest = add("one")
        spoil(behind.path(digest), b"rotten")
        with pytest.raises(DigestMismatch) as caught:
            store.fetch(digest, tmp_path / "out")
        assert caught.value.digest == digest
        assert store.missing([digest]) == {digest}
        assert not (tmp_path / "out").exists()

    def test_rotten_is_replaced(self, store, behind, add, tmp_path, unique):
        """Adding the right bytes heals a blob that has rotted."""
        digest = add("one")
        spoil(behind.path(digest), b"rotten")
        add("one")
        store.fetch(digest, tmp_path / "out")
        assert (tmp_path / "out").read_text() == unique + "one"

    def test_missing(self, store, add):
        """Of many digests those that are not here are told."""
        assert store.missing([add("one"), NOWHERE, add("two"), NOWHERE]) == {NOWHERE}

    def test_missing_of_none(self, store):
        """Of no digests none is missing."""
        assert store.missing([]) == set()

    def test_place(self, store, add):
        """A person is told where a blob is."""
        digest = add("one")
        assert store.place(digest).endswith(digest)


class TestRecords:
    """Records."""

    def test_round_trip(self, store, add, unique):
        """A record is found as it was kept."""
        record = record_of(unique, (add("one"), len(unique) + 3), log=add("log"))
        assert store.keep(record) == record
        assert store.find(record.fingerprint) == record

    def test_not_there(self, store, unique):
        """What was never kept is not found."""
        assert store.find(fingerprint_of({"never": unique})) is None

    def test_first_stands(self, store, add, unique):
        """Of two records under one fingerprint the first stands, and who lost gets it."""
        size = len(unique) + 3
        first = record_of(unique, (add("one"), size))
        store.keep(first)
        assert store.keep(record_of(unique, (add("two"), size))) == first
        assert store.find(first.fingerprint) == first

    @pytest.mark.parametrize("lost", ["artifact", "log"])
    def test_blob_lost(self, store, behind, add, unique, lost):
        """A record is valid only while every blob that it names is here; then another may stand."""
        size = len(unique) + 3
        blobs = {"artifact": add("one"), "log": add("log")}
        record = record_of(unique, (blobs["artifact"], size), log=blobs["log"])
        store.keep(record)
        behind.path(blobs[lost]).unlink()
        assert store.find(record.fingerprint) is None
        other = record_of(unique, (add("two"), size))
        assert store.keep(other) == other
        assert store.find(record.fingerprint) == other

    def test_other_size(self, store, behind, add, unique):
        """A blob of another size than its record's has rotted: the record does not count."""
        digest = add("one")
        record = record_of(unique, (digest, len(unique) + 3))
        store.keep(record)
        spoil(behind.path(digest), b"rotten")
        assert store.find(record.fingerprint) is None

    def test_without_blobs(self, store, unique):
        """A record whose blobs are not here is not kept, and one of them is named."""
        record = record_of(unique, (NOWHERE, 1))
        with pytest.raises(BlobNotFound) as caught:
            store.keep(record)
        assert caught.value.digest == NOWHERE
        assert store.find(record.fingerprint) is None

    def test_forgotten(self, store, add, unique):
        """A record that was disowned is not found; disowning nothing does no harm."""
        record = record_of(unique, (add("one"), len(unique) + 3))
        store.keep(record)
        store.forget(record.fingerprint)
        store.forget(record.fingerprint)
        assert store.find(record.fingerprint) is None

    def test_malformed(self, store, behind, add, unique):
        """A record that cannot be read counts as none, and the next one takes its place."""
        record = record_of(unique, (add("one"), len(unique) + 3))
        store.keep(record)
        spoil(behind.root / "ac" / record.fingerprint[:2] / record.fingerprint, b"{")
        assert store.find(Fingerprint(record.fingerprint)) is None
        assert store.keep(record) == record
        assert store.find(record.fingerprint) == record


class TestHeads:
    """Heads."""

    def test_round_trip(self, store, tmp_path):
        """A head is kept as it is, and replaced by the next."""
        slug = tmp_path.name.replace("_", "-").lower()
        assert store.head(slug) == {}
        store.set_head(slug, {"edit_set": "Ä", "steps": {}})
        store.set_head(slug, {"edit_set": "B", "steps": {"ann": {"fingerprint": "f"}}})
        assert store.head(slug) == {"edit_set": "B", "steps": {"ann": {"fingerprint": "f"}}}


class TestBuilds:
    """Summaries of builds."""

    def test_kept(self, store, behind, tmp_path):
        """What a build did is kept, and replaced by what it did next."""
        build = f"2025-08-01T18.36.31-{tmp_path.name}"
        store.keep_build(build, {"edit_sets": {}})
        store.keep_build(build, {"edit_sets": {"Ä": {"failed": []}}})
        kept = json.loads((behind.root / "builds" / f"{build}.json").read_bytes())
        assert kept == {"edit_sets": {"Ä": {"failed": []}}}


@pytest.fixture
def instance(add, unique):
    """Make an instance of one file."""

    def instance(name, text="report", target="A set"):
        digest = add(text)
        own = f"{target} {unique.rsplit('/', 1)[-1]}"
        about = {"published": "Ä", "artifacts": {}}
        return Instance(
            own, name, {"trial/report.txt": digest}, {"trial/report.txt": digest}, about
        )

    return instance


class TestInstances:
    """Instances."""

    @pytest.mark.parametrize("target", SETS)
    def test_round_trip(self, store, instance, target):
        """What was published is the latest, whatever its edit set is called."""
        published = instance("2025-08-01 18:36:31", target=target)
        assert store.latest(published.target) is None
        store.publish(published)
        assert store.latest(published.target) == published

    def test_latest_never_goes_back(self, store, instance):
        """An older instance that is published later does not become the latest."""
        newer = instance("2025-08-02 00:00:00")
        store.publish(newer)
        store.publish(instance("2025-08-01 00:00:00", "older"))
        assert store.latest(newer.target) == newer

    def test_again(self, store, instance):
        """The same instance may be published again."""
        published = instance("2025-08-01 18:36:31")
        store.publish(published)
        store.publish(published)
        assert store.latest(published.target) == published

    def test_conflict(self, store, instance):
        """An instance is never overwritten by another."""
        published = instance("2025-08-01 18:36:31")
        store.publish(published)
        with pytest.raises(InstanceConflict):
            store.publish(instance("2025-08-01 18:36:31", "other"))
        assert store.latest(published.target) == published

    def test_without_blobs(self, store, instance):
        """An instance whose blobs are not here is not published at all."""
        published = instance("2025-08-01 18:36:31")
        files = {**published.files, "logs/ann.log": NOWHERE}
        lacking = Instance(published.target, published.name, files, {}, {})
        with pytest.raises(BlobNotFound) as caught:
            store.publish(lacking)
        assert caught.value.digest == NOWHERE
        assert store.latest(published.target) is None
        assert store.names(published.target) == []

    def test_not_whole(self, store, behind, instance):
        """The latest counts only while every file that it has is here."""
        published = instance("2025-08-01 18:36:31")
        store.publish(published)
        behind.path(published.files["trial/report.txt"]).unlink()
        assert store.latest(published.target) is None

    @pytest.mark.parametrize("target", ["..", "latest", "a//b", ".hidden", "cas", "a\nb", "_"])
    def test_names(self, store, add, target):
        """Names that mean something else are refused."""
        named = Instance(target, "2025-08-01 18:36:31", {"a": add("one")}, {}, {})
        with pytest.raises(StoreError):
            store.publish(named)

    def test_name_of_an_instance(self, store, add):
        """An instance is named by a time."""
        with pytest.raises(StoreError):
            store.publish(Instance("A set", "yesterday", {"a": add("one")}, {}, {}))

    def test_all_names(self, store, instance):
        """All that are published are named, newest first."""
        first = instance("2025-08-01 00:00:00")
        assert store.names(first.target) == []
        for each in (first, instance("2025-08-03 00:00:00"), instance("2025-08-02 00:00:00")):
            store.publish(each)
        days = [name[8:10] for name in store.names(first.target)]
        assert days == ["03", "02", "01"]

    def test_many_names(self, store, behind, instance):
        """However many there are."""
        published = instance("2025-08-01 00:00:00")
        for minute in range(230):
            name = f"2025-08-01 {minute // 60:02}:{minute % 60:02}:00"
            behind.publish(replace(published, name=name))
        assert len(store.names(published.target)) == 230

    @pytest.mark.parametrize("target", SETS)
    def test_by_name(self, store, behind, instance, target):
        """An instance is found by its name, also one that is not whole any more."""
        published = instance("2025-08-01 18:36:31", target=target)
        assert store.instance(published.target, published.name) is None
        store.publish(published)
        behind.path(published.files["trial/report.txt"]).unlink()
        assert store.instance(published.target, published.name) == published
        assert store.instance(published.target, "2025-08-01 18:36:32") is None


class TestProduction:
    """What is in production."""

    @pytest.mark.parametrize("target", SETS)
    def test_promoted(self, store, behind, instance, target):
        """The alias moves with its record: who, when, why and by what verdict."""
        published = instance("2025-08-01 18:36:31", target=target)
        store.publish(published)
        assert store.production(published.target) is None
        about = {"who": "me", "why": "better", "verdict": {"promote": True, "reasons": ["Ä"]}}
        record = store.promote(published.target, published.name, about)
        assert re.fullmatch(r"[-0-9]{10} [:0-9]{8}", record["when"])
        assert record == {**about, "instance": published.name, "when": record["when"]}
        assert store.production(published.target) == record
        alias = behind.instances.folder(published.target) / "production"
        assert str(alias.readlink()) == published.name

    def test_moves(self, store, instance):
        """It may go back, unlike the latest."""
        older, newer = instance("2025-08-01 00:00:00"), instance("2025-08-02 00:00:00")
        for each in (older, newer):
            store.publish(each)
        for name in (newer.name, older.name):
            store.promote(older.target, name, {"who": "me", "why": name})
        assert store.production(older.target)["why"] == older.name
        assert store.latest(older.target) == newer

    def test_nothing_else(self, store, instance):
        """Only what is published can be in production; a refusal changes nothing."""
        published = instance("2025-08-01 18:36:31")
        store.publish(published)
        store.promote(published.target, published.name, {"who": "me", "why": ""})
        for name in ("2025-08-01 18:36:32", "latest", "../../.."):
            with pytest.raises(StoreError):
                store.promote(published.target, name, {"who": "me", "why": ""})
        assert store.production(published.target)["instance"] == published.name

    def test_killed_between(self, store, behind, instance, monkeypatch):
        """Until the alias has moved, what was in production has its own record."""
        older, newer = instance("2025-08-01 00:00:00"), instance("2025-08-02 00:00:00")
        for each in (older, newer):
            store.publish(each)
        before = store.promote(older.target, older.name, {"who": "me", "why": ""})
        monkeypatch.setattr("cbngtrain.instances.replace_link", lambda *_: None)
        behind.promote(newer.target, newer.name, {"who": "you", "why": ""})
        assert store.production(older.target) == before

    def test_moved_by_hand(self, store, behind, instance):
        """Of an alias that somebody moved by hand no more is told than where it leads."""
        published = instance("2025-08-01 18:36:31")
        store.publish(published)
        (behind.instances.folder(published.target) / "production").symlink_to(published.name)
        assert store.production(published.target) == {"instance": published.name}
