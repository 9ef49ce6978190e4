"""Two networks on the same edits: who is right where the other is wrong."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cbngtrain.evaluation.intervals import Indices, Statistic, draws, measured, recounted
from cbngtrain.evaluation.measures import levels_of
from cbngtrain.evaluation.scores import Bools, Floats, Trial

Key = tuple[str, int]
Detail = tuple[bool, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """
    Edits that both networks scored and that are the same in both trials.

    Attributes:
        ids: Their names, shorter ones first, then in order.
        vandalism: Whether each is vandalism, shape (n_edits,).
        new: The new network's scores, shape (n_edits,), each in [0, 1].
        reference: The reference's scores, shape (n_edits,).
        only_new: How many edits only the new network scored; they are left out.
        only_reference: How many only the reference scored; they are left out.
        relabelled: How many are vandalism in one trial only; they are left out.
    """

    ids: tuple[str, ...]
    vandalism: Bools
    new: Floats
    reference: Floats
    only_new: int
    only_reference: int
    relabelled: int

    @property
    def trials(self) -> tuple[Trial, Trial]:
        """The new network's trial and the reference's, on the paired edits."""
        return (
            Trial(self.ids, self.vandalism, self.new),
            Trial(self.ids, self.vandalism, self.reference),
        )


def paired(new: Trial, reference: Trial) -> Pairs:
    """Return the edits of both trials; what is told of an edit several times is paired in order."""
    ours, theirs = dict(_keyed(new)), dict(_keyed(reference))
    both = sorted(ours.keys() & theirs.keys(), key=lambda key: (len(key[0]), key))
    same = [key for key in both if ours[key][0] == theirs[key][0]]
    return Pairs(
        ids=tuple(name for name, _ in same),
        vandalism=np.array([ours[key][0] for key in same], np.bool_),
        new=np.array([ours[key][1] for key in same], np.float64),
        reference=np.array([theirs[key][1] for key in same], np.float64),
        only_new=len(ours) - len(both),
        only_reference=len(theirs) - len(both),
        relabelled=len(both) - len(same),
    )


def _keyed(of: Trial) -> Iterator[tuple[Key, Detail]]:
    """Yield name and number among those of that name (by truth, then score) → truth and score."""
    seen: Counter[str] = Counter()
    details = zip(of.ids, of.vandalism.tolist(), of.scores.tolist(), strict=True)
    for name, truth, score in sorted(details):
        yield (name, seen[name]), (truth, score)
        seen[name] += 1


def paired_bootstrap(
    pairs: Pairs,
    statistics: tuple[Sequence[Statistic], Sequence[Statistic]],
    samples: int,
    seed: int,
) -> Floats:
    """
    Return *statistics*, of each network, on resampled edits, shape (2, samples, n_statistics).

    Both see the same edits in each sample, so what makes a sample hard or easy is not in the
    difference of the two. The new network comes first.
    """
    networks = [_levels(scores, pairs.vandalism) for scores in (pairs.new, pairs.reference)]

    def row(bad: Indices, good: Indices) -> list[list[float]]:
        trials = [
            recounted(scores, vandalism[bad], rest[good]) for scores, vandalism, rest in networks
        ]
        return [
            [statistic(trial) for statistic in each]
            for trial, each in zip(trials, statistics, strict=True)
        ]

    positives = int(pairs.vandalism.sum())
    drawn = draws(positives, len(pairs.ids) - positives, samples, seed)
    found = measured(drawn, row, np.empty((samples, 2, len(statistics[0]))))
    return found.transpose(1, 0, 2)


def _levels(scores: Floats, vandalism: Bools) -> tuple[Floats, Indices, Indices]:
    """Return the distinct scores, falling, and the level of each edit, per class."""
    distinct, levels = levels_of(scores)
    small = levels.astype(np.int32)
    return distinct, small[vandalism], small[~vandalism]


@dataclass(frozen=True, slots=True)
class McNemar:
    """
    Whether two networks that differ on some edits differ by chance.

    Attributes:
        only_new: Edits that only the new network has right.
        only_reference: Edits that only the reference has right.
        p_exact: Of the exact conditional test, in (0, 1].
        p_mid: Its mid-p value, in (0, 1].
    """

    only_new: int
    only_reference: int
    p_exact: float
    p_mid: float


def mcnemar(only_new: int, only_reference: int) -> McNemar:
    """
    Return the two-sided test of McNemar, Psychometrika 12, 1947, on the edits that differ.

    Were the networks equally good, each such edit would fall to either like a coin. The mid-p
    value, which counts the outcome itself by half, is the one to read: the exact test is too
    careful where few edits differ, and chi² is off there (Fagerland, Lydersen & Laake, BMC Medical
    Research Methodology 13, 2013). Both are computed in whole numbers.
    """
    number, fewer = only_new + only_reference, min(only_new, only_reference)
    term, below = 1, 0  # C(number, i), and the sum of those before it
    for i in range(fewer):
        below += term
        term = term * (number - i) // (i + 1)
    if only_new == only_reference:
        p_mid = 1 - _halved(term, number + 1) if number else 1.0
        return McNemar(only_new, only_reference, 1.0, p_mid)
    exact = _halved(below + term, number - 1)
    return McNemar(only_new, only_reference, exact, _halved(2 * below + term, number))


def _halved(value: int, times: int) -> float:
    """Return *value* / 2^*times*, however large both are; tiny rather than 0."""
    return max(value / (1 << times), math.ulp(0))


def is_right(scores: Floats, vandalism: Bools, threshold: float | None) -> Bools:
    """Return, shape (n_edits,), where *threshold* does right: catch vandalism, spare the rest."""
    caught = np.zeros(len(scores), np.bool_) if threshold is None else scores >= threshold
    return np.equal(caught, vandalism)
