"""One Toolforge job for each edit set, over a stand-in that runs them."""

import re
import shlex
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cbngtrain.dispatch.toolforge_jobs import NAME, Jobs
from cbngtrain.image import Image
from cbngtrain.launch import Ending, Launch, LaunchPace, launch, shown, status_of
from cbngtrain.toolforge_api import ToolforgeApi
from tests.conftest import Site, wait_until
from tests.dispatch.jobs_standin import TOOL, JobsStandin, jobs_standin
from tests.dispatch.places import PATH

IMAGE = Image.parse("tools-harbor.wmcloud.org/tool-cluebotng-trainer/coordinator:latest")
EVIL = "It's $(touch pwned)`touch pwned`; é/50"


@pytest.fixture
def standin(tmp_path: Path) -> Iterator[JobsStandin]:
    """Toolforge, with a trainer in the image that does as `trains` says."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "workspace").mkdir()
    path = f"{tmp_path / 'bin'}:{PATH}"
    with jobs_standin(tmp_path, tmp_path / "workspace", PATH=path) as standin:
        trains(standin, 'printf "%s\\n" "$@"')
        yield standin


def trains(standin: JobsStandin, text: str) -> None:
    """Have the image's cbng-trainer do this."""
    path = standin.directory / "bin" / "cbng-trainer"
    path.unlink(missing_ok=True)
    path.write_text(f"#!/bin/bash\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture
def jobs(standin: JobsStandin) -> Iterator[Jobs]:
    """The tool's jobs."""
    with ToolforgeApi(standin.url, TOOL, None, sleep=lambda _: None) as api:
        yield Jobs(api)


def of(name: str, slug: str = "a-set") -> Launch:
    """What a job does for an edit set."""
    command = ["cbng-trainer", "run-edit-set", "--target-name", name, "--download-training", "u"]
    return Launch(edit_set=name, slug=slug, command=command)


def launched(jobs: Jobs, *wanted: Launch, **changes: Any) -> dict[str, Ending]:
    """What became of each."""
    return launch(wanted, IMAGE, jobs, seconds=100, pace=LaunchPace(**{
        "poll": 0.05, "quota": 0.05, "logs": 0.2, "deaf": 3.0, **changes
    }))  # fmt: skip


def test_each_edit_set_has_its_job(standin: JobsStandin, jobs: Jobs):
    """One job for each, in the trainer's image; names are words there, whatever they hold."""
    endings = launched(jobs, of("One"), of(EVIL))

    assert endings == {name: Ending(status=0, told="done") for name in ("One", EVIL)}
    assert [body["imagename"] for body in standin.made] == [
        "tool-cluebotng-trainer/coordinator:latest"
    ] * 2
    log = standin.past[1].log.read_text(encoding="utf-8")
    assert log.splitlines()[:3] == ["run-edit-set", "--target-name", EVIL]
    assert list(standin.directory.rglob("pwned")) == []


def test_failures_are_told_for_each(standin: JobsStandin, jobs: Jobs):
    """The exit status of each, with the last line that it said; one does not stop the others."""
    trains(standin, '[[ $3 == Good ]] || { echo "no trial"; exit "${#3}"; }')
    endings = launched(jobs, of("Good"), of("Bad"), of("Worse"))

    assert [ending.told for ending in endings.values()] == [
        "done",
        "failed with exit status 3: no trial",
        "failed with exit status 5: no trial",
    ]
    assert status_of(list(endings.values())) == 3


def test_running_job_is_found_and_waited_for(standin: JobsStandin, jobs: Jobs):
    """What an earlier run has started is not started again."""
    go = standin.directory / "go"
    trains(standin, f"until [[ -e {go} ]]; do sleep 0.02; done")
    first = threading.Thread(target=launched, args=(jobs, of("One")), daemon=True)
    first.start()
    wait_until(lambda: bool(standin.made))
    found: dict[str, Ending] = {}
    second = threading.Thread(target=lambda: found.update(launched(jobs, of("One"))), daemon=True)
    second.start()
    wait_until(lambda: standin.worked("POST") == 2)
    go.touch()
    first.join(20)
    second.join(20)

    assert found == {"One": Ending(status=0, told="done")}
    assert len(standin.made) == 1


def test_next_run_begins_anew(standin: JobsStandin, jobs: Jobs):
    """A job that has ended is no reason not to look again."""
    trains(standin, "exit 10")
    launched(jobs, of("One"))
    trains(standin, "true")

    assert launched(jobs, of("One")) == {"One": Ending(status=0, told="done")}


def test_job_that_is_something_else_is_left_alone(standin: JobsStandin, jobs: Jobs):
    """A job of that name that builds no edit set is told, not touched."""
    standin.begin(
        {"name": of("One").name, "cmd": "sleep 1000", "imagename": "x", "mount": "none",
         "memory": "1Mi", "cpu": "1", "retry": 0}
    )  # fmt: skip

    endings = launched(jobs, of("One"), of("Two"))

    assert "is there and is for something else" in endings["One"].told
    assert (endings["One"].status, endings["Two"].status) == (14, 0)
    assert not [each for each in standin.seen if each.startswith("DELETE")]


@pytest.mark.parametrize(
    ("lags", "ending"),
    [
        ("", Ending(status=0, told="done")),
        ("for ever", Ending(status=14,
                      told="its job is gone without a word; what it built is in the store")),
    ],
    ids=["log", "no log"],
)  # fmt: skip
def test_job_that_is_forgotten(standin: JobsStandin, jobs: Jobs, lags: str, ending: Ending):
    """A job that cannot be found says nothing of success; its log does, where it can be had."""
    standin.forgets, standin.is_lagging = 0, bool(lags)

    assert launched(jobs, of("One"), logs=0.1) == {"One": ending}


def test_log_that_does_not_come(standin: JobsStandin, jobs: Jobs):
    """Where there is no log, what Toolforge says of the job counts."""
    standin.is_lagging = True
    standin.messages = "OOMKilled"
    trains(standin, "[[ $3 == Good ]]")

    endings = launched(jobs, of("Good"), of("Bad"), logs=0.1)

    assert [ending.told for ending in endings.values()] == ["done", "its job failed: OOMKilled"]


def test_api_that_fails_now_and_then(standin: JobsStandin, jobs: Jobs):
    """Time-outs and errors that may pass, lost answers and a full quota are no failures."""
    standin.complaint = "exceeded quota"
    standin.fail("POST", "/jobs/", 403, 504, -1)
    standin.fail("GET", "/jobs/", *[0, 502] * 8)

    assert launched(jobs, of("One")) == {"One": Ending(status=0, told="done")}
    assert len(standin.made) == 1


@pytest.mark.slow
def test_api_that_stays_away(standin: JobsStandin, jobs: Jobs):
    """After a while nothing is waited for; the jobs go on, and that is told."""
    trains(standin, "sleep 1000")
    standin.fail("GET", of("One").name, 404, 404, *[503] * 1000)

    endings = launched(jobs, of("One"), deaf=0.2)

    assert endings["One"].status == 14
    assert "goes on, and the next run finds it" in endings["One"].told


def test_names_of_jobs():
    """Every edit set has a name that Toolforge takes, the same always, and no two the same."""
    launches = [of("A", "a"), of("a", "a"), of("x" * 200, "x" * 200), of("É", ""), of("-", "---")]
    names = [each.name for each in launches]

    assert [name for name in names if not NAME.fullmatch(name) or len(name) > 52] == []
    assert len(set(names)) == len(names)
    assert names[0] == of("A", "a").name


def test_what_is_shown_is_printable():
    """What a job said may hold anything; a terminal gets none of it."""
    assert shown("a\x1b[2Jb\x07é\x9b") == "a?[2Jb?é?"


def env_of(site: Site, standin: JobsStandin) -> dict[str, str]:
    """The environment of a coordinator that launches jobs."""
    return {
        "CBNG_TRAINER_IMAGE": str(IMAGE),
        "TOOL_TOOLFORGE_API_URL": standin.url,
        "K8S_CLIENT_CRT": "certificate",
        "K8S_CLIENT_KEY": "key",
        "CBNG_REVIEW_URL": f"file:{site.review}",
    }


@pytest.mark.slow
def test_run_edit_sets_launches_jobs(site: Site, tmp_path: Path):
    """Jobs build and publish every edit set; with one that fails, its status is the command's."""
    (tmp_path / "workspace").mkdir()
    env = {**site.env(CBNG_REVIEW_URL=f"file:{site.review}"), "PATH": PATH}
    site.dump(6, [])
    with jobs_standin(tmp_path, tmp_path / "workspace", **env) as standin:
        ended = site.run("cbng-trainer", "run-edit-sets", "--launch", "jobs",
                         env=env_of(site, standin))  # fmt: skip

    assert ended.lines[-2] == "Alpha: done", ended
    assert ended.lines[-1].startswith("Beta: failed with exit status 11"), ended
    assert ended.status == 11
    assert (site.base / "store" / "tree" / "Alpha" / "latest").exists()
    assert len(standin.made) == 2


def test_print_only_tells_what_would_be_launched(site: Site):
    """The job's name and its command, for each; nothing is asked of Toolforge."""
    nobody = JobsStandin(site.base, site.base, url="http://127.0.0.1:1")
    ended = site.run("cbng-trainer", "run-edit-sets", "--launch", "jobs", "--print-only",
                     env={**env_of(site, nobody), "CBNG_LOG_LEVEL": "ERROR"})  # fmt: skip

    assert ended.status == 0
    assert re.fullmatch(r"# job cbng-set-alpha-[0-9a-f]{8}", ended.lines[0])
    words = shlex.split(ended.lines[1])
    assert words[:4] == ["cbng-trainer", "run-edit-set", "--target-name", "Alpha"]


@pytest.mark.parametrize(
    ("lacking", "told"),
    [
        ("CBNG_TRAINER_IMAGE", "--launch jobs needs CBNG_TRAINER_IMAGE"),
        ("K8S_CLIENT_KEY", "set KUBECONFIG, or K8S_CLIENT_CRT and K8S_CLIENT_KEY"),
    ],
)
def test_launching_says_what_it_lacks(site: Site, lacking: str, told: str):
    """Without an image or a certificate nothing is launched, and it is said what to set."""
    nobody = JobsStandin(site.base, site.base, url="http://127.0.0.1:1")
    env = {name: value for name, value in env_of(site, nobody).items() if name != lacking}

    ended = site.run("cbng-trainer", "run-edit-sets", "--launch", "jobs", env=env)

    assert ended.status == 12
    assert told in ended.out
