"""Steps as Toolforge jobs: over a stand-in that runs them, and odd answers."""

import functools
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cbngtrain.build import Dispatcher
from cbngtrain.dispatch.deadline import Deadline
from cbngtrain.dispatch.job_attendant import JobPace
from cbngtrain.dispatch.jobs import JobDispatcher
from cbngtrain.dispatch.manifest import pod_name
from cbngtrain.dispatch.programs import Images
from cbngtrain.dispatch.toolforge_jobs import (
    NAME,
    Jobs,
)
from cbngtrain.errors import (
    BlobNotFound,
    DispatchError,
    StepFailed,
    StepTimedOut,
)
from cbngtrain.image import Image
from cbngtrain.plan import Plan
from cbngtrain.recipes import RECIPES
from cbngtrain.settings import Settings
from cbngtrain.step import Fingerprint, Made
from cbngtrain.toolforge_api import ToolforgeApi
from tests.conftest import Site, wait_until
from tests.dispatch.jobs_standin import TOOL, JobsStandin, jobs_standin
from tests.dispatch.places import WELL, Pod, engine_workspace, recipe, step_of
from tests.web.conftest import TOKEN, Running, serving

IMAGE = Image.parse(f"tools-harbor.wmcloud.org/tool-cluebotng/core:latest@sha256:{'1' * 64}")
STEP = step_of(recipe("bayes_train"))

QUICK = JobPace(look=0.02, poll=0.05, store=0.2, deaf=3, gone=5, logs=0.2, quota=0.1, again=0.01)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A file service."""
    root = tmp_path_factory.mktemp("jobs") / "store"
    root.mkdir()
    with serving(root) as running:
        yield running


@pytest.fixture
def pod(tmp_path: Path, service: Running) -> Pod:
    """What the core's image has in its workspace."""
    pod = Pod(tmp_path, service)
    pod.program("cluebotng", WELL)
    return pod


@pytest.fixture
def standin(pod: Pod, tmp_path: Path) -> Iterator[JobsStandin]:
    """Toolforge."""
    with jobs_standin(tmp_path, pod.workspace, FILE_API_KEY=TOKEN) as standin:
        yield standin


class Trainer:
    """A coordinator that runs one step, of a program of its own: nothing is there already."""

    def __init__(self, pod: Pod, standin: JobsStandin, api: ToolforgeApi) -> None:
        self.pod, self.standin, self._api = pod, standin, api
        self.step = step_of(recipe("bayes_train"), core=str(pod.path))
        self.key = pod.key(self.step)
        self.name = pod_name(self.step, self.key)
        self.settings = Settings.from_env(
            {
                "CBNG_DISPATCH": "jobs",
                "CBNG_STORE_URL": pod.service.url,
                "CBNG_STORE_URL_IN_PODS": "http://host.invalid",
                "FILE_API_KEY": TOKEN,
                "CBNG_CORE_IMAGE": str(IMAGE),
                "TOOL_TOOLFORGE_API_URL": standin.url,
            }
        )
        self.settings = replace(self.settings, store_url_in_pods=pod.service.url)
        self.pace = QUICK

    def dispatcher(self, **changes: Any) -> JobDispatcher:
        """A dispatcher; each call is another process of ours, so to say."""
        return JobDispatcher(
            self.pod.store,
            replace(self.settings, **changes),
            Plan((), {self.step.slug: (self.step,)}),
            Images(IMAGE, None),
            Jobs(self._api),
            self.pace,
        )

    def run(self, **changes: Any) -> None:
        """Run the step."""
        self.dispatcher(**changes).run(self.step, self.key, self.pod.inputs(self.step))

    @property
    def has_record(self) -> bool:
        """Whether the store has the record."""
        return self.pod.store.find(self.key) is not None


@pytest.fixture
def trainer(pod: Pod, standin: JobsStandin) -> Iterator[Trainer]:
    """A coordinator."""
    with ToolforgeApi(standin.url, TOOL, None, sleep=lambda _: None) as api:
        yield Trainer(pod, standin, api)


# How a step goes --------------------------------------------------------------------------------


def test_step_runs_as_a_job(trainer: Trainer):
    """One job, by the step's name and fingerprint, leaves the record; nothing is deleted."""
    trainer.run()

    record = trainer.pod.store.find(trainer.key)
    assert record
    assert record.about["where"] == "jobs"
    (body,) = trainer.standin.made
    assert {name: body[name] for name in body if name != "cmd"} == {
        "name": f"cbng-bayes-train-{trainer.key[:20]}",
        "imagename": f"tool-cluebotng/core:latest@sha256:{'1' * 64}",
        "mount": "none",
        "memory": "1024Mi",
        "cpu": "1",
        "retry": 0,
    }
    assert body["cmd"].startswith("timeout --kill-after=30 9000 bash -c ")
    assert not [each for each in trainer.standin.seen if each.startswith("DELETE")]


def test_dispatcher_is_one(trainer: Trainer):
    """It is a place where steps run."""
    dispatcher: Dispatcher = trainer.dispatcher()

    assert dispatcher


def test_every_step_has_a_name_that_toolforge_takes():
    """No job's name is too long, or holds what Toolforge does not take."""
    names = [pod_name(step_of(each), Fingerprint("f" * 64)) for each in RECIPES]

    assert [name for name in names if not NAME.fullmatch(name) or len(name) > 52] == []


def waiting(pod: Pod) -> Path:
    """Have the core wait for a file; return it."""
    go = pod.path / "go"
    pod.program("cluebotng", f"until [[ -e {go} ]]; do sleep 0.02; done\n{WELL}")
    return go


def test_two_coordinators_share_a_job(trainer: Trainer):
    """Who comes second attaches; when the first one is gone, it goes on."""
    go = waiting(trainer.pod)
    first, second = trainer.dispatcher(), trainer.dispatcher()
    inputs = trainer.pod.inputs(trainer.step)
    threads = [
        threading.Thread(target=functools.partial(quiet, each, trainer, inputs), daemon=True)
        for each in (first, second)
    ]
    threads[0].start()
    wait_until(lambda: bool(trainer.standin.made))
    threads[1].start()
    first.stopping.begin()
    threads[0].join(10)
    go.touch()
    threads[1].join(20)

    assert trainer.has_record
    assert trainer.standin.names() == [trainer.name]


def quiet(dispatcher: JobDispatcher, trainer: Trainer, inputs: dict[str, Made]) -> None:
    """Run the step, whatever comes of it."""
    with suppress(DispatchError):
        dispatcher.run(trainer.step, trainer.key, inputs)


def test_record_that_came_meanwhile_needs_no_job(trainer: Trainer):
    """Where the record is there, no job is made."""
    trainer.run()
    trainer.standin.drop(trainer.name)
    trainer.run()

    assert len(trainer.standin.made) == 1


def test_lost_input_needs_no_job(trainer: Trainer):
    """An input that is not in the store is told as lost, before anything is made."""
    inputs = trainer.pod.inputs(trainer.step)
    trainer.pod.store.path(inputs["edits.xml"].artifact.digest).unlink()

    with pytest.raises(BlobNotFound):
        trainer.run()

    assert trainer.standin.made == []


# How it fails -----------------------------------------------------------------------------------


@pytest.mark.parametrize("forgets", [30.0, 0.0], ids=["known", "forgotten"])
def test_failed_command_fails_the_step(trainer: Trainer, forgets: float):
    """Its exit code and last line are told, its log is kept; also where the job is gone already."""
    trainer.standin.forgets = forgets
    trainer.pod.program("cluebotng", "echo 'no such thing'; exit 3")

    with pytest.raises(StepFailed, match="with exit code 3: no such thing; its log: ") as error:
        trainer.run()

    assert trainer.pod.blob(Path(error.value.log).name) == b"no such thing\n"
    assert len(trainer.standin.made) == 1


def test_bad_output_fails_the_step(trainer: Trainer):
    """A command that leaves nothing has failed, although it says that all is well."""
    trainer.pod.program("cluebotng", "true")

    with pytest.raises(StepFailed, match="exit code 0 but a bad output: data/main_bayes"):
        trainer.run()


@pytest.mark.slow
def test_step_that_is_out_of_time(trainer: Trainer):
    """The time limit is the script's, and is told with the setting that moves it."""
    trainer.pod.program("cluebotng", "sleep 1000")

    with pytest.raises(StepTimedOut, match=r"no end after 1 s.*CBNG_STEP_TIMEOUT"):
        trainer.run(step_timeout=1)


def test_step_that_needs_more_memory(trainer: Trainer):
    """A job that was killed for want of memory is tried once more with twice as much."""
    trainer.standin.needs = 2000

    trainer.run()

    assert trainer.has_record
    assert [body["memory"] for body in trainer.standin.made] == ["1024Mi", "2048Mi"]


@pytest.mark.slow
def test_step_that_never_has_enough_memory(trainer: Trainer):
    """After the second time it has failed, and how much it had is told."""
    trainer.standin.needs = 99_999

    with pytest.raises(StepFailed, match=r"1024 MiB and then 2048 MiB .a pod may have 4096"):
        trainer.run()


def test_job_that_somebody_deleted(trainer: Trainer):
    """A job that is gone without a word is made again, from a budget of its own."""
    go = waiting(trainer.pod)
    thread = threading.Thread(target=trainer.run, daemon=True)
    thread.start()
    wait_until(lambda: bool(trainer.standin.made))
    trainer.standin.drop(trainer.name)
    wait_until(lambda: len(trainer.standin.made) == 2)
    go.touch()
    thread.join(20)

    assert trainer.has_record


@pytest.mark.slow
def test_jobs_that_always_vanish(trainer: Trainer):
    """After four such ends it is told, as something of the infrastructure."""
    trainer.standin.forgets = 0
    trainer.standin.is_lagging = True
    trainer.pod.program("cluebotng", "exit 3")
    trainer.pace = replace(QUICK, logs=0.1)

    with pytest.raises(DispatchError, match=r"interrupted 4 times, .*gone without a word") as error:
        trainer.run()

    assert error.type is DispatchError
    assert len(trainer.standin.made) == 4


@pytest.mark.slow
def test_end_of_an_earlier_job_is_not_taken_for_this_one(trainer: Trainer):
    """Logs of earlier jobs of that name stay; what they say is not believed again."""
    trainer.pod.program("cluebotng", "exit 3")
    with pytest.raises(StepFailed):
        trainer.run()
    trainer.pod.program("cluebotng", WELL)
    go = waiting(trainer.pod)
    thread = threading.Thread(target=trainer.run, daemon=True)
    thread.start()
    wait_until(lambda: len(trainer.standin.made) == 2)
    trainer.standin.drop(trainer.name)
    wait_until(lambda: len(trainer.standin.made) == 3)
    go.touch()
    thread.join(20)

    assert trainer.has_record


@pytest.mark.slow
def test_end_of_an_earlier_job_is_not_taken_for_one_that_was_attached_to(trainer: Trainer):
    """Whoever attaches knows the ends of earlier jobs for what they are, too."""
    trainer.pod.program("cluebotng", "exit 3")
    with pytest.raises(StepFailed):
        trainer.run()
    go = waiting(trainer.pod)
    first, second = trainer.dispatcher(), trainer.dispatcher()
    inputs = trainer.pod.inputs(trainer.step)
    made = functools.partial(threading.Thread, target=quiet, daemon=True)
    made(args=(first, trainer, inputs)).start()
    wait_until(lambda: len(trainer.standin.made) == 2)
    first.stopping.begin()
    thread = made(args=(second, trainer, inputs))
    thread.start()
    wait_until(lambda: bool(second.stopping.attended))
    trainer.standin.drop(trainer.name)
    wait_until(lambda: len(trainer.standin.made) == 3)
    go.touch()
    thread.join(20)

    assert trainer.has_record


def test_job_of_that_name_that_is_not_ours(trainer: Trainer):
    """A job with another command is never touched."""
    trainer.standin.begin(
        {"name": trainer.name, "cmd": "sleep 1000", "imagename": "x", "mount": "none",
         "memory": "1Mi", "cpu": "1", "retry": 0}
    )  # fmt: skip

    with pytest.raises(DispatchError, match="is there and is for something else"):
        trainer.run()

    assert not [each for each in trainer.standin.seen if each.startswith("DELETE")]


# How the API fails ------------------------------------------------------------------------------


@pytest.mark.slow
def test_api_that_times_out_now_and_then(trainer: Trainer):
    """An answer that does not come, or an error that may pass, says nothing of the job."""
    trainer.standin.fail("GET", trainer.name, *[504, 0, 500] * 4)
    trainer.standin.fail("POST", "/jobs/", 503, 0)

    trainer.run()

    assert trainer.has_record
    assert len(trainer.standin.made) == 1


def test_lost_answer_to_the_making_of_a_job(trainer: Trainer):
    """A job whose making was not answered is found by its name, and not made twice."""
    waiting(trainer.pod).touch()
    trainer.standin.fail("POST", "/jobs/", -1)

    trainer.run()

    assert trainer.has_record
    assert len(trainer.standin.made) == 1


@pytest.mark.slow
def test_api_that_stays_away(trainer: Trainer):
    """After a while the step is not waited for any more; its job goes on."""
    trainer.pace = replace(QUICK, deaf=0.2)
    trainer.standin.fail("GET", f"/jobs/{trainer.name}", 404, *[503] * 1000)
    waiting(trainer.pod)

    with pytest.raises(DispatchError, match="its job goes on, and the next build finds it"):
        trainer.run()

    assert trainer.standin.look(trainer.name)


@pytest.mark.parametrize("status", [401, 403, 422])
def test_refusal_is_for_good(trainer: Trainer, status: int):
    """Who is refused does not ask again."""
    trainer.standin.fail("POST", "/jobs/", status)

    with pytest.raises(DispatchError, match=f"Toolforge answered {status}: told to fail"):
        trainer.run()

    assert trainer.standin.made == []


def test_quota_that_others_use_up_is_waited_for(trainer: Trainer):
    """Where the quota has no room it is tried again, and is no failure."""
    trainer.standin.complaint = "pods is forbidden: exceeded quota: tool"
    trainer.standin.fail("POST", "/jobs/", 403, 403)

    trainer.run()

    assert trainer.has_record


def test_no_step_starts_before_the_limits_are_known(trainer: Trainer):
    """While one step reads the quota the others wait: none asks for more than a job may have."""
    other = step_of(recipe("bayes_train"), "b-set", core=f"{trainer.pod.path}/other")
    steps = (trainer.step, other)
    trainer.standin.fail("GET", "/quotas", 503)
    with ToolforgeApi(trainer.standin.url, TOOL, None, sleep=lambda _: time.sleep(0.5)) as api:
        dispatcher = JobDispatcher(
            trainer.pod.store,
            replace(trainer.settings, memory_scale=8.0),
            Plan((), {step.slug: (step,) for step in steps}),
            Images(IMAGE, None),
            Jobs(api),
            QUICK,
        )
        threads = [
            threading.Thread(
                target=dispatcher.run, args=(step, trainer.pod.key(step), trainer.pod.inputs(step))
            )
            for step in steps
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)

    assert [body["memory"] for body in trainer.standin.made] == ["4096Mi", "4096Mi"]


def test_job_that_never_starts(trainer: Trainer):
    """A job that is pending for too long is deleted, and what Toolforge says is told."""
    trainer.standin.is_pending = True
    trainer.standin.messages = "no node has room"

    with pytest.raises(DispatchError, match=r"CBNG_SCHEDULE_TIMEOUT\): no node has room"):
        trainer.run(schedule_timeout=0)

    assert trainer.standin.look(trainer.name) is None


def test_job_that_waits_for_quota_may_wait(trainer: Trainer):
    """A job that is pending for the quota's sake is waited for, however long."""
    trainer.standin.is_pending = True
    trainer.standin.messages = "exceeded quota"
    dispatcher = trainer.dispatcher(schedule_timeout=0)
    inputs = trainer.pod.inputs(trainer.step)
    thread = threading.Thread(target=quiet, args=(dispatcher, trainer, inputs), daemon=True)
    thread.start()
    wait_until(lambda: len(trainer.standin.seen) > 12)

    assert thread.is_alive()
    dispatcher.stopping.begin()
    thread.join(10)


# A whole build ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_build_by_jobs(site: Site, tmp_path: Path):
    """Two edit sets are built by jobs; the next build makes none, an empty coordinator neither."""
    (tmp_path / "served").mkdir()
    engine_workspace(tmp_path / "workspace")
    with (
        serving(tmp_path / "served") as service,
        jobs_standin(tmp_path, tmp_path / "workspace", FILE_API_KEY=TOKEN) as standin,
    ):
        standin.names_of = {"http://store.invalid": service.url}
        env = {
            "CBNG_DISPATCH": "jobs",
            "CBNG_CORE": "",
            "CBNG_CORE_IMAGE": str(IMAGE),
            "CBNG_STORE_URL": service.url,
            "CBNG_STORE_URL_IN_PODS": "http://store.invalid",
            "FILE_API_KEY": TOKEN,
            "TOOL_TOOLFORGE_API_URL": standin.url,
            "K8S_CLIENT_CRT": "certificate",
            "K8S_CLIENT_KEY": "key",
        }
        first = site.run("run", env=env)
        made = len(standin.made)
        second = site.run("run", env=env)
        other = site.run("run", env=env, cwd=site.add_checkout("other"))

    assert (first.status, second.status, other.status) == (0, 0, 0), first
    assert made >= 12
    assert len(standin.made) == made
    assert second.lines[-1].startswith("Nothing to do: ")


# Stopping ---------------------------------------------------------------------------------------


def stopped(trainer: Trainer, interrupts: int) -> None:
    """Stop a coordinator while its job runs, after so many Ctrl-Cs."""
    waiting(trainer.pod)
    dispatcher = trainer.dispatcher()
    inputs = trainer.pod.inputs(trainer.step)
    thread = threading.Thread(target=quiet, args=(dispatcher, trainer, inputs), daemon=True)
    thread.start()
    wait_until(lambda: any(trainer.name in each for each in trainer.standin.seen[3:]))
    wait_until(lambda: bool(trainer.standin.made))
    time.sleep(0.2)
    dispatcher.stopping.begin()
    for _ in range(interrupts):
        dispatcher.stopping.interrupt()
    thread.join(10)
    dispatcher.stopping.leave()


def test_stopping_leaves_the_jobs(trainer: Trainer):
    """SIGTERM: nothing is waited for, and the job goes on."""
    stopped(trainer, 0)

    assert trainer.standin.look(trainer.name)


def test_second_interrupt_deletes_the_jobs_of_this_run(
    trainer: Trainer, capsys: pytest.CaptureFixture[str]
):
    """Of several jobs of the tool, only that which this run waits for is deleted."""
    other = {"name": "cbng-other", "cmd": "sleep 1000", "imagename": "x", "mount": "none",
             "memory": "1Mi", "cpu": "1", "retry": 0}  # fmt: skip
    trainer.standin.begin(other)
    stopped(trainer, 2)

    assert trainer.standin.look(trainer.name) is None
    assert trainer.standin.look("cbng-other")
    assert f"job {trainer.name} is deleted" in capsys.readouterr().err


def test_deadline_leaves_steps_to_the_next_build(trainer: Trainer):
    """Where the build's time is over nothing is started."""
    trainer.pace = replace(QUICK, deadline=Deadline(0))

    with pytest.raises(DispatchError, match="CBNG_DEADLINE"):
        trainer.run()

    assert trainer.standin.made == []
