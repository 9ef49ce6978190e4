"""What becomes of the pods of a fake cluster, and what comes of their step."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from cbngtrain.dispatch.manifest import pod_name
from cbngtrain.dispatch.pods import PodDispatcher
from cbngtrain.errors import (
    DispatchError,
)
from cbngtrain.step import Made, Step, fingerprint
from tests.dispatch.conftest import BRISK, Stage, step_of
from tests.dispatch.fake_cluster import FakeCluster, Json

Play = Callable[[FakeCluster, Json], None]

STEP = step_of()


def name_of(step: Step, inputs: dict[str, Made]) -> str:
    """The name of the step's pod."""
    return pod_name(step, fingerprint(step, inputs))


def run(dispatcher: PodDispatcher, step: Step, inputs: dict[str, Made]) -> None:
    """Run the step."""
    dispatcher.run(step, fingerprint(step, inputs), inputs)


def one_after_another(*plays: Play) -> Play:
    """The first pod plays the first, the next the next; the last one stays."""
    left = list(plays)

    def play(cluster: FakeCluster, pod: Json) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(cluster, pod)

    return play


def ends(code: int, problem: str = "", reason: str = "", *says: str) -> Play:
    """A pod that prints, and ends so."""

    def play(cluster: FakeCluster, pod: Json) -> None:
        name = pod["metadata"]["name"]
        cluster.run(name)
        cluster.log(name, *says)
        message = json.dumps({"code": code, "problem": problem, "log": None}) if problem else ""
        cluster.end(name, code, message, reason)

    return play


def becomes(**status: Any) -> Play:
    """A pod whose status becomes so."""
    return lambda cluster, pod: cluster.change(pod["metadata"]["name"], **status)


def waits(reason: str, message: str = "") -> Play:
    """A pod whose container waits so."""
    return lambda cluster, pod: cluster.wait(pod["metadata"]["name"], reason, message)


def failure(stage: Stage, inputs: dict[str, Made], **settings: str) -> DispatchError:
    """The error with which the step ends."""
    with pytest.raises(DispatchError) as error:
        run(stage.dispatcher(pace=BRISK, **settings), STEP, inputs)
    return error.value
