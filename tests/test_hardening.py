"""
What must not break the build: kills at any moment, a dump larger than memory, a full disk.

Outside the fast suite: each of these takes its time.
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import Ended, Site, kill_hard, processes_in, wait_until
from tests.ledger import Edit, Ledger, World
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
    chance: random.Random
    ledger: Ledger = field(default_factory=Ledger)
    duration: float = 2.0  # seconds that a build takes here, about

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
        path = self.site.add_checkout(f"checkout-{self.chance.random()}")
        env = {"CBNG_STORE_URL": self.service.url, "FILE_API_KEY": TOKEN}
        return self.site.start("-n", "2", cwd=path, env=env)

    def build(self) -> Ended:
        """Build to the end, whatever that is."""
        self.site.forget_calls()
        began = time.monotonic()
        with self.start() as process:
            out, _ = process.communicate(timeout=180)
        self.duration = time.monotonic() - began
        return Ended(process.returncode, out)

    def step_records(self) -> int:
        """How many steps of the core have a record whose blobs are all there."""
        root = self.service.root
        found = 0
        for path in root.glob("ac/*/*"):
            record = json.loads(path.read_bytes())
            blobs = {each["digest"] for each in record["artifacts"]} | {record["log"]} - {None}
            there = all((root / "cas" / blob[:2] / blob).exists() for blob in blobs)
            found += there and "core" in record["parts"].get("program", {})
        return found

    def strike(self, victim: str, process: "subprocess.Popen[str]") -> None:
        """Kill -9 the victim at a random moment of the build."""
        time.sleep(self.chance.uniform(0, self.duration))
        if victim == "coordinator":
            kill_hard(process)
        elif victim == "step":
            while process.poll() is None and not (steps := processes_in(self.site.base)):
                time.sleep(0.001)
            with suppress(ProcessLookupError):
                if process.poll() is None:
                    os.kill(self.chance.choice(steps), signal.SIGKILL)
        else:
            kill_group(self.service.process.pid)
            self.service.process.wait()
            port = self.service.port
            self.stack.pop_all().close()
            time.sleep(self.chance.uniform(0, 1))
            self.service = self.stack.enter_context(serving(self.service.root, port=port))
        with process:
            process.communicate(timeout=180)
        wait_until(lambda: not processes_in(self.site.base))


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
        made = Battle(Site(tmp_path), stack, service, random.Random(request.param))
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
    for number in range(1, KILLS // len(SEEDS) + 1):
        victim = VICTIMS[number % len(VICTIMS)]
        wanted = battle.ledger.build(battle.world(number))
        before = battle.step_records()

        battle.strike(victim, battle.start())

        check_store(battle.service.root)
        finished = battle.step_records() - before
        ended = battle.build()
        assert ended.status == 0, (victim, ended)
        assert len(battle.site.calls) == len(wanted) - finished, (victim, ended)
        assert battle.step_records() == before + len(wanted)
        check_store(battle.service.root)
