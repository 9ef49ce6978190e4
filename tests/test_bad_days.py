"""Steps, services and settings that fail a build: what is said, and with which exit status."""

import pytest

from tests.conftest import Site, edit, edits

pytestmark = pytest.mark.slow


def test_killed_step_has_failed_whatever_it_left(site: Site):
    """A step that a signal ended has no record, though all its files are there and well-formed."""
    site.behave(create_ann={"signal": 9})

    ended = site.run("ann:alpha")

    assert ended.status == 10, ended
    assert "FAILED ann:alpha failed with signal 9 (SIGKILL)" in ended.out
    assert site.run("cbng-trainer", "why", "alpha/ann").out.startswith("ann:alpha: will be built")


def test_failed_step_is_tried_again_by_the_next_build(site: Site):
    """A failure is not remembered: the next doit goes on from what was finished."""
    site.behave(create_ann={"exit": 3})
    site.run()
    site.forget_calls()
    site.behave()

    ended = site.run()

    assert ended.status == 0, ended
    assert sorted(site.calls) == ["create_ann", "create_ann", "trial_run", "trial_run"]


@pytest.mark.parametrize(
    ("what", "path", "text", "told"),
    [
        ("bayes_train", "data/main_bayes_train.dat", "1 _EDIT_TOTALS\n1 a\n0", "line 3"),
        ("bayes_train", "data/main_bayes_train.dat", "", "is empty"),
        ("bayes__db", "data/bayes.db", "garbage", "no Berkeley DB database"),
        ("ann_train", "data/main_ann_train.dat", "3 2 1\n0.5 0.5\n1\n", "3 rows for 12 edits"),
        ("create_ann", "data/main_ann.fann", "FANN_FLO_2.1\n", "is not a whole network"),
        ("trial_run", "trialreport/details.txt", "editid=1, x=2\n", "1 whole lines for 8"),
        (
            "trial_run",
            "trialreport/report.txt",
            "Trial set: 8 Edits - 3 vandalism\n-nan%\n",
            "no number",
        ),
        ("trial_run", "trialreport/debug.xml", "<WPEditSet>", "does not end with"),
    ],
    ids=lambda value: value.replace("\n", " ")[:30],
)
def test_bad_output_is_no_success(site: Site, what: str, path: str, text: str, told: str):
    """Exit status 0 proves nothing: what a step leaves is checked before its record is kept."""
    site.behave(**{what: {"spoil": {path: text}}})

    ended = site.run("publish:alpha")

    assert ended.status == 10, ended
    assert told in ended.out
    assert not (site.base / "store" / "tree").exists()


def test_edits_in_both_sets_are_reported_or_refused(built: Site):
    """Edits in both training and trial set are counted; a setting makes them an error."""
    built.dump(3, [*edits(200, 8), edit(101, "also trained on")])

    reported = built.run()
    refused = built.run(env={"CBNG_OVERLAP": "refuse"})

    assert "9 edits, 3 vandalism; 1 also in the training set" in reported.out
    assert refused.status == 11
    assert "Alpha: 1 of 9 trial edits are in the training set too, EditID 101 first" in refused.out
    assert (
        "not built: trial:alpha, report:alpha, previous:alpha, compare:alpha, publish:alpha"
    ) in refused.out


def test_review_service_that_cannot_be_asked_is_one_line(site: Site):
    """While the plan is made a service that does not answer ends with status 3 and one line."""
    ended = site.run(env={"CBNG_REVIEW_URL": f"file:{site.base}/nothing"})

    assert (ended.status, len(ended.lines)) == (3, 1), ended
    assert "edit-groups.json" in ended.out


def test_wrong_settings_are_told_at_once(site: Site):
    """All that is wrong with the settings is one line, and status 12; nothing has started."""
    ended = site.run(env={"CBNG_SEED": "x", "CBNG_STEP_TIMEOUT": "0", "CBNG_STOER": "y"})

    assert (ended.status, len(ended.lines)) == (12, 1), ended
    assert all(name in ended.out for name in ("CBNG_SEED", "CBNG_STEP_TIMEOUT", "CBNG_STORE"))
    assert not (site.path / "build").exists()


def test_missing_berkeley_db_names_the_debian_package(site: Site):
    """Where Berkeley DB cannot be loaded one line names the package, before anything starts."""
    broken = site.base / "broken" / "berkeleydb"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('libdb-5.3.so: not found')")

    ended = site.run(env={"PYTHONPATH": str(broken.parent)})

    assert (ended.status, len(ended.lines)) == (12, 1), ended
    assert "install Debian's libdb5.3-dev" in ended.out
    assert site.calls == []


def test_dump_that_cannot_be_downloaded_is_status_14(site: Site):
    """A review service that fails in the middle of a build is told apart from a bad dump."""
    (site.review / "dumps" / "2.xml").unlink()

    ended = site.run()

    assert ended.status == 14, ended
    assert (site.base / "store" / "tree" / "Beta" / "latest").is_symlink()


def test_store_that_cannot_be_written_is_status_13(site: Site):
    """A store that refuses is told apart from a step that failed."""
    (site.base / "store").write_text("a file where the store should be")

    ended = site.run()

    assert ended.status == 13, ended


def test_step_out_of_time_is_stopped(site: Site):
    """A step that runs longer than CBNG_STEP_TIMEOUT is stopped with all it started."""
    site.behave(create_ann={"sleep": 60, "child": 60})

    ended = site.run("ann:alpha", env={"CBNG_STEP_TIMEOUT": "1"})

    assert ended.status == 10, ended
    assert "no end after 1 s" in ended.out
