"""What a pod's script fetches before the command runs: inputs, a configuration, a release."""

import functools
import http.server
import re
import signal
import socket
import ssl
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dispatch.places import ENGINE, STEP, WELL, Pod, failed, recipe, step_of
from tests.toolforge_standin import make_certificates

pytestmark = pytest.mark.slow  # each runs a step to its end


def test_missing_input(pod: Pod):
    """An input that is not in the store: 80, and which it was."""
    pod.inputs(STEP)
    text = pod.script(STEP).replace(pod.inputs(STEP)["edits.xml"].artifact.digest, "0" * 64)

    ended = pod.ended(pod.start(text))

    assert failed(ended) == (80, None)
    assert "edits.xml could not be fetched" in ended.told["problem"]
    assert ": 404 " in ended.told["problem"]


def test_rotten_input(pod: Pod):
    """An input whose bytes have rotted: 81, and the service has taken it out."""
    step = step_of(recipe("bayes_db"))
    digest = pod.inputs(step)["data/main_bayes_train.dat"].artifact.digest
    path = pod.store.path(digest)
    text = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(text.replace(b"t", b"T"))

    ended = pod.run(step)

    assert failed(ended) == (81, None)
    assert f"other bytes than {digest}" in ended.told["problem"]
    assert not path.exists()


def test_service_that_stays_away(pod: Pod):
    """A file service that nobody hears of for as long as a request may wait: 80."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    ended = pod.run(STEP, store_url=url, patience=1)

    assert failed(ended) == (80, None)
    assert "trying again in 1 s" in ended.out


def test_sigterm_while_the_service_is_silent(pod: Pod):
    """It does so too while it waits for an answer that does not come."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = pod.start(
            pod.script(STEP, store_url=f"http://127.0.0.1:{listener.getsockname()[1]}")
        )
        listener.settimeout(20)
        line, _ = listener.accept()
        with line:
            process.send_signal(signal.SIGTERM)
            ended = pod.ended(process)

    assert ended.code == 143


def test_service_that_cannot_be_trusted(pod: Pod):
    """A certificate that nobody vouches for is refused at once, before anything is sent."""
    server, key = make_certificates(pod.path / "tls").pair("server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server, key)
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler
    ) as listener:
        listener.socket = context.wrap_socket(listener.socket, server_side=True)
        threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True).start()
        ended = pod.run(STEP, store_url=f"https://127.0.0.1:{listener.server_port}")
        listener.shutdown()

    assert failed(ended) == (80, None)
    assert "certificate" in ended.told["problem"]
    assert "trying again" not in ended.out


def test_configuration_as_an_input(pod: Pod):
    """A configuration that travels as an input replaces the image's whole ``conf/``."""
    (pod.workspace / "conf").mkdir()
    (pod.workspace / "conf" / "image.conf").touch()
    path = pod.path / "a.conf"
    path.write_text("own\n", encoding="utf-8")
    digest = pod.store.add(path)
    pod.program("cluebotng", f"find conf -type f -exec head {{}} +; {WELL}")

    ended = pod.run(STEP, conf={"a.conf": digest, "sub dir/b'.conf": digest})

    assert ended.code == 0
    log = pod.blob(ended.told["log"]).decode()
    assert sorted(re.findall("==> (.*) <==", log)) == ["conf/a.conf", "conf/sub dir/b'.conf"]
    assert log.count("own\n") == 2


@pytest.fixture
def releases(tmp_path: Path) -> Iterator[str]:
    """A page of core releases with one, v1.0.3, whose programs are the engine's."""
    folder = tmp_path / "releases" / "v1.0.3"
    folder.mkdir(parents=True)
    for path in (ENGINE / "bin").iterdir():
        text = f'#!/bin/bash\nexec {path} "$@"\n'
        (folder / path.name).write_text(text, encoding="utf-8")
    with tarfile.open(folder / "conf.tar.gz", "w:gz") as tar:
        tar.add(ENGINE / "conf", arcname="conf")
    handler = functools.partial(
        http.server.SimpleHTTPRequestHandler, directory=tmp_path / "releases"
    )
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_release_of_the_core(pod: Pod, releases: str):
    """Programs and configuration of a release are fetched into a workspace that has neither."""
    pod.workspace.rmdir()

    ended = pod.run(STEP, release=f"{releases}/v1.0.3")

    assert ended.code == 0, ended
    record = pod.record(STEP)
    assert record
    assert pod.blob(ended.told["log"]) == b"Processed 3 edits.\n"


def test_release_that_does_not_exist(pod: Pod, releases: str):
    """A release that is not there: 80, and which file."""
    ended = pod.run(STEP, release=f"{releases}/v9")

    assert failed(ended) == (80, None)
    assert f"{releases}/v9/cluebotng could not be fetched" in ended.told["problem"]
