"""Modules that read texts: what a text becomes, and what is counted in it. See features.py."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbngtrain.engine import regex, regex_tree, text
from cbngtrain.engine.configuration import Block, encoded
from cbngtrain.engine.table import Column, Deferred, Link, Step, Table


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
        for source, target in block.strings("inputs").items()
    ]


def misc_text_metrics(block: Block) -> list[Link]:
    """``longest_run``: how long the longest run of one byte is."""
    block.only("inputs")
    return [
        _per_text(source, prefix + "longest_run", text.longest_run)
        for source, prefix in block.strings("inputs").items()
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
                table.put(name, _where_present(texts, column))

        return Step((source,), names, run)

    return [step(*each) for each in block.strings("inputs").items()]


def posix_regex_search(block: Block) -> list[Link]:
    """Per metric, the matches of its regular expressions, summed."""
    block.only("metrics", "inputs")
    metrics = block.group("metrics")
    patterns = {name: _patterns(metrics, name) for name in metrics}

    def counter(found: list[regex.Pattern]) -> Callable[[bytes], int]:
        return lambda value: sum(pattern.count(value) for pattern in found)

    return [
        _per_text(source, prefix + name, counter(found))
        for source, prefix in block.strings("inputs").items()
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

    return [
        _per_text(source, target, without) for source, target in block.strings("inputs").items()
    ]


def fast_string_search(block: Block) -> list[Link]:
    """Per metric, how often its strings occur."""
    block.only("metrics", "inputs")
    metrics = block.group("metrics")
    finder = text.Finder({name: [*map(encoded, metrics.texts(name))] for name in metrics})

    def step(source: str, prefix: str) -> Step:
        names = tuple(prefix + name for name in finder.metrics)

        def run(table: Table) -> None:
            texts = table.texts(source)
            rows = [finder.counts(each or b"") for each in texts]
            for metric, name in zip(finder.metrics, names, strict=True):
                of_metric = np.array([row[metric] for row in rows])
                table.put(name, _where_present(texts, of_metric))

        return Step((source,), names, run)

    return [step(*each) for each in block.strings("inputs").items()]


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
    change = replacement(block).of

    def step(source: str, target: str) -> Step:
        def run(table: Table) -> None:
            texts = table.texts(source)
            column = Deferred(texts, change)
            table.put(target, column.values() if None in texts else column)

        return Step((source,), (target,), run)

    return [step(*each) for each in block.strings("inputs").items()]


def replacement(block: Block) -> text.Replacement:
    """What ``find``, ``replace``, ``remove``, ``removemulti`` and ``keep`` do to a text."""
    block.only("find", "replace", "remove", "removemulti", "keep", "inputs")
    return text.Replacement(
        find=block.data("find"),
        replace=block.data("replace"),
        remove=block.data("remove"),
        removemulti=block.data("removemulti"),
        keep=block.data("keep") if "keep" in block else None,
    )


def _charset(block: Block) -> str:
    charset = block.text("from")
    try:
        b"a".decode(charset)  # of nothing, Python does not look at the encoding
    except LookupError:
        block.refuse("from", f'there is no encoding "{charset}"')
    return charset


def _per_text(source: str, target: str, function: Callable[[bytes], Any]) -> Step:
    """A step that applies a function to a text, where an edit has it."""

    def run(table: Table) -> None:
        texts = table.texts(source)
        table.put(target, [None if each is None else function(each) for each in texts])

    return Step((source,), (target,), run)


def _where_present(texts: list[bytes | None], values: NDArray[np.int64]) -> Column:
    """The values of the edits that have the text."""
    if None not in texts:
        return values
    return [None if t is None else v for t, v in zip(texts, values.tolist(), strict=True)]


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
            found.append(regex.compile_pattern(entry.data("regex"), flags))
        except regex_tree.SyntaxProblem as problem:
            entry.refuse("regex", str(problem))
    return found
