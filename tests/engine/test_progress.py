"""What is shown of the progress, and to whom."""

import os
import pty
import re
import subprocess
import sys
import termios
from contextlib import suppress

from tests.engine.conftest import Place, edit, edit_set

PROGRAM = [sys.executable, "-m", "cbngtrain.engine", "cluebotng"]


def shown_on_a_terminal(place: Place, *under: str) -> bytes:
    """What ``cluebotng`` writes to standard error, where that is a terminal, while it works."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    command = [*under, *PROGRAM, "-m", "train", "-f", "edits.xml"]
    with subprocess.Popen(command, cwd=place.path, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # EIO: nobody has the terminal open any more
            while more := os.read(ours, 1 << 16):
                shown += more
    os.close(ours)
    assert process.returncode == 0
    return shown


def test_a_terminal_shows_how_many_edits_are_done(place):
    """Where standard error is a terminal, edits are counted on it."""
    assert b"0 edits [00:00" in shown_on_a_terminal(place)


def test_the_count_moves_while_edits_are_worked_on(place):
    """With a chunk of the edits that is done the count is another; it never goes back."""
    place.write("edits.xml", edit_set(*[edit(current="word " * 2_000)] * 100))
    shown = shown_on_a_terminal(place, "env", "TQDM_MININTERVAL=0")  # no count is too soon to show
    counts = [int(count) for count in re.findall(rb"(\d+) edits \[", shown)]
    assert counts == sorted(counts)
    assert len(set(counts)) > 3, "of some eight chunks"
    assert counts[0] == 0 < counts[-1] <= 100


def test_elsewhere_nothing_is_shown(place):
    """Into a file or a pipe goes nothing but what is wrong."""
    assert place.run("train").stderr == ""
