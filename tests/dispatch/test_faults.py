"""Every fault on a real cluster."""

import secrets
import shutil
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cbngtrain.dispatch import manifest
from cbngtrain.errors import DispatchError, StepFailed, StepTimedOut
from cbngtrain.image import Image
from cbngtrain.step import fingerprint
from tests.conftest import wait_until
from tests.dispatch.conftest import PACE, TOKEN, Scene, text_of
from tests.dispatch.real import SNIPPET, Real, Releases
from tests.dispatch.registry_process import running_registry
from tests.dispatch.test_cluster import Both
from tests.web.conftest import serving

pytestmark = pytest.mark.cluster


GOOD = "echo hello; echo '# a table' > data/out.txt"


def test_step_in_a_real_pod(scene: Scene):
    """It leaves record and log, and its pod goes."""
    scene.run(GOOD)

    wait_until(lambda: scene.pods() == [], 120)
    assert scene.started == 1


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo boom; exit 3", "failed with exit code 3: boom; its log: http"),
        ("echo 'no table' > data/out.txt", "bad output: data/out.txt: is not a whole table"),
    ],
)
def test_failed_step(script: str, told: str, scene: Scene):
    """The command's code or the check, for good, with its log."""
    error = scene.refusal(script)

    assert isinstance(error, StepFailed)
    assert told in str(error)
    assert text_of(scene.store, error.log.rsplit("/", 1)[1]) is not None
    assert scene.started == 1


def test_command_that_takes_too_long(scene: Scene):
    """Its own time is up: 124."""
    error = scene.refusal("sleep 60", CBNG_STEP_TIMEOUT="2")

    assert isinstance(error, StepTimedOut)
    assert "no end after 2 s" in str(error)


def test_pod_that_takes_too_long(scene: Scene):
    """Kubernetes ends it: DeadlineExceeded; what it printed is kept."""
    error = scene.refusal("echo so far; sleep 60", pace=replace(PACE, transfer=-54))

    assert isinstance(error, StepTimedOut)
    assert "the whole pod had run out of time" in str(error)


EATS_150_MB = f"set -o pipefail; head -c 150000000 /dev/zero | tail | wc -c || exit 137; {GOOD}"


def test_out_of_memory_once(scene: Scene):
    """With twice as much it fits."""
    scene.run(EATS_150_MB)

    assert scene.started == 2


def test_out_of_memory_twice(scene: Scene):
    """Then it has failed, saying how much it had."""
    error = scene.refusal("head -c 900000000 /dev/zero | tail | wc -c")

    assert isinstance(error, StepFailed)
    assert "with 100 MiB and then 200 MiB (a pod may have 4096 MiB" in str(error)


def test_pod_deleted_while_it_runs(scene: Scene):
    """Somebody's `kubectl delete` costs a try."""

    def delete() -> None:
        scene.wait_for_run()
        for pod in scene.pods():
            scene.real.cluster().delete(pod)

    thread = threading.Thread(target=delete)
    thread.start()
    scene.run(f"[[ $(date +%s) -gt {int(time.time()) + 8} ]] || sleep 20; {GOOD}")
    thread.join()

    assert scene.started == 2


def test_image_that_does_not_exist(scene: Scene):
    """Told at once, and the pod does not stay."""
    if not (shutil.which("docker-registry") and scene.real.is_ours):
        pytest.skip("needs docker-registry beside the cluster")
    with running_registry(scene.path) as address:
        image = Image.parse(f"{address}/nobody/nothing@sha256:{'0' * 64}")
        error = scene.refusal(GOOD, image=image)

    assert "its image cannot be had" in str(error)
    assert "CBNG_CORE_IMAGE" in str(error)
    wait_until(lambda: scene.pods() == [], 120)


def test_secret_that_does_not_exist(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    """Told at once, with the command that makes it."""
    reference: Any = manifest.TOKEN["valueFrom"]
    monkeypatch.setitem(reference["secretKeyRef"], "name", "toolforge.envvar.v1.nobody")

    error = scene.refusal(GOOD)

    assert 'secret "toolforge.envvar.v1.nobody" not found' in str(error)
    assert "toolforge envvars create" in str(error)


def test_unschedulable(scene: Scene):
    """The scheduler's own words, after the settings' time."""
    if not scene.real.admin:
        pytest.skip("only an administrator can close a node")
    scene.real.kubectl("cordon", "localhost")
    try:
        error = scene.refusal(GOOD, CBNG_SCHEDULE_TIMEOUT="3")
    finally:
        scene.real.kubectl("uncordon", "localhost")

    assert "no node had room for it for" in str(error)
    assert "nodes are available" in str(error)


def test_quota_that_others_have_used_up(scene: Scene):
    """The step waits, and runs when they have gone."""
    cluster = scene.real.cluster()
    helper = Both(scene.real, cluster)
    others = []
    for _ in range(2):
        pod = helper.pod("sleep 400", of="somebody")
        pod["spec"]["containers"][0]["resources"] = {
            "limits": {"cpu": "50m", "memory": "4096Mi"},
            "requests": {"cpu": "50m", "memory": "100Mi"},
        }
        others.append(helper.create_when_there_is_room(pod))

    def leave() -> None:
        time.sleep(4)
        for pod in others:
            cluster.delete(pod)

    thread = threading.Thread(target=leave)
    thread.start()
    began = time.monotonic()
    scene.run(GOOD)
    thread.join()

    assert time.monotonic() - began > 4
    assert scene.started == 1


def test_api_server_restarted_during_the_watch(scene: Scene):
    """Pods go on without it; the watch is begun again; nothing is made twice."""
    if not scene.real.is_ours:
        pytest.skip("the API server of this cluster is not ours to stop")

    def restart() -> None:
        scene.wait_for_run()
        with scene.real.without_api():
            time.sleep(1)

    thread = threading.Thread(target=restart)
    thread.start()
    scene.run(f"sleep 6; {GOOD}")
    thread.join()

    assert scene.started == 1


def test_file_service_down_for_twenty_seconds(real: Real, tmp_path: Path,
                                              monkeypatch: pytest.MonkeyPatch):  # fmt: skip
    """Pod and coordinator wait for it; nothing is made twice."""
    monkeypatch.chdir(tmp_path)
    env = {"FILE_API_KEY": TOKEN, "CBNG_KEEP_FREE": "0"}
    releases = Releases(real.host, {"v1": SNIPPET})
    is_over = threading.Event()
    with ExitStack() as stack:
        stack.callback(releases.stop)
        stack.callback(is_over.set)
        first = stack.enter_context(ExitStack())
        service = first.enter_context(serving(tmp_path / "store", env, host=real.host))
        scene = Scene(real, service, releases, tmp_path, f"t-{secrets.token_hex(4)}")

        def interrupt() -> None:
            scene.wait_for_run()
            time.sleep(1)
            first.close()
            time.sleep(20)
            again = serving(tmp_path / "store", env, service.port, real.host)
            stack.enter_context(again)
            is_over.wait()  # the service dies with the thread that started it

        thread = threading.Thread(target=interrupt)
        thread.start()
        scene.run(f"sleep 3; {GOOD}")
    thread.join()

    assert scene.started == 1


def test_file_service_that_is_full(real: Real, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """507 is infrastructure: tried again, then told."""
    monkeypatch.chdir(tmp_path)
    env = {"FILE_API_KEY": TOKEN, "CBNG_KEEP_FREE": str(2**50)}
    releases = Releases(real.host, {"v1": SNIPPET})
    with serving(tmp_path / "store", env, host=real.host) as service:
        scene = Scene(real, service, releases, tmp_path, f"t-{secrets.token_hex(4)}")
        error = scene.refusal(GOOD)
        scene.clear()
    releases.stop()

    assert not isinstance(error, StepFailed)
    assert "was interrupted 4 times" in str(error)
    assert "507" in str(error)
    assert scene.started == 4


def test_two_coordinators_at_once(scene: Scene):
    """One pod for both, and both are done."""
    step, inputs = scene.step(), scene.inputs(f"sleep 2; {GOOD}")
    problems: list[BaseException] = []

    def run() -> None:
        try:
            scene.dispatcher(step).run(step, fingerprint(step, inputs), inputs)
        except DispatchError as error:
            problems.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert problems == []
    assert scene.started == 1
