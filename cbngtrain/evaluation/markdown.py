"""A comparison as a page of Markdown, and as a table for a terminal."""

import re
from collections.abc import Iterator, Sequence

from cbngtrain.evaluation.table import (
    MEASURES,
    Json,
    columns,
    counted,
    number,
    percent,
    points,
    rate,
    spread_rows,
    spread_told,
    threshold,
    title,
)

LONGEST = 20  # edits of a list; comparison.json has all

_ABOUT_TESTS = (
    "Edits that only one network has right, and the mid-p value of McNemar's test. It takes the "
    "thresholds as given; the intervals above do not."
)


def comparison_page(result: Json) -> str:
    """Return what ``comparison.json`` tells as a page of Markdown."""
    pages = ["\n".join(_page(each)) for each in _each(result)]
    if result["spread"]:
        rows = _markdown_table(spread_rows(result["spread"]))
        pages.append("\n".join(["# Over seeds", "", spread_told(result["spread"]), "", *rows]))
    return "\n\n".join(pages) + "\n"


def _each(result: Json) -> Iterator[Json]:
    """Yield each comparison with what all have in common."""
    common = {name: value for name, value in result.items() if name != "comparisons"}
    for comparison in result["comparisons"]:
        yield {**comparison, **common}


def _page(result: Json) -> list[str]:
    names = result["names"]
    lines = [
        f"# {_cell(names['new'])} beside {_cell(names['reference'])}",
        "",
        f"{_cell(title(result))}, {counted(result['counts'])}, scored by both.",
        "",
        f"**{result['answer']['is'].capitalize()}**: {_cell(result['answer']['why'])}.",
        *_section("Without a threshold", _markdown_table(_ranking_rows(result))),
        *_section("At each network's own threshold", _markdown_table(_point_rows(result))),
        *_section("Do they differ by chance?", _markdown_table(_test_rows(result))),
        "",
        _ABOUT_TESTS,
        *_changes(result, "at_rate", f"at {rate(result['answer']['rate'])}"),
        *_changes(result, "at_live_threshold", "at the live threshold"),
    ]
    if result["warnings"]:
        lines += _section("Warnings", [f"- {_cell(each)}" for each in result["warnings"]])
    return lines


def comparison_table(result: Json) -> str:
    """Return what ``comparison.json`` tells as a table for a terminal."""
    tables = ["\n".join(_table(each)) for each in _each(result)]
    if result["spread"]:
        rows = columns(list(spread_rows(result["spread"])))
        tables.append("\n".join([spread_told(result["spread"]), "", *rows]))
    return "\n\n".join(tables) + "\n"


def _table(result: Json) -> list[str]:
    names = result["names"]
    short = {**result, "names": {"new": "A", "reference": "B"}}  # names would make columns wide
    lines = [
        f"{title(result)}: {counted(result['counts'])}, scored by both",
        f"A is {names['new']}",
        f"B is {names['reference']}, the reference",
        "",
        *columns(list(_ranking_rows(short))),
        "",
        *columns(list(_point_rows(short))),
        "",
        *columns(list(_test_rows(short))),
        "",
        f"{result['answer']['is']}: {result['answer']['why']}",
    ]
    return lines + [f"warning: {warning}" for warning in result["warnings"]]


def _section(heading: str, lines: Sequence[str]) -> list[str]:
    return ["", f"## {heading}", "", *lines]


def _ranking_rows(result: Json) -> Iterator[tuple[str, ...]]:
    yield ("", result["names"]["new"], result["names"]["reference"], "difference")
    for name, told in MEASURES.items():
        row = result["rankings"][name]
        figures = (number(row[side], 5) for side in ("new", "reference", "difference"))
        yield (told, *figures)


def _at(result: Json) -> Iterator[tuple[str, Json]]:
    for row in result["at_rates"]:
        yield rate(row["rate"]), row
    yield f"live, {result['settings']['live_threshold']:g}", result["at_live_threshold"]


def _point_rows(result: Json) -> Iterator[tuple[str, ...]]:
    new, reference = result["names"]["new"], result["names"]["reference"]
    thresholds = f"{new}: threshold", f"{reference}: threshold"
    yield ("at", *thresholds, f"{new}: caught", f"{reference}: caught", "difference, points")
    for name, row in _at(result):
        sides = row["new"], row["reference"]
        caught = (percent(side["recall"]) for side in sides)
        chosen = (threshold(side["threshold"]) for side in sides)
        yield (name, *chosen, *caught, points(row["difference"]))


def _test_rows(result: Json) -> Iterator[tuple[str, ...]]:
    new, reference = result["names"]["new"], result["names"]["reference"]
    yield ("at", "edits", f"only {new} right", f"only {reference} right", "p")
    for name, row in _at(result):
        for kind, test in row["mcnemar"].items():
            only = str(test["only_new"]), str(test["only_reference"])
            yield (name, kind, *only, f"{test['p_mid']:.3g}")


def _changes(result: Json, key: str, told: str) -> Iterator[str]:
    changes = result["changes"][key]
    for kind, heading in (("newly_wrong", "Newly wrong"), ("newly_right", "Newly right")):
        edits = changes[kind]
        if edits:
            yield from _section(f"{heading} {told}: {len(edits)}", _edit_table(edits))
        if len(edits) > LONGEST:
            yield from ("", f"The {LONGEST} whose score changed most; comparison.json has all.")


def _edit_table(edits: Sequence[Json]) -> list[str]:
    lines = ["| edit | is | reference | new |", "| --- | --- | --- | --- |"]
    for edit in edits[:LONGEST]:
        link = f"[{_cell(edit['edit'])}]({edit['url']})"
        kind = "vandalism" if edit["vandalism"] else "constructive"
        lines.append(f"| {link} | {kind} | {edit['reference']:g} | {edit['new']:g} |")
    return lines


def _markdown_table(rows: Iterator[tuple[str, ...]]) -> list[str]:
    head, *body = rows
    cells = [head, ("---",) * len(head), *body]
    safe = [row if i == 1 else tuple(_cell(cell) for cell in row) for i, row in enumerate(cells)]
    return [f"| {' | '.join(row)} |" for row in safe]


def _cell(text: str) -> str:
    """Return *text* on one line, with nothing in it that Markdown takes for its own."""
    return re.sub(r"([\\`*\[\]<|])", r"\\\1", " ".join(text.split()))
