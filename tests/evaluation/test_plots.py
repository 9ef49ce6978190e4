"""Plots: what is on them, that they are the same everywhere, and when nothing can be drawn."""

import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from matplotlib import image

from cbngtrain.evaluation import curves, measures
from cbngtrain.evaluation.curves import Mark, Network, marks
from cbngtrain.evaluation.measures import tally_of
from cbngtrain.evaluation.plots import BLUE, GREY, PLOTS, VERMILLION, Scene, draw
from tests.conftest import ROOT
from tests.evaluation.trials import DEGENERATE, drawn, files, trial, trials, written

pytestmark = pytest.mark.slow  # half a second for each plot

OKABE_ITO = {
    "#000000", "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7",
}  # fmt: skip

TITLE = "Alpha · 2026-01-02 03:04:05\n180 edits: 80 vandalism, 100 constructive"
NETWORK = Network("now", tally_of(drawn(80, 100, 1)), [Mark(0.01, 0.5, 0.4, 0.6)])
OTHER = Network("before", tally_of(drawn(80, 100, 2)), [Mark(0.01, 0.4, 0.3, 0.5)])
SCENES = {
    "one network": Scene(TITLE, [NETWORK], 0.034),
    "two networks": Scene(TITLE, [NETWORK, OTHER], 0.034),
}


@pytest.fixture(scope="module", params=list(SCENES))
def scene(request) -> Scene:
    """What is drawn."""
    return SCENES[request.param]


@pytest.fixture(scope="module")
def plots(scene: Scene, tmp_path_factory) -> dict[str, bytes]:
    """All plots of a scene."""
    folder = tmp_path_factory.mktemp("plots")
    draw(scene, folder)
    return files(folder)


def test_every_plot_is_there_as_svg_and_png(plots: dict[str, bytes]):
    """Those that always were, and the new ones."""
    wanted = {"falsepositives", "thresholds", "roc", "precision-recall", "scores", "calibration"}

    assert set(PLOTS) == wanted
    assert set(plots) == {f"{name}.{kind}" for name in wanted for kind in ("svg", "png")}


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_says_what_it_shows(scene: Scene, plots: dict[str, bytes], name: str):
    """Heading, edit set, instance, counts, and each network's name where there are two."""
    svg = plots[f"{name}.svg"].decode()

    assert PLOTS[name][0] in svg
    assert all(line in svg for line in TITLE.splitlines())
    assert len(scene.networks) == 1 or all(each.name in svg for each in scene.networks)


@pytest.mark.parametrize("name", PLOTS)
def test_colours_are_told_apart_by_all(plots: dict[str, bytes], name: str):
    """What is not grey is a colour of Okabe and Ito."""
    colours = set(re.findall(r"#[0-9a-f]{6}", plots[f"{name}.svg"].decode()))
    greys = {colour for colour in colours if colour[1:3] == colour[3:5] == colour[5:7]}

    assert colours - greys <= OKABE_ITO


SEEN = {  # linear red, green, blue, as they are seen: Machado, Oliveira and Fernandes 2009, table 1
    "by most": np.eye(3),
    "without red cones": np.array(
        [[0.152286, 1.052583, -0.204868],
         [0.114503, 0.786281, 0.099216],
         [-0.003882, -0.048116, 1.051998]]
    ),
    "without green cones": np.array(
        [[0.367322, 0.860646, -0.227968],
         [0.280085, 0.672501, 0.047413],
         [-0.011820, 0.042940, 0.968881]]
    ),
    "without blue cones": np.array(
        [[1.255528, -0.076749, -0.178779],
         [-0.078411, 0.930809, 0.147602],
         [0.004733, 0.691367, 0.303900]]
    ),
}  # fmt: skip
XYZ = np.array(  # of linear sRGB, each row by that of white (D65)
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
) / [[0.9505], [1.0], [1.089]]


def linear(colour: str) -> np.ndarray:
    """Linear red, green and blue of a colour such as #0072B2, in [0, 1]."""
    parts = np.frombuffer(bytes.fromhex(colour[1:]), np.uint8) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def lab(colour: str, seen: np.ndarray) -> np.ndarray:
    """CIE's L*, a* and b* of a colour as it is seen."""
    parts = XYZ @ np.clip(seen @ linear(colour), 0, 1)
    x, y, z = np.where(parts > 216 / 24389, np.cbrt(parts), (24389 / 27 * parts + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("who", SEEN)
@pytest.mark.parametrize("pair", list(combinations((BLUE, VERMILLION, GREY, "#FFFFFF"), 2)))
def test_colours_are_far_apart_however_they_are_seen(pair: tuple[str, str], who: str):
    """No two colours of a plot, nor one and the paper, are nearer than 20 (CIE 1976)."""
    one, other = (lab(colour, SEEN[who]) for colour in pair)

    assert np.linalg.norm(one - other) > 20


@pytest.mark.parametrize("colour", [BLUE, VERMILLION, GREY])
def test_lines_stand_out_from_the_paper(colour: str):
    """Contrast is 3 : 1 at least, as WCAG 1.4.11 asks for what is drawn."""
    luminance = np.array([0.2126, 0.7152, 0.0722]) @ linear(colour)

    assert 1.05 / (luminance + 0.05) >= 3


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_knows_no_time(plots: dict[str, bytes], name: str):
    """Nor the library's version: the same input gives the same bytes."""
    assert b"dc:date" not in plots[f"{name}.svg"]
    assert b"Matplotlib v" not in plots[f"{name}.svg"]
    assert b"tEXt" not in plots[f"{name}.png"]


def test_a_name_is_no_formula(tmp_path: Path):
    """What an edit set is called is drawn as it is, whatever matplotlib would make of it."""
    draw(Scene(r"$\frac{ & <b> $x$ \$", [NETWORK], 0.1), tmp_path)

    assert r"$\frac{ &amp; &lt;b&gt; $x$ \$" in (tmp_path / "roc.svg").read_text(encoding="utf-8")


LONG = "Original Testing Training Set - Random Edits 50/50 " * 5
HOSTILE = {
    "long": (f"{LONG}· 2026-01-02 03:04:05", ["W" * 200, f"{LONG}/2026-01-02 03:04:05"]),
    "no spaces": ("x" * 300, ["x" * 45, "x" * 44]),
    "not Latin": ("עריכות · مجموعة · 編集 😀", ["מוקדם 0123456789ab", "編集"]),
    "left out of legends": ("_", ["_nolegend_", "_"]),
}


@pytest.mark.parametrize(("title", "names"), HOSTILE.values(), ids=HOSTILE.keys())
def test_no_name_runs_over_the_edge(tmp_path: Path, title: str, names: list[str]):
    """Whatever things are called: the frame of every plot stays white, and nothing is warned of."""
    networks = [
        Network(name, each.edits, each.marks)
        for name, each in zip(names, (NETWORK, OTHER), strict=True)
    ]

    draw(Scene(title, networks, 0.1), tmp_path)

    pixels = [image.imread(path)[..., :3] for path in sorted(tmp_path.glob("*.png"))]
    frames = [np.concatenate([a[:3].ravel(), a[-3:].ravel(), a[:, -3:].ravel()]) for a in pixels]
    assert len(frames) == len(PLOTS)
    assert [frame.min() for frame in frames] == [1] * len(PLOTS)


def test_a_long_title_still_names_the_instance(tmp_path: Path):
    """It is wrapped."""
    draw(Scene(f"{LONG}· 2026-01-02 03:04:05", [NETWORK], 0.1), tmp_path)

    assert "2026-01-02" in (tmp_path / "roc.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PLOTS)
def test_what_is_written_on_a_plot_is_for_people(plots: dict[str, bytes], name: str):
    """Numbers at the axes are no formulas, as those at logarithmic axes are by themselves."""
    written_there = re.findall(r">([^<]*)</text>", plots[f"{name}.svg"].decode())

    assert len(written_there) > 8
    assert [text for text in written_there if "$" in text or "\\" in text] == []


@pytest.mark.parametrize(
    "name",
    [
        "no edits",
        "all scores equal",
        pytest.param("no vandalism", marks=pytest.mark.slow),
        pytest.param("one edit of each", marks=pytest.mark.slow),
        pytest.param("nothing overlaps", marks=pytest.mark.slow),
    ],
)
def test_a_degenerate_trial_is_drawn_or_explained(tmp_path: Path, name: str):
    """A page says why there is nothing to draw; no warning, no NaN."""
    of, said = DEGENERATE[name]
    edits = tally_of(of)

    draw(Scene("Alpha", [Network("now", edits, [])], 0.1), tmp_path)

    assert len(files(tmp_path)) == 2 * len(PLOTS)
    explained = f"Nothing to draw: {said}." in (tmp_path / "roc.svg").read_text(encoding="utf-8")
    assert explained is not (edits.positives > 0 and edits.negatives > 0)


def test_a_table_waits_for_no_plots(tmp_path: Path):
    """Matplotlib is imported only where plots are made."""
    details = written(drawn(20, 30), tmp_path / "details.txt")
    program = (
        "import sys; from cbngtrain.evaluation.__main__ import main\n"
        f"status = main(['report', '--details', {str(details)!r}, '--table'])\n"
        "print(status, 'matplotlib' in sys.modules)"
    )

    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
    )

    assert ended.stdout.splitlines()[-1] == "0 False"


def test_only_recalls_that_say_something_are_marked():
    """Not those at a rate with too few constructive edits."""
    recall = {"value": 0.5, "low": 0.4, "high": 0.6}
    rows = [
        {"rate": 0.01, "enough_constructive": True, "recall": recall},
        {"rate": 0.001, "enough_constructive": False, "recall": recall},
        {"rate": 0.1, "enough_constructive": True, "recall": {"value": None, "reason": "none"}},
    ]

    assert marks(rows) == [Mark(0.01, 0.5, 0.4, 0.6)]
    assert marks([{**rows[0], "new": {"recall": recall}}], "new") == marks(rows)


@given(trials)
def test_the_area_below_the_curve_is_the_auc(of):
    """What is drawn is what is measured."""
    edits = tally_of(of)
    fpr, recall = curves.roc(edits)

    assert np.trapezoid(recall, fpr) == pytest.approx(measures.roc_auc(edits), abs=1e-12)


@given(trials)
def test_the_area_below_precision_is_the_average_precision(of):
    """In stairs: each recall that is gained counts with the precision there."""
    edits = tally_of(of)
    precision, recall = curves.precision_recall(edits)

    area = (np.diff(recall, prepend=0) * precision).sum()
    assert area == pytest.approx(measures.average_precision(edits), abs=1e-12)


def test_rates_by_threshold_by_hand():
    """At 0 all are caught; a score is caught by a threshold that equals it."""
    at, recall, fpr = curves.by_threshold(tally_of(trial([0.5, 1], [0, 0.25])))

    assert at[[0, 500, 501, 1000, 1001, 2000]] == pytest.approx([0, 0.25, 0.2505, 0.5, 0.5005, 1])
    assert recall[[0, 500, 501, 1000, 1001, 2000]].tolist() == [1, 1, 1, 1, 0.5, 0.5]
    assert fpr[[0, 1, 500, 501, 2000]].tolist() == [1, 0.5, 0.5, 0, 0]


@given(trials)
def test_a_histogram_holds_every_edit(of):
    """Also those that score 1."""
    edits = tally_of(of)

    edges, bad, good = curves.histogram(edits)

    assert len(edges) == len(bad) + 1
    assert (int(bad.sum()), int(good.sum())) == (edits.positives, edits.negatives)
