"""``cbng-trainer get``, ``why``, ``forget`` and ``pods``: they look at what was built."""

import argparse
import json
import os
import shutil
import sys
import tempfile
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

from cbngtrain.answers import EDITS
from cbngtrain.build import Build, changes, read_reference
from cbngtrain.compose import asked_groups, build_of, compose, settings_from
from cbngtrain.dispatch.prune import rows
from cbngtrain.errors import BlobNotFound, DispatchError, PlanError, StoreError, instead
from cbngtrain.plan import edit_sets
from cbngtrain.review import ReviewService
from cbngtrain.step import Artifact, Digest, Model, Record, Source, Step, fingerprint


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands that get at what was built."""
    getter = commands.add_parser("get", help="write an artifact to a file")
    getter.add_argument("artifact", metavar="SLUG/ARTIFACT",
                        help="such as legacy-import/main_ann.fann, or a digest")  # fmt: skip
    getter.add_argument("-o", "--output", metavar="FILE",
                        help="where to; - is standard output [its own name, here]")  # fmt: skip
    getter.set_defaults(command=get)

    whys = commands.add_parser("why", help="tell what would be built and why, or why it was")
    whys.add_argument("step", nargs="?", default="", metavar="SLUG[/STEP]",
                      help="only this edit set, or this step of it")  # fmt: skip
    whys.add_argument("--json", action="store_true", help="for programs")
    whys.set_defaults(command=why)

    lister = commands.add_parser("pods", help="list the pods in which steps run, or ran")
    lister.add_argument("--prune", action="store_true",
                        help="delete those that have ended or are unknown to the plan")  # fmt: skip
    lister.add_argument("--json", action="store_true", help="for programs")
    lister.set_defaults(command=pods)

    disown = commands.add_parser("forget", help="disown a step's record: it is built anew")
    disown.add_argument("step", metavar="SLUG/STEP", help="such as legacy-import/ann")
    disown.set_defaults(command=forget)


def get(arguments: argparse.Namespace) -> int:
    """Write an artifact, verified, to a file or to standard output."""
    build = compose(os.environ, runs=False)
    name = arguments.artifact
    wanted = Digest(name) if _is_digest(name) else _artifact(build, name).digest
    leaf = name.rpartition("/")[2]
    output = Path(arguments.output or leaf)
    output = output / leaf if output.is_dir() else output
    if arguments.output != "-" and (output.is_file() or not output.exists()):
        _write(build, wanted, output)
        return 0
    with build.scratch.directory("get") as directory:
        file = _blob(build, wanted, directory).open("rb")  # which outlives its directory
    is_standard = arguments.output == "-"
    with file, nullcontext(sys.stdout.buffer) if is_standard else output.open("wb") as out:
        shutil.copyfileobj(file, out)
    return 0


def _write(build: Build, wanted: Digest, output: Path) -> None:
    """Write the blob to *output*, whole or not at all. Raises DispatchError where it cannot be."""
    try:
        with tempfile.TemporaryDirectory(prefix=".get-", dir=output.absolute().parent) as directory:
            _blob(build, wanted, Path(directory)).replace(output)
    except OSError as error:
        raise DispatchError(f"{output}: cannot be written: {error.strerror}") from error


def _blob(build: Build, wanted: Digest, directory: Path) -> Path:
    """Return a file in *directory* with the blob *wanted*. Raises BlobNotFound."""
    path = directory / "blob"
    try:
        build.store.fetch(wanted, path)
    except BlobNotFound as error:
        raise BlobNotFound(wanted, f"{error}; run `doit` to have it made again") from error
    return path


def _is_digest(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")


def _artifact(build: Build, name: str) -> Artifact:
    """Return the artifact ``SLUG/ARTIFACT``: as referred to here, else as built last anywhere."""
    slug, _, artifact = name.partition("/")
    maker = build.plan.maker(slug, artifact)
    if made := read_reference(build.reference(slug, artifact)):
        return made.artifact
    record = None if isinstance(maker, Model) else _record_of_head(build, maker)
    if record is None or isinstance(maker, Model):
        raise StoreError(f"{name} has not been built yet; run `doit {maker.name}`")
    return record.artifact(artifact if isinstance(maker, Step) else EDITS)


def _record_of_head(
    build: Build, maker: Source | Step, which: str = "fingerprint"
) -> Record | None:
    """Return the record that *maker*'s last complete build used, or with ``before`` that before."""
    kind, key = ("steps", maker.recipe.name) if isinstance(maker, Step) else ("sources", maker.role)
    row = build.store.head(maker.slug).get(kind, {}).get(key, {})
    return build.store.find(row[which]) if row.get(which) else None


def _step(build: Build, name: str) -> Step:
    """Return the step ``SLUG/STEP``. Raises PlanError."""
    slug, _, recipe = name.partition("/")
    edit_set = build.plan.edit_set(slug)
    for step in build.plan.steps[edit_set.slug]:
        if step.recipe.name == recipe:
            return step
    known = [step.recipe.name for step in build.plan.steps[edit_set.slug]]
    raise PlanError(f"{slug} has no step {recipe!r}; {instead(recipe, known)}")


def why(arguments: argparse.Namespace) -> int:
    """Tell for each step whether it would look or work, and why; or why it was built."""
    build = compose(os.environ, runs=False)
    slug, _, recipe = arguments.step.partition("/")
    chosen = _step(build, arguments.step) if recipe else None
    found = []
    for edit_set in [build.plan.edit_set(slug)] if slug else build.plan.edit_sets:
        unknown: set[str] = set()  # artifacts that will be others, or of which nothing is known
        for step in build.plan.steps[edit_set.slug]:
            does, told = _state(build, step, unknown)
            if chosen is None or chosen == step:
                found.append({"step": step.name, "does": does, "told": told})
                if not arguments.json:
                    print(f"{step.name}: {told}")
    if arguments.json:
        print(json.dumps(found, indent=1))
    return 0


def _state(build: Build, step: Step, unknown: set[str]) -> tuple[str, str]:
    """
    Return what a build would do with *step*, in a word and with the reason in a sentence.

    The word is ``build``, ``look`` or ``nothing``. What it makes anew goes to *unknown*.
    """
    if not build.is_due(step):
        return "nothing", "has nothing to do: no other network is known to compare with"
    made = [leaf.artifact for leaf in step.recipe.leaves]
    reads = step.recipe.reads.values()
    lacking = [n for n in reads if read_reference(build.reference(step.slug, n)) is None]
    if waits := sorted(unknown.intersection(reads) | set(lacking)):
        unknown.update(made)
        makers = sorted({build.plan.maker(step.slug, name).name for name in waits})
        return "look", f"will look when {' and '.join(makers)} has been looked at"
    record = build.store.find(fingerprint(step, build.inputs(step)))
    referred = [read_reference(build.reference(step.slug, name)) for name in made]
    if record is None and step.recipe.name == "previous" and all(referred):
        return "nothing", "up to date; its own trial was on the same edits"
    if record is None:
        unknown.update(made)
        return "build", f"will be built: {'; '.join(build.reasons(step))}"
    if any(reference is None or reference.by != record.fingerprint for reference in referred):
        return "look", f"will look, and find its record {record.fingerprint:.12}"
    return "nothing", f"up to date; {_why_built(build, step, record)}"


def _why_built(build: Build, step: Step, record: Record) -> str:
    """Return why *record* came to be, from the record before it."""
    told = f"built as {record.fingerprint:.12}"
    before = _record_of_head(build, step, "before")
    if before is None:
        return f"{told}: no record before it"
    return f"{told}: {'; '.join(changes(before.parts, record.parts))}"


def pods(arguments: argparse.Namespace) -> int:
    """List this trainer's pods, and delete those that have ended or are unknown to the plan."""
    from cbngtrain.dispatch.cluster import Cluster  # noqa: PLC0415 - kubernetes is slow to load

    settings = settings_from(os.environ, "WARNING")
    service = ReviewService(settings.review_url)
    planned = edit_sets(asked_groups(service), service.dump_url, settings.fallback_trial)
    build = build_of(settings, planned, runs=False)
    cluster = Cluster(settings.kubeconfig, settings.namespace)
    found = []
    for row in rows(cluster.pods()[0], build.plan, datetime.now(UTC)):
        is_deleted = bool(arguments.prune and row.surplus)
        if is_deleted:
            cluster.delete(row.pod)
        found.append({**row.to_json(), "deleted": is_deleted})
        if not arguments.json:
            print(f"{row}\n{row.name} is deleted" if is_deleted else row)
    if arguments.json:
        print(json.dumps(found, indent=1))
    return 0


def forget(arguments: argparse.Namespace) -> int:
    """Disown the record of a step, so that the next build makes it anew."""
    build = compose(os.environ, runs=False)
    step = _step(build, arguments.step)
    key = fingerprint(step, build.inputs(step))
    build.store.forget(key)
    for leaf in step.recipe.leaves:
        build.reference(step.slug, leaf.artifact).unlink(missing_ok=True)
    print(f"{step.name}: record {key:.12} is forgotten; the next build makes it anew")
    return 0
