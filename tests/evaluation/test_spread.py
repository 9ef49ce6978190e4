"""``spread``: where a network stands among others that differ by their seeds."""

import json
import statistics
from pathlib import Path

import pytest

from cbngtrain.evaluation import measures
from cbngtrain.evaluation.__main__ import main
from cbngtrain.evaluation.measures import tally_of
from cbngtrain.evaluation.options import Options
from cbngtrain.evaluation.spread import spread
from tests.evaluation.trials import DEGENERATE, drawn, files, validate, written

OPTIONS = Options(edit_set="Alpha", network="a" * 64, bootstrap=100)


def test_network_stands_among_the_others():
    """Mean, range and standard deviation are of the others; how many are below is counted."""
    this, others = tally_of(drawn(50, 60, 1)), {n: tally_of(drawn(50, 60, n)) for n in (2, 3, 7)}
    areas = [measures.roc_auc(each) for each in others.values()]

    result = spread(this, others, OPTIONS)

    validate(result, "spread")
    assert result["seeds"] == [2, 3, 7]
    assert result["measures"]["roc_auc"] == {
        "this": measures.roc_auc(this),
        "mean": pytest.approx(sum(areas) / 3, abs=1e-15),
        "sd": pytest.approx(statistics.stdev(areas)),
        "low": min(areas),
        "high": max(areas),
        "below": sum(area < measures.roc_auc(this) for area in areas),
        "values": areas,
    }
    assert "recall at 0.1 %" in result["measures"]


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_trial_is_described(name: str):
    """Instead of NaN there is a reason."""
    of = tally_of(DEGENERATE[name][0])

    result = spread(of, {2: of}, OPTIONS)

    validate(result, "spread")
    json.dumps(result, allow_nan=False)
    assert bool(result["reason"]) is (not result["measures"])


def test_program_writes_and_prints(tmp_path: Path, capsys):
    """The file, and a table in which each measure has a line."""
    written(drawn(20, 30, 1), tmp_path / "details.txt")
    (tmp_path / "seeds").mkdir()
    for seed in (10, 9):
        written(drawn(20, 30, seed), tmp_path / "seeds" / f"{seed}.txt")
    where = [str(tmp_path / "details.txt"), "--seeds", str(tmp_path / "seeds")]

    status = main(["spread", "--details", *where, "--out", str(tmp_path / "out"), "--table"])

    printed = capsys.readouterr().out
    assert status == 0
    assert "from the seeds 9, 10" in printed
    assert "ROC AUC" in printed
    validate(json.loads(files(tmp_path / "out")["spread.json"]), "spread")


@pytest.mark.parametrize(
    ("name", "said"),
    [("none.fann", "holds no details"), ("x.txt", "is not named by a seed"),
     ("1.txt", "1.txt: line 1: ")],
)  # fmt: skip
def test_bad_input_is_one_line(tmp_path: Path, capsys, name: str, said: str):
    """Exit status 2, and no output."""
    written(drawn(2, 2), tmp_path / "details.txt")
    (tmp_path / "seeds").mkdir()
    (tmp_path / "seeds" / name).write_text("nonsense\n")
    where = [str(tmp_path / "details.txt"), "--seeds", str(tmp_path / "seeds")]

    status = main(["spread", "--details", *where, "--out", str(tmp_path / "out")])

    printed = capsys.readouterr()
    assert (status, printed.out, printed.err.count("\n")) == (2, "", 1)
    assert said in printed.err
    assert not (tmp_path / "out").exists()
