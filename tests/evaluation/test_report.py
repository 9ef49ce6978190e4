"""``report``: what it writes and says, and how it fails."""

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from cbngtrain.evaluation.__main__ import USAGE, main
from cbngtrain.evaluation.metrics import metrics
from cbngtrain.evaluation.options import Options
from cbngtrain.evaluation.scores import Trial, read_details
from tests.conftest import ROOT, SHARED, needs_shared
from tests.evaluation.trials import DEGENERATE, drawn, files, trial, validate, written

OPTIONS = Options(edit_set="Alpha", instance="2026-01-02 03:04:05", bootstrap=100)


@pytest.mark.parametrize(("of", "said"), DEGENERATE.values(), ids=DEGENERATE.keys())
def test_a_degenerate_trial_is_described(of: Trial, said: str):
    """Instead of NaN there is a reason, and a warning says it in a sentence."""
    result = metrics(of, OPTIONS, overlap=None)

    validate(result, "metrics")
    json.dumps(result, allow_nan=False)
    assert any(said in warning for warning in result["warnings"])


@pytest.mark.parametrize("name", ["no edits", "no vandalism", "no constructive edits", "one edit"])
def test_what_needs_both_classes_says_what_is_lacking(name: str):
    """A number that there cannot be is null, with the reason."""
    of, reason = DEGENERATE[name]

    result = metrics(of, OPTIONS, overlap=None)

    assert result["roc_auc"] == {"value": None, "reason": reason}
    assert {json.dumps(row["recall"]) for row in result["at_rates"]} == {
        json.dumps({"value": None, "reason": reason})
    }


def test_figures_of_a_real_trial_follow_the_schema():
    """All numbers, with intervals that hold them."""
    result = metrics(drawn(300, 400), OPTIONS, overlap=0)

    validate(result, "metrics")
    figures = list(_figures(result))
    assert len(figures) > 25
    assert all(each["low"] <= each["value"] <= each["high"] for each in figures)


def _figures(value: Any) -> Any:
    """Every figure with an interval within *value*."""
    children = value.values() if isinstance(value, dict) else value
    if isinstance(value, dict) and "method" in value:
        yield value
    elif isinstance(value, dict | list):
        for child in children:
            yield from _figures(child)


def test_what_the_trial_report_says_is_said_here_too():
    """Confusion at the live threshold, by hand."""
    result = metrics(trial([0.9, 0.85, 0.2], [0.86, 0.1, 0.2, 0.3]), OPTIONS, overlap=None)

    live = result["at_live_threshold"]
    assert live["confusion"] == {
        "true_positives": 2, "false_positives": 1, "false_negatives": 1, "true_negatives": 3,
    }  # fmt: skip
    assert live["recall"]["value"] == pytest.approx(2 / 3)
    assert live["precision"]["value"] == pytest.approx(2 / 3)
    assert live["precision_at_share"]["value"] == pytest.approx(
        0.034 * 2 / 3 / (0.034 * 2 / 3 + 0.966 / 4)
    )


@pytest.mark.parametrize(
    ("constructive", "too_few"),
    [(299, 5), (300, 4), (600, 3), (1200, 2), (3000, 1), (29_999, 1), (30_000, 0)],
)
def test_too_few_constructive_edits_are_told_per_rate(constructive: int, too_few: int):
    """Below 3 / rate there is nothing to be said at a rate."""
    of = trial([0.9] * 20, [0.1] * (constructive - 1) + [0.95])

    result = metrics(of, OPTIONS, overlap=None)

    assert len([each for each in result["warnings"] if "are too few for" in each]) == too_few
    assert [row["enough_constructive"] for row in result["at_rates"]].count(False) == too_few


def test_a_rate_that_no_threshold_keeps_is_told():
    """The highest score is a constructive edit's: nothing is caught, and a warning says why."""
    result = metrics(trial([1.0] * 20, [1.0] + [0.0] * 19), OPTIONS, overlap=None)

    assert result["at_rates"][0]["threshold"] is None
    assert result["at_rates"][0]["recall"]["value"] == 0
    assert result["at_rates"][0]["precision_at_share"]["reason"] == "nothing is caught"
    assert any("no threshold keeps a false positive rate of 1 %" in w for w in result["warnings"])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param([], "nobody told which of the trial's edits", id="nobody told"),
        pytest.param(["--overlap", "3"], "3 of the trial's edits", id="told"),
        pytest.param(["--train-ids", "train"], "2 of the trial's edits", id="training edits"),
        pytest.param(
            ["--train-ids", "train", "--trial-ids", "trial"], "1 of the trial's edits", id="both"
        ),
    ],
)
def test_overlap_of_training_and_trial(
    tmp_path: Path, monkeypatch, capsys, arguments: list[str], told: str
):
    """It is told, or counted, or unknown; a warning says what it does to the figures."""
    monkeypatch.chdir(tmp_path)
    written(drawn(5, 5), tmp_path / "details.txt")
    (tmp_path / "train").write_text("1\n5\n99\n", encoding="utf-8")
    (tmp_path / "trial").write_text("99\n98\n", encoding="utf-8")

    status = main(["report", "--details", "details.txt", "--table", *arguments])

    printed = capsys.readouterr().out
    assert status == 0
    assert printed.splitlines()[1] == f"trained on: {told}"
    assert ("flatter the network" in printed) is bool(arguments)


@pytest.mark.slow
def test_the_same_input_gives_the_same_bytes(tmp_path: Path):
    """Every file, also where somebody has settings of their own for matplotlib."""
    details = str(written(drawn(60, 80), tmp_path / "details.txt"))
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "matplotlibrc").write_text("font.size: 30\naxes.grid: False\n")

    first = made("report", "--details", details, cwd=tmp_path)
    second = made("report", "--details", details, cwd=tmp_path / "set")

    assert first == second
    assert {"metrics.json", "falsepositives.png", "thresholds.png", "roc.svg"} <= set(first)


def test_the_table_is_for_people(tmp_path: Path, capsys):
    """One line per question, and the warnings."""
    details = written(drawn(60, 80), tmp_path / "details.txt")

    status = main(["report", "--details", str(details), "--edit-set", "Alpha", "--table"])

    printed = capsys.readouterr().out
    assert status == 0
    assert printed.startswith("Alpha: 140 edits: 60 vandalism, 80 constructive\n")
    assert "ROC AUC" in printed
    assert "warning: 80 constructive edits are too few" in printed


def test_a_table_of_nothing_is_printed_too(tmp_path: Path, capsys):
    """Dashes stand for what there is not."""
    (tmp_path / "details.txt").touch()

    status = main(["report", "--details", str(tmp_path / "details.txt"), "--table"])

    assert status == 0
    assert "warning: the trial has no edits" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param([], "required: --details", id="no details"),
        pytest.param(["--details", "gone.txt"], "nothing to do", id="nothing to do"),
        pytest.param(["--details", "gone.txt", "--out", "out"], "No such file", id="no file"),
        pytest.param(["--details", "bad.txt", "--out", "out"], "bad.txt: line 2: ", id="bad line"),
        pytest.param(["--details", "good.txt", "--out", "good.txt"], "File exists", id="no folder"),
        pytest.param(
            ["--details", "good.txt", "--table", "--share", "1"], "--share: 1.0", id="share"
        ),
        pytest.param(
            ["--details", "good.txt", "--table", "--bootstrap", "9"],
            "take 100 to",
            id="few samples",
        ),
        pytest.param(
            ["--details", "good.txt", "--table", "--bootstrap", "9" * 20],
            "to 1,000,000 samples",
            id="samples without end",
        ),
        pytest.param(
            ["--details", "good.txt", "--table", "--overlap", "9"], "--overlap: ", id="overlap"
        ),
        pytest.param(["--details", "good.txt", "--table", "--seed", "-1"], "negative", id="seed"),
        pytest.param(["--nonsense"], "report: ", id="unknown option"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch, capsys, arguments: list[str], said: str
):
    """Exit status 2, and no output."""
    monkeypatch.chdir(tmp_path)
    good = written(drawn(2, 2), tmp_path / "good.txt").read_text(encoding="utf-8")
    (tmp_path / "bad.txt").write_text(good.replace("editid=2", "id=2"), encoding="utf-8")

    status = main(["report", *arguments])

    told = capsys.readouterr()
    assert status == 2
    assert told.out == ""
    assert told.err.startswith("report: ")
    assert told.err.count("\n") == 1
    assert said in told.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.txt", "good.txt"]


@pytest.mark.parametrize(
    ("arguments", "status"), [([], 2), (["--help"], 0), (["nonsense"], 2)], ids=str
)
def test_usage_is_told(arguments: list[str], status: int, capsys):
    """Without a program, on request, and for a program that there is not."""
    assert main(arguments) == status

    told = capsys.readouterr()
    assert USAGE in told.out + told.err


def made(*arguments: str, cwd: Path) -> dict[str, bytes]:
    """Run the program as a build does, with few samples; return the files it made."""
    out = Path(tempfile.mkdtemp(dir=cwd))
    command = [sys.executable, "-W", "error", "-m", "cbngtrain.evaluation", *arguments]
    ended = subprocess.run(
        [*command, "--bootstrap", "100", "--out", str(out)],
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(Path.home())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return files(out)


@needs_shared
@pytest.mark.parametrize("name", ["n50", "n400", "real"])
def test_confusion_is_that_of_the_core(tmp_path: Path, name: str):
    """At the live threshold we count what the core's own report counts."""
    golden = SHARED / "golden" / name / "trialreport"
    details = tmp_path / "details.txt"
    details.write_bytes(gzip.decompress((golden / "details.txt.gz").read_bytes()))
    told = (golden / "report.txt").read_text(encoding="utf-8").split("With maximum")[0]

    result = metrics(read_details(details), OPTIONS, overlap=None)

    confusion, counts = result["at_live_threshold"]["confusion"], result["counts"]
    found = [counts["edits"], counts["vandalism"], counts["constructive"]]
    found += [confusion["false_positives"], confusion["true_positives"]]
    pattern = r"(\d+) (?:Edits|vandalism,|legit) |(?:False|Correct) positives: (\d+)"
    assert [int(a or b) for a, b in re.findall(pattern, told)] == found


def _report(details: Path, *args: str, stdout: Any = subprocess.PIPE) -> "subprocess.Popen[bytes]":
    """Return the program at work on *details*, told *args*."""
    command = [sys.executable, "-m", "cbngtrain.evaluation", "report", "--details", str(details)]
    return subprocess.Popen([*command, *args], stdout=stdout, stderr=subprocess.PIPE)


def test_a_reader_that_has_seen_enough_is_no_failure(tmp_path: Path):
    """``report … --table | head -1`` ends quietly."""
    details = written(drawn(300, 300), tmp_path / "details.txt")
    with _report(details, "--table") as made:
        assert made.stdout is not None
        made.stdout.close()

        assert (made.stderr and made.stderr.read(), made.wait()) == (b"", 0)


def test_a_closed_output_is_no_failure(tmp_path: Path):
    """``report … >``report … --out DIR >&-`` leaves its files.-`` says nothing, as it was told."""
    details = written(drawn(30, 30), tmp_path / "details.txt")
    command = f"exec {sys.executable} -m cbngtrain.evaluation report --details {details} --json >&-"

    ended = subprocess.run(["bash", "-c", command], check=False, capture_output=True)

    assert (ended.returncode, ended.stderr) == (0, b"")


def test_an_output_that_is_full_is_told(tmp_path: Path):
    """In one line, with the status of what went wrong."""
    details = written(drawn(300, 300), tmp_path / "details.txt")
    with Path("/dev/full").open("wb") as full, _report(details, "--table", stdout=full) as made:
        told = made.communicate()[1]

    assert (told, made.returncode) == (b"report: output: No space left on device\n", 2)


def test_ctrl_c_stops_it_quietly(tmp_path: Path):
    """Whatever it is at; all of it would take minutes."""
    details = tmp_path / "details.txt"
    os.mkfifo(details)
    with _report(details, "--table", "--bootstrap", "1000000") as made:
        written(drawn(300, 300), details)
        made.send_signal(signal.SIGINT)

        assert (made.communicate(timeout=30), made.returncode) == ((b"", b""), 130)
