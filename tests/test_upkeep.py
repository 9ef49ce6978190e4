"""``cbng-trainer prune``, ``verify``, ``audit``, ``pin``: what they say, and how they end."""

import json
from pathlib import Path

import pytest

from cbngtrain.cli import main
from cbngtrain.step import Digest
from cbngtrain.store import DirectoryStore
from cbngtrain.verify import verify
from tests.conftest import Ended, Site, edits
from tests.prune.conftest import age
from tests.store_on_disk import spoil


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """How ``cbng-trainer WORDS`` ends at a site; in this process, which is faster."""

    def trainer(site: Site, *words: str, **env: str) -> Ended:
        with monkeypatch.context() as patch:
            patch.chdir(site.path)
            for name, value in site.env(**env).items():
                patch.setenv(name, value)
            status = main(words)
        out, err = capfd.readouterr()
        return Ended(status, out + err)

    return trainer


def store_of(site: Site) -> DirectoryStore:
    """The site's store."""
    return DirectoryStore(site.base / "store")


def network(site: Site) -> Digest:
    """The digest of Alpha's network."""
    latest = store_of(site).latest("Alpha")
    assert latest
    return latest.files["artifacts/main_ann.fann"]


@pytest.mark.parametrize(
    "words",
    [["prune"], ["verify"], ["pin", "A/latest", "--why", "x"], ["unpin", "A/latest"]],
    ids=lambda words: words[0],
)
def test_they_work_where_the_store_is(trainer, site: Site, words: list[str]):
    """Over HTTP, and where there is no store, they say so, and end with status 12."""
    far = trainer(site, *words, CBNG_STORE_URL="http://127.0.0.1:1")
    assert (far.status, len(far.lines)) == (12, 1), far
    assert f"`cbng-trainer {words[0]}` works on the store's directory, not over HTTP" in far.out
    none = trainer(site, *words)
    assert (none.status, len(none.lines)) == (12, 1), none
    assert "there is no store" in none.out


@pytest.mark.slow
def test_prune_says_what_and_why(trainer, built: Site):
    """A dry run, a pin, and what went in the end, for people and for programs."""
    age(built.base / "store", 30)
    first = store_of(built).latest("Alpha")
    assert first
    for count in (13, 14):  # the network before the last one stays: it is compared with
        built.dump(2, edits(100, count))
        assert built.run().status == 0
        age(built.base / "store", 30)
    few = {"CBNG_KEEP_INSTANCES": "1", "CBNG_KEEP_MONTHS": "0"}

    dry = trainer(built, "prune", "--dry-run", **few)
    assert dry.status == 0, dry
    assert dry.lines[0] == f"goes   Alpha/{first.name}"
    assert dry.lines[-1].startswith("Would free ")
    pinned = trainer(built, "pin", f"Alpha/{first.name}", "--why", "for the paper")
    assert pinned.lines == [f"Alpha/{first.name} stays: for the paper"]
    kept = json.loads(trainer(built, "prune", "--json", **few).out)
    assert kept["goes"]["instances"] == []
    assert kept["stays"]["instances"][f"Alpha/{first.name}"][0].startswith("pinned: for the paper")
    assert trainer(built, "unpin", f"Alpha/{first.name}").status == 0
    done = trainer(built, "prune", **few)
    assert done.lines[0] == f"goes   Alpha/{first.name}"
    assert done.lines[-1].startswith("Freed 0.0 MB: 1 instance")
    assert store_of(built).instance("Alpha", first.name) is None
    assert trainer(built, "pin", f"Alpha/{first.name}", "--why", "x").status == 3
    assert built.run().lines[-1].startswith("Nothing to do: ")


@pytest.mark.parametrize(
    "name", ["", "Alpha", "Alpha/yesterday", "latest", "Nowhere/latest", "..", "../latest"]
)
def test_pin_wants_an_instance(trainer, built: Site, name: str):
    """What names no instance, or none that could be, is one line, and status 3."""
    ended = trainer(built, "pin", name, "--why", "x")
    assert ended.status == 3, ended
    assert len(ended.lines) == 1


def test_pin_wants_a_reason(built: Site):
    """One of spaces is none."""
    ended = built.run("cbng-trainer", "pin", "Alpha/latest", "--why", " ")
    assert (ended.status, len(ended.lines)) == (3, 1), ended
    assert "--why: ' ' is not a text" in ended.out


@pytest.mark.parametrize("words", [("pin", "--why", "x"), ("unpin",)])
def test_pin_that_the_store_refuses(trainer, built: Site, words: tuple[str, ...]):
    """It is the store that failed, and the line says where."""
    (built.base / "store" / "tree" / "Alpha" / ".pins").symlink_to("/proc/version")
    ended = trainer(built, words[0], "Alpha/latest", *words[1:])
    assert (ended.status, len(ended.lines)) == (13, 1), ended
    assert "pinned: " in ended.out


def test_who_has_no_name_may_pin(trainer, built: Site, monkeypatch: pytest.MonkeyPatch):
    """A container's user may be a number alone."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 2_000_000_000)
    ended = trainer(built, "pin", "Alpha/latest", "--why", "x")
    assert ended.status == 0, ended


def test_verify_finds_and_repairs(trainer, built: Site):
    """A rotten blob and the record that names it are told, forgotten, and made anew."""
    assert trainer(built, "verify").lines[0].startswith("All is well: ")
    lost = network(built)
    spoil(store_of(built).path(lost), b"rotten")

    told = trainer(built, "verify")
    assert told.status == 13, told
    assert told.lines[0].startswith(f"DAMAGED blob {lost}: has rotted")
    assert "its main_ann.fann" in told.lines[1]
    assert any(line.startswith("DAMAGED instance Alpha/") for line in told.lines)
    assert "verify --repair" in told.lines[-1]
    repaired = json.loads(trainer(built, "verify", "--repair", "--json").out)
    by_kind = {damage["kind"]: damage["is_repaired"] for damage in repaired["damages"]}
    assert by_kind == {"blob": True, "record": True, "instance": False}
    left = json.loads(trainer(built, "verify", "--json").out)
    assert {damage["kind"] for damage in left["damages"]} == {"instance"}
    built.forget_calls()
    assert built.run().status == 0
    assert built.calls == ["create_ann"]
    assert trainer(built, "verify").status == 0


def test_verify_finds_what_else_is_wrong(trainer, built: Site):
    """A lost log, a record that is none, and an alias that leads nowhere."""
    store = store_of(built)
    latest = store.latest("Beta")
    assert latest
    store.path(latest.files["logs/ann.log"]).unlink()
    spoil(next(store.root.glob("ac/*/*")), b"{}")
    (store.root / "tree" / "Beta" / "production").symlink_to("2020-01-01 00:00:00")

    told = trainer(built, "verify").out

    assert "dangles: its log" in told
    assert "is malformed" in told
    assert "DAMAGED alias Beta/production: leads to '2020-01-01 00:00:00'" in told


def test_verify_finds_what_is_malformed(trainer, built: Site):
    """A head and a summary that are none can be forgotten; what an instance was cannot."""
    store = store_of(built)
    latest, before = store.latest("Beta"), len(list((store.root / "builds").iterdir()))
    assert latest
    (store.root / "heads" / "alpha.json").write_text("{", encoding="utf-8")
    (store.root / "builds" / "x.json").write_text("[1]", encoding="utf-8")
    spoil(store.root / "tree" / "Beta" / latest.name / "instance.json", b"{}")

    told = trainer(built, "verify")
    assert told.status == 13, told
    assert "DAMAGED head alpha: is malformed\n" in told.out
    assert "DAMAGED summary x: is malformed\n" in told.out
    assert f"DAMAGED instance Beta/{latest.name}: is not whole: its instance.json" in told.out
    assert trainer(built, "verify", "--repair").status == 13
    left = json.loads(trainer(built, "verify", "--json").out)
    assert [damage["kind"] for damage in left["damages"]] == ["instance"]
    assert len(list((store.root / "builds").iterdir())) == before


class Healing(DirectoryStore):
    """A store in which somebody stores a blob anew after it was read, before it is taken out."""

    def __init__(self, root: Path, right: Path) -> None:
        super().__init__(root)
        self.right, self.asked = right, 0

    def path(self, digest: Digest) -> Path:
        """Where the blob is: asked once to read it, and once to take it out."""
        self.asked += 1
        if self.asked == 2:
            self.add(self.right)
        return super().path(digest)


def test_repair_leaves_a_blob_that_was_healed_meanwhile(tmp_path: Path):
    """What is taken out is read again first: it may be another than was found rotten."""
    right = tmp_path / "right"
    right.write_text("the right bytes", encoding="utf-8")
    store = Healing(tmp_path / "store", right)
    digest = store.add(right)
    spoil(DirectoryStore(store.root).path(digest), b"rotten")

    verify(store, repair=True)

    assert store.asked == 2
    store.fetch(digest, tmp_path / "fetched")
    assert (tmp_path / "fetched").read_text(encoding="utf-8") == "the right bytes"


@pytest.mark.slow
def test_audit_builds_twice(built: Site):
    """Each step runs twice, beside the records, and both agree in bytes or in meaning."""
    before = sorted(path for path in (built.base / "store").rglob("*") if path.is_file())

    ended = built.run("cbng-trainer", "audit", "alpha", "--json")

    assert ended.status == 0, ended
    found = {each["artifact"]: each for each in json.loads(ended.out)}
    assert found["main_ann.fann"]["agrees"] == "same bytes"
    assert found["bayes.db"]["agrees"] == "same meaning, other bytes"
    assert {each["recorded"] for each in found.values()} == {
        "same bytes", "same meaning, other bytes",
    }  # fmt: skip
    assert built.calls.count("create_ann") == built.calls.count("bayes_train") == 2
    assert sorted(p for p in (built.base / "store").rglob("*") if p.is_file()) == before


@pytest.mark.slow
def test_audit_tells_what_disagrees(built: Site):
    """A step that never makes the same twice, and one that fails, end with status 10."""
    core = (built.core / "create_ann").read_text(encoding="utf-8")
    random = core.replace('note = f"', 'note = f"{os.getpid()}')
    (built.core / "create_ann").write_text(random, encoding="utf-8")
    built.behave(trial_run={"exit": 3})

    ended = built.run("cbng-trainer", "audit", "alpha")

    assert ended.status == 10, ended
    assert "ann:alpha main_ann.fann: other meaning; as recorded: no record" in ended.lines
    assert any(line.startswith("trial:alpha: FAILED: exit code 3") for line in ended.lines)
    assert "bayes_db:alpha bayes.db: same meaning" in ended.out


@pytest.mark.slow
def test_audit_of_nothing(site: Site):
    """What has not been built cannot be audited; an edit set that is not there is named."""
    assert "has not been built yet" in site.run("cbng-trainer", "audit", "alpha").out
    assert site.run("cbng-trainer", "audit", "gamma").status == 3
    assert not (site.base / "store" / "cas").exists()
