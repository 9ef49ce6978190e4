"""Steps as pods of a fake cluster: made, attached to, or waited with."""

import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from cbngtrain.errors import (
    DispatchError,
    SettingsError,
)
from cbngtrain.step import Made, fingerprint
from tests.conftest import Site, wait_until
from tests.dispatch.conftest import BRISK, CORE, TOKEN, Stage, step_of
from tests.dispatch.fake_cluster import FakeCluster, Json
from tests.dispatch.plays import (
    STEP,
    failure,
    name_of,
    run,
)

pytestmark = pytest.mark.slow  # a second each; together, a minute


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


def test_pods_are_told_to_programs(stage: Stage, site: Site):
    """What `cbng-trainer pods` prints as JSON: whose pod, its state, why nobody needs it."""
    inputs = stage.inputs()
    name = other_pod(stage, inputs, **{"cbngtrain/edit-set": "alpha"})
    stage.cluster.end(name, 82)
    env = {"CBNG_CORE": "", "CBNG_DISPATCH": "pods", "CBNG_STORE_URL": "http://198.51.100.1:1",
           "CBNG_CORE_IMAGE": str(CORE), "FILE_API_KEY": TOKEN,
           "KUBECONFIG": stage.kubeconfig, "CBNG_LOG_LEVEL": "ERROR"}  # fmt: skip

    ended = site.run("cbng-trainer", "pods", "--prune", "--json", env=env)

    assert ended.status == 0, ended
    (row,) = json.loads(ended.out)
    assert row.pop("age") >= 0
    assert row == {
        "name": name, "step": "unknown:alpha", "fingerprint": fingerprint(STEP, inputs),
        "state": row["state"], "surplus": "ended", "deleted": True,
    }  # fmt: skip
    assert stage.cluster.pods() == []
