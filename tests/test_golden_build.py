"""A whole build with the bot's configuration gives what the native core wrote."""

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, SHARED, needs_shared

pytestmark = [needs_shared, pytest.mark.slow]  # a whole build

GOLDEN = SHARED / "golden" / "n400"


def engine(directory: Path, *command: str) -> bytes:
    """What a program of the embedded engine prints, run in *directory*."""
    return subprocess.run(
        [sys.executable, "-m", "cbngtrain.engine", *command],
        cwd=directory,
        check=True,
        capture_output=True,
    ).stdout


def golden(path: str) -> bytes:
    """A golden file, unpacked."""
    packed = GOLDEN / f"{path}.gz"
    return gzip.decompress(packed.read_bytes()) if packed.exists() else (GOLDEN / path).read_bytes()


@pytest.fixture(scope="module")
def latest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The instance that a build of train400 and trial400 publishes."""
    path = tmp_path_factory.mktemp("golden")
    dumps = path / "review" / "dumps"
    dumps.mkdir(parents=True)
    shutil.copy(ROOT / "dodo.py", path)
    shutil.copy(SHARED / "data" / "edits" / "train400.xml.gz", dumps / "1.xml.gz")
    shutil.copy(SHARED / "data" / "edits" / "trial400.xml.gz", dumps / "2.xml.gz")
    groups = [
        {"id": 1, "name": "Golden", "related_to": None, "type": "Training"},
        {"id": 2, "name": "Golden trial", "related_to": 1, "type": "Trial"},
    ]
    (path / "review" / "edit-groups.json").write_text(json.dumps(groups), encoding="utf-8")
    env = {
        "PATH": "/usr/bin:/bin",
        "CBNG_REVIEW_URL": "file:review",
        "CBNG_CORE_CONF": str(SHARED / "data" / "core-conf"),
    }
    doit = [sys.executable, "-m", "doit"]
    ended = subprocess.run(doit, check=False, cwd=path, env=env, capture_output=True, text=True)
    assert ended.returncode == 0, ended
    return path / "store" / "tree" / "Golden" / "latest"


@pytest.mark.parametrize(
    "name", ["main_bayes_train.dat", "two_bayes_train.dat", "main_ann_train.dat"]
)
def test_training_data_equals_the_native_core(latest: Path, name: str):
    """Training data is byte for byte what the native core wrote."""
    assert (latest / "artifacts" / name).read_bytes() == golden(f"data/{name}")


@pytest.mark.parametrize("name", ["bayes.db", "two_bayes.db"])
def test_databases_equal_the_native_core(latest: Path, name: str):
    """The databases print as the native core's did."""
    path = latest / "artifacts" / name

    assert engine(path.parent, "print_bayes_db", name) == golden(f"data/{name}.txt")


def test_golden_network_scores_as_the_native_core(latest: Path, tmp_path: Path):
    """With the golden network, the trial of the built databases is the native core's."""
    (tmp_path / "data").mkdir()
    (tmp_path / "trialreport").mkdir()
    shutil.copytree(SHARED / "data" / "core-conf", tmp_path / "conf")
    shutil.copy(latest / "edit-sets" / "trial.xml", tmp_path / "edits.xml")
    for name in ("bayes.db", "two_bayes.db"):
        shutil.copy(latest / "artifacts" / name, tmp_path / "data" / name)
    (tmp_path / "data" / "main_ann.fann").write_bytes(golden("data/main_ann.fann"))

    engine(tmp_path, "cluebotng", "-c", "conf", "-m", "trial_run", "-f", "edits.xml")

    report = tmp_path / "trialreport"
    assert (report / "details.txt").read_bytes() == golden("trialreport/details.txt")
    assert (report / "thresholdtable.txt").read_bytes() == golden("trialreport/thresholdtable.txt")
