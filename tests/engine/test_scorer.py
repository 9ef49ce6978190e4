"""The Bayesian scorer, against a plain one and hand-worked cases."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbngtrain.engine import scorer, splitter
from cbngtrain.engine.bayes import EDIT_TOTALS
from cbngtrain.engine.packed import Packed
from cbngtrain.engine.run_vocabulary import Runs
from cbngtrain.engine.spellings import Spellings
from cbngtrain.engine.text import Replacement
from cbngtrain.engine.vocabulary import NOTHING
from cbngtrain.engine.word_sets import Splitting, WordSets

words = st.sampled_from([b"a", b"b", b"c", b"d", b"e", b"f", b"g"])
databases = st.dictionaries(words, st.tuples(st.integers(0, 40), st.integers(0, 40)))


def plain_score(database, found, num_words, low, high):
    """Score and number of words, as the contract says it."""
    f = np.float32
    good_total, bad_total = database[EDIT_TOTALS]
    kept = []
    for word in found:
        good, bad = database.get(word, (0, 0))
        if good + bad < scorer.DEFAULT_MIN_EDITS:
            continue
        p = f(bad) / f(bad_total) / (f(bad) / f(bad_total) + f(good) / f(good_total))
        c = f((4 * 0.5 + float(f(good + bad) * p)) / (4 + good + bad))
        kept += [] if low <= c <= high else [(f(abs(0.5 - float(c))), float(c))]
    best = sorted(kept)[-num_words:]
    bad_product = math.prod(c for _, c in best)
    good_product = math.prod(1 - c for _, c in best)
    score = float(f(bad_product / (bad_product + good_product))) if best else 0.0
    return score, len(best)


@given(
    databases,
    st.lists(st.sets(words), min_size=1, max_size=4),
    st.integers(1, 4),
    st.sampled_from([(0.5, 0.5), (0.4, 0.85)]),
)
def test_scores(database, found, num_words, limits):
    """The words farthest from 0.5, corrected for how rarely they were seen."""
    database = {**database, EDIT_TOTALS: (50, 40)}
    low, high = (float(np.float32(limit)) for limit in limits)
    machine = scorer.Scorer(
        probabilities=scorer.word_probabilities(database, scorer.DEFAULT_MIN_EDITS),
        num_words=num_words,
        default_score=0.0,
        max_low=low,
        min_high=high,
        ranges=(),
    )
    ours = machine.scores(WordSets.of([dict.fromkeys(each, 1) for each in found]))
    theirs = [plain_score(database, each, num_words, low, high) for each in found]
    assert ours.probabilities.tolist() == pytest.approx([score for score, _ in theirs], abs=1e-7)
    assert ours.words.tolist() == [count for _, count in theirs]


@given(databases, st.lists(words))
def test_packed_words_have_the_same_probabilities(database, found):
    """Of them most are told by their hashes not to be in the database."""
    ranks = scorer.word_probabilities(database, scorer.DEFAULT_MIN_EDITS)
    expected = [ranks.ranks.get(word, NOTHING) for word in found]
    assert ranks(Spellings(found)).tolist() == expected
    assert ranks(Spellings(Packed.of(found))).tolist() == expected


def test_ranges_count_raw_probabilities():
    """Both ends of a range belong to it."""
    database = {b"bad": (0, 10), b"good": (10, 0), b"even": (5, 5), EDIT_TOTALS: (10, 10)}
    machine = scorer.Scorer(
        probabilities=scorer.word_probabilities(database, 4),
        num_words=20,
        default_score=0.0,
        max_low=0.5,
        min_high=0.5,
        ranges=((0.999, 1.0), (0.0, 0.5)),
    )
    found = dict.fromkeys([b"bad", b"good", b"even", b"unknown"], 3)
    scores = machine.scores(WordSets.of([found, {}]))
    assert [each.tolist() for each in scores.in_ranges] == [[1, 0], [2, 0]]


some_texts = st.lists(st.text("ab A-\n", max_size=20).map(str.encode), min_size=1, max_size=3)
CHANGES = {"none": b"", "words that go": b"a-"}


@pytest.mark.parametrize("removed", CHANGES.values(), ids=CHANGES)
@given(some_texts, st.sets(st.sampled_from([b"a b", b"b a", b" b", b"a ", b" ", b"b", b"a b a"])))
def test_runs_of_long_texts_are_looked_up(removed, texts, known):
    """Each run of a packed vocabulary has the rank that its bytes have, also of empty words."""
    change = Replacement(find=b"", replace=b"", remove=removed, removemulti=b"", keep=None)
    database = dict.fromkeys(known, (9, 1)) | {EDIT_TOTALS: (50, 40)}
    probabilities = scorer.word_probabilities(database, scorer.DEFAULT_MIN_EDITS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splitter, "LONG", 0)
        sets = Splitting().of(texts, splitter.Splitter(b"abA", b"-"), Runs(2)).changed(change)
        assert sets.sizes.max() <= len(sets.vocabulary)  # it has them as soon as they are counted
        found = probabilities.of_vocabulary(sets.vocabulary)
    runs = sets.vocabulary.words.words
    assert found.tolist() == [probabilities.ranks.get(run, NOTHING) for run in runs]
