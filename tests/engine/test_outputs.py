"""Modules that make numbers and files of properties, against plain second implementations."""

import io
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cbngtrain.engine.configuration import Block
from cbngtrain.engine.edits import Edit
from cbngtrain.engine.features import MODULES
from cbngtrain.engine.table import Output, Step, Table
from cbngtrain.engine.word_sets import WordSets
from tests.engine import plain

NUMBER = 3  # edits
NAN = math.copysign(math.nan, -1)  # that arithmetic makes

texts = st.binary(max_size=40) | st.text("ab<>&\n", max_size=40).map(str.encode)
floats = st.floats(width=32, allow_nan=False) | st.sampled_from([NAN, math.nan, -0.0, 0.5, 1.0])
doubles = st.floats(allow_nan=False) | st.just(NAN)
bounds = st.none() | st.sampled_from([0.0, -1.0, 1.0, 0.1, 10.5])
counts = st.dictionaries(
    st.binary(min_size=1, max_size=6).filter(lambda word: b"\n" not in word), st.integers(-5, 5)
)


def rows(of, size=NUMBER):
    """A value for each edit."""
    return st.lists(of, min_size=size, max_size=size)


float_sets = st.integers(1, 4).flatmap(lambda width: rows(rows(floats, width)))


def block(module: str, options: Mapping[str, object]) -> Block:
    """A processor's block."""
    made = Block(module)
    made.update(options)
    return made


def table(columns: Mapping[str, object]) -> Table:
    """Edits with these properties."""
    edits = [Edit({"editid": b"%d" % i}, Path("edits.xml"), 0) for i in range(NUMBER)]
    return Table(Path("edits.xml"), edits, dict(columns))  # type: ignore[arg-type]  # what a test gives


def after(module: str, options: Mapping[str, object], columns: Mapping[str, object]) -> Table:
    """The properties after the steps of a processor."""
    made = table(columns)
    for step in MODULES[module](block(module, options)):
        assert isinstance(step, Step)
        step.run(made)
    return made


def written(module: str, options: Mapping[str, object], columns: Mapping[str, object]) -> bytes:
    """What a processor writes to its one file."""
    [output] = MODULES[module](block(module, {"filename": "x", **options}))
    assert not isinstance(output, Step)
    typed: Output = output
    file = io.BytesIO()
    writer = typed.writer({"x": file})
    writer.write(typed.rendered(table(columns)))
    writer.finish()
    return file.getvalue()


@given(rows(floats), float_sets, bounds, bounds)
def test_float_sets_are_clipped(numbers, sets, low, high):
    """Numbers and float sets, one after the other, between the limits that are given."""
    limits = {"clip_low": low, "clip_high": high}
    options = {k: v for k, v in limits.items() if v is not None}
    columns = {"n": np.array(numbers, np.float32), "s": np.array(sets, np.float32)}
    made = after("float_set_creator", {"output": "f", "properties": ("n", "s"), **options}, columns)
    expected = [
        [plain.clipped(value, low, high) for value in (number, *values)]
        for number, values in zip(numbers, sets, strict=True)
    ]
    np.testing.assert_array_equal(made.columns["f"], np.array(expected, np.float32))


@given(rows(floats), floats.filter(lambda value: not math.isnan(value)))
def test_thresholds_are_reached(numbers, threshold):
    """By all that is at least as large; NaN is not."""
    options = {"in": "n", "out": "is", "threshold": threshold}
    made = after("apply_threshold", options, {"n": np.array(numbers, np.float32)})
    assert list(made.required("is")) == [number >= threshold for number in numbers]


@given(rows(st.integers(0, 2**31 - 1)), st.sampled_from(["n", "-n", "n*n", "n/7", "-n/0", "n/0"]))
def test_whole_numbers_are_truncated(numbers, expression):
    """To 32 bits, as x86 does it: what does not fit is the least."""
    options = {"result_type": "int", "expressions": block("e", {"r": expression})}
    made = after("expression_eval", options, {"n": numbers})
    with np.errstate(all="ignore"):
        values = eval(expression, {}, {"n": np.array(numbers, np.float64)})
    assert list(made.required("r")) == [plain.truncated(value) for value in values.tolist()]


@given(rows(counts), st.lists(st.binary(max_size=3), min_size=1, max_size=3))
def test_the_last_word_of_a_list_is_found(sets, words):
    """And it alone; the words are printable."""
    printable = [bytes(32 + byte % 95 for byte in word) for word in words]
    metrics = block("metrics", {"m": tuple(word.decode() for word in printable)})
    options = {"metrics": metrics, "inputs": block("inputs", {"w": "found_"})}
    made = after("word_finder", options, {"w": WordSets.of(sets)})
    assert list(made.required("found_m")) == [each.get(printable[-1], 0) for each in sets]


@given(rows(counts), rows(st.booleans()))
def test_words_are_written(sets, truths):
    """Of each edit that has some, in byte order, after its total."""
    columns = {"w": WordSets.of(sets), "isvandalism": truths}
    ours = written("bayesian_training_data_creator", {"words": "w"}, columns)
    assert ours == plain.training_words(sets, truths)


@given(float_sets, float_sets)
def test_rows_are_written(inputs, outputs):
    """Under a line that counts them, ten digits after the point."""
    columns = {"i": np.array(inputs, np.float32), "o": np.array(outputs, np.float32)}
    options = {"input_set": "i", "output_set": "o"}
    ours = written("write_ann_training_data", options, columns)
    assert ours == plain.training_rows(inputs, outputs)


kinds = st.tuples(
    rows(texts),
    rows(st.booleans()),
    rows(st.integers(-(2**31), 2**31 - 1)),
    rows(floats),
    rows(counts),
    float_sets,
)


@given(kinds, st.none() | st.integers(0, 60))
def test_properties_are_dumped(columns, limit):
    """By name, each kind in its way, cut to the limit (if dots have room there) and escaped."""
    names = "tbnfws"
    edits = [dict(zip(names, each, strict=True)) for each in zip(*columns, strict=True)]
    ours = _dumped(dict(zip(names, columns, strict=True)), limit)
    theirs = b"".join(plain.dumped(each, limit) for each in edits)
    assert ours == b"<WPEditSet>\n" + theirs + b"</WPEditSet>\n"


def _dumped(columns, limit):
    options = {} if limit is None else {"maxlen": limit}
    return written("edit_dump", options, _arrays(columns))


def _arrays(columns):
    arrays = {name: np.array(columns[name], np.float32) for name in "fs"}
    return columns | arrays | {"w": WordSets.of(columns["w"])}


@given(kinds)
def test_properties_are_listed(columns):
    """A line of an edit, whatever is in it."""
    names = "tbnfws"
    ours = written(
        "write_properties",
        {"properties": tuple(names)},
        _arrays(dict(zip(names, columns, strict=True))),
    )
    lines = [
        b", ".join(
            name.encode() + b"=" + plain.shown(value)
            for name, value in zip(names, each, strict=True)
        )
        for each in zip(*columns, strict=True)
    ]
    assert ours == b"".join(line + b"\n" for line in lines)
