"""
A week of scheduled builds, rehearsed: each day the coordinator begins in an empty directory, as the
entry point of its job gives it, with the file service as its only memory. In the week steps run
beside the coordinator; on the days of another image they run as jobs.
"""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests

from tests.conftest import ROOT, Ended, Site, kill_hard, processes_in, wait_until
from tests.dispatch.jobs_standin import JobsStandin, jobs_standin
from tests.dispatch.places import ENGINE
from tests.ledger import RIVALS, Edit, Ledger, World
from tests.review_standin import Review, review_service
from tests.step_outputs import NETWORK, TOTALS, write_bayes_db
from tests.web.conftest import TOKEN, Running, serving

pytestmark = pytest.mark.slow

LATER = frozenset(
    Edit(120 + i, f"a later edit number {i} of the {word}", i % 2 == 0)
    for i, word in enumerate(["stream", "brook", "creek", "pond"])
)


def edits(first: int, number: int, word: str) -> frozenset[Edit]:
    """So many edits, every third vandalism."""
    texts = (f"the {word} {'abcdefgh'[i % 8] * 3} runs" + " x" * i for i in range(number))
    return frozenset(Edit(first + i, text, i % 3 == 0) for i, text in enumerate(texts))


START = World(
    {
        "Alpha": (edits(100, 12, "river"), edits(200, 8, "river")),
        "Beta": (edits(300, 12, "mountain"), edits(400, 8, "mountain")),
        "Gamma/50": (edits(500, 9, "lake"), edits(600, 6, "lake")),
    }
)


def with_training(world: World, name: str, training: frozenset[Edit]) -> World:
    """The world with other training edits in one edit set."""
    return replace(world, edits={**world.edits, name: (training, world.edits[name][1])})


@dataclass
class Week:
    """
    The services, the coordinator, and what has to come of them.

    Attributes:
        world: As it is today.
        ledger: What has to be built.
        published: Edit set → what each of its instances means, oldest first.
        settings: Of the coordinator, besides those that it always has.
    """

    site: Site
    review: Review
    stack: ExitStack
    service: Running
    world: World = START
    ledger: Ledger = field(default_factory=Ledger)
    published: dict[str, list[tuple[tuple[str, object], ...]]] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)

    def change(self, world: World) -> None:
        """Have another world from now on."""
        self.world = world
        self.review.holds(world.edits)
        (self.site.core / "conf" / "cluebotng.conf").write_text(f"chains: {{}};\n# {world.conf}\n")
        program = self.site.core / "create_ann"
        program.write_text(
            program.read_text().partition("\n# program")[0] + f"\n# program {world.program}\n"
        )
        self.site.forget_calls()

    def coordinator(self) -> "subprocess.Popen[str]":
        """Start a day's build, as the scheduled job does, in a directory of its own."""
        env = self.site.env(
            CBNG_REVIEW_URL=self.review.url,
            CBNG_STORE_URL=self.service.url,
            FILE_API_KEY=TOKEN,
            **{"CBNG_DISPATCH": "local", **self.settings},
        )
        return subprocess.Popen(
            [ROOT / "toolforge" / "entrypoint", "--cluster", sys.executable, "-m", "doit"],
            env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def day(self) -> Ended:
        """Build to the end."""
        with self.coordinator() as process:
            out, _ = process.communicate(timeout=120)
        return Ended(process.returncode, out)

    def good_day(self) -> list[str]:
        """Build to a good end, which calls for exactly what has to be built; return the calls."""
        wanted = self.ledger.build(self.world)
        ended = self.day()
        assert ended.status == 0, ended
        assert sorted(self.site.own_calls) == sorted(wanted), ended
        self.enter_published()
        return wanted

    def enter_published(self) -> None:
        """Expect an instance of every edit set that means something new."""
        for name in self.world.edits:
            meaning, known = self.ledger.meaning(name), self.published.setdefault(name, [])
            if known[-1:] != [meaning]:
                known.append(meaning)

    def staying(self, name: str, instances: list[str]) -> list[str]:
        """Which of an edit set's instances stay: the last, and the last with another network."""
        networks = [dict(meaning)["network"] for meaning in self.published[name]]
        *before, last = zip(instances, networks, strict=True)
        others = [instance for instance, network in before if network != last[1]]
        return [*others[-1:], last[0]]

    def prune(self) -> Ended:
        """Prune as the scheduled job does, by the hardest rules."""
        rules = {"CBNG_KEEP_INSTANCES": "1", "CBNG_KEEP_MONTHS": "0", "CBNG_KEEP_BUILDS": "1",
                 "CBNG_PRUNE_GRACE": "86400", "CBNG_STORE": str(self.service.root)}  # fmt: skip
        entrypoint = str(ROOT / "toolforge" / "entrypoint")
        command = [entrypoint, sys.executable, "-m", "cbngtrain.cli", "prune"]
        ended = subprocess.run(
            command, check=False, env=self.site.env(**rules),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
        )  # fmt: skip
        return Ended(ended.returncode, ended.stdout)

    def restart(self) -> None:
        """Kill the file service and start it again at the same port."""
        port = self.service.port
        self.stack.pop_all().close()
        self.service = self.stack.enter_context(serving(self.service.root, port=port))

    def ask(self, path: str) -> Any:
        """What the file service answers, as JSON."""
        answer = requests.get(
            f"{self.service.url}/{path}", headers={"Accept": "application/json"}, timeout=10
        )
        answer.raise_for_status()
        return answer.json()

    @property
    def instances(self) -> dict[str, list[str]]:
        """Edit set → its instances, oldest first."""
        found = {name: self.ask(f"{quote(name)}/")["instances"] for name in self.world.edits}
        return {name: sorted(row["name"] for row in rows) for name, rows in found.items()}


@pytest.fixture
def week(site: Site, tmp_path: Path) -> Iterator[Week]:
    """The morning of the first day: edits to be trained on, an empty store."""
    root = tmp_path / "served"
    root.mkdir()
    (site.base / ".kube").mkdir()
    (site.base / ".kube" / "config").write_text("kind: Config\n")  # which is not needed here
    with review_service() as review, ExitStack() as stack:
        review.lists(START.edits)
        made = Week(site, review, stack, stack.enter_context(serving(root)))
        made.change(START)
        yield made


def check_whole(week: Week) -> None:
    """Every instance is whole: each of its files comes with the bytes that it tells of."""
    for name, instances in week.instances.items():
        for instance in instances:
            at = f"{quote(name)}/{quote(instance)}"
            told = week.ask(f"{at}/")
            assert told["whole"], told
            for path, digest in told["instance"]["files"].items():
                content = requests.get(f"{week.service.url}/{at}/{path}", timeout=10).content
                assert hashlib.sha256(content).hexdigest() == digest, (name, instance, path)


def check_disk(root: Path) -> None:
    """The disk holds blobs under their digest, records of what is there, and no scrap."""
    blobs = {path.name: path for path in root.glob("cas/*/*")}
    assert all(
        hashlib.sha256(path.read_bytes()).hexdigest() == name for name, path in blobs.items()
    )
    for path in root.glob("ac/*/*"):
        record = json.loads(path.read_bytes())
        needed = {artifact["digest"] for artifact in record["artifacts"]} | {record["log"]} - {None}
        assert needed <= set(blobs), path
    assert list(root.rglob("*.part")) == []


def size_of(root: Path) -> int:
    """How many bytes the store has."""
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


def check_nothing_is_idle(root: Path) -> None:
    """Every blob is one that an instance, a record or a build's summary refers to."""
    texts = [path.read_text() for path in root.rglob("*.json")]
    texts += [path.read_text() for path in root.glob("ac/*/*")]
    referred = set(re.findall("[0-9a-f]{64}", "".join(texts)))
    assert {path.name for path in root.glob("cas/*/*")} <= referred


def prune_and_miss_nothing(week: Week) -> None:
    """What is no longer needed goes, and the next build does not miss it."""
    stays = {name: week.staying(name, instances) for name, instances in week.instances.items()}
    before = size_of(week.service.root)
    age(week.service.root, 2 * 86400)
    pruned = week.prune()
    assert pruned.status == 0, pruned
    assert week.instances == stays
    assert size_of(week.service.root) < before
    check_whole(week)
    check_disk(week.service.root)
    check_nothing_is_idle(week.service.root)
    ended = week.day()
    assert (ended.status, week.site.own_calls) == (0, []), ended
    assert week.instances == stays


def age(root: Path, seconds: float) -> None:
    """Have everything in the store be so much older: pruning leaves alone what is young."""
    for path in root.rglob("*"):
        then = path.lstat().st_mtime - seconds
        os.utime(path, (then, then), follow_symlinks=False)


def test_a_week_of_scheduled_builds(week: Week):
    """
    What is built is exactly what has to be built, whatever happens on the way.

    Edits arrive, are reviewed and vanish; the review service is down, the file service restarts,
    the coordinator is killed, the core changes and changes back. At the end every instance is
    whole, there are exactly as many as there should be, and the disk holds no scrap.
    """
    # Monday: everything is built, once.
    assert len(week.good_day()) == 18

    # Tuesday: edits arrive at Alpha, and nobody has reviewed them yet: nothing changes.
    training = week.world.edits["Alpha"][0]
    unreviewed = frozenset(replace(each, vandalism=None) for each in LATER)
    week.change(with_training(week.world, "Alpha", training | unreviewed))
    assert week.good_day() == []

    # Wednesday: they are reviewed, but the review service is down in the evening.
    week.change(with_training(week.world, "Alpha", training | LATER))
    week.review.is_down = True
    ended = week.day()
    assert (ended.status, week.site.own_calls) == (3, []), ended
    week.review.is_down = False

    # Thursday: it is back, and the file service is restarted in the middle of the build.
    wanted = week.ledger.build(week.world)
    week.site.behave(ann_train={"sleep": 2})
    with week.coordinator() as process:
        week.site.wait_for_call("ann_train")
        week.restart()
        out, _ = process.communicate(timeout=120)
    week.site.behave()
    assert process.returncode == 0, out
    assert sorted(week.site.own_calls) == sorted(wanted) != []
    week.enter_published()

    # Friday: Beta's edits are reclassified, and the coordinator is killed on the way.
    reviewed_again = frozenset(
        replace(each, vandalism=not each.vandalism) for each in week.world.edits["Beta"][0]
    )
    week.change(with_training(week.world, "Beta", reviewed_again))
    wanted = week.ledger.build(week.world, until="create_ann")
    week.site.behave(create_ann={"sleep": 60})
    process = week.coordinator()
    week.site.wait_for_call("create_ann")
    kill_hard(process)
    week.site.behave()
    wait_until(lambda: not processes_in(week.site.base))
    assert week.site.own_calls == wanted
    week.site.forget_calls()

    # Saturday: the next one goes on where it was killed, and trains nothing twice.
    assert week.good_day() == ["create_ann", "trial_run"]

    # Sunday: the core is another one, so all is built again.
    week.change(replace(week.world, program="new"))
    assert len(week.good_day()) == 18

    # Monday: it was no better. With the old one, and without the later edits, all is known.
    week.change(replace(with_training(week.world, "Alpha", training), program=""))
    assert week.good_day() == []

    # Tuesday: nothing to do.
    ended = week.day()
    assert (ended.status, week.site.own_calls) == (0, []), ended

    built = {name: len(instances) for name, instances in week.instances.items()}
    assert built == {name: len(meanings) for name, meanings in week.published.items()}
    check_whole(week)
    check_disk(week.service.root)

    # Saturday: the store is kept small.
    prune_and_miss_nothing(week)


def test_terminated_coordinator_leaves_the_rest_to_the_next_day(week: Week):
    """A job that is out of time is asked to stop: it does, and the next day builds the rest."""
    wanted = week.ledger.build(week.world)
    week.site.behave(create_ann={"sleep": 60})
    process = week.coordinator()
    week.site.wait_for_call("create_ann")

    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)

    assert process.returncode == 143, out
    week.site.behave()
    assert week.day().status == 0
    assert sorted(week.site.own_calls) == sorted([*wanted, "create_ann"])
    check_whole(week)


def test_coordinator_ends_within_its_time_and_leaves_the_rest_to_the_next_day(week: Week):
    """What cannot end by the deadline is left alone; but for the step at work nothing is lost."""
    wanted = week.ledger.build(week.world)
    week.site.behave(create_ann={"sleep": 120})
    week.settings["CBNG_DEADLINE"] = "20"
    began = time.monotonic()
    ended = week.day()

    assert ended.status == 14, ended
    assert time.monotonic() - began < 60
    assert "is left to the next build: CBNG_DEADLINE" in ended.out
    week.site.behave()
    week.settings.clear()
    assert week.day().status == 0
    twice = Counter(week.site.own_calls) - Counter(wanted)
    assert Counter(wanted) <= Counter(week.site.own_calls)
    assert twice.total() <= 1
    check_whole(week)


CALLED_FOR = {
    "bayes-train": "bayes_train", "bayes-db": "bayes.db", "two-bayes-db": "two_bayes.db",
    "ann-train": "ann_train", "ann": "create_ann", "trial": "trial_run",
}  # fmt: skip
"""What a job is called after → what the core is called for in it."""


def by_jobs(week: Week, standin: JobsStandin, digit: str) -> list[str]:
    """Build for a day by jobs, in the image with a digest of that digit; what was called for."""
    image = f"tools-harbor.wmcloud.org/tool-cluebotng/core:latest@sha256:{digit * 64}"
    week.settings["CBNG_CORE_IMAGE"] = image
    before = len(standin.made)
    ended = week.day()
    assert ended.status == 0, ended
    names = [name.removeprefix("cbng-").rpartition("-")[0] for name in standin.names()[before:]]
    return sorted(CALLED_FOR[name] for name in names if not name.startswith(RIVALS))


def ship_models(core: Path) -> None:
    """Put models into *core*, as the image of the real one has them."""
    (core / "data").mkdir()
    for name in ("bayes.db", "two_bayes.db"):
        write_bayes_db(core / "data" / name, [TOTALS])
    (core / "data" / "main_ann.fann").write_bytes(NETWORK)


def test_image_changes_and_changes_back(week: Week, tmp_path: Path):
    """With another image all is built again, once, by jobs; with the one before nothing is."""
    printing = week.site.core / "print_bayes_db"
    printing.unlink()
    printing.symlink_to(ENGINE / "bin" / printing.name)
    ship_models(week.site.core)
    with jobs_standin(tmp_path, week.site.core, FILE_API_KEY=TOKEN) as standin:
        standin.names_of = {"http://store.invalid": week.service.url}
        week.settings = {
            "CBNG_DISPATCH": "jobs", "CBNG_CORE": "", "TOOL_TOOLFORGE_API_URL": standin.url,
            "CBNG_STORE_URL_IN_PODS": "http://store.invalid",
            "K8S_CLIENT_CRT": "certificate", "K8S_CLIENT_KEY": "key",
        }  # fmt: skip
        first = by_jobs(week, standin, "1")
        other = by_jobs(week, standin, "2")
        back = by_jobs(week, standin, "1")

    assert first == sorted(week.ledger.build(START))
    assert other == sorted(week.ledger.build(replace(START, program="other")))
    assert back == week.ledger.build(START) == []
    assert any(name.startswith("cbng-reference-") for name in standin.names())
    check_whole(week)
    check_disk(week.service.root)
