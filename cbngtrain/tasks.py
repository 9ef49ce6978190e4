"""
Plan → doit tasks.

A source is asked in every build. A step is looked at when a reference that it reads, its recipe or
its program has changed, when a reference that it makes is gone, or when the store has lost what
that refers to. All else is up to date, and nothing is said of it.
"""

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TextIO, TypeVar

from doit.tools import config_changed

from cbngtrain.build import Build
from cbngtrain.errors import DispatchError, TrainerError
from cbngtrain.plan import EditSet
from cbngtrain.publish import is_published, is_published_artifact, publish
from cbngtrain.recipes import MODELS, RECIPES
from cbngtrain.reference import Models, find_previous, has_previous
from cbngtrain.reporter import Failed, Reporter
from cbngtrain.step import Model, Source, Step

log = logging.getLogger(__name__)

T = TypeVar("T")

_DATABASE = Path(".doit.db")


def as_doit_tasks(build: Build, *, runs: bool) -> Iterator[dict[str, Any]]:
    """
    Yield the tasks of *build*'s plan, plain dicts as doit wants them.

    Args:
        build: What the tasks act on.
        runs: Whether tasks will be run: only then is a source out of date.
    """
    yield {"basename": "edit_set", "name": None, "doc": "download the edits"}
    for recipe in RECIPES:
        yield {"basename": recipe.name, "name": None, "doc": f"make the {recipe.doc}"}
    if any(build.plan.models.values()):
        yield {"basename": "model", "name": None, "doc": "download the bot's network in use"}
    yield {"basename": "publish", "name": None, "doc": "publish what was built"}
    models = Models(build)
    asks = runs or build.has_store_here
    for edit_set in build.plan.edit_sets:
        for source in edit_set.sources:
            yield _source_task(build, source, runs=runs)
        for model in build.plan.models[edit_set.slug]:
            yield _model_task(build, models, model, runs=runs)
        for step in build.plan.steps[edit_set.slug]:
            task = _TASK_OF.get(step.recipe.name, _step_task)
            yield task(build, step, asks=asks)
        yield _publish_task(build, edit_set, asks=asks)


def _task(verb: Callable[[T], dict[str, str]], noun: T, **task: Any) -> dict[str, Any]:
    """Return a task that does *verb* on *noun*; doit shall not touch standard output for it."""
    return {**task, "actions": [(_outcome, [verb, noun])], "io": {"capture": False}}


def _outcome(verb: Callable[[T], dict[str, str]], noun: T) -> "dict[str, str] | Failed":
    """Return what *verb* did, or its error as doit reports failures."""
    began = time.monotonic()
    try:
        return verb(noun)
    except TrainerError as error:
        return Failed(error, time.monotonic() - began)


def _source_task(build: Build, source: Source, *, runs: bool) -> dict[str, Any]:
    """Return the task of *source*: always asked in a build."""
    reference = str(build.reference(source.slug, source.artifact))
    after = [f"edit_set:{source.slug}/train"] if source.role == "trial" else []
    return _task(
        build.ask,
        source,
        basename="edit_set",
        name=f"{source.slug}/{source.role}",
        doc=f"{source.role} edits of {build.plan.edit_set(source.slug).name}",
        targets=[reference],
        task_dep=after,  # the overlap of the two is told with the second
        uptodate=[not runs],
        clean=True,
    )


def _step_task(build: Build, step: Step, *, asks: bool) -> dict[str, Any]:
    """Return the task of *step*; *asks*: whether the store may be asked if it is up to date."""
    made = [leaf.artifact for leaf in step.recipe.leaves]
    return _task(
        build.make,
        step,
        basename=step.recipe.name,
        name=step.slug,
        doc=f"{step.recipe.doc} of {build.plan.edit_set(step.slug).name}",
        file_dep=[str(build.reference(step.slug, name)) for name in step.recipe.reads.values()],
        targets=[str(build.reference(step.slug, name)) for name in made],
        uptodate=[config_changed(step.spec), lambda: not asks or build.is_stored(step.slug, made)],
        clean=True,
    )


def _model_task(build: Build, models: Models, model: Model, *, runs: bool) -> dict[str, Any]:
    """Return the task of *model*: always asked for in a build."""
    return _task(
        models.ask,
        model,
        basename="model",
        name=f"{model.slug}/{model.file}",
        doc=f"{model.file} of the bot's network in use",
        targets=[str(build.reference(model.slug, model.artifact))],
        uptodate=[not runs],
        clean=True,
    )


def _previous_task(build: Build, step: Step, *, asks: bool) -> dict[str, Any]:
    """
    Return the task that looks for the network published before, and tries it if need be.

    It is looked for when the network, its trial or the program has changed, not in every build.
    """
    of = (*MODELS, "trial.xml", "trial/details.txt")

    def is_up_to_date(values: Mapping[str, str]) -> bool:
        name = values.get("previous")
        return name is not None and has_previous(build, step, name, asks=asks)

    made = [f"previous/{name}" for name in (*MODELS, "details.txt")]
    return _task(
        lambda each: find_previous(build, each),
        step,
        basename=step.recipe.name,
        name=step.slug,
        doc=f"{step.recipe.doc} of {build.plan.edit_set(step.slug).name}",
        file_dep=[str(build.reference(step.slug, name)) for name in of],
        targets=_standing(build, step.slug, made),
        uptodate=[config_changed(step.spec), lambda task, values: is_up_to_date(values)],  # noqa: ARG005 - doit goes by these names
        clean=True,
    )


def _compare_task(build: Build, step: Step, *, asks: bool) -> dict[str, Any]:
    """Return the task of *step*, which may have nothing to do: only references tell."""
    slug = step.slug
    made = [leaf.artifact for leaf in step.recipe.leaves]
    tried = [each.name for each in build.plan.steps[slug]
             if each.recipe.name in {"previous", "reference"}]  # fmt: skip

    def is_up_to_date(values: Mapping[str, str]) -> bool:
        key = build.key(step)
        return values.get("key") == key and (not key or not asks or build.is_stored(slug, made))

    return _task(
        build.make_if_due,
        step,
        basename=step.recipe.name,
        name=slug,
        doc=f"{step.recipe.doc}, of {build.plan.edit_set(slug).name}",
        file_dep=[str(build.reference(slug, name)) for name in step.recipe.reads.values()],
        task_dep=tried,
        targets=_standing(build, slug, made),
        uptodate=[config_changed(step.spec), lambda task, values: is_up_to_date(values)],  # noqa: ARG005 - as above
        clean=True,
    )


def _standing(build: Build, slug: str, artifacts: Sequence[str]) -> list[str]:
    """Return the references to *artifacts* that are there: targets of what may leave nothing."""
    paths = (build.reference(slug, artifact) for artifact in artifacts)
    return [str(path) for path in paths if path.exists()]


_TASK_OF = {"previous": _previous_task, "compare": _compare_task}
"""Recipe → what makes its task, of those that may have nothing to do."""


def _publish_task(build: Build, edit_set: EditSet, *, asks: bool) -> dict[str, Any]:
    """Return the task that publishes *edit_set* once all of it stands."""
    slug = edit_set.slug
    steps = build.plan.steps[slug]
    made = [source.artifact for source in edit_set.sources]
    made += [leaf.artifact for step in steps if not step.recipe.if_any
             for leaf in step.recipe.leaves if is_published_artifact(leaf.artifact)]  # fmt: skip
    return _task(
        lambda each: publish(build, each),
        edit_set,
        basename="publish",
        name=slug,
        doc=f"instance of {edit_set.name}",
        file_dep=[str(build.reference(slug, name)) for name in made],
        task_dep=[step.name for step in steps if step.recipe.name == "compare"],
        uptodate=[lambda: not asks or is_published(build, edit_set)],
    )


def see_to_database(*, repair: bool) -> None:
    """
    See that doit's database, if there is one, can be read; it is a cache, and may be made anew.

    Args:
        repair: Whether a damaged one may be removed, since this checkout is held.

    Raises:
        DispatchError: It cannot be read.
    """
    if not _DATABASE.exists():
        return
    try:
        with closing(sqlite3.connect(_DATABASE)) as database:
            (verdict,) = database.execute("PRAGMA quick_check").fetchone()
    except sqlite3.OperationalError as error:
        is_busy = error.sqlite_errorcode == sqlite3.SQLITE_BUSY
        what = "another doit is writing it, try again" if is_busy else "remove it, it is a cache"
        raise DispatchError(f"{_DATABASE.absolute()}: {error}; {what}") from error
    except sqlite3.DatabaseError as error:
        verdict = str(error)
    if verdict == "ok":
        return
    if not repair:
        raise DispatchError(f"{_DATABASE.absolute()}: {verdict}; `doit` makes it anew")
    log.warning("%s: %s; it is a cache, and is made anew", _DATABASE, verdict)
    _DATABASE.unlink()


def _can_have_database() -> bool:
    """Return whether there is doit's database or may be one; `doit list` needs none."""
    return _DATABASE.exists() or os.access(_DATABASE.absolute().parent, os.W_OK)


def doit_config(build: Build) -> dict[str, Any]:
    """Return what doit is told to do with *build*."""

    class BuildReporter(Reporter):
        """doit makes the reporter, and knows no build."""

        def __init__(self, outstream: TextIO, options: Mapping[str, Any]) -> None:
            super().__init__(outstream, options, build)

    return {
        "backend": "sqlite3",  # one file, which a kill cannot cut
        "dep_file": str(_DATABASE) if _can_have_database() else ":memory:",
        "par_type": "thread",  # steps wait for processes and pods; nothing needs to be pickled
        "continue": True,  # one edit set's failure leaves the others to finish
        "reporter": BuildReporter,
        "verbosity": 0,
        # Elsewhere steps are only waited for. How many run at once is the dispatcher's business,
        # who must see all that could: with fewer threads, a long chain may wait unseen.
        "num_process": 0 if build.place == "local" else sum(map(len, build.plan.steps.values())),
    }
