"""
One-off jobs of a Toolforge tool: made, looked at, deleted by name; their logs; what may run.

An answer that does not come says nothing of a job, and a job that cannot be found says nothing of
its success: one-off jobs are forgotten half a minute after their end.
"""

import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from cbngtrain.dispatch.manifest import Room
from cbngtrain.dispatch.slots import UNBOUNDED, mebibytes, millicores
from cbngtrain.errors import DispatchError, JobExists, QuotaExceeded, ToolforgeError
from cbngtrain.image import Image
from cbngtrain.toolforge_api import ToolforgeApi

NAME = re.compile(r"cbng-[a-z0-9]([a-z0-9.-]{0,45}[a-z0-9])?")
"""What our jobs are called; Toolforge takes 52 characters."""

NO_POD = "nopod"  # lines that the logs API makes up itself

_JOBS = "jobs/v1/tool/{tool}/jobs/"
_QUOTAS = "jobs/v1/tool/{tool}/quotas"
_LOGS = "logs/v1/tool/{tool}/job/%s/logs"
_KILL_AFTER = 30  # seconds between asking a job that is out of time to stop, and killing it
_OWN = re.compile(r"toolforge-(?P<name>bookworm|trixie|bullseye)-sssd")


class State(Enum):
    """What Toolforge says of a job."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"  # also what an answer says that we do not understand


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """
    A job as it is now.

    Attributes:
        name: Its name.
        command: What it runs; Toolforge may have put its launcher in front.
        state: How far it is.
        messages: What Toolforge says besides.
    """

    name: str
    command: str
    state: State
    messages: str

    @property
    def has_ended(self) -> bool:
        """Whether it will do nothing more."""
        return self.state in {State.SUCCEEDED, State.FAILED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of a job's log: when, of which pod, and what it says."""

    pod: str
    time: str
    text: str


class Jobs:
    """The jobs of one tool."""

    def __init__(self, api: ToolforgeApi) -> None:
        """*api* is Toolforge's, as the tool."""
        self._api = api

    def create(
        self, name: str, command: Sequence[str], image: Image, *, need: Room, seconds: int
    ) -> None:
        """
        Start a one-off job that runs *command* for so many seconds at most.

        An answer that is lost is asked for by `job`: the name is taken then.

        Raises:
            JobExists: The name is taken.
            QuotaExceeded: The tool's quota has no room for it now.
            ToolforgeError: Toolforge refused, or cannot be asked.
        """
        limited = ("timeout", f"--kill-after={_KILL_AFTER}", str(seconds), *command)
        value = {
            "name": _checked(name),
            "cmd": shlex.join(limited),
            "imagename": image_name(image),
            "mount": "none",
            "memory": f"{need.memory}Mi",
            "cpu": f"{need.cpu / 1000:g}",
            "retry": 0,  # who tries again must know why
        }
        try:
            self._api.ask("POST", _JOBS, value=value, may_repeat=False)
        except ToolforgeError as error:
            if error.code == 409:
                raise JobExists(name) from error
            if error.code in {400, 403, 429} and "quota" in str(error).lower():
                raise QuotaExceeded(str(error)) from error
            raise

    def job(self, name: str) -> Job | None:
        """Return the job, or None where there is none (any more). Raises ToolforgeError."""
        try:
            answer = self._api.ask("GET", f"{_JOBS}{_checked(name)}/")
        except ToolforgeError as error:
            if error.code == 404:
                return None
            raise
        told = answer.get("job")
        return _job(told if isinstance(told, Mapping) else answer, name)

    def delete(self, name: str) -> None:
        """Delete one job, if it is there; never more than one. Raises ToolforgeError."""
        try:
            self._api.ask("DELETE", f"{_JOBS}{_checked(name)}/")
        except ToolforgeError as error:
            if error.code != 404:
                raise

    def log(self, name: str) -> list[Line]:
        """Return what is known of a job's log, by time; it lags. Raises ToolforgeError."""
        try:
            answer = self._api.ask("GET", _LOGS % _checked(name))
        except ToolforgeError as error:
            if error.code == 404:
                return []
            raise
        data = answer.get("data")
        rows = data.get("logs") if isinstance(data, Mapping) else None
        lines = [_line(row) for row in rows or () if isinstance(row, Mapping)]
        return sorted((line for line in lines if line.pod != NO_POD), key=lambda line: line.time)

    def room(self) -> tuple[Room, Room]:
        """
        Return what the tool may run at once, and what one job may have.

        Raises:
            ToolforgeError: Toolforge refused, or cannot be asked.
        """
        answer = self._api.ask("GET", _QUOTAS)
        quota = answer.get("quota")
        categories = quota.get("categories") if isinstance(quota, Mapping) else None
        return _room("running", categories or ()), _room("per-job", categories or ())


def image_name(image: Image) -> str:
    """Return what the Jobs API calls *image*: without its registry; Toolforge's own by a word."""
    if match := _OWN.fullmatch(image.name):
        return match["name"]
    return str(image).removeprefix(f"{image.registry}/")


def ended_pod(lines: Sequence[Line], but_not: Iterable[str] = ()) -> tuple[str, dict[str, Any]]:
    """
    Return which pod's script told its end last, and what it told; empty where none has.

    Args:
        lines: Of a job's log, by time; earlier jobs of that name are in it too.
        but_not: Pods that are known already.
    """
    for line in reversed(lines):
        told = _end(line)
        if told and line.pod not in but_not:
            return line.pod, told
    return "", {}


def ended_pods(lines: Iterable[Line]) -> set[str]:
    """Return every pod whose script has told its end."""
    return {line.pod for line in lines if _end(line)}


def _end(line: Line) -> dict[str, Any]:
    """Return what a script tells of its end on *line*; nothing, where that is another line."""
    if not line.text.startswith("cbngtrain: {"):
        return {}
    try:
        value = json.loads(line.text.removeprefix("cbngtrain: "))
    except ValueError:
        return {}
    is_end = isinstance(value, dict) and type(value.get("code")) is int
    return value if is_end else {}


def _checked(name: str) -> str:
    """Return *name*, which becomes a part of a path; raises DispatchError if it is not ours."""
    if not NAME.fullmatch(name):
        raise DispatchError(f"{name!r} is no name of a job of ours")
    return name


def _job(told: Mapping[str, Any], name: str) -> Job:
    """Return what an answer tells of a job."""
    status = told.get("status")
    status = status if isinstance(status, Mapping) else {}
    short = str(status.get("short") or "").lower()
    messages = status.get("messages") or ""
    if not isinstance(messages, str):
        messages = "; ".join(map(str, messages)) if isinstance(messages, list) else str(messages)
    known = {state.value for state in State}
    return Job(
        name=str(told.get("name") or name),
        command=str(told.get("cmd") or ""),
        state=State(short) if short in known else State.UNKNOWN,
        messages=" ".join(messages.split())[:500],
    )


def _line(row: Mapping[str, Any]) -> Line:
    """Return a line of a log."""
    return Line(
        pod=str(row.get("pod") or ""),
        time=str(row.get("datetime") or ""),
        text=str(row.get("message") or "").rstrip("\n"),
    )


def _room(kind: str, categories: Iterable[Any]) -> Room:
    """Return the room that the category whose name begins with *kind* tells of."""
    room = UNBOUNDED
    items = [
        item
        for category in categories
        if str(category.get("name", "")).lower().startswith(kind)
        for item in category.get("items") or ()
        if item.get("limit") is not None
    ]
    for item in items:
        name, limit = str(item.get("name", "")).lower(), item["limit"]
        if name == "memory":
            room = replace(room, memory=mebibytes(limit))
        elif name == "cpu":
            room = replace(room, cpu=millicores(limit))
        elif "jobs" in name:
            room = replace(room, pods=min(room.pods, int(limit)))
    return room
