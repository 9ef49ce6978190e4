"""The bot's network in use: tried on the trial edits, and compared with what is built."""

import hashlib
import shutil
from pathlib import Path

import pytest

from cbngtrain.reference import reference_url
from cbngtrain.settings import Settings
from tests.built import compared, network
from tests.conftest import Site, edits
from tests.toy_core import create_bayes_db

pytestmark = pytest.mark.slow


@pytest.fixture
def in_use(built: Site) -> Path:
    """A directory with the bot's network in use: Beta's."""
    path = built.base / "in-use"
    path.mkdir()
    for name in ("bayes.db", "two_bayes.db", "main_ann.fann"):
        source = built.base / "store" / "tree" / "Beta" / "latest" / "artifacts" / name
        (path / name).write_bytes(source.read_bytes())
    return path


def test_network_in_use_is_tried_on_the_trial_edits(built: Site, in_use: Path):
    """A step of its own, of the same edits; the second build has nothing to do."""
    env = {"CBNG_REFERENCE": str(in_use)}

    ended = built.run(env=env)

    assert built.calls == ["trial_run", "trial_run"], ended
    assert "built reference:alpha in " in ended.out
    assert compared(built) == [("bot", network(built, name="Beta"))]
    assert built.run(env=env).lines == ["Nothing to do: 22 up to date, 10 sources unchanged."]


@pytest.mark.slow
def test_network_in_use_counts_by_content(built: Site, in_use: Path):
    """Its address does not count, nor a database's file id: nothing is tried again."""
    built.run(env={"CBNG_REFERENCE": str(in_use)})
    built.forget_calls()
    moved = in_use.rename(built.base / "moved")
    again = built.base / "again.db"
    create_bayes_db(str(again), str(words_of(built)))
    assert again.read_bytes() != (moved / "bayes.db").read_bytes()
    (moved / "bayes.db").write_bytes(again.read_bytes())

    ended = built.run(env={"CBNG_REFERENCE": str(moved)})

    assert (built.calls, built.evaluations) == ([], []), ended
    assert "Nothing to do" in ended.out


def words_of(site: Site) -> Path:
    """The words that Beta's database was made from."""
    latest = site.base / "store" / "tree" / "Beta" / "latest"
    return (latest / "artifacts" / "main_bayes_train.dat").resolve()


@pytest.mark.slow
def test_other_network_in_use_is_compared_anew(built: Site, in_use: Path):
    """And nothing else is built."""
    built.run(env={"CBNG_REFERENCE": str(in_use)})
    built.forget_calls()
    text = (in_use / "main_ann.fann").read_text()
    (in_use / "main_ann.fann").write_text(text.replace("(0, ", "(0, 1", 1))

    built.run(env={"CBNG_REFERENCE": str(in_use)})

    assert (built.calls, built.evaluations) == (["trial_run"] * 2, ["compare"] * 2)


@pytest.mark.slow
def test_models_of_the_core_are_the_network_in_use(built: Site, in_use: Path):
    """Where the core's directory has models in data/ these are, unless it is told that none is."""
    shutil.copytree(in_use, built.core / "data")

    assert "reference:alpha" not in built.run("list", "--all", env={"CBNG_REFERENCE": "none"}).out
    assert "reference:alpha" in built.run("list", "--all").out
    built.run()
    assert compared(built) == [("bot", network(built, name="Beta"))]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("main_ann.fann", "FANN_FLO_2.1\n", "main_ann.fann: main_ann.fann: is not a whole network"),
        ("bayes.db", "nothing", "bayes.db: bayes.db: no Berkeley DB database"),
        ("two_bayes.db", None, "two_bayes.db: cannot be copied: No such file"),
    ],
)  # fmt: skip
def test_network_in_use_that_is_none_is_one_line(
    built: Site, in_use: Path, name: str, text: str | None, told: str
):
    """It names the file and what is wrong; what does not need it goes on."""
    (in_use / name).unlink()
    if text is not None:
        (in_use / name).write_text(text)

    ended = built.run(env={"CBNG_REFERENCE": str(in_use)})

    assert ended.status in {11, 14}, ended
    failed = [line for line in ended.lines if line.startswith("FAILED")]
    assert len(failed) == 2
    assert told in failed[0]


@pytest.mark.slow
def test_network_in_use_that_is_away_counts_as_it_was(built: Site, in_use: Path):
    """What was had last is in the store: an address that does not answer stops no build."""
    env = {"CBNG_REFERENCE": str(in_use)}
    built.run(env=env)
    (in_use / "main_ann.fann").unlink()
    built.dump(3, edits(200, 9))

    ended = built.run(env=env)

    assert ended.status == 0, ended
    assert "the one that was there last counts" in ended.out
    assert [name for name, _ in compared(built)] == ["bot"]


PODS = {
    "CBNG_DISPATCH": "pods",
    "CBNG_STORE_URL": "http://store.example",
    "CBNG_STORE_URL_IN_PODS": "http://store.example",
    "FILE_API_KEY": "x",
    "CBNG_CORE_RELEASE": "v1.0.3",
    "CBNG_CORE_RELEASES_URL": "https://r.example/x",
}


def test_network_in_use_is_that_of_the_release(tmp_path: Path):
    """Unless the configuration is another than the one it was made with, or another is named."""
    (tmp_path / "cluebotng.conf").touch()
    found = [
        reference_url(Settings.from_env({**PODS, **more}))
        for more in (
            {},
            {"CBNG_CORE_CONF": str(tmp_path)},
            {"CBNG_REFERENCE": "none"},
            {"CBNG_REFERENCE": "https://other.example/"},
        )
    ]

    assert found == ["https://r.example/x/v1.0.3", "", "", "https://other.example"]


@pytest.mark.slow
def test_network_in_use_is_not_asked_for_again_while_young(built: Site, in_use: Path):
    """As dumps are not: what was had last counts, and nothing is said."""
    env = {"CBNG_REFERENCE": str(in_use), "CBNG_SOURCE_MAX_AGE": "3600"}
    built.run(env=env)
    (in_use / "main_ann.fann").unlink()

    assert built.run(env=env).lines == ["Nothing to do: 22 up to date, 10 sources unchanged."]
    assert "last counts" in built.run(env={**env, "CBNG_SOURCE_MAX_AGE": "0"}).out


@pytest.mark.slow
def test_both_are_compared_with(built: Site, in_use: Path):
    """The bot's network and the one before, in one comparison."""
    before = network(built)

    built.run(env={"CBNG_REFERENCE": str(in_use), "CBNG_SEED": "2"})

    in_use_network = hashlib.sha256((in_use / "main_ann.fann").read_bytes()).hexdigest()
    assert compared(built) == [("bot", in_use_network), ("previous", before)]
