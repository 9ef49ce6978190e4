"""Modules that make word sets of texts, and what they measure words by. See features.py."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from cbngtrain.engine import bayes, scorer, word_metrics
from cbngtrain.engine.configuration import Block, encoded
from cbngtrain.engine.features_of_texts import replacement
from cbngtrain.engine.run_vocabulary import Runs
from cbngtrain.engine.splitter import Splitter
from cbngtrain.engine.table import Column, Link, Step, Table
from cbngtrain.engine.word_sets import WordSets


def word_separator(block: Block) -> list[Link]:
    """The words of a text."""
    block.only("valid_word_chars", "ignore_chars", "inputs")
    return _split(block, Runs())


def multi_word_separator(block: Block) -> list[Link]:
    """Every run of ``num_words_together`` words of a text, joined."""
    block.only(
        "valid_word_chars", "ignore_chars", "num_words_together", "standard_separator", "inputs"
    )
    together = block.integer("num_words_together")
    if together < 1:
        block.refuse("num_words_together", "must be 1 or more")
    separator = block.data("standard_separator", b" ")[:1] or b" "
    return _split(block, Runs(together, separator))


def wordset_diff(block: Block) -> list[Link]:
    """Current minus previous counts: what was added, what was removed, and the difference."""
    block.only("current", "previous", "added", "removed", "delta")
    current, previous = block.text("current"), block.text("previous")
    added, removed, delta = (block.text(key, "") for key in ("added", "removed", "delta"))

    def run(table: Table) -> None:
        one, other = table.word_sets(current), table.word_sets(previous)
        difference = one.minus(other)
        for target, sign in ((added, 1), (removed, -1)):
            if target:
                table.columns[target] = difference.where_above(sign=sign)
        if delta:  # the one set that has words 0 times: those that did not change
            table.columns[delta] = difference.with_words_of(one).with_words_of(other)

    return [Step((current, previous), tuple(filter(None, (added, removed, delta))), run)]


def wordset_compare(block: Block) -> list[Link]:
    """The sum of the second set's counts over the words in both."""
    block.only("firstset", "secondset", "num_common_words")
    first, second = block.text("firstset"), block.text("secondset")
    target = block.text("num_common_words", "")

    def run(table: Table) -> None:
        table.columns[target] = table.word_sets(first).common(table.word_sets(second))

    return [Step((first, second), (target,), run)] if target else []


def misc_raw_word_metrics(block: Block) -> list[Link]:
    """Counts and extremes of what the words of a set are like: `word_metrics.METRICS`."""
    block.only("inputs")

    def step(source: str, prefix: str) -> Step:
        def run(table: Table) -> None:
            for name, column in word_metrics.metrics(table.word_sets(source)).items():
                table.columns[prefix + name] = column

        return Step((source,), tuple(prefix + name for name in word_metrics.METRICS), run)

    return [step(*each) for each in block.strings("inputs").items()]


def word_character_replace(block: Block) -> list[Link]:
    """`character_replace` on each word; counts of words that become equal add up."""
    change = replacement(block)
    return [
        _per_word_set(source, target, lambda sets: sets.changed(change))
        for source, target in block.strings("inputs").items()
    ]


def word_finder(block: Block) -> list[Link]:
    """
    Per metric the count of the *last* word of its list alone.

    A quirk of the native core that trained networks depend on. Words beyond printable ASCII
    (and 127) never match.
    """
    block.only("metrics", "inputs")
    metrics = block.group("metrics")
    last = {name: encoded(found[-1]) for name in metrics if (found := metrics.texts(name))}
    for name, word in last.items():
        if not all(32 <= byte < 128 for byte in word):
            metrics.refuse(name, "has a word beyond printable ASCII")

    def step(source: str, target: str, word: bytes) -> Step:
        return _per_word_set(source, target, lambda sets: sets.times(word))

    return [
        step(source, prefix + name, word)
        for source, prefix in block.strings("inputs").items()
        for name, word in last.items()
    ]


def bayesian_scorer(block: Block) -> list[Link]:
    """A word set through a Bayes database: a probability of vandalism."""
    block.only(
        "dbfile", "input", "output", "numwords_out", "min_edits", "num_words", "default_score",
        "min_word_high_score", "max_word_low_score", "probability_ranges",
    )  # fmt: skip
    source, target = block.text("input"), block.text("output")
    count = block.text("numwords_out", "")
    ranges = block.group("probability_ranges") if "probability_ranges" in block else Block()
    least = block.integer("min_edits", scorer.DEFAULT_MIN_EDITS)
    machine = scorer.Scorer(
        probabilities=_probabilities(Path(block.text("dbfile")), least),
        num_words=block.integer("num_words", scorer.DEFAULT_NUM_WORDS),
        default_score=_float32(block.number("default_score", 0)),
        max_low=_float32(block.number("max_word_low_score", 0.5)),
        min_high=_float32(block.number("min_word_high_score", 0.5)),
        ranges=tuple(_range(ranges, name) for name in ranges),
    )

    def run(table: Table) -> None:
        scores = machine.scores(table.word_sets(source))
        table.columns[target] = scores.probabilities
        if count:
            table.columns[count] = scores.words
        for name, column in zip(ranges, scores.in_ranges, strict=True):
            table.columns[name] = column

    makes = (target, *ranges, *([count] if count else []))
    return [Step((source,), makes, run)]


def _split(block: Block, runs: Runs) -> list[Link]:
    """Steps that split texts."""
    splitter = Splitter(block.data("valid_word_chars"), block.data("ignore_chars"))

    def step(source: str, target: str) -> Step:
        def run(table: Table) -> None:
            table.columns[target] = table.splitting.of(table.texts(source), splitter, runs)

        return Step((source,), (target,), run)

    return [step(*each) for each in block.strings("inputs").items()]


def _per_word_set(source: str, target: str, function: Callable[[WordSets], Column]) -> Step:
    def run(table: Table) -> None:
        table.columns[target] = function(table.word_sets(source))

    return Step((source,), (target,), run)


@cache
def _probabilities(path: Path, min_edits: int) -> scorer.WordProbabilities:
    """Those of a database, read once however many scorers have it."""
    return scorer.word_probabilities(bayes.read_database(path), min_edits)


def _range(block: Block, name: str) -> tuple[float, float]:
    bounds = block.items_of(name)
    if len(bounds) != 2 or not all(isinstance(each, int | float) for each in bounds):
        block.refuse(name, "must be two numbers, low and high")
    return _float32(bounds[0]), _float32(bounds[1])


def _float32(value: float) -> float:
    return float(np.float32(value))
