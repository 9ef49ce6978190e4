"""
What stays in a store, and why; what may go.

Pure. An instance stays by rule, a record or a blob because something that stays refers to it, and
everything that is younger than the grace: somebody may be about to rely on it. Nothing goes by age
alone. What an instance was made from, back to the edit sets, stays with it.
"""

import re
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cbngtrain.instances import Instance
from cbngtrain.recipes import MODELS
from cbngtrain.step import Digest, Fingerprint, Record

_SHA256 = re.compile(r"[0-9a-f]{64}")
_DAY = 86400  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """
    What stays.

    Attributes:
        instances: The last so many of each edit set.
        months: The last instance of each of so many months, this one included.
        builds: The last so many summaries of builds.
        grace: Seconds for which everything stays that was written or relied upon.
    """

    instances: int
    months: int
    builds: int
    grace: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """
    An instance as it lies in the tree.

    Attributes:
        target: The edit set's name.
        name: The instance's.
        modified: When it was published, seconds since the epoch.
        links: Digests of the blobs that its files are.
        instance: What its ``instance.json`` says; None for a folder that scripts fill.
        aliases: What else it is called: ``latest``, ``production``.
        pin: Why somebody wants it to stay, or None.
    """

    target: str
    name: str
    modified: float
    links: frozenset[Digest]
    instance: Instance | None
    aliases: frozenset[str] = frozenset()
    pin: str | None = None

    @property
    def title(self) -> str:
        """Edit set and name."""
        return f"{self.target}/{self.name}"


@dataclass(frozen=True, slots=True)
class Stored:
    """A file: when it was written or relied upon, seconds since the epoch; its size in bytes."""

    modified: float
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """
    What is in a store.

    Attributes:
        at: When it was looked at, seconds since the epoch.
        folders: The instances.
        strays: Path → digests, of what else in the tree are links to blobs.
        records: Every record's file; `read` has those that can be read.
        read: See there.
        blobs: Every blob's file.
        heads: Slug → head.
        builds: Name → file and summary of each build.
        parts: Path → file, of what was on its way to its place.
    """

    at: float
    folders: tuple[Folder, ...]
    strays: Mapping[str, frozenset[Digest]]
    records: Mapping[Fingerprint, Stored]
    read: Mapping[Fingerprint, Record]
    blobs: Mapping[Digest, Stored]
    heads: Mapping[str, Any]
    builds: Mapping[str, tuple[Stored, Any]]
    parts: Mapping[str, Stored]


@dataclass(slots=True)
class Decision:
    """
    What stays, each with its reasons; what is in none of these goes.

    Attributes:
        folders: Title of an instance → why it stays.
        records: Fingerprint → the first reason found.
        blobs: Digest → the first reason found.
        builds: Name → why.
        parts: Path → why.
    """

    folders: dict[str, list[str]] = field(default_factory=dict)
    records: dict[Fingerprint, str] = field(default_factory=dict)
    blobs: dict[Digest, str] = field(default_factory=dict)
    builds: dict[str, str] = field(default_factory=dict)
    parts: dict[str, str] = field(default_factory=dict)


def decide(inventory: Inventory, rules: Rules, *, all_folders: bool = False) -> Decision:
    """
    Return what of *inventory* stays by *rules*.

    *all_folders*: whether every instance stays, since those that were to go are gone.
    """
    young = f"younger than {rules.grace / _DAY:g} days"
    decision = Decision(
        builds=_builds(inventory, rules, young),
        parts={p: young for p, s in inventory.parts.items() if _is_young(s, inventory, rules)},
    )
    reach = _Reach(inventory, decision)
    for folder, reasons in _folders(inventory, rules, young):
        if reasons or all_folders:
            decision.folders[folder.title] = reasons or ["it is here"]
            reach.follow(f"instance {folder.title}", *_roots(folder))
    for path, links in inventory.strays.items():
        reach.follow(f"file {path}", (), links)
    for slug, head in inventory.heads.items():
        reach.follow(f"last complete build of {slug}", *_named(_rows(head)))
    for build in decision.builds:
        reach.follow(f"log of a step that failed in build {build}", (), _logs(inventory, build))
    for key, stored in inventory.records.items():
        if _is_young(stored, inventory, rules):
            reach.hold(key, young)
    for digest, stored in inventory.blobs.items():
        if _is_young(stored, inventory, rules):
            decision.blobs.setdefault(digest, young)
    return decision


def _is_young(stored: Stored, inventory: Inventory, rules: Rules) -> bool:
    return stored.modified > inventory.at - rules.grace


# Instances -------------------------------------------------------------------------------------


def _folders(inventory: Inventory, rules: Rules, young: str) -> Iterator[tuple[Folder, list[str]]]:
    """Yield each instance with the reasons why it stays."""
    by_target: defaultdict[str, list[Folder]] = defaultdict(list)
    for folder in inventory.folders:
        by_target[folder.target].append(folder)
    for folders in by_target.values():
        published = sorted((f.name for f in folders if f.instance), reverse=True)
        monthly = _monthly(published, inventory.at, rules.months)
        rival = _rival(folders)
        for folder in folders:
            reasons = sorted(folder.aliases)
            reasons += [f"pinned: {folder.pin}"] if folder.pin is not None else []
            reasons += ["filled by a script"] if folder.instance is None else []
            if folder.name in published[: rules.instances]:
                reasons.append(f"one of the last {rules.instances}")
            if folder.name in monthly:
                reasons.append(f"the last one of {folder.name[:7]}")
            if folder is rival:
                reasons.append("the network before")
            if folder.modified > inventory.at - rules.grace:
                reasons.append(young)
            yield folder, reasons


def _rival(folders: Iterable[Folder]) -> Folder | None:
    """
    Return the newest of *folders* whose network is not the newest's, if there is one.

    The next build compares with it: without it the comparison would be another, and be published
    though nothing else has changed.
    """
    published = sorted((f for f in folders if f.instance), key=lambda f: f.name, reverse=True)
    newest, older = published[:1], published[1:]
    return next((each for each in older if _network(each) != _network(newest[0])), None)


def _network(folder: Folder) -> tuple[Digest | None, ...]:
    """Return what tells the network of an instance from others."""
    meanings = folder.instance.meanings if folder.instance else {}
    return tuple(meanings.get(f"artifacts/{file}") for file in MODELS)


def _monthly(names: Iterable[str], now: float, months: int) -> set[str]:
    """Return the newest of *names* (newest first) of each of the last *months* months."""
    year, month = time.gmtime(now)[:2]
    wanted = {_month(year * 12 + month - 1 - back) for back in range(months)}
    newest: dict[str, str] = {}
    for name in names:
        newest.setdefault(name[:7], name)
    return {name for month, name in newest.items() if month in wanted}


def _month(number: int) -> str:
    """Return a month, counted since the year 0, as it begins an instance's name."""
    return f"{number // 12:04}-{number % 12 + 1:02}"


def _roots(folder: Folder) -> tuple[set[Fingerprint], set[Digest]]:
    """Return what an instance refers to."""
    if folder.instance is None:
        return set(), set(folder.links)
    keys, digests = _named(folder.instance.about)
    return keys, {*digests, *folder.links, *folder.instance.files.values()}


def _named(value: Any) -> tuple[set[Fingerprint], set[Digest]]:
    """Return all that a JSON value calls ``fingerprint`` and ``digest``, wherever it does."""
    keys, digests = set(), set()
    for name, text in _members(value):
        if name == "fingerprint" and _SHA256.fullmatch(text):
            keys.add(Fingerprint(text))
        elif name == "digest" and _SHA256.fullmatch(text):
            digests.add(Digest(text))
    return keys, digests


def _members(value: Any) -> Iterator[tuple[str, str]]:
    """Yield every member of a JSON value, however deep, whose value is a text."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, Mapping):
            yield from ((k, v) for k, v in each.items() if isinstance(v, str))
            waiting += each.values()
        elif isinstance(each, list | tuple):
            waiting += each


# Heads and builds ------------------------------------------------------------------------------


def _rows(head: Any) -> list[Any]:
    """Return the rows of a head: what its edit set's last complete build used."""
    parts = [head.get(kind) for kind in ("sources", "steps")] if isinstance(head, Mapping) else []
    return [row for part in parts if isinstance(part, Mapping) for row in part.values()]


def _builds(inventory: Inventory, rules: Rules, young: str) -> dict[str, str]:
    """Return the summaries that stay: the last ones, and the last one that names each edit set."""
    names = sorted(inventory.builds, reverse=True)
    found = dict.fromkeys(names[: rules.builds], f"one of the last {rules.builds}")
    seen: set[str] = set()
    for name in names:
        told = inventory.builds[name][1]
        edit_sets = told.get("edit_sets") if isinstance(told, Mapping) else None
        if new := set(edit_sets if isinstance(edit_sets, Mapping) else ()) - seen:
            found.setdefault(name, f"the last one of {min(new)}")
            seen |= new
    recent = (n for n, (s, _) in inventory.builds.items() if _is_young(s, inventory, rules))
    return dict.fromkeys(recent, young) | found


def _logs(inventory: Inventory, build: str) -> set[Digest]:
    """Return the logs that a summary names."""
    members = _members(inventory.builds[build][1])
    return {Digest(text) for name, text in members if name == "log" and _SHA256.fullmatch(text)}


# Records and blobs -----------------------------------------------------------------------------


class _Reach:
    """What is reached from what stays."""

    def __init__(self, inventory: Inventory, decision: Decision) -> None:
        self._inventory = inventory
        self._decision = decision
        self._followed: set[Fingerprint] = set()

    def follow(self, why: str, keys: Iterable[Fingerprint], digests: Iterable[Digest]) -> None:
        """Let records and blobs stay, and all that these records were made from."""
        for digest in digests:
            self._decision.blobs.setdefault(digest, why)
        waiting = list(keys)
        while waiting:
            key = waiting.pop()
            if key in self._followed:
                continue
            self._followed.add(key)
            self.hold(key, why)
            if record := self._inventory.read.get(key):
                for made in record.inputs.values():
                    self._decision.blobs.setdefault(made.artifact.digest, why)
                    waiting.append(made.by)

    def hold(self, key: Fingerprint, why: str) -> None:
        """Let a record stay, and the blobs without which it would not count."""
        self._decision.records.setdefault(key, why)
        if record := self._inventory.read.get(key):
            for digest in record.blobs:
                self._decision.blobs.setdefault(digest, f"record {key:.12}, for {why}")
