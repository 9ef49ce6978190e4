"""What a build tells of its networks: reports as steps, with real doit and toys for programs."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cbngtrain.reference import reference_url
from cbngtrain.settings import Settings
from cbngtrain.store import DirectoryStore
from tests.conftest import Site, edits
from tests.toy_core import create_bayes_db
from tests.web.conftest import TOKEN, serving

pytestmark = pytest.mark.slow


def published(site: Site, path: str, name: str = "Alpha") -> Any:
    """A JSON file of the latest instance."""
    return json.loads((site.base / "store" / "tree" / name / "latest" / path).read_bytes())


def test_report_is_published_beside_its_trial(built: Site):
    """Figures, and plots under the names they always had."""
    files = published(built, "instance.json")["files"]

    assert published(built, "trial/metrics.json")["edit_set"] == "Alpha"
    assert {"trial/falsepositives.png", "trial/thresholds.png", "trial/roc.svg"} <= set(files)
    assert "logs/report.log" in files


def test_real_share_of_vandalism_changes_the_report_alone(built: Site):
    """What changes results is in the fingerprint: the setting rebuilds what it decides."""
    ended = built.run(env={"CBNG_VANDALISM_SHARE": "5"})

    assert (built.calls, built.evaluations) == ([], ["report", "report"]), ended
    assert "built report:alpha in " in ended.out
    assert "parameters.share 0.034 → 0.05" in ended.out
    assert published(built, "trial/metrics.json")["share"] == 0.05


@pytest.mark.slow
def test_renamed_edit_set_is_reported_anew_and_trained_no_more(built: Site):
    """Its name is on the plots: they are all that differs."""
    built.groups(
        (1, "Gamma", "Generic", None), (2, "training", "Training", 1), (3, "trial", "Trial", 1)
    )

    ended = built.run()

    assert (built.calls, built.evaluations) == ([], ["report"]), ended
    assert published(built, "trial/metrics.json", "Gamma")["edit_set"] == "Gamma"


@pytest.mark.slow
def test_report_sees_what_it_declares_and_nothing_else(built: Site):
    """Its scratch directory holds the trial's scores, the network and the training edits."""
    built.dump(3, edits(200, 9))
    built.run()
    (call,) = (built.base / "evaluations.log").read_text().splitlines()

    assert call == "report details.txt main_ann.fann train.xml"


@pytest.mark.slow
@pytest.mark.parametrize("vandalism", [False, True])
def test_trial_of_one_class_fails_no_build(site: Site, vandalism: bool):  # noqa: FBT001 - a case
    """What cannot be measured is stated by the report; the networks are published all the same."""
    kind = "true" if vandalism else "false"
    others = [each for each in edits(200, 8) if f"<isVandalism>{kind}<" in each]
    site.dump(3, others)

    ended = site.run()

    assert ended.status == 0, ended
    assert published(site, "trial/metrics.json")["counts"]["edits"] == len(others)


# Comparisons -----------------------------------------------------------------------------------

NOTHING = "Nothing to do: 20 up to date, 4 sources unchanged."


def compared(site: Site, name: str = "Alpha") -> list[tuple[str, str]]:
    """With whom the latest instance was compared: name, and the beginning of its network."""
    rows = published(site, "trial/comparison.json", name)["comparisons"]
    return [(row["name"], row["network"]) for row in rows]


def network(site: Site, instance: str = "latest", name: str = "Alpha") -> str:
    """The digest of an instance's network."""
    folder = site.base / "store" / "tree" / name / instance
    return (folder / "artifacts" / "main_ann.fann").resolve().name


def instances(site: Site, name: str = "Alpha") -> list[str]:
    """The names of an edit set's instances, oldest first."""
    folder = site.base / "store" / "tree" / name
    return sorted(path.name for path in folder.iterdir() if path.name[:2] == "20")


def test_first_network_is_compared_with_nothing(built: Site):
    """There is no comparison, and doit has nothing to do."""
    assert "trial/comparison.json" not in published(built, "instance.json")["files"]
    assert built.run().lines == [NOTHING]


def test_new_network_is_compared_with_the_one_before(built: Site):
    """On the same trial edits its scores are those of its own trial: nothing is tried again."""
    before = network(built)

    ended = built.run(env={"CBNG_SEED": "2"})

    assert built.calls.count("trial_run") == 2, ended  # the new networks of two edit sets
    assert built.evaluations == ["report", "compare"] * 2 or sorted(built.evaluations) == [
        "compare", "compare", "report", "report",
    ]  # fmt: skip
    assert f"found previous:alpha: Alpha/{instances(built)[0]}" in ended.lines
    assert compared(built) == [("previous", before)]
    instance = published(built, "instance.json")
    assert "logs/compare.log" in instance["files"]
    assert set(instance["about"]["steps"]["compare"]["made_from"]) == {
        "trial/details.txt", "artifacts/main_ann.fann", "previous/details.txt",
        "previous/main_ann.fann",
    }  # fmt: skip
    head = json.loads((built.base / "store" / "heads" / "alpha.json").read_bytes())
    assert {"report", "compare", "previous"} <= set(head["steps"])


def test_publishing_does_not_make_the_comparison_stale(built: Site):
    """A no-op stays one after publishing: in this checkout, in another, and without its memory."""
    built.run(env={"CBNG_SEED": "2"})
    built.forget_calls()
    elsewhere = built.add_checkout("elsewhere")

    again = built.run(env={"CBNG_SEED": "2"})
    other = built.run(cwd=elsewhere, env={"CBNG_SEED": "2"})
    other_again = built.run(cwd=elsewhere, env={"CBNG_SEED": "2"})
    (built.path / ".doit.db").unlink()
    without_memory = built.run(env={"CBNG_SEED": "2"})

    assert (again.lines, other_again.lines) == ([NOTHING], [NOTHING])
    assert (other.status, without_memory.status) == (0, 0)
    assert (built.calls, built.evaluations) == ([], [])
    assert len(instances(built)) == 2


@pytest.mark.slow
def test_other_trial_edits_have_the_network_before_tried_on_them(built: Site):
    """Both networks score the new edits: the comparison is on the same ones."""
    before = network(built)
    built.run(env={"CBNG_SEED": "2"})
    built.forget_calls()
    built.dump(3, edits(200, 9))

    ended = built.run(env={"CBNG_SEED": "2"})

    assert built.calls == ["trial_run", "trial_run"], ended
    assert "built previous:alpha in " in ended.out
    assert compared(built) == [("previous", before)]
    assert built.run(env={"CBNG_SEED": "2"}).lines == [NOTHING]


@pytest.mark.slow
def test_network_before_is_the_newest_other_one(built: Site):
    """Not the one before it, and not an instance with the network of now."""
    for seed in ("2", "3"):
        built.run(env={"CBNG_SEED": seed})
    second = network(built, instances(built)[1])
    built.dump(3, edits(200, 9))
    built.run(env={"CBNG_SEED": "3"})  # the same network again, on other trial edits

    assert compared(built) == [("previous", second)]
    third = network(built)
    built.run(env={"CBNG_SEED": "1"})

    assert compared(built) == [("previous", third)]


@pytest.mark.slow
def test_network_in_production_is_the_one_to_be_measured_by(built: Site):
    """Not one that was published after it, and never put there."""
    running = network(built)
    built.run("cbng-trainer", "promote", "alpha", "--force", "--reason", "it is the first")
    for seed in ("2", "3"):
        built.run(env={"CBNG_SEED": seed})

    assert compared(built) == [("previous", running)]
    assert built.run(env={"CBNG_SEED": "3"}).lines == [NOTHING]


@pytest.mark.slow
def test_lost_network_before_gives_way_to_the_one_before_it(built: Site):
    """What is not whole is not compared with; nothing fails."""
    first = network(built)
    built.run(env={"CBNG_SEED": "2"})
    (built.base / "store" / "cas" / network(built)[:2] / network(built)).unlink()

    ended = built.run(env={"CBNG_SEED": "3"})

    assert ended.status == 0, ended
    assert compared(built) == [("previous", first)]


@pytest.mark.slow
def test_network_of_another_configuration_is_not_tried(built: Site):
    """It was made with other features: only its own trial on the same edits tells of it."""
    (built.core / "conf" / "cluebotng.conf").write_text("chains: { };\n")
    built.dump(2, edits(100, 13))
    built.dump(5, edits(300, 13, "mountain"))
    built.dump(3, edits(200, 9))

    ended = built.run()

    assert ended.status == 0, ended
    assert "trial/comparison.json" not in published(built, "instance.json")["files"]
    assert compared(built, "Beta") == [
        ("previous", network(built, instances(built, "Beta")[0], "Beta"))
    ]


@pytest.mark.slow
def test_lost_comparison_is_made_again(built: Site):
    """A blob that is gone is noticed, and built anew."""
    built.run(env={"CBNG_SEED": "2"})
    path = built.base / "store" / "tree" / "Alpha" / "latest" / "trial" / "comparison.json"
    path.resolve().unlink()

    ended = built.run(env={"CBNG_SEED": "2"})

    assert ended.status == 0, ended
    assert "built compare:alpha in " in ended.out
    assert path.exists()


@pytest.mark.slow
def test_comparison_that_is_none_any_more_is_not_published(built: Site):
    """Where the instances before are gone there is nothing to compare with, and it is so told."""
    built.run(env={"CBNG_SEED": "2"})
    shutil.rmtree(built.base / "store" / "tree" / "Alpha")
    (built.path / ".doit.db").unlink()

    ended = built.run(env={"CBNG_SEED": "2"})

    assert ended.status == 0, ended
    assert "trial/comparison.json" not in published(built, "instance.json")["files"]
    why = built.run("cbng-trainer", "why", "alpha/compare", env={"CBNG_SEED": "2"})
    assert (
        why.out == "compare:alpha: has nothing to do: no other network is known to compare with\n"
    )


@pytest.mark.slow
def test_comparison_is_one_task_and_works_offline(built: Site):
    """`doit compare:alpha` builds it with what it needs; list, info and clean need no network."""
    ended = built.run("compare:alpha", env={"CBNG_SEED": "2"})
    reference = built.path / "build" / "alpha" / "trial" / "comparison.json"

    assert "built compare:alpha" in ended.out
    assert "publish" not in ended.out
    assert reference.exists()
    away = {
        "CBNG_SEED": "2",
        "CBNG_REVIEW_URL": "http://127.0.0.1:9",
        "CBNG_REFERENCE": "http://127.0.0.1:9",
    }
    for command in (["list", "--all", "--status"], ["info", "compare:alpha"], ["clean"]):
        assert built.run(*command, env=away).status == 0
    assert not reference.exists()


@pytest.mark.slow
def test_over_http_it_is_the_same(site: Site):
    """The store is a file service: networks before, spreads and promotions are found there."""
    root = site.base / "served"
    root.mkdir()
    with serving(root) as service:
        env = {"CBNG_STORE_URL": service.url, "FILE_API_KEY": TOKEN}
        site.run(env=env)
        seeded = {**env, "CBNG_SEED": "2"}

        ended = site.run(env=seeded)
        again = site.run(env=seeded)
        spread = site.run("cbng-trainer", "spread", "alpha", "--seeds", "2", env=seeded)
        promoted = site.run("cbng-trainer", "promote", "alpha", env=seeded)
        compared = site.run("cbng-trainer", "compare", "alpha", "alpha/production", env=seeded)

        assert "found previous:alpha: Alpha/" in ended.out, ended
        assert "built compare:alpha in " in ended.out
        assert again.lines == [NOTHING]
        assert spread.out == "seeds [1, 3]\n", spread
        assert promoted.status == 0, promoted
        assert "name two instances" in compared.out
    store = DirectoryStore(root)
    record = store.production("Alpha") or {}
    assert record["verdict"]["answer"] == "promote"
    assert store.head("alpha.spread")["edit_set"] == "Alpha"


# The bot's network in use ----------------------------------------------------------------------


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
