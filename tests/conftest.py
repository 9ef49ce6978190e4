"""A place to build in: a review service on disk, a core in small, and real doit."""

import atexit
import gc
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import settings

settings.register_profile("steady", deadline=None, derandomize=True, max_examples=50)
settings.register_profile("thorough", deadline=None, derandomize=True, max_examples=100)
settings.register_profile("search", deadline=None)
settings.load_profile("steady")  # `pytest --hypothesis-profile search` looks for new cases

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
PROGRAMS = ("cluebotng", "create_ann", "create_bayes_db", "print_bayes_db")

MEMORY = Path("/dev/shm")
SLOW_AS_A_WHOLE = re.compile(r"^pytestmark = [^=]*\bslow\b", re.MULTILINE)

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared is not here")


def is_fast_suite(config: pytest.Config) -> bool:
    """Whether all fast tests are to run, and no others."""
    has_its_marks = f"-m={config.option.markexpr}" in config.getini("addopts")
    return has_its_marks and bool(config.args == config.getini("testpaths"))


def pytest_configure(config: pytest.Config) -> None:
    """
    The fast suite's thousands of files, many of them synced, lie in memory where it has room.

    What a shell starts in the background ignores SIGINT, and so would all that the tests start.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if is_fast_suite(config) and "TMPDIR" not in os.environ and has_room(MEMORY):  # noqa: TID251 - a test's own
        tempfile.tempdir = str(MEMORY)


def has_room(directory: Path) -> bool:
    """Whether files can be made there, a gigabyte of them, and run."""
    if not os.access(directory, os.W_OK | os.X_OK):
        return False
    at = os.statvfs(directory)
    return at.f_bavail * at.f_frsize > 1 << 30 and not at.f_flag & os.ST_NOEXEC


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is collected stays: garbage is not looked for meanwhile, nor among it later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The fast suite need not import modules that are slow as a whole: plots, a browser."""
    if not is_fast_suite(config):
        return None
    is_module = collection_path.suffix == ".py"
    is_slow = is_module and SLOW_AS_A_WHOLE.search(collection_path.read_text(encoding="utf-8"))
    return True if is_slow else None


def edit(
    edit_id: int, text: str, *, vandalism: bool = False, previous: str | None = "before"
) -> str:
    """An edit as the review service dumps it; without previous text it creates its page."""
    before = "" if previous is None else f"<previous><text>{escape(previous)}</text></previous>"
    return f"""  <WPEdit>
    <EditType>change</EditType>
    <EditID>{edit_id}</EditID>
    <comment>a comment</comment><user>192.0.2.1</user>
    <user_edit_count>3</user_edit_count><user_distinct_pages>2</user_distinct_pages>
    <user_warns>0</user_warns><prev_user>Somebody</prev_user>
    <user_reg_time>1254320258</user_reg_time>
    <common><page_made_time>1101411080</page_made_time><title>A page</title>
      <namespace>Main</namespace><creator>Somebody</creator>
      <num_recent_edits>5</num_recent_edits>
      <num_recent_reversions>1</num_recent_reversions></common>
    <current><minor>false</minor><timestamp>1258657036</timestamp><text>{escape(text)}</text></current>
    {before}
    <isVandalism>{"true" if vandalism else "false"}</isVandalism>
  </WPEdit>
"""


def dump(edits: Iterable[str]) -> str:
    """A whole dump."""
    return f'<?xml version="1.0"?>\n<WPEditSet>\n{"".join(edits)}</WPEditSet>\n'


def edits(first: int, number: int, word: str = "river") -> list[str]:
    """So many edits, every third vandalism, of different texts."""
    return [
        edit(first + i, f"the {word} {'abcdefgh'[i % 8] * 3} runs" + " x" * i, vandalism=i % 3 == 0)
        for i in range(number)
    ]


def install_toy_core(directory: Path) -> Path:
    """Install the core in small under the native programs' names."""
    directory.mkdir()
    script = (ROOT / "tests" / "toy_core.py").read_text(encoding="utf-8")
    for name in PROGRAMS:
        path = directory / name
        flags = "-I" if "bayes_db" in name else "-IS"  # -S starts at once, and finds no berkeleydb
        path.write_text(f"#!{sys.executable} {flags}\n{script}", encoding="utf-8")
        path.chmod(0o755)
    (directory / "conf").mkdir()
    (directory / "conf" / "cluebotng.conf").write_text("chains: {};\n", encoding="utf-8")
    return directory


@lru_cache
def toy_trainer() -> Path:
    """A copy of the package whose evaluation is in small; what is first on a Python's path wins."""
    root = Path(tempfile.mkdtemp(prefix="cbng-toy-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    package = root / "cbngtrain"
    package.mkdir()
    for path in (ROOT / "cbngtrain").iterdir():
        if path.name not in {"__pycache__", "evaluation"}:
            (package / path.name).symlink_to(path)
    (package / "evaluation").mkdir()
    (package / "evaluation" / "__init__.py").touch()
    shutil.copy(ROOT / "tests" / "toy_evaluation.py", package / "evaluation" / "__main__.py")
    return root


class Site:
    """
    A checkout with a review service on disk, the core and the evaluation in small.

    Two edit sets: Alpha and Beta, each with a training and a trial group.
    """

    @classmethod
    def at(cls, path: Path) -> "Site":
        """The one that is there already."""
        site = cls.__new__(cls)
        site.base, site.path = path, path / "checkout"
        site.core, site.review = path / "core", path / "review"
        return site

    def __init__(self, path: Path) -> None:
        self.base, self.path = path, path / "checkout"
        self.core, self.review = path / "core", path / "review"
        install_toy_core(self.core)
        (self.review / "dumps").mkdir(parents=True)
        self.add_checkout("checkout")
        self.groups(
            (1, "Alpha", "Generic", None),
            (2, "Alpha training", "Training", 1),
            (3, "Alpha trial", "Trial", 1),
            (4, "Beta", "Generic", None),
            (5, "Beta training", "Training", 4),
            (6, "Beta trial", "Trial", 4),
        )
        self.dump(2, edits(100, 12))
        self.dump(3, edits(200, 8))
        self.dump(5, edits(300, 12, "mountain"))
        self.dump(6, edits(400, 8, "mountain"))

    def add_checkout(self, name: str) -> Path:
        """Another working directory, with a dodo.py and nothing else."""
        path = self.base / name
        path.mkdir()
        shutil.copy(ROOT / "dodo.py", path)
        return path

    def groups(self, *rows: tuple[int, str, str, int | None]) -> None:
        """What the review service lists: id, name, type, related_to."""
        names = ("id", "name", "type", "related_to")
        listed = [dict(zip(names, row, strict=True)) for row in rows]
        (self.review / "edit-groups.json").write_text(json.dumps(listed), encoding="utf-8")

    def dump(self, group: int, of: Iterable[str]) -> None:
        """What the review service dumps for a group."""
        (self.review / "dumps" / f"{group}.xml").write_text(dump(of), encoding="utf-8")

    def behave(self, **behaviour: Mapping[str, Any]) -> None:
        """How the core misbehaves from now on; a dot in a name is written as two underscores."""
        told = {what.replace("__", "."): how for what, how in behaviour.items()}
        (self.core / "behaviour.json").write_text(json.dumps(told), encoding="utf-8")

    @property
    def calls(self) -> list[str]:
        """What the core was called for since the last `forget_calls`, in order."""
        path = self.core / "calls.log"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [line.split()[0] for line in lines]

    @property
    def own_calls(self) -> list[str]:
        """The same without trials of other networks, with which one is compared."""
        path = self.core / "calls.log"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        called = (line.split(maxsplit=2) for line in lines)
        rivals = ("previous-", "reference-")
        return [what for what, _, cwd in called if not Path(cwd).name.startswith(rivals)]

    @property
    def evaluations(self) -> list[str]:
        """What the evaluation was called for since the last `forget_calls`, in order."""
        path = self.base / "evaluations.log"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [line.split()[0] for line in lines]

    def forget_calls(self) -> None:
        """Count anew."""
        (self.core / "calls.log").unlink(missing_ok=True)
        (self.base / "evaluations.log").unlink(missing_ok=True)

    def env(self, **more: str) -> dict[str, str]:
        """The environment of a build here."""
        return {
            "PATH": os.environ["PATH"],  # noqa: TID251 - a test's own
            "HOME": str(self.base),
            "PYTHONPATH": str(toy_trainer()),
            "TMPDIR": str(self.base),
            "CBNG_REVIEW_URL": "file:../review",
            "CBNG_CORE": str(self.core),
            "CBNG_STORE": str(self.base / "store"),
            **more,
        }

    def start(
        self, *command: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> "subprocess.Popen[str]":
        """Start ``doit COMMAND`` or ``cbng-trainer COMMAND`` and go on."""
        module = "cbngtrain.cli" if command[:1] == ("cbng-trainer",) else "doit"
        words = command[1:] if module != "doit" else command
        return subprocess.Popen(
            [sys.executable, "-m", module, *words],
            cwd=cwd or self.path,
            env=self.env(**(env or {})),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(
        self, *command: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> "Ended":
        """Run ``doit COMMAND`` or ``cbng-trainer COMMAND`` to its end."""
        with self.start(*command, cwd=cwd, env=env) as process:
            out, _ = process.communicate(timeout=60)
        return Ended(process.returncode, out)

    def wait_for_call(self, what: str, timeout: float = 60) -> None:
        """Return when the core has been called for *what*."""
        wait_until(lambda: what in self.calls, timeout)


class Ended:
    """How a command ended."""

    def __init__(self, status: int, out: str) -> None:
        self.status = status
        self.out = out
        self.lines = out.splitlines()

    def __repr__(self) -> str:
        return f"exit status {self.status}:\n{self.out}"


def wait_until(is_so: Callable[[], bool], timeout: float = 60) -> None:
    """Return when *is_so*; fail if it never is."""
    end = time.monotonic() + timeout
    while not is_so():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def processes_in(directory: Path) -> list[int]:
    """The processes that work below *directory*."""
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdecimal():
            try:
                cwd = (path / "cwd").readlink()
            except OSError:
                continue
            if str(cwd).startswith(str(directory)):
                found.append(int(path.name))
    return found


def most_memory(pid: int | str) -> int:
    """
    The most resident memory, in bytes, that process *pid* has had; 0 if it has ended.

    Not ``ru_maxrss``: that of a child begins with what its parent had when the child was made.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return 0
    return sum(int(peak) << 10 for peak in re.findall(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE))


def kill_hard(process: "subprocess.Popen[str]") -> None:
    """Kill -9, and wait for the end."""
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=20)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A place to build in."""
    return Site(tmp_path)


@pytest.fixture(scope="session")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place in which everything is built, to be copied."""
    site = Site(tmp_path_factory.mktemp("built"))
    ended = site.run()
    assert ended.status == 0, ended
    site.forget_calls()
    return site.base


@pytest.fixture
def built(built_once: Path, tmp_path: Path) -> Site:
    """A place in which everything is built, with the calls forgotten."""
    base = tmp_path / "site"
    shutil.copytree(built_once, base, symlinks=True)
    return Site.at(base)
