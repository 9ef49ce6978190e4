"""The jobs of a tool: what is asked of Toolforge's Jobs API, and how odd answers are read."""

import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import requests_mock

from cbngtrain.dispatch.manifest import Room
from cbngtrain.dispatch.toolforge_jobs import (
    Job,
    Jobs,
    Line,
    State,
    ended_pod,
    image_name,
)
from cbngtrain.errors import (
    DispatchError,
    JobExists,
    QuotaExceeded,
    ToolforgeError,
)
from cbngtrain.image import Image
from cbngtrain.toolforge_api import ToolforgeApi
from tests.dispatch.jobs_standin import JOBS, QUOTA, TOOL

IMAGE = Image.parse(f"tools-harbor.wmcloud.org/tool-cluebotng/core:latest@sha256:{'1' * 64}")


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    """The jobs of a tool, at a place where requests_mock answers."""
    with ToolforgeApi("https://api.invalid", TOOL, None, sleep=lambda _: None) as api:
        yield Jobs(api)


ADDRESS = f"https://api.invalid{JOBS}"
NEED = Room(memory=512, cpu=500)


@pytest.mark.parametrize(
    "name", ["", "/", "..", "cbng-a/../b", "other", "cbng-" + "a" * 50, "cbng-A"]
)
def test_only_jobs_with_our_names_are_asked_for(jobs: Jobs, name: str):
    """A name that is not ours never becomes part of a request; above all, not an empty one."""
    with requests_mock.Mocker() as mock:
        for ask in (jobs.delete, jobs.job, jobs.log):
            with pytest.raises(DispatchError, match="no name of a job of ours"):
                ask(name)

    assert mock.call_count == 0


def test_job_as_it_is_told(jobs: Jobs):
    """What is told of a job is read from the new status; the old sentences are not."""
    told = {"name": "cbng-a", "cmd": "launcher x", "status_short": "Running for 3 days",
            "status": {"short": "pending", "duration": "", "messages": ["a", "b\nc"]}}  # fmt: skip
    with requests_mock.Mocker() as mock:
        mock.get(f"{ADDRESS}cbng-a/", json={"job": told, "messages": {}})
        job = jobs.job("cbng-a")

    assert job == Job(name="cbng-a", command="launcher x", state=State.PENDING, messages="a; b c")


@pytest.mark.parametrize("told", [{}, {"status": "Running"}, {"status": {"short": "odd"}}])
def test_odd_answer_is_unknown(jobs: Jobs, told: dict[str, Any]):
    """What is not understood is unknown, never ended."""
    with requests_mock.Mocker() as mock:
        mock.get(f"{ADDRESS}cbng-a/", json={"job": told})
        job = jobs.job("cbng-a")

    assert job
    assert (job.state, job.has_ended) == (State.UNKNOWN, False)


def test_job_that_is_not_there(jobs: Jobs):
    """A job that Toolforge does not know is none; deleting it is no error."""
    with requests_mock.Mocker() as mock:
        mock.get(f"{ADDRESS}cbng-a/", status_code=404)
        mock.delete(f"{ADDRESS}cbng-a/", status_code=404)
        assert jobs.job("cbng-a") is None
        jobs.delete("cbng-a")


@pytest.mark.parametrize(
    ("status", "text", "error"),
    [
        (409, "exists", JobExists),
        (403, "exceeded quota: x", QuotaExceeded),
        (400, "Quota exceeded", QuotaExceeded),
        (400, "nonsense", ToolforgeError),
        (500, "quota", ToolforgeError),
    ],
)
def test_refused_jobs(jobs: Jobs, status: int, text: str, error: type[Exception]):
    """Each refusal is the error that is caught by its name; a job is never asked for twice."""
    with requests_mock.Mocker() as mock:
        mock.post(ADDRESS, status_code=status, json={"messages": {"error": [text]}})
        with pytest.raises(error):
            jobs.create("cbng-a", ["true"], IMAGE, need=NEED, seconds=5)

    assert mock.call_count == 1


def test_command_is_quoted(jobs: Jobs):
    """A command's words come out of Toolforge's splitting as they went in."""
    words = ["bash", "-c", "echo 'a b'\n$(c)", "`d`", "é\\"]
    with requests_mock.Mocker() as mock:
        mock.post(ADDRESS, json={})
        jobs.create("cbng-a", words, IMAGE, need=NEED, seconds=5)

    sent = mock.last_request.json()
    assert shlex.split(sent["cmd"]) == ["timeout", "--kill-after=30", "5", *words]
    assert (sent["memory"], sent["cpu"]) == ("512Mi", "0.5")


@pytest.mark.parametrize("answer", [{}, {"quota": None}, {"quota": {"categories": []}}])
def test_quota_that_is_not_understood_bounds_nothing(jobs: Jobs, answer: dict[str, Any]):
    """Then Toolforge's refusals bound what runs."""
    with requests_mock.Mocker() as mock:
        mock.get(f"https://api.invalid/jobs/v1/tool/{TOOL}/quotas", json=answer)
        running, one = jobs.room()

    assert min(running.pods, running.memory, one.memory) >= 2**20


def test_quota(jobs: Jobs):
    """What may run at once, and what one job may have, is read from the quota."""
    with requests_mock.Mocker() as mock:
        mock.get(f"https://api.invalid/jobs/v1/tool/{TOOL}/quotas", json={"quota": QUOTA})
        running, one = jobs.room()

    assert running == Room(memory=8192, cpu=8000, pods=10)
    assert (one.memory, one.cpu) == (4096, 1000)


@pytest.mark.parametrize(
    ("image", "name"),
    [
        (str(IMAGE), f"tool-cluebotng/core:latest@sha256:{'1' * 64}"),
        ("tools-harbor.wmcloud.org/tool-x/y", "tool-x/y:latest"),
        ("docker-registry.tools.wmflabs.org/toolforge-bookworm-sssd:latest", "bookworm"),
    ],
)
def test_images_as_toolforge_names_them(image: str, name: str):
    """The registry is left out, and Toolforge's own images go by a word."""
    assert image_name(Image.parse(image)) == name


def line(pod: str, text: str) -> Line:
    """A line of a log."""
    return Line(pod=pod, time="", text=text)


def test_last_end_counts():
    """Of several pods' ends the last counts; what a command prints in that form does not end it."""
    lines = [
        line("a", 'cbngtrain: {"code":82}'),
        line("b", 'x cbngtrain: {"code":83}'),
        line("b", "cbngtrain: {broken"),
        line("b", 'cbngtrain: {"code":84}'),
        line("c", 'cbngtrain: {"code":"0"}'),
    ]

    assert ended_pod(lines) == ("b", {"code": 84})
    assert ended_pod(lines, {"b"}) == ("a", {"code": 82})
    assert ended_pod(lines, {"a", "b"}) == ("", {})
