"""A checkout, a database or a console that is not as it should be: no harm, or one line of it."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from tests.built import NOTHING
from tests.conftest import Site

pytestmark = pytest.mark.slow

UNPRIVILEGED = [] if os.geteuid() else ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
"""What takes from root the right to write everywhere."""


@pytest.mark.parametrize(
    ("command", "status", "told"),
    [
        (["list"], 0, "ann "),
        (["info", "ann:alpha"], 1, "targets do not exist"),
        ([], 3, ".doit.lock: Permission denied"),
    ],
    ids=["list", "info", "run"],
)
def test_checkout_that_nobody_may_write_to(site: Site, command: list[str], status: int, told: str):
    """It can be looked at, and nothing is built: one line says why."""
    site.path.chmod(0o555)
    words = [sys.executable, "-B", "-m", "doit", *command]

    ended = subprocess.run(
        [*UNPRIVILEGED, *words], cwd=site.path, env=site.env(), check=False, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    site.path.chmod(0o755)

    assert ended.returncode == status, ended.stdout
    assert told in ended.stdout
    assert "Traceback" not in ended.stdout


@pytest.mark.parametrize(
    "damage",
    [b"no database", b"SQLite format 3\0" + 100 * b"\0", b""],
    ids=["other", "cut", "empty"],
)
def test_damaged_database_is_made_anew(built: Site, damage: bytes):
    """Doit's database is a cache: a damaged one costs a look at everything, and no work."""
    (built.path / ".doit.db").write_bytes(damage)

    ended = built.run()

    assert ended.status == 0, ended
    assert built.calls == []
    assert "Traceback" not in ended.out
    assert built.run().lines == [NOTHING]


def test_list_leaves_a_damaged_database_to_a_build(built: Site):
    """Who only looks does not repair: another build may be at work on it."""
    (built.path / ".doit.db").write_bytes(b"no database")

    ended = built.run("list", "--status")

    assert (ended.status, len(ended.lines)) == (3, 1), ended
    assert "file is not a database; `doit` makes it anew" in ended.out


def test_database_that_is_being_written_is_not_to_be_removed(built: Site):
    """Who looks while another doit writes is told to try again, in one line."""
    with closing(sqlite3.connect(built.path / ".doit.db", isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")

        ended = built.run("list", "--status")

    assert (ended.status, len(ended.lines)) == (3, 1), ended
    assert "database is locked; another doit is writing it, try again" in ended.out


def test_database_that_cannot_be_opened_is_one_line(built: Site):
    """What stands where doit's database belongs is named, with what to do."""
    (built.path / ".doit.db").unlink()
    (built.path / ".doit.db").mkdir()

    ended = built.run()

    assert (ended.status, len(ended.lines)) == (3, 1), ended
    assert ".doit.db: unable to open database file; remove it, it is a cache" in ended.out


@pytest.mark.parametrize(
    "redirected",
    ["| true", ">&-", ">/dev/full", "2>&- | true"],
    ids=["pipe that ends", "closed", "full", "nothing at all"],
)
def test_build_goes_on_when_nobody_reads(site: Site, redirected: str):
    """What doit says may be lost, the build is not."""
    command = f"set -o pipefail; {sys.executable} -m doit {redirected}"

    ended = subprocess.run(
        ["bash", "-c", command], check=False, cwd=site.path, env=site.env(), stderr=subprocess.PIPE
    )

    assert (ended.returncode, ended.stderr) == (0, b"")
    assert site.run().lines == [NOTHING]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_console_of_few_characters_stops_no_build(built: Site, encoding: str):
    """What a console cannot show is spelt out: the arrow of a reason is in no such code."""
    ended = built.run("ann:alpha", env={"CBNG_SEED": "7", "PYTHONIOENCODING": encoding})

    assert ended.status == 0, ended
    assert "parameters.seed 1 \\u2192 7" in ended.out


@pytest.mark.parametrize("place", ["build", ".doit.lock"])
def test_checkout_that_cannot_be_written_is_one_line(built: Site, place: str):
    """Nothing is begun whose end could not be kept."""
    shutil.rmtree(built.path / "build")
    (built.path / ".doit.lock").unlink()
    (built.path / place).symlink_to("/dev/full" if place == "build" else "/nowhere/at/all")

    ended = built.run(env={"CBNG_SEED": "7"})

    assert (ended.status, len(ended.lines), built.calls) == (3, 1, []), ended
    assert f"DispatchError: {built.path / place}" in ended.out or f": {place}/" in ended.out


def test_list_ends_quietly_when_nobody_reads(built: Site):
    """``doit list | head`` prints no traceback."""
    command = f"{sys.executable} -m doit list --all | true"

    ended = subprocess.run(
        ["bash", "-c", command], check=True, cwd=built.path, env=built.env(), stderr=subprocess.PIPE
    )

    assert ended.stderr == b""


@pytest.mark.parametrize("text", ["no JSON", "[1]", "{}", '[{"id": 1}]'], ids=repr)
def test_damaged_edit_groups_are_no_matter(built: Site, text: str):
    """The last answer of the review service is a cache: who needs no network does without."""
    (built.path / "build" / "edit-groups.json").write_text(text)

    ended = built.run("list", "--all", env={"CBNG_REVIEW_URL": "http://192.0.2.1:9"})

    assert ended.status == 0, ended
    assert "build/edit-groups.json cannot be read; run `doit` once" in ended.out
