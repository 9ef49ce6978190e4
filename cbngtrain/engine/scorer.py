"""The Bayesian scorer: words and a database become a probability of vandalism."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from cbngtrain.engine.bayes import EDIT_TOTALS
from cbngtrain.engine.groups import rows_of
from cbngtrain.engine.run_vocabulary import AnyVocabulary, RunVocabulary
from cbngtrain.engine.spellings import Spellings
from cbngtrain.engine.vocabulary import NOTHING, Ints
from cbngtrain.engine.word_sets import WordSets

Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]

PRIOR = 0.5  # of a word that was never seen (as all here: the core's bayesprocessors.hpp)
PRIOR_WEIGHT = 4.0  # edits that the prior counts for

_BUCKET_BITS = 22  # of a hash: 4 MB of flags, of which a database of 100,000 words sets 2 %

DEFAULT_MIN_EDITS = 4
DEFAULT_NUM_WORDS = 20


@dataclass(frozen=True, slots=True)
class Scores:
    """
    What the words of edits come to, (n_edits,) each.

    Attributes:
        probabilities: Of vandalism, 32-bit floats.
        words: How many words each was made of.
        in_ranges: Per probability range, how many words are in it.
    """

    probabilities: NDArray[np.float32]
    words: Ints
    in_ranges: tuple[Ints, ...]


@dataclass(frozen=True, eq=False)
class WordProbabilities:
    """
    What words say, the least telling one first: the one whose probability is nearest to 0.5.

    Called on words it gives their ranks; told apart by identity, so that a vocabulary can
    remember them (`Vocabulary.column`).

    Attributes:
        ranks: Word → its place in the arrays.
        raw: Its probability of vandalism, shape (n_words,).
        corrected: The same, drawn towards 0.5 the more rarely the word was seen.
    """

    ranks: Mapping[bytes, int]
    raw: Doubles
    corrected: Doubles

    def of_vocabulary(self, vocabulary: AnyVocabulary) -> Ints:
        """The ranks of a vocabulary's words, `NOTHING` of those that do not count; (n_words,)."""
        if isinstance(vocabulary, RunVocabulary) and vocabulary.of.words.is_packed:
            return self._of_runs(vocabulary)
        return vocabulary.column(self)

    def __call__(self, words: Spellings) -> Ints:
        """The ranks of words, as `of_vocabulary` has them; shape (n_words,)."""
        if not words.is_packed:
            return self._looked_up(words)
        ranks = np.full(len(words), NOTHING)
        maybe = np.flatnonzero(self._is_filled[_buckets(words)])
        ranks[maybe] = self._looked_up(words.at(maybe))
        return ranks

    def _of_runs(self, vocabulary: RunVocabulary) -> Ints:
        """The ranks of runs: only those are spelled whose words are of known runs."""
        ranks = np.full(len(vocabulary), NOTHING)
        buckets = np.append(_buckets(vocabulary.of.words), _buckets(Spellings([b""])))
        split = [word.split(vocabulary.runs.separator) for word in self.ranks]
        known = [parts for parts in split if len(parts) == vocabulary.runs.length]
        is_maybe = np.ones(len(vocabulary), np.bool_)
        for place, key in enumerate(vocabulary.keys):
            is_known = _filled(list({parts[place] for parts in known}))[buckets]
            is_maybe &= is_known[key]
        maybe = np.flatnonzero(is_maybe)
        ranks[maybe] = self._looked_up(vocabulary.spelled(maybe))
        return ranks

    def _looked_up(self, words: Spellings) -> Ints:
        return np.fromiter(map(self.ranks.get, words.words, repeat(NOTHING)), np.int64, len(words))

    @cached_property
    def _is_filled(self) -> Bools:
        """Per bucket of hashes whether it has a word: most have none, so most words are none."""
        return _filled(list(self.ranks))


def _filled(words: list[bytes]) -> Bools:
    filled = np.zeros(1 << _BUCKET_BITS, np.bool_)
    filled[_buckets(Spellings(words))] = True
    return filled


def _buckets(words: Spellings) -> NDArray[np.uint64]:
    return words.hashes >> np.uint64(64 - _BUCKET_BITS)


def word_probabilities(
    database: Mapping[bytes, tuple[int, int]], min_edits: int
) -> WordProbabilities:
    """
    Return the probabilities of the words that were seen in *min_edits* edits or more.

    Args:
        database: Word → edits with it that were good, that were bad; ``_EDIT_TOTALS`` counts
            all edits.
        min_edits: Words of fewer edits do not count.

    Returns:
        Per word with g good and b bad edits of G and B in all, in doubles that hold 32-bit
        floats: `raw` p = (b/B) / (b/B + g/G), and `corrected` c = (4 · 0.5 + n · p) / (4 + n)
        with n = g + b. As in the native core every operation of p and the product n · p are
        done in 32 bits, the other operations of c in doubles (which shows in the seventh digit
        of a score). Where a total is 0 both are NaN. Of words that are as far from 0.5 the one
        with the lower probability comes first.
    """
    seen = {word: edits for word, edits in database.items() if sum(edits) >= min_edits}
    totals = np.array(database.get(EDIT_TOTALS, (0, 0)), np.float32)
    edits = np.array(list(seen.values()), np.int64).reshape(-1, 2)  # good, bad
    number = edits.sum(axis=1)
    with np.errstate(all="ignore"):
        of_good, of_bad = (edits.astype(np.float32) / totals).T
        raw = of_bad / (of_bad + of_good)
        of_edits = (number.astype(np.float32) * raw).astype(np.float64)
        corrected = ((PRIOR_WEIGHT * PRIOR + of_edits) / (PRIOR_WEIGHT + number)).astype(np.float32)
        weight = np.abs(0.5 - corrected.astype(np.float64)).astype(np.float32)
    order = np.lexsort((corrected, weight))
    words = list(seen)
    ranks = {words[place]: rank for rank, place in enumerate(order.tolist())}
    return WordProbabilities(ranks, *(p[order].astype(np.float64) for p in (raw, corrected)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scorer:
    """
    A configured scorer.

    Attributes:
        probabilities: Of words; others do not count.
        num_words: At most so many words make the score, those farthest from 0.5.
        default_score: The score where no word is left.
        max_low, min_high: Words whose corrected probability is between are left out.
        ranges: Low and high of each range of raw probabilities to count in.
    """

    probabilities: WordProbabilities
    num_words: int
    default_score: float
    max_low: float
    min_high: float
    ranges: tuple[tuple[float, float], ...]

    def scores(self, sets: WordSets) -> Scores:
        """Return the scores of the distinct words of each set."""
        known = self.probabilities
        starts, ids, _ = sets.counts
        n_sets = len(starts) - 1
        rank = known.of_vocabulary(sets.vocabulary)[ids]
        row = rows_of(starts)[rank != NOTHING]
        rank = rank[rank != NOTHING]
        in_ranges = tuple(
            np.bincount(row[(low <= known.raw[rank]) & (known.raw[rank] <= high)], minlength=n_sets)
            for low, high in self.ranges
        )
        corrected = known.corrected[rank]
        is_telling = ~((self.max_low <= corrected) & (corrected <= self.min_high))
        row, rank = row[is_telling], rank[is_telling]
        telling = np.sort(row * len(known.raw) + rank)  # set by set, the most telling word last
        ends = np.cumsum(np.bincount(row, minlength=n_sets))
        number = np.minimum(np.diff(ends, prepend=0), self.num_words)
        probabilities = self._probabilities(telling % max(1, len(known.raw)), ends, number)
        return Scores(probabilities, number, in_ranges)

    def _probabilities(self, rank: Ints, ends: Ints, number: Ints) -> NDArray[np.float32]:
        """
        The probabilities of vandalism, of the last words of each set.

        Args:
            rank: Of all sets' telling words, one set after another.
            ends: Where each set's end, shape (n_sets,).
            number: How many of the last words of each set to take, shape (n_sets,).
        """
        good, bad = np.ones(len(ends)), np.ones(len(ends))
        corrected = np.append(self.probabilities.corrected[rank], 0)
        for back in range(number.max(initial=0), 0, -1):  # the products begin with the least
            is_there = back <= number
            probability = corrected[ends - back]
            bad *= np.where(is_there, probability, 1.0)
            good *= np.where(is_there, 1.0 - probability, 1.0)
        with np.errstate(all="ignore"):
            scores = bad / (bad + good)
        return np.where(number > 0, scores, self.default_score).astype(np.float32)
