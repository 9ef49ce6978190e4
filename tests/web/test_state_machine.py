"""The service against a model of it, under random sequences of requests, losses and kills."""

import shutil
import tempfile
from pathlib import Path

import pytest
from falcon import testing
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cbngtrain.step import Artifact, Digest, Record, fingerprint_of
from cbngtrain.store import DirectoryStore
from tests.web.conftest import TOKEN, WRITER, digest_of
from tests.web.killed import killed_at
from web.app import create_app
from web.auth import Tokens
from web.service import Service
from web.tree import Tree

CONTENTS = st.sampled_from([0, 1, 9_999, 70_000]).map(lambda size: b"x" * size)
TARGETS = st.sampled_from(["Set", "Other/set"])
TIMES = st.sampled_from([f"2025-08-01 00:00:0{i}" for i in range(4)])
KEYS = st.sampled_from(["x", "y"])
STEPS = st.integers(1, 25)


class FileService(RuleBasedStateMachine):
    """
    The model: which blobs, records and instances there are.

    What was under way when its process was killed either happened or did not; `_look` finds out
    which, and anything between the two is a failure.
    """

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="state-"))
        store = DirectoryStore(self.root / "store")
        service = Service(store, Tree(store), Tokens([TOKEN]), largest=1 << 20, keep_free=0)
        self.client = testing.TestClient(create_app(service))
        self.store = store
        self.blobs: dict[Digest, bytes] = {}
        self.records: dict[str, Record] = {}
        self.instances: dict[tuple[str, str], dict[str, str]] = {}
        self.scripted: dict[tuple[str, str], dict[str, bytes]] = {}

    def teardown(self) -> None:
        """Remove the store."""
        shutil.rmtree(self.root)

    # Requests

    def _put_blob(self, content: bytes, digest: Digest | None = None) -> testing.Result:
        headers = {**WRITER, "Content-Length": str(len(content))}
        path = f"/cas/{digest or digest_of(content)}"
        return self.client.simulate_put(path, body=content, headers=headers)

    def _put_record(self, record: Record) -> testing.Result:
        path = f"/ac/{record.fingerprint}"
        return self.client.simulate_put(path, json=record.to_json(), headers=WRITER)

    def _publish(self, target: str, time: str, files: dict[str, str]) -> testing.Result:
        body = {"files": files}
        return self.client.simulate_put(f"/{target}/{time}", json=body, headers=WRITER)

    # Blobs

    @rule(content=CONTENTS)
    def put(self, content: bytes) -> None:
        """A blob is stored, or was there."""
        digest = digest_of(content)
        assert self._put_blob(content).status_code == (200 if digest in self.blobs else 201)
        self.blobs[digest] = content

    @rule(content=CONTENTS, other=CONTENTS.filter(bool))
    def put_wrong(self, content: bytes, other: bytes) -> None:
        """Bytes under another digest are refused."""
        result = self._put_blob(content + other, digest_of(content))
        assert result.status_code == 422

    @rule(content=CONTENTS)
    def put_short(self, content: bytes) -> None:
        """A body that breaks off is refused."""
        headers = {**WRITER, "Content-Length": str(len(content) + 1)}
        path = f"/cas/{digest_of(content)}"
        result = self.client.simulate_put(path, body=content, headers=headers)
        assert result.status_code == 400

    @rule(content=CONTENTS, step=STEPS)
    def put_killed(self, content: bytes, step: int) -> None:
        """A killed upload leaves the blob whole, or none."""
        killed_at(step, lambda: self._put_blob(content))
        digest = digest_of(content)
        if self.client.simulate_get(f"/cas/{digest}").status_code == 200:
            self.blobs[digest] = content

    @rule(content=CONTENTS)
    def get(self, content: bytes) -> None:
        """A blob is got as it was put, or is not there; so is any part of it."""
        digest = digest_of(content)
        result = self.client.simulate_get(f"/cas/{digest}")
        expected = (200, content) if digest in self.blobs else (404, result.content)
        assert (result.status_code, result.content) == expected
        part = self.client.simulate_get(f"/cas/{digest}", headers={"Range": "bytes=1-3"})
        assert part.status_code != 206 or part.content == content[1:4]

    @precondition(lambda self: self.blobs)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        """A blob gets lost."""
        digest = data.draw(st.sampled_from(sorted(self.blobs)))
        self.store.path(digest).unlink()
        del self.blobs[digest]

    @rule(contents=st.lists(CONTENTS))
    def missing(self, contents: list[bytes]) -> None:
        """What is missing is told."""
        asked = [digest_of(content) for content in contents]
        result = self.client.simulate_post("/_/missing", json=asked)
        assert result.json == sorted(set(asked) - set(self.blobs))

    # Records

    def _record(self, key: str, contents: list[bytes]) -> Record:
        parts = {"command": key}
        artifacts = tuple(
            Artifact(f"a{i}", digest_of(content), digest_of(content), len(content))
            for i, content in enumerate(contents)
        )
        return Record(fingerprint_of(parts), artifacts, None, parts)

    def _is_valid(self, key: str) -> bool:
        return key in self.records and self.records[key].blobs <= set(self.blobs)

    @rule(key=KEYS, contents=st.lists(CONTENTS, min_size=1, max_size=2))
    def keep(self, key: str, contents: list[bytes]) -> None:
        """A record is kept if its blobs are here; of two valid ones the first stands."""
        record = self._record(key, contents)
        result = self._put_record(record)
        if not record.blobs <= set(self.blobs):
            assert result.status_code == 422
        elif self._is_valid(key):
            assert result.status_code == 200
            assert Record.from_json(result.json, "") == self.records[key]
        else:
            assert result.status_code == 201
            self.records[key] = record

    @rule(key=KEYS, contents=st.lists(CONTENTS, min_size=1, max_size=2), step=STEPS)
    def keep_killed(self, key: str, contents: list[bytes], step: int) -> None:
        """A killed request leaves the record that stood, or the new one."""
        record = self._record(key, contents)
        stood = self.records[key] if self._is_valid(key) else None
        killed_at(step, lambda: self._put_record(record))
        result = self.client.simulate_get(f"/ac/{record.fingerprint}")
        found = Record.from_json(result.json, "") if result.status_code == 200 else None
        assert found == stood or (stood is None and found == record)
        if found:
            self.records[key] = found

    @rule(key=KEYS)
    def find(self, key: str) -> None:
        """A record is found while every blob that it names is here."""
        result = self.client.simulate_get(f"/ac/{fingerprint_of({'command': key})}")
        if self._is_valid(key):
            assert Record.from_json(result.json, "") == self.records[key]
        else:
            assert result.status_code == 404

    @rule(key=KEYS)
    def forget(self, key: str) -> None:
        """A record that was disowned is gone."""
        path = f"/ac/{fingerprint_of({'command': key})}"
        assert self.client.simulate_delete(path, headers=WRITER).status_code == 204
        self.records.pop(key, None)

    # Instances

    @rule(edit_set=TARGETS, time=TIMES, contents=st.lists(CONTENTS, min_size=1, max_size=3))
    def publish(self, edit_set: str, time: str, contents: list[bytes]) -> None:
        """An instance is published as a whole, once."""
        files = {f"f/{i}": str(digest_of(content)) for i, content in enumerate(contents)}
        result = self._publish(edit_set, time, files)
        if not set(files.values()) <= set(self.blobs):
            assert result.status_code == 422
        elif (edit_set, time) in self.scripted:
            assert result.status_code == 409
        elif (edit_set, time) in self.instances:
            is_same = self.instances[edit_set, time] == files
            assert result.status_code == (200 if is_same else 409)
        else:
            assert result.status_code == 201
            self.instances[edit_set, time] = files
            newest = max(t for name, t in self.instances if name == edit_set)
            link = self.store.root / "tree" / edit_set / "latest"
            assert str(link.readlink()) == newest

    @rule(edit_set=TARGETS, time=TIMES, content=CONTENTS, step=STEPS)
    def publish_killed(self, edit_set: str, time: str, content: bytes, step: int) -> None:
        """A killed publishing leaves the instance whole, or none."""
        files = {"f/0": str(digest_of(content)), "g": str(digest_of(content))}
        killed_at(step, lambda: self._publish(edit_set, time, files))
        result = self.client.simulate_get(f"/{edit_set}/{time}/instance.json")
        before = self.instances.get((edit_set, time))
        found = result.json["files"] if result.status_code == 200 else None
        assert found == before or (before is None and found == files)
        if found:
            self.instances[edit_set, time] = found

    @rule(edit_set=TARGETS, time=TIMES, content=CONTENTS)
    def script(self, edit_set: str, time: str, content: bytes) -> None:
        """A script's file is taken once, and never into a published instance."""
        headers = {**WRITER, "Content-Length": str(len(content))}
        result = self.client.simulate_put(f"/{edit_set}/{time}/s", body=content, headers=headers)
        self.blobs[digest_of(content)] = content
        if (edit_set, time) in self.instances:
            assert result.status_code == 409
            return
        files = self.scripted.setdefault((edit_set, time), {})
        stood = files.setdefault("s", content)
        assert result.status_code in ({200, 201} if stood == content else {409})

    @precondition(lambda self: self.instances)
    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        """A published file is what was published, or gone with its blob."""
        (target, time), files = data.draw(st.sampled_from(sorted(self.instances.items(), key=str)))
        path, digest = data.draw(st.sampled_from(sorted(files.items())))
        result = self.client.simulate_get(f"/{target}/{time}/{path}")
        if digest in self.blobs:
            assert result.content == self.blobs[Digest(digest)]
        else:
            assert result.status_code == 410

    # Always

    @invariant()
    def nothing_half_done_is_seen(self) -> None:
        """Every blob has its digest; listings hold what was published, and nothing else."""
        for path in self.store.root.glob("cas/*/*"):
            assert digest_of(path.read_bytes()) == path.name
        for target in ("Set", "Other/set"):
            listed = self.client.simulate_get(f"/{target}/")
            names = {entry["name"] for entry in listed.json.get("entries", [])}
            known = {time for name, time in {**self.instances, **self.scripted} if name == target}
            assert listed.status_code == 404 or names == known
            latest = self.client.simulate_get(f"/{target}/latest/instance.json")
            if latest.status_code == 200:
                assert (target, latest.json["instance"]) in self.instances


TestFileService = pytest.mark.slow(FileService.TestCase)
TestFileService.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
