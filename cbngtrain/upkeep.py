"""
Commands that keep a store small and sound: ``prune``, ``verify``, ``audit``, ``pin``, ``unpin``.

They work on the store's directory, so they run where the file service does.
"""

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict

from cbngtrain import parse, pins
from cbngtrain.audit import NEITHER, Finding, audit
from cbngtrain.build import Build, Dispatcher
from cbngtrain.errors import PlanError, SettingsError, StepFailed, StoreError
from cbngtrain.inventory import ALIASES
from cbngtrain.prune import Pruned, prune, would_go
from cbngtrain.retention import Decision, Rules
from cbngtrain.settings import Settings
from cbngtrain.step import INSTANCE, problem_with_target
from cbngtrain.store import DirectoryStore, Store
from cbngtrain.verify import Verified, verify


def store_here(settings: Settings, command: str) -> DirectoryStore:
    """Return the store's directory. Raises SettingsError where the store is behind a URL."""
    if settings.store_url:
        raise SettingsError(
            f"`cbng-trainer {command}` works on the store's directory, not over HTTP: run it where "
            "the file service runs, with CBNG_STORE set and CBNG_STORE_URL not"
        )
    if not settings.store.is_dir():
        raise SettingsError(f"CBNG_STORE={settings.store} is no directory: there is no store")
    return DirectoryStore(settings.store)


# Prune -----------------------------------------------------------------------------------------


def prune_store(settings: Settings, arguments: argparse.Namespace) -> int:
    """Take out what nothing refers to, and say what and why not the rest."""
    store = store_here(settings, "prune")
    rules = Rules(
        instances=settings.keep_instances,
        months=settings.keep_months,
        builds=settings.keep_builds,
        grace=settings.prune_grace,
    )
    pruned = would_go(store, rules) if arguments.dry_run else prune(store, rules)
    if arguments.json:
        print(json.dumps(_as_json(pruned, is_dry=arguments.dry_run), indent=1))
    else:
        print("\n".join(_lines(pruned, is_dry=arguments.dry_run)))
    return 0


def _as_json(pruned: Pruned, *, is_dry: bool) -> dict[str, object]:
    """Return everything that goes, and everything that stays with its reason."""
    goes = pruned.goes
    return {
        "dry_run": is_dry,
        "freed": goes.size,
        "goes": {
            "instances": [folder.title for folder in goes.folders],
            "builds": goes.builds,
            "records": goes.records,
            "blobs": goes.blobs,
            "parts": goes.parts,
        },
        "stays": {
            "instances": pruned.stays.folders,
            "builds": pruned.stays.builds,
            "records": pruned.stays.records,
            "blobs": pruned.stays.blobs,
            "parts": pruned.stays.parts,
        },
    }


def _lines(pruned: Pruned, *, is_dry: bool) -> Iterable[str]:
    """Yield the same for people: instances one by one, all else counted by reason."""
    goes, stays = pruned.goes, pruned.stays
    yield from (f"goes   {folder.title}" for folder in goes.folders)
    yield from (f"stays  {title}: {', '.join(why)}" for title, why in sorted(stays.folders.items()))
    yield from _counted(stays)
    told = [
        f"{len(what)} {noun}{'' if len(what) == 1 else 's'}"
        for what, noun in (
            (goes.folders, "instance"),
            (goes.builds, "build summary"),
            (goes.records, "record"),
            (goes.blobs, "blob"),
            (goes.parts, "unfinished file"),
        )
        if what
    ]
    verb = "Would free" if is_dry else "Freed"
    yield f"{verb} {_megabytes(goes.size)}: {', '.join(told) or 'nothing'}."


def _counted(stays: Decision) -> Iterable[str]:
    """Yield how many records and blobs stay for which reason."""
    for noun, reasons in (("records", stays.records), ("blobs", stays.blobs)):
        counts = Counter(reason.rpartition(", for ")[2] for reason in reasons.values())
        for reason, count in sorted(counts.items()):
            yield f"stays  {count} {noun}: {reason}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


# Verify ----------------------------------------------------------------------------------------


def verify_store(settings: Settings, arguments: argparse.Namespace) -> int:
    """Read everything, and tell what is damaged; exit status 13 where some of it stays so."""
    found = verify(store_here(settings, "verify"), repair=arguments.repair)
    if arguments.json:
        print(json.dumps(asdict(found), indent=1))
    else:
        print("\n".join(_verified(found)))
    return 0 if all(damage.is_repaired for damage in found.damages) else StoreError.status


def _verified(found: Verified) -> Iterable[str]:
    """Yield a line for each damage, and one in all."""
    for damage in found.damages:
        anew = ", the next build makes it anew" if damage.kind in {"blob", "record"} else ""
        done = f"; forgotten{anew}" if damage.is_repaired else ""
        yield f"DAMAGED {damage.kind} {damage.name}: {damage.problem}{done}"
    read = (
        f"{found.blobs} blobs ({_megabytes(found.size)}), {found.records} records, "
        f"{found.instances} instances"
    )
    if not found.damages:
        yield f"All is well: {read}."
        return
    left = sum(not damage.is_repaired for damage in found.damages)
    yield f"Read {read}: {len(found.damages)} damaged, of which {left} still are."
    if any(d.kind not in {"instance", "alias"} and not d.is_repaired for d in found.damages):
        yield "`cbng-trainer verify --repair` forgets what is damaged, to be made anew."


# Audit -----------------------------------------------------------------------------------------


def audit_edit_set(
    build: Build, dispatcher: Callable[[Store], Dispatcher], arguments: argparse.Namespace
) -> int:
    """Build each step twice, and tell whether the same came out; exit status 10 where not."""
    found = []
    for finding in audit(build, build.plan.edit_set(arguments.slug), dispatcher):
        found.append(finding)
        if not arguments.json:
            print(_finding(finding), flush=True)
    if arguments.json:
        print(json.dumps([asdict(finding) for finding in found], indent=1))
    return StepFailed.status if any(each.agrees == NEITHER for each in found) else 0


def _finding(finding: Finding) -> str:
    """Return a line on an artifact."""
    if finding.problem:
        return f"{finding.step}: FAILED: {finding.problem}"
    recorded = finding.recorded or "no record"
    return f"{finding.step} {finding.artifact}: {finding.agrees}; as recorded: {recorded}"


# Pins ------------------------------------------------------------------------------------------


def pin(settings: Settings, arguments: argparse.Namespace) -> int:
    """Let an instance stay whatever the rules say."""
    store = store_here(settings, "pin")
    target, name = _named(store, arguments.instance)
    pins.pin(store.instances, target, name, {"why": arguments.why, "who": pins.who()})
    print(f"{target}/{name} stays: {arguments.why}")
    return 0


def unpin(settings: Settings, arguments: argparse.Namespace) -> int:
    """Let an instance go when no rule keeps it."""
    store = store_here(settings, "unpin")
    target, name = _named(store, arguments.instance)
    pins.unpin(store.instances, target, name)
    print(f"{target}/{name} is not pinned any more")
    return 0


def _named(store: DirectoryStore, text: str) -> tuple[str, str]:
    """Return edit set and name of the instance ``TARGET/TIME``. Raises PlanError."""
    target, _, name = text.strip("/").rpartition("/")
    if target and (problem := problem_with_target(target)):
        raise PlanError(f"{target!r} names no edit set: {problem}")
    if target and name in ALIASES:
        link = store.instances.folder(target) / name
        if not link.is_symlink():
            raise PlanError(f"nothing of {target!r} is published as {name}")
        name = str(link.readlink())
    if not target or not INSTANCE.fullmatch(name):
        raise PlanError(f"{text!r} names no instance; 'Edit Set/2025-08-01 18:36:31' would")
    return target, name


# Command line ----------------------------------------------------------------------------------


def add_commands(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    on_store: Callable[
        [Callable[[Settings, argparse.Namespace], int]], Callable[[argparse.Namespace], int]
    ],
) -> argparse.ArgumentParser:
    """
    Add these commands; *on_store* gives one its settings.

    Returns:
        The parser of ``audit``, which needs a build besides.
    """
    pruner = commands.add_parser("prune", help="remove what nothing that stays refers to")
    pruner.add_argument(
        "--dry-run", action="store_true", help="only say what would go, and why not"
    )
    pruner.set_defaults(command=on_store(prune_store))

    verifier = commands.add_parser("verify", help="read every blob and record")
    verifier.add_argument("--repair", action="store_true",
                          help="forget what is damaged: the next build makes it anew")  # fmt: skip
    verifier.set_defaults(command=on_store(verify_store))

    auditor = commands.add_parser("audit", help="build each step twice: does the same come out?")
    auditor.add_argument("slug", metavar="SLUG", help="such as legacy-import")
    for parser in (pruner, verifier, auditor):
        parser.add_argument("--json", action="store_true", help="for programs")

    pinner = commands.add_parser("pin", help="let an instance stay whatever the rules say")
    unpinner = commands.add_parser("unpin", help="undo that")
    for parser, command in ((pinner, pin), (unpinner, unpin)):
        parser.add_argument("instance", metavar="TARGET/TIME", help="or TARGET/production")
        parser.set_defaults(command=on_store(command))
    pinner.add_argument("--why", type=parse.argument(parse.some_text), required=True,
                        metavar="REASON", help="for who wonders later")  # fmt: skip
    return auditor
