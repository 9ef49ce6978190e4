"""``cbng-trainer compare``, ``spread`` and ``promote``: their command lines."""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from cbngtrain import parse
from cbngtrain.build import Build
from cbngtrain.errors import BlobNotFound, DispatchError, FormatError, HeldError, PlanError, instead
from cbngtrain.locks import hold_checkout
from cbngtrain.pins import who
from cbngtrain.promote import Verdict, promote, verdict_on
from cbngtrain.spread import MOST_SEEDS, spread
from cbngtrain.step import INSTANCE, Digest, problem_with_target
from cbngtrain.store import Instance

DETAILS = "trial/details.txt"

ROOT = Path(__file__).parents[1]

Composed = Callable[[], Build]


def add_commands(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", composed: Composed
) -> None:
    """Add the three commands; *composed* puts a build together when one of them is run."""
    told = "SLUG or an edit set's name, then /TIME, /latest or /production [/latest]"
    comparing = commands.add_parser("compare", help="compare the networks of two instances")
    comparing.add_argument("new", metavar="A", help=told)
    comparing.add_argument("reference", metavar="B", help="the reference, named likewise")
    _add_json(comparing)
    comparing.set_defaults(command=lambda arguments: run_compare(arguments, composed()))

    spreading = commands.add_parser(
        "spread", help="train and try networks of other seeds: what does chance alone do?"
    )
    number = parse.argument(parse.whole_number(1, MOST_SEEDS))
    spreading.add_argument("slug", metavar="SLUG", help="whose network, as it was built here")
    spreading.add_argument("--seeds", type=number, default=5, metavar="N",
                           help="how many networks [%(default)s]")  # fmt: skip
    spreading.add_argument("-n", "--process", type=number, default=1, metavar="N",
                           help="how many at once [%(default)s]")  # fmt: skip
    _add_json(spreading)
    spreading.set_defaults(command=lambda arguments: run_spread(arguments, composed()))

    promoting = commands.add_parser(
        "promote", help="put an instance into production, if the gate lets it"
    )
    promoting.add_argument("slug", metavar="SLUG", help="the edit set, by slug or name")
    promoting.add_argument("--instance", default="latest", metavar="TIME",
                           help="which [%(default)s]")  # fmt: skip
    promoting.add_argument("--dry-run", action="store_true", help="only tell what the gate says")
    promoting.add_argument("--force", action="store_true",
                           help="whatever the gate says; needs --reason")  # fmt: skip
    promoting.add_argument("--reason", default="", metavar="TEXT",
                           help="why, against the gate; it is kept")  # fmt: skip
    _add_json(promoting)
    promoting.set_defaults(command=lambda arguments: run_promote(arguments, composed()))


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")


# Instances -------------------------------------------------------------------------------------


def instance_of(build: Build, text: str) -> Instance:
    """
    Return the instance that *text* names: ``SLUG/TIME``, ``NAME/latest``, ``NAME/production``.

    Raises:
        PlanError: There is none.
    """
    target, _, name = text.rpartition("/")
    if not target or not (INSTANCE.fullmatch(name) or name in {"latest", "production"}):
        target, name = text, "latest"
    names = {edit_set.slug: edit_set.name for edit_set in build.plan.edit_sets}
    target = names.get(target, target)
    published = [] if problem_with_target(target) else build.store.names(target)
    if not published:
        told = "" if target in names.values() else f"; {instead(target, names)}"
        raise PlanError(f"nothing is published of {target!r}{told}")
    if name == "production":
        record = build.store.production(target)
        if record is None:
            raise PlanError(f"nothing of {target!r} is in production; see cbng-trainer promote")
        name = str(record["instance"])
    found = build.store.instance(target, published[0] if name == "latest" else name)
    if found is None:
        newest = ", ".join(published[:3])
        raise PlanError(f"{target!r} has no instance {name!r}; the newest are: {newest}")
    return found


# compare ---------------------------------------------------------------------------------------


def run_compare(arguments: argparse.Namespace, build: Build) -> int:
    """Print how the networks of two instances compare on the trial edits that they share."""
    new, reference = (instance_of(build, each) for each in (arguments.new, arguments.reference))
    if (new.target, new.name) == (reference.target, reference.name):
        raise PlanError(f"both are {new.target}/{new.name}: name two instances")
    is_one_set = new.target == reference.target
    names = [each.name if is_one_set else f"{each.target}/{each.name}" for each in (new, reference)]
    with build.scratch.directory("compare") as directory:
        paths = [directory / "new.txt", directory / "reference.txt"]
        for each, path in zip((new, reference), paths, strict=True):
            _fetch_details(build, each, path)
        if not _edits(paths[0]) & _edits(paths[1]):
            raise FormatError(
                f"{names[0]} and {names[1]}", "", "their trials have no edit in common"
            )
        _evaluate(
            build,
            [
                "compare",
                f"--edit-set={new.target if is_one_set else ''}",
                *("--details", "new.txt", "--reference", "reference.txt"),
                *("--names", *names),
                "--json" if arguments.json else "--table",
            ],
            directory,
        )
    return 0


def _fetch_details(build: Build, instance: Instance, path: Path) -> None:
    """Write the scores of *instance* to *path*. Raises PlanError or BlobNotFound."""
    digest = instance.files.get(DETAILS)
    if digest is None:
        raise PlanError(f"{instance.target}/{instance.name} had no trial: it has no {DETAILS}")
    try:
        build.store.fetch(Digest(digest), path)
    except BlobNotFound as error:
        where = f"{instance.target}/{instance.name}/{DETAILS}"
        raise BlobNotFound(digest, f"{where}: {error}") from error


def _edits(details: Path) -> set[bytes]:
    """Return what begins the lines of *details*: each edit's name."""
    return {line.partition(b",")[0] for line in details.read_bytes().splitlines()}


def _evaluate(build: Build, words: Sequence[str], directory: Path) -> None:
    """Run the evaluation and pass on what it prints. Raises DispatchError with its complaint."""
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "cbngtrain.evaluation", *words],
        cwd=directory,
        env={**build.step_env, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        last = (ended.stderr.strip() or f"exit code {ended.returncode}").splitlines()[-1]
        raise DispatchError(f"the evaluation failed: {last}")
    print(ended.stdout, end="")


# spread ----------------------------------------------------------------------------------------


def run_spread(arguments: argparse.Namespace, build: Build) -> int:
    """Print where the network stands among others of other seeds."""
    hold_checkout()  # to our end: a build would clear our scratch directories
    record = spread(build, arguments.slug, arguments.seeds, arguments.process)
    wanted = record.artifact("spread.json").digest if arguments.json else record.log
    assert wanted  # a step's record has a log
    with build.scratch.directory("spread") as directory:
        path = directory / "told"
        build.store.fetch(wanted, path)
        print(path.read_text(encoding="utf-8"), end="")
    return 0


# promote ---------------------------------------------------------------------------------------


def run_promote(arguments: argparse.Namespace, build: Build) -> int:
    """Tell what the gate says of an instance, and put it into production if it may go there."""
    if arguments.force and not arguments.reason.strip():
        raise PlanError("--force needs --reason TEXT, which is kept with the promotion")
    if arguments.reason and not arguments.force:
        raise PlanError("--reason is for --force; without it the verdict is the reason")
    if not INSTANCE.fullmatch(arguments.instance) and arguments.instance != "latest":
        raise PlanError(f"--instance {arguments.instance!r} is neither a time nor latest")
    instance = instance_of(build, f"{arguments.slug}/{arguments.instance}")
    verdict = verdict_on(build.store, instance, build.rule)
    _tell(arguments, instance, verdict)
    if arguments.dry_run:
        return 0 if verdict.promotes else HeldError.status
    where = f"{instance.target}/{instance.name}"
    if (build.store.production(instance.target) or {}).get("instance") == instance.name:
        _say(arguments, f"{where} is in production already")
        return 0
    if not verdict.promotes and not arguments.force:
        _say(arguments, "it stays where it is; --force --reason TEXT promotes it all the same")
        return HeldError.status
    promote(build.store, instance, verdict, who(), arguments.reason.strip())
    _say(arguments, f"{where} is in production now")
    return 0


def _tell(arguments: argparse.Namespace, instance: Instance, verdict: Verdict) -> None:
    """Print the verdict."""
    if arguments.json:
        told = {"target": instance.target, "instance": instance.name, **verdict.to_json()}
        print(json.dumps(told, indent=1, ensure_ascii=False))
        return
    print(f"{instance.target}/{instance.name}: {verdict.word}")
    for check in verdict.checks:
        print(f"  {'yes' if check.holds else 'no '}  {check.told}")


def _say(arguments: argparse.Namespace, line: str) -> None:
    """Print a line where people read."""
    print(line, file=sys.stderr if arguments.json else sys.stdout)
