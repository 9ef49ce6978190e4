"""What a build of the two edit sets in small comes to: its steps, its blobs, its instances."""

from pathlib import Path

from tests.conftest import Site

ALL_STEPS = ["bayes_train", "bayes.db", "two_bayes.db", "ann_train", "create_ann", "trial_run"]
NOTHING = "Nothing to do: 20 up to date, 4 sources unchanged."


def blobs_of(site: Site, path: str) -> list[Path]:
    """The blobs behind a path of the latest instances, one per edit set."""
    return [
        (site.base / "store" / "tree" / name / "latest" / path).resolve()
        for name in ("Alpha", "Beta")
    ]


def instances(site: Site, name: str) -> list[str]:
    """The names of the instances of an edit set."""
    folder = site.base / "store" / "tree" / name
    return sorted(path.name for path in folder.iterdir() if path.name != "latest")
