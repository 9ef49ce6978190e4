"""
What a network is compared with: the bot's network in use, and the one published before.

The bot's is three files at an address, asked for in every build like a dump, or comes with the
core's image, of which only its step knows. The one before is
found in the store: the instance in production, else the newest, of those of the edit set whose
network is another, so that publishing a network, once or again, never changes what it is compared
with, and a network that the gate held is not what the next one is measured by. All goes by content:
a comparison knows networks by their digests, not by the names or times of instances.
"""

import logging
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path

from cbngtrain.build import (
    Build,
    is_same_meaning,
    read_reference,
    write_reference,
)
from cbngtrain.canonical import FORMS, digest_of, network_shape
from cbngtrain.errors import FormatError, ReviewError
from cbngtrain.last_answers import find_answer, keep_answer
from cbngtrain.locks import one_at_a_time
from cbngtrain.plan import IN_IMAGE
from cbngtrain.recipes import MODELS
from cbngtrain.review import ReviewService
from cbngtrain.settings import Settings
from cbngtrain.step import (
    FORMAT,
    Artifact,
    Digest,
    Fingerprint,
    Made,
    Model,
    Record,
    Step,
    digest,
    fingerprint_of,
)
from cbngtrain.store import Instance

log = logging.getLogger(__name__)

FARTHEST = 50  # instances that are looked at for a network before

SPREAD = "spread.json"

_FORM_OF = {"bayes.db": "bayes-db", "two_bayes.db": "bayes-db", "main_ann.fann": "raw"}


def reference_url(settings: Settings) -> str:
    """Return where the bot's network in use is: a URL, `IN_IMAGE`, or nothing if none is known."""
    runs_image = settings.dispatch != "local" and not settings.core_release
    if settings.reference == IN_IMAGE and runs_image:
        return IN_IMAGE
    if settings.reference not in {"", IN_IMAGE}:
        return "" if settings.reference == "none" else settings.reference
    if settings.core_conf is not None:
        return ""  # a network fits the configuration that it was made with
    if settings.core_release and settings.dispatch != "local":
        return f"{settings.core_releases_url}/{settings.core_release}"
    if settings.core is None:
        return ""
    data = settings.core / "data"
    return f"file:{data}" if all((data / file).is_file() for file in MODELS) else ""


# The bot's network in use ----------------------------------------------------------------------


class Models:
    """The verb `ask` of one build for the bot's network: each address is asked once."""

    def __init__(self, build: Build) -> None:
        """*build* is whose references and store are used."""
        self._build = build
        self._records: dict[str, Record] = {}
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def ask(self, model: Model) -> dict[str, str]:
        """
        Ask for *model* and refer to it; where it cannot be had, what was had last still counts.

        Raises:
            ReviewError: It cannot be had, and never was.
            FormatError: It is no such file, or not whole.
        """
        reference = self._build.reference(model.slug, model.artifact)
        before = read_reference(reference)
        try:
            with self._locks[model.url]:
                if model.url not in self._records:
                    last = find_answer(model.url, self._build.store, self._build.source_max_age)
                    self._records[model.url] = last or self._answer(model)
        except ReviewError as error:
            if before is None or self._build.store.missing([before.artifact.digest]):
                raise
            log.warning("%s: %s; the one that was there last counts", model.name, error)
            return {"did": "unchanged", "why": ""}
        record = self._records[model.url]
        made = Made(record.artifact(model.file), record.fingerprint)
        if before and is_same_meaning(before, made) and self._build.store.find(before.by):
            return {"did": "unchanged", "why": ""}
        write_reference(reference, made)
        return {"did": "changed", "why": f"{made.artifact.size} bytes, {made.artifact.meaning:.12}"}

    def _answer(self, model: Model) -> Record:
        """Download *model*; the same bytes are not looked into again."""
        form = _FORM_OF[model.file]
        with self._build.scratch.directory("model") as directory:
            path = directory / model.file
            ReviewService("", who="the place of the bot's network").download(model.url, path)
            raw = digest_of(path)
            parts = {"format": FORMAT, "source": {"form": form, "raw": raw}}
            key = fingerprint_of(parts)
            with one_at_a_time(key, model.url):
                record = self._build.store.find(key)
                if record is None or record.artifacts[0].name != model.file:
                    record = self._kept(model, path, key, parts)
        keep_answer(model.url, record)
        return record

    def _kept(
        self, model: Model, path: Path, key: Fingerprint, parts: Mapping[str, object]
    ) -> Record:
        """Look into the file, store it and keep its record."""
        try:
            meaning = FORMS[_FORM_OF[model.file]](path)
            if model.file.endswith(".fann"):
                network_shape(path)
        except FormatError as error:
            raise FormatError(model.url, "", str(error)) from error
        artifact = Artifact(model.file, self._build.store.add(path), meaning, path.stat().st_size)
        record = Record(key, (artifact,), None, parts, about={"url": model.url})
        return self._build.store.keep(record)


# The network published before ------------------------------------------------------------------


def find_previous(build: Build, step: Step) -> dict[str, str]:
    """
    Refer to the network published before, and to its scores on the trial edits of now.

    They are those of its own trial where that was on the same edits; else *step* tries it.

    Returns:
        Also ``previous``, the name of its instance, or nothing where there is none.

    Raises:
        TrainerError: The step failed.
    """
    _find_spread(build, step.slug)
    before = _referred(build, step.slug)
    found = _previous(build, step)
    if found is None:
        for artifact in before:
            build.reference(step.slug, artifact).unlink(missing_ok=True)
        return {"did": "unchanged", "why": "", "previous": ""}
    instance, made = found
    for artifact, each in made.items():
        write_reference(build.reference(step.slug, artifact), each)
    outcome = {"did": "unchanged", "why": ""}
    if "previous/details.txt" not in made:
        outcome = build.make(step)
    elif _referred(build, step.slug) != before:
        outcome = {"did": "found", "why": f"{instance.target}/{instance.name}"}
    return {**outcome, "previous": instance.name}


def has_previous(build: Build, step: Step, name: str, *, asks: bool) -> bool:
    """
    Return whether the references are to the instance *name*, and the store has them.

    Args:
        build: Whose references they are.
        step: That which tries the network published before.
        name: What `find_previous` found; nothing where that was nothing.
        asks: Whether the store may be asked.
    """
    referred = _referred(build, step.slug)
    if not name:
        return not referred
    wanted = [*(f"previous/{file}" for file in MODELS), "previous/details.txt"]
    return set(wanted) <= set(referred) and (not asks or build.is_stored(step.slug, wanted))


def _referred(build: Build, slug: str) -> dict[str, Made]:
    """Return what is referred to of the network published before."""
    names = [*(f"previous/{file}" for file in MODELS), "previous/details.txt"]
    found = {name: read_reference(build.reference(slug, name)) for name in names}
    return {name: made for name, made in found.items() if made}


def _previous(build: Build, step: Step) -> tuple[Instance, dict[str, Made]] | None:
    """Return the instance published before and what is referred to of it, if there is one."""
    trial = read_reference(build.reference(step.slug, "trial.xml"))
    unfit: set[tuple[Digest, ...]] = set()  # networks that cannot be tried now
    chosen: tuple[Instance, dict[str, Made]] | None = None
    for instance, models in _others(build, step.slug):
        network = _network(models)
        if chosen and network != _network(chosen[1]):
            return chosen
        if network in unfit or build.store.missing(m.artifact.digest for m in models.values()):
            continue
        if details := _details(build, instance, trial):
            return instance, {**models, "previous/details.txt": details}
        if not chosen and _fits(instance, step):
            chosen = instance, models
        elif not chosen:
            unfit.add(network)
    return chosen


def _others(build: Build, slug: str) -> Iterator[tuple[Instance, dict[str, Made]]]:
    """
    Yield instances whose network is not the one of now, with their models.

    That in production comes first, then the newest.
    """
    target = build.plan.edit_set(slug).name
    now = tuple(_meaning(build, slug, file) for file in MODELS)
    running = str((build.store.production(target) or {}).get("instance", ""))
    for name in chain(filter(None, [running]), build.store.names(target)[:FARTHEST]):
        instance = build.store.instance(target, name)
        made = {f"previous/{f}": instance and _made(instance, f"artifacts/{f}") for f in MODELS}
        models = {artifact: each for artifact, each in made.items() if each}
        if instance and len(models) == len(MODELS) and _network(models) != now:
            yield instance, models


def _network(models: Mapping[str, Made]) -> tuple[Digest, ...]:
    """Return what tells a network from others: the meanings of its models."""
    return tuple(models[f"previous/{file}"].artifact.meaning for file in MODELS)


def _meaning(build: Build, slug: str, artifact: str) -> Digest | None:
    made = read_reference(build.reference(slug, artifact))
    return made.artifact.meaning if made else None


def _made(instance: Instance, path: str) -> Made | None:
    """Return what *instance* tells of a file; nothing where a client of another kind told less."""
    with suppress(KeyError, TypeError, FormatError):
        told = instance.about["artifacts"][path]
        where = f"{instance.target}/{instance.name}"
        by = Fingerprint(digest(told["fingerprint"], where))
        artifact = Artifact("", instance.files[path], instance.meanings[path], int(told["size"]))
        return Made(artifact, by)
    return None


def _details(build: Build, instance: Instance, trial: Made | None) -> Made | None:
    """Return the scores in *instance*, if they are of the same trial edits and in the store."""
    if trial is None or instance.meanings.get("edit-sets/trial.xml") != trial.artifact.meaning:
        return None
    made = _made(instance, "trial/details.txt")
    return made if made and not build.store.missing([made.artifact.digest]) else None


def _fits(instance: Instance, step: Step) -> bool:
    """Return whether the network of *instance* was made with the configuration that *step* has."""
    with suppress(KeyError, TypeError):
        made_by = instance.about["steps"]["ann_train"]
        if step.conf is None:  # it comes with the program
            return bool(made_by["conf"] is None and made_by["program"] == dict(step.program))
        return bool(made_by["conf"] == step.conf)
    return False


# The spread over seeds -------------------------------------------------------------------------


def spread_head(slug: str) -> str:
    """Return the name of the head that keeps the spread of an edit set's networks."""
    return f"{slug}.spread"


def _find_spread(build: Build, slug: str) -> None:
    """Refer to the last spread over seeds if it is of the network of now, else to none."""
    reference = build.reference(slug, SPREAD)
    head = build.store.head(spread_head(slug)).get("steps", {}).get("spread", {})
    record = build.store.find(head["fingerprint"]) if head.get("fingerprint") else None
    details = _meaning(build, slug, "trial/details.txt")
    if record and record.parts["inputs"].get("details.txt") == details:
        artifact = record.artifact(SPREAD)
        write_reference(reference, Made(replace(artifact, name=""), record.fingerprint))
    else:
        reference.unlink(missing_ok=True)
