"""What is shown of the progress, and to whom."""

import os
import pty
import subprocess
import sys
import termios

PROGRAM = [sys.executable, "-m", "cbngtrain.engine", "cluebotng"]


def test_a_terminal_shows_how_many_edits_are_done(place):
    """Where standard error is a terminal, edits are counted on it."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    os.set_blocking(ours, False)
    done = subprocess.run(
        [*PROGRAM, "-m", "train", "-f", "edits.xml"], cwd=place.path, stderr=theirs, check=False
    )
    shown = os.read(ours, 1 << 16)
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 0
    assert b"0 edits [00:00" in shown


def test_elsewhere_nothing_is_shown(place):
    """Into a file or a pipe goes nothing but what is wrong."""
    assert place.run("train").stderr == ""
