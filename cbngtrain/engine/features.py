"""
What an edit is measured by: the modules that a configuration's processors are made of.

A module is a function from a processor's block to links: steps, which make properties of
properties, and outputs. A new feature of an edit is a new entry in `MODULES`.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbngtrain.engine import (
    bayes,
    dumps,
    expression,
    network,
    outputs,
    posix,
    regex,
    scorer,
    text,
    word_metrics,
)
from cbngtrain.engine.configuration import Block
from cbngtrain.engine.splitter import Splitter
from cbngtrain.engine.table import EVERYTHING, Column, Deferred, Link, Step, Table, sources_of
from cbngtrain.engine.word_sets import Runs, WordSets

INT_RANGE = (-(2**31), 2**31 - 1)


def all_prop_charset_conv(block: Block) -> list[Link]:
    """Every text loses what is not ASCII. ``from``: the encoding that texts come in."""
    charset = _charset(block.only("from"))

    def run(table: Table) -> None:
        for name in table.columns:
            column = table.optional(name)
            if isinstance(column, list):
                table.columns[name] = [
                    text.ascii_of(value, charset) if type(value) is bytes else value
                    for value in column
                ]

    return [Step((), (), run)]


def charset_conv(block: Block) -> list[Link]:
    """The text without what is not ASCII. ``from``: the encoding that it comes in."""
    charset = _charset(block.only("from", "inputs"))
    return [
        _per_text(source, target, lambda value: text.ascii_of(value, charset))
        for source, target in _inputs(block)
    ]


def misc_text_metrics(block: Block) -> list[Link]:
    """``longest_run``: how long the longest run of one byte is."""
    block.only("inputs")
    return [
        _per_text(source, prefix + "longest_run", text.longest_run)
        for source, prefix in _inputs(block)
    ]


def character_counts(block: Block) -> list[Link]:
    """Per metric, how many bytes of the text are in the given set."""
    block.only("metrics", "inputs")
    metrics = block.group("metrics")
    sets = text.byte_sets(metrics.data(name) for name in metrics)

    def step(source: str, prefix: str) -> Step:
        names = tuple(prefix + name for name in metrics)

        def run(table: Table) -> None:
            texts = table.texts(source)
            counts = text.histograms([each or b"" for each in texts]) @ sets
            for name, column in zip(names, counts.T, strict=True):
                table.columns[name] = _where_present(texts, column)

        return Step((source,), names, run)

    return [step(*each) for each in _inputs(block)]


def posix_regex_search(block: Block) -> list[Link]:
    """Per metric, the matches of its regular expressions, summed."""
    block.only("metrics", "inputs")
    metrics = block.group("metrics")
    patterns = {name: _patterns(metrics, name) for name in metrics}

    def counter(found: list[regex.Pattern]) -> Callable[[bytes], int]:
        return lambda value: sum(pattern.count(value) for pattern in found)

    return [
        _per_text(source, prefix + name, counter(found))
        for source, prefix in _inputs(block)
        for name, found in patterns.items()
    ]


def posix_regex_replace(block: Block) -> list[Link]:
    """The text without the matches, expression by expression; ``replace`` is not inserted."""
    block.only("replacements", "inputs")
    patterns = _patterns(block, "replacements")

    def without(value: bytes) -> bytes:
        for pattern in patterns:
            value = pattern.removed(value)
        return value

    return [_per_text(source, target, without) for source, target in _inputs(block)]


def fast_string_search(block: Block) -> list[Link]:
    """Per metric, how often its strings occur."""
    block.only("metrics", "inputs")
    metrics = block.group("metrics")
    finder = text.Finder(
        {name: [each.encode("latin-1") for each in metrics.texts(name)] for name in metrics}
    )

    def step(source: str, prefix: str) -> Step:
        names = tuple(prefix + name for name in finder.metrics)

        def run(table: Table) -> None:
            texts = table.texts(source)
            rows = [finder.counts(each or b"") for each in texts]
            for metric, name in zip(finder.metrics, names, strict=True):
                of_metric = np.array([row[metric] for row in rows])
                table.columns[name] = _where_present(texts, of_metric)

        return Step((source,), names, run)

    return [step(*each) for each in _inputs(block)]


def quote_separator(block: Block) -> list[Link]:
    """The text in quotation marks, and the text outside."""
    block.only("input", "output_quotes", "output_noquotes")
    source = block.text("input")
    targets = [block.text(key, "") for key in ("output_quotes", "output_noquotes")]

    def run(table: Table) -> None:
        pairs = [text.quotes_separated(each) for each in table.required(source, bytes)]
        for target, column in zip(targets, zip(*pairs, strict=True), strict=True):
            if target:
                table.columns[target] = list(column)

    return [Step((source,), tuple(filter(None, targets)), run)]


def character_replace(block: Block) -> list[Link]:
    """The text with bytes replaced, dropped and collapsed."""
    change = _replacement(block).of

    def step(source: str, target: str) -> Step:
        def run(table: Table) -> None:
            table.columns[target] = Deferred(table.texts(source), change)

        return Step((source,), (target,), run)

    return [step(*each) for each in _inputs(block)]


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

    return [step(*each) for each in _inputs(block)]


def word_character_replace(block: Block) -> list[Link]:
    """`character_replace` on each word; counts of words that become equal add up."""
    change = _replacement(block)
    return [
        _per_word_set(source, target, lambda sets: sets.changed(change))
        for source, target in _inputs(block)
    ]


def word_finder(block: Block) -> list[Link]:
    """
    Per metric the count of the *last* word of its list alone.

    A quirk of the native core that trained networks depend on. Words beyond printable ASCII
    (and 127) never match.
    """
    block.only("metrics", "inputs")
    metrics = block.group("metrics")
    last = {name: found[-1].encode("latin-1") for name in metrics if (found := metrics.texts(name))}
    for name, word in last.items():
        if not all(32 <= byte < 128 for byte in word):
            metrics.refuse(name, "has a word beyond printable ASCII")

    def step(source: str, target: str, word: bytes) -> Step:
        return _per_word_set(source, target, lambda sets: sets.times(word))

    return [
        step(source, prefix + name, word)
        for source, prefix in _inputs(block)
        for name, word in last.items()
    ]


def expression_eval(block: Block) -> list[Link]:
    """
    Arithmetic over properties, in doubles; results are 32-bit floats, or truncated ints.

    An expression sees the properties that were there before the block, and a name that does
    not exist is 0. What it could see is kept as ``expr_dmap_dbg``.
    """
    block.only("result_type", "expressions")
    kind = block.text("result_type", "float")
    if kind not in {"int", "float"}:
        block.refuse("result_type", "must be int or float")
    group = block.group("expressions")
    seen = Step((EVERYTHING,), (dumps.DOUBLE_MAP,), dumps.keep_double_map)
    compiled = {name: _expression(group, name) for name in group}
    if any(each.names & compiled.keys() for each in compiled.values()):
        return [seen, _evaluation(compiled, kind)]
    return [seen, *(_evaluation({name: each}, kind) for name, each in compiled.items())]


def float_set_creator(block: Block) -> list[Link]:
    """A list of named values as 32-bit floats, a float set's values inserted in place."""
    block.only("output", "properties", "clip_low", "clip_high")
    target, names = block.text("output"), block.texts("properties")
    low = np.float32(block.number("clip_low")) if "clip_low" in block else None
    high = np.float32(block.number("clip_high")) if "clip_high" in block else None

    def values(table: Table, name: str) -> NDArray[np.float32]:
        if (found := table.float_set(name)) is not None:
            return found
        numbers, is_whole = table.numbers(name)
        if not is_whole:
            block.refuse("properties", f'there is no property "{name}"')
        return numbers.astype(np.float32)[:, None]

    def run(table: Table) -> None:
        empty = np.empty((len(table.edits), 0), np.float32)
        matrix = np.concatenate([empty, *(values(table, name) for name in names)], axis=1)
        if low is not None:
            matrix = np.where(np.isnan(matrix) | (matrix < low), low, matrix)
        if high is not None:
            matrix = np.where(matrix > high, high, matrix)
        table.columns[target] = matrix

    reads = {source for name in names for source in sources_of(name)}
    return [Step(tuple(reads), (target,), run)]


def bayesian_scorer(block: Block) -> list[Link]:
    """A word set through a Bayes database: a probability of vandalism."""
    block.only(
        "dbfile", "input", "output", "numwords_out", "min_edits", "num_words", "default_score",
        "min_word_high_score", "max_word_low_score", "probability_ranges",
    )  # fmt: skip
    source, target = block.text("input"), block.text("output")
    count = block.text("numwords_out", "")
    ranges = block.group("probability_ranges") if "probability_ranges" in block else Block()
    least = block.integer("min_edits", scorer.MIN_EDITS)
    machine = scorer.Scorer(
        probabilities=_probabilities(Path(block.text("dbfile")), least),
        num_words=block.integer("num_words", scorer.NUM_WORDS),
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


def run_ann(block: Block) -> list[Link]:
    """The outputs of a network for a float set."""
    block.only("input_set", "output_set", "ann_file")
    source, target = block.text("input_set"), block.text("output_set")
    net = network.load_network(Path(block.text("ann_file")))

    def run(table: Table) -> None:
        table.columns[target] = net.run(table.required(source))

    return [Step((source,), (target,), run)]


def apply_threshold(block: Block) -> list[Link]:
    """Whether a number is at least ``threshold``."""
    block.only("in", "out", "threshold")
    source, target = block.text("in"), block.text("out")
    threshold = np.float32(block.number("threshold"))

    def run(table: Table) -> None:
        values = np.asarray(table.required(source), np.float32)
        table.columns[target] = (values >= threshold).tolist()

    return [Step((source,), (target,), run)]


MODULES: Mapping[str, Callable[[Block], list[Link]]] = {
    "all_prop_charset_conv": all_prop_charset_conv,
    "charset_conv": charset_conv,
    "misc_text_metrics": misc_text_metrics,
    "character_counts": character_counts,
    "posix_regex_search": posix_regex_search,
    "posix_regex_replace": posix_regex_replace,
    "fast_string_search": fast_string_search,
    "quote_separator": quote_separator,
    "character_replace": character_replace,
    "word_separator": word_separator,
    "multi_word_separator": multi_word_separator,
    "wordset_diff": wordset_diff,
    "wordset_compare": wordset_compare,
    "misc_raw_word_metrics": misc_raw_word_metrics,
    "word_character_replace": word_character_replace,
    "word_finder": word_finder,
    "expression_eval": expression_eval,
    "float_set_creator": float_set_creator,
    "bayesian_scorer": bayesian_scorer,
    "run_ann": run_ann,
    "apply_threshold": apply_threshold,
    "bayesian_training_data_creator": outputs.bayesian_training_data_creator,
    "write_ann_training_data": outputs.write_ann_training_data,
    "trial_run_report": outputs.trial_run_report,
    "write_properties": dumps.write_properties,
    "edit_dump": dumps.edit_dump,
    "print_progress": dumps.print_progress,
}
"""Module → what makes the links of a processor from its block. (``chain`` is cluebotng.py's.)"""


def _inputs(block: Block) -> list[tuple[str, str]]:
    inputs = block.group("inputs")
    return [(source, inputs.text(source)) for source in inputs]


def _charset(block: Block) -> str:
    charset = block.text("from")
    try:
        b"a".decode(charset)  # of nothing, Python does not look at the encoding
    except LookupError:
        block.refuse("from", f'there is no encoding "{charset}"')
    return charset


def _where_present(texts: list[bytes | None], values: NDArray[np.int64]) -> Column:
    """The values of the edits that have the text."""
    if None not in texts:
        return values
    return [None if t is None else v for t, v in zip(texts, values.tolist(), strict=True)]


def _per_text(source: str, target: str, function: Callable[[bytes], Any]) -> Step:
    """A step that applies a function to a text, where an edit has it."""

    def run(table: Table) -> None:
        texts = table.texts(source)
        table.columns[target] = [None if each is None else function(each) for each in texts]

    return Step((source,), (target,), run)


def _per_word_set(source: str, target: str, function: Callable[[WordSets], Column]) -> Step:
    def run(table: Table) -> None:
        table.columns[target] = function(table.word_sets(source))

    return Step((source,), (target,), run)


def _split(block: Block, runs: Runs) -> list[Link]:
    """Steps that split texts."""
    splitter = Splitter(block.data("valid_word_chars"), block.data("ignore_chars"))

    def step(source: str, target: str) -> Step:
        def run(table: Table) -> None:
            table.columns[target] = table.splitting.of(table.texts(source), splitter, runs)

        return Step((source,), (target,), run)

    return [step(*each) for each in _inputs(block)]


def _patterns(block: Block, key: str) -> list[regex.Pattern]:
    """The compiled expressions of a list of ``{ flags; regex; }``."""
    found = []
    for entry in block.items_of(key):
        if not isinstance(entry, Block):
            block.refuse(key, "must be a list of groups with a regex each")
        flags = entry.only("flags", "regex", "replace").text("flags", "")
        if set(flags) - set("EIN"):
            entry.refuse("flags", f'"{flags}" has others than E, I and N')
        try:
            found.append(regex.compile_pattern(entry.text("regex").encode("latin-1"), flags))
        except posix.SyntaxProblem as problem:
            entry.refuse("regex", str(problem))
    return found


def _replacement(block: Block) -> text.Replacement:
    block.only("find", "replace", "remove", "removemulti", "keep", "inputs")
    return text.Replacement(
        find=block.data("find"),
        replace=block.data("replace"),
        remove=block.data("remove"),
        removemulti=block.data("removemulti"),
        keep=block.data("keep") if "keep" in block else None,
    )


def _probabilities(path: Path, min_edits: int) -> scorer.WordProbabilities:
    """Those of a database, read once however many scorers have it."""
    try:
        status = path.stat()
    except OSError:
        return scorer.word_probabilities(bayes.read_database(path), min_edits)  # says why not
    version = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
    return _probabilities_of(path, min_edits, version)


@lru_cache(maxsize=2)
def _probabilities_of(
    path: Path, min_edits: int, _version: tuple[int, ...]
) -> scorer.WordProbabilities:
    return scorer.word_probabilities(bayes.read_database(path), min_edits)


def _float32(value: float) -> float:
    return float(np.float32(value))


def _range(block: Block, name: str) -> tuple[float, float]:
    bounds = block.items_of(name)
    if len(bounds) != 2 or not all(isinstance(each, int | float) for each in bounds):
        block.refuse(name, "must be two numbers, low and high")
    return _float32(bounds[0]), _float32(bounds[1])


def _expression(group: Block, name: str) -> expression.Expression:
    try:
        return expression.compile_expression(group.text(name))
    except expression.ExpressionProblem as problem:
        group.refuse(name, str(problem))


def _evaluation(compiled: Mapping[str, expression.Expression], kind: str) -> Step:
    """A step that evaluates expressions, none of which sees another one's result."""

    def run(table: Table) -> None:
        table.columns |= {name: _evaluated(table, each, kind) for name, each in compiled.items()}

    names = {used for each in compiled.values() for used in each.names}
    reads = {source for used in names for source in sources_of(used)}
    return Step(tuple(reads), tuple(compiled), run)


def _evaluated(table: Table, each: expression.Expression, kind: str) -> Any:
    values = {name: table.numbers(name)[0] for name in each.names}
    with np.errstate(all="ignore"):
        result = np.broadcast_to(each.evaluate(values), (len(table.edits),))
        if kind == "float":
            return result.astype(np.float32)
        # What x86 makes of a double that no 32-bit int holds, NaN included.
        low, high = INT_RANGE
        fits = (result > low - 1) & (result < high + 1)
        return np.where(fits, np.trunc(result), low).astype(np.int64)
