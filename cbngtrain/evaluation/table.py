"""Figures as plain text: a table for terminals, logs and Markdown."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Json = Mapping[str, Any]


def percent(figure: Json, digits: int = 2) -> str:
    """Return a figure as JSON has it, a share, as ``91.25 % (88.10 to 93.40)``."""
    if figure["value"] is None:
        return "-"
    text = f"{100 * figure['value']:.{digits}f} %"
    if figure.get("low") is None:
        return text
    return f"{text} ({100 * figure['low']:.{digits}f} to {100 * figure['high']:.{digits}f})"


def points(figure: Json, digits: int = 2) -> str:
    """Return a difference of shares in points, as ``+3.10 (+1.20 to +5.00)``."""
    if figure["value"] is None:
        return "-"
    value, low, high = (f"{100 * figure[end]:+.{digits}f}" for end in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def number(figure: Json, digits: int = 4) -> str:
    """Return a figure as JSON has it, such as an area, as ``0.9911 (0.9860 to 0.9950)``."""
    if figure["value"] is None:
        return "-"
    text = f"{figure['value']:.{digits}f}"
    if figure.get("low") is None:
        return text
    return f"{text} ({figure['low']:.{digits}f} to {figure['high']:.{digits}f})"


def threshold(value: float | None) -> str:
    """Return a threshold; a dash for that which catches nothing."""
    return "-" if value is None else f"{value:g}"


def rate(value: float) -> str:
    """Return a rate that was chosen, such as ``0.1 %``."""
    return f"{100 * value:g} %"


def columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield *rows*, all of one length, as lines with their columns below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def title(result: Json) -> str:
    """Return edit set and instance, else network, as far as they are known, or ``trial``."""
    return " · ".join(filter(None, (result["edit_set"], identity(result)))) or "trial"


def identity(result: Json) -> str:
    """Return the instance, else the network by the beginning of its sha256, else nothing."""
    return result["instance"] or named("network", result["network"])


def named(name: str, network: str) -> str:
    """Return *name* and the first 12 digits of *network*, a sha256; nothing without one."""
    return f"{name} {network[:12]}" if network else ""


def counted(counts: Json) -> str:
    """Return ``4,000 edits: 2,000 vandalism, 2,000 constructive``."""
    return (
        f"{counts['edits']:,} edits: {counts['vandalism']:,} vandalism, "
        f"{counts['constructive']:,} constructive"
    )


def metrics_table(result: Json) -> str:
    """Return what ``metrics.json`` tells as a table; intervals are in brackets."""
    share = rate(result["settings"]["share"])
    lines = [
        f"{title(result)}: {counted(result['counts'])}",
        f"trained on: {_overlap(result['overlap'])}",
        "",
        *columns(_ranking_rows(result)),
        "",
        *columns([_POINT_HEAD, *_point_rows(result)]),
        "",
        f"precision: where {share} of the edits are vandalism",
        *columns(_look_rows(result, share)),
    ]
    lines += [f"warning: {warning}" for warning in result["warnings"]]
    return "\n".join(lines) + "\n"


def _overlap(overlap: Json) -> str:
    edits = overlap["edits"]
    return overlap["reason"] if edits is None else f"{edits:,} of the trial's edits"


def _ranking_rows(result: Json) -> list[tuple[str, str]]:
    area = result["partial_auc"]
    return [
        ("ROC AUC", number(result["roc_auc"])),
        (f"partial AUC to {rate(area['max_fpr'])}", number(area["standardised"])),
        ("average precision", number(result["average_precision"])),
        ("Brier score", number(result["brier"])),
    ]


_POINT_HEAD = ("at", "threshold", "vandalism caught", "false positives", "precision")


def _point_rows(result: Json) -> Iterator[tuple[str, ...]]:
    for point in result["at_rates"]:
        yield _point_row(rate(point["rate"]), point)
    yield _point_row("live", result["at_live_threshold"])


def _point_row(name: str, point: Json) -> tuple[str, ...]:
    return (
        name,
        threshold(point["threshold"]),
        percent(point["recall"]),
        percent(point["false_positive_rate"]),
        percent(point["precision_at_share"]),
    )


def _look_rows(result: Json, share: str) -> list[tuple[str, str]]:
    return [
        (
            f"edits to look at for {rate(row['recall'])} of the vandalism, at {share}:",
            percent(row["at_share"]),
        )
        for row in result["to_look_at"]
    ]


def spread_told(spread: Json) -> str:
    """Return in a sentence what a spread is of."""
    seeds = ", ".join(map(str, spread["seeds"]))
    if spread["reason"]:
        return f"Networks of other seeds ({seeds}) tell nothing: {spread['reason']}."
    return (
        f"{len(spread['seeds'])} networks, trained on the same edits from the seeds {seeds} and "
        "tried on the same edits: what chance alone does."
    )


def spread_rows(spread: Json) -> Iterator[tuple[str, ...]]:
    """Yield the rows of a spread's table."""
    yield ("", "this network", "mean over seeds", "lowest", "highest", "below this network")
    of = len(spread["seeds"])
    for name, row in spread["measures"].items():
        figures = (f"{row[key]:.5f}" for key in ("this", "mean", "low", "high"))
        yield (MEASURES.get(name, name), *figures, f"{row['below']} of {of}")


MEASURES = {
    "roc_auc": "ROC AUC",
    "partial_auc": "area under the ROC curve to 1 %, raw",
    "average_precision": "average precision",
    "brier": "Brier score (less is better)",
}
"""What is measured without a threshold, for people."""
