"""Intervals against scipy, by hand and by simulation."""

import signal
import threading
from itertools import chain, repeat
from statistics import NormalDist
from typing import cast

import numpy as np
import pytest
import scipy
from hypothesis import given
from hypothesis import strategies as st

from cbngtrain.evaluation import measures
from cbngtrain.evaluation.intervals import (
    Figure,
    bootstrap,
    draws,
    measured,
    percentiles,
    recall_in_samples,
    recounted,
    sampled,
    sampled_share,
    share_of,
    wilson,
)
from cbngtrain.evaluation.measures import Tally, tally_of
from cbngtrain.evaluation.scores import Floats, Trial
from tests.evaluation.trials import drawn, trial, trials

SAMPLES = 300


@pytest.mark.parametrize("level", [0.9, 0.95, 0.975, 0.99])
@pytest.mark.parametrize(
    ("part", "whole"), [(0, 1), (1, 1), (0, 200), (200, 200), (3, 10), (17, 30_000), (99, 100)]
)
def test_wilson_is_scipys(part: int, whole: int, level: float):
    """To 1e-12."""
    wanted = scipy.stats.binomtest(part, whole).proportion_ci(level, method="wilson")

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
    found = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=500, method="percentile", rng=random
    )

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

    assert (found.low, found.high) == wilson(200, 200)


@given(st.floats(0, 1), st.lists(st.floats(0, 1), min_size=1))
def test_an_interval_holds_its_value(value: float, samples: list[float]):
    """Also where resampling leads away from it."""
    found = sampled(value, np.array(samples))

    assert found.low is not None
    assert found.high is not None
    assert found.low <= value <= found.high


# Scores 0.9 … 0.1; the constructive edits are those with 0.8, 0.6, 0.4 and 0.2.
LADDER = tally_of(trial([0.9, 0.7, 0.5, 0.3, 0.1], [0.8, 0.6, 0.4, 0.2]))


@pytest.mark.parametrize(
    ("rate", "good", "recall"),
    [
        pytest.param(0.5, [1, 3, 5, 7], 0.5, id="2 above it, as in the trial: between 2 and 3"),
        pytest.param(0.5, [1, 1, 1, 7], 0.7, id="3 above it: between 3 and 4"),
        pytest.param(0.5, [5, 5, 7, 7], 0.1, id="none above it: between nothing and 1"),
        pytest.param(0.5, [1, 1, 3, 3], 0.9, id="all above it: between 4 and all"),
        pytest.param(0.3, [3, 3, 3, 3], 0.3, id="a fifth of the next edit, drawn 4 times: 1"),
        pytest.param(0.3, [3, 3, 7, 7], 0.1, id="a fifth of the next edit, drawn twice: 0"),
        pytest.param(1.0, [1, 1, 1, 1], 0.9, id="all may be wrong"),
    ],
)
def test_recall_in_a_sample_by_hand(rate: float, good: list[int], recall: float):
    """The sample tells how many to pass, and the trial what is caught before and after them."""
    bad = np.array([0, 2, 4, 6, 8], np.int32)
    sample = recounted(LADDER.scores, bad, np.array(good, np.int32))

    assert recall_in_samples(LADDER, rate)(sample) == pytest.approx(recall)


def test_part_of_a_tie_is_passed_by_as_much_chance_as_it_has():
    """Of 1000 edits 30 tie above all vandalism, 25 are allowed: chance may allow all 30, or not."""
    edits = tally_of(trial([0.5] * 50, [0.9] * 30 + [0.1] * 970))

    found = bootstrap(edits, [recall_in_samples(edits, 0.025)], 400, seed=1)

    assert set(found.ravel()) == {0, 0.5, 1}
    chance = scipy.stats.binom(1000, 0.025).sf(29)  # that the rate allows 30
    assert (found > 0).mean() == pytest.approx(chance, abs=4 * (chance / 400) ** 0.5)


@given(trials, st.sampled_from([0.5, 0.1, 0.01]))
def test_recall_in_any_sample_is_a_share(of: Trial, rate: float):
    """Whatever ties."""
    edits = tally_of(of)

    found = bootstrap(edits, [recall_in_samples(edits, rate)], 20, seed=1)

    assert np.all((found >= 0) & (found <= 1))


def _expected() -> tuple[float, float]:
    """The least and the most of `SAMPLES` intervals that cover the truth, each by 95 %."""
    least, most = scipy.stats.binom(SAMPLES, 0.95).ppf([0.001, 0.999]) / SAMPLES
    return least, most


@pytest.mark.slow
def test_bootstrap_covers_the_auc():
    """Of 300 trials of two normal classes, 95 % have an interval that holds the true value."""
    truth = NormalDist().cdf(2 / 2**0.5)
    edits = [tally_of(drawn(400, 1000, seed, digits=12)) for seed in range(SAMPLES)]

    found = [percentiles(bootstrap(each, [measures.roc_auc], 500, 1)[:, 0]) for each in edits]

    least, most = _expected()
    assert least <= np.mean([low <= truth <= high for low, high in found]) <= most


@pytest.mark.slow
@pytest.mark.parametrize(
    ("vandalism", "constructive", "shift"),
    [
        pytest.param(300, 300, 2, id="3 are allowed"),
        pytest.param(2000, 600, 2, id="6 are allowed, and vandalism abounds"),
        pytest.param(300, 699, 2, id="6.99 are allowed"),
        pytest.param(100, 1000, 4, id="10 are allowed, and nearly all is caught"),
        pytest.param(300, 3000, 2, id="30 are allowed"),
    ],
)
def test_interval_covers_the_recall_at_a_rate(vandalism: int, constructive: int, shift: float):
    """However few false positives the rate allows, in no fewer than 95 % of the trials."""
    truth = 1 - NormalDist(shift).cdf(NormalDist().inv_cdf(0.99))
    trials_of = (
        drawn(vandalism, constructive, seed, shift=shift, digits=12) for seed in range(SAMPLES)
    )

    found = [_interval_at(tally_of(each), 0.01) for each in trials_of]

    assert np.mean([low <= truth <= high for low, high in found]) >= _expected()[0]


def _interval_at(edits: Tally, rate: float) -> tuple[float, float]:
    """The interval that is told of the recall."""
    samples = bootstrap(edits, [recall_in_samples(edits, rate)], 500, seed=1)[:, 0]
    at = measures.point_at_rate(edits, rate)
    found = sampled_share(at.true_positives, edits.positives, samples)
    assert found.low is not None
    assert found.high is not None
    return found.low, found.high


def test_ctrl_c_ends_the_drawing_of_samples():
    """On all processors, though there is no end of it in sight."""
    nothing = np.zeros(1, np.int32)
    main = threading.main_thread().ident or 0
    pressed = chain(repeat(0, 1000), [signal.SIGINT], repeat(0))  # 0 is sent to nobody

    def row(_bad: object, _good: object) -> list[float]:
        signal.pthread_kill(main, next(pressed))
        return [0.0]

    with pytest.raises(KeyboardInterrupt):
        measured(repeat((nothing, nothing)), row, cast("Floats", {}))
