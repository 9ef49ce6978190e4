"""
Writes the tables of the reference that follow from the code, between their markers.

    python docs/reference/generate.py

``tests/test_docs.py`` fails where a page is not what this would write.
"""

import argparse
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

from cbngtrain import cli, errors  # noqa: E402 - found by the line above
from cbngtrain.canonical import CHECKS, FORMS  # noqa: E402
from cbngtrain.recipes import RECIPES, SPREAD  # noqa: E402
from cbngtrain.settings import VARIABLES  # noqa: E402
from cbngtrain.step import Leaf  # noqa: E402

METHODS = ("get", "head", "put", "post", "delete")


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a Markdown table; an empty cell has one space."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cells).replace("|  |", "| |") + " |" for cells in lines)


def settings() -> str:
    """Every setting, its default and its meaning."""
    rows = [
        (f"`{each.name}`", f"`{each.default}`" if each.default else "", each.doc)
        for each in VARIABLES.values()
    ]
    return table(("variable", "default", "meaning"), rows)


# Command line ----------------------------------------------------------------------------------


def commands() -> str:
    """Every command with its arguments."""
    (found,) = (a for a in cli._parser()._actions if isinstance(a, argparse._SubParsersAction))  # noqa: SLF001 - argparse shows them in no other way
    told = {each.dest: each.help or "" for each in found._choices_actions}  # noqa: SLF001
    return "\n\n".join(_command(name, told[name], parser) for name, parser in found.choices.items())


def _command(name: str, told: str, parser: argparse.ArgumentParser) -> str:
    """A section: the command's usage, what it does, its arguments."""
    actions = [each for each in parser._actions if each.dest != "help"]  # noqa: SLF001
    usage = " ".join(["cbng-trainer", name, *(_usage(each) for each in actions)])
    text = f"### {name}\n\n`{usage}`\n\n{told[:1].upper()}{told[1:]}" + "." * (told[-1:] != "?")
    if parser.description:
        text += f" {parser.description}"
    if not actions:
        return text
    rows = [(f"`{_called(each)}`", _help(each, parser)) for each in actions]
    return f"{text}\n\n{table(('argument', 'meaning'), rows)}"


def _called(action: argparse.Action) -> str:
    """An argument as it is typed, in all its spellings."""
    value = _value(action)
    spelt = ", ".join(action.option_strings)
    return f"{spelt} {value}".strip() if spelt else value


def _usage(action: argparse.Action) -> str:
    """An argument as it stands in the usage."""
    if not action.option_strings:
        return f"[{_value(action)}]" if action.nargs == "?" else _value(action)
    word = f"{action.option_strings[-1]} {_value(action)}".strip()
    repeats = "…" if isinstance(action, argparse._AppendAction) else ""  # noqa: SLF001
    return f"{word}{repeats}" if action.required else f"[{word}]{repeats}"


def _value(action: argparse.Action) -> str:
    """What stands for an argument's value; nothing for a switch."""
    if action.nargs == 0:
        return ""
    choices = ",".join(map(str, action.choices or ()))
    return str(action.metavar or (f"{{{choices}}}" if choices else action.dest.upper()))


def _help(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    """What an argument means, with its default."""
    default = str(action.default).replace(str(ROOT) + "/", "").replace(str(Path.home()), "~")
    told = (action.help or "") % {**vars(action), "default": default, "prog": parser.prog}
    return told.replace("|", "\\|")


# Exit codes ------------------------------------------------------------------------------------


def statuses() -> str:
    """Every error with the exit status that tells it."""
    base = errors.TrainerError
    found = [
        each for _, each in inspect.getmembers(errors, inspect.isclass) if base in each.__mro__
    ]
    rows = [
        (str(each.status), f"`{each.__name__}`", _first_line(each))
        for each in sorted(found, key=lambda each: (each.status, each.__name__))
        if each is not base
    ]
    return table(("exit status", "error", "meaning"), rows)


# HTTP API --------------------------------------------------------------------------------------


def requests() -> str:
    """Every request that the file service answers."""
    paths = yaml.safe_load((ROOT / "web" / "openapi.yaml").read_text(encoding="utf-8"))["paths"]
    rows = list(_requests(paths))
    return table(("request", "token", "does", "answers"), rows)


def _requests(paths: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for path, item in paths.items():
        for method in METHODS:
            if method in item and not (method == "head" and item["head"] == item.get("get")):
                of = item[method]
                named = f"{method.upper()}, HEAD" if _is_headed(item, method) else method.upper()
                token = "needed" if of.get("security") else ""
                answers = ", ".join(sorted(of["responses"]))
                yield f"`{named} {path}`", token, " ".join(of["summary"].split()), answers


def _is_headed(item: Mapping[str, Any], method: str) -> bool:
    return method == "get" and "head" in item and item["head"] == item["get"]


# File formats ----------------------------------------------------------------------------------


def artifacts() -> str:
    """Every artifact of an edit set: who makes it, its canonical form, its check."""
    rows = [
        (f"`{leaf.artifact}`", f"`{recipe.name}`", f"`{leaf.form}`", f"`{leaf.check}`")
        for recipe in (*RECIPES, SPREAD)
        for leaf in recipe.leaves
        if not _is_plot(leaf)
    ]
    return table(("artifact", "made by", "form", "check"), rows)


def _is_plot(leaf: Leaf) -> bool:
    return leaf.check in {"png", "svg"}


def forms() -> str:
    """Every canonical form."""
    return table(("form", "is"), _told(FORMS))


def checks() -> str:
    """Every check."""
    return table(("check", "passes"), _told(CHECKS))


def _told(functions: Mapping[str, Callable[..., Any]]) -> list[tuple[str, ...]]:
    """A row per function: its name, and the first line of what it says of itself."""
    return [(f"`{name}`", _first_line(each)) for name, each in functions.items()]


def _first_line(of: object) -> str:
    """The first line of what a function or class says of itself."""
    return (inspect.getdoc(of) or "").splitlines()[0].replace("``", "`")


# Pages -----------------------------------------------------------------------------------------

TABLES: Mapping[str, Callable[[], str]] = {
    "settings": settings,
    "commands": commands,
    "statuses": statuses,
    "requests": requests,
    "artifacts": artifacts,
    "forms": forms,
    "checks": checks,
}
"""Marker → what stands below it, up to ``<!-- end -->``."""


def written(text: str) -> str:
    """Return a page with what its markers ask for."""
    for name, make in TABLES.items():
        begin, end = f"<!-- generated: {name} -->\n", "<!-- end -->\n"
        if begin in text:
            before, _, rest = text.partition(begin)
            after = rest.partition(end)[2]
            text = f"{before}{begin}\n{make()}\n\n{end}{after}"
    return text


def main() -> None:
    """Write every page of this directory anew."""
    for page in HERE.glob("*.md"):
        page.write_text(written(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
