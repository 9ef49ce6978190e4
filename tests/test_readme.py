"""The README tells what is so."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from cbngtrain.recipes import RECIPES
from cbngtrain.settings import VARIABLES
from tests.conftest import ROOT, Site

README = (ROOT / "README.md").read_text(encoding="utf-8")


def rows(heading: str, page: str = README) -> list[list[str]]:
    """The rows of the first table below *heading*, cells stripped."""
    text = page.split(f"# {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_setting_is_in_the_table():
    """Every setting is in docs/reference/settings.md: its default and its meaning, no other."""
    page = (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
    told = [[variable.name, variable.default, variable.doc] for variable in VARIABLES.values()]
    table = [[cell.strip("`") if i < 2 else cell for i, cell in enumerate(row)]
             for row in rows("Settings", page)]  # fmt: skip

    assert table == told


def test_every_recipe_is_in_the_table():
    """Every recipe is in the README's table of steps, in order, with what it reads and leaves."""
    text = README.split("in the order of the table `cbngtrain/recipes.py`:", 1)[1]
    table = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \|$", text.split("\n## ")[0], re.MULTILINE)

    assert [name for name, _, _ in table] == [recipe.name for recipe in RECIPES]
    named = [re.findall(r"`([^`]+)`", makes) for _, makes, _ in table]
    left = [{leaf.artifact for leaf in recipe.leaves} for recipe in RECIPES]
    assert all(set(names) <= artifacts for names, artifacts in zip(named, left, strict=True))


def test_every_module_is_in_the_layout():
    """Every module of the trainer and every folder is in the layout table."""
    told = {row[0].strip("`") for row in rows("Layout")}
    modules = {f"cbngtrain/{path.name}" for path in (ROOT / "cbngtrain").glob("*.py")}

    assert modules - {"cbngtrain/__init__.py"} <= told
    assert all((ROOT / path).exists() for path in told)


def test_nothing_else_is_at_the_top():
    """What the repository holds at its top is in the layout table: no stray file is committed."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files"], check=True, cwd=ROOT, capture_output=True, text=True
    )
    top = {path.partition("/")[0] for path in listed.stdout.splitlines()}
    told = {row[0].strip("`").partition("/")[0] for row in rows("Layout")}

    assert {name for name in top if not name.startswith(".")} <= told | {"README.md"}


def test_supported_pythons_are_tested():
    """CI tests the oldest Python that the package supports."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")

    assert project["requires-python"].removeprefix(">=") in workflow


def normalised(text: str) -> list[str]:
    """Lines of a transcript without what differs from run to run: seconds, times, long names."""
    text = text.replace("original-testing-training-set-random-edits-50-50", "original-…-50-50")
    text = re.sub(r" in [0-9.]+ s: ", " in N s: ", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME", text)
    return [line.strip() for line in text.strip().splitlines()]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], list[str]]:
    """A checkout of the sample, with what a first and a second doit said."""
    path = tmp_path_factory.mktemp("sample") / "checkout"
    path.mkdir()
    shutil.copy(ROOT / "dodo.py", path)
    shutil.copytree(ROOT / "sample", path / "sample")
    env = Site.env(Site.at(path))
    foreign = ("CBNG_", "PYTHONPATH")
    own = {name: value for name, value in env.items() if not name.startswith(foreign)}
    doit = [sys.executable, "-m", "doit"]
    outs = [
        subprocess.run(doit, check=False, cwd=path, env=own, capture_output=True, text=True)
        for _ in range(2)
    ]
    assert [out.returncode for out in outs] == [0, 0], outs
    return path, normalised(outs[0].stdout), normalised(outs[1].stdout + outs[1].stderr)


@pytest.mark.slow
def test_transcript_is_what_doit_says(sample: tuple[Path, list[str], list[str]]):
    """The README's recording of a first build and a no-op is what they say."""
    _, first, second = sample
    recorded = README.split("<!-- transcript", 1)[1].split("-->", 1)[1].split("<!--", 1)[0]

    assert normalised(recorded) == ["$ doit", *first, "$ doit", *second]


@pytest.mark.slow
def test_sample_ends_with_three_whole_instances(sample: tuple[Path, list[str], list[str]]):
    """What the first command promises: databases, a network and a trial report."""
    path, _, _ = sample
    latest = list((path / "store" / "tree").rglob("latest"))

    assert len(latest) == 3
    artifacts = [{p.name for p in (each / "artifacts").iterdir() if p.exists()} for each in latest]
    assert all({"bayes.db", "two_bayes.db", "main_ann.fann"} <= names for names in artifacts)
    reports = [each / "trial" / "report.txt" for each in latest]
    assert sum(report.exists() for report in reports) == 2
