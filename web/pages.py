"""
What an address shows: as JSON for programs, as a page for people, of the same values.

A folder of edit sets, an edit set with its instances, an instance, any folder below.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from cbngtrain.promote import Rule
from cbngtrain.step import INSTANCE, problem_with_target
from cbngtrain.store import DirectoryStore, Instance
from web.evaluation import Evaluation, evaluation, of_network
from web.figures import Figures, curve, figures
from web.names import Address, quoted
from web.summaries import last_build, last_builds, summaries
from web.templates import render
from web.tree import Entry, Tree

PER_PAGE = 100
HISTORY = 20  # instances in a sparkline

_REPORT = "trial/report.txt"
_TABLE = "trial/thresholdtable.txt"
_PICTURE = re.compile(r".*\.(png|svg)", re.DOTALL)
_SHOWN = 20_000  # bytes of a report that are shown


@dataclass(frozen=True, slots=True)
class Page:
    """
    An answer in both its forms.

    Attributes:
        template: What makes the page of it.
        value: The JSON.
        more: What the page shows besides.
    """

    template: str
    value: dict[str, Any]
    more: dict[str, Any]

    def html(self) -> str:
        """Return the page for people."""
        return render(self.template, **self.value, **self.more)


class Pages:
    """The pages of a store."""

    def __init__(self, store: DirectoryStore, tree: Tree, rule: Rule) -> None:
        """*tree* is the published side of *store*; *rule* is the gate's."""
        self._store = store
        self._tree = tree
        self._rule = rule

    def page(self, at: Address, number: int) -> Page:
        """Return page *number* of what is at *at*."""
        if not at.target:
            return self._home(number)
        if at.instance and not at.path:
            return self._instance(at, number)
        if not at.instance and any(INSTANCE.fullmatch(e.name) for e in self._tree.entries(at)):
            return self._edit_set(at, number)
        return Page("folder.html", self._listing(at, number), _place(at))

    def _listing(self, at: Address, number: int) -> dict[str, Any]:
        """Return what every folder tells: its entries."""
        entries = self._tree.entries(at) if self._tree.is_folder(at) else []
        return {
            "address": at.url + ("/" if at.target else ""),
            **_paged(entries, number),
            "entries": [_entry(entry) for entry in _cut(entries, number)],
        }

    def _home(self, number: int) -> Page:
        """Return all edit sets: latest instance, figures over time, how the last build went."""
        found = summaries(self._store.root / "builds")
        builds = last_builds(found)
        failed = {target for target, told in builds.items() if told["failed"]}
        targets = sorted({*self._tree.targets(), *failed})
        value = {**self._listing(Address(""), number), **_paged(targets, number)}
        value["last_build"] = last_build(found)
        value["edit_sets"] = [
            {**self._row(target), "last_build": builds.get(target)}
            for target in _cut(targets, number)
        ]
        return Page("home.html", value, {"title": "Edit sets", "crumbs": []})

    def _row(self, target: str) -> dict[str, Any]:
        """Return what is told of an edit set: its latest instance, its figures over time."""
        is_published = problem_with_target(target) is None and self._tree.is_folder(Address(target))
        history = self._instances(target) if is_published else []
        told = [each["figures"] for each in reversed(history) if each["figures"]]
        return {
            "name": target,
            "address": quoted(target) + "/",
            "latest": history[0]["name"] if history else None,
            "figures": history[0]["figures"] if history else None,
            "headline": history[0]["headline"] if history else None,
            "history": [each["strict"]["caught"] for each in told],
        }

    def _edit_set(self, at: Address, number: int) -> Page:
        """Return the instances of an edit set, newest first, with their figures."""
        found = self._instances(at.target, at=(number - 1) * PER_PAGE, most=PER_PAGE)
        value = {
            **self._listing(at, number),
            "instances": found,
            "latest": _name(self._tree.resolved(Address(at.target, "latest"))),
            "production": self._store.production(at.target),
        }
        return Page("edit_set.html", value, _place(at))

    def _instance(self, at: Address, number: int) -> Page:
        """Return an instance: what it is, whether it is whole, what is in it."""
        instance = self._store.instance(at.target, at.instance)
        lacking = sorted(self._store.missing(instance.files.values())) if instance else []
        told = evaluation(self._store, instance, self._rule)
        value = {
            **self._listing(at, number),
            "instance": instance and instance.to_json(),
            "whole": instance is not None and not lacking,
            "missing": lacking,
            "figures": _as_json(self._figures(instance)),
            "evaluation": told.to_json(),
        }
        more = {
            **_place(at),
            "report": self._text(instance, _REPORT),
            "curve": curve(self._text(instance, _TABLE), 320, 200),
            "pictures": _pictures(instance),
            "compared_with": self._compared_with(at, told),
            "logs": sorted(p for p in instance.files if p.startswith("logs/")) if instance else [],
            "artifacts": _artifacts(instance),
            "is_production": (self._store.production(at.target) or {}).get("instance")
            == at.instance,
        }
        return Page("instance.html", value, more)

    def _compared_with(self, at: Address, told: Evaluation) -> dict[str, str]:
        """Return network → the instance of this edit set that has it, newest first."""
        if not told.comparisons:
            return {}
        entries = self._tree.entries(Address(at.target))
        names = [e.name for e in entries if INSTANCE.fullmatch(e.name) and e.name != at.instance]
        known = {name: self._known(at.target, name) for name in names[:PER_PAGE]}
        networks = (each["network"] for each in told.comparisons)
        found = {network: of_network(network, known) for network in networks}
        return {network: name for network, name in found.items() if name}

    def _known(self, target: str, name: str) -> Instance | None:
        """Return an instance."""
        path = self._tree.folder(Address(target, name, "instance.json"))
        return _read(self._store, target, name, _modified(path))

    def _instances(self, target: str, at: int = 0, most: int = HISTORY) -> list[dict[str, Any]]:
        """Return instances of *target*, newest first: name, age, figures."""
        names = [e.name for e in self._tree.entries(Address(target)) if INSTANCE.fullmatch(e.name)]
        return [self._summary(target, name) for name in names[at : at + most]]

    def _summary(self, target: str, name: str) -> dict[str, Any]:
        """Return what is told of an instance in a list."""
        path = self._tree.folder(Address(target, name, "instance.json"))
        instance = self._known(target, name)
        metrics = evaluation(self._store, instance, self._rule).metrics
        return {
            "name": name,
            "address": quoted(target, name) + "/",
            "published": _modified(path) != 0,
            "figures": _as_json(self._figures(instance)),
            "headline": metrics and metrics["headline"],
        }

    def _figures(self, instance: Instance | None) -> Figures | None:
        """Return the figures in the instance's report."""
        return figures(self._text(instance, _REPORT))

    def _text(self, instance: Instance | None, path: str) -> str:
        """Return the beginning of a file of an instance, or nothing."""
        digest = instance.files.get(path) if instance else None
        return _beginning(self._store.path(digest)) if digest else ""


def _pictures(instance: Instance | None) -> list[dict[str, str]]:
    """Return the plots of an instance: what is shown of each, and its SVG where there is one."""
    files = instance.files if instance else {}
    found = sorted(filter(_PICTURE.fullmatch, files))
    stems = {path.rsplit(".", 1)[0] for path in found if path.endswith(".png")}
    shown = [p for p in found if p.endswith(".png") or p.rsplit(".", 1)[0] not in stems]
    scalable = (path.rsplit(".", 1)[0] + ".svg" for path in shown)
    return [
        {"path": path, "svg": svg if svg in files and svg != path else ""}
        for path, svg in zip(shown, scalable, strict=True)
    ]


@lru_cache(maxsize=1024)
def _read(store: DirectoryStore, target: str, name: str, _modified: int) -> Instance | None:
    """Return an instance, known again while its file is the same."""
    return store.instance(target, name)


def _beginning(path: Path) -> str:
    """Return the first bytes of a file as text, or nothing where there is none."""
    try:
        with path.open("rb") as file:
            return file.read(_SHOWN).decode(errors="replace")
    except OSError:
        return ""


def _modified(path: Path) -> int:
    """Return when the file was changed, in nanoseconds; 0 where there is none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _as_json(told: Figures | None) -> dict[str, Any] | None:
    return asdict(told) if told else None


def _name(at: Address | None) -> str | None:
    return at.instance if at else None


def _place(at: Address) -> dict[str, Any]:
    """Return the page's title and the way to it, from the root."""
    parts = [*at.target.split("/"), *filter(None, [at.instance, *at.path.split("/")])]
    crumbs = [(part, quoted(*parts[: i + 1]) + "/") for i, part in enumerate(parts)]
    return {"title": " / ".join(parts), "crumbs": crumbs}


def _cut(rows: list[Any], number: int) -> list[Any]:
    return rows[(number - 1) * PER_PAGE : number * PER_PAGE]


def _paged(rows: list[Any], number: int) -> dict[str, int]:
    """Return where in *rows* the page is."""
    return {"page": number, "pages": max(-(-len(rows) // PER_PAGE), 1)}


def _entry(entry: Entry) -> dict[str, Any]:
    """Return a line of a listing."""
    return {
        "name": entry.name,
        "type": "folder" if entry.is_folder else "file",
        "size": entry.size,
        "digest": entry.digest,
        "modified": datetime.fromtimestamp(entry.modified, UTC).strftime("%Y-%m-%d %H:%M:%S"),
    }


def _artifacts(instance: Instance | None) -> list[dict[str, Any]]:
    """Return the artifacts of an instance with what made them, of what."""
    if instance is None:
        return []
    about = _dict(instance.about)
    told, sources = _dict(about.get("artifacts")), _dict(about.get("edit_sets"))
    makers = {
        path: (name, _dict(step))
        for name, step in _dict(about.get("steps")).items()
        for path in _list(_dict(step).get("leaves"))
        if isinstance(path, str)
    }
    rows = []
    for path, digest in sorted(instance.files.items()):
        if not path.startswith("logs/"):
            name, step = makers.get(path, ("", {}))
            size = _dict(told.get(path)).get("size")
            rows.append(
                {
                    "path": path,
                    "digest": digest,
                    "size": size if isinstance(size, int) else None,
                    "step": name,
                    "made_from": sorted(_dict(step.get("made_from"))),
                    "url": _dict(sources.get(path)).get("url", ""),
                }
            )
    return rows


def _dict(value: Any) -> Mapping[str, Any]:
    """Return *value* if it is a JSON object; what other clients publish may be anything."""
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    """Return *value* if it is a JSON list."""
    return value if isinstance(value, list) else []
