"""Measures against scikit-learn, by hand, and what must not change them."""

from functools import partial
from importlib import import_module
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbngtrain.evaluation import measures
from cbngtrain.evaluation.measures import Tally, tally_of
from cbngtrain.evaluation.scores import Trial
from tests.evaluation.trials import drawn, trial, trials

alike = partial(pytest.approx, rel=0, abs=1e-12, nan_ok=True)

TRIALS = {
    "no ties": drawn(300, 500, 1),
    "ties": drawn(300, 500, 2, digits=1),
    "many ties": trial([0, 0.5, 1, 1, 1, 1], [0, 0, 0, 0.5, 1]),
    "all equal": trial([0.5] * 4, [0.5] * 9),
    "perfect": trial([0.9, 0.8], [0.1, 0.2, 0.2]),
    "upside down": trial([0.1, 0.2], [0.7, 0.8, 0.9]),
    "one of each": trial([0.3], [0.4]),
    "hardly apart": trial([5e-324, 1e-310, 1 - 2**-53, 1], [0, 2e-310, 1 - 2**-53, 1 - 2**-52]),
}


@pytest.fixture(scope="module")
def sk() -> ModuleType:
    """scikit-learn's metrics, which take a second to import: only where these tests run."""
    return import_module("sklearn.metrics")


every_trial = pytest.mark.parametrize("of", TRIALS.values(), ids=TRIALS.keys())


@every_trial
def test_roc_auc_is_scikit_learns(sk: ModuleType, of: Trial):
    """To 1e-12."""
    assert measures.roc_auc(tally_of(of)) == alike(sk.roc_auc_score(of.vandalism, of.scores))


@every_trial
@pytest.mark.parametrize("max_fpr", [0.01, 0.2, 0.37])
def test_partial_auc_is_scikit_learns(sk: ModuleType, of: Trial, max_fpr: float):
    """Its ``max_fpr`` gives the standardised one."""
    raw = measures.partial_auc(tally_of(of), max_fpr)

    assert measures.standardised(raw, max_fpr) == alike(
        sk.roc_auc_score(of.vandalism, of.scores, max_fpr=max_fpr)
    )


@every_trial
def test_partial_auc_of_the_whole_range_is_the_auc(of: Trial):
    """Up to a rate of 1 it is all of the area."""
    edits = tally_of(of)

    assert measures.partial_auc(edits, 1.0) == alike(measures.roc_auc(edits))


@every_trial
def test_average_precision_is_scikit_learns(sk: ModuleType, of: Trial):
    """To 1e-12."""
    assert measures.average_precision(tally_of(of)) == alike(
        sk.average_precision_score(of.vandalism, of.scores)
    )


@every_trial
def test_brier_is_scikit_learns(sk: ModuleType, of: Trial):
    """To 1e-12."""
    assert measures.brier(tally_of(of)) == alike(sk.brier_score_loss(of.vandalism, of.scores))


@every_trial
@pytest.mark.parametrize("rate", [0.5, 0.2, 0.01, 0.0025, 0.0001])
def test_recall_at_a_rate_is_the_best_point_of_scikit_learns_curve(
    sk: ModuleType, of: Trial, rate: float
):
    """The highest recall among all thresholds that keep the rate."""
    fpr, tpr, _ = sk.roc_curve(of.vandalism, of.scores, drop_intermediate=False)
    edits = tally_of(of)

    found = measures.point_at_rate(edits, rate)

    assert found.recall == alike(tpr[fpr <= rate].max())
    assert found.recall == measures.recall_at_rate(edits, rate)
    assert found.fpr <= rate


@every_trial
@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5, 0.85, 1.0])
def test_confusion_is_scikit_learns(sk: ModuleType, of: Trial, threshold: float):
    """An edit is caught if its score is at least the threshold."""
    wanted = sk.confusion_matrix(of.vandalism, of.scores >= threshold, labels=[False, True])

    at = measures.point_at_threshold(tally_of(of), threshold)

    found = [[at.true_negatives, at.false_positives], [at.false_negatives, at.true_positives]]
    assert found == wanted.tolist()
    assert at.threshold == threshold


@every_trial
def test_calibration_is_scikit_learns(of: Trial):
    """The bins that have edits, in its order."""
    calibration = import_module("sklearn.calibration")
    truths, means = calibration.calibration_curve(of.vandalism, of.scores, n_bins=10)

    bins = [each for each in measures.calibration(tally_of(of)) if each.edits]

    assert [each.vandalism / each.edits for each in bins] == alike(truths.tolist())
    assert [each.mean_score for each in bins] == alike(means.tolist())


@every_trial
@pytest.mark.parametrize("share", [0.034, 0.5])
def test_precision_at_a_share_is_scikit_learns_with_weights(
    sk: ModuleType, of: Trial, share: float
):
    """The same as weighting each class to its real share."""
    at = measures.point_at_threshold(tally_of(of), 0.3)
    weights = np.where(
        of.vandalism, share / of.vandalism.sum(), (1 - share) / (~of.vandalism).sum()
    )
    wanted = sk.precision_score(
        of.vandalism, of.scores >= 0.3, sample_weight=weights, zero_division=np.nan
    )

    found = measures.precision_at_share(at.recall, at.fpr, share)

    assert (np.nan if found is None else found) == alike(wanted)


@pytest.mark.parametrize(
    ("rate", "threshold"),
    [
        pytest.param(0.0001, None, id="the highest score is a constructive edit's too"),
        pytest.param(0.24, None, id="not quite one edit"),
        pytest.param(0.25, 0.9, id="one edit exactly"),
        pytest.param(0.5, 0.9, id="the next tie is of two edits"),
        pytest.param(0.75, 0.7, id="the tie, and down to the last vandalism above the next"),
        pytest.param(1.0, 0.1, id="everything"),
    ],
)
def test_a_threshold_catches_all_or_none_of_a_tie(rate: float, threshold: float | None):
    """By hand, on four constructive edits."""
    edits = tally_of(trial([0.9, 0.8, 0.7], [0.9, 0.8, 0.8, 0.1]))

    assert measures.point_at_rate(edits, rate).threshold == threshold


@pytest.mark.parametrize(
    ("recall", "threshold"),
    [(0.25, 0.9), (0.26, 0.6), (0.75, 0.6), (0.76, 0.1), (1.0, 0.1)],
)
def test_the_highest_threshold_that_finds_enough(recall: float, threshold: float):
    """By hand, on four edits of vandalism of which two tie."""
    edits = tally_of(trial([0.9, 0.6, 0.6, 0.1], [0.95, 0.5]))

    found = measures.point_at_recall(edits, recall)

    assert found.threshold == threshold
    assert found.recall >= recall


def test_a_rate_is_what_is_written():
    """3 of 3000 is 0.1 %, though 0.001 · 3000 is more than 3 in binary, and 0.07 · 100 too."""
    edits = tally_of(trial([0.5] * 2, [0.9] * 3 + [0.1] * 2997))

    assert measures.point_at_rate(edits, 0.001).threshold == 0.5
    assert measures.point_at_rate(edits, 0.00099).threshold is None


def test_precision_at_the_real_share_by_hand():
    """Recall 80 %, false positives 1 %, 10 % vandalism: 80 of 89 caught edits are vandalism."""
    assert measures.precision_at_share(0.8, 0.01, 0.1) == pytest.approx(80 / 89)
    assert measures.flagged_share(0.8, 0.01, 0.1) == pytest.approx(0.089)
    assert measures.precision_at_share(0, 0, 0.1) is None


def test_a_score_on_an_edge_is_the_lower_bins():
    """0 is in the first bin, 0.1 too, 1 in the last."""
    bins = measures.calibration(tally_of(trial([0.1, 1], [0, 0.11])))

    assert [each.edits for each in bins] == [2, 1, 0, 0, 0, 0, 0, 0, 0, 1]
    assert bins[2].mean_score is None


RANKINGS = (measures.roc_auc, measures.partial_auc, measures.average_precision)


@given(trials)
def test_only_the_order_of_scores_counts(of: Trial):
    """A rising transformation of the scores leaves what ranks."""
    other = Trial(of.ids, of.vandalism, of.scores**3 / 2)

    assert _rankings(tally_of(other)) == _rankings(tally_of(of))


@given(trials, st.randoms(use_true_random=False))
def test_the_order_of_edits_does_not_count(of: Trial, random):
    """The core writes them in any order."""
    order = random.sample(range(len(of.ids)), len(of.ids))
    other = Trial(of.ids, of.vandalism[order], of.scores[order])

    assert measures.brier(tally_of(other)) == measures.brier(tally_of(of))
    assert _rankings(tally_of(other)) == _rankings(tally_of(of))


@given(trials)
def test_swapped_truths_mirror_the_auc(of: Trial):
    """What is good at finding vandalism is as bad at finding the rest."""
    other = Trial(of.ids, ~of.vandalism, of.scores)

    mirrored = 1 - measures.roc_auc(tally_of(other))

    assert measures.roc_auc(tally_of(of)) == alike(mirrored)


@given(trials)
def test_swapped_truths_and_turned_scores_change_nothing(of: Trial):
    """Vandalism with s and constructive edits with 1 - s are the same task."""
    other = tally_of(Trial(of.ids, ~of.vandalism, 1 - of.scores))

    assert measures.brier(other) == alike(measures.brier(tally_of(of)))


@given(trials, st.integers(2, 5))
def test_edits_told_of_several_times_change_no_rate(of: Trial, times: int):
    """All counts grow alike."""
    other = Trial(of.ids * times, np.tile(of.vandalism, times), np.tile(of.scores, times))

    assert _rankings(tally_of(other)) == alike(_rankings(tally_of(of)))


@given(trials)
def test_more_false_positives_catch_no_less(of: Trial):
    """Recall rises with the rate that is allowed."""
    edits = tally_of(of)

    recalls = [measures.recall_at_rate(edits, rate) for rate in (0, 0.1, 0.2, 0.5, 0.9, 1)]

    assert recalls == sorted(recalls)
    assert recalls[-1] == 1


@given(trials)
def test_measures_stay_in_their_range(of: Trial):
    """Areas, precisions and the Brier score are in [0, 1]."""
    edits = tally_of(of)

    assert all(0 <= value <= 1 for value in [*_rankings(edits), measures.brier(edits)])


def _rankings(edits: Tally) -> list[float]:
    return [measure(edits) for measure in RANKINGS]
