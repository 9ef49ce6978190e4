"""A step as a Toolforge job, over a stand-in that runs it: how it goes, is shared, and stopped."""

import functools
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from cbngtrain.build import Dispatcher
from cbngtrain.dispatch.deadline import Deadline
from cbngtrain.dispatch.manifest import pod_name
from cbngtrain.dispatch.toolforge_jobs import NAME
from cbngtrain.errors import BlobNotFound, DispatchError
from cbngtrain.recipes import RECIPES
from cbngtrain.step import Fingerprint
from tests.conftest import Site, wait_until
from tests.dispatch.jobs_standin import jobs_standin
from tests.dispatch.places import engine_workspace, step_of
from tests.dispatch.trainer import IMAGE, QUICK, Trainer, quiet, waiting
from tests.web.conftest import TOKEN, serving


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
