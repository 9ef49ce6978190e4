"""The trial's report, against a plain count at each threshold."""

from functools import cache

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cbngtrain.engine import report

scored = st.lists(st.tuples(st.booleans(), st.floats(0, 1, width=32)), min_size=1, max_size=30).map(
    lambda edits: report.Trial(
        [b"%d" % index for index in range(len(edits))],
        np.array([truth for truth, _ in edits]),
        np.array([score for _, score in edits], np.float32),
    )
)


@cache
def _thresholds(interval: float) -> list[np.float32]:
    """Accumulated in 32-bit floats, one after another."""
    found, threshold = [], np.float32(0)
    while threshold <= 1:
        found.append(threshold)
        threshold = np.float32(threshold + np.float32(interval))
    return found


@given(scored)
def test_the_table_counts_at_each_threshold(trial):
    """A line per threshold: shares of vandalism and of the others with at least that score."""
    lines = "".join(report.threshold_table(trial, np.float32(0.01))).splitlines()
    expected = []
    for threshold in _thresholds(0.01):
        taken = trial.scores >= threshold
        shares = [
            report.ratio(int((taken & which).sum()), int(which.sum()))
            for which in (trial.vandalism, ~trial.vandalism)
        ]
        numbers = [report.c_float(float(number), "%.4f") for number in (threshold, *shares)]
        expected.append(" ".join(numbers))
    assert lines[1:] == expected


@settings(max_examples=30)  # each counts 10,000 thresholds one by one
@given(scored, st.sampled_from([0.0, 0.0001, 0.1, 0.5]))
def test_the_threshold_for_a_rate_is_the_first_that_keeps_it(trial, rate):
    """In steps of 0.0001; 1 where none does."""
    thresholds = _thresholds(0.0001)
    scores = trial.scores[~trial.vandalism]
    wrong = (scores >= np.array(thresholds)[:, np.newaxis]).sum(axis=1)
    limit = np.float32(rate)
    taken = (
        threshold
        for threshold, number in zip(thresholds, wrong.tolist(), strict=True)
        if report.ratio(number, trial.negatives) <= limit
    )
    assert report.threshold_for(trial, limit) == next(taken, np.float32(1))


def test_a_set_of_one_kind_reports_as_the_core_does():
    """What is divided by no edits is -nan."""
    trial = report.Trial([b"1"], np.array([True]), np.array([0.7], np.float32))
    text, primary = report.report(trial, np.float32(0.5), None)
    assert "False positives: 0 (-nan% of legit edits)" in text
    assert report.misclassified(trial, primary) == (
        b"# False positives based on threshold 0.5000\n",
        b"# False negatives based on threshold 0.5000\n",
    )


def test_lists_are_written_without_a_report(place):
    """Where the report's name is empty, as the native core does."""
    text = place.read("conf/cluebotng.conf").replace(b'report = "out/report.txt"', b'report = ""')
    place.write("conf/cluebotng.conf", text)
    assert place.run("trial").returncode == 0
    assert "report.txt" not in place.outputs()
    assert place.read("out/falsepositives.txt").startswith(b"# False positives based on threshold ")
