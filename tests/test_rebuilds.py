"""What a later build makes again: what is changed, lost, rotten or disowned, and no more."""

import pytest

from tests.built import ALL_STEPS, NOTHING, blobs_of, instances
from tests.conftest import Site, edit, edits, toy_trainer

pytestmark = pytest.mark.slow

WATCHER = """
import sys
STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system"}
def watch(event, arguments):
    if event in STARTS:
        sys.stderr.write(f"started: {event} {arguments}\\n")
sys.addaudithook(watch)
"""


def test_second_build_starts_no_process(built: Site):
    """Where there is nothing to do no process is started, not even to find that out."""
    watcher = built.base / "watcher"
    watcher.mkdir()
    (watcher / "sitecustomize.py").write_text(WATCHER)
    env = {"PYTHONPATH": f"{watcher}:{toy_trainer()}"}

    assert built.run(env=env).lines == [NOTHING]
    (built.path / "build" / "alpha" / "main_ann.fann").unlink()
    (built.base / "store" / "tree" / "Alpha/latest/artifacts/main_ann.fann").resolve().unlink()
    assert "started: subprocess.Popen" in built.run(env=env).out


def test_changed_number_in_a_recipe_rebuilds_from_that_step_down(built: Site):
    """A number of the table of recipes is part of the fingerprint."""
    dodo = built.path / "dodo.py"
    dodo.write_text(
        "from dataclasses import replace\nfrom cbngtrain import plan\n"
        "plan.RECIPES = tuple(\n"
        "    replace(r, parameters={**r.parameters, 'max_epochs': 151}) if r.name == 'ann' else r\n"
        "    for r in plan.RECIPES\n)\n" + dodo.read_text()
    )

    ended = built.run()

    assert sorted(built.calls) == ["create_ann", "create_ann", "trial_run", "trial_run"]
    assert "parameters.max_epochs 150 → 151" in ended.out


def test_changed_program_rebuilds_and_changing_it_back_finds(built: Site):
    """The programs' bytes are part of the fingerprint; the old ones' records are still there."""
    program = built.core / "create_ann"
    old = program.read_text()
    program.write_text(f"{old}# changed\n")
    built.run()
    assert len(built.calls) == 2 * len(ALL_STEPS)
    built.forget_calls()
    program.write_text(old)

    ended = built.run()

    assert (ended.status, built.calls) == (0, [])


def test_lost_log_makes_its_step_again_when_looked_at(built: Site):
    """A record is valid only with all its blobs, its log too."""
    (built.base / "store" / "tree" / "Alpha" / "latest" / "logs" / "ann.log").resolve().unlink()
    (built.path / "build" / "alpha" / "main_ann.fann").unlink()

    built.run()

    assert built.calls.count("create_ann") == 1


def test_rotten_source_is_downloaded_again(built: Site):
    """A canonical edit set that rotted is brought in anew from the review service."""
    rotten, _ = blobs_of(built, "edit-sets/train.xml")
    rotten.chmod(0o644)
    rotten.write_bytes(rotten.read_bytes()[:-1] + b" ")
    blobs_of(built, "artifacts/main_bayes_train.dat")[0].unlink()

    ended = built.run()

    assert ended.status == 0, ended
    assert built.calls == ["bayes_train"]


def test_latest_that_is_not_whole_is_published_again(built: Site):
    """When the latest instance lacks a blob for good, a new whole one is published."""
    lost, _ = blobs_of(built, "artifacts/bayes.db")
    lost.unlink()

    ended = built.run()

    assert ended.status == 0, ended
    assert len(instances(built, "Alpha")) == 2
    assert blobs_of(built, "artifacts/bayes.db")[0].exists()


def test_lost_log_is_made_again_before_publishing(built: Site):
    """A log that no step reads is missed by who publishes, and its step is made again."""
    lost, _ = blobs_of(built, "logs/ann.log")
    lost.unlink()

    ended = built.run()

    assert ended.status == 0, ended
    assert lost.exists()
    assert len(instances(built, "Alpha")) == 1


def test_fresh_download_is_not_repeated_while_young(built: Site):
    """With CBNG_SOURCE_MAX_AGE a younger answer is not asked for again."""
    built.dump(2, [*edits(100, 12), edit(999, "one more")])

    young = built.run(env={"CBNG_SOURCE_MAX_AGE": "3600"})
    old = built.run()

    assert young.lines == [NOTHING]
    assert "changed edit_set:alpha/train" in old.out


def test_forgotten_record_is_made_anew(built: Site):
    """``cbng-trainer forget`` disowns a bad result; only that step runs again."""
    told = built.run("cbng-trainer", "forget", "alpha/ann")

    ended = built.run()

    assert told.status == 0, told
    assert (ended.status, built.calls) == (0, ["create_ann"]), ended
