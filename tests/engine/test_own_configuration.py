"""
The configuration that the engine ships: nothing in it is misspelt, idle or unexplained.

A name that does not exist is 0 in an expression, silently, so a misspelt feature trains and runs
like any other. These tests are what notices.
"""

import gzip
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cbngtrain.dump import canonicalise
from cbngtrain.engine.configuration import Block, load

ROOT = Path(__file__).parents[2]
CONF = ROOT / "cbngtrain" / "engine" / "conf"
DUMPS = ROOT / "sample" / "dumps"
FEW, TRAINING = DUMPS / "1.xml.gz", DUMPS / "2.xml.gz"

CHAINS = ("bayes_train", "ann_train", "trial_run", "live_run")
COUNTERS = ("character_counts", "posix_regex_search", "fast_string_search", "word_finder")

Rows = NDArray[np.float64]
"""The network's inputs, shape (n_edits, n_inputs)."""

CONFIGURATION = load(CONF)
INPUTS: tuple[str, ...] = CONFIGURATION["main_ann_inputs"]["properties"]


def blocks(*modules: str) -> Iterator[Block]:
    """Yield the processors of these modules."""
    for name, block in CONFIGURATION.items():
        if isinstance(block, Block) and block.get("module", name) in modules:
            yield block


def expressions() -> dict[str, str]:
    """Return every expression by the name of its result."""
    return {
        name: text
        for block in blocks("expression_eval")
        for name, text in block["expressions"].items()
    }


def names_in(texts: list[str]) -> set[str]:
    """Return the names that the expressions read."""
    return {name for text in texts for name in re.findall(r"[A-Za-z_]\w*", text)}


def read_names() -> set[str]:
    """Return every property that an expression, the inputs, a report or a threshold reads."""
    outputs = [
        *CONFIGURATION["trial_details"]["properties"],
        *CONFIGURATION["live_log"]["properties"],
    ]
    return {*names_in(list(expressions().values())), *INPUTS, *outputs}


def strings(value: Any) -> Iterator[str]:
    """Yield every string inside a setting."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for item in value.values() for text in strings(item))
    elif isinstance(value, list | tuple):
        yield from (text for item in value for text in strings(item))


def prepared(directory: Path, dump: Path) -> Callable[..., str]:
    """Put edits and empty folders into *directory*; return what runs a program there."""
    (directory / "data").mkdir()
    (directory / "trialreport").mkdir()
    canonicalise(dump, directory / "edits.xml", dump.name)

    def run(*args: str | Path) -> str:
        command = [sys.executable, "-m", "cbngtrain.engine", *map(str, args)]
        return subprocess.run(
            command, cwd=directory, check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    return run


def said_by_chains(directory: Path, dump: Path) -> dict[str, str]:
    """Train quickly in *directory* on all of *dump*, and try there; return what each chain said."""
    run = prepared(directory, dump)
    chain = partial(run, "cluebotng", "-c", CONF, "-f", "edits.xml", "-m")
    said = {"bayes_train": chain("bayes_train")}
    run("create_bayes_db", "data/bayes.db", "data/main_bayes_train.dat")
    run("create_bayes_db", "data/two_bayes.db", "data/two_bayes_train.dat")
    said["ann_train"] = chain("ann_train")
    run("create_ann", "data/main_ann.fann", "data/main_ann_train.dat", "2", "0.037", "3")
    return said | {name: chain(name) for name in ("trial_run", "live_run")}


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a network was trained on the sample."""
    directory = tmp_path_factory.mktemp("training")
    said_by_chains(directory, TRAINING)
    return directory


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every chain has run on a few edits."""
    directory = tmp_path_factory.mktemp("few")
    for chain, said in said_by_chains(directory, FEW).items():
        (directory / f"{chain}.log").write_text(said)
    return directory


@pytest.fixture(scope="module")
def rows(training: Path) -> Rows:
    """The network's inputs on the sample, shape (n_edits, n_inputs)."""
    lines = (training / "data" / "main_ann_train.dat").read_text().splitlines()
    return np.array([line.split() for line in lines[1::2]], dtype=float)


class TestChains:
    """The ways of an edit."""

    def test_are_those_of_the_contract(self):
        """There is a chain for each step, and for edits that come in live."""
        assert tuple(CONFIGURATION["chains"]) == CHAINS

    @pytest.mark.parametrize("chain", CHAINS)
    def test_run(self, few: Path, chain: str):
        """Every chain takes edits from a file to its outputs."""
        labelled = gzip.decompress(FEW.read_bytes()).count(b"<isVandalism>")

        assert f"Processed {labelled} edits." in (few / f"{chain}.log").read_text()

    def test_have_every_processor(self):
        """No processor is left out of the chains, none is named that does not exist."""
        members = {
            name
            for chain in [*CONFIGURATION["chains"].values(), *(b["chain"] for b in blocks("chain"))]
            for name in chain
        }
        processors = {
            block.name
            for block in CONFIGURATION.values()
            if isinstance(block, Block) and "module" in block
        }

        assert members == {*processors, "trial_run_report", "print_progress"}

    @pytest.mark.parametrize(
        "conf",
        [
            pytest.param(lambda _: CONF, id="absolute"),
            pytest.param(lambda here: os.path.relpath(CONF, here), id="relative"),
            pytest.param(lambda _: "conf", id="beside the edits"),
        ],
    )
    def test_run_from_anywhere(self, tmp_path: Path, conf: Callable[[Path], str]):
        """The configuration's files find each other from any working directory."""
        (tmp_path / "conf").symlink_to(CONF)
        run = prepared(tmp_path, FEW)

        run("cluebotng", "-c", conf(tmp_path), "-m", "bayes_train", "-f", "edits.xml")

        assert (tmp_path / "data" / "main_bayes_train.dat").stat().st_size > 0


@pytest.mark.slow
class TestInputs:
    """The network's first layer."""

    def test_are_listed_once(self):
        """No input is there twice, and each expression for one is listed."""
        assert sorted(INPUTS) == sorted(CONFIGURATION["scale"]["expressions"])

    def test_are_as_many_as_the_rows_have(self, rows: Rows):
        """The training data has a column for each input."""
        assert rows.shape[1] == len(INPUTS)

    def test_vary(self, rows: Rows):
        """Every input differs from its usual value in at least one of 50 edits of the sample."""
        differs = (rows != np.median(rows, axis=0)).mean(axis=0)

        assert [name for name, share in zip(INPUTS, differs, strict=True) if share < 0.02] == []

    def test_differ(self, rows: Rows):
        """No two inputs are the same column."""
        assert np.unique(rows, axis=1).shape == rows.shape

    def test_are_centred(self, rows: Rows):
        """Every input is around 0 on the sample."""
        means = abs(rows.mean(axis=0))

        assert [name for name, mean in zip(INPUTS, means, strict=True) if mean > 0.33] == []

    def test_are_not_clipped_away(self, rows: Rows):
        """No input is at an end of its scale for half of the edits or more."""
        clipped = (abs(rows) == 1).mean(axis=0)

        assert [name for name, share in zip(INPUTS, clipped, strict=True) if share >= 0.5] == []


class TestNames:
    """What expressions and lists name."""

    def test_exist(self, few: Path):
        """Every name in an expression is a property of the edits: a misspelt one would be 0."""
        debug = ET.parse(few / "trialreport" / "debug.xml").getroot()
        properties = {element.tag for edit in debug for element in edit}
        known = {*properties, *(f"{name}_size" for name in properties), "main_ann_answer_0"}

        assert names_in(list(expressions().values())) - known == set()

    def test_results_are_used(self):
        """No expression is worked out for nothing."""
        assert set(expressions()) - read_names() == set()

    @pytest.mark.parametrize("module", COUNTERS)
    def test_counts_are_used(self, module: str):
        """No characters, phrases or words are counted for nothing."""
        idle = [
            metric
            for block in blocks(module)
            for metric in block["metrics"]
            if not {prefix + metric for prefix in block["inputs"].values()} & read_names()
        ]

        assert idle == []

    def test_word_ranges_are_used(self):
        """No range of the word statistics is counted for nothing."""
        ranges = {
            name
            for block in blocks("bayesian_scorer")
            for name in block.get("probability_ranges", {})
        }

        assert ranges - read_names() == set()

    def test_scores_are_used(self):
        """No word statistics are looked up for nothing."""
        assert {block["output"] for block in blocks("bayesian_scorer")} - read_names() == set()


class TestModules:
    """What the modules expect, and would not complain about."""

    @pytest.mark.parametrize("module", ["character_replace", "word_character_replace"])
    def test_replacements_line_up(self, module: str):
        """There is a character for each that is replaced."""
        lengths = [(len(block["find"]), len(block["replace"])) for block in blocks(module)]

        assert [pair for pair in lengths if pair[0] != pair[1]] == []

    def test_word_lists_have_one_word(self):
        """The native word_finder counts the last word of a list alone."""
        metrics = [words for block in blocks("word_finder") for words in block["metrics"].values()]

        assert [words for words in metrics if len(words) != 1] == []

    def test_no_phrase_hides_another(self):
        """No phrase is inside one of another count: the one that ends first is counted alone."""
        hidden = [
            (inner, outer)
            for block in blocks("fast_string_search")
            for inner_metric, inner_phrases in block["metrics"].items()
            for outer_metric, outer_phrases in block["metrics"].items()
            for inner in inner_phrases
            for outer in outer_phrases
            if inner_metric != outer_metric and inner in outer
        ]

        assert hidden == []

    def test_phrases_are_as_the_normalizer_leaves_them(self):
        """Phrases that are looked for in normalised text are in small letters and digits."""
        metrics = [
            CONFIGURATION["text_phrases"]["metrics"],
            CONFIGURATION["comment_phrases"]["metrics"],
        ]

        assert [text for text in strings(metrics) if not re.fullmatch("[a-z0-9 ]+", text)] == []

    def test_are_ascii(self):
        """The configuration is plain ASCII: edits are, when the processors see them."""
        assert [path.name for path in CONF.glob("*.conf") if not path.read_text().isascii()] == []


class TestComments:
    """What a reader is told."""

    @pytest.mark.parametrize(
        "setting", [*INPUTS, *(name for b in blocks(*COUNTERS) for name in b["metrics"])]
    )
    def test_describe_every_feature(self, setting: str):
        """Above every feature, or the group of lines that it is in, stands a comment."""
        lines = "\n".join(path.read_text() for path in sorted(CONF.glob("*.conf")))
        definition = re.compile(rf"#[^\n]*\n(?:(?![ \t]*\n)[^\n]*\n)*?\t\t{setting}( =|:)")

        assert definition.search(lines)

    def test_cite_what_is_listed(self):
        """Every work that is cited stands in the list of works, and every one there is cited."""
        texts = {path.name: path.read_text() for path in CONF.glob("*.conf")}
        listed = set(re.findall(r"^#   (\w+ \d{4})  ", texts["cluebotng.conf"], re.MULTILINE))
        rest = " ".join(text for name, text in texts.items() if name != "cluebotng.conf")
        cited = set(re.findall(r"([A-Z]\w+)[\s#]+((?:19|20)\d\d)\b", rest))

        assert {" ".join(work) for work in cited} == listed

    def test_describe_every_processor(self):
        """Above every processor, or the group of them that it is in, stands a comment."""
        texts = "\n".join(path.read_text() for path in sorted(CONF.glob("*.conf")))
        lines = [line for line in texts.split("\n") if line.strip()]
        bare = [
            line
            for above, line in pairwise(lines)
            if re.fullmatch(r"\w+:", line) and not above.startswith(("#", "};"))
        ]

        assert bare == []
