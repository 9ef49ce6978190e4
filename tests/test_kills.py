"""Coordinator, step and file service are killed at any moment: nothing is lost or half-made."""

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

from tests.conftest import Ended, Site, processes_in, wait_until
from tests.ledger import RIVALS, Ledger, World, edits_about
from tests.store_on_disk import check_store
from tests.web.conftest import TOKEN, Running, kill_group, serving

pytestmark = pytest.mark.slow

VICTIMS = ("coordinator", "step", "file service")
KILLS = 50
SEEDS = range(5)


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
        alpha = f"river {'abcdefghijklm'[number % 13] * (number // 13 + 1)}"
        beta = f"mountain {'abc'[number % 3]}"
        world = World(
            {
                "Alpha": (edits_about(100, 9, alpha), edits_about(200, 6, alpha)),
                "Beta": (edits_about(300, 9, "mountain"), edits_about(400, 6, beta)),
            }
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

        What it had asked the file service for is done when this returns.

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
        wait_until(lambda: not processes_in(self.site.base) and not self.service.connections())
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
