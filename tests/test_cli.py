"""``cbng-trainer``, as its operators call it."""

import json
import shlex
import time
from pathlib import Path

import pytest

from tests.conftest import Site, edit, edits, kill_hard, wait_until

pytestmark = pytest.mark.slow


def trainer(site: Site, *words: str, **env: str):
    """How ``cbng-trainer WORDS`` ended."""
    return site.run("cbng-trainer", *words, env=env)


def test_help_tells_every_command_and_setting(site: Site):
    """``--help`` suffices: commands, settings with defaults, exit statuses."""
    ended = trainer(site, "--help")

    assert ended.status == 0
    told = ["run-edit-sets", "run-edit-set", "run-file-api", "get", "why", "forget"]
    told += ["CBNG_REVIEW_URL", "file:sample/", "10 a step failed"]
    assert all(word in ended.out for word in told)


def test_run_edit_sets_runs_the_same_build_as_doit(site: Site):
    """After ``run-edit-sets`` doit has nothing to do, and the other way round."""
    first = trainer(site, "run-edit-sets")

    assert first.status == 0, first
    assert site.run().lines == ["Nothing to do: 20 up to date, 4 sources unchanged."]
    assert trainer(site, "run-edit-sets").lines[-1].startswith("Nothing to do: 20 up to date")


def test_run_edit_sets_keeps_only_those_named(site: Site):
    """``--edit-set`` builds that one alone."""
    ended = trainer(site, "run-edit-sets", "--edit-set", "Beta", "-n", "2")

    assert ended.status == 0, ended
    assert not (site.base / "store" / "tree" / "Alpha").exists()
    assert (site.base / "store" / "tree" / "Beta" / "latest").is_symlink()


def test_unknown_edit_set_lists_the_known(site: Site):
    """A name that does not exist is one line with those that do, and status 3."""
    ended = trainer(site, "run-edit-sets", "--edit-set", "Gamma")

    assert ended.status == 3
    assert ended.lines[-1] == ("PlanError: there is no edit set 'Gamma'; known are: Alpha, Beta")


def test_print_only_prints_commands_that_build_the_same(site: Site):
    """``--print-only`` prints a shell-quoted command a line, a blank line between; it works."""
    site.groups((2, "It's a; $(set)", "Training", None), (3, "trial", "Trial", 2))
    printed = trainer(
        site, "run-edit-sets", "--print-only", "--release-ref", "v1", CBNG_LOG_LEVEL="ERROR"
    )

    words = shlex.split(printed.lines[0])
    built = site.run(*words)

    assert words[:4] == ["cbng-trainer", "run-edit-set", "--target-name", "It's a; $(set)"]
    assert words[4:6] == ["--release-ref", "v1"]
    assert built.status == 0, built
    assert "--release-ref is not used" in built.out
    assert (site.base / "store" / "tree" / "It's a; $(set)" / "latest").is_symlink()
    assert site.run().status == 0
    assert len(site.calls) == 6


def test_printed_name_is_no_option(site: Site):
    """Whatever an edit set is called, the command that is printed for it builds it."""
    site.groups((2, "--help", "Generic", None))
    printed = trainer(site, "run-edit-sets", "--print-only", CBNG_LOG_LEVEL="ERROR")

    built = site.run(*shlex.split(printed.lines[0]))

    assert built.status == 0, built
    assert (site.base / "store" / "tree" / "--help" / "latest").is_symlink()


def test_print_only_prints_one_line_per_edit_set(site: Site):
    """A blank line stands between the commands of two edit sets."""
    ended = trainer(site, "run-edit-sets", "--print-only", CBNG_LOG_LEVEL="ERROR")

    assert [line.split(" ")[:4] for line in ended.lines] == [
        ["cbng-trainer", "run-edit-set", "--target-name", "Alpha"],
        [""],
        ["cbng-trainer", "run-edit-set", "--target-name", "Beta"],
    ]
    assert site.calls == []


def one(site: Site, *more: str):
    """How ``run-edit-set`` of Alpha's dumps ended."""
    training, trial = (f"file:{site.review}/dumps/{group}.xml" for group in (2, 3))
    urls = ["--download-training", training, "--download-trial", trial]
    return trainer(site, "run-edit-set", "--target-name", "One/Two", *urls, *more)


def test_run_edit_set_publishes_under_the_name_asked_for(built: Site):
    """An instance that is asked for by name is published though nothing changed."""
    ended = one(built, "--instance-name", "2025-08-01 18:36:31")

    assert ended.status == 0, ended
    assert (built.base / "store/tree/One/Two/2025-08-01 18:36:31/instance.json").exists()
    assert built.calls == []
    assert one(built, "--instance-name", "2025-08-01 18:36:31").status == 0


def test_published_name_is_never_overwritten(built: Site):
    """A name that is taken by other files is refused, and nothing changes."""
    one(built, "--instance-name", "2025-08-01 18:36:31")
    built.dump(2, [*edits(100, 12), edit(999, "one more")])

    ended = one(built, "--instance-name", "2025-08-01 18:36:31")

    assert ended.status == 13
    assert "is published already, with other files" in ended.out


def test_latest_never_goes_back(built: Site):
    """Publishing an older name leaves ``latest`` where it is."""
    one(built, "--instance-name", "2025-08-01 18:36:31")
    one(built, "--instance-name", "2024-08-01 18:36:31")

    latest = built.base / "store" / "tree" / "One" / "Two" / "latest"
    assert str(latest.readlink()) == "2025-08-01 18:36:31"


@pytest.mark.parametrize("name", ["../../etc", "2026-02-31 00:00:00", "2026-2-3 1:02:03"])
def test_instance_name_must_be_a_time(site: Site, name: str):
    """What is no time cannot name an instance, and nothing starts."""
    ended = one(site, "--instance-name", name)

    assert ended.status == 3
    assert f"{name!r} is no YYYY-mm-dd HH:MM:SS" in ended.out


@pytest.mark.parametrize("name", ["../up", "latest", "a//b", ".hidden", "new\nline", "x" * 201])
def test_name_that_cannot_be_stored_is_refused(site: Site, name: str):
    """Edit sets' names come from others: what could be taken for something else is refused."""
    url = f"file:{site.review}/dumps/2.xml"

    ended = trainer(site, "run-edit-set", "--target-name", name, "--download-training", url)

    assert (ended.status, len(ended.lines)) == (3, 1), ended


def test_get_writes_an_artifact(built: Site):
    """``get`` writes a verified artifact to its own name, to ``-o``, or to standard output."""
    trainer(built, "get", "alpha/main_ann.fann")
    trainer(built, "get", "alpha/trial/report.txt", "-o", "my-report.txt")
    shown = trainer(built, "get", "alpha/main_ann.fann", "-o", "-")

    assert (built.path / "main_ann.fann").read_text() == shown.out
    assert (built.path / "my-report.txt").read_text().startswith("=== REPORT")


def test_get_finds_what_another_machine_built(built: Site):
    """Without references here, ``get`` takes what the last complete build used."""
    other = built.add_checkout("other")

    ended = built.run("cbng-trainer", "get", "alpha/main_ann.fann", "-o", "-", cwd=other)

    assert ended.out.startswith("FANN_FLO_2.1"), ended


@pytest.mark.parametrize(
    ("name", "status", "told"),
    [
        ("gamma/bayes.db", 3, "no edit set 'gamma'; known are: alpha, beta"),
        ("alpha/nope", 3, "the edit set 'alpha' has no artifact 'nope'; known are: train.xml, "),
        ("alpha/main_ann", 3, "has no artifact 'main_ann'; is 'main_ann.fann' meant?"),
        ("alhpa/bayes.db", 3, "no edit set 'alhpa'; is 'alpha' meant?"),
        ("alpha/bayes.db", 13, "alpha/bayes.db has not been built yet; run `doit bayes_db:alpha`"),
        ("0" * 64, 13, "is not in the store; run `doit`"),
    ],
    ids=["edit set", "artifact", "cut name", "mistyped", "not built", "digest"],
)
def test_get_says_what_is_wrong(site: Site, name: str, status: int, told: str):
    """What cannot be got is one line that says what to do."""
    ended = trainer(site, "get", name)

    assert (ended.status, len(ended.lines)) == (status, 1), ended
    assert told in ended.out


def test_get_of_a_rotten_artifact_says_so_and_writes_nothing(built: Site):
    """Rotten bytes are never handed out."""
    blob = (built.base / "store/tree/Alpha/latest/artifacts/main_ann.fann").resolve()
    blob.chmod(0o644)
    blob.write_bytes(b"rotten")

    ended = trainer(built, "get", "alpha/main_ann.fann")

    assert ended.status == 13
    assert "had rotted on disk and was taken out of the store; run `doit`" in ended.out
    assert not (built.path / "main_ann.fann").exists()
    assert built.run().status == 0
    assert built.calls == ["create_ann"]


def test_get_writes_into_a_directory_and_over_what_is_there(built: Site):
    """``-o`` names a directory or a file; a file that is there is replaced whole."""
    (built.path / "to").mkdir()
    (built.path / "old").write_text("of before")

    trainer(built, "get", "alpha/trial/report.txt", "-o", "to")
    trainer(built, "get", "alpha/trial/report.txt", "-o", "old")

    report = (built.path / "to" / "report.txt").read_text()
    assert report.startswith("=== REPORT")
    assert (built.path / "old").read_text() == report
    assert not list(built.path.glob(".get-*"))


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("nowhere/file", "DispatchError: nowhere/file: cannot be written: No such file"),
        ("/dev/full", "DispatchError: output: No space left on device"),
    ],
)
def test_get_that_cannot_write_is_one_line(built: Site, output: str, told: str):
    """What cannot be written is this machine's failure, in one line."""
    ended = trainer(built, "get", "alpha/main_ann.fann", "-o", output)

    assert (ended.status, len(ended.lines)) == (14, 1), ended
    assert told in ended.out


def test_get_leaves_a_device_what_it_is(built: Site):
    """What is no file is written to, not replaced."""
    ended = trainer(built, "get", "alpha/main_ann.fann", "-o", "/dev/null")

    assert ended.status == 0, ended
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "cbng-trainer: the following arguments are required: COMMAND; "),
        (("gte",), "cbng-trainer: argument COMMAND: 'gte' is not known; is 'get' meant?; "),
        (("get",), "cbng-trainer get: the following arguments are required: SLUG/ARTIFACT; "),
        (("run-edit-sets", "--launch", "job"), "argument --launch: 'job' is not known; is 'jobs'"),
        (
            ("run-edit-set", "--target-name", "a", "--download-training", "x"),
            "argument --download-training: 'x' is not a URL that begins with file:, or http",
        ),
        (("run-edit-sets", "-n", "-1"), "-n/--process: '-1' is not a whole number from 1 to 1000"),
    ],
    ids=["no command", "command", "argument", "choice", "URL", "processes"],
)
def test_wrong_command_line_is_one_line_and_status_3(site: Site, words: tuple[str, ...], told: str):
    """What cannot be understood says what may be meant, and where to read more."""
    ended = trainer(site, *words)

    assert (ended.status, len(ended.lines)) == (3, 1), ended
    assert told in ended.out
    assert ended.out.endswith("--help` tells more\n")


def test_why_of_an_edit_set_tells_of_its_steps(built: Site):
    """``why SLUG`` tells of all steps of that edit set, and of no other."""
    ended = trainer(built, "why", "beta")

    assert ended.out.startswith("bayes_train:beta: up to date")
    assert "alpha" not in ended.out
    assert len(ended.lines) > 5


def test_why_tells_what_would_be_built_and_from_what_change(built: Site):
    """A step that would work names the value that changed; one below says what it waits for."""
    ended = trainer(built, "why", CBNG_SEED="7")

    assert "ann:alpha: will be built: parameters.seed 1 → 7" in ended.out
    assert "trial:alpha: will look when ann:alpha has been looked at" in ended.out
    assert "bayes_db:alpha: up to date; built as " in ended.out


def test_why_tells_programs_what_a_build_would_do(built: Site):
    """A list, a step each: what it would do in a word, and the sentence that people read."""
    said = trainer(built, "why", "alpha", CBNG_SEED="7").lines

    rows = json.loads(trainer(built, "why", "alpha", "--json", CBNG_SEED="7").out)

    assert [f"{row['step']}: {row['told']}" for row in rows] == said
    does = {row["step"]: row["does"] for row in rows}
    assert (does["bayes_db:alpha"], does["ann:alpha"], does["trial:alpha"]) == (
        "nothing", "build", "look",
    )  # fmt: skip


def test_why_tells_after_a_build_why_it_was(built: Site):
    """After a build the records tell why: from what to what."""
    built.run(env={"CBNG_SEED": "7"})

    ended = trainer(built, "why", "alpha/ann", CBNG_SEED="7")

    assert len(ended.lines) == 1
    assert ended.out.startswith("ann:alpha: up to date; built as ")
    assert ended.out.endswith(": parameters.seed 1 → 7\n")


def test_why_names_digests_short_and_inputs_by_path(built: Site):
    """A changed input is named by its path in the command's directory."""
    built.dump(2, [*edits(100, 12), edit(999, "one more")])
    built.run("edit_set:alpha/train")

    ended = trainer(built, "why", "alpha/bayes_train")

    assert "will be built: inputs.edits.xml " in ended.out
    assert len(ended.out.split(" → ")[1].strip()) == 12


def test_why_with_nothing_built(site: Site):
    """Before the first build every step waits for its edit set."""
    ended = trainer(site, "why", "alpha/bayes_train")

    assert ended.lines == [
        "bayes_train:alpha: will look when edit_set:alpha/train has been looked at"
    ]


def test_why_tells_of_a_record_that_is_gone(built: Site):
    """A step whose record lost a blob says so."""
    (built.base / "store/tree/Alpha/latest/artifacts/main_ann.fann").resolve().unlink()

    ended = trainer(built, "why", "alpha/ann")

    assert "will be built: the record " in ended.out
    assert "or a blob of it is gone" in ended.out


def test_unknown_step_lists_the_known(built: Site):
    """A step that does not exist is one line with those that do."""
    ended = trainer(built, "why", "alpha/nope")

    assert ended.status == 3
    assert "known are: bayes_train, bayes_db" in ended.out


def test_file_api_serves_what_was_published(built: Site):
    """``run-file-api`` serves the store's instances, and ends on SIGTERM."""
    import requests  # noqa: PLC0415

    serving = built.start("cbng-trainer", "run-file-api", "--bind", "127.0.0.1:0")
    assert serving.stdout
    line = next(line for line in serving.stdout if "Listening at" in line)
    url = line.split("Listening at: ")[1].split(" ")[0]

    answer = requests.get(f"{url}/Alpha/latest/artifacts/main_ann.fann", timeout=10)
    serving.terminate()
    began = time.monotonic()
    serving.communicate(timeout=20)

    assert answer.text.startswith("FANN_FLO_2.1")
    assert time.monotonic() - began < 15


@pytest.mark.parametrize(
    "bind", ["no-such-host.invalid", "127.0.0.1:http", "127.0.0.1:65536", "203.0.113.9:8000"]
)
def test_file_api_that_cannot_listen_is_one_line(site: Site, bind: str):
    """An address that is none, or another machine's, is told before gunicorn tries for long."""
    ended = trainer(site, "run-file-api", "--bind", bind)

    assert (ended.status, len(ended.lines)) == (14, 1), ended
    assert f"nothing can listen at --bind {bind}: " in ended.out


def test_store_in_an_impossible_place_is_told(site: Site):
    """Where no directory can be made, each edit set says so, and the exit status is the store's."""
    ended = site.run(env={"CBNG_STORE": "/proc/store"})

    assert ended.status == 13, ended
    assert "FAILED edit_set:alpha/train: /proc/store/cas: no directory can be made" in ended.out
    assert "Traceback" not in ended.out


@pytest.mark.slow
def test_killed_run_edit_sets_is_gone_on_with(site: Site):
    """A scheduled job that was killed is gone on with by the next one."""
    site.behave(trial_run={"sleep": 30})
    job = site.start("cbng-trainer", "run-edit-sets")
    site.wait_for_call("trial_run")

    kill_hard(job)

    site.behave()
    site.forget_calls()
    wait_until(lambda: trainer(site, "run-edit-sets").status == 0)
    assert sorted(set(site.calls)) == ["trial_run"]
