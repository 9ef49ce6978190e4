"""What is tried again, how often and with what; on a fake cluster."""

from collections.abc import Sequence

import pytest

from cbngtrain.errors import (
    StepFailed,
)
from tests.dispatch.conftest import Stage
from tests.dispatch.plays import STEP, Play, becomes, ends, failure, one_after_another, run

pytestmark = pytest.mark.slow  # a second each; together, a minute


def test_more_memory_after_running_out_of_it(stage: Stage):
    """The second pod has twice as much."""
    inputs = stage.inputs()
    stage.cluster.play = one_after_another(
        ends(137, reason="OOMKilled"), stage.succeed(STEP, inputs)
    )

    run(stage.dispatcher(), STEP, inputs)

    assert memories(stage) == ["128Mi", "256Mi"]


def memories(stage: Stage) -> list[str]:
    """The memory of each pod that was made."""
    containers = [pod["spec"]["containers"][0] for pod in stage.cluster.created]
    assert all(c["resources"]["requests"]["memory"] == c["resources"]["limits"]["memory"]
               for c in containers)  # fmt: skip
    return [container["resources"]["limits"]["memory"] for container in containers]


@pytest.mark.parametrize(
    ("most", "had", "told"),
    [
        ("4Gi", ["128Mi", "256Mi"], "with 128 MiB and then 256 MiB (a pod may have 4096 MiB"),
        ("200Mi", ["128Mi", "200Mi"], "with 128 MiB and then 200 MiB (a pod may have 200 MiB"),
        ("128Mi", ["128Mi"], "with 128 MiB (a pod may have 128 MiB"),
        ("100Mi", ["100Mi"], "with 100 MiB (a pod may have 100 MiB"),
    ],
)
def test_memory_is_doubled_once_and_up_to_the_limit(
    most: str, had: Sequence[str], told: str, stage: Stage
):
    """Then the step has failed, and the line says how much it had."""
    stage.cluster.limits = {"memory": most}
    stage.cluster.play = ends(137)

    error = failure(stage, stage.inputs())

    assert isinstance(error, StepFailed)
    assert memories(stage) == had
    assert told in str(error)
    assert "CBNG_MEMORY_SCALE" in str(error)


INTERRUPTED = {
    "evicted": becomes(phase="Failed", reason="Evicted", message="The node was low on memory"),
    "preempted": becomes(phase="Failed", reason="Preempting"),
    "node lost": becomes(phase="Unknown", reason="NodeLost"),
    "out of cpu": becomes(phase="Failed", reason="OutOfcpu"),
    "not admitted": becomes(phase="Failed", reason="UnexpectedAdmissionError"),
    "disrupted": becomes(
        phase="Failed", conditions=[{"type": "DisruptionTarget", "status": "True"}]
    ),
    "gone": lambda cluster, pod: cluster.remove(pod["metadata"]["name"]),
    "input not fetched": ends(80, "edits.xml could not be fetched: 503"),
    "input differs": ends(81, "edits.xml has other bytes"),
    "upload failed": ends(84, "PUT /cas: 507"),
    "no record": ends(0),
    "asked to stop": ends(143),
}


@pytest.mark.parametrize("play", INTERRUPTED.values(), ids=INTERRUPTED)
def test_interrupted_step_is_tried_again(play: Play, stage: Stage):
    """What is not the step's fault costs a try and no more."""
    inputs = stage.inputs()
    stage.cluster.play = one_after_another(play, stage.succeed(STEP, inputs))

    run(stage.dispatcher(), STEP, inputs)

    assert len(stage.cluster.created) == 2


@pytest.mark.parametrize("play", INTERRUPTED.values(), ids=INTERRUPTED)
def test_interruptions_have_an_end(play: Play, stage: Stage):
    """Three further tries, then a line that says what it was: infrastructure."""
    stage.cluster.play = play

    error = failure(stage, stage.inputs())

    assert not isinstance(error, StepFailed)
    assert "was interrupted 4 times, the last time since " in str(error)
    assert len(stage.cluster.created) == 4


def test_budgets_are_separate(stage: Stage):
    """Running out of memory takes nothing from the tries that interruptions have."""
    inputs = stage.inputs()
    evicted = INTERRUPTED["evicted"]
    stage.cluster.play = one_after_another(
        evicted, evicted, ends(137, reason="OOMKilled"), evicted, stage.succeed(STEP, inputs)
    )

    run(stage.dispatcher(), STEP, inputs)

    assert memories(stage) == ["128Mi"] * 3 + ["256Mi"] * 2
