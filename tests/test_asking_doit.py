"""What doit can be asked for: one artifact, all of a kind, a list; and names that are mistyped."""

import pytest

from tests.built import ALL_STEPS, NOTHING
from tests.conftest import Site

pytestmark = pytest.mark.slow


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
