"""Two at once on one machine."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cbngtrain.locks import one_at_a_time
from tests.conftest import wait_until

HOLDER = """
import sys, tempfile, time
from cbngtrain.locks import one_at_a_time
tempfile.tempdir = sys.argv[1]
with one_at_a_time("key", "other"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_lock_waits_for_another_process_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """Of two holders the second waits until the first has ended, however it ends."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        assert other.stdout.readline() == "held\n"

        def kill() -> None:
            wait_until(lambda: "another build on this machine is at it" in caplog.text)
            other.kill()

        killer = threading.Thread(target=kill, daemon=True)
        killer.start()

        with one_at_a_time("key", "step"):
            other.wait(10)

        killer.join()
    assert other.returncode == -signal.SIGKILL
    assert "step: another build on this machine is at it" in caplog.text
