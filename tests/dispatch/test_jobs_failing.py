"""A step as a Toolforge job that fails, vanishes, or is another's."""

import functools
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from cbngtrain.errors import DispatchError, StepFailed, StepTimedOut
from tests.conftest import wait_until
from tests.dispatch.places import WELL
from tests.dispatch.trainer import QUICK, Trainer, quiet, waiting


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
