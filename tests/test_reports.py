"""What a build tells of its networks: reports and comparisons, with toys for programs."""

import json
import shutil

import pytest

from cbngtrain.store import DirectoryStore
from tests.built import NOTHING, compared, instances, network, published
from tests.conftest import Site, edits
from tests.web.conftest import TOKEN, serving

pytestmark = pytest.mark.slow


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
