"""What a build says and does on bad days, with real doit, real processes and a core in small."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from tests.conftest import Site, edit, edits, toy_trainer
from tests.test_promises import ALL_STEPS, NOTHING, blobs_of, instances

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


def test_killed_step_has_failed_whatever_it_left(site: Site):
    """A step that a signal ended has no record, though all its files are there and well-formed."""
    site.behave(create_ann={"signal": 9})

    ended = site.run("ann:alpha")

    assert ended.status == 10, ended
    assert "FAILED ann:alpha failed with signal 9 (SIGKILL)" in ended.out
    assert site.run("cbng-trainer", "why", "alpha/ann").out.startswith("ann:alpha: will be built")


UNPRIVILEGED = [] if os.geteuid() else ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
"""What takes from root the right to write everywhere."""


@pytest.mark.parametrize(
    ("command", "status", "told"),
    [
        (["list"], 0, "ann "),
        (["info", "ann:alpha"], 1, "targets do not exist"),
        ([], 3, ".doit.lock: Permission denied"),
    ],
    ids=["list", "info", "run"],
)
def test_checkout_that_nobody_may_write_to(site: Site, command: list[str], status: int, told: str):
    """It can be looked at, and nothing is built: one line says why."""
    site.path.chmod(0o555)
    words = [sys.executable, "-B", "-m", "doit", *command]

    ended = subprocess.run(
        [*UNPRIVILEGED, *words], cwd=site.path, env=site.env(), check=False, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    site.path.chmod(0o755)

    assert ended.returncode == status, ended.stdout
    assert told in ended.stdout
    assert "Traceback" not in ended.stdout


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


def test_list_works_offline_with_nothing_built(site: Site):
    """``doit list --status`` needs no network and nothing built."""
    env = {"CBNG_REVIEW_URL": "http://192.0.2.1:9"}

    ended = site.run("list", "--status", "--all", env=env)

    assert ended.status == 0, ended
    assert "run `doit` once" in ended.out


def test_list_and_info_and_clean_use_the_last_answer(built: Site):
    """Offline commands know the edit sets of the last build, and clean removes references."""
    env = {"CBNG_REVIEW_URL": "http://192.0.2.1:9"}

    listed = built.run("list", "--status", "--all", env=env)
    info = built.run("info", "ann:alpha", env=env)
    cleaned = built.run("clean", "-a", env=env)

    assert any(line.startswith("U ann:alpha ") for line in listed.lines), listed
    assert "up-to-date" in info.out
    assert cleaned.status == 0
    assert not (built.path / "build" / "alpha" / "main_ann.fann").exists()
    assert (built.run().status, built.calls) == (0, [])


def test_list_does_not_ask_a_store_over_http(built: Site):
    """Offline commands do not ask the file service: one that is away is no matter."""
    ended = built.run("list", "--status", "--all", env={"CBNG_STORE_URL": "http://127.0.0.1:9"})

    assert ended.status == 0, ended
    assert any(line.startswith("U ann:alpha ") for line in ended.lines), ended


def test_parallel_build(site: Site):
    """``doit -n 4`` builds the same."""
    ended = site.run("-n", "4")

    assert ended.status == 0, ended
    assert sorted(site.calls) == sorted(2 * ALL_STEPS)
    assert site.run("-n", "4").lines == [NOTHING]


@pytest.mark.parametrize("name", ["ann:alpha", "build/alpha/main_ann.fann"])
def test_one_artifact_is_built_with_what_it_needs(site: Site, name: str):
    """A task's or a target's name builds that artifact, and no trial, and no other edit set."""
    ended = site.run(name)

    assert ended.status == 0, ended
    assert sorted(site.calls) == sorted(ALL_STEPS[:-1])


def test_wildcard_builds_all_of_a_kind(site: Site):
    """``doit 'ann:*'`` builds all networks."""
    site.run("ann:*")

    assert site.calls.count("create_ann") == 2
    assert "trial_run" not in site.calls


def test_unknown_task_is_a_usage_error(site: Site):
    """A task that does not exist ends with status 3 and one line that says which there are."""
    ended = site.run("ann:nope")

    assert (ended.status, len(ended.lines)) == (3, 1), ended
    assert "'ann:nope' is no task, command or target; is 'ann:beta' meant?" in ended.out


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("info", "ann:alhpa"), "'ann:alhpa' is no task; is 'ann:alpha' meant?"),
        (("clean", "an:beta"), "'an:beta' is no task; is 'ann:beta' meant?"),
        (("forget", "bayes_bd"), "'bayes_bd' is no task; is 'bayes_db' meant?"),
        (("lits",), "'lits' is no task, command or target; is 'list' meant?"),
        (("ann:*x",), "'ann:*x' is no task, command or target; known are: ann:alpha, ann:beta"),
        (("build/alpha/main_ann.fan",), "is 'build/alpha/main_ann.fann' meant?"),
    ],
    ids=["info", "clean", "forget", "command", "pattern", "target"],
)
def test_mistyped_name_says_what_may_be_meant(built: Site, command: tuple[str, ...], told: str):
    """A name or pattern that is none of a task is one line, whatever doit's command."""
    ended = built.run(*command)

    assert (ended.status, len(ended.lines)) == (3, 1), ended
    assert told in ended.out


@pytest.mark.parametrize(
    "damage",
    [b"no database", b"SQLite format 3\0" + 100 * b"\0", b""],
    ids=["other", "cut", "empty"],
)
def test_damaged_database_is_made_anew(built: Site, damage: bytes):
    """Doit's database is a cache: a damaged one costs a look at everything, and no work."""
    (built.path / ".doit.db").write_bytes(damage)

    ended = built.run()

    assert ended.status == 0, ended
    assert built.calls == []
    assert "Traceback" not in ended.out
    assert built.run().lines == [NOTHING]


def test_list_leaves_a_damaged_database_to_a_build(built: Site):
    """Who only looks does not repair: another build may be at work on it."""
    (built.path / ".doit.db").write_bytes(b"no database")

    ended = built.run("list", "--status")

    assert (ended.status, len(ended.lines)) == (3, 1), ended
    assert "file is not a database; `doit` makes it anew" in ended.out


def test_database_that_is_being_written_is_not_to_be_removed(built: Site):
    """Who looks while another doit writes is told to try again, in one line."""
    with closing(sqlite3.connect(built.path / ".doit.db", isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")

        ended = built.run("list", "--status")

    assert (ended.status, len(ended.lines)) == (3, 1), ended
    assert "database is locked; another doit is writing it, try again" in ended.out


def test_database_that_cannot_be_opened_is_one_line(built: Site):
    """What stands where doit's database belongs is named, with what to do."""
    (built.path / ".doit.db").unlink()
    (built.path / ".doit.db").mkdir()

    ended = built.run()

    assert (ended.status, len(ended.lines)) == (3, 1), ended
    assert ".doit.db: unable to open database file; remove it, it is a cache" in ended.out


@pytest.mark.parametrize(
    "redirected",
    ["| true", ">&-", ">/dev/full", "2>&- | true"],
    ids=["pipe that ends", "closed", "full", "nothing at all"],
)
def test_build_goes_on_when_nobody_reads(site: Site, redirected: str):
    """What doit says may be lost, the build is not."""
    command = f"set -o pipefail; {sys.executable} -m doit {redirected}"

    ended = subprocess.run(
        ["bash", "-c", command], check=False, cwd=site.path, env=site.env(), stderr=subprocess.PIPE
    )

    assert (ended.returncode, ended.stderr) == (0, b"")
    assert site.run().lines == [NOTHING]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_console_of_few_characters_stops_no_build(built: Site, encoding: str):
    """What a console cannot show is spelt out: the arrow of a reason is in no such code."""
    ended = built.run("ann:alpha", env={"CBNG_SEED": "7", "PYTHONIOENCODING": encoding})

    assert ended.status == 0, ended
    assert "parameters.seed 1 \\u2192 7" in ended.out


@pytest.mark.parametrize("place", ["build", ".doit.lock"])
def test_checkout_that_cannot_be_written_is_one_line(built: Site, place: str):
    """Nothing is begun whose end could not be kept."""
    shutil.rmtree(built.path / "build")
    (built.path / ".doit.lock").unlink()
    (built.path / place).symlink_to("/dev/full" if place == "build" else "/nowhere/at/all")

    ended = built.run(env={"CBNG_SEED": "7"})

    assert (ended.status, len(ended.lines), built.calls) == (3, 1, []), ended
    assert f"DispatchError: {built.path / place}" in ended.out or f": {place}/" in ended.out


def test_list_ends_quietly_when_nobody_reads(built: Site):
    """``doit list | head`` prints no traceback."""
    command = f"{sys.executable} -m doit list --all | true"

    ended = subprocess.run(
        ["bash", "-c", command], check=True, cwd=built.path, env=built.env(), stderr=subprocess.PIPE
    )

    assert ended.stderr == b""


@pytest.mark.parametrize("text", ["no JSON", "[1]", "{}", '[{"id": 1}]'], ids=repr)
def test_damaged_edit_groups_are_no_matter(built: Site, text: str):
    """The last answer of the review service is a cache: who needs no network does without."""
    (built.path / "build" / "edit-groups.json").write_text(text)

    ended = built.run("list", "--all", env={"CBNG_REVIEW_URL": "http://192.0.2.1:9"})

    assert ended.status == 0, ended
    assert "build/edit-groups.json cannot be read; run `doit` once" in ended.out


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


def test_fresh_download_is_not_repeated_while_young(built: Site):
    """With CBNG_SOURCE_MAX_AGE a younger answer is not asked for again."""
    built.dump(2, [*edits(100, 12), edit(999, "one more")])

    young = built.run(env={"CBNG_SOURCE_MAX_AGE": "3600"})
    old = built.run()

    assert young.lines == [NOTHING]
    assert "changed edit_set:alpha/train" in old.out


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


def test_forgotten_record_is_made_anew(built: Site):
    """``cbng-trainer forget`` disowns a bad result; only that step runs again."""
    told = built.run("cbng-trainer", "forget", "alpha/ann")

    ended = built.run()

    assert told.status == 0, told
    assert (ended.status, built.calls) == (0, ["create_ann"]), ended
