"""
What chance alone does: networks that differ from one that was built by nothing but their seeds.

Each is trained and tried by the steps that a build has, with another seed, so a second call finds
their records, and so does a build with ``CBNG_SEED``. The records, references and instances of the
edit set are left alone; the spread is kept beside them, and quoted by the comparison of the
network that it is of.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from cbngtrain.build import Build, read_reference, write_reference
from cbngtrain.errors import PlanError
from cbngtrain.recipes import SPREAD
from cbngtrain.reference import spread_head
from cbngtrain.step import Made, Record, Step

MOST_SEEDS = 100


def spread(build: Build, slug: str, seeds: int, at_once: int = 1) -> Record:
    """
    Train and try networks of other seeds, and return the record of where the built one stands.

    Args:
        build: The build whose network it is.
        slug: Of which edit set.
        seeds: How many others.
        at_once: How many at the same time.

    Raises:
        PlanError: The edit set has no trial.
        StoreError: The network and its trial have not been built yet.
        DispatchError: A step failed.
    """
    steps = {step.recipe.name: step for step in build.plan.steps[build.plan.edit_set(slug).slug]}
    if "trial" not in steps:
        raise PlanError(f"{slug} has no trial: nothing tells one network from another")
    ann, trial, report = (steps[name] for name in ("ann", "trial", "report"))
    inputs = {name: build.inputs(report)[name] for name in SPREAD.reads}
    chosen = _seeds(_own_seed(build, ann), seeds)
    with ThreadPoolExecutor(at_once) as pool:
        tried = list(pool.map(lambda seed: _tried(build, ann, trial, seed), chosen))
    details = {
        f"seeds/{seed}.txt": Made(record.artifact("trial/details.txt"), record.fingerprint)
        for seed, (_, record) in zip(chosen, tried, strict=True)
    }
    step = _spread_step(build, report, details)
    record, _ = build.realise(step, {**inputs, **details})
    _keep(build, slug, record, tried)
    return record


def _own_seed(build: Build, ann: Step) -> object:
    """Return the seed that the built network was really made from, whatever is set now."""
    made = read_reference(build.reference(ann.slug, "main_ann.fann"))
    record = build.store.find(made.by) if made else None
    return (record.parts if record else ann.spec)["parameters"]["seed"]


def _seeds(own: object, number: int) -> list[int]:
    """Return the first *number* seeds from 1 that are not the built network's own."""
    return [seed for seed in range(1, number + 2) if seed != own][:number]


def _tried(build: Build, ann: Step, trial: Step, seed: int) -> tuple[Record, Record]:
    """Return the records of the network that *seed* makes, and of its trial."""
    other = replace(ann, parameters={**ann.parameters, "seed": seed})
    network, _ = build.realise(other, build.inputs(ann))
    made = Made(network.artifact("main_ann.fann"), network.fingerprint)
    record, _ = build.realise(trial, {**build.inputs(trial), "data/main_ann.fann": made})
    return network, record


def _spread_step(build: Build, report: Step, details: Mapping[str, Made]) -> Step:
    """Return the step that tells where the network stands among *details*."""
    reads = {**SPREAD.reads, **dict.fromkeys(details, "trial/details.txt")}
    name = build.plan.edit_set(report.slug).name
    return Step(
        recipe=replace(SPREAD, reads=reads),
        slug=report.slug,
        program=report.program,
        conf=None,
        parameters={"edit_set": name},
    )


def _keep(build: Build, slug: str, record: Record, tried: Sequence[tuple[Record, Record]]) -> None:
    """Keep what was made for others to find, and for this checkout's next comparison."""
    steps = {"spread": {"fingerprint": record.fingerprint, "before": None}}
    for number, pair in enumerate(tried, 1):
        for name, each in zip(("ann", "trial"), pair, strict=True):
            steps[f"{name}-{number}"] = {"fingerprint": each.fingerprint, "before": None}
    edit_set = build.plan.edit_set(slug).name
    build.store.set_head(spread_head(slug), {"edit_set": edit_set, "sources": {}, "steps": steps})
    made = Made(record.artifact("spread.json"), record.fingerprint)
    write_reference(build.reference(slug, "spread.json"), made)
