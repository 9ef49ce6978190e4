"""
``python -m bench.long_texts``: how long does one edit with a text of 4 MB take?

Prints, per text and step, the seconds by wall clock that the step takes beyond those for an edit
of three words, run just before: the median of several runs and, in brackets, that of the whole
program with its start. With CBNG_CORE=DIR the native programs run too, once, whole, and are
stopped after a minute: the time of some texts grows with the square of their length there.
On two processors with nothing else to do it takes three to seven minutes.

Exit status: 0 done; 1 a program failed; 130 Ctrl-C.
"""

import argparse
import os
import random
import statistics
import string
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from xml.sax.saxutils import escape

from bench.edits import write_edits
from bench.engine import (
    OWN_CONFIGURATION,
    STEPS,
    engine,
    environment,
    heading,
    native_core,
    working_directory,
)
from bench.processes import cost_of, exit_status

SIZE = 1 << 22  # bytes of each text, or a few less where it is one repeated
TRAINED_ON = 100  # edits, for the databases and the network that the steps read
NATIVE_SECONDS = 60

CHAINS = {step.name: step for step in STEPS if step.command[0] == "cluebotng"}


def _words(letters: str, shortest: int, longest: int, between: str = " ") -> Callable[[], str]:
    """Random words of these letters, of ASCII."""

    def text() -> str:
        some = random.Random(1)
        most = SIZE // (shortest + len(between)) + 1
        lengths = (some.randint(shortest, longest) for _ in range(most))
        return between.join("".join(some.choices(letters, k=length)) for length in lengths)[:SIZE]

    return text


def _repeated(text: str) -> Callable[[], str]:
    return lambda: text * (SIZE // len(text.encode()))


def _random(characters: str) -> Callable[[], str]:
    return lambda: "".join(random.Random(1).choices(characters, k=SIZE))


def _prose() -> str:
    """Sentences of a vocabulary of 20,000 words, twelve on a line."""
    some = random.Random(1)
    words = [
        "".join(some.choices(string.ascii_lowercase, k=some.randint(2, 9))) for _ in range(20_000)
    ]
    return "\n".join(" ".join(some.choices(words, k=12)) for _ in range(SIZE // 36))[:SIZE]


TEXTS: Mapping[str, Callable[[], str]] = {
    "one word": _repeated("a"),
    "blanks": _repeated(" "),
    "line ends": _repeated("\n"),
    "capitals": _repeated("A"),
    "digits": _repeated("0123456789"),
    "beyond ASCII": _repeated("\u00e9"),
    "opening brackets": _repeated("["),
    "templates begun": _repeated("{{"),
    "less-than signs": _repeated("<"),
    "colons": _repeated(":"),
    "apostrophes": _repeated("'"),
    "quote marks": _repeated('"'),
    "addresses begun": _repeated("http://"),
    "links": _repeated("[[abc|def]] "),
    "two words": _repeated("a b "),
    "initials": _repeated("i. "),
    "words of one letter": _repeated("a."),
    "prose": _prose,
    "distinct words": _words("0123456789abcdef", 6, 6),
    "words of a line each": _words(string.ascii_lowercase, 6, 6, "\n"),
    "short words": _words(string.ascii_lowercase, 1, 3),
    "short lines of words": _words(f"{string.ascii_lowercase}ABCDE'-.,\n", 1, 9),
    "markup": _random("[]{}<>|=' \n*#:-\"aA1.!/"),
    "printable": _random(string.printable[:96] + "\n"),
}


def main() -> int:
    """Measure and print; see the module."""
    options = _options()
    core = os.environ.get("CBNG_CORE")  # noqa: TID251 - a benchmark is its own composition root
    print(heading(options.conf, options.runs, core))
    print(f"\n{'text':<22}{'where':<8}" + "".join(f"{name:>18}" for name in CHAINS))
    return exit_status(lambda: _measure_all(options, core))


def _measure_all(options: argparse.Namespace, core: str | None) -> None:
    with tempfile.TemporaryDirectory() as directory:
        where = _trained(Path(directory).resolve(), options.conf)
        for name in options.texts:
            print(_line(name, "engine", _engine_seconds(where, name, options.runs)), flush=True)
            if core:
                print(_line(name, "native", _native_seconds(where, name, core)), flush=True)
    load = f"load at the end {os.getloadavg()[0]:.1f}"
    print(f"\nseconds beyond a short edit's (with the program's start); {load}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.long_texts",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("texts", nargs="*", default=list(TEXTS), metavar="TEXT", help="which ones (all)")
    add("--runs", type=int, default=3, help="runs of each step; the median is printed")
    add("--conf", type=Path, default=OWN_CONFIGURATION, help="configuration (the engine's own)")
    options = parser.parse_args()
    if unknown := [name for name in options.texts if name not in TEXTS]:
        parser.error(f"there is no text {unknown[0]!r}; there are {', '.join(TEXTS)}")
    return options


def _trained(directory: Path, conf: Path) -> Path:
    """Make a directory with databases and a network, as the steps want it."""
    edits = directory / "edits-of-training.xml"
    write_edits(edits, TRAINED_ON)
    where = working_directory(directory / "work", edits, TRAINED_ON, conf)
    for step in STEPS:
        step.prepare(where)
        cost_of(engine(step.command), where, environment())
    (where / "edits.xml").unlink()
    return where


def _write_edit(where: Path, text: str) -> None:
    (where / "edits.xml").write_text(
        "<WPEditSet><WPEdit><EditID>1</EditID><isVandalism>true</isVandalism>"
        f"<current><text>{escape(text)}</text></current>"
        "<previous><text>one two</text></previous></WPEdit></WPEditSet>\n"
    )


def _engine_seconds(where: Path, name: str, runs: int) -> list[str]:
    text, seconds = TEXTS[name](), []
    for step in CHAINS.values():
        wall: dict[str, list[float]] = {"short": [], "long": []}
        for _ in range(runs):
            for kind, each in (("short", "one two three"), ("long", text)):
                _write_edit(where, each)
                wall[kind].append(cost_of(engine(step.command), where, environment()).wall)
        beyond = [long - short for short, long in zip(*wall.values(), strict=True)]
        seconds.append(f"{statistics.median(beyond):.2f} ({statistics.median(wall['long']):.2f})")
    return seconds


def _native_seconds(where: Path, name: str, core: str) -> list[str]:
    _write_edit(where, TEXTS[name]())
    command = ("timeout", str(NATIVE_SECONDS))
    seconds = []
    for step in CHAINS.values():
        try:
            run = [*command, *native_core(core)(step.command)]
            seconds.append(f"({cost_of(run, where, environment()).wall:.2f})")
        except subprocess.CalledProcessError as error:
            seconds.append(f"> {NATIVE_SECONDS}" if error.returncode == 124 else "failed")
    return seconds


def _line(name: str, place: str, seconds: list[str]) -> str:
    return f"{name:<22}{place:<8}" + "".join(f"{each:>18}" for each in seconds)


if __name__ == "__main__":
    sys.exit(main())
