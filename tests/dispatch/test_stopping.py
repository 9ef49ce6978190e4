"""Stopping while a pod of a fake cluster runs."""

import threading
from dataclasses import replace

import pytest

from cbngtrain.dispatch import stopping
from cbngtrain.dispatch.deadline import Deadline
from cbngtrain.dispatch.pods import PodDispatcher
from cbngtrain.errors import (
    DispatchError,
)
from cbngtrain.step import Made, fingerprint
from tests.conftest import wait_until
from tests.dispatch.conftest import BRISK, Stage
from tests.dispatch.plays import (
    STEP,
    run,
)

pytestmark = pytest.mark.slow  # a second each; together, a minute


def running(stage: Stage, dispatcher: PodDispatcher, inputs: dict[str, Made]) -> list[str]:
    """Start the step in a thread, wait until its pod runs; what the thread says at its end."""
    said: list[str] = []

    def target() -> None:
        try:
            run(dispatcher, STEP, inputs)
        except DispatchError as error:
            said.append(str(error))

    stage.cluster.play = lambda cluster, pod: cluster.run(pod["metadata"]["name"])
    threading.Thread(target=target, daemon=True).start()
    wait_until(lambda: bool(stage.cluster.created))
    wait_until(lambda: bool(dispatcher.stopping.attended))
    return said


def test_stopping_leaves_pods_running(stage: Stage):
    """Nothing is deleted, and nobody waits on."""
    dispatcher = stage.dispatcher()
    said = running(stage, dispatcher, stage.inputs())

    dispatcher.stopping.begin()
    wait_until(lambda: bool(said))
    dispatcher.stopping.leave()

    assert said == ["snippet:alpha is not waited for: the build is stopping"]
    assert len(stage.cluster.pods()) == 1


def test_second_interrupt_deletes_the_pods(stage: Stage, capsys: pytest.CaptureFixture[str]):
    """Who presses Ctrl-C twice means it."""
    dispatcher = stage.dispatcher()
    said = running(stage, dispatcher, stage.inputs())

    dispatcher.stopping.interrupt()
    dispatcher.stopping.begin()
    wait_until(lambda: bool(said))
    dispatcher.stopping.interrupt()
    dispatcher.stopping.leave()

    assert stage.cluster.pods() == []
    assert "is deleted" in capsys.readouterr().err


def test_first_interrupt_waits_for_a_second_and_says_so(
    stage: Stage, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """After some seconds it is too late."""
    monkeypatch.setattr(stopping, "FAREWELL", 0.2)
    dispatcher = stage.dispatcher()
    running(stage, dispatcher, stage.inputs())

    dispatcher.stopping.interrupt()
    dispatcher.stopping.begin()
    dispatcher.stopping.leave()

    assert len(stage.cluster.pods()) == 1
    assert "Ctrl-C again within" in capsys.readouterr().err


def test_nothing_is_begun_while_stopping(stage: Stage):
    """A step that comes late makes no pod."""
    dispatcher = stage.dispatcher()
    dispatcher.stopping.begin()

    with pytest.raises(DispatchError, match="the build is stopping"):
        run(dispatcher, STEP, stage.inputs())
    assert stage.cluster.created == []


def test_deadline_leaves_the_rest_to_the_next_build(stage: Stage):
    """The build ends in time, its pods go on."""
    now = [0.0]
    deadline = Deadline(100, clock=lambda: now[0])
    dispatcher = stage.dispatcher(pace=replace(BRISK, deadline=deadline))
    said = running(stage, dispatcher, stage.inputs())

    now[0] = 101.0
    wait_until(lambda: bool(said))

    assert "left to the next build, which finds its pod: CBNG_DEADLINE is over" in said[0]
    assert len(stage.cluster.pods()) == 1


def test_step_that_could_not_end_in_time_is_not_begun(stage: Stage):
    """By the time it took before."""
    before = stage.inputs("before")
    stage.leave_record(STEP, before)
    key = fingerprint(STEP, before)
    record = stage.store.find(key)
    assert record
    stage.store.forget(key)
    stage.store.keep(replace(record, about={"seconds": 50.0}))
    stage.store.set_head("alpha", {"steps": {"snippet": {"fingerprint": key}}})
    deadline = Deadline(100, clock=iter([0.0, *[60.0] * 1000]).__next__)
    dispatcher = stage.dispatcher(pace=replace(BRISK, deadline=deadline))

    with pytest.raises(DispatchError, match="it took 50 s before, and CBNG_DEADLINE leaves 40 s"):
        run(dispatcher, STEP, stage.inputs("now"))
    assert stage.cluster.created == []
