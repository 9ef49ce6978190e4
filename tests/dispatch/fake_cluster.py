"""
Kubernetes' API as far as pods need it, over HTTP, with faults to order.

What it answers is held against a real cluster by ``test_cluster.py``, which runs over both. It has
no node: what becomes of a pod is told by `FakeCluster.play`, a function that is called in a
thread for each pod and calls `run`, `end` and `log`.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

Json = dict[str, Any]
NAMESPACE = "tool-fake"

_POD = re.compile(rf"/api/v1/namespaces/{NAMESPACE}/pods(?:/([a-z0-9.-]+)(/log)?)?")
_OTHER = re.compile(rf"/api/v1/namespaces/{NAMESPACE}/(resourcequotas|limitranges)")


@dataclass
class Fault:
    """What goes wrong with the next requests."""

    matches: Callable[[str, str], bool]  # method, path with query
    times: int
    status: int = 0  # answered; 0 closes the connection without an answer
    hang: float = 0.0  # seconds before that
    message: str = "as ordered"


@dataclass
class FakeCluster:
    """
    The API server of a cluster without nodes.

    Attributes:
        play: What becomes of a pod.
        quota: Hard limits, as Kubernetes writes them.
        limits: Of one container.
        requests: Method and path of all that was asked, in order.
        created: Every pod that was made, as it was asked for.
        is_silent: Whether watches send nothing, as over a connection that broke unnoticed.
    """

    play: Callable[["FakeCluster", Json], None] = lambda _cluster, _pod: None
    quota: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    created: list[Json] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    is_silent: bool = False

    def __post_init__(self) -> None:
        self._pods: dict[str, Json] = {}
        self._logs: dict[str, list[bytes]] = {}
        self._events: list[tuple[int, str, Json]] = []
        self._version = 100
        self._oldest = 0
        self._epoch = 0  # watches of an earlier one end
        self._changed = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self._server.daemon_threads = True

    def start(self, directory: Path) -> str:
        """Serve; return the path of a kubeconfig."""
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        path = directory / "kubeconfig"
        config = {
            "apiVersion": "v1", "kind": "Config", "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": self.url}}],
            "users": [{"name": "fake", "user": {"token": "fake"}}],
            "contexts": [{"name": "fake", "context": {
                "cluster": "fake", "user": "fake", "namespace": NAMESPACE}}],
        }  # fmt: skip
        path.write_text(json.dumps(config), encoding="ascii")
        return str(path)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        """Serve no more."""
        self.cut()
        self._server.shutdown()
        self._server.server_close()

    # Faults

    def fail(self, times: int, status: int = 0, *, hang: float = 0.0, path: str = "",
             method: str = "", message: str = "as ordered") -> None:  # fmt: skip
        """Answer the next requests that match with *status*, or not at all."""

        def matches(verb: str, where: str) -> bool:
            return path in where and method in {"", verb}

        self.faults.append(Fault(matches, times, status, hang, message))

    def cut(self) -> None:
        """End all watches and logs that are followed."""
        with self._changed:
            self._epoch += 1
            self._changed.notify_all()

    def babble(self) -> None:
        """Send all watches something that is no event of a pod."""
        with self._changed:
            self._version += 1
            self._events.append((self._version, "ODD", {"metadata": {"labels": {
                "app.kubernetes.io/part-of": "cbngtrain"}}}))  # fmt: skip
            self._changed.notify_all()

    def compact(self) -> None:
        """Forget what has happened: watches from before are answered 410."""
        with self._changed:
            self._oldest = self._version + 1
            self._version += 1
            self._events.clear()

    # Pods

    def pod(self, name: str) -> Json | None:
        """The pod as it is."""
        with self._changed:
            return deepcopy(self._pods.get(name))

    def pods(self) -> list[Json]:
        """All pods as they are."""
        with self._changed:
            return [deepcopy(pod) for pod in self._pods.values()]

    def change(self, name: str, **status: Any) -> None:
        """Change parts of a pod's status."""
        with self._changed:
            if name in self._pods:
                self._pods[name]["status"].update(status)
                self._note("MODIFIED", name)

    def run(self, name: str) -> None:
        """Its container runs."""
        state = {"running": {"startedAt": _now()}}
        self.change(name, phase="Running", containerStatuses=[_container(state)])

    def wait(self, name: str, reason: str, message: str = "") -> None:
        """Its container waits."""
        state = {"waiting": {"reason": reason, "message": message}}
        self.change(name, phase="Pending", containerStatuses=[_container(state)])

    def end(self, name: str, code: int, message: str = "", reason: str = "") -> None:
        """Its container ends."""
        why = reason or ("Completed" if code == 0 else "Error")
        state = {"terminated": {"exitCode": code, "reason": why, "message": message}}
        phase = "Succeeded" if code == 0 else "Failed"
        self.change(name, phase=phase, containerStatuses=[_container(state)])

    def remove(self, name: str) -> None:
        """It is gone."""
        with self._changed:
            if name in self._pods:
                self._note("DELETED", name)
                del self._pods[name]

    def log(self, name: str, *lines: str, at: str = "") -> None:
        """It prints, at a given time perhaps."""
        with self._changed:
            stamps = (f"{at or _now(digits=9)} {line}\n".encode() for line in lines)
            self._logs.setdefault(name, []).extend(stamps)
            self._changed.notify_all()

    def _note(self, kind: str, name: str) -> None:
        self._version += 1
        self._pods[name]["metadata"]["resourceVersion"] = str(self._version)
        self._events.append((self._version, kind, deepcopy(self._pods[name])))
        self._changed.notify_all()

    # Requests: each returns a status and an object

    def create(self, pod: Json) -> tuple[int, Json]:
        """POST of a pod."""
        name = pod["metadata"].get("name", "")
        if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", name):
            return _refusal(422, "Invalid", f'Pod "{name}" is invalid: metadata.name')
        with self._changed:
            if name in self._pods:
                return _refusal(409, "AlreadyExists", f'pods "{name}" already exists')
            if told := self._beyond_quota(pod):
                return _refusal(403, "Forbidden", f'pods "{name}" is forbidden: {told}')
            pod["metadata"].update(uid=str(uuid4()), creationTimestamp=_now(), namespace=NAMESPACE)
            pod["status"] = {"phase": "Pending"}
            self._pods[name] = pod
            self._note("ADDED", name)
            made = deepcopy(pod)
            self.created.append(made)
        threading.Thread(target=self.play, args=(self, made), daemon=True).start()
        return 201, made

    def _beyond_quota(self, pod: Json) -> str:
        """What a real API says of a pod for which the quota has no room, or nothing."""
        running = [each for each in self._pods.values()
                   if each["status"]["phase"] not in {"Succeeded", "Failed"}]  # fmt: skip
        if "pods" in self.quota and len(running) >= int(self.quota["pods"]):
            return f"exceeded quota: fake, requested: pods=1, used: pods={len(running)}"
        if hard := self.quota.get("limits.memory"):
            asked = sum(map(_memory, [*running, pod]))
            if asked > int(hard.removesuffix("Mi")):
                return f"exceeded quota: fake, requested: limits.memory={_memory(pod)}Mi"
        return ""

    def delete(self, name: str, body: Json) -> tuple[int, Json]:
        """DELETE of a pod: at once, since there is no node that must be told."""
        pod = self._pods.get(name)
        if pod is None:
            return _refusal(404, "NotFound", f'pods "{name}" not found')
        uid = (body.get("preconditions") or {}).get("uid")
        if uid not in {None, pod["metadata"]["uid"]}:
            return _refusal(409, "Conflict", f"Precondition failed: UID in precondition: {uid}")
        self.remove(name)
        return 200, pod

    def objects(self, kind: str) -> Json:
        """Quotas, or limits."""
        if kind == "resourcequotas":
            return {"items": [{"spec": {"hard": dict(self.quota)}}] if self.quota else []}
        limit = {"type": "Container", "max": dict(self.limits)}
        return {"items": [{"spec": {"limits": [limit]}}] if self.limits else []}

    def listing(self, selector: str) -> Json:
        """A list of pods and its version."""
        with self._changed:
            pods = [deepcopy(pod) for pod in self._pods.values() if _is_selected(pod, selector)]
            return {"metadata": {"resourceVersion": str(self._version)}, "items": pods}

    def watch(self, version: int, selector: str, seconds: float, send: Callable[[bytes], None]
              ) -> None:  # fmt: skip
        """Send events after *version*."""
        end, epoch = time.monotonic() + seconds, self._epoch
        if version < self._oldest:
            send(_event("ERROR", _refusal(410, "Expired", "too old resource version")[1]))
            return
        while time.monotonic() < end and epoch == self._epoch:
            with self._changed:
                found = [event for event in self._events if event[0] > version]
                if not found:
                    self._changed.wait(min(end - time.monotonic(), 0.2))
            for at, kind, pod in found:
                version = at
                if not self.is_silent and _is_selected(pod, selector):
                    send(_event(kind, pod))

    def stream_log(self, name: str, follow: bool, send: Callable[[bytes], None]  # noqa: FBT001
                   ) -> None:  # fmt: skip
        """Send the lines of a log, and further ones until the pod ends."""
        sent, epoch = 0, self._epoch
        while True:
            with self._changed:
                lines = self._logs.get(name, [])[sent:]
                phase = self._pods.get(name, {}).get("status", {}).get("phase", "gone")
                if not lines and follow and phase in {"Pending", "Running"}:
                    if epoch != self._epoch:
                        return
                    self._changed.wait(0.2)
                    continue
            for line in lines:
                send(line)
            sent += len(lines)
            if not lines:
                return


class _Handler(BaseHTTPRequestHandler):
    """A connection to *cluster*."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # who asks need not wait 40 ms for a body

    def __init__(self, cluster: FakeCluster, *connection: Any) -> None:
        self._cluster = cluster
        super().__init__(*connection)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        if self._is_spoilt():
            return
        at = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(at.query).items()}
        if match := _OTHER.fullmatch(at.path):
            self._answer(200, self._cluster.objects(match[1]))
            return
        match = _POD.fullmatch(at.path)
        name, is_log = (match[1], match[2]) if match else ("", None)
        if match and not name:
            self._list(query)
        elif match and (pod := self._cluster.pod(name)):
            if is_log:
                follow = query.get("follow") in {"true", "True"}
                self._stream(lambda send: self._cluster.stream_log(name, follow, send))
            else:
                self._answer(200, pod)
        else:
            self._answer(*_refusal(404, "NotFound", f'pods "{name}" not found'))

    def _list(self, query: Mapping[str, str]) -> None:
        selector = query.get("labelSelector", "")
        if query.get("watch") in {"true", "True"}:
            version = int(query.get("resourceVersion", "0"))
            seconds = float(query.get("timeoutSeconds", "60"))
            self._stream(lambda send: self._cluster.watch(version, selector, seconds, send))
        else:
            self._answer(200, self._cluster.listing(selector))

    def do_POST(self) -> None:
        body = self._body()
        if not self._is_spoilt():
            self._answer(*self._cluster.create(body))

    def do_DELETE(self) -> None:
        body = self._body()
        match = _POD.fullmatch(urlsplit(self.path).path)
        if not self._is_spoilt():
            self._answer(*self._cluster.delete(match[1] if match else "", body))

    def _body(self) -> Json:
        length = int(self.headers.get("Content-Length") or 0)
        value: Json = json.loads(self.rfile.read(length) or b"{}")
        return value

    def _is_spoilt(self) -> bool:
        self._cluster.requests.append(f"{self.command} {self.path}")
        for fault in self._cluster.faults:
            if fault.times > 0 and fault.matches(self.command, self.path):
                fault.times -= 1
                time.sleep(fault.hang)
                if fault.status:
                    self._answer(*_refusal(fault.status, "Fault", fault.message))
                self.close_connection = True
                return True
        return False

    def _answer(self, status: int, value: Json) -> None:
        body = json.dumps(value).encode()
        with suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def _stream(self, fill: Callable[[Callable[[bytes], None]], None]) -> None:
        def send(piece: bytes) -> None:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()

        with suppress(OSError):
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            fill(send)
            self.wfile.write(b"0\r\n\r\n")


def _refusal(status: int, reason: str, message: str) -> tuple[int, Json]:
    return status, {
        "kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": status,
    }  # fmt: skip


def _event(kind: str, value: Json) -> bytes:
    return json.dumps({"type": kind, "object": value}).encode() + b"\n"


def _container(state: Json) -> Json:
    return {"name": "step", "state": state}


def _is_selected(pod: Json, selector: str) -> bool:
    labels = pod["metadata"].get("labels") or {}
    wanted = [term.split("=", 1) for term in selector.split(",") if term]
    return all(labels.get(name) == value for name, value in wanted)


def _memory(pod: Json) -> int:
    limits = pod["spec"]["containers"][0].get("resources", {}).get("limits", {})
    return int(limits.get("memory", "0Mi").removesuffix("Mi"))


def _now(digits: int = 0) -> str:
    now = datetime.now(UTC)
    fraction = f".{now.microsecond * 1000:09d}"[: digits + 1] if digits else ""
    return f"{now:%Y-%m-%dT%H:%M:%S}{fraction}Z"
