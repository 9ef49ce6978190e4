"""
Pages whose commands are typed, in order, and say what the page shows.

A fenced block ``console`` is a recording: lines that begin with ``$ `` are run, in a directory that
is the page's own, and what stands below each is what it says. A line ``…`` stands for any lines,
and ``…`` in a line for anything.
Times, seconds, percentages and digests may differ; where a page shows no output nothing is compared
but the exit status, which is 0 unless ``# exit status N`` ends the command.

What a page begins from stands in its first lines: ``<!-- begins: checkout -->``, a checkout with
the sample; ``built``, the same with the sample built; ``clone``, that and the trainer's own code;
``toolforge``, a checkout on a bastion; ``cluster``, a checkout beside a cluster that runs pods.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT, wait_until

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))

PORT = "8000"  # of the file service in the pages; the tests take a free one


def beginning(page: Path) -> str:
    """What the commands of *page* begin from; empty where it has none."""
    found = re.findall(r"<!-- begins: (\w+) -->", page.read_text(encoding="utf-8"))
    assert len(found) <= 1, page
    return found[0] if found else ""


def name_of(page: Path) -> str:
    """A page as tests call it."""
    return str(page.relative_to(DOCS).with_suffix(""))


@dataclass(frozen=True)
class Shown:
    """A command of a page, its exit status, and the output that stands below it."""

    line: int
    command: str
    status: int
    output: list[str]


def recordings(text: str) -> Iterator[Shown]:
    """The commands of a page's ``console`` blocks, in order."""
    inside, lines = False, text.splitlines()
    at = 0
    while at < len(lines):
        line = lines[at]
        if line.startswith("```"):
            inside = line == "```console"
        elif inside and line.startswith("$ "):
            begin, command = at, [line[2:]]
            while _goes_on(command):
                at += 1
                command.append(lines[at])
            output = []
            while not lines[at + 1].startswith(("$ ", "```")):
                at += 1
                output.append(lines[at])
            told = "\n".join(command)
            status = re.search(r" +# exit status (\d+)$", told)
            yield Shown(begin + 1, told, int(status[1]) if status else 0, output)
        at += 1


def _goes_on(command: list[str]) -> bool:
    """Whether the next line still belongs to *command*: a backslash, or a here-document."""
    document = re.search(r"<<'(\w+)'", command[0])
    is_open = document is not None and command[-1] != document[1]
    return is_open or command[-1].endswith("\\")


def normalised(line: str) -> str:
    """A line without what differs from run to run."""
    for pattern, told in (
        (r"\b\d{4}-\d\d-\d\d[ T]\d\d[:.]\d\d[:.]\d\d(-[\w.]+-\d+)?", "TIME"),
        (r"\b[0-9a-f]{64}\b", "DIGEST"),
        (r"\b[0-9a-f]{20}\b", "DIGEST"),
        (r"\b[0-9a-f]{12}(?![0-9a-f])…?", "DIGEST"),
        (r"\b\d+(\.\d+)? s\b", "N s"),
        (r"\b\d+(\.\d+)? seconds?\b", "N seconds"),
        (r"\b\d+ \(\d+\.\d+% of", "N (P% of"),
        (r"\b\d+ blobs \(\d+\.\d+ MB\), \d+ records", "N blobs, N records"),
    ):
        line = re.sub(pattern, told, line)
    return line.rstrip()


def matches(shown: list[str], said: list[str]) -> bool:
    """Whether *said* is what is *shown*; a line ``…`` stands for any lines."""
    if not shown:
        return not said
    if shown[0].strip() == "…":
        return any(matches(shown[1:], said[at:]) for at in range(len(said) + 1))
    line = ".*".join(map(re.escape, shown[0].split("…")))
    return bool(said) and bool(re.fullmatch(line, said[0])) and matches(shown[1:], said[1:])


def free_port(host: str = "127.0.0.1") -> str:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind((host, 0))
        return str(listener.getsockname()[1])


class Desk:
    """
    Somebody's shell, in a directory of the page's own.

    Variables, directory and jobs last from one command to the next. What runs in the background
    ends with the page.
    """

    def __init__(
        self, checkout: Path, home: Path, more: Mapping[str, str], here: Mapping[str, str]
    ) -> None:
        """
        Args:
            checkout: Where it is.
            home: Whose it is.
            more: Variables that are set.
            here: What the pages say → what it is on this machine.
        """
        self.home, self.here = home, here
        self.shell = subprocess.Popen(
            ["bash"], cwd=checkout, env={**environment(home), **more}, stdin=subprocess.PIPE,
            text=True, start_new_session=True,
        )  # fmt: skip

    def run(self, command: str) -> tuple[int, list[str]]:
        """Run a command as it was typed; its exit status and the lines that it said."""
        typed, out, status = (self.home / name for name in ("typed", "out", "status"))
        for page, here in self.here.items():
            command = command.replace(page, here)
        typed.write_text(f"{command}\n", encoding="utf-8")
        status.unlink(missing_ok=True)
        assert self.shell.stdin
        self.shell.stdin.write(
            f". {typed} >{out} 2>&1 </dev/null; echo $? >{status}.part; mv {status}.part {status}\n"
        )
        self.shell.stdin.flush()
        wait_until(lambda: status.exists() or self.shell.poll() is not None, 300)
        said = out.read_text(encoding="utf-8")
        for page, here in self.here.items():
            said = said.replace(here, page)
        return int(status.read_text()), said.splitlines()

    def leave(self) -> None:
        """End what still runs, and wait for that."""
        os.killpg(self.shell.pid, signal.SIGKILL)
        self.shell.communicate()


def walk(page: Path, desk: Desk) -> None:
    """Type every command of *page*, in order; each must end and say as shown."""
    text = page.read_text(encoding="utf-8")
    shown = list(recordings(text))
    assert shown, "begins somewhere, but runs nothing"
    form = str.rstrip if "<!-- exact: " in text else normalised
    for each in shown:
        status, said = desk.run(each.command)
        where = f"{page.relative_to(ROOT)}:{each.line}: $ {each.command}"
        told = "\n".join(said)
        assert status == each.status, f"{where}\nexit status {status}\n{told}"
        if each.output:
            wanted, found = ([form(line) for line in lines] for lines in (each.output, said))
            assert matches(wanted, found), f"{where}\nsaid:\n{told}"


def checkout(path: Path) -> Path:
    """What of a clone the pages use."""
    path.mkdir()
    shutil.copy(ROOT / "dodo.py", path)
    shutil.copytree(ROOT / "sample", path / "sample")
    shutil.copytree(ROOT / "toolforge", path / "toolforge")
    return path


def environment(home: Path) -> dict[str, str]:
    """The environment of somebody who has installed the project, and has set nothing."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # noqa: TID251 - a test's own
    return {"PATH": path, "HOME": str(home), "TMPDIR": str(home), "LC_ALL": "C.UTF-8",
            "COLUMNS": "100", "USER": "ada", "LOGNAME": "ada"}  # fmt: skip
