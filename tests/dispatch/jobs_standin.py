"""
A stand-in for Toolforge's Jobs API, over HTTP, that really runs what its jobs run.

It knows one tool. A job is a process in a session of its own, with a workspace of its own; when it
has ended it is forgotten after a while, as the platform does. It misbehaves as told.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.conftest import ROOT
from tests.dispatch.places import PATH

TOOL = "cluebotng-trainer"
JOBS = f"/jobs/v1/tool/{TOOL}/jobs/"
FIELDS = {"name", "cmd", "imagename", "mount", "memory", "cpu", "retry"}

QUOTA = {
    "categories": [
        {
            "name": "Running jobs",
            "items": [
                {
                    "name": "Total running jobs at once (Kubernetes pods)",
                    "limit": "10",
                    "used": "1",
                },
                {"name": "Running one-off and cron jobs", "limit": "15", "used": "0"},
                {"name": "CPU", "limit": "8.0", "used": "0.5"},
                {"name": "Memory", "limit": "8Gi", "used": "0.5Gi"},
            ],
        },
        {
            "name": "Per-job limits",
            "items": [{"name": "CPU", "limit": "1.0"}, {"name": "Memory", "limit": "4Gi"}],
        },
        {"name": "Job definitions", "items": [{"name": "Cron jobs", "limit": "50", "used": "0"}]},
    ]
}


@dataclass
class JobOf:
    """A job, and its process."""

    told: dict[str, Any]
    process: "subprocess.Popen[bytes] | None"
    log: Path
    pod: str
    ended: float = 0.0  # when that was noticed
    messages: str = ""


@dataclass
class JobsStandin:
    """
    The state of the stand-in.

    Attributes:
        directory: Where workspaces and logs are.
        workspace: What each job's workspace is a copy of.
        env: What a job sees besides PATH: the tool's environment variables.
        forgets: Seconds for which an ended job is still known.
        is_lagging: Whether logs have not come yet.
        needs: MiB below which a job is killed for want of memory.
        names_of: What jobs call something → what it is here, as a cluster's names are.
        is_pending: Whether nothing starts.
        odd: What happens to the next requests: ``(method, part of the path)`` → statuses; 0 drops
            the connection unanswered, -1 does so after the work was done.
        seen: Method and path of each request.
        made: The body of each POST.
        jobs: By name.
    """

    directory: Path
    workspace: Path
    env: dict[str, str] = field(default_factory=dict)
    url: str = ""
    forgets: float = 30.0
    is_lagging: bool = False
    needs: int = 0
    names_of: dict[str, str] = field(default_factory=dict)
    is_pending: bool = False
    messages: str = ""
    complaint: str = "told to fail"
    odd: dict[tuple[str, str], deque[int]] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    made: list[dict[str, Any]] = field(default_factory=list)
    jobs: dict[str, JobOf] = field(default_factory=dict)
    past: list[JobOf] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def fail(self, method: str, path: str, *statuses: int) -> None:
        """Have the next requests whose path holds *path* answered so."""
        self.odd[method, path] = deque(statuses)

    def worked(self, method: str) -> int:
        """How many requests of that method have been done."""
        with self.lock:  # which who does one holds, from its being seen on
            return sum(each.startswith(f"{method} ") for each in self.seen)

    def names(self) -> list[str]:
        """The names of the jobs that were made, in order."""
        return [body["name"] for body in self.made]

    def begin(self, body: dict[str, Any]) -> None:
        """Start a job."""
        number = len(self.made)
        place = self.directory / f"job-{number}"
        shutil.copytree(self.workspace, place / "workspace", symlinks=True)
        log = place / "log"
        here = {"\nworkspace=/workspace\n": f"\nworkspace={place}/workspace\n", **self.names_of}
        words = shlex.split(body["cmd"])
        for name, meant in here.items():
            words = [word.replace(name, meant) for word in words]
        has_room = int(body["memory"].removesuffix("Mi")) >= self.needs
        if not has_room:  # as the kernel does it
            words = ["bash", "-c", "kill -9 $$"]
        log.touch()
        process = None
        if not self.is_pending:
            with log.open("wb") as file:
                process = subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd=place / "workspace",
                    env={"PATH": PATH, "PYTHONPATH": str(ROOT), "TMPDIR": str(place), **self.env},
                    start_new_session=True,
                )  # fmt: skip
        told = {key: body[key] for key in ("name", "imagename", "mount", "memory", "cpu", "retry")}
        told["cmd"] = f"launcher {body['cmd']}"
        job = JobOf(told, process, log, f"{body['name']}-{number:05d}")
        job.messages = "" if has_room else "Exit code '137': OOMKilled"
        self.jobs[body["name"]] = job
        self.past.append(job)
        self.made.append(body)

    def look(self, name: str) -> JobOf | None:
        """A job as it is now, or None where it was never there or is forgotten."""
        job = self.jobs.get(name)
        if job is None:
            return None
        if job.process and job.process.poll() is not None:
            job.ended = job.ended or time.monotonic()
            if time.monotonic() - job.ended >= self.forgets:
                del self.jobs[name]
                return None
        return job

    def status(self, job: JobOf) -> dict[str, Any]:
        """What is told of a job's state."""
        code = job.process.poll() if job.process else None
        short = "pending" if not job.process else "running" if code is None else "succeeded"
        if code:
            short = "failed"
        messages = job.messages or self.messages
        return {"short": short, "duration": "1s", "messages": [messages] if messages else []}

    def logs(self, name: str) -> list[dict[str, str]]:
        """The lines of all jobs of a name, in no order."""
        rows = [{"pod": "nopod", "container": "", "datetime": "9", "message": "no logs yet"}]
        if self.is_lagging:
            return rows
        for i, job in enumerate(self.past):
            if job.told["name"] == name:
                lines = job.log.read_text(encoding="utf-8", errors="replace").splitlines()
                rows += [
                    {
                        "pod": job.pod,
                        "container": "job",
                        "datetime": f"{i:04}:{n:06}",
                        "message": line,
                    }
                    for n, line in enumerate(lines)
                ]
        return rows[::-1]

    def stop(self, name: str) -> None:
        """End a job's processes."""
        job = self.jobs.get(name)
        if job and job.process:
            _kill_session(job.process.pid)
            job.process.wait()

    def drop(self, name: str) -> None:
        """Forget a job, as an operator who deletes it."""
        self.stop(name)
        self.jobs.pop(name, None)


class _Handler(BaseHTTPRequestHandler):
    """Answers as the API does."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # who asks need not wait 40 ms for a body
    standin: JobsStandin

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def log_message(self, *_: object) -> None:
        """Be quiet."""

    def _answer(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        standin = self.standin
        with standin.lock:
            standin.seen.append(f"{method} {self.path}")
            odd = next((statuses for (m, part), statuses in standin.odd.items()
                        if m == method and part in self.path and statuses), None)  # fmt: skip
            status = odd.popleft() if odd else None
            if status is not None and status > 0:
                self._send(status, {"messages": {"error": [standin.complaint]}})
                return
            if status is None or status == -1:
                found = self._worked(method, json.loads(body) if body else {})
        if status is None:
            self._send(*found)
        else:
            self.close_connection = True  # unanswered

    def _worked(self, method: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.path == f"/jobs/v1/tool/{TOOL}/quotas":
            return 200, {"quota": QUOTA, "messages": {}}
        if match := re.fullmatch(f"/logs/v1/tool/{TOOL}/job/([a-z0-9.-]+)/logs", self.path):
            return 200, {"data": {"logs": self.standin.logs(match[1])}}
        if self.path == JOBS and method == "POST":
            return self._made(body)
        name = self.path.removeprefix(JOBS).removesuffix("/")
        job = self.standin.look(name)
        if not self.path.startswith(JOBS) or not name or job is None:
            return 404, {"messages": {"error": [f"job {name} does not exist"]}}
        if method == "DELETE":
            self.standin.drop(name)
            return 200, {"messages": {}}
        return 200, {"job": {**job.told, "status": self.standin.status(job)}, "messages": {}}

    def _made(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if set(body) - FIELDS:
            return 422, {"detail": [{"loc": ["body"], "msg": "Extra inputs are not permitted"}]}
        if not re.fullmatch("[a-z0-9.-]{1,52}", body["name"]) or not 0 <= body["retry"] <= 5:
            return 422, {"detail": [{"loc": ["body", "name"], "msg": "String is too long"}]}
        there = self.standin.look(body["name"])
        if there and not (there.process and there.process.poll() is not None):
            return 409, {"messages": {"error": [f"job {body['name']} exists already"]}}
        self.standin.begin(body)
        return 201, {"job": {"name": body["name"]}, "messages": {}}

    def _send(self, status: int, value: Mapping[str, Any]) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def jobs_standin(directory: Path, workspace: Path, **env: str) -> Iterator[JobsStandin]:
    """Serve a stand-in, whose jobs see *env*; at the end they are killed."""
    standin = JobsStandin(directory, workspace, env)
    handler = type("Handler", (_Handler,), {"standin": standin})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        standin.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield standin
        finally:
            server.shutdown()
            for job in standin.past:
                if job.process:
                    _kill_session(job.process.pid)
                    job.process.wait()


def _kill_session(leader: int) -> None:
    """Kill all that a job started; a script makes process groups of its own."""
    for path in Path("/proc").iterdir():
        with suppress(ValueError, ProcessLookupError):
            if os.getsid(int(path.name)) == leader:
                os.kill(int(path.name), signal.SIGKILL)
