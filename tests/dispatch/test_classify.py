"""A pod's state → what it means: every failure of the list, in the words of real clusters."""

import json
from typing import Any

import pytest

from cbngtrain.dispatch.classify import (
    IMAGE_GRACE,
    Means,
    Verdict,
    classify,
    has_begun,
    has_ended,
    waits_for,
)

Json = dict[str, Any]


def pod(container: Json | None = None, *, deleted: bool = False, **status: Any) -> Json:
    """A pod in that state."""
    metadata: Json = {"name": "cbng-ann-x", "uid": "u"}
    if deleted:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    states = [] if container is None else [{"name": "step", "state": container}]
    return {"metadata": metadata, "status": {"containerStatuses": states, **status}}


def ended(code: int, reason: str = "Error", message: str = "", **status: Any) -> Json:
    """A pod whose container has ended."""
    terminated = {"exitCode": code, "reason": reason, "message": message}
    return pod({"terminated": terminated}, phase="Failed" if code else "Succeeded", **status)


def waiting(reason: str, message: str = "") -> Json:
    """A pod whose container waits."""
    return pod({"waiting": {"reason": reason, "message": message}}, phase="Pending")


def script(code: int, problem: str = "the problem", log: str | None = "l" * 64) -> Json:
    """A pod whose script has ended and told why."""
    told = {"code": code, "exit": None, "problem": problem, "log": log}
    return ended(code, message=json.dumps(told) + "\n")


UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                 "message": "0/1 nodes are available: 1 Insufficient cpu."}  # fmt: skip
DISRUPTED = {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}

CASES = {
    "new": (pod(phase="Pending"), Means.WAITING, ""),
    "nothing known": ({"metadata": {"name": "x"}}, Means.WAITING, ""),
    "creating": (waiting("ContainerCreating"), Means.WAITING, ""),
    "running": (pod({"running": {}}, phase="Running"), Means.WAITING, ""),
    "deleted, running": (pod({"running": {}}, deleted=True), Means.WAITING, "somebody is deleting"),
    "ended": (ended(0, "Completed"), Means.ENDED, ""),
    "InvalidImageName": (waiting("InvalidImageName", "x"), Means.IMPOSSIBLE, "InvalidImageName: x"),
    "ErrImageNeverPull": (waiting("ErrImageNeverPull"), Means.IMPOSSIBLE, "ErrImageNeverPull"),
    "CreateContainerError": (waiting("CreateContainerError"), Means.IMPOSSIBLE, "cannot start"),
    "no secret": (
        waiting(
            "CreateContainerConfigError", 'secret "toolforge.envvar.v1.file-api-key" not found'
        ),
        Means.IMPOSSIBLE,
        "toolforge envvars create FILE_API_KEY",
    ),
    "no bash": (ended(128, "StartError", "exec: bash: not found"), Means.IMPOSSIBLE, "exec: bash"),
    "image not found": (
        waiting("ErrImagePull", "rpc error: code = NotFound desc = failed to pull: not found"),
        Means.IMPOSSIBLE,
        "is CBNG_CORE_IMAGE right",
    ),
    "image denied": (
        waiting("ImagePullBackOff", "pull access denied, repository does not exist"),
        Means.IMPOSSIBLE,
        "its image cannot be had",
    ),
    "image unauthorized": (
        waiting("ErrImagePull", "401 Unauthorized"),
        Means.IMPOSSIBLE,
        "its image cannot be had",
    ),
    "image later": (
        waiting("ImagePullBackOff", "Back-off pulling image"),
        Means.WAITING,
        "cannot be had yet",
    ),
    "no room yet": (
        pod(phase="Pending", conditions=[UNSCHEDULABLE]),
        Means.WAITING,
        "Insufficient",
    ),
    "OOMKilled": (ended(137, "OOMKilled"), Means.OUT_OF_MEMORY, "ran out of memory"),
    "OOMKilled, other code": (ended(1, "OOMKilled"), Means.OUT_OF_MEMORY, "ran out of memory"),
    "137": (script(137), Means.OUT_OF_MEMORY, "was killed (137)"),
    "DeadlineExceeded": (
        pod({"terminated": {"exitCode": 137}}, phase="Failed", reason="DeadlineExceeded"),
        Means.STEP_TIMED_OUT,
        "run out of time",
    ),
    "124": (script(124), Means.STEP_TIMED_OUT, "the problem"),
    "82": (script(82), Means.STEP_FAILED, "the problem"),
    "83": (script(83), Means.STEP_FAILED, "the problem"),
    "80": (script(80), Means.INTERRUPTED, "an input could not be fetched: the problem"),
    "81": (script(81), Means.INTERRUPTED, "other bytes than it should have: the problem"),
    "84": (script(84), Means.INTERRUPTED, "could not be stored: the problem"),
    "143": (ended(143), Means.INTERRUPTED, "asked to stop"),
    "127": (ended(127), Means.STEP_FAILED, "exit code 127 of its script"),
    "nonsense told": (ended(82, message="[1]"), Means.STEP_FAILED, ""),
    "cut message": (ended(82, message='{"code": 8'), Means.STEP_FAILED, ""),
    "Evicted": (
        pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory."),
        Means.INTERRUPTED,
        "Evicted: The node was low on resource: memory.",
    ),
    "Evicted, killed": (
        pod({"terminated": {"exitCode": 137}}, phase="Failed", reason="Evicted"),
        Means.INTERRUPTED,
        "Evicted",
    ),
    "NodeLost": (pod({"running": {}}, phase="Unknown", reason="NodeLost"), Means.INTERRUPTED, ""),
    "Preempting": (pod(phase="Failed", reason="Preempting"), Means.INTERRUPTED, "Preempting"),
    "OutOfmemory": (pod(phase="Failed", reason="OutOfmemory"), Means.INTERRUPTED, "OutOfmemory"),
    "UnexpectedAdmissionError": (
        pod(phase="Failed", reason="UnexpectedAdmissionError"),
        Means.INTERRUPTED,
        "Unexpected",
    ),
    "node shuts down": (pod(phase="Failed", reason="Terminated"), Means.INTERRUPTED, ""),
    "DisruptionTarget": (
        pod({"terminated": {"exitCode": 143}}, phase="Failed", conditions=[DISRUPTED]),
        Means.INTERRUPTED,
        "disrupted: PreemptionByScheduler",
    ),
    "deleted, killed": (
        pod({"terminated": {"exitCode": 137}}, phase="Failed", deleted=True),
        Means.INTERRUPTED,
        "somebody is deleting its pod",
    ),
    "deleted, failed": (
        pod({"terminated": {"exitCode": 82}}, phase="Failed", deleted=True),
        Means.STEP_FAILED,
        "",
    ),
    "deleted, done": (
        pod({"terminated": {"exitCode": 0}}, phase="Succeeded", deleted=True),
        Means.ENDED,
        "",
    ),
    "failed without a word": (pod(phase="Failed"), Means.INTERRUPTED, "without a word"),
    "forgotten by its node": (
        ended(255, "ContainerStatusUnknown"),
        Means.INTERRUPTED,
        "Unknown",
    ),
}


@pytest.mark.parametrize(("state", "means", "told"), CASES.values(), ids=CASES)
def test_state(state: Json, means: Means, told: str):
    """What it means, and what a person is told."""
    verdict = classify(state, 0.0, 60.0)

    assert verdict.means is means
    assert told in verdict.why
    assert "\n" not in verdict.why


def test_scripts_own_log_is_known():
    """The script says where the command's log is."""
    assert classify(script(82), 0, 0) == Verdict(Means.STEP_FAILED, "the problem", 82, "l" * 64)
    assert classify(script(82, log=None), 0, 0).log is None


def test_image_has_a_grace():
    """Registries limit rates; two minutes later it is a failure."""
    state = waiting("ErrImagePull", "429 Too Many Requests")

    assert classify(state, IMAGE_GRACE - 1, 9999).means is Means.WAITING
    assert classify(state, IMAGE_GRACE, 9999).means is Means.IMPOSSIBLE
    assert waits_for(state) == waits_for(waiting("ImagePullBackOff")), "they alternate"


def test_schedule_timeout_is_the_settings():
    """Then the scheduler's message is told, with what makes it less."""
    state = pod(phase="Pending", conditions=[UNSCHEDULABLE])

    assert classify(state, 59, 60).means is Means.WAITING
    verdict = classify(state, 60, 60)
    assert verdict.means is Means.UNSCHEDULABLE
    assert "1 Insufficient cpu" in verdict.why
    assert "CBNG_MEMORY_SCALE" in verdict.why


def test_long_messages_are_cut():
    """A line stays a line."""
    assert len(classify(waiting("CreateContainerError", "x\n" * 9999), 0, 0).why) < 700


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (pod(phase="Pending"), "its start"),
        (pod(phase="Pending", conditions=[UNSCHEDULABLE]), "a node"),
        (waiting("ContainerCreating"), "ContainerCreating"),
        (waiting("ErrImagePull"), "its image"),
        (pod({"running": {}}), "its end"),
        (ended(0), "its end"),
    ],
)
def test_what_it_waits_for(state: Json, word: str):
    """One word, which stays as long as it waits for one thing."""
    assert waits_for(state) == word


def test_ends_and_begins():
    """Only what has begun has a log; what has ended is never attached to."""
    assert [has_begun(each) for each in (pod(), waiting("x"), pod({"running": {}}), ended(1))] == [
        False, False, True, True,
    ]  # fmt: skip
    assert [has_ended(each) for each in (pod(), pod({"running": {}}), ended(1), ended(0))] == [
        False, False, True, True,
    ]  # fmt: skip
    assert has_ended(pod(phase="Failed"))
