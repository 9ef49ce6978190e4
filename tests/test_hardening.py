"""
What must not break the build: kills at any moment, a dump larger than memory, a full disk.

Outside the fast suite: each of these takes its time.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.conftest import Ended, Site, edit, most_memory, processes_in, wait_until
from tests.ledger import RIVALS, STEPS, Edit, Ledger, World
from tests.web.conftest import TOKEN, Running, kill_group, serving

pytestmark = pytest.mark.slow


# Kills -------------------------------------------------------------------------------------------

VICTIMS = ("coordinator", "step", "file service")
KILLS = 50
SEEDS = range(5)


def edits(first: int, number: int, word: str) -> frozenset[Edit]:
    """So many edits, every third vandalism."""
    texts = (f"the {word} {'abcdefgh'[i % 8] * 3} runs" + " x" * i for i in range(number))
    return frozenset(Edit(first + i, text, i % 3 == 0) for i, text in enumerate(texts))


@dataclass
class Battle:
    """A site with a file service, both of which are killed now and then."""

    site: Site
    stack: ExitStack
    service: Running
    seed: int
    ledger: Ledger = field(default_factory=Ledger)
    duration: float = 2.0  # seconds that a build takes here, about

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.checkout = self.site.path

    def world(self, number: int) -> World:
        """Another world for each number, in which all of Alpha and half of Beta is new."""
        edits_of_beta = (edits(300, 9, "mountain"), edits(400, 6, f"mountain {'abc'[number % 3]}"))
        words = f"river {'abcdefghijklm'[number % 13] * (number // 13 + 1)}"
        world = World(
            {"Alpha": (edits(100, 9, words), edits(200, 6, words)), "Beta": edits_of_beta}
        )
        for n, name in enumerate(world.edits):
            for role, group in zip(world.edits[name], (3 * n + 2, 3 * n + 3), strict=True):
                self.site.dump(group, (each.xml() for each in sorted(role)))
        return world

    def start(self) -> "subprocess.Popen[str]":
        """Start a build, two steps at once, in an empty directory."""
        self.site.forget_calls()
        self.checkout = self.site.add_checkout(f"checkout-{self.chance.random()}")
        env = {"CBNG_STORE_URL": self.service.url, "FILE_API_KEY": TOKEN}
        return self.site.start("-n", "2", cwd=self.checkout, env=env)

    def build(self) -> Ended:
        """Build to the end, whatever that is."""
        began = time.monotonic()
        with self.start() as process:
            out, _ = process.communicate(timeout=180)
        self.duration = time.monotonic() - began
        return Ended(process.returncode, out)

    def step_records(self) -> set[str]:
        """The fingerprints of the core's steps that have a record whose blobs are all there."""
        root = self.service.root
        found = set()
        for path in root.glob("ac/*/*"):
            record = json.loads(path.read_bytes())
            blobs = {each["digest"] for each in record["artifacts"]} | {record["log"]} - {None}
            there = all((root / "cas" / blob[:2] / blob).exists() for blob in blobs)
            is_rival = any(each["name"].startswith(RIVALS) for each in record["artifacts"])
            if there and not is_rival and "core" in record["parts"].get("program", {}):
                found.add(path.name)
        return found

    def strike(self, victim: str, calls: int) -> bool:
        """
        Kill -9 the victim at a random moment of a build that calls the core so often.

        Returns:
            Whether it was hit: not where the build, or the step, had just ended.
        """
        process = self.start()
        self.wait_for_a_moment(process, calls)
        is_at_work = process.poll() is None
        if victim == "coordinator":
            process.kill()
        elif victim == "step":
            self.kill_a_step(process)
        else:
            self.kill_the_service()
        with process:
            process.communicate(timeout=180)
        wait_until(lambda: not processes_in(self.site.base))
        status = {"coordinator": -signal.SIGKILL, "step": 10}.get(victim, process.returncode)
        return is_at_work and process.returncode == status

    def wait_for_a_moment(self, process: "subprocess.Popen[str]", calls: int) -> None:
        """Return when the build has come so far, or to its end: anywhere with the same chance."""
        number = self.chance.randint(0, calls)
        while process.poll() is None and len(self.site.calls) < number:
            time.sleep(0.01)
        time.sleep(self.chance.uniform(0, self.duration / (calls + 1)))

    def kill_a_step(self, process: "subprocess.Popen[str]") -> None:
        """Kill a step that is at work, or the next one."""
        scratch = self.checkout / "build" / ".scratch"
        while not (steps := processes_in(scratch)) and process.poll() is None:
            time.sleep(0.001)
        for step in steps[:1]:
            with suppress(ProcessLookupError):
                os.kill(step, signal.SIGKILL)

    def kill_the_service(self) -> None:
        """Kill the file service, and start it again at the same port a moment later."""
        kill_group(self.service.process.pid)
        self.service.process.wait()
        port = self.service.port
        self.stack.pop_all().close()
        time.sleep(self.chance.uniform(0, 1))
        self.service = self.stack.enter_context(serving(self.service.root, port=port))


def check_store(root: Path) -> None:
    """No blob has other bytes than its name says; every instance that is seen is whole."""
    for path in root.glob("cas/*/*"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    for latest in root.glob("tree/*/latest"):
        assert latest.exists(), latest
    for path in root.glob("tree/*/[0-9]*/instance.json"):
        for name, digest in json.loads(path.read_bytes())["files"].items():
            assert (path.parent / name).resolve().name == digest
            assert (path.parent / name).exists(), (path, name)


@pytest.fixture
def battle(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Battle]:
    """A place where all was built once, and the time that took."""
    root = tmp_path / "served"
    root.mkdir()
    with ExitStack() as stack:
        service = stack.enter_context(serving(root))
        made = Battle(Site(tmp_path), stack, service, request.param)
        made.ledger.build(made.world(0))
        ended = made.build()
        assert ended.status == 0, ended
        yield made


@pytest.mark.parametrize("battle", SEEDS, indirect=True)
def test_kill_at_any_moment_loses_nothing(battle: Battle):
    """
    After each kill of the coordinator, of a step or of the file service the next build ends right.

    What had a record is not made again; what had none is; nothing half-made is ever seen.
    """
    hits = number = 0
    while hits < KILLS // len(SEEDS):
        number += 1
        assert number < KILLS, "hardly a kill hits"
        victim = VICTIMS[(battle.seed + hits) % len(VICTIMS)]
        wanted = battle.ledger.build(battle.world(number))
        before = battle.step_records()

        hits += battle.strike(victim, len(wanted))

        check_store(battle.service.root)
        left = battle.step_records()
        ended = battle.build()
        assert ended.status == 0, (victim, ended)
        assert before <= left
        assert len(battle.site.own_calls) == len(wanted) - len(left - before), (victim, ended)
        assert left <= battle.step_records()
        assert len(battle.step_records() - before) == len(wanted)
        check_store(battle.service.root)


# A dump larger than memory -----------------------------------------------------------------------

LARGE = 4 << 30  # bytes
MOST_MEMORY = 500 << 20  # bytes


class _LargeDump(BaseHTTPRequestHandler):
    """A review service with one edit group, whose dump is made as it is sent."""

    edits = 0

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its base's name
        """Say nothing."""

    def do_GET(self) -> None:
        """List the group, or stream its dump: edits of 200 KB, in no order, with no length."""
        self.send_response(200)
        self.end_headers()
        if "dump-editset" not in self.path:
            row = {"id": 1, "name": "Alpha", "type": "Generic", "related_to": None}
            self.wfile.write(json.dumps([row]).encode())
            return
        line = "the river runs to the sea " * 15 + "\n"
        text = edit(4711, line * 250, vandalism=True, previous=line * 250).encode()
        self.wfile.write(b'<?xml version="1.0"?>\n<WPEditSet>\n')
        number, sent = 0, 0
        type(self).edits = 0
        while sent < LARGE:
            type(self).edits += 1
            number = (number + 7919) % 1_000_003  # a prime: each once, in no order
            one = text.replace(b"4711", str(number + 1).encode(), 1)
            self.wfile.write(one)
            sent += len(one)
        self.wfile.write(b"</WPEditSet>\n")


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve what *handler* answers; its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def watched(process: "subprocess.Popen[str]") -> tuple[str, int]:
    """What *process* prints until it ends, and the most memory in bytes it was seen to have."""
    peak = 0
    while True:
        try:
            return process.communicate(timeout=0.1)[0], peak
        except subprocess.TimeoutExpired:
            peak = max(peak, most_memory(process.pid))


def test_large_dump_needs_little_memory(site: Site):
    """A dump of 4 GB is brought into canonical form and stored with less than 500 MB of memory."""
    if (free := shutil.disk_usage(site.base).free) < 4 * LARGE:
        pytest.skip(f"{free >> 30} GB of disk are free; this needs {4 * LARGE >> 30}")
    try:
        with served(_LargeDump) as url:
            process = site.start("edit_set:alpha/train", env={"CBNG_REVIEW_URL": url})
            out, peak = watched(process)
        assert process.returncode == 0, out
        assert f": {_LargeDump.edits} edits, " in out, out
        stored = sum(path.stat().st_size for path in site.base.glob("store/cas/*/*"))
        assert stored > 0.95 * LARGE
        assert 0 < peak < MOST_MEMORY, f"{peak >> 20} MB"
    finally:
        shutil.rmtree(site.base, ignore_errors=True)


# A full disk -------------------------------------------------------------------------------------


@contextmanager
def small_disk(path: Path, size: int = 16 << 20) -> Iterator[Path]:
    """Mount a file system of *size* bytes at *path*."""
    path.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "cbng-test", str(path)]
    mounted = subprocess.run(mount, check=False, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted: {mounted.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def leave_free(disk: Path, size: int) -> None:
    """Fill the disk until *size* bytes are left."""
    filler = disk / ".filler"
    filler.unlink(missing_ok=True)
    with filler.open("wb") as file:

        def is_filled() -> bool:
            now = os.statvfs(disk)
            if (more := now.f_bavail * now.f_frsize - size) <= 0:
                return True
            with suppress(OSError):  # who serves the disk may have taken some of it meanwhile
                os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, more)
            return False

        wait_until(is_filled)


STEP = 8 << 10  # bytes more, each time that nothing more was stored


@dataclass
class FullDisk:
    """A build whose disk fills up again and again, each time a little later."""

    site: Site
    disk: Path
    store: Path
    env: dict[str, str]
    failures: list[Ended] = field(default_factory=list)

    def build(self) -> Ended:
        """Build as far as it goes."""
        return self.site.run(env=self.env)

    def build_by_bits(self) -> None:
        """Build with a few free bytes, again and again, until a build comes to its end."""
        free = 0
        for _ in range(80):
            before = len(list(self.store.glob("*/*/*")))
            leave_free(self.disk, free)
            ended = self.build()
            check_store(self.store)
            if ended.status == 0:
                break
            self.failures.append(ended)
            if len(list(self.store.glob("*/*/*"))) == before:
                free += STEP
        (self.disk / ".filler").unlink()
        ended = self.build()
        assert ended.status == 0, ended
        assert self.build().lines[0].startswith("Nothing to do")
        check_store(self.store)
        assert len(list(self.store.glob("tree/*/latest/instance.json"))) == 2


def check_told(failures: list[Ended], statuses: set[int]) -> None:
    """Each failure has such an exit status, and one line for each reason."""
    assert len(failures) > 5
    for ended in failures:
        assert ended.status in statuses, ended
        assert "Traceback" not in ended.out, ended
        assert "No space left" in ended.out or "is full" in ended.out, ended


def test_full_disk_of_the_store(site: Site):
    """However far a build comes before the store's disk is full, the next goes on from there."""
    with small_disk(site.base / "disk") as disk:
        store = disk / "store"
        battle = FullDisk(site, disk, store, {"CBNG_STORE": str(store)})
        battle.build_by_bits()

    check_told(battle.failures, {13})


def test_full_disk_of_the_working_directory(site: Site):
    """Where references, scratch and doit's database fill a disk at any stage, it is told."""
    env = {"CBNG_REVIEW_URL": f"file:{site.review}"}
    failures = []
    with small_disk(site.base / "disk") as disk:
        for what in STEPS:
            shutil.rmtree(site.base / "store", ignore_errors=True)
            site.path = site.add_checkout(f"disk/{what}")
            site.behave(**{what.replace(".", "__"): {"fill": str(disk)}})
            failures.append(site.run(env=env))
            check_store(site.base / "store")
            (disk / ".filler").unlink()
            site.behave()
            ended = site.run(env=env)
            assert ended.status == 0, ended
            assert site.run(env=env).lines[0].startswith("Nothing to do")

    check_told(failures, {10, 13, 14})


@pytest.mark.parametrize("setting", ["CBNG_METRICS_FILE", "TMPDIR"])
def test_full_disk_beside_the_build(setting: str, site: Site):
    """Where only the numbers, or other programs' files, have no room the build ends right."""
    with small_disk(site.base / "disk") as disk:
        leave_free(disk, 0)
        numbers = disk / "cbng.prom"
        ended = site.run(env={setting: str(numbers if setting == "CBNG_METRICS_FILE" else disk)})
        assert [path.name for path in disk.iterdir()] == [".filler"]
        again = site.run()

    assert ended.status == 0, ended
    assert "Traceback" not in ended.out
    assert ("NOT KEPT: the numbers of this build" in ended.out) == (setting == "CBNG_METRICS_FILE")
    assert again.lines[0].startswith("Nothing to do")


def test_full_disk_can_be_pruned(site: Site):
    """Pruning needs no room to make room: where not a byte is free it takes what is idle."""
    with small_disk(site.base / "disk") as disk:
        env = {"CBNG_STORE": str(disk / "store")}
        assert site.run(env=env).status == 0
        idle = disk / "store" / "cas" / "ab" / f"ab{'0' * 62}"
        idle.parent.mkdir(exist_ok=True)
        idle.write_bytes(bytes(1 << 20))
        os.utime(idle, (0, 0))
        leave_free(disk, 0)
        pruned = site.run("cbng-trainer", "prune", env=env)
        (disk / ".filler").unlink()
        again = site.run(env=env)

    assert pruned.status == 0, pruned
    assert pruned.lines[-1].startswith("Freed 1.0 MB: 1 blob")
    assert again.lines[0].startswith("Nothing to do")


def test_build_wants_some_room_to_begin(site: Site):
    """Where the disk is full before the start one line says so."""
    with small_disk(site.base / "disk") as disk:
        site.path = site.add_checkout("disk/checkout")
        leave_free(disk, 4096)
        refused = site.run()

    assert refused.status == 3, refused
    assert len(refused.lines) == 1
    assert "No space left on device: a build needs 256 KB there at least" in refused.out


def test_full_disk_of_the_file_service(site: Site):
    """The same where the file service's disk is full: it answers 507, and goes on later."""
    with small_disk(site.base / "disk") as disk:
        store = disk / "store"
        store.mkdir()
        with serving(store) as running:
            env = {"CBNG_STORE_URL": running.url, "FILE_API_KEY": TOKEN}
            battle = FullDisk(site, disk, store, env)
            battle.build_by_bits()

    check_told(battle.failures, {13})
