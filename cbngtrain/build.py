"""
One build: here fingerprint, store and dispatcher meet.

doit decides whether to look; `Build.make` looks, and the store decides whether to work. What is
known of an artifact is kept in its *reference*, ``build/{slug}/{artifact}``: one line with
meaning, digest, size and the fingerprint that made it. A reference says what stands in the store;
it is written after the record was read there.
"""

import json
import logging
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from cbngtrain.answers import EDITS, Answers
from cbngtrain.errors import BlobNotFound, DispatchError, FormatError, OverlapError, StoreError
from cbngtrain.locks import one_at_a_time
from cbngtrain.plan import Plan
from cbngtrain.promote import rule_of
from cbngtrain.review import ReviewService
from cbngtrain.scratch import DIRECTORY, Scratch
from cbngtrain.settings import Settings
from cbngtrain.step import (
    Artifact,
    Digest,
    Fingerprint,
    Made,
    Model,
    Record,
    Source,
    Step,
    digest,
    fingerprint,
)
from cbngtrain.store import Store

log = logging.getLogger(__name__)


class Dispatcher(Protocol):
    """A place where steps run. It reports through the store and by raising, in no other way."""

    def run(self, step: Step, key: Fingerprint, inputs: Mapping[str, Made]) -> None:
        """
        Run *step*, leaving its blobs and its record in the store.

        Raises:
            BlobNotFound: An input is not in the store, or had rotted there.
            DispatchError: The step could not be run, failed or took too long.
        """


def realise(
    step: Step, inputs: Mapping[str, Made], store: Store, dispatcher: Dispatcher
) -> tuple[Record, bool]:
    """
    Return the record of *step* on *inputs*, running it only if nobody has yet.

    Returns:
        The record that stands, and whether the step was run for it.

    Raises:
        DispatchError: The step could not be run, failed or took too long.
        StoreError: The store could not be reached, or an input is not in it.
    """
    key = fingerprint(step, inputs)
    with one_at_a_time(key, step.name):
        if record := store.find(key):
            log.info("%s: already built as %.12s", step.name, key)
            return record, False
        log.info("%s: building as %.12s", step.name, key)
        log.debug("%s: fingerprint of %s", step.name, json.dumps(step.parts(inputs)))
        dispatcher.run(step, key, inputs)
        if record := store.find(key):
            return record, True
    raise DispatchError(f"{step.name} ended without leaving its record {key} in the store")


# References ------------------------------------------------------------------------------------


def read_reference(path: Path) -> Made | None:
    """Return what the reference *path* tells, or None if there is none that can be read."""
    try:
        meaning, own, size, by = path.read_text(encoding="ascii").split()
        artifact = Artifact("", digest(own), digest(meaning), int(size))
        return Made(artifact, Fingerprint(digest(by)))
    except (OSError, ValueError, FormatError):
        return None


def write_reference(path: Path, made: Made) -> None:
    """
    Write the reference *path*, whole or not at all; leave it alone if it says so already.

    Raises:
        DispatchError: It cannot be written.
    """
    artifact = made.artifact
    line = f"{artifact.meaning} {artifact.digest} {artifact.size} {made.by}\n"
    with suppress(OSError):
        if path.read_text(encoding="ascii") == line:
            return
    part = path.with_name(f".{path.name}.{threading.get_ident()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(line, encoding="ascii")
        part.replace(path)
    except OSError as error:
        raise DispatchError(f"{path}: cannot be written: {error.strerror}") from error


def is_same_meaning(one: Made, other: Made) -> bool:
    """Return whether two artifacts are interchangeable."""
    return one.artifact.meaning == other.artifact.meaning


# A build ---------------------------------------------------------------------------------------


class Build:
    """
    The verbs of one build, for the tasks: `ask` a source, `make` a step, `publish` an edit set.

    Every verb returns a dict for the reporter: ``did`` (``changed``, ``unchanged``, ``built``,
    ``found``, ``published``) and ``why``.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        dispatcher: Dispatcher,
        settings: Settings,
        *,
        instance: str = "",
    ) -> None:
        """
        Args:
            plan: All edit sets, sources and steps.
            store: Where results are.
            dispatcher: Where steps run.
            settings: The machine's.
            instance: The name that instances must have; else the time now.
        """
        self.plan = plan
        self.store = store
        self._dispatcher = dispatcher
        self._settings = settings
        self.has_store_here = not settings.store_url  # asking it needs no network
        self.has_asked_name = bool(instance)
        self.step_env = settings.step_env
        self.source_max_age = settings.source_max_age
        self.rule = rule_of(settings)  # by which networks are promoted
        self.promotes = settings.promote == "auto"
        self.place = settings.dispatch  # where steps run
        self.metrics_file = settings.metrics_file
        self.instance = instance or time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
        self.scratch = Scratch()
        review = ReviewService(settings.review_url)
        self._answers = Answers(review, store, self.scratch, settings.source_max_age)
        self._missing: set[Digest] | None = None

    # References

    def reference(self, slug: str, artifact: str) -> Path:
        """Return where the reference to *artifact* of the edit set *slug* is."""
        return DIRECTORY / slug / artifact

    def inputs(self, step: Step) -> dict[str, Made]:
        """
        Return what *step* reads, by path in its working directory, as the references have it.

        Raises:
            StoreError: A reference is missing: what makes it has not been looked at yet.
        """
        found = {}
        for path, artifact in {**step.recipe.reads, **step.recipe.may_read}.items():
            made = read_reference(self.reference(step.slug, artifact))
            if made is not None:
                found[path] = replace(made, artifact=replace(made.artifact, name=artifact))
            elif path in step.recipe.reads:
                raise StoreError(
                    f"{step.name}: {self.reference(step.slug, artifact)} is missing or malformed; "
                    f"run `doit {self.plan.maker(step.slug, artifact).name}`"
                )
        return found

    def is_due(self, step: Step) -> bool:
        """Return whether *step* has anything to do, as the references have it."""
        needed = (self.reference(step.slug, artifact) for artifact in step.recipe.if_any)
        return not step.recipe.if_any or any(map(read_reference, needed))

    def key(self, step: Step) -> str:
        """Return the fingerprint of *step*, or nothing where it has nothing to do."""
        return fingerprint(step, self.inputs(step)) if self.is_due(step) else ""

    def is_stored(self, slug: str, artifacts: list[str]) -> bool:
        """
        Return whether the store has what the references to *artifacts* name.

        The first question of a build asks for all references at once; the answer is remembered.
        """
        found = [read_reference(self.reference(slug, artifact)) for artifact in artifacts]
        if self._missing is None:
            self._missing = self.store.missing(self._referenced())
        return all(made and made.artifact.digest not in self._missing for made in found)

    def _referenced(self) -> set[Digest]:
        """Return the digests that the references of the whole plan name."""
        artifacts = [
            (slug, leaf.artifact)
            for slug, steps in self.plan.steps.items()
            for step in steps
            for leaf in step.recipe.leaves
        ]
        found = (read_reference(self.reference(*artifact)) for artifact in artifacts)
        return {made.artifact.digest for made in found if made}

    # Sources

    def ask(self, source: Source) -> dict[str, str]:
        """
        Ask *source* and refer to its answer.

        Raises:
            ReviewError: It cannot be asked.
            FormatError: Its answer is no edit set.
            OverlapError: It is a trial set that shares edits with the training set, and the
                settings refuse that.
        """
        answer = self._answers.to(source.url)
        reference = self.reference(source.slug, source.artifact)
        before = read_reference(reference)
        made = Made(answer.record.artifact(EDITS), answer.record.fingerprint)
        is_same = before is not None and before.artifact.meaning == made.artifact.meaning
        stands = before and is_same and (before.by == made.by or self.store.find(before.by))
        if not stands:
            write_reference(reference, made)
        shared = self._shared(source) if source.role == "trial" else 0
        why = (
            f"{answer.counts}; {shared} also in the training set" if shared else str(answer.counts)
        )
        if not is_same:
            log.info("%s: %s", source.name, why)
        return {"did": "unchanged" if is_same else "changed", "why": why}

    def _shared(self, trial: Source) -> int:
        """Return how many edits of *trial* are in its training set too. Raises OverlapError."""
        edit_set = self.plan.edit_set(trial.slug)
        train_ids, trial_ids = (self._answers.edit_ids(each.url) for each in edit_set.sources)
        tried_on = set(trial_ids)
        shared = sorted(tried_on.intersection(train_ids))
        if shared and self._settings.overlap == "refuse":
            raise OverlapError(
                f"{edit_set.name}: {len(shared)} of {len(tried_on)} trial edits are in the "
                f"training set too, EditID {shared[0]} first; remove them from one of the groups "
                "at the review service, or set CBNG_OVERLAP=report"
            )
        return len(shared)

    # Steps

    def make(self, step: Step) -> dict[str, str]:
        """
        Look for the record of *step*, run it if there is none, and refer to what it left.

        An input that is not in the store any more, or has rotted there, is made again first.

        Raises:
            TrainerError: The step, or an input that had to be made again, failed.
        """
        why = "; ".join(self.reasons(step))
        began = time.monotonic()
        record, is_built = self._with_inputs_healed(step)
        for artifact in record.artifacts:
            made = Made(artifact, record.fingerprint)
            write_reference(self.reference(step.slug, artifact.name), made)
        if not is_built:
            return {"did": "found", "why": ""}
        return {
            "did": "built",
            "why": why,
            "seconds": f"{time.monotonic() - began:.1f}",
            "ran": str(record.about.get("seconds", "")),
            "where": str(record.about.get("where", "")),
        }

    def make_if_due(self, step: Step) -> dict[str, str]:
        """
        Make *step* if it has anything to do; else refer to nothing that it may have left before.

        Returns:
            Also ``key``, its fingerprint or nothing.
        """
        if key := self.key(step):
            return {**self.make(step), "key": key}
        for leaf in step.recipe.leaves:
            self.reference(step.slug, leaf.artifact).unlink(missing_ok=True)
        return {"did": "unchanged", "why": "", "key": ""}

    def realise(self, step: Step, inputs: Mapping[str, Made]) -> tuple[Record, bool]:
        """Return the record of *step* on *inputs*, which need not be the references'; see there."""
        return realise(step, inputs, self.store, self._dispatcher)

    def _with_inputs_healed(self, step: Step) -> tuple[Record, bool]:
        """Realise *step*; make again each input that turns out to be lost."""
        for _ in self.inputs(step):
            try:
                return realise(step, self.inputs(step), self.store, self._dispatcher)
            except BlobNotFound as lost:
                self._heal(step, lost)
        return realise(step, self.inputs(step), self.store, self._dispatcher)

    def _heal(self, step: Step, lost: BlobNotFound) -> None:
        """Make again what makes the input of *step* whose blob is lost."""
        for made in self.inputs(step).values():
            if made.artifact.digest == lost.digest:
                maker = self.plan.maker(step.slug, made.artifact.name)
                if isinstance(maker, Model):  # the next build asks for it, and looks for it, anew
                    break
                log.warning("%s: %s; making %s again", step.name, lost, maker.name)
                self.make_again(maker)
                return
        raise lost

    def make_again(self, maker: Source | Step) -> None:
        """Ask or make *maker*, of whose record a blob is lost. Raises TrainerError."""
        if isinstance(maker, Step):
            self.make(maker)
            return
        self._answers.forget(maker.url)
        self.ask(maker)

    def reasons(self, step: Step) -> list[str]:
        """Return what differs from when *step* was last part of a complete build."""
        head = self.store.head(step.slug).get("steps", {}).get(step.recipe.name)
        if not head:
            return ["no record"]
        before = self.store.find(head["fingerprint"])
        if before is None:
            return [f"the record {head['fingerprint']:.12} or a blob of it is gone"]
        return changes(before.parts, step.parts(self.inputs(step))) or ["no record"]


def changes(before: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> list[str]:
    """Return what differs between two fingerprints' parts: ``name old → new``, digests cut."""
    told = []
    for name in sorted({*before, *now}):
        old, new = before.get(name), now.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            told += changes(old, new, f"{path}{name}.")
        elif old != new:
            told.append(f"{path}{name} {_short(old)} → {_short(new)}")
    return told


def _short(value: object) -> str:
    """Return *value* for people: digests shortened, all else in full."""
    if isinstance(value, str) and len(value) == 64:
        return value[:12]
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "nothing" if value is None else str(value)
