"""Modules that make numbers of numbers: expressions, float sets, networks. See features.py."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbngtrain.engine import dumps, expression, network
from cbngtrain.engine.configuration import Block
from cbngtrain.engine.table import EVERYTHING, Link, Step, Table, sources_of

INT_RANGE = (-(2**31), 2**31 - 1)  # the core keeps whole results in a C int


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
            is_there = table.presence(name)
            if not any(is_there):
                block.refuse("properties", f'there is no property "{name}"')
            table.require(name, is_there)
        return numbers.astype(np.float32)[:, None]

    def run(table: Table) -> None:
        empty = np.empty((len(table.edits), 0), np.float32)
        matrix = np.concatenate([empty, *(values(table, name) for name in names)], axis=1)
        if low is not None:
            matrix = np.where(np.isnan(matrix) | (matrix < low), low, matrix)
        if high is not None:  # the native core asks for an infinity, not for its sign
            matrix = np.where((matrix > high) | np.isinf(matrix), high, matrix)
        table.columns[target] = matrix

    reads = {source for name in names for source in sources_of(name)}
    return [Step(tuple(reads), (target,), run)]


def run_ann(block: Block) -> list[Link]:
    """The outputs of a network for a float set."""
    block.only("input_set", "output_set", "ann_file")
    source, target = block.text("input_set"), block.text("output_set")
    net = network.load_network(Path(block.text("ann_file")))
    width = net.sizes[0]

    def run(table: Table) -> None:
        inputs = table.float_sets(source)
        if inputs.shape[1] != width:
            problem = f"{source} has {inputs.shape[1]} values, the network has {width} inputs"
            block.refuse("input_set", problem)
        table.columns[target] = net.run(inputs)

    return [Step((source,), (target,), run)]


def apply_threshold(block: Block) -> list[Link]:
    """Whether a number is at least ``threshold``."""
    block.only("in", "out", "threshold")
    source, target = block.text("in"), block.text("out")
    threshold = np.float32(block.number("threshold"))

    def run(table: Table) -> None:
        table.columns[target] = (table.floats(source) >= threshold).tolist()

    return [Step((source,), (target,), run)]


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
