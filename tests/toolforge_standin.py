"""
A stand-in for Toolforge's API, over real TLS with client certificates.

It keeps a components configuration, deployments and environment variables of one tool, as the
platform's own services do, and misbehaves as told.
"""

import json
import ssl
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOOL = "cluebotng-trainer"
HANGS = -2
TOKEN = "0f0e1d2c-1111-2222-3333-444455556666"


@dataclass(frozen=True)
class Certificates:
    """Files of a certificate authority, and what it signed."""

    directory: Path

    @property
    def authority(self) -> Path:
        """What the server and the clients are verified by."""
        return self.directory / "ca.crt"

    def pair(self, name: str) -> tuple[Path, Path]:
        """Certificate and key of *name*."""
        return self.directory / f"{name}.crt", self.directory / f"{name}.key"


def make_certificates(directory: Path) -> Certificates:
    """Make an authority, a server's certificate for 127.0.0.1, and a tool's."""
    directory.mkdir(exist_ok=True)
    new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
           "-days", "2"]  # fmt: skip
    authority = ["-subj", "/CN=ca", "-addext", "keyUsage=critical,keyCertSign",
                 "-keyout", "ca.key", "-out", "ca.crt"]  # fmt: skip
    _openssl(directory, *new, *authority)
    for name, extension in (
        ("server", "subjectAltName=IP:127.0.0.1"),
        ("tool", "extendedKeyUsage=clientAuth"),
    ):
        signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-subj", f"/CN={name}",
                  "-addext", "basicConstraints=critical,CA:FALSE", "-addext", extension,
                  "-keyout", f"{name}.key", "-out", f"{name}.crt"]  # fmt: skip
        _openssl(directory, *new, *signed)
    return Certificates(directory)


def _openssl(directory: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=directory, check=True, capture_output=True)


@dataclass
class Standin:
    """
    The state of the stand-in.

    Attributes:
        course: Statuses that a deployment has one after the other, each time it is asked for.
        odd: What happens to the next requests instead: ``(method, end of the path)`` → statuses;
            0 drops the connection unanswered, -1 does so after the work was done, `HANGS` does
            nothing for a while.
        seen: Method and path of each request, without the query.
    """

    url: str = ""
    config: dict[str, Any] | None = None
    deployments: list[dict[str, Any]] = field(default_factory=list)
    envvars: dict[str, str] = field(default_factory=dict)
    course: tuple[str, ...] = ("pending", "running", "successful")
    odd: dict[tuple[str, str], deque[int]] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    queries: list[dict[str, list[str]]] = field(default_factory=list)
    courses: dict[str, deque[str]] = field(default_factory=dict)

    def fail(self, method: str, path: str, *statuses: int) -> None:
        """Have the next requests answered so."""
        self.odd[method, path] = deque(statuses)

    def begin(self, course: tuple[str, ...] | None = None) -> dict[str, Any]:
        """Begin a deployment."""
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{len(self.deployments):010d}"
        self.courses[name] = deque(course or self.course)
        deployment = {
            "deploy_id": name,
            "creation_time": name[:15],
            "builds": {"coordinator": {"build_id": "no-id-yet", "build_status": "pending"}},
            "runs": {"file-api": {"run_status": "pending", "run_long_status": ""}},
            "status": "pending",
            "long_status": "",
        }
        self.deployments.append(deployment)
        return deployment

    def look(self, deployment: dict[str, Any]) -> dict[str, Any]:
        """Take a deployment one step further."""
        course = self.courses[deployment["deploy_id"]]
        status = course.popleft() if len(course) > 1 else course[0]
        deployment["status"] = status
        part = {"timed_out": "failed"}.get(status, status)
        deployment["builds"]["coordinator"]["build_status"] = part
        deployment["runs"]["file-api"]["run_status"] = "pending" if part == "running" else part
        deployment["long_status"] = "pip says no" if part == "failed" else ""
        return deployment


class _Handler(BaseHTTPRequestHandler):
    state: Standin
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # who asks need not wait 40 ms for a body

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its base's name
        """Say nothing."""

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.state.seen.append(f"{self.command} {parts.path}")
        self.state.queries.append(query)
        odd = next(
            (
                statuses.popleft()
                for (method, end), statuses in self.state.odd.items()
                if method == self.command and parts.path.endswith(end) and statuses
            ),
            200,
        )
        if odd == HANGS:
            time.sleep(1)
        if odd in {0, HANGS}:
            self._hang_up()
        elif odd > 200:
            self._answer(odd, {"detail": f"told to fail with {query.get('token', [''])[0]}"})
        else:
            status, value = self._done(parts.path, query, body)
            if odd == -1:
                self._hang_up()
            else:
                self._answer(status, value)

    do_GET = _handle  # noqa: N815 - its base's name
    do_POST = _handle  # noqa: N815 - as above

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.close()

    def _answer(self, status: int, value: object) -> None:
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _done(self, path: str, query: dict[str, list[str]], body: bytes) -> tuple[int, object]:
        """Do what is asked, as the platform does."""
        connection = self.connection
        assert isinstance(connection, ssl.SSLSocket)
        is_tool = bool(connection.getpeercert())
        token = query.get("token", [""])[0]
        kind, _, rest = path.strip("/").partition(f"/v1/tool/{TOOL}/")
        takes_token = kind == "components" and rest.startswith("deployment")
        if not is_tool and not (takes_token and token == TOKEN):
            told = f"The token passed '{token}' does not match the tool's token"
            return 401, {"detail": told}
        name = rest.partition("/")[2]
        if kind == "envvars":
            return self._envvar(name, body)
        if rest == "config":
            return self._config(body)
        return self._deployment(name)

    def _config(self, body: bytes) -> tuple[int, object]:
        if self.command == "POST":
            config = json.loads(body)
            if config.get("config_version") != "v1beta1":
                problem = {"loc": ["body", "config_version"], "msg": "unknown", "type": "x"}
                return 422, {"detail": [problem]}
            self.state.config = config
        if self.state.config is None:
            return 404, {"detail": "No configuration"}
        return 200, {"data": self.state.config, "messages": {}}

    def _deployment(self, name: str) -> tuple[int, object]:
        state = self.state
        if self.command == "POST":
            if any(each["status"] in {"pending", "running"} for each in state.deployments):
                return 409, {"detail": "There's already 1 running, the limit is 1."}
            return 200, {"data": state.begin()}
        if not name:
            if not state.deployments:
                return 404, {"detail": "No deployments found"}
            return 200, {"data": {"deployments": state.deployments}}
        found = [each for each in state.deployments if each["deploy_id"] == name]
        return (200, {"data": state.look(found[0])}) if found else (404, {"detail": "gone"})

    def _envvar(self, name: str, body: bytes) -> tuple[int, object]:
        if self.command == "POST":
            told = json.loads(body)
            self.state.envvars[told["name"]] = told["value"]
            return 200, {"envvar": told}
        if name not in self.state.envvars:
            return 404, {"message": f"no {name}"}
        return 200, {"envvar": {"name": name, "value": self.state.envvars[name]}}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no news."""


@contextmanager
def toolforge(certificates: Certificates) -> Iterator[Standin]:
    """Serve a stand-in that knows nothing yet."""
    state = Standin()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"state": state}))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificates.pair("server"))
    context.load_verify_locations(certificates.authority)
    context.verify_mode = ssl.CERT_OPTIONAL
    server.socket = context.wrap_socket(server.socket, server_side=True)
    state.url = f"https://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
