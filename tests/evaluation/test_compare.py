"""``compare``: what it writes and says, and how it fails."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cbngtrain.evaluation.__main__ import main
from cbngtrain.evaluation.comparison import comparison, document
from cbngtrain.evaluation.markdown import comparison_page, comparison_table
from cbngtrain.evaluation.measures import tally_of
from cbngtrain.evaluation.options import Options
from cbngtrain.evaluation.output import json_text
from cbngtrain.evaluation.pairs import paired
from cbngtrain.evaluation.scores import Trial
from cbngtrain.evaluation.spread import spread
from tests.evaluation.trials import DEGENERATE, drawn, files, trial, validate, written

OPTIONS = Options(edit_set="Alpha", instance="2026-01-02 03:04:05", bootstrap=100)
NAMES = ("now", "before")


def compared(new: Trial, reference: Trial):
    """What comparison.json holds of one comparison."""
    return comparison(paired(new, reference), NAMES, OPTIONS)


def told(*comparisons: Any, spread: Any = None):
    """What comparison.json holds, as its schema describes it."""
    result = document(comparisons, OPTIONS, spread)
    validate(result, "comparison")
    return result


@pytest.mark.parametrize("name", DEGENERATE)
def test_a_degenerate_trial_is_described(name: str):
    """Instead of NaN there are reasons, in the JSON, on the page and in the table."""
    of, said = DEGENERATE[name]

    result = compared(of, of)

    json.dumps(told(result), allow_nan=False)
    assert said in comparison_page(told(result))
    assert said in comparison_table(told(result))
    assert result["answer"]["is"] == "unknown"


def test_trials_without_a_common_edit_are_described():
    """Nothing is compared, and it is said why."""
    of = trial([0.9], [0.1])

    result = compared(of, Trial(("98", "99"), of.vandalism, of.scores))

    assert told(result)
    assert result["answer"]["why"] == "the trial has no edits"
    assert "2 edits are only in the trial of now; left out" in result["warnings"]


@pytest.mark.parametrize(
    ("new", "reference", "answer"),
    [
        pytest.param([0.9] * 40, [0.9] * 20 + [0.1] * 20, "better", id="better"),
        pytest.param([0.9] * 20 + [0.1] * 20, [0.9] * 40, "worse", id="worse"),
        pytest.param([0.9] * 20 + [0.1] * 20, [0.9] * 21 + [0.1] * 19, "undecided", id="undecided"),
    ],
)
def test_the_answer_is_that_of_the_interval(new: list[float], reference: list[float], answer: str):
    """Better or worse if the interval of the difference leaves out 0."""
    constructive = [0.1] * 3000

    result = compared(trial(new, constructive), trial(reference, constructive))

    assert result["answer"]["is"] == answer


def test_too_few_constructive_edits_are_no_answer():
    """However large the difference is."""
    result = compared(trial([0.9] * 40, [0.1] * 2999), trial([0.1] * 40, [0.1] * 2999))

    assert result["answer"]["is"] == "unknown"
    assert "too few constructive edits" in result["answer"]["why"]


def test_figures_are_those_of_each_network_and_their_difference():
    """At each rate, each at its own threshold."""
    new, reference = drawn(300, 400, 1), drawn(300, 400, 2)

    result = compared(new, reference)

    assert told(result)
    rows = [*result["at_rates"], result["at_live_threshold"]]
    assert [row["difference"]["value"] for row in rows] == pytest.approx(
        [row["new"]["recall"]["value"] - row["reference"]["recall"]["value"] for row in rows]
    )
    assert all(row["difference"]["low"] <= row["difference"]["high"] for row in rows)


def test_edits_that_change_are_listed_with_their_diffs():
    """Newly wrong and newly right, the largest change of score first."""
    new = trial([0.9, 0.9, 0.8, 0.1], [0.9, 0.1])
    reference = trial([0.1, 0.3, 0.8, 0.9], [0.2, 0.1])

    changes = compared(new, reference)["changes"]["at_live_threshold"]

    assert [edit["edit"] for edit in changes["newly_right"]] == ["1", "2"]
    assert [edit["edit"] for edit in changes["newly_wrong"]] == ["4", "5"]
    assert changes["newly_wrong"][1] == {
        "edit": "5",
        "vandalism": False,
        "new": 0.9,
        "reference": 0.2,
        "url": "https://en.wikipedia.org/w/index.php?diff=5",
    }


def test_the_tests_count_the_edits_that_change():
    """McNemar's counts are the lengths of the lists."""
    result = compared(drawn(100, 100, 1), drawn(100, 100, 2))

    changes, tests = result["changes"]["at_live_threshold"], result["at_live_threshold"]["mcnemar"]
    assert len(changes["newly_right"]) == sum(test["only_new"] for test in tests.values())
    assert len(changes["newly_wrong"]) == sum(test["only_reference"] for test in tests.values())


def test_a_network_beside_itself_is_no_better():
    """All differences are 0, nothing changes."""
    of = drawn(60, 3000)

    result = compared(of, of)

    assert result["answer"]["is"] == "undecided"
    assert result["rankings"]["roc_auc"]["difference"]["value"] == 0
    assert result["changes"]["at_rate"]["newly_right"] == []


def test_turning_the_comparison_mirrors_it():
    """What is new and what is reference only changes the sign."""
    one, other = drawn(100, 100, 1), drawn(100, 100, 2)

    there, back = compared(one, other), compared(other, one)

    forth = there["rankings"]["roc_auc"]["difference"]
    reverse = back["rankings"]["roc_auc"]["difference"]
    assert (forth["low"], forth["high"]) == pytest.approx((-reverse["high"], -reverse["low"]))
    assert there["changes"]["at_rate"]["newly_right"] == [
        {**edit, "new": edit["reference"], "reference": edit["new"]}
        for edit in back["changes"]["at_rate"]["newly_wrong"]
    ]


def test_the_page_is_markdown():
    """Headings, tables of equal width, links; a name cannot break out of its cell."""
    pairs = paired(drawn(100, 100, 1), drawn(100, 100, 2))

    page = comparison_page(told(comparison(pairs, ("a|b\n# c", "<i>"), OPTIONS)))

    assert page.startswith("# a\\|b # c beside \\<i>\n\nAlpha · 2026-01-02 03:04:05, 200 edits")
    assert re.search(
        r"^\| \[(\d+)\]\(https://en\.wikipedia\.org/w/index\.php\?diff=\1\)", page, re.MULTILINE
    )
    assert "The 20 whose score changed most" in page
    widths = {line.replace("\\|", "").count("|") for line in page.splitlines() if line[:1] == "|"}
    assert widths == {5, 6, 7}


@pytest.mark.slow
def test_the_program_writes_and_prints(tmp_path: Path, capsys):
    """Both files, and the table."""
    new, reference = (
        written(drawn(60, 80, 1), tmp_path / "a"),
        written(drawn(60, 80, 2), tmp_path / "b"),
    )
    where = ["--details", str(new), "--reference", str(reference), "--out", str(tmp_path / "out")]

    status = main(["compare", *where, "--table", "--names", *NAMES, "--bootstrap", "100"])

    assert status == 0
    told = capsys.readouterr().out
    assert "140 edits: 60 vandalism, 80 constructive, scored by both" in told
    assert f"A is {NAMES[0]}\nB is {NAMES[1]}, the reference\n" in told
    assert {"comparison.json", "comparison.md"} <= set(files(tmp_path / "out"))
    validate(json.loads(files(tmp_path / "out")["comparison.json"]), "comparison")


def test_the_order_of_lines_does_not_count():
    """The core writes them in any order; the same edits give the same bytes."""
    one, other = drawn(60, 80, 1), drawn(60, 80, 2)
    turned = Trial(one.ids[::-1], np.flip(one.vandalism), np.flip(one.scores))

    assert json_text(compared(one, other)) == json_text(compared(turned, other))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["--details", "good"], "--reference", id="no reference"),
        pytest.param(
            ["--details", "good", "--references", "."], "bad.txt: line 1: ", id="bad file"
        ),
        pytest.param(
            ["--details", "good", "--references", "none"], "none holds no details", id="no folder"
        ),
        pytest.param(
            ["--details", "good", "--references", ".", "--reference", "good"],
            "give either",
            id="both",
        ),
        pytest.param(
            ["--details", "good", "--references", "spread"], "spread.json: no spread", id="spread"
        ),
        pytest.param(["--details", "good", "--reference", "bad"], "bad: line 1: ", id="bad line"),
        pytest.param(
            ["--details", "good", "--reference", "good", "--names", "x", "x"], "--names", id="names"
        ),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch, capsys, arguments: list[str], said: str
):
    """Exit status 2, and no output."""
    monkeypatch.chdir(tmp_path)
    written(drawn(2, 2), tmp_path / "good")
    for name in ("bad", "bad.txt"):
        (tmp_path / name).write_text("nonsense\n", encoding="utf-8")
    (tmp_path / "spread").mkdir()
    written(drawn(2, 2), tmp_path / "spread" / "other.txt")
    (tmp_path / "spread" / "spread.json").write_text("[]", encoding="utf-8")

    status = main(["compare", *arguments, "--out", "out"])

    printed = capsys.readouterr()
    assert (status, printed.out, printed.err.count("\n")) == (2, "", 1)
    assert said in printed.err
    assert not (tmp_path / "out").exists()


def test_several_references_are_compared_with_one_after_another(tmp_path: Path, capsys):
    """Of a folder each network is named by its file and its digest; a spread is quoted."""
    written(drawn(30, 40, 1), tmp_path / "details.txt")
    folder = tmp_path / "references"
    folder.mkdir()
    for seed, name in enumerate(("previous", "bot"), 2):
        written(drawn(30, 40, seed), folder / f"{name}.txt")
    (folder / "bot.fann").write_bytes(b"network")
    others = {3: tally_of(drawn(30, 40, 3)), 4: tally_of(drawn(30, 40, 4))}
    quoted = spread(tally_of(drawn(30, 40, 1)), others, OPTIONS)
    (folder / "spread.json").write_text(json.dumps(quoted))

    where = ["--details", str(tmp_path / "details.txt"), "--references", str(folder)]
    status = main(["compare", *where, "--bootstrap", "100", "--json"])

    result = json.loads(capsys.readouterr().out)
    validate(result, "comparison")
    digest = hashlib.sha256(b"network").hexdigest()
    assert status == 0
    assert [each["names"]["reference"] for each in result["comparisons"]] == [
        f"bot {digest[:12]}", "previous",
    ]  # fmt: skip
    assert [each["network"] for each in result["comparisons"]] == [digest, ""]
    assert result["spread"] == quoted
    page = comparison_page(result)
    assert f"network {digest[:12]}" not in page
    assert page.count("\n# ") == 2
    assert "from the seeds 3, 4" in page
    assert "from the seeds 3, 4" in comparison_table(result)
