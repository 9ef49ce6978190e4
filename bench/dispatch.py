"""
``python -m bench.dispatch``: what does dispatching steps as pods cost?

Two answers. The first, on the test cluster (``--cluster``): seconds per step from the moment at
which it is dispatched to the moment at which its record is known, beyond what its command took.

The second, anywhere: a build of 30 edit sets whose steps take given times, with a quota of so many
pods, over a fake cluster's HTTP, by real doit. It is held against the lower bound: the longer of
the longest chain, and of all steps' times over the number of pods.
"""

import argparse
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from doit.cmd_base import ModuleTaskLoader
from doit.doit_cmd import DoitMain

from cbngtrain import tasks
from cbngtrain.build import Build
from cbngtrain.dispatch.attendant import Pace
from cbngtrain.dispatch.manifest import FINGERPRINT
from cbngtrain.dispatch.pods import PodDispatcher
from cbngtrain.dispatch.programs import Images
from cbngtrain.dispatch.slots import longest_chains
from cbngtrain.plan import EditSet, Plan, Programs, plan
from cbngtrain.recipes import RECIPES
from cbngtrain.settings import Settings
from cbngtrain.step import (
    Artifact,
    Digest,
    Fingerprint,
    Made,
    Record,
    Step,
    fingerprint,
    fingerprint_of,
)
from cbngtrain.store import DirectoryStore
from tests.conftest import dump, edits
from tests.dispatch.conftest import CORE, TOKEN, Scene, settings_of
from tests.dispatch.fake_cluster import FakeCluster, Json
from tests.dispatch.real import SNIPPET, Releases, real_cluster
from tests.web.conftest import serving

GOAL = 1.10  # times the lower bound

MINUTES = {  # of a middling edit set, in proportion; another's are so many times that
    "bayes_train": 4.0,
    "bayes_db": 0.7,
    "two_bayes_db": 1.0,
    "ann_train": 6.0,
    "ann": 8.0,
    "trial": 5.0,
}
OTHERS = 0.4  # what is not listed


def given_times(planned: Plan, scale: float, seed: int) -> dict[str, float]:
    """Return step's name → seconds: edit sets differ in size by up to ten times."""
    chance = random.Random(seed)
    found = {}
    for steps in planned.steps.values():
        size = chance.choice((0.3, 0.5, 0.8, 1.0, 1.0, 1.5, 2.0, 3.0))
        for step in steps:
            minutes = MINUTES.get(step.recipe.name, OTHERS)
            found[step.name] = minutes * size * scale * chance.uniform(0.8, 1.2)
    return found


def lower_bound(planned: Plan, times: Mapping[str, float], pods: int) -> float:
    """Return the seconds that no schedule can undercut; what is not in *times* takes none."""
    chains = [
        max(longest_chains(steps, [times.get(step.name, 0.0) for step in steps]).values())
        for steps in planned.steps.values()
    ]
    return max(*chains, sum(times.values()) / pods)


class Simulation:
    """A build whose pods do nothing but take their time and leave their records."""

    def __init__(self, path: Path, sets: int, pods: int, scale: float, seed: int) -> None:
        self.store = DirectoryStore(path / "store")
        self.cluster = FakeCluster(play=self._play, quota={"pods": str(pods)})
        self.settings: Settings = settings_of(
            self.cluster.start(path), CBNG_REVIEW_URL=f"file:{path}/review"
        )
        names = [f"set-{number:02}" for number in range(sets)]
        (path / "review" / "dumps").mkdir(parents=True)
        for number, name in enumerate(names):
            text = dump(edits(1000 * number, 3, f"river{number}"))
            (path / "review" / "dumps" / f"{name}.xml").write_text(text, encoding="utf-8")
        urls = [f"file:{path}/review/dumps/{name}.xml" for name in names]
        every = [EditSet(name, name, url, url) for name, url in zip(names, urls, strict=True)]
        programs = Programs({"image": CORE.pinned}, None, {"image": CORE.pinned})
        self.plan = plan(every, programs)
        self.times = given_times(self.plan, scale, seed)
        self._wanted: dict[str, tuple[Step, Mapping[str, Made]]] = {}
        self._path = path
        self._leave_times()
        images = Images(CORE, CORE)
        pace = Pace(look=0.2, poll=30, quota=2)
        self._dispatcher = PodDispatcher(self.store, self.settings, self.plan, images, pace)
        self.began = self.ended = 0.0

    def run(self, step: Step, key: Fingerprint, inputs: Mapping[str, Made]) -> None:
        """Dispatch, remembering what for; see `Dispatcher`."""
        self._wanted[key] = (step, inputs)
        self._dispatcher.run(step, key, inputs)
        self.ended = time.monotonic()

    @property
    def made(self) -> set[str]:
        """The names of the steps that were dispatched."""
        return {step.name for step, _ in self._wanted.values()}

    def _leave_times(self) -> None:
        """Leave records that tell how long every step took before."""
        for slug, steps in self.plan.steps.items():
            head = {}
            for step in steps:
                parts = {"of": "the last build", "step": step.name}
                about = {"seconds": self.times[step.name]}
                record = Record(fingerprint_of(parts), (), None, parts, about=about)
                self.store.keep(record)
                head[step.recipe.name] = {"fingerprint": record.fingerprint}
            self.store.set_head(slug, {"steps": head})

    def _play(self, cluster: FakeCluster, pod: Json) -> None:
        """Take the step's time, leave its record, end."""
        name = pod["metadata"]["name"]
        step, inputs = self._wanted[pod["metadata"]["annotations"][FINGERPRINT]]
        self.began = self.began or time.monotonic()
        cluster.run(name)
        time.sleep(self.times[step.name])
        artifacts = [self._artifact(step, leaf.artifact) for leaf in step.recipe.leaves]
        key = fingerprint(step, inputs)
        log = self._blob(f"log of {step.name}")
        record = Record(key, tuple(artifacts), log, step.parts(inputs), dict(inputs))
        self.store.keep(record)
        cluster.end(name, 0)

    def _artifact(self, step: Step, name: str) -> Artifact:
        digest = self._blob(f"{name} of {step.name}")
        return Artifact(name, digest, digest, self.store.path(digest).stat().st_size)

    def _blob(self, text: str) -> Digest:
        path = self._path / f"blob-{threading.get_ident()}"
        path.write_text(text, encoding="utf-8")
        return self.store.add(path)

    def build(self) -> None:
        """Build all with doit."""
        build = Build(self.plan, self.store, self, self.settings)
        namespace = {
            "DOIT_CONFIG": {**tasks.doit_config(build), "outfile": os.devnull},
            "task_build": lambda: tasks.as_doit_tasks(build, runs=True),
        }
        targets = [step.name for steps in self.plan.steps.values() for step in steps]
        DoitMain(ModuleTaskLoader(namespace)).run(["run", *targets])
        self._dispatcher.stopping.begin()


def simulate(options: argparse.Namespace) -> bool:
    """Print what the simulated build took; return whether that is near enough to the bound."""
    with tempfile.TemporaryDirectory() as folder:
        before = Path.cwd()
        os.chdir(folder)
        try:
            made = Simulation(Path(folder), options.sets, options.pods, options.scale, options.seed)
            made.build()
        finally:
            os.chdir(before)
    took = made.ended - made.began
    times = {name: made.times[name] for name in made.made}
    bound = lower_bound(made.plan, times, options.pods)
    pods = len(made.cluster.created)
    print(
        f"{options.sets} edit sets, {len(times)} steps of {statistics.mean(times.values()):.1f} s "
        f"({min(times.values()):.1f} to {max(times.values()):.1f} s), {options.pods} pods at once:"
        f"\n{took:.1f} s; bound {bound:.1f} s, {took / bound:.3f} times that; {pods} pods made"
    )
    return took <= GOAL * bound and pods == len(times)


def main() -> int:
    """Run what is asked for; return 1 if the goal is missed, which a busy machine may cause."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument(
        "--cluster", action="store_true", help="the overhead on the test cluster"
    )
    arguments.add_argument("--sets", type=int, default=30)
    arguments.add_argument("--pods", type=int, default=10)
    arguments.add_argument("--scale", type=float, default=1.0, help="times the given seconds")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--steps", type=int, default=8, help="steps on the test cluster")
    options = arguments.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    if options.cluster:
        overhead(options.steps)
        return 0
    is_met = simulate(options)
    print("goal met" if is_met else f"goal missed: {GOAL} times the bound")
    return 0 if is_met else 1


def overhead(steps: int) -> None:
    """Print the seconds from a step's dispatch to its record, beyond its command's own."""
    command = 2.0
    cpu = min(recipe.resources.cpu for recipe in RECIPES)
    script = f"sleep {command}; echo '# a table' > data/out.txt"
    found = []
    with real_cluster() as real, tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        path = Path(folder)
        os.chdir(path)
        env = {"FILE_API_KEY": TOKEN, "CBNG_KEEP_FREE": "0"}
        service = stack.enter_context(serving(path / "store", env, host=real.host))
        releases = Releases(real.host, {"v1": SNIPPET})
        stack.callback(releases.stop)
        for number in range(steps + 1):
            scene = Scene(real, service, releases, path, f"bench-{os.getpid()}-{number}")
            began = time.monotonic()
            scene.run(script, scene.step(cpu=cpu))
            found.append(time.monotonic() - began - command)
        os.chdir("/")
    first, *rest = found
    print(
        f"overhead per step, {cpu} CPU each: median {statistics.median(rest):.2f} s, "
        f"{min(rest):.2f} to {max(rest):.2f} s in {steps} steps; "
        f"the first, with the client's start, {first:.2f} s"
    )


if __name__ == "__main__":
    sys.exit(main())
