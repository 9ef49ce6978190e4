"""
Instances and heads: what a complete build of an edit set leaves for others to find.

An instance takes the records that stand. It is published when what it means differs from the
latest, when the latest is not whole, or when a name was asked for; nothing changed, no instance.
Where a clock was wrong and the latest is of a time to come, what is newer is named after it: else
it would be the latest until then, and each build would publish again.
"""

import logging
import re
import time
from calendar import timegm
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cbngtrain.answers import EDITS
from cbngtrain.build import Build, read_reference
from cbngtrain.errors import InstanceConflict, StoreError
from cbngtrain.plan import EditSet
from cbngtrain.promote import promote, verdict_on
from cbngtrain.step import Artifact, Digest, Fingerprint, Record, Source, Step, fingerprint
from cbngtrain.store import Instance

log = logging.getLogger(__name__)

_TIME = "%Y-%m-%d %H:%M:%S"  # UTC


@dataclass(frozen=True, slots=True)
class Contents:
    """
    What stands in the store for an edit set.

    Attributes:
        edit_set: Which.
        sources: Role (``train``, ``trial``) → record.
        steps: Its steps, in building order, and the record of each.
    """

    edit_set: EditSet
    sources: Mapping[str, Record]
    steps: tuple[tuple[Step, Record], ...]

    @property
    def artifacts(self) -> dict[str, tuple[Artifact, Record]]:
        """Published path → the artifact and its record."""
        found = {
            published_path(f"{role}.xml"): (record.artifact(EDITS), record)
            for role, record in self.sources.items()
        }
        for _, record in self.steps:
            found |= {published_path(a.name): (a, record) for a in record.artifacts}
        return found

    @property
    def meanings(self) -> dict[str, Digest]:
        """Published path → meaning."""
        return {path: artifact.meaning for path, (artifact, _) in self.artifacts.items()}


def is_published_artifact(artifact: str) -> bool:
    """Return whether *artifact* is the edit set's own, not of a network it is compared with."""
    return not artifact.startswith(("previous/", "reference/")) and artifact != "spread.json"


def published_path(artifact: str) -> str:
    """Return where an artifact is found in an instance, as it always was; else its own name."""
    if not is_published_artifact(artifact):
        return artifact
    if artifact in {"train.xml", "trial.xml"}:
        return f"edit-sets/{artifact}"
    return artifact if artifact.startswith("trial/") else f"artifacts/{artifact}"


def contents(build: Build, edit_set: EditSet) -> Contents:
    """
    Return what stands in the store for *edit_set*.

    A record that is not whole, since a log or another blob that no step reads is lost, is made
    again; the steps stand in building order, so those below it see what came of that.

    Raises:
        TrainerError: A record could not be made again.
        StoreError: A record was made from other inputs than those beside it.
    """
    sources = {source.role: _source_record(build, source) for source in edit_set.sources}
    steps = _steps(build, edit_set)
    found = Contents(edit_set, sources, tuple((step, _step_record(build, step)) for step in steps))
    _refuse_strangers(found)
    return found


def _source_record(build: Build, source: Source) -> Record:
    """Return the record that stands for *source*."""
    reference = build.reference(source.slug, source.artifact)
    made = read_reference(reference)
    record = build.store.find(made.by) if made else None
    if record is None:
        build.make_again(source)
        made = read_reference(reference)
        record = build.store.find(made.by) if made else None
    return _certain(record, source.name)


def _step_record(build: Build, step: Step) -> Record:
    """Return the record that stands for *step*."""
    record = build.store.find(fingerprint(step, build.inputs(step)))
    if record is None:
        build.make_again(step)
        record = build.store.find(fingerprint(step, build.inputs(step)))
    return _certain(record, step.name)


def _certain(record: Record | None, name: str) -> Record:
    """Return the record of the task *name*. Raises StoreError if there is none."""
    if record is None:
        raise StoreError(f"{name}: its record is gone from the store again; run doit again")
    return record


def _refuse_strangers(found: Contents) -> None:
    """Raise StoreError if a record was made from an input that means another than is published."""
    meanings = found.meanings
    for step, record in found.steps:
        for path, artifact in step.recipe.reads.items():
            if record.parts["inputs"][path] != meanings[published_path(artifact)]:
                raise StoreError(
                    f"{step.name} was made from another {artifact} than stands beside it; "
                    "run doit again"
                )


def is_published(build: Build, edit_set: EditSet) -> bool:
    """Return whether the latest instance is whole and means what the references say."""
    latest = build.store.latest(edit_set.name)
    if latest is None or build.has_asked_name:
        return False
    referred = {}
    for artifact in _artifacts(build, edit_set):
        made = read_reference(build.reference(edit_set.slug, artifact))
        referred[published_path(artifact)] = made and made.artifact.meaning
    return dict(latest.meanings) == referred


def _artifacts(build: Build, edit_set: EditSet) -> list[str]:
    """Return the names of all artifacts of *edit_set*."""
    sources = [source.artifact for source in edit_set.sources]
    leaves = [leaf.artifact for step in _steps(build, edit_set) for leaf in step.recipe.leaves]
    return sources + leaves


def _steps(build: Build, edit_set: EditSet) -> list[Step]:
    """Return the steps of *edit_set* that had something to do, and whose leaves are published."""
    return [
        step
        for step in build.plan.steps[edit_set.slug]
        if build.is_due(step)
        and all(is_published_artifact(leaf.artifact) for leaf in step.recipe.leaves)
    ]


def publish(build: Build, edit_set: EditSet) -> dict[str, str]:
    """
    Publish what stands for *edit_set*, if it is not published, and keep its head.

    Returns:
        ``did``: ``published`` or ``unchanged``; ``why``: the instance.

    Raises:
        StoreError: Something is missing, or the name that was asked for is taken.
    """
    found = contents(build, edit_set)
    _keep_head(build, found)
    latest = build.store.latest(edit_set.name)
    is_same = latest is not None and dict(latest.meanings) == found.meanings
    if latest and is_same and not build.has_asked_name:
        return {"did": "unchanged", "why": f"{edit_set.name}/{latest.name}"}
    name = build.instance
    if latest and latest.name > time.strftime(_TIME, time.gmtime()) and not build.has_asked_name:
        name = _after(latest.name)
        log.warning("%s/%s is of a time to come; its next is %s", edit_set.name, latest.name, name)
    while True:
        try:
            build.store.publish(_instance(found, name))
        except InstanceConflict:
            if build.has_asked_name:
                raise
            name = _after(name)
        else:
            told = _promoted(build, edit_set, name) if build.promotes else ""
            return {"did": "published", "why": f"{edit_set.name}/{name}{told}"}


def _after(name: str) -> str:
    """Return the second after *name*, which need not be a day that there is."""
    told = [int(number) for number in re.findall("[0-9]+", name)]
    return time.strftime(_TIME, time.gmtime(timegm((*told,)) + 1))


def _promoted(build: Build, edit_set: EditSet, name: str) -> str:
    """Promote what was just published if the gate lets it; return what is said of that."""
    instance = build.store.instance(edit_set.name, name)
    if instance is None:
        raise StoreError(f"{edit_set.name}/{name} is gone from the store again; run doit again")
    verdict = verdict_on(build.store, instance, build.rule)
    if not verdict.promotes:
        return f"; held: {verdict.why}"
    promote(build.store, instance, verdict, "doit, as CBNG_PROMOTE=auto says")
    return f"; in production: {verdict.why}"


def _keep_head(build: Build, found: Contents) -> None:
    """Keep which fingerprints this complete build used, and those before them, for ``why``."""
    slug = found.edit_set.slug
    before = build.store.head(slug)
    steps = {
        step.recipe.name: _moved(before.get("steps", {}).get(step.recipe.name), record.fingerprint)
        for step, record in found.steps
    }
    kept = before.get("steps", {})
    steps |= {name: _moved(kept.get(name), by) for name, by in _tried(build, slug)}
    sources = {
        role: _moved(before.get("sources", {}).get(role), record.fingerprint)
        for role, record in found.sources.items()
    }
    head = {"edit_set": found.edit_set.name, "sources": sources, "steps": steps}
    if head != before:
        build.store.set_head(slug, head)


def _tried(build: Build, slug: str) -> Iterator[tuple[str, Fingerprint]]:
    """Yield the steps that tried other networks for comparison, and what made their scores."""
    for step in build.plan.steps[slug]:
        (first, *_) = step.recipe.leaves
        made = read_reference(build.reference(slug, first.artifact))
        if made and not is_published_artifact(first.artifact):
            yield step.recipe.name, made.by


def _moved(before: Mapping[str, Any] | None, now: Fingerprint) -> dict[str, Any]:
    """Return a row of a head: the fingerprint now, and the one before it."""
    if before and before["fingerprint"] == now:
        return dict(before)
    return {"fingerprint": now, "before": before and before["fingerprint"]}


def _instance(found: Contents, name: str) -> Instance:
    """Return the instance called *name*."""
    files = {path: artifact.digest for path, (artifact, _) in found.artifacts.items()}
    for step, record in found.steps:
        if record.log:
            files[f"logs/{step.recipe.name}.log"] = record.log
    return Instance(found.edit_set.name, name, files, found.meanings, _about(found))


def _about(found: Contents) -> dict[str, Any]:
    """Return what everything in the instance was made from, down to the edit sets."""
    urls = {source.role: source.url for source in found.edit_set.sources}
    return {
        "published": time.strftime(_TIME, time.gmtime()),
        "edit_sets": {
            published_path(f"{role}.xml"): {
                "url": urls[role],
                "raw": record.parts["source"]["raw"],
                "counts": record.about["counts"],
            }
            for role, record in found.sources.items()
        },
        "artifacts": {
            path: {
                "digest": artifact.digest,
                "meaning": artifact.meaning,
                "size": artifact.size,
                "fingerprint": record.fingerprint,
            }
            for path, (artifact, record) in found.artifacts.items()
        },
        "steps": {step.recipe.name: _step_about(step, record) for step, record in found.steps},
    }


def _step_about(step: Step, record: Record) -> dict[str, Any]:
    """Return what a step did: its fingerprint's parts, what it left, what it read."""
    reads = {**step.recipe.reads, **step.recipe.may_read}
    return {
        "fingerprint": record.fingerprint,
        "program": dict(step.program),
        "conf": step.conf,
        "command": list(step.command),
        "parameters": dict(step.parameters),
        "leaves": [published_path(artifact.name) for artifact in record.artifacts],
        "made_from": {
            published_path(reads[path]): {
                "digest": made.artifact.digest,
                "meaning": made.artifact.meaning,
                "fingerprint": made.by,
            }
            for path, made in record.inputs.items()
            if path in reads
        },
        "about": dict(record.about),
    }
