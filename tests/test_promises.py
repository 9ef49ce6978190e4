"""What a build promises, with real doit, real processes and a core in small."""

import json
import shutil

import pytest

from tests.built import ALL_STEPS, NOTHING, blobs_of, instances
from tests.conftest import Site, edit, edits


def test_second_build_dispatches_nothing(built: Site):
    """A second doit says in one line that there is nothing to do, and starts no step."""
    ended = built.run()

    assert ended.lines == [NOTHING]
    assert (ended.status, built.calls) == (0, [])


@pytest.mark.parametrize("lost", [(".doit.db",), ("build",), (".doit.db", "build")])
def test_lost_working_directory_dispatches_nothing(built: Site, lost: tuple[str, ...]):
    """Without doit's database and references the build finds everything in the store."""
    for name in lost:
        path = built.path / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    ended = built.run()

    assert (ended.status, built.calls) == (0, []), ended
    assert len(instances(built, "Alpha")) == 1
    assert built.run().lines == [NOTHING]


def test_changed_edits_rebuild_their_own_chain(built: Site):
    """An edit set whose bytes change rebuilds its own chain, and nothing else."""
    built.dump(2, [*edits(100, 12), edit(999, "one more")])

    ended = built.run()

    assert built.calls == ALL_STEPS, ended
    assert "edit_set:beta" not in ended.out
    assert (len(instances(built, "Alpha")), len(instances(built, "Beta"))) == (2, 1)


def test_changed_trial_edits_rebuild_the_trial_alone(built: Site):
    """A change of the trial edits leaves the models alone."""
    built.dump(3, [*edits(200, 8), edit(999, "one more")])

    built.run()

    assert built.calls == ["trial_run"]


def test_shuffled_and_reindented_edits_dispatch_nothing(built: Site):
    """The same edits in another order, with volatile fields, are the same edit set."""
    volatile = "<EditDB><lastUpdated>12345</lastUpdated></EditDB></WPEdit>"
    built.dump(2, [each.replace("</WPEdit>", volatile) for each in reversed(edits(100, 12))])
    built.run()
    built.forget_calls()
    built.dump(
        2, [each.replace("</WPEdit>", volatile.replace("2", "7")) for each in edits(100, 12)]
    )

    ended = built.run()

    assert (ended.lines, built.calls) == ([NOTHING], [])


def test_same_meaning_stops_the_rebuild_whatever_the_bytes(built: Site):
    """A database that is made again has other bytes and the same meaning: nothing below runs."""
    before = blobs_of(built, "artifacts/bayes.db")[0]
    before.unlink()

    ended = built.run()

    assert built.calls == ["bayes.db"], ended
    reference = (built.path / "build" / "alpha" / "bayes.db").read_text().split()
    assert reference[1] != before.name
    assert "found ann_train:alpha" in ended.out
    assert built.run().lines == [NOTHING]


def test_changed_parameter_rebuilds_from_that_step_down(built: Site):
    """Another seed makes another network and another trial, and nothing above them."""
    ended = built.run(env={"CBNG_SEED": "2"})

    assert sorted(built.calls) == ["create_ann", "create_ann", "trial_run", "trial_run"]
    assert "parameters.seed 1 → 2" in ended.out


def test_changed_configuration_rebuilds_what_reads_it(built: Site):
    """A configuration is read by cluebotng alone: the databases and the network stay."""
    (built.core / "conf" / "cluebotng.conf").write_text("chains: {}; # other\n")

    built.run()

    assert sorted(set(built.calls)) == ["ann_train", "bayes_train", "trial_run"]


@pytest.mark.parametrize("path", ["artifacts/main_bayes_train.dat", "trial/report.txt"])
def test_lost_blob_is_rebuilt(built: Site, path: str):
    """A blob lost from the store is made again, and with it nothing else."""
    lost, _ = blobs_of(built, path)
    lost.unlink()

    ended = built.run()

    assert (ended.status, len(built.calls)) == (0, 1), ended
    assert lost.exists()


def test_rotten_blob_is_noticed_when_read_and_rebuilt(built: Site):
    """Bytes that changed on disk are taken out when read, made again, and the build goes on."""
    rotten, _ = blobs_of(built, "artifacts/main_bayes_train.dat")
    good = rotten.read_bytes()
    rotten.chmod(0o644)
    rotten.write_bytes(good[:-2] + b"?\n")
    blobs_of(built, "artifacts/bayes.db")[0].unlink()

    ended = built.run()

    assert ended.status == 0, ended
    assert "had rotted" in ended.out
    assert sorted(built.calls) == ["bayes.db", "bayes_train"]
    assert rotten.read_bytes() == good


def test_one_failure_leaves_the_others_to_finish(site: Site):
    """One edit set's bad dump does not stop the other, and the exit status tells."""
    (site.review / "dumps" / "2.xml").write_text("<html>not a dump</html>")

    ended = site.run()

    assert ended.status == 11, ended
    assert (site.base / "store" / "tree" / "Beta" / "latest" / "instance.json").exists()
    assert not (site.base / "store" / "tree" / "Alpha").exists()


def test_failed_step_is_one_line_and_what_depends_on_it_another(site: Site):
    """One line for the failure with its log, one for all that was not built; exit status 10."""
    site.behave(create_ann={"exit": 3})

    ended = site.run()

    failed = [line for line in ended.lines if line.startswith("FAILED ann:alpha")]
    assert ended.status == 10
    assert len(failed) == 1
    assert "exit code 3: toy core: create_ann fails as told; its log: " in failed[0]
    log = (site.path / failed[0].rsplit(" ", 1)[1]).read_text()
    assert log == "toy core: create_ann fails as told\n"
    (not_built,) = [line for line in ended.lines if line.startswith("not built: ")]
    waiting = ("trial", "report", "previous", "compare", "publish")
    names = [f"{name}:{slug}" for name in waiting for slug in ("alpha", "beta")]
    assert not_built == f"not built: {', '.join(names)}"


def test_equal_edit_sets_are_trained_once(site: Site):
    """Two edit sets with the same bytes share every record."""
    site.dump(5, edits(100, 12))
    site.dump(6, edits(200, 8))

    ended = site.run("-n", "4")

    assert ended.status == 0, ended
    assert sorted(site.calls) == sorted(ALL_STEPS)


def test_another_machine_finds_the_records(built: Site):
    """A record written by one machine is found by another with an empty ``build/``."""
    other = built.add_checkout("other-machine")

    ended = built.run(cwd=other)

    assert (ended.status, built.calls) == (0, []), ended
    assert len(instances(built, "Alpha")) == 1


def test_instance_tells_what_everything_was_made_from(built: Site):
    """``instance.json`` goes from each artifact down to the edit sets."""
    latest = built.base / "store" / "tree" / "Alpha" / "latest"
    instance = json.loads((latest / "instance.json").read_text())
    about = instance["about"]

    network = about["artifacts"]["artifacts/main_ann.fann"]
    assert set(network) == {"digest", "meaning", "size", "fingerprint"}
    assert about["steps"]["ann"]["fingerprint"] == network["fingerprint"]
    rows = about["steps"]["ann"]["made_from"]["artifacts/main_ann_train.dat"]
    assert rows["fingerprint"] == about["steps"]["ann_train"]["fingerprint"]
    train = about["steps"]["bayes_train"]["made_from"]["edit-sets/train.xml"]
    assert train["digest"] == about["artifacts"]["edit-sets/train.xml"]["digest"]
    assert about["edit_sets"]["edit-sets/train.xml"]["counts"]["edits"] == 12
    assert (latest / "artifacts" / "main_ann.fann").read_bytes().startswith(b"FANN")
    assert str((latest / "artifacts" / "main_ann.fann").readlink()).startswith("../")
    assert (latest / "logs" / "ann.log").read_text() == "Processed as told.\n"
