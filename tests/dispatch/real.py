"""
A real cluster for tests, a file service that its pods reach, and releases of cores in small.

The cluster is that of ``../shared/cluster``, started here if it is not up; or the one that
``CBNG_TEST_KUBECONFIG`` names, with ``CBNG_CLUSTER_HOST`` the address at which its pods reach this
machine and ``CBNG_TEST_IMAGE`` an image that ``toolforge/image`` made, by digest.
"""

import io
import os
import re
import signal
import subprocess
import tarfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cbngtrain.dispatch.cluster import Cluster
from cbngtrain.image import Image
from tests.conftest import PROGRAMS, ROOT, SHARED
from tests.dispatch.engine_image import engine_image

_ENV = dict(os.environ)  # noqa: TID251 - the tests' own
_UP = SHARED / "cluster" / "up"
_STATE = Path(_ENV.get("CBNG_CLUSTER_DIR", "/var/cache/cbng-cluster"))


@dataclass(frozen=True)
class Real:
    """
    A cluster that runs pods.

    Attributes:
        kubeconfig: The tool's.
        host: Where its pods reach this machine.
        image: What they run in: bash, coreutils, curl and python3, with the engine.
        admin: The administrator's kubeconfig, if there is one.
        run: Where the process ids of its parts are, if they are ours to stop.
    """

    kubeconfig: str
    host: str
    image: Image
    admin: str = ""
    run: Path | None = None

    @property
    def is_ours(self) -> bool:
        """Whether its parts may be stopped."""
        return self.run is not None

    def cluster(self) -> Cluster:
        """A client of it."""
        return Cluster(self.kubeconfig, "")

    def kubectl(self, *words: str) -> None:
        """Do something as the administrator."""
        subprocess.run(["kubectl", "--kubeconfig", self.admin, *words], check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip

    @contextmanager
    def without_api(self) -> Iterator[None]:
        """Stop the API server while the block runs; start it again as it was."""
        assert self.run
        path = self.run / "apiserver"
        pid = int(path.read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[:-1]
        os.kill(pid, signal.SIGKILL)  # asked to stop it would wait for every watch to end
        try:
            _wait_for_end(pid)
            yield
        finally:
            path.write_text(_started(command, self.run.parent / "log" / "apiserver"))


def _started(command: list[str], log: Path) -> str:
    """Start what outlives the tests, as ``up`` does; return its process id."""
    script = 'setsid "$@" </dev/null >>"$0" 2>&1 & echo "$!"'
    return subprocess.run(
        ["bash", "-c", script, log, *command], check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def _wait_for_end(pid: int) -> None:
    for _ in range(300):
        if not Path(f"/proc/{pid}").exists() or _is_zombie(pid):
            return
        threading.Event().wait(0.1)
    raise TimeoutError(pid)


def _is_zombie(pid: int) -> bool:
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True


@contextmanager
def real_cluster() -> Iterator[Real]:
    """Give a cluster; skip, saying why, where there is none."""
    if kubeconfig := _ENV.get("CBNG_TEST_KUBECONFIG"):
        host, image = _ENV.get("CBNG_CLUSTER_HOST"), _ENV.get("CBNG_TEST_IMAGE")
        if not host or not image:
            pytest.skip("CBNG_TEST_KUBECONFIG needs CBNG_CLUSTER_HOST and CBNG_TEST_IMAGE")
        yield Real(kubeconfig, host, Image.parse(image))
        return
    if not _UP.exists():
        pytest.skip("../shared/cluster is not here, and CBNG_TEST_KUBECONFIG is not set")
    if os.geteuid():
        pytest.skip("../shared/cluster needs root")
    was_up = _is_up()
    told = dict(re.findall(r"(\w+)=(\S+)", _up()))
    try:
        made = Image.parse(_ENV.get("CBNG_TEST_IMAGE") or engine_image())
        yield Real(
            told["KUBECONFIG"], told["CBNG_CLUSTER_HOST"], made, told["CBNG_CLUSTER_ADMIN"],
            _STATE / "run",
        )  # fmt: skip
    finally:
        if not was_up:
            subprocess.run([_UP.with_name("down")], check=False)


def _up() -> str:
    """Start what is not up; return what it prints. What stands already trips it now and then."""
    for _ in range(5):
        ended = subprocess.run([_UP], check=False, capture_output=True, text=True)
        if ended.returncode == 0:
            _give_bridge_its_address()
            return ended.stdout
    raise RuntimeError(f"{_UP}: {ended.stderr}")


def _give_bridge_its_address() -> None:
    """
    Give the bridge to which pods are tied an address of its own, which stays.

    Else it has that of one of its pods, so another one whenever a pod comes or goes; those that
    are there send to the old one, and for up to 80 seconds do not reach this machine.
    """
    bridge = ["ip", "link", "set", "dev", "cbng0", "address", "02:00:00:00:00:01"]
    subprocess.run(bridge, check=True)


def _is_up() -> bool:
    """Return whether somebody has started the cluster already."""
    try:
        os.kill(int((_STATE / "run" / "apiserver").read_text()), 0)
    except (OSError, ValueError):
        return False
    return True


SNIPPET = "#!/bin/bash\nmkdir -p data\n. ./edits.xml\n"
"""A core whose command does what its input says."""


def toy_core(seconds: float) -> str:
    """The core in small, each command of which takes so long."""
    toy = (ROOT / "tests" / "toy_core.py").read_text(encoding="utf-8")
    return f"#!/usr/bin/python3 -I\nimport time\ntime.sleep({seconds})\n{toy}"


@dataclass
class Releases:
    """
    A server of core releases.

    Attributes:
        programs: Release → the text of all its programs.
        fetched: Release → how many pods have fetched it.
    """

    host: str
    programs: Mapping[str, str]
    fetched: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        releases = self
        lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                """Say nothing."""

            def do_GET(self) -> None:
                release, _, name = self.path.strip("/").partition("/")
                text = releases.programs.get(release)
                if text is None or name not in {*PROGRAMS, "conf.tar.gz"}:
                    self.send_error(404)
                    return
                if name == "conf.tar.gz":
                    with lock:
                        releases.fetched[release] = releases.fetched.get(release, 0) + 1
                body = _conf() if name == "conf.tar.gz" else text.encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._server = ThreadingHTTPServer((self.host, 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()

    @property
    def url(self) -> str:
        """Where the releases are."""
        return f"http://{self.host}:{self._server.server_address[1]}"

    def stop(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()


def _conf() -> bytes:
    """A configuration as releases have it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        content = b"chains: {};\n"
        info = tarfile.TarInfo("conf/cluebotng.conf")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return out.getvalue()
