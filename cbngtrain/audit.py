"""
Building each step of an edit set twice from the same inputs: does the same come out?

Nothing of it gets into the store: each time the step runs into a store of its own, which is thrown
away. A step whose meanings disagree cannot be relied upon: whether it is built or found matters.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from cbngtrain.build import Build, Dispatcher, read_reference
from cbngtrain.errors import StepFailed, StoreError
from cbngtrain.plan import EditSet
from cbngtrain.step import Artifact, Made, Record, Step, fingerprint
from cbngtrain.store import DirectoryStore, Store

log = logging.getLogger(__name__)

BYTES, MEANING, NEITHER = "same bytes", "same meaning, other bytes", "other meaning"


@dataclass(frozen=True, slots=True)
class Finding:
    """
    What came out of a step that ran twice.

    Attributes:
        step: The step's name.
        artifact: The artifact's; empty where the step failed.
        agrees: `BYTES`, `MEANING` or `NEITHER`: of the two runs.
        recorded: The same, of the first run and the record in the store; empty without a record.
        problem: Why the step failed, else empty.
    """

    step: str
    artifact: str
    agrees: str
    recorded: str
    problem: str = ""


def audit(
    build: Build, edit_set: EditSet, dispatcher: Callable[[Store], Dispatcher]
) -> Iterator[Finding]:
    """
    Yield what comes out of each step of *edit_set* that has anything to do.

    Args:
        build: Where its references and records are.
        edit_set: Which.
        dispatcher: Makes a place where steps run that leaves its results in the store given.

    Raises:
        StoreError: What a step reads has not been built, or is not in the store any more.
        DispatchError: A step could not be started.
    """
    steps = [step for step in build.plan.steps[edit_set.slug] if build.is_due(step)]
    for step in tqdm(steps, desc="audit", unit=" steps", disable=None, leave=False):
        inputs = _inputs(build, step)
        with build.scratch.directory("audit") as directory:
            try:
                first, second = (
                    _made(build.store, step, inputs, directory / run, dispatcher)
                    for run in ("first", "second")
                )
            except StepFailed as error:
                yield Finding(step.name, "", NEITHER, "", error.problem)
                continue
        standing = build.store.find(first.fingerprint)
        for artifact in first.artifacts:
            recorded = standing and _agreement(artifact, standing.artifact(artifact.name))
            agrees = _agreement(artifact, second.artifact(artifact.name))
            yield Finding(step.name, artifact.name, agrees, recorded or "")


def _inputs(build: Build, step: Step) -> Mapping[str, Made]:
    """Return what *step* reads: as referred to here, else as its last complete build did."""
    reads = step.recipe.reads.values()
    if all(read_reference(build.reference(step.slug, artifact)) for artifact in reads):
        return build.inputs(step)
    row = build.store.head(step.slug).get("steps", {}).get(step.recipe.name, {})
    record = build.store.find(row["fingerprint"]) if row else None
    if record is None:
        raise StoreError(f"{step.name} has not been built yet; run `doit {step.name}`")
    return record.inputs


def _made(
    store: Store,
    step: Step,
    inputs: Mapping[str, Made],
    directory: Path,
    dispatcher: Callable[[Store], Dispatcher],
) -> Record:
    """Run *step* into a store of its own, in *directory*, and return the record it leaves."""
    own = DirectoryStore(directory / "store")
    directory.mkdir()
    for made in inputs.values():
        store.fetch(made.artifact.digest, directory / "input")
        own.add(directory / "input")
    key = fingerprint(step, inputs)
    log.info("%s: %s run", step.name, directory.name)
    dispatcher(own).run(step, key, inputs)
    record = own.find(key)
    if record is None:
        raise StoreError(f"{step.name} ended without leaving its record {key}")
    return record


def _agreement(one: Artifact, other: Artifact) -> str:
    """Return in what two artifacts agree."""
    if one.digest == other.digest:
        return BYTES
    return MEANING if one.meaning == other.meaning else NEITHER
