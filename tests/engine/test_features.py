"""Modules that the configurations here do not use, step by step."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from cbngtrain.engine.configuration import Block
from cbngtrain.engine.dumps import DoubleMap, Dump, Properties
from cbngtrain.engine.edits import Edit
from cbngtrain.engine.errors import FormatError
from cbngtrain.engine.features import MODULES
from cbngtrain.engine.network import Layer, Network, write_network
from cbngtrain.engine.outputs import AnnTraining
from cbngtrain.engine.table import Column, Deferred, Step, Table
from cbngtrain.engine.word_sets import WordSets

PATH = Path("edits.xml")


def after(module: str, options: Mapping[str, object], **columns: object) -> Table:
    """Return the columns after the steps of a processor."""
    number = 3
    edits = [Edit({"editid": b"%d" % i}, PATH, 0) for i in range(number)]
    table = Table(PATH, edits, dict(columns))  # type: ignore[arg-type]  # what a test gives
    block = Block(module)
    block.update(options)
    for link in MODULES[module](block):
        assert isinstance(link, Step)
        link.run(table)
    return table


def _group(**settings: object) -> Block:
    block = Block("group")
    block.update(settings)
    return block


def test_a_threshold_belongs_to_what_reaches_it():
    """Compared as 32-bit floats: 0.85 reaches 0.85."""
    scores = np.array([0.84, 0.85, 0.86], np.float32)
    options = {"in": "score", "out": "is", "threshold": 0.85}
    assert after("apply_threshold", options, score=scores).columns["is"] == [False, True, True]


def test_texts_are_converted_one_by_one():
    """Where an edit has them, from the encoding that is named."""
    options = {"from": "latin-1", "inputs": _group(old="new")}
    table = after("charset_conv", options, old=[b"caf\xe9s", None, b""])
    assert table.columns["new"] == [b"cafs", None, b""]


@pytest.mark.parametrize(
    "had",
    [
        ([b"5", b"6", None], b"6"),
        (np.array([5, 6, 7]), 6),
        (np.array([0.5, 0.25, 0], np.float32), 0.25),
        (Deferred([b"5", b"6", None], bytes), b"6"),
        (np.zeros((3, 2), np.float32), None),
    ],
    ids=["texts", "whole numbers", "floats", "texts to be made", "float sets"],
)
@pytest.mark.parametrize(
    ("module", "options", "target", "made"),
    [
        ("charset_conv", {"from": "latin-1"}, "new", [b"aa", b""]),
        ("character_replace", {"remove": "x"}, "new", [b"aa", b""]),
        ("misc_text_metrics", {}, "newlongest_run", [2, 0]),
        ("character_counts", {"metrics": _group(_a="a")}, "new_a", [2, 0]),
        ("fast_string_search", {"metrics": _group(_a=("a",))}, "new_a", [2, 0]),
    ],
)
def test_an_edit_without_the_text_keeps_what_it_has_under_that_name(
    module: str,
    options: Mapping[str, object],
    target: str,
    made: list[object],
    had: tuple[Column, object],
):
    """Be it of the edit set or of a step before, as in the native core."""
    before, kept = had
    columns = {"old": [b"aa", None, b""], target: before}
    table = after(module, {"inputs": _group(old="new"), **options}, **columns)
    assert table.optional(target) == [made[0], kept, made[1]]


def test_runs_are_measured():
    """Of each text that is there, under the name that is given and ``longest_run``."""
    options = {"inputs": _group(t="text_")}
    table = after("misc_text_metrics", options, t=[b"wiii", None, b""])
    assert table.columns["text_longest_run"] == [3, None, 0]


def test_a_threshold_needs_a_number():
    """An edit without one is told by its name."""
    options = {"in": "score", "out": "is", "threshold": 0.5}
    with pytest.raises(FormatError, match="EditID 1: the edit has no score"):
        after("apply_threshold", options, score=[0.1, None, 0.2])


def test_a_float_set_names_the_edit_that_has_not_the_number():
    """A property that no edit has is one that is not there at all."""
    options = {"output": "set", "properties": ("n", "text_size")}
    texts = [b"a", b"b", b"c"]
    with pytest.raises(FormatError, match=r"^edits\.xml: EditID 1: the edit has no n$"):
        after("float_set_creator", options, n=[0.5, None, 2.0], text=texts)
    with pytest.raises(FormatError, match='there is no property "n"'):
        after("float_set_creator", options, text=texts)


ANY_KIND = {
    "texts": [b"a", b"b", b"0.5"],
    "truths": [True, False, True],
    "whole numbers": np.array([1, 2, 3]),
    "floats": np.array([0.1, 0.2, 0.3], np.float32),
    "float sets": np.zeros((3, 2), np.float32),
    "word sets": WordSets.of([{b"a": 1}, {}, {}]),
}


@pytest.mark.parametrize("kind", sorted(ANY_KIND.keys() - {"floats"}))
def test_what_is_no_float_reaches_no_threshold(kind: str):
    """The native core takes floats alone, too."""
    options = {"in": "score", "out": "is", "threshold": 0.5}
    with pytest.raises(FormatError, match="EditID 0: score is of the wrong type"):
        after("apply_threshold", options, score=ANY_KIND[kind])


@pytest.mark.parametrize("kind", sorted(ANY_KIND.keys() - {"float sets"}))
def test_training_rows_are_of_float_sets(kind: str):
    """Anything else is refused."""
    columns: dict[str, Column] = {"in": np.zeros((3, 2), np.float32), "out": ANY_KIND[kind]}  # type: ignore[dict-item]  # what a test gives
    table = Table(PATH, [Edit({"editid": b"%d" % i}, PATH, 0) for i in range(3)], columns)
    with pytest.raises(FormatError, match="EditID 0: out is of the wrong type"):
        AnnTraining("x.dat", "in", "out").rendered(table)


@pytest.mark.parametrize("n_values", [1, 3])
def test_a_network_needs_a_value_for_each_input(tmp_path: Path, n_values: int):
    """No more and no less: neither is the network run on some of the values, nor on none."""
    path = tmp_path / "n.fann"
    with path.open("wb") as file:
        write_network(file, Network((Layer(np.zeros((3, 1), np.float32)),)))
    options = {"input_set": "in", "output_set": "out", "ann_file": str(path)}
    message = f"run_ann.input_set: in has {n_values} values, the network has 2 inputs"
    with pytest.raises(FormatError, match=message):
        after("run_ann", options, **{"in": np.zeros((3, n_values), np.float32)})


@pytest.mark.parametrize(
    ("limits", "clipped"),
    [
        ({}, [-math.inf, 9.0, math.inf]),
        ({"clip_low": 0.0}, [0.0, 9.0, math.inf]),
        ({"clip_high": 1.0}, [1.0, 1.0, 1.0]),
        ({"clip_low": 0.0, "clip_high": 1.0}, [0.0, 1.0, 1.0]),
    ],
    ids=["no limits", "low", "high", "both"],
)
def test_infinities_in_float_sets(limits: dict[str, float], clipped: list[float]):
    """Without a lower limit -inf becomes the upper one, as in the native core."""
    options = {"output": "set", "properties": ("n",), **limits}
    numbers = np.array([-math.inf, 9.0, math.inf], np.float32)
    table = after("float_set_creator", options, n=numbers)
    assert np.asarray(table.columns["set"]).ravel().tolist() == clipped


def test_all_words_are_in_a_delta():
    """Those that did not change too, 0 times; added and removed have them not."""
    current = WordSets.of([{b"a": 2, b"b": 1, b"c": 1}, {}, {b"x": 1}])
    previous = WordSets.of([{b"a": 1, b"b": 1, b"d": 3}, {b"y": 2}, {b"x": 1}])
    targets = {name: name for name in ("added", "removed", "delta")}
    options = {"current": "c", "previous": "p", **targets}
    table = after("wordset_diff", options, c=current, p=previous)
    assert table.word_sets("added").dicts() == [{b"a": 1, b"c": 1}, {}, {}]
    assert table.word_sets("removed").dicts() == [{b"d": 3}, {b"y": 2}, {}]
    assert table.word_sets("delta").dicts() == [
        {b"a": 1, b"b": 0, b"c": 1, b"d": -3},
        {b"y": -2},
        {b"x": 0},
    ]


@pytest.mark.parametrize("limit", [0, 3])
def test_a_limit_below_that_of_dots_cuts_nothing(limit: int):
    """They are appended to the whole value, also to one that is looked at to its limit else."""
    edits = [Edit({}, PATH, 0)]
    columns: dict[str, Column] = {
        "later": Deferred([b"late"], bytes.upper),
        "numbers": DoubleMap(Table(PATH, edits, {"n": [7.0], "t": [b"text"]})),
        "text": [b"a long one"],
        "words": WordSets.of([{b"many": 1, b"some": 2}]),
    }
    assert Dump("x.xml", limit).rendered(Table(PATH, edits, columns)) == (
        b"<WPEdit>\n<later>LATE ...</later>\n"
        b"<numbers>DoubleMap:\nn: 7\nt_size: 4\n ...</numbers>\n<text>a long one ...</text>\n"
        b"<words>WordSet:\nmany: 1\nsome: 2\n ...</words>\n</WPEdit>\n\n\n"
    )


@pytest.mark.parametrize("limit", [None, 10**9, 12], ids=["none", "huge", "small"])
def test_dumped_numbers_of_edits_that_differ(limit: int | None):
    """What an edit has not is not dumped for it; to a limit, each edit's first lines are."""
    edits = [Edit({"editid": b"%d" % i}, PATH, 0) for i in range(2)]
    columns = {"here": [b"abc", None], "number": np.array([1.0, 2.0]), "often": [4, None]}
    table = Table(PATH, edits, dict(columns))  # type: ignore[arg-type]  # what a test gives

    texts = DoubleMap(table).texts(limit)

    assert texts == [
        b"DoubleMap:\nhere_size: 3\nnumber: 1\noften: 4\n",
        b"DoubleMap:\nnumber: 2\n",
    ]


def test_dumped_zeros_keep_their_signs():
    """Also those of float sets, as expressions see them."""
    table = Table(PATH, [Edit({}, PATH, 0)], {"set": np.array([[-0.0, 0.0]], np.float32)})
    assert DoubleMap(table).texts(None) == [b"DoubleMap:\nset_0: -0\nset_1: 0\n"]


@pytest.mark.parametrize(
    ("limit", "weight", "count"),
    [
        (None, b"1.67772e+07", b"-2147483648"),
        (20, b"1.67772e+07", b"-2147483648"),
        (10, b"1.6777 ...", b"-21474 ..."),
        (4, b" ...", b" ..."),
    ],
    ids=["no limit", "longer", "shorter", "least"],
)
def test_numbers_are_cut_like_texts(limit: int | None, weight: bytes, count: bytes):
    """A dump's limit is for every value, however short numbers are."""
    columns = {"weight": np.array([16777217], np.float32), "count": [-(2**31)]}
    table = Table(PATH, [Edit({}, PATH, 0)], dict(columns))  # type: ignore[arg-type]  # what a test gives

    assert Dump("x.xml", limit).rendered(table) == (
        b"<WPEdit>\n<count>%b</count>\n<weight>%b</weight>\n</WPEdit>\n\n\n" % (count, weight)
    )


@pytest.mark.parametrize("name", ["100%d", "%", "two\nlines", "", "é"])
def test_names_are_dumped_as_they_are(name: str):
    """A configuration may call a number anything: it gives a processor's results a prefix."""
    edits = [Edit({}, PATH, 0)] * 2
    tag = name.encode()
    edit = b"<WPEdit>\n<%b>%d</%b>\n</WPEdit>\n\n\n"
    dumped = Dump("x.xml", None).rendered(Table(PATH, edits, {name: np.array([7, 8])}))
    assert dumped == b"".join(edit % (tag, value, tag) for value in (7, 8))


def test_a_list_needs_all_its_properties():
    """Word sets too: an edit without one is told by its name."""
    column = WordSets.of([{b"a": 1}, {}])
    column.is_there = [True, False]
    edits = [Edit({"editid": b"%d" % i}, PATH, 0) for i in range(2)]
    with pytest.raises(FormatError, match="EditID 1: the edit has no words"):
        Properties("x.txt", ("words",)).rendered(Table(PATH, edits, {"words": column}))
