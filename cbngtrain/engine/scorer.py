"""The Bayesian scorer: words and a database become a probability of vandalism."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

PRIOR = 0.5  # of a word that was never seen, in the corrected probability
PRIOR_WEIGHT = 4.0  # edits that the prior counts for
TOTALS = b"_EDIT_TOTALS"

MIN_EDITS = 4  # the scorer's defaults
NUM_WORDS = 20


@dataclass(frozen=True, slots=True)
class Score:
    """
    What the words of one edit come to.

    Attributes:
        probability: Of vandalism, a 32-bit float.
        words: How many words it was made of.
        in_ranges: Per probability range, how many words are in it.
    """

    probability: float
    words: int
    in_ranges: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class WordProbability:
    """
    What a word says.

    Attributes:
        raw: Its probability of vandalism.
        corrected: The same, drawn towards 0.5 the more rarely the word was seen.
        weight: How far *corrected* is from 0.5, a 32-bit float.
    """

    raw: float
    corrected: float
    weight: float


def word_probabilities(
    database: Mapping[bytes, tuple[int, int]], min_edits: int
) -> dict[bytes, WordProbability]:
    """
    Return the probabilities of the words that were seen in *min_edits* edits or more.

    Args:
        database: Word → edits with it that were good, that were bad; ``_EDIT_TOTALS`` counts
            all edits.
        min_edits: See above.

    Both are 32-bit floats: p = (b/B) / (b/B + g/G), and c = (4 · 0.5 + n · p) / (4 + n) with
    n = g + b. As in the native core every operation of p and the product n · p are done in
    32 bits, the other operations of c in doubles (which shows in the seventh digit of a
    score). Where a total is 0 both are NaN.
    """
    good_total, bad_total = (np.float32(n) for n in database.get(TOTALS, (0, 0)))
    found = {}
    with np.errstate(all="ignore"):
        for word, (good, bad) in database.items():
            seen = good + bad
            if seen < min_edits:
                continue
            of_bad = np.float32(bad) / bad_total
            raw = of_bad / (of_bad + np.float32(good) / good_total)
            of_edits = float(np.float32(seen) * raw)
            corrected = np.float32((PRIOR_WEIGHT * PRIOR + of_edits) / (PRIOR_WEIGHT + seen))
            weight = np.float32(abs(0.5 - float(corrected)))
            found[word] = WordProbability(float(raw), float(corrected), float(weight))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorer:
    """
    A configured scorer.

    Attributes:
        probabilities: Word → its probabilities; other words do not count.
        num_words: At most so many words make the score, those farthest from 0.5.
        default_score: The score where no word is left.
        max_low, min_high: Words whose corrected probability is between are left out.
        ranges: Low and high of each range of raw probabilities to count in.
    """

    probabilities: Mapping[bytes, WordProbability]
    num_words: int
    default_score: float
    max_low: float
    min_high: float
    ranges: tuple[tuple[float, float], ...]

    def score(self, words: Iterable[bytes]) -> Score:
        """Return the score of the distinct *words* of an edit."""
        known = [p for word in words if (p := self.probabilities.get(word)) is not None]
        in_ranges = tuple(sum(low <= p.raw <= high for p in known) for low, high in self.ranges)
        telling = [p for p in known if not self.max_low <= p.corrected <= self.min_high]
        if not telling:
            return Score(self.default_score, 0, in_ranges)
        # Ties go to the greater probability; the products begin with the least telling word.
        ranked = sorted((p.weight, p.corrected) for p in telling)
        ranked = ranked[max(0, len(ranked) - self.num_words) :]
        bad = good = 1.0
        for _, corrected in ranked:
            bad *= corrected
            good *= 1.0 - corrected
        return Score(float(np.float32(bad / (bad + good))), len(ranked), in_ranges)
