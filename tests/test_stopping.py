"""Stopping, being killed, and two builds at once."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import Site, kill_hard, processes_in, wait_until

pytestmark = pytest.mark.slow

NOTHING = "Nothing to do: 20 up to date, 4 sources unchanged."
MOMENTS = ("bayes_train", "create_ann", "bayes.db", "ann_train", "trial_run")


def slow(site: Site, what: str, seconds: float = 30, child: float = 60) -> None:
    """Let *what* take its time, with a child of its own."""
    site.behave(**{what.replace(".", "__"): {"sleep": seconds, "child": child}})


def step_records(site: Site) -> int:
    """How many steps have a record."""
    records = (json.loads(path.read_bytes()) for path in (site.base / "store").glob("ac/*/*"))
    return sum(record["log"] is not None for record in records)


@pytest.mark.parametrize("process", ["0", "4"], ids=["one after another", "four at once"])
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
def test_signal_stops_the_build_at_once(site: Site, process: str, number: int, status: int):
    """SIGTERM and Ctrl-C end within 5 s, leave no process, and lose no finished step."""
    slow(site, "create_ann")
    doit = site.start("-n", process)
    site.wait_for_call("create_ann")
    began = time.monotonic()

    doit.send_signal(number)
    out, _ = doit.communicate(timeout=20)

    assert time.monotonic() - began < 5
    assert doit.returncode == status, out
    assert "Stopped; finished steps are kept" in out
    wait_until(lambda: not processes_in(site.base), 2)
    (summary,) = (site.base / "store" / "builds").iterdir()
    told = json.loads(summary.read_bytes())
    assert (told["status"], told["counts"]["stopped"] > 0) == (status, True)
    finished = step_records(site)
    assert finished >= sum(line.startswith("built") for line in out.splitlines())
    site.behave()
    site.forget_calls()
    assert site.run().status == 0
    assert len(site.calls) == 12 - finished


def test_second_signal_changes_nothing(site: Site):
    """Signals that follow the first are ignored: the end is short and in order."""
    slow(site, "bayes_train")
    doit = site.start()
    site.wait_for_call("bayes_train")

    doit.send_signal(signal.SIGTERM)
    doit.send_signal(signal.SIGTERM)
    out, _ = doit.communicate(timeout=20)

    assert doit.returncode == 143, out
    assert "Traceback" not in out


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
def test_signal_stops_a_spread_at_once(built: Site, number: int, status: int):
    """With the networks that are being trained, and without a traceback."""
    slow(built, "create_ann")
    spread = built.start("cbng-trainer", "spread", "alpha", "-n", "2")
    built.wait_for_call("create_ann")

    spread.send_signal(number)
    out, _ = spread.communicate(timeout=20)

    assert (spread.returncode, out) == (status, "")
    wait_until(lambda: not processes_in(built.base), 2)


def test_ctrl_c_ends_what_only_reads(site: Site):
    """`cbng-trainer verify` says nothing of it; here it reads what never comes."""
    record = site.base / "store" / "ac" / "ab" / ("ab" * 32)
    record.parent.mkdir(parents=True)
    os.mkfifo(record)
    verify = site.start("cbng-trainer", "verify")
    with record.open("wb"):  # when somebody reads it
        verify.send_signal(signal.SIGINT)
        out, _ = verify.communicate(timeout=20)

    assert (verify.returncode, out) == (130, "")


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_build_is_gone_on_with(site: Site, moment: str):
    """After kill -9 the step dies too, nothing is taken for finished, nothing made twice."""
    slow(site, moment, child=0)
    doit = site.start("-n", "2")
    site.wait_for_call(moment)

    kill_hard(doit)

    wait_until(lambda: not processes_in(site.path), 5)
    finished = step_records(site)
    site.behave()
    site.forget_calls()
    ended = site.run()
    assert ended.status == 0, ended
    assert len(site.calls) == 12 - finished
    assert moment in site.calls
    assert list((site.path / "build" / ".scratch").iterdir()) == []
    assert site.run().lines == [NOTHING]


LATE = """
import subprocess, time

make = subprocess.Popen.__init__

def make_and_return_late(self, *args, **named):
    make(self, *args, **named)
    time.sleep(1)

subprocess.Popen.__init__ = make_and_return_late
"""


@pytest.mark.parametrize("process", ["0", "4"], ids=["one after another", "four at once"])
def test_step_that_runs_before_its_build_knows_of_it_is_stopped(site: Site, process: str):
    """A process may be at work before the one that made it gets the processor again."""
    slow(site, "create_ann")
    late = site.base / "late"
    late.mkdir()
    (late / "sitecustomize.py").write_text(LATE)
    doit = site.start("-n", process, env={"PYTHONPATH": str(late)})
    site.wait_for_call("create_ann")

    doit.send_signal(signal.SIGTERM)

    out, _ = doit.communicate(timeout=20)
    assert doit.returncode == 143, out
    wait_until(lambda: not processes_in(site.base), 2)


def test_step_of_a_build_that_was_killed_first_does_not_start(site: Site):
    """A build may die between making a process and the process asking to die with it."""
    late = site.base / "late"
    late.mkdir()
    real = shutil.which("setpriv")
    (late / "setpriv").write_text(
        f'#!/bin/sh\necho >"{late}/asked"\n'
        f'while kill -0 "$PPID" 2>"{late}/gone"; do sleep 0.05; done\nexec {real} "$@"\n'
    )
    (late / "setpriv").chmod(0o755)
    slow(site, "bayes_train")
    path = f"{late}:{os.environ['PATH']}"  # noqa: TID251 - a test's own
    doit = site.start(env={"PATH": path})
    wait_until((late / "asked").exists)

    kill_hard(doit)

    wait_until(lambda: not processes_in(site.path), 5)
    assert not site.calls


def test_second_build_in_one_checkout_waits(site: Site):
    """A second doit in one checkout waits for the first, says so, and trains nothing twice."""
    first = site.start()
    site.wait_for_call("bayes_train")
    first.send_signal(signal.SIGSTOP)  # until the second has looked
    second = site.start()
    assert second.stdout
    assert next(line for line in second.stdout if f"process {first.pid} is building in" in line)
    first.send_signal(signal.SIGCONT)

    out, _ = second.communicate(timeout=60)
    first.communicate(timeout=60)

    assert (first.returncode, second.returncode) == (0, 0), out
    assert out.splitlines()[-1] == NOTHING
    assert len(site.calls) == 12


def test_two_checkouts_at_once_train_nothing_twice(site: Site):
    """Two builds in two checkouts over one store share the work."""
    other = site.add_checkout("other")
    slow(site, "create_ann", 1)
    builds = [site.start("-n", "2"), site.start("-n", "2", cwd=other)]

    outs = [build.communicate(timeout=60)[0] for build in builds]

    assert [build.returncode for build in builds] == [0, 0], outs
    assert len(site.calls) == 12
    assert site.run(cwd=other).lines == [NOTHING]
    assert site.run().lines == [NOTHING]


def test_waiting_build_can_be_stopped(site: Site):
    """A build that waits for another on the same step is stopped at once, too."""
    other = site.add_checkout("other")
    slow(site, "bayes_train")
    first = site.start("bayes_train:alpha")
    site.wait_for_call("bayes_train")
    second = site.start("bayes_train:alpha", cwd=other)
    assert second.stdout
    assert next(line for line in second.stdout if "another build on this machine" in line)

    second.send_signal(signal.SIGTERM)
    out, _ = second.communicate(timeout=5)

    assert second.returncode == 143, out
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=5)


def test_scratch_of_a_dead_build_is_removed(built: Site):
    """What a killed build left in its scratch directory goes at the start of the next."""
    left = built.path / "build" / ".scratch" / "ann-alpha-dead" / "data"
    left.mkdir(parents=True)
    (left / "main_ann.fann").write_text("half")

    built.run()

    assert not left.parent.exists()


def test_cut_reference_is_looked_up_again(built: Site):
    """A reference that is no reference counts as none, and the store is asked."""
    (built.path / "build" / "alpha" / "bayes.db").write_text("cut")

    ended = built.run()

    assert (ended.status, built.calls) == (0, []), ended
    assert built.run().lines == [NOTHING]


def test_store_that_cannot_be_written_loses_nothing(site: Site):
    """Where the store cannot be written the build fails with status 13, and goes on later."""
    store = site.base / "store"
    store.mkdir()
    (store / "cas").write_text("in the way")

    failed = site.run()
    (store / "cas").unlink()
    mended = site.run()

    assert failed.status == 13, failed
    assert mended.status == 0, mended


UNHEARD = """
import signal, threading
from cbngtrain.stopping import stop_on_signals

def to_this_thread():
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

stop_on_signals(lambda: print("killed", flush=True))
lock = threading.Lock()
lock.acquire()
threading.Timer(0.1, to_this_thread).start()
lock.acquire()
"""


def test_signal_is_heard_while_the_main_thread_waits():
    """A signal that another thread received ends a main thread that waits for a lock."""
    ended = subprocess.run(
        [sys.executable, "-c", UNHEARD], check=False, capture_output=True, text=True, timeout=20
    )

    assert (ended.returncode, ended.stdout) == (143, "killed\n"), ended.stderr
