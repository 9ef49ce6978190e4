"""What a build of the two edit sets in small comes to: steps, blobs, instances, networks."""

import json
from pathlib import Path
from typing import Any

from tests.conftest import Site

ALL_STEPS = ["bayes_train", "bayes.db", "two_bayes.db", "ann_train", "create_ann", "trial_run"]
NOTHING = "Nothing to do: 20 up to date, 4 sources unchanged."


def blobs_of(site: Site, path: str) -> list[Path]:
    """The blobs behind a path of the latest instances, one per edit set."""
    return [
        (site.base / "store" / "tree" / name / "latest" / path).resolve()
        for name in ("Alpha", "Beta")
    ]


def instances(site: Site, name: str = "Alpha") -> list[str]:
    """The names of an edit set's instances, oldest first."""
    folder = site.base / "store" / "tree" / name
    return sorted(path.name for path in folder.iterdir() if path.name != "latest")


def published(site: Site, path: str, name: str = "Alpha") -> Any:
    """A JSON file of the latest instance."""
    return json.loads((site.base / "store" / "tree" / name / "latest" / path).read_bytes())


def compared(site: Site, name: str = "Alpha") -> list[tuple[str, str]]:
    """With whom the latest instance was compared: name, and the beginning of its network."""
    rows = published(site, "trial/comparison.json", name)["comparisons"]
    return [(row["name"], row["network"]) for row in rows]


def network(site: Site, instance: str = "latest", name: str = "Alpha") -> str:
    """The digest of an instance's network."""
    folder = site.base / "store" / "tree" / name / instance
    return (folder / "artifacts" / "main_ann.fann").resolve().name
