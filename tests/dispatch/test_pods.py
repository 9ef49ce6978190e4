"""Steps as pods: every decision, on a fake cluster whose HTTP is a real one's."""

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cbngtrain.dispatch import pods
from cbngtrain.dispatch.deadline import Deadline
from cbngtrain.dispatch.manifest import pod_name
from cbngtrain.dispatch.pods import PodDispatcher
from cbngtrain.errors import (
    BlobNotFound,
    DispatchError,
    SettingsError,
    StepFailed,
    StepTimedOut,
)
from cbngtrain.step import Made, Step, fingerprint
from tests.conftest import wait_until
from tests.dispatch.conftest import BRISK, CORE, TOKEN, Stage, inputs_of, key_of, step_of, text_of
from tests.dispatch.fake_cluster import FakeCluster, Json

Play = Callable[[FakeCluster, Json], None]

pytestmark = pytest.mark.slow  # a second each; together, a minute

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


# Success


def test_step_that_leaves_its_record_is_done(stage: Stage, caplog: pytest.LogCaptureFixture):
    """A pod is made, its log passed on, its record found; and then it is deleted."""
    inputs = stage.inputs()
    stage.cluster.play = stage.succeed(STEP, inputs)

    run(stage.dispatcher(), STEP, inputs)

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


# Once more


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


# Attaching


def other_pod(stage: Stage, inputs: dict[str, Made], **annotations: str) -> str:
    """A pod that an earlier coordinator made; its name."""
    name = name_of(STEP, inputs)
    key = fingerprint(STEP, inputs)
    metadata = {
        "name": name,
        "labels": {"app.kubernetes.io/part-of": "cbngtrain"},
        "annotations": {"cbngtrain/fingerprint": key, **annotations},
    }
    stage.cluster.create({"metadata": metadata, "spec": {"containers": [{}]}})
    return name


def test_running_pod_is_attached_to(stage: Stage, caplog: pytest.LogCaptureFixture):
    """What a killed coordinator began is waited for; nothing is made twice."""
    inputs = stage.inputs()
    name = other_pod(stage, inputs)
    stage.cluster.run(name)
    thread = threading.Thread(target=run, args=(stage.dispatcher(), STEP, inputs))
    thread.start()
    wait_until(lambda: "attaching to pod" in caplog.text)

    stage.leave_record(STEP, inputs)
    stage.cluster.end(name, 0)
    thread.join(10)

    assert not thread.is_alive()
    assert len(stage.cluster.created) == 1


def test_failed_pod_is_never_attached_to(stage: Stage):
    """What ended without a record is deleted and made again."""
    inputs = stage.inputs()
    name = other_pod(stage, inputs)
    stage.cluster.end(name, 82)
    stage.cluster.play = stage.succeed(STEP, inputs)

    run(stage.dispatcher(), STEP, inputs)

    assert len(stage.cluster.created) == 2


def test_pod_that_is_being_deleted_is_waited_for(stage: Stage):
    """Its name is free when it is gone."""
    inputs = stage.inputs()
    name = other_pod(stage, inputs)
    stage.cluster._pods[name]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    stage.cluster.play = stage.succeed(STEP, inputs)

    run(stage.dispatcher(), STEP, inputs)

    assert len(stage.cluster.created) == 2


def test_pod_of_another_fingerprint_is_let_be(stage: Stage):
    """A name that stands for something else is somebody's business."""
    inputs = stage.inputs()
    other_pod(stage, inputs, **{"cbngtrain/fingerprint": "0" * 64})

    error = failure(stage, inputs)

    assert "is for something else; `kubectl delete pod" in str(error)
    assert len(stage.cluster.pods()) == 1


def test_record_that_somebody_left_meanwhile_is_enough(stage: Stage):
    """A step that waited for its turn looks again before it makes a pod."""
    inputs = stage.inputs()
    stage.leave_record(STEP, inputs)

    run(stage.dispatcher(), STEP, inputs)

    assert stage.cluster.created == []


def test_two_coordinators_make_one_pod(stage: Stage):
    """Whoever comes second attaches; both are done when it is."""
    inputs = stage.inputs()
    gate = threading.Event()

    def play(cluster: FakeCluster, pod: Json) -> None:
        gate.wait(10)
        stage.succeed(STEP, inputs)(cluster, pod)

    stage.cluster.play = play
    threads = [threading.Thread(target=run, args=(stage.dispatcher(), STEP, inputs))
               for _ in range(2)]  # fmt: skip
    for thread in threads:
        thread.start()
    wait_until(lambda: sum("POST" in asked for asked in stage.cluster.requests) >= 1)
    gate.set()
    for thread in threads:
        thread.join(10)

    assert [thread.is_alive() for thread in threads] == [False, False]
    assert len(stage.cluster.created) == 1


# The API


@pytest.mark.parametrize("status", [500, 503, 429, 0])
def test_api_that_is_away_for_a_while(status: int, stage: Stage):
    """Requests are tried again; a POST whose answer was lost has made one pod."""
    inputs = stage.inputs()
    stage.cluster.play = stage.succeed(STEP, inputs)
    stage.cluster.fail(2, status)

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

    run(stage.dispatcher(), STEP, inputs)

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


# Quota


def test_quota_that_is_just_being_changed_is_asked_again(stage: Stage):
    """A 409 about the quota, as when many pods are made at once, is not one about the name."""
    inputs = stage.inputs()
    stage.cluster.play = stage.succeed(STEP, inputs)
    stage.cluster.fail(3, 409, method="POST")

    run(stage.dispatcher(), STEP, inputs)

    assert len(stage.cluster.created) == 1


def test_quota_that_others_use_up_is_waited_for(stage: Stage):
    """Not a failure: when somebody's pod ends, the step has its turn."""
    inputs = stage.inputs()
    stage.cluster.quota = {"pods": "1"}
    stage.cluster.create({"metadata": {"name": "somebody-s"}, "spec": {"containers": [{}]}})
    stage.cluster.play = stage.succeed(STEP, inputs)
    thread = threading.Thread(target=run, args=(stage.dispatcher(), STEP, inputs))
    thread.start()
    wait_until(lambda: any("resourcequotas" in asked for asked in stage.cluster.requests))
    assert len(stage.cluster.created) == 1

    stage.cluster.remove("somebody-s")
    thread.join(10)

    assert not thread.is_alive()
    assert len(stage.cluster.created) == 2


def test_refusal_for_want_of_quota_is_waited_out(stage: Stage):
    """A 403 that says `exceeded quota` is no failure and costs no try."""
    inputs = stage.inputs()
    stage.cluster.quota = {"pods": "1"}
    stage.cluster.create({"metadata": {"name": "somebody-s"}, "spec": {"containers": [{}]}})
    stage.cluster.play = stage.succeed(STEP, inputs)  # of the step's pod, not of somebody's
    stage.cluster.fail(1, 403, path="resourcequotas")  # so that only the refusal tells
    thread = threading.Thread(target=run, args=(stage.dispatcher(), STEP, inputs))
    thread.start()
    wait_until(lambda: any("POST" in asked for asked in stage.cluster.requests))
    assert len(stage.cluster.created) == 1

    stage.cluster.remove("somebody-s")
    thread.join(10)

    assert not thread.is_alive()
    assert len(stage.cluster.created) == 2


# Stopping


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
    wait_until(lambda: bool(dispatcher._attended))
    return said


def test_stopping_leaves_pods_running(stage: Stage):
    """Nothing is deleted, and nobody waits on."""
    dispatcher = stage.dispatcher()
    said = running(stage, dispatcher, stage.inputs())

    dispatcher.kill()
    wait_until(lambda: bool(said))
    dispatcher.leave()

    assert said == ["snippet:alpha is not waited for: the build is stopping"]
    assert len(stage.cluster.pods()) == 1


def test_second_interrupt_deletes_the_pods(stage: Stage, capsys: pytest.CaptureFixture[str]):
    """Who presses Ctrl-C twice means it."""
    dispatcher = stage.dispatcher()
    said = running(stage, dispatcher, stage.inputs())

    dispatcher.interrupt()
    dispatcher.kill()
    wait_until(lambda: bool(said))
    dispatcher.interrupt()
    dispatcher.leave()

    assert stage.cluster.pods() == []
    assert "is deleted" in capsys.readouterr().err


def test_first_interrupt_waits_for_a_second_and_says_so(
    stage: Stage, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """After some seconds it is too late."""
    monkeypatch.setattr(pods, "FAREWELL", 0.2)
    dispatcher = stage.dispatcher()
    running(stage, dispatcher, stage.inputs())

    dispatcher.interrupt()
    dispatcher.kill()
    dispatcher.leave()

    assert len(stage.cluster.pods()) == 1
    assert "Ctrl-C again within" in capsys.readouterr().err


def test_nothing_is_begun_while_stopping(stage: Stage):
    """A step that comes late makes no pod."""
    dispatcher = stage.dispatcher()
    dispatcher.kill()

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


# What is asked for


def test_settings_scale_what_a_pod_gets(stage: Stage):
    """Memory, CPU and time."""
    inputs = stage.inputs()
    stage.cluster.play = stage.succeed(STEP, inputs)

    run(
        stage.dispatcher(
            CBNG_MEMORY_SCALE="2.5", CBNG_CPU_SCALE="3", CBNG_STEP_TIMEOUT="10",
            CBNG_STORE_URL_IN_PODS="http://store.example:8000",
        ),
        STEP, inputs,
    )  # fmt: skip

    (pod,) = stage.cluster.created
    container = pod["spec"]["containers"][0]
    assert container["resources"]["limits"] == {"cpu": "300m", "memory": "320Mi"}
    assert pod["spec"]["activeDeadlineSeconds"] == 10 + BRISK.transfer
    assert "store=http://store.example:8000" in container["command"][2]
    assert "limit=10" in container["command"][2]


def test_image_s_own_core_needs_no_volume(stage: Stage):
    """The core's image has its programs in its workspace; a release needs an empty one."""
    of_image, of_release = step_of("alpha", "image"), step_of("beta")
    inputs = stage.inputs()
    dispatcher = stage.dispatcher(of_image, of_release)
    for step in (of_image, of_release):
        stage.cluster.play = stage.succeed(step, inputs)
        run(dispatcher, step, inputs)

    first, second = (pod["spec"] for pod in stage.cluster.created)
    assert "volumes" not in first
    assert second["volumes"] == [{"name": "workspace", "emptyDir": {}}]
    assert {first["containers"][0]["image"], second["containers"][0]["image"]} == {CORE.pinned}


def test_configuration_travels_as_blobs(stage: Stage, tmp_path: Path):
    """A changed one is refused; an unchanged one is stored, file by file."""
    from cbngtrain.dispatch.local import conf_digest  # noqa: PLC0415 - only here

    conf = tmp_path / "conf"
    (conf / "sub").mkdir(parents=True)
    (conf / "sub" / "a.conf").write_text("a: 1;\n")
    recipe = replace(STEP.recipe, reads_conf=True)
    step = replace(STEP, recipe=recipe, conf=conf_digest(conf))
    inputs = stage.inputs()
    stage.cluster.play = stage.succeed(step, inputs)
    dispatcher = stage.dispatcher(step, CBNG_CORE_CONF=str(conf))

    run(dispatcher, step, inputs)

    (pod,) = stage.cluster.created
    assert "conf=(sub/a.conf " in pod["spec"]["containers"][0]["command"][2]
    (conf / "sub" / "a.conf").write_text("a: 2;\n")
    with pytest.raises(DispatchError, match="has changed since the build began"):
        run(dispatcher, step, stage.inputs("other"))


def test_kubeconfig_that_cannot_be_used(stage: Stage, tmp_path: Path):
    """Settings that lead nowhere are told by name, and TLS is not optional."""
    with pytest.raises(SettingsError, match="KUBECONFIG='/nowhere'"):
        replace(stage, kubeconfig="/nowhere").dispatcher()
    config = json.loads(Path(stage.kubeconfig).read_text())
    config["clusters"][0]["cluster"]["insecure-skip-tls-verify"] = True
    path = tmp_path / "insecure"
    path.write_text(json.dumps(config))
    with pytest.raises(SettingsError, match="does not have the cluster verified"):
        replace(stage, kubeconfig=str(path)).dispatcher()


def test_nothing_waits_long(stage: Stage):
    """From the pod's end to the record there is no poll: the watch tells at once."""
    inputs = stage.inputs()
    stage.cluster.play = stage.succeed(STEP, inputs)
    dispatcher = stage.dispatcher(pace=replace(BRISK, poll=60, look=5))
    began = time.monotonic()

    run(dispatcher, STEP, inputs)

    assert time.monotonic() - began < 5
