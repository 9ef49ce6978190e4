"""A step as a Toolforge job where Toolforge is late, refuses, or has no room."""

import threading
import time
from dataclasses import replace

import pytest

from cbngtrain.dispatch.jobs import JobDispatcher
from cbngtrain.dispatch.programs import Images
from cbngtrain.dispatch.toolforge_jobs import Jobs
from cbngtrain.errors import DispatchError
from cbngtrain.plan import Plan
from cbngtrain.toolforge_api import ToolforgeApi
from tests.conftest import wait_until
from tests.dispatch.jobs_standin import TOOL
from tests.dispatch.places import recipe, step_of
from tests.dispatch.trainer import IMAGE, QUICK, Trainer, quiet, waiting


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
