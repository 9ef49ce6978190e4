"""What a pod's script stores after the command: refused uploads, lost blobs, an absent service."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import wait_until
from tests.dispatch.places import PATH, STEP, WELL, Pod, failed
from tests.web.conftest import serving

pytestmark = pytest.mark.slow  # each runs a step to its end


def test_token_that_is_refused(pod: Pod):
    """An upload without the right token: 84, with what the service said."""
    pod.program("cluebotng", WELL)

    ended = pod.run(STEP, env={"FILE_API_KEY": "wrong"})

    assert failed(ended) == (84, 0)
    assert " 401 " in ended.told["problem"]
    assert ended.told["log"] is None


def test_failure_is_told_where_its_log_is_refused(pod: Pod):
    """A command that failed has failed, even if its log cannot be stored."""
    pod.program("cluebotng", "exit 3")

    ended = pod.run(STEP, env={"FILE_API_KEY": ""})

    assert (failed(ended), ended.told["log"]) == ((82, 3), None)


@pytest.mark.parametrize(
    ("env", "status"),
    [
        pytest.param({"CBNG_MAX_UPLOAD": "100000"}, 413, marks=pytest.mark.slow),
        ({"CBNG_KEEP_FREE": str(2**50)}, 507),
    ],
    ids=["too large", "disk full"],
)
def test_upload_that_is_refused(tmp_path: Path, env: dict[str, str], status: int):
    """A blob too large for the service, or a service whose disk is full: 84, with the reason."""
    (tmp_path / "store").mkdir()
    with serving(tmp_path / "store", env) as service:
        pod = Pod(tmp_path, service)
        large = "yes '0 a' | head -n 1000000 >>data/two_bayes_train.dat"
        pod.program("cluebotng", f"{WELL}\n{large}")

        ended = pod.run(STEP)

    assert failed(ended) == (84, 0)
    assert f": {status} " in ended.told["problem"]
    assert pod.record(STEP) is None


def test_service_that_is_away_for_a_while(tmp_path: Path):
    """A file service that is gone when the command ends, and comes back: no harm."""
    (tmp_path / "store").mkdir()
    with serving(tmp_path / "store") as service:
        pod = Pod(tmp_path, service)
        pod.program(
            "cluebotng",
            f"touch {tmp_path}/begun\nuntil [[ -e {tmp_path}/go ]]; do sleep 0.05; done\n{WELL}",
        )
        process = pod.start(pod.script(STEP))
        wait_until((tmp_path / "begun").exists)
    (tmp_path / "go").touch()
    assert process.stdout
    said = iter(process.stdout.readline, "")
    assert any("trying again" in line for line in said)
    with serving(tmp_path / "store", port=service.port):
        ended = pod.ended(process)

    assert ended.code == 0
    assert pod.record(STEP)


def test_blobs_that_are_lost_are_uploaded_again(tmp_path: Path, pod: Pod):
    """A blob that is gone when the record comes is uploaded again, and the record is kept."""
    pod.program("cluebotng", WELL)
    spy = tmp_path / "bin"
    spy.mkdir()
    (spy / "curl").write_text(  # loses all that was uploaded, once, just before the record
        f'#!/bin/bash\nif [[ $* == *"PUT --header"*/ac/* && ! -e {tmp_path}/lost ]]; then\n'
        f"touch {tmp_path}/lost; rm -f {pod.service.root}/cas/*/*; fi\n"
        f'exec {shutil.which("curl")} "$@"\n',
        encoding="utf-8",
    )
    (spy / "curl").chmod(0o755)

    ended = pod.run(STEP, env={"PATH": f"{spy}:{PATH}"})

    assert (tmp_path / "lost").exists()
    assert "uploading them again (1)" in ended.out
    assert ended.code == 0
    assert pod.record(STEP)
