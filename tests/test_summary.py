"""What a build did, folded from what became of its tasks."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbngtrain.step import Digest
from cbngtrain.summary import (
    Course,
    Outcome,
    build_name,
    counts,
    failures,
    is_telling,
    log_digest,
    summary,
    times_in_a_row,
)

LOG = Digest("ab" * 32)
NAMES = {"alpha": "Alpha", "b-1": "B/1", "other": "Other"}
COURSE = Course(began=1754073391.4, ended=1754073451.5, status=10)

OUTCOMES = (
    Outcome(task="edit_set:alpha/train", did="changed", why="12 edits"),
    Outcome(task="edit_set:b-1/train", did="unchanged"),
    Outcome(task="bayes_train:alpha", did="built", why="no record", seconds=4.5, where="pods"),
    Outcome(task="bayes_db:alpha", did="found"),
    Outcome(task="ann:alpha", did="failed", why="exit code 3: x", seconds=2, where="pods", log=LOG),
    Outcome(task="trial:alpha", did="not built"),
    Outcome(task="publish:alpha", did="not built"),
    Outcome(task="ann:b-1", did="built", why="seed 1 → 2", seconds=1, where="local"),
    Outcome(task="publish:b-1", did="published", why="B/1/2025-08-01 18:36:31"),
)

TOLD = summary(COURSE, OUTCOMES, NAMES)


def test_when_and_how_it_ended():
    """A summary has when the build was at work, and its exit status."""
    assert (TOLD["began"], TOLD["ended"]) == ("2025-08-01 18:36:31", "2025-08-01 18:37:31")
    assert (TOLD["seconds"], TOLD["status"], TOLD["problem"]) == (60.1, 10, "")


def test_tasks_are_counted_by_what_became_of_them():
    """Each word has its number; of sources apart."""
    assert TOLD["counts"] == {
        "source changed": 1, "source unchanged": 1, "built": 2, "found": 1, "failed": 1,
        "not built": 2, "published": 1,
    }  # fmt: skip


def test_pods_cost_seconds_though_they_failed():
    """What ran elsewhere is counted, whether it succeeded; what ran here costs no pod."""
    assert (TOLD["pods"], TOLD["pod_seconds"]) == (2, 6.5)


def test_edit_set_that_failed():
    """What was built, found, failed, with its log, and what waits for it."""
    assert TOLD["edit_sets"]["Alpha"] == {
        "looked_at": 6,
        "built": [
            {"step": "bayes_train:alpha", "why": "no record", "seconds": 4.5, "where": "pods"}
        ],
        "found": ["bayes_db:alpha"],
        "failed": [{"step": "ann:alpha", "problem": "exit code 3: x", "log": LOG}],
        "not_built": ["trial:alpha", "publish:alpha"],
        "published": None,
        "complete": False,
    }


def test_edit_set_that_is_complete():
    """An edit set whose publishing was looked at, with nothing failed, is complete."""
    told = TOLD["edit_sets"]["B/1"]
    assert (told["complete"], told["published"]) == (True, "2025-08-01 18:36:31")


def test_edit_set_of_which_a_part_was_looked_at_is_not_complete():
    """`doit bayes_db:alpha` says nothing of the rest."""
    told = summary(COURSE, OUTCOMES[3:4], NAMES)["edit_sets"]
    assert list(told) == ["Alpha"]
    assert not told["Alpha"]["complete"]
    assert not is_telling(told["Alpha"])


def test_build_that_could_not_begin():
    """The reason stands in place of edit sets."""
    course = Course(began=0, ended=1, status=14, problem="the review service is away")
    told = summary(course, (), {})
    assert (told["problem"], told["edit_sets"]) == ("the review service is away", {})


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("host-1.example", "2025-08-01T18.36.31-host-1.example-7"),
        ("é/../x", "2025-08-01T18.36.31---..-x-7"),
        ("", "2025-08-01T18.36.31--7"),
    ],
)
def test_build_name(host: str, name: str):
    """A build's name begins with its time, and has no character that an address could not."""
    assert build_name("2025-08-01 18:36:31", host, 7) == name


@pytest.mark.parametrize(
    ("place", "found"),
    [
        (f"store/cas/ab/{LOG}", LOG),
        (f"http://host/cas/{LOG}", LOG),
        ("nowhere", None),
        (f"{LOG}\n", None),
    ],
)
def test_log_digest(place: str, found: str | None):
    """The digest is what a log's place ends with."""
    assert log_digest(place) == found


def failed(*problems: str) -> list[dict[str, str]]:
    """Failed steps with these problems."""
    return [{"step": f"s{i}", "problem": problem} for i, problem in enumerate(problems)]


@pytest.mark.parametrize(
    ("history", "times"),
    [
        ([], 0),
        ([[]], 0),
        ([[], failed("x")], 0),
        ([failed("x")], 1),
        ([failed("x"), failed("y"), failed("x")], 1),
        ([failed("x"), failed("x"), [], failed("x")], 2),
        ([failed("x"), failed("x", "y")], 1),
        ([failed("line 12 of ab12ab12ab12ab12"), failed("line 7 of cd34cd34cd34cd34")], 2),
        ([failed("no end after 7200 s"), failed("no end after 60.5 s")], 2),
    ],
)
def test_times_in_a_row(history: list[list[dict[str, str]]], times: int):
    """Builds that failed for the same reason are counted, whatever numbers their problems name."""
    assert times_in_a_row(history) == times


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["failed", "complete", "step", "log"]), inner)
        ),
    )
)
def test_any_text_may_be_read_as_a_summary(value: object):
    """What somebody else left in place of a summary does no harm."""
    assert all(isinstance(text, str) for each in failures(value) for text in each.values())
    assert is_telling(value) in {True, False}


WORDS = ("built", "found", "published", "changed", "unchanged", "up to date", "failed", "not built")


@given(
    st.lists(
        st.builds(
            Outcome,
            task=st.sampled_from(
                ["ann:alpha", "edit_set:alpha/train", "publish:b-1", "trial:other"]
            ),
            did=st.sampled_from(WORDS),
            why=st.text(),
            seconds=st.floats(0, 1e6),
            where=st.sampled_from(["", "local", "pods"]),
            log=st.none() | st.just(LOG),
        )
    )
)
def test_every_outcome_is_in_the_summary(outcomes: list[Outcome]):
    """Nothing is left out, and a summary is JSON."""
    told = json.loads(json.dumps(summary(COURSE, outcomes, NAMES)))

    assert sum(told["counts"].values()) == len(outcomes)
    assert sum(each["looked_at"] for each in told["edit_sets"].values()) == len(outcomes)
    assert told["counts"] == counts(outcomes)
    assert told["pods"] == sum(outcome.where == "pods" for outcome in outcomes)
    assert sum(len(each["failed"]) for each in told["edit_sets"].values()) == sum(
        outcome.did == "failed" for outcome in outcomes
    )
