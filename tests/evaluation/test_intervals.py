"""Intervals against scipy, by hand and by simulation."""

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cbngtrain.evaluation import measures
from cbngtrain.evaluation.intervals import (
    Figure,
    bootstrap,
    draws,
    percentiles,
    sampled_share,
    share_of,
    wilson,
)
from cbngtrain.evaluation.measures import tally_of
from tests.evaluation.trials import drawn, trial, trials

SAMPLES = 300


@pytest.mark.parametrize("level", [0.9, 0.95, 0.975, 0.99])
@pytest.mark.parametrize(
    ("part", "whole"), [(0, 1), (1, 1), (0, 200), (200, 200), (3, 10), (17, 30_000), (99, 100)]
)
def test_wilson_is_scipys(part: int, whole: int, level: float):
    """To 1e-12."""
    wanted = stats.binomtest(part, whole).proportion_ci(level, method="wilson")

    assert wilson(part, whole, level) == pytest.approx((wanted.low, wanted.high), rel=0, abs=1e-12)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_and_mirrors(of: tuple[int, int]):
    """The interval is in [0, 1], holds the share, and that of the rest is its mirror."""
    part, whole = of

    low, high = wilson(part, whole)
    other_low, other_high = wilson(whole - part, whole)

    assert 0 <= low <= part / whole <= high <= 1
    assert low < high
    assert (1 - other_high, 1 - other_low) == pytest.approx((low, high), abs=1e-12)


def test_a_share_of_nothing_has_a_reason():
    """No number is better than NaN."""
    assert share_of(0, 0, "no edits") == Figure.missing("no edits")


def test_percentiles_are_scipys():
    """The percentile interval of its own bootstrapped values."""
    values = np.random.default_rng(1).normal(size=50)
    random = np.random.default_rng(2)
    found = stats.bootstrap((values,), np.mean, n_resamples=500, method="percentile", rng=random)

    low, high = percentiles(found.bootstrap_distribution)

    assert (low, high) == pytest.approx(tuple(found.confidence_interval), rel=0, abs=1e-12)


def test_bootstrapped_aucs_are_those_of_resampled_edits():
    """Counting is as good as sorting the drawn edits anew, edit by edit."""
    of = drawn(30, 40, digits=1)
    edits = tally_of(of)
    bad, good = np.sort(of.scores[of.vandalism])[::-1], np.sort(of.scores[~of.vandalism])[::-1]

    found = bootstrap(edits, [measures.roc_auc, measures.brier], 50, seed=3)

    wanted = [tally_of(trial(bad[b].tolist(), good[g].tolist())) for b, g in draws(30, 40, 50, 3)]
    assert found[:, 0].tolist() == [measures.roc_auc(each) for each in wanted]
    assert found[:, 1] == pytest.approx([measures.brier(each) for each in wanted], abs=1e-12)


def test_samples_are_the_seeds():
    """The same seed, the same samples; another one, others."""
    edits = tally_of(drawn(30, 40))
    first, again, other = (bootstrap(edits, [measures.roc_auc], 20, seed) for seed in (1, 1, 2))

    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


@given(trials)
def test_any_trial_can_be_resampled(of):
    """Whatever is drawn, every measure is a number in [0, 1]."""
    functions = [measures.roc_auc, measures.partial_auc, measures.average_precision, measures.brier]

    found = bootstrap(tally_of(of), functions, 20, seed=1)

    assert np.all((found >= 0) & (found <= 1))


def test_bootstrap_is_as_wide_as_theory_says():
    """The AUC's standard error is DeLong's (Biometrics 44, 1988)."""
    of = drawn(400, 400)
    bad, good = of.scores[of.vandalism], of.scores[~of.vandalism]
    won = (bad[:, None] > good).astype(float)  # (n_vandalism, n_constructive); there are no ties
    wanted = (won.mean(axis=1).var(ddof=1) / 400 + won.mean(axis=0).var(ddof=1) / 400) ** 0.5

    found = bootstrap(tally_of(of), [measures.roc_auc], 2000, seed=1)

    assert found.std() == pytest.approx(wanted, rel=0.06)


def test_samples_that_are_all_equal_give_way_to_wilson():
    """All 200 are caught in every sample: that is no proof that all will be."""
    found = sampled_share(200, 200, np.ones(100))

    assert (found.low, found.high, found.method) == (*wilson(200, 200), "wilson")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "constructive", "truth", "least"),
    [
        pytest.param(measures.roc_auc, 1000, NormalDist().cdf(2 / 2**0.5), 0.912, id="roc auc"),
        pytest.param(
            lambda edits: measures.recall_at_rate(edits, 0.05),
            1000,
            1 - NormalDist(2).cdf(NormalDist().inv_cdf(0.95)),
            0.912,
            id="recall where 50 false positives are allowed",
        ),
        pytest.param(
            lambda edits: measures.recall_at_rate(edits, 0.01),
            300,
            1 - NormalDist(2).cdf(NormalDist().inv_cdf(0.99)),
            0.8,
            id="recall where 3 are allowed: rough, as a warning says",
        ),
    ],
)
def test_bootstrap_covers_the_truth(function, constructive: int, truth: float, least: float):
    """
    Of 300 trials of two normal classes, about 95 % have an interval that holds the true value.

    Three standard errors of such a count are 3.8 %.
    """
    edits = [tally_of(drawn(400, constructive, seed, digits=12)) for seed in range(SAMPLES)]

    intervals = [percentiles(bootstrap(each, [function], 500, seed=1)[:, 0]) for each in edits]

    covered = np.mean([low <= truth <= high for low, high in intervals])
    assert least <= covered <= 0.95 + 0.038
