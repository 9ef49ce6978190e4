"""Waiting for a pod on a fake cluster: its end is noticed, judged by the store, and explained."""

import json
import time
from dataclasses import replace

import pytest

from cbngtrain.dispatch import cluster
from cbngtrain.errors import (
    BlobNotFound,
    StepFailed,
    StepTimedOut,
)
from cbngtrain.step import fingerprint
from tests.dispatch.conftest import BRISK, TOKEN, Stage, inputs_of, key_of, text_of
from tests.dispatch.fake_cluster import FakeCluster, Json
from tests.dispatch.plays import (
    STEP,
    Play,
    becomes,
    ends,
    failure,
    name_of,
    run,
    waits,
)

pytestmark = pytest.mark.slow  # a second each; together, a minute


def test_step_that_leaves_its_record_is_done(stage: Stage, caplog: pytest.LogCaptureFixture):
    """A pod is made, its log passed on, its record found; and then it is deleted."""
    inputs = stage.inputs()
    stage.cluster.play = stage.succeed(STEP, inputs)

    run(stage.dispatcher(pace=replace(BRISK, last_lines=60)), STEP, inputs)

    assert [key_of(pod) for pod in stage.cluster.created] == [fingerprint(STEP, inputs)]
    assert stage.store.find(fingerprint(STEP, inputs))
    assert stage.cluster.pods() == []
    assert "snippet:alpha: at work" in caplog.messages


def test_record_is_success_whatever_else_is_told(stage: Stage):
    """A pod that left its record and was then evicted has succeeded."""
    inputs = stage.inputs()

    def play(cluster: FakeCluster, pod: Json) -> None:
        stage.leave_record(STEP, inputs)
        cluster.change(pod["metadata"]["name"], phase="Failed", reason="Evicted")

    stage.cluster.play = play

    run(stage.dispatcher(), STEP, inputs)

    assert len(stage.cluster.created) == 1


def test_lost_input_is_told_before_a_pod_is_made(stage: Stage):
    """Who builds makes it again; a pod could only fail."""
    inputs = inputs_of(next(iter(stage.inputs().values())).artifact.meaning, 5)
    stage.store.path(inputs["edits.xml"].artifact.digest).unlink()

    with pytest.raises(BlobNotFound):
        run(stage.dispatcher(), STEP, inputs)
    assert stage.cluster.created == []


def test_input_that_is_lost_on_the_way_is_told(stage: Stage):
    """A script that could not fetch an input had reason to, if the store has none."""
    inputs = stage.inputs()

    def play(cluster: FakeCluster, pod: Json) -> None:
        stage.store.path(inputs["edits.xml"].artifact.digest).unlink()
        ends(81, "edits.xml has other bytes")(cluster, pod)

    stage.cluster.play = play

    with pytest.raises(BlobNotFound):
        run(stage.dispatcher(), STEP, inputs)
    assert len(stage.cluster.created) == 1


# Failures of the step


def test_failed_command_keeps_its_log(stage: Stage):
    """The problem is the script's, the log is where it says, and nothing is tried again."""
    inputs = stage.inputs()
    stage.cluster.play = ends(82, "exit code 3: boom", "", "one", "two: boom")

    error = failure(stage, inputs)

    assert isinstance(error, StepFailed)
    assert str(error).startswith("snippet:alpha failed with exit code 3: boom; its log: ")
    assert text_of(stage.store, error.log.rsplit("/", 1)[1]) == "one\ntwo: boom\n"
    assert len(stage.cluster.created) == 1
    assert stage.cluster.pod(name_of(STEP, inputs)), "it is left for kubectl describe"


def test_log_that_the_script_stored_is_named(stage: Stage):
    """What the command printed is in the store already; the pod's log is not kept besides."""
    digest = "d" * 64
    message = json.dumps({"code": 83, "problem": "data/out.txt: is cut", "log": digest})
    stage.cluster.play = lambda cluster, pod: cluster.end(pod["metadata"]["name"], 83, message)

    error = failure(stage, stage.inputs())

    assert isinstance(error, StepFailed)
    assert error.log.endswith(digest)
    assert error.problem == "data/out.txt: is cut"


def test_token_in_a_log_is_made_unreadable(stage: Stage, caplog: pytest.LogCaptureFixture):
    """Whatever a program prints, no token of ours is kept or passed on."""
    stage.cluster.play = ends(82, "exit code 1", "", f"my key is {TOKEN}!")

    error = failure(stage, stage.inputs())

    assert isinstance(error, StepFailed)
    assert text_of(stage.store, error.log.rsplit("/", 1)[1]) == "my key is [secret]!\n"
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    ("play", "told"),
    [
        (ends(124, "no end after 60 s, when it was stopped"), "no end after 60 s"),
        (becomes(phase="Failed", reason="DeadlineExceeded"), "the whole pod had run out of time"),
    ],
    ids=["124", "DeadlineExceeded"],
)
def test_time_out(play: Play, told: str, stage: Stage):
    """The command's own limit, and the pod's: for good."""
    stage.cluster.play = play

    error = failure(stage, stage.inputs())

    assert isinstance(error, StepTimedOut)
    assert told in str(error)
    assert "CBNG_STEP_TIMEOUT" in str(error)
    assert len(stage.cluster.created) == 1


@pytest.mark.parametrize(
    ("play", "told"),
    [
        (waits("InvalidImageName"), "cannot start: InvalidImageName"),
        (waits("ErrImagePull", "manifest unknown"), "is CBNG_CORE_IMAGE right, and public?"),
        (
            waits("CreateContainerConfigError", 'secret "toolforge.envvar.v1.x" not found'),
            "toolforge envvars create FILE_API_KEY",
        ),
    ],
    ids=["name", "image", "secret"],
)
def test_pod_that_can_never_start_fails_at_once(play: Play, told: str, stage: Stage):
    """The line says why and what to do, and the pod does not stay to eat the quota."""
    stage.cluster.play = play

    error = failure(stage, stage.inputs())

    assert error.status == 14
    assert told in str(error)
    assert "\n" not in str(error)
    assert stage.cluster.pods() == []
    assert len(stage.cluster.created) == 1


def test_pod_that_no_node_has_room_for(stage: Stage):
    """It waits as long as the settings say; the scheduler's own words are told."""
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                 "message": "0/1 nodes are available: 1 Insufficient cpu."}  # fmt: skip
    stage.cluster.play = becomes(conditions=[condition])

    error = failure(stage, stage.inputs(), CBNG_SCHEDULE_TIMEOUT="1")

    assert "1 Insufficient cpu" in str(error)
    assert "CBNG_SCHEDULE_TIMEOUT" in str(error)
    assert stage.cluster.pods() == []


# The API


@pytest.mark.parametrize("status", [500, 503, 429, 0])
def test_api_that_is_away_for_a_while(status: int, stage: Stage):
    """Requests are tried again; a POST whose answer was lost has made one pod."""
    inputs = stage.inputs()
    stage.cluster.play = stage.succeed(STEP, inputs)
    stage.cluster.fail(2, status)

    run(stage.dispatcher(), STEP, inputs)

    assert len(stage.cluster.created) == 1


NOT_YET = 'pods is forbidden: User "tool" cannot create resource "pods" in the namespace'


def test_api_that_has_not_read_its_permissions_yet(stage: Stage):
    """One that was just restarted forbids everything; who was let in before asks again."""
    inputs = stage.inputs()
    stage.cluster.play = stage.succeed(STEP, inputs)
    stage.cluster.fail(2, 403, method="POST", message=NOT_YET)

    run(stage.dispatcher(), STEP, inputs)

    assert len(stage.cluster.created) == 1


def test_api_that_knows_us_not(stage: Stage):
    """Who was never let in is told at once what to look at."""
    stage.cluster.fail(1, 403, message=NOT_YET)

    assert "are KUBECONFIG and CBNG_NAMESPACE right?" in str(failure(stage, stage.inputs()))


def test_api_that_does_not_answer_in_time(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """A request that hangs is given up and made again."""
    monkeypatch.setattr(cluster, "TIMEOUT", (1, 0.3))  # seconds
    inputs = stage.inputs()
    stage.cluster.play = stage.succeed(STEP, inputs)
    stage.cluster.fail(3, hang=1.0)

    run(stage.dispatcher(), STEP, inputs)

    assert len(stage.cluster.created) == 1


def test_watch_that_is_cut_is_begun_again(stage: Stage):
    """EOF says nothing of a pod."""
    inputs = stage.inputs()
    play = stage.succeed(STEP, inputs)

    def cut(cluster: FakeCluster, pod: Json) -> None:
        cluster.run(pod["metadata"]["name"])
        cluster.cut()
        play(cluster, pod)

    stage.cluster.play = cut

    run(stage.dispatcher(pace=replace(BRISK, poll=60)), STEP, inputs)

    assert len(stage.cluster.created) == 1


def test_watch_that_tells_nonsense_is_begun_again(stage: Stage):
    """An event of no kind that is known says nothing of a pod."""
    inputs = stage.inputs()
    play = stage.succeed(STEP, inputs)

    def babble(cluster: FakeCluster, pod: Json) -> None:
        cluster.run(pod["metadata"]["name"])
        cluster.babble()
        play(cluster, pod)

    stage.cluster.play = babble

    run(stage.dispatcher(pace=replace(BRISK, poll=60)), STEP, inputs)

    assert len(stage.cluster.created) == 1


@pytest.mark.parametrize("how", ["event", "status"])
def test_version_that_is_too_old_is_listed_anew(how: str, stage: Stage):
    """410, as an event or as an answer: list again."""
    inputs = stage.inputs()
    play = stage.succeed(STEP, inputs)

    def expire(cluster: FakeCluster, pod: Json) -> None:
        if how == "status":
            cluster.fail(1, 410, path="watch")
        cluster.cut()
        cluster.compact()
        play(cluster, pod)

    stage.cluster.play = expire

    run(stage.dispatcher(pace=replace(BRISK, poll=60)), STEP, inputs)

    assert len(stage.cluster.created) == 1


def test_silent_watch_is_made_up_for_by_asking(stage: Stage):
    """A connection that broke unnoticed costs a poll, not the build."""
    inputs = stage.inputs()
    stage.cluster.is_silent = True
    stage.cluster.play = stage.succeed(STEP, inputs)

    run(stage.dispatcher(), STEP, inputs)

    assert len(stage.cluster.created) == 1


def test_record_is_found_while_the_api_is_away(stage: Stage):
    """Pods need no API server to end well; the store is asked instead."""
    inputs = stage.inputs()

    def play(cluster: FakeCluster, _pod: Json) -> None:
        cluster.fail(10**6, 503)
        cluster.cut()
        stage.leave_record(STEP, inputs)

    stage.cluster.play = play

    run(stage.dispatcher(pace=replace(BRISK, deaf=60)), STEP, inputs)

    assert len(stage.cluster.created) == 1


def test_api_that_stays_away_ends_the_waiting(stage: Stage):
    """The line says that the pod goes on."""

    def play(cluster: FakeCluster, pod: Json) -> None:
        cluster.run(pod["metadata"]["name"])
        cluster.fail(10**6, 503)
        cluster.cut()

    stage.cluster.play = play

    error = failure(stage, stage.inputs())

    assert "its pod goes on, and the next build finds it" in str(error)


def test_refusal_by_the_api_is_told_at_once(stage: Stage):
    """What no repeating mends is not repeated."""
    stage.cluster.fail(1, 422, method="POST")

    error = failure(stage, stage.inputs())

    assert "the cluster answers 422: as ordered" in str(error)
    assert stage.cluster.created == []


def test_nothing_waits_long(stage: Stage):
    """From the pod's end to the record there is no poll: the watch tells at once."""
    inputs = stage.inputs()
    stage.cluster.play = stage.succeed(STEP, inputs)
    dispatcher = stage.dispatcher(pace=replace(BRISK, poll=60, look=5))
    began = time.monotonic()

    run(dispatcher, STEP, inputs)

    assert time.monotonic() - began < 5
