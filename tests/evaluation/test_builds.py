"""The evaluation itself in real builds, with the engine: the sample's edits, and few of our own."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, dump, edits
from tests.evaluation.trials import validate

pytestmark = pytest.mark.slow

SLUG, NAME = "report-interface-import", "Report Interface Import"


class Checkout:
    """A checkout with the sample, the engine and the evaluation."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True)
        shutil.copy(ROOT / "dodo.py", path)
        shutil.copytree(ROOT / "sample", path / "sample")

    def doit(self, *words: str, **env: str) -> str:
        """Run doit; return what it said."""
        own = {"PATH": "/usr/bin:/bin", "HOME": str(self.path), "TMPDIR": str(self.path), **env}
        ended = subprocess.run(
            [sys.executable, "-m", "doit", *words], cwd=self.path, env=own,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def latest(self, name: str = NAME) -> Path:
        """The latest instance."""
        return self.path / "store" / "tree" / name / "latest"

    def evaluated(self, kind: str, name: str = NAME) -> Any:
        """What the evaluation wrote into the latest instance, held to its schema."""
        value = json.loads((self.latest(name) / "trial" / f"{kind}.json").read_bytes())
        validate(value, kind)
        return value


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The sample, built twice: with another seed the second time, beside a network in use."""
    found = Checkout(tmp_path_factory.mktemp("one") / "checkout")
    found.doit(f"publish:{SLUG}", "ann:sampled-main-namespace-edits")
    (found.path / "in-use").mkdir()
    for name in ("bayes.db", "two_bayes.db", "main_ann.fann"):
        reference = found.path / "build" / "sampled-main-namespace-edits" / name
        digest = reference.read_text().split()[1]
        blob = found.path / "store" / "cas" / digest[:2] / digest
        shutil.copy(blob, found.path / "in-use" / name)
    found.doit(f"publish:{SLUG}", CBNG_SEED="2", CBNG_REFERENCE="in-use")
    return found


def test_report_follows_its_schema(checkout: Checkout):
    """Counts are those of the edit sets, and the network is the one beside it."""
    value = checkout.evaluated("metrics")
    counts = json.loads((checkout.latest() / "instance.json").read_bytes())["about"]["edit_sets"]

    assert value["edit_set"] == NAME
    assert value["counts"]["edits"] == counts["edit-sets/trial.xml"]["counts"]["edits"]
    assert value["overlap"]["edits"] == 0
    assert value["network"] == (checkout.latest() / "artifacts/main_ann.fann").resolve().name


def test_comparison_follows_its_schema(checkout: Checkout):
    """It is with the bot's network and the one before, on all the trial's edits."""
    value = checkout.evaluated("comparison")

    names = [each["names"]["reference"] for each in value["comparisons"]]
    assert [name.split()[0] for name in names] == ["bot", "previous"]
    metrics = checkout.evaluated("metrics")
    for each in value["comparisons"]:
        assert each["counts"]["edits"] == metrics["counts"]["edits"]
        live = each["at_live_threshold"]["new"]["confusion"]
        assert live == metrics["at_live_threshold"]["confusion"]
    page = (checkout.latest() / "trial" / "comparison.md").read_text()
    assert page.startswith(f"# network {value['network'][:12]} beside bot ")


def test_plots_say_what_they_are_of(checkout: Checkout):
    """Edit set, network and counts are on each; two networks on those of a comparison."""
    value = checkout.evaluated("comparison")
    for plot in (checkout.latest() / "trial").glob("*.svg"):
        text = plot.read_text()
        assert f"{NAME} · network {value['network'][:12]}" in text, plot
        assert "319 edits: 161 vandalism, 158 constructive" in text, plot
        if plot.name.startswith("comparison-"):
            assert value["comparisons"][0]["names"]["reference"] in text, plot


def test_second_build_has_nothing_to_do(checkout: Checkout):
    """After publishing, too."""
    out = checkout.doit(f"publish:{SLUG}", CBNG_SEED="2", CBNG_REFERENCE="in-use")

    assert out.startswith("Nothing to do: ")


def test_reports_are_the_same_everywhere(checkout: Checkout, tmp_path: Path):
    """Another machine, day and user's settings: the same bytes, of every file."""
    other = Checkout(tmp_path / "another" / "place")
    (other.path / "matplotlibrc").write_text("font.size: 30\n")
    (other.path / ".config" / "matplotlib").mkdir(parents=True)
    (other.path / ".config" / "matplotlib" / "matplotlibrc").write_text("axes.grid: True\n")
    env = {"SOURCE_DATE_EPOCH": "1", "LC_ALL": "C", "TZ": "Asia/Tokyo"}

    other.doit(f"publish:{SLUG}", CBNG_SEED="2", **env)

    paths = [path.name for path in (other.latest() / "trial").iterdir()]
    assert len(paths) == 6 + 13
    for path in paths:
        one, two = ((each.latest() / "trial" / path).read_bytes() for each in (checkout, other))
        assert one == two, path


@pytest.mark.parametrize(("kind", "said"), [(True, "constructive edits"), (False, "vandalism")])
def test_trial_of_one_class_is_stated(tmp_path: Path, kind: bool, said: str):  # noqa: FBT001
    """The build goes on; figures, page and plots say that there is nothing to measure."""
    site = Checkout(tmp_path / "checkout")
    shutil.rmtree(site.path / "sample")
    (site.path / "sample" / "dumps").mkdir(parents=True)
    rows = [(1, "Few", "Generic", None), (2, "a", "Training", 1), (3, "b", "Trial", 1)]
    names = ("id", "name", "type", "related_to")
    groups = json.dumps([dict(zip(names, row, strict=True)) for row in rows])
    (site.path / "sample" / "edit-groups.json").write_text(groups)
    word = f"<isVandalism>{'true' if kind else 'false'}<"
    trial = [each for each in edits(500, 12) if word in each]
    for number, found in ((2, edits(100, 30)), (3, trial)):
        (site.path / "sample" / "dumps" / f"{number}.xml").write_text(dump(found))

    site.doit()
    site.doit(CBNG_SEED="2")

    metrics = site.evaluated("metrics", "Few")
    assert metrics["roc_auc"] == {"value": None, "reason": f"the trial has no {said}"}
    beside = site.evaluated("comparison", "Few")["comparisons"][0]
    assert beside["answer"]["is"] == "unknown"
    svg = (site.latest("Few") / "trial" / "roc.svg").read_text()
    assert f"Nothing to draw: the trial has no {said}." in svg
