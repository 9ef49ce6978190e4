"""
Plots, each as SVG and PNG, of one network or of two.

The same input gives the same bytes: no dates, no random names, no settings of the user's. Colours
are those of Okabe & Ito, which colour-blind readers tell apart, and lines differ in their dashes.
Legends are below the plots, where they hide nothing.
"""

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter, StrMethodFormatter

from cbngtrain.evaluation import curves
from cbngtrain.evaluation.curves import Network
from cbngtrain.evaluation.doubts import lacking
from cbngtrain.evaluation.intervals import wilson
from cbngtrain.evaluation.measures import calibration
from cbngtrain.evaluation.options import LIVE_THRESHOLD, RATES

BLUE, VERMILLION, GREY = "#0072B2", "#D55E00", "#767676"

STROKES = ("-", (0, (5, 1.5)))  # of the first network and the second
SPARSE = ((0, (1.5, 1.2)), (0, (5, 1.5, 1, 1.5)))  # of the same, where each has a second line
COLOURS = (BLUE, VERMILLION)

SETTINGS = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.12,  # inches
    "figure.constrained_layout.w_pad": 0.12,
    "figure.dpi": 150,
    "font.size": 10,
    "grid.color": "#dddddd",
    "legend.framealpha": 0.9,
    "lines.linewidth": 1.8,
    "savefig.dpi": 150,
    "svg.fonttype": "none",  # text stays text: to be searched and read aloud
    "svg.hashsalt": "cbngtrain",  # names in an SVG are random otherwise
    "text.parse_math": False,  # an edit set may be called $anything$
}

SIZE = (7.2, 5.4)  # inches
TITLE_WIDTH = 80  # characters of a line
TITLE_LINES = 4  # for each that is told
LEGEND_WIDTH = 84  # characters of a line
LONGEST_NAME = 38  # characters of a network's name

logging.getLogger("matplotlib").setLevel(logging.ERROR)  # nobody asked for its font cache


@dataclass(frozen=True, slots=True)
class Scene:
    """
    What all plots of a trial show.

    Attributes:
        title: Edit set, instance and counts.
        networks: One, or two on the same edits.
        share: The real share of vandalism.
    """

    title: str
    networks: Sequence[Network]
    share: float


def draw(scene: Scene, folder: Path, prefix: str = "") -> None:
    """Write all plots of *scene* to *folder*, each as SVG and PNG; *prefix* begins their names."""
    with style.context(["default", SETTINGS]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a box; the SVG has it
        for name, (heading, plot) in PLOTS.items():
            figure = Figure(figsize=SIZE)
            figure.suptitle(heading, fontweight="bold")
            if reason := lacking(scene.networks[0].edits):
                _explain(figure, scene, reason)
            else:
                plot(figure, scene)
            figure.savefig(folder / f"{prefix}{name}.png", metadata={"Software": None})
            figure.set_layout_engine("none")  # where the PNG has it
            figure.savefig(folder / f"{prefix}{name}.svg", metadata={"Date": None, "Creator": None})


def _explain(figure: Figure, scene: Scene, reason: str) -> None:
    """Instead of a plot, say why there is none."""
    axes = _axes(figure, scene, "", "")
    axes.set_axis_off()
    axes.text(0.5, 0.5, f"Nothing to draw: {reason}.", ha="center", transform=axes.transAxes)


def _axes(figure: Figure, scene: Scene, x: str, y: str) -> Axes:
    axes = figure.add_subplot()
    _title(axes, scene.title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return axes


def _title(axes: Axes, text: str) -> None:
    """Write *text* above *axes*; lines too long for the figure are wrapped, then cut."""
    lines = [
        part
        for line in text.splitlines()
        for part in wrap(line, TITLE_WIDTH, max_lines=TITLE_LINES, placeholder=" …")
    ]
    axes.set_title("\n".join(lines), fontsize="small", color="#333333")


def _name(network: Network) -> str:
    """Return the network's name for a legend; of a long one its two ends."""
    name, half = network.name, LONGEST_NAME // 2
    if len(name) > LONGEST_NAME:
        name = f"{name[: half - 1]}…{name[-half:]}"
    return f" {name}" if name.startswith("_") else name  # a legend leaves out what begins with _


def _legend(figure: Figure, axes: Axes, heading: str = "") -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=min(max(LEGEND_WIDTH // (max(map(len, labels)) + 6), 1), 3),
        fontsize="small",
        title=heading,
        title_fontsize="small",
    )


# The plots -------------------------------------------------------------------------------------


def _false_positives(figure: Figure, scene: Scene) -> None:
    """As it always was: false positive rates from 0 to 2 %."""
    axes = _axes(figure, scene, "False positive rate", "Portion of vandalism")
    _rocs(axes, scene, least=0)
    axes.set_xlim(0, 0.02)
    axes.set_ylim(0, 1.02)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=2))
    _legend(figure, axes, "Vandalism detection rate")


def _roc(figure: Figure, scene: Scene) -> None:
    """The rates that matter are small: a logarithmic axis."""
    axes = _axes(figure, scene, "False positive rate, % (logarithmic)", "Vandalism caught")
    negatives = scene.networks[0].edits.negatives
    least = min(RATES[-1] / 2, 0.5 / negatives)
    axes.set_xscale("log")
    _rocs(axes, scene, least)
    for number, network in enumerate(scene.networks):
        _marks(axes, network, number)
    unknown = min(3 / negatives, 1)
    axes.axvspan(least, unknown, facecolor="none", edgecolor="#cccccc", hatch="///", zorder=0.5)
    axes.set_xlim(least, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xticks([*RATES, 0.1, 1])
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}"))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    _legend(figure, axes, "Hatched: fewer than 3 false positives expected there")


def _rocs(axes: Axes, scene: Scene, least: float) -> None:
    """Stairs: between two thresholds nothing can be had."""
    for number, network in enumerate(scene.networks):
        fpr, recall = curves.roc(network.edits)
        axes.plot(
            np.maximum(fpr, least),
            recall,
            drawstyle="steps-post",
            color=COLOURS[number],
            linestyle=STROKES[number],
            label=_name(network),
        )


def _marks(axes: Axes, network: Network, number: int) -> None:
    """Recalls at the fixed rates, with their intervals."""
    nudge = 1.0 if number == 0 else 1.06  # so that the second's bars do not hide the first's
    for mark in network.marks:
        errors = [[max(mark.recall - mark.low, 0)], [max(mark.high - mark.recall, 0)]]
        axes.errorbar(
            mark.rate * nudge,
            mark.recall,
            errors,
            fmt="os"[number],
            color=COLOURS[number],
            capsize=3,
        )


def _thresholds(figure: Figure, scene: Scene) -> None:
    """As it always was: both rates at every threshold."""
    axes = _axes(figure, scene, "Score vandalism threshold", "Detection rate")
    for number, network in enumerate(scene.networks):
        at, recall, fpr = curves.by_threshold(network.edits)
        name = f", {_name(network)}" if len(scene.networks) > 1 else ""
        for rates, label, colour in (
            (recall, "vandalism caught", BLUE),
            (fpr, "constructive caught", VERMILLION),
        ):
            axes.plot(at, rates, color=colour, linestyle=STROKES[number], label=label + name)
    axes.axvline(LIVE_THRESHOLD, color=GREY, linestyle=":", label=f"live, {LIVE_THRESHOLD:g}")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    _legend(figure, axes)


def _precision_recall(figure: Figure, scene: Scene) -> None:
    """At the trial's share of vandalism, and at the real one."""
    axes = _axes(
        figure, scene, "Vandalism caught (recall)", "Vandalism among the caught (precision)"
    )
    for number, network in enumerate(scene.networks):
        name = f"{_name(network)}, " if len(scene.networks) > 1 else ""
        for share, stroke, told in (
            (None, STROKES[number], "at the trial's share of vandalism"),
            (scene.share, SPARSE[number], f"at {100 * scene.share:g} % vandalism"),
        ):
            precision, recall = curves.precision_recall(network.edits, share)
            axes.plot(
                recall,
                precision,
                drawstyle="steps-pre",
                color=COLOURS[number],
                linestyle=stroke,
                label=name + told,
            )
    axes.set_xlim(0, 1.01)
    axes.set_ylim(0, 1.02)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    _legend(figure, axes)


def _scores(figure: Figure, scene: Scene) -> None:
    """A row per network; counts are logarithmic, for the few that matter."""
    rows = np.atleast_1d(figure.subplots(len(scene.networks), sharex=True, sharey=True))
    for axes, network in zip(rows, scene.networks, strict=True):
        edges, bad, good = curves.histogram(network.edits)
        axes.stairs(good, edges, fill=True, color=BLUE, alpha=0.35)
        axes.stairs(good, edges, color=BLUE, label="constructive")
        axes.stairs(bad, edges, color=VERMILLION, linewidth=2, label="vandalism")
        axes.axvline(LIVE_THRESHOLD, color=GREY, linestyle=":", label=f"live, {LIVE_THRESHOLD:g}")
        axes.set_yscale("log")
        axes.set_ylim(bottom=0.7)
        axes.set_ylabel("Edits (logarithmic)")
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        heading = [scene.title] if axes is rows[0] else []
        _title(axes, "\n".join([*heading, *([_name(network)] if len(rows) > 1 else [])]))
    rows[-1].set_xlim(0, 1)
    rows[-1].set_xlabel("Score")
    _legend(figure, rows[0])


def _calibration(figure: Figure, scene: Scene) -> None:
    """Bars are 95 % intervals; what has a bar off the diagonal is not a probability."""
    axes = _axes(figure, scene, "Mean score of a bin", "Vandalism in the bin")
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1, label="a perfect probability")
    for number, network in enumerate(scene.networks):
        bins = [each for each in calibration(network.edits) if each.mean_score is not None]
        shares = np.array([each.vandalism / each.edits for each in bins])
        ends = np.array([wilson(each.vandalism, each.edits) for each in bins])  # (n_bins, 2)
        axes.errorbar(
            [each.mean_score or 0.0 for each in bins],
            shares,
            np.maximum([shares - ends[:, 0], ends[:, 1] - shares], 0),
            fmt="os"[number],
            linestyle=STROKES[number],
            color=COLOURS[number],
            capsize=3,
            label=f"{_name(network)}, at the trial's share of vandalism",
        )
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    _legend(figure, axes)


PLOTS: dict[str, tuple[str, Callable[[Figure, Scene], None]]] = {
    "falsepositives": ("Vandalism detection rate by false positives", _false_positives),
    "thresholds": ("Detection rates by threshold", _thresholds),
    "roc": ("What is caught at which false positive rate", _roc),
    "precision-recall": ("Precision and recall", _precision_recall),
    "scores": ("Scores by class", _scores),
    "calibration": ("Is a score a probability?", _calibration),
}
"""File name → its heading, and the function that draws it."""
