"""Days of scheduled builds, each from an empty directory, and what has to come of them."""

import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

import requests

from tests.conftest import ROOT, Ended, Site
from tests.ledger import Edit, Ledger, World, edits_about
from tests.review_standin import Review
from tests.web.conftest import TOKEN, Running, serving

START = World(
    {
        "Alpha": (edits_about(100, 12, "river"), edits_about(200, 8, "river")),
        "Beta": (edits_about(300, 12, "mountain"), edits_about(400, 8, "mountain")),
        "Gamma/50": (edits_about(500, 9, "lake"), edits_about(600, 6, "lake")),
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
