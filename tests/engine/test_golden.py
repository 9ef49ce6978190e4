"""The bot's configuration on real edits: what the real core wrote, byte for byte."""

from pathlib import Path

import pytest

from tests.engine.conftest import Place, unpacked

SETS = [
    pytest.param("real", "real", "real", id="real"),
    pytest.param("n50", "train50", "trial50", id="n50"),
    pytest.param("n400", "train400", "trial400", id="n400", marks=pytest.mark.slow),
]

CHAINS = [
    pytest.param(
        "bayes_train",
        ("data/main_bayes_train.dat", "data/two_bayes_train.dat"),
        id="bayes_train",
    ),
    pytest.param("ann_train", ("data/main_ann_train.dat",), id="ann_train"),
    pytest.param(
        "trial_run",
        tuple(
            f"trialreport/{name}"
            for name in (
                "details.txt",
                "thresholdtable.txt",
                "report.txt",
                "falsepositives.txt",
                "falsenegatives.txt",
                "debug.xml",
            )
        ),
        id="trial_run",
    ),
]


@pytest.mark.parametrize(("golden", "train", "trial"), SETS)
@pytest.mark.parametrize(("chain", "files"), CHAINS)
def test_every_byte_is_the_real_cores(tmp_path, shared, golden, train, trial, chain, files):  # noqa: PLR0917  # two tables
    """All that a chain writes from a golden edit set, databases and network is equal."""
    place = Place(tmp_path)
    theirs: Path = shared / "golden" / golden
    for name in ("bayes.db", "two_bayes.db", "main_ann.fann"):
        place.write(f"data/{name}", unpacked(theirs / "data" / name))
    edits = trial if chain == "trial_run" else train
    place.write("edits.xml", unpacked(shared / "data" / "edits" / f"{edits}.xml"))
    (tmp_path / "trialreport").mkdir()

    done = place.run(chain, conf=str(shared / "data" / "core-conf"))

    assert (done.returncode, done.stderr) == (0, "")
    assert [name for name in files if place.read(name) != unpacked(theirs / name)] == []
