"""Pairing edits, and McNemar's test against scipy."""

import math

import numpy as np
import pytest
import scipy
from hypothesis import given
from hypothesis import strategies as st

from cbngtrain.evaluation import measures
from cbngtrain.evaluation.measures import tally_of
from cbngtrain.evaluation.pairs import is_right, mcnemar, paired, paired_bootstrap
from cbngtrain.evaluation.scores import Trial
from tests.evaluation.trials import drawn, trial

discordant = st.tuples(st.integers(0, 60), st.integers(0, 60)).filter(any)


def named(*edits: tuple[str, bool, float]) -> Trial:
    """A trial of edits with names."""
    ids, truths, scores = zip(*edits, strict=True)
    return Trial(ids, np.array(truths), np.array(scores))


def test_edits_are_paired_by_name():
    """In an order of their own; what only one has, or what was relabelled, is counted."""
    new = named(("10", True, 0.9), ("9", False, 0.1), ("8", True, 0.8), ("7", True, 0.7))
    reference = named(("9", False, 0.2), ("10", True, 0.3), ("8", False, 0.4), ("6", True, 0.5))

    found = paired(new, reference)

    assert found.ids == ("9", "10")
    assert found.new.tolist() == [0.1, 0.9]
    assert found.reference.tolist() == [0.2, 0.3]
    assert (found.only_new, found.only_reference, found.relabelled) == (1, 1, 1)


def test_an_edit_told_of_twice_is_paired_twice():
    """Each telling has its partner; one too many is left out."""
    twice = named(("5", True, 0.6), ("5", True, 0.6))

    found = paired(twice, named(("5", True, 0.5), ("5", True, 0.5), ("5", True, 0.5)))

    assert found.ids == ("5", "5")
    assert found.only_reference == 1


@given(st.randoms(use_true_random=False))
def test_the_order_of_lines_does_not_count(random):
    """The core writes them in any order."""
    of = drawn(10, 10)
    order = random.sample(range(20), 20)
    turned = Trial(tuple(of.ids[i] for i in order), of.vandalism[order], of.scores[order])

    found = paired(of, turned)

    assert found.new.tolist() == found.reference.tolist() == of.scores.tolist()


@given(discordant)
def test_the_exact_test_is_scipys(counts: tuple[int, int]):
    """It is a binomial test on the edits that differ."""
    wanted = scipy.stats.binomtest(counts[0], sum(counts)).pvalue

    assert mcnemar(*counts).p_exact == pytest.approx(wanted, rel=1e-12)


@given(discordant)
def test_the_mid_p_value_counts_the_outcome_by_half(counts: tuple[int, int]):
    """All outcomes as extreme as this one, by half, and all that are more extreme."""
    number = sum(counts)
    outcomes = np.arange(number + 1)
    chances = scipy.stats.binom.pmf(outcomes, number, 0.5)
    distances, here = abs(2 * outcomes - number), abs(counts[0] - counts[1])
    wanted = chances[distances > here].sum() + chances[distances == here].sum() / 2

    assert mcnemar(*counts).p_mid == pytest.approx(wanted, rel=1e-10)


@given(discordant)
def test_it_does_not_matter_who_is_new(counts: tuple[int, int]):
    """The test is two-sided, and the mid-p value is the smaller one."""
    found, other = mcnemar(*counts), mcnemar(*counts[::-1])

    assert (found.p_exact, found.p_mid) == (other.p_exact, other.p_mid)
    assert 0 < found.p_mid < found.p_exact <= 1


def test_no_difference_is_no_evidence():
    """Where no edit differs both are 1."""
    assert (mcnemar(0, 0).p_exact, mcnemar(0, 0).p_mid) == (1, 1)


def test_many_edits_do_no_harm():
    """No overflow, no 0, and quick."""
    assert mcnemar(3000, 100).p_exact >= math.ulp(0)
    assert mcnemar(3000, 3100).p_exact == pytest.approx(
        scipy.stats.binomtest(3000, 6100).pvalue, rel=1e-9
    )


def test_a_network_beside_itself_differs_in_no_sample():
    """The samples are paired."""
    of = drawn(30, 40)

    new, reference = paired_bootstrap(
        paired(of, of), ([measures.roc_auc], [measures.roc_auc]), 50, seed=1
    )

    assert new.tolist() == reference.tolist()
    assert new.std() > 0


def test_paired_samples_are_those_of_each_network():
    """Sample by sample, what a network has on the same drawn edits."""
    of, other = drawn(3, 4, 1), drawn(3, 4, 2)
    pairs = paired(of, other)

    found = paired_bootstrap(pairs, ([measures.brier], [measures.brier]), 4000, seed=1)

    assert found.shape == (2, 4000, 1)
    wanted = [measures.brier(tally_of(each)) for each in (of, other)]
    assert found[:, :, 0].mean(axis=1) == pytest.approx(wanted, abs=0.01)


def test_pairing_narrows_the_interval():
    """Two networks that err on the same edits are told apart better than two trials are."""
    of = drawn(200, 200)
    other = Trial(of.ids, of.vandalism, np.clip(of.scores + 0.01 * (of.scores > 0.5), 0, 1))

    new, reference = paired_bootstrap(
        paired(of, other), ([measures.brier], [measures.brier]), 300, seed=1
    )

    assert (new - reference).std() < 0.2 * new.std()


@pytest.mark.parametrize(
    ("threshold", "right"), [(0.5, [True, True]), (0.6, [False, True]), (None, [False, True])]
)
def test_right_is_to_catch_vandalism_and_to_spare_the_rest(threshold, right):
    """No threshold catches nothing."""
    of = trial([0.5], [0.1])

    assert is_right(of.scores, of.vandalism, threshold).tolist() == right


@pytest.mark.slow
def test_paired_intervals_cover_the_difference():
    """
    Of 300 pairs of trials, about 95 % have an interval that holds the true difference of the AUCs.

    Three standard errors of such a count are 3.8 %.
    """
    normal = scipy.stats.norm.cdf
    truth = normal(2 / 2**0.5) - normal(1.8 / 2**0.5)
    covered = [_covers(seed, truth) for seed in range(300)]

    assert 0.95 - 0.038 <= np.mean(covered) <= 0.95 + 0.038


def _covers(seed: int, truth: float) -> bool:
    """Two networks whose noise is shared by half."""
    random = np.random.default_rng(seed)
    shared, *own = random.normal(0, 0.5**0.5, (3, 600))
    vandalism = np.arange(600) < 300
    new, reference = (
        trial(at[vandalism].tolist(), at[~vandalism].tolist())
        for at in (
            scipy.stats.norm.cdf(shared + own[0] + 2 * vandalism),
            scipy.stats.norm.cdf(shared + own[1] + 1.8 * vandalism),
        )
    )
    samples = paired_bootstrap(
        paired(new, reference), ([measures.roc_auc], [measures.roc_auc]), 500, seed=1
    )
    low, high = np.quantile(samples[0] - samples[1], [0.025, 0.975])
    return bool(low <= truth <= high)
