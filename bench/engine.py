"""
``python -m bench.engine``: how fast is the engine, step by step, and beside the native core?

Makes edit sets of 400, 2000 and 8000 edits of 20 KB XML each and runs every step through the
command line. With CBNG_CORE=DIR the native programs run every step too, each in turn with ours
and on the outputs of their own steps before. Prints the median of several runs with the lowest
and the highest. On two processors with nothing else to do all of it takes about five minutes.

Exit status: 0 done; 1 a program failed; 130 Ctrl-C.
"""

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench.edits import write_edits
from bench.processes import Cost, cost_of, exit_status

ROOT = Path(__file__).parents[1]
OWN_CONFIGURATION = ROOT / "cbngtrain" / "engine" / "conf"

EPOCHS = 150  # as the trainer asks for
DESIRED_ERROR = 0  # so that all epochs are run
HARD_ROWS = "data/hard_ann_train.dat"  # rows that take all epochs


@dataclass(frozen=True, slots=True)
class Step:
    """
    One step of training.

    Attributes:
        name: What it is called in the table.
        command: Program and arguments.
        unit: What it does many of.
        amount: How many of them, from the working directory and what the program printed.
        native: Units a second of the native core, 8000 edits, 2 cores (issue 3).
        goal: How many times as fast we are to be.
        prepare: What is done in the working directory before the runs, not measured.
    """

    name: str
    command: tuple[str, ...]
    unit: str
    amount: Callable[[Path, str], int]
    native: float
    goal: float
    prepare: Callable[[Path], None] = lambda _where: None


def _edits(where: Path, _output: str) -> int:
    return int((where / "number").read_text())


def _lines(name: str) -> Callable[[Path, str], int]:
    return lambda where, _output: (where / "data" / name).read_bytes().count(b"\n")


def _trained_rows(where: Path, output: str) -> int:
    """Return rows times epochs, as printed."""
    with (where / HARD_ROWS).open("rb") as file:
        rows = int(file.readline().split()[0])
    return rows * len(re.findall(r"^Epochs", output, re.MULTILINE))


def _harden(where: Path) -> None:
    """Write rows of which one in seven is labelled wrong: no network learns them too soon."""
    lines = (where / "data" / "main_ann_train.dat").read_text().splitlines(keepends=True)
    for i in range(2, len(lines), 14):
        lines[i] = f"{1 - float(lines[i]):.10f}\n"
    (where / HARD_ROWS).write_text("".join(lines))


def _cluebotng(chain: str) -> tuple[str, ...]:
    return ("cluebotng", "-c", "conf", "-m", chain, "-f", "edits.xml")


def _database(name: str, words: str) -> tuple[str, ...]:
    return ("create_bayes_db", f"data/{name}", f"data/{words}")


STEPS = (
    Step("bayes_train", _cluebotng("bayes_train"), "edits", _edits, 271, 3),
    Step(
        "create_bayes_db (words)",
        _database("bayes.db", "main_bayes_train.dat"),
        "lines",
        _lines("main_bayes_train.dat"),
        800_000,  # the upper end of what was observed, 500 to 800 thousand
        3,
    ),
    Step(
        "create_bayes_db (pairs)",
        _database("two_bayes.db", "two_bayes_train.dat"),
        "lines",
        _lines("two_bayes_train.dat"),
        800_000,
        3,
    ),
    Step("ann_train", _cluebotng("ann_train"), "edits", _edits, 178, 3),
    Step(
        "create_ann",
        (
            *("create_ann", "data/main_ann.fann", HARD_ROWS),
            *map(str, (EPOCHS, DESIRED_ERROR, 100)),
        ),
        "rows",
        _trained_rows,
        58_000,
        10,
        _harden,
    ),
    Step("trial_run", _cluebotng("trial_run"), "edits", _edits, 150, 3),
)


@dataclass(frozen=True, slots=True)
class Row:
    """A step's figures in one place, over all runs."""

    edits: int
    step: str
    place: str  # "engine" or "native"
    unit: str
    amount: int
    wall: tuple[float, ...]  # seconds
    cpu: tuple[float, ...]  # seconds
    memory: float  # MB

    @property
    def rates(self) -> list[float]:
        """Units a second, by wall clock, of each run, ascending."""
        return sorted(self.amount / wall for wall in self.wall)


def main() -> int:
    """Measure and print; see the module."""
    options = _options()
    native = os.environ.get("CBNG_CORE")  # noqa: TID251 - a benchmark is its own composition root
    print(heading(options.conf, options.runs, native))
    return exit_status(lambda: _measure_all(options, native))


def _measure_all(options: argparse.Namespace, native: str | None) -> None:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        for number in options.edits:
            rows += _measured(number, Path(directory).resolve(), options, native)
    print(_notes(native))
    if options.json:
        options.json.write_text(json.dumps([_plain(row) for row in rows], indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.engine",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--edits", type=int, nargs="+", default=[400, 2000, 8000], help="sizes of the sets")
    add("--runs", type=int, default=3, help="runs of each step; the median is printed")
    add("--conf", type=Path, default=OWN_CONFIGURATION, help="configuration (the engine's own)")
    add("--json", type=Path, help="write all figures to this file too")
    add("--directory", type=Path, help="where to work (the system's temporary directory)")
    return parser.parse_args()


def _measured(
    number: int, directory: Path, options: argparse.Namespace, native: str | None
) -> Iterator[Row]:
    """Run all steps on *number* edits, in each place in turn, and print and yield their rows."""
    edits = directory / f"{number}.xml"
    write_edits(edits, number)
    places = {"engine": engine} | ({"native": native_core(native)} if native else {})
    where = {
        place: working_directory(directory / f"{number}-{place}", edits, number, options.conf)
        for place in places
    }
    print(f"\n{number} edits, {edits.stat().st_size / number / 1000:.1f} KB of XML each")
    print(HEAD)
    for step in STEPS:
        for directory_of_place in where.values():
            step.prepare(directory_of_place)
        costs: dict[str, list[Cost]] = {place: [] for place in places}
        for _ in range(options.runs):
            for place, command in places.items():
                costs[place].append(cost_of(command(step.command), where[place], environment()))
        rows = {place: _row(number, step, place, where[place], costs[place]) for place in places}
        for row in rows.values():
            print(_line(row, step, rows.get("native")), flush=True)
            yield row
    for path in (*where.values(), edits):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def environment() -> Mapping[str, str]:
    """Return what the programs run with."""
    return os.environ  # noqa: TID251 - the programs run as the reader's shell would run them


def engine(command: Sequence[str]) -> list[str]:
    """Return how to run a command of the core with the engine."""
    return [sys.executable, "-m", "cbngtrain.engine", *command]


def native_core(core: str) -> Callable[[Sequence[str]], list[str]]:
    """Return the same for the programs in a directory."""
    return lambda command: [str(Path(core, command[0]).resolve()), *command[1:]]


def working_directory(path: Path, edits: Path, number: int, conf: Path) -> Path:
    """Make a directory as the core wants it."""
    for name in ("data", "trialreport"):
        (path / name).mkdir(parents=True)
    (path / "edits.xml").symlink_to(edits)
    (path / "number").write_text(str(number))
    shutil.copytree(conf, path / "conf")
    return path


def _row(number: int, step: Step, place: str, where: Path, costs: Sequence[Cost]) -> Row:
    amount = step.amount(where, costs[-1].output)
    wall, cpu, memory, _ = zip(*costs, strict=True)
    return Row(number, step.name, place, step.unit, amount, wall, cpu, max(memory))


HEAD = (
    f"{'step':<24}{'where':<8}{'wall s':>8}{'cpu s':>8}{'peak MB':>9}{'a second':>12} {'':<6}"
    f"{'lowest':>11}{'highest':>11}{'a cpu s':>11}{'ratio':>8}{'goal':>6}"
)


def _line(row: Row, step: Step, beside: Row | None) -> str:
    """Return a line of the table; the ratio is to the native core beside us, or issue 3's."""
    rate = statistics.median(row.rates)
    native = statistics.median(beside.rates) if beside else step.native
    return (
        f"{row.step:<24}{row.place:<8}{statistics.median(row.wall):>8.2f}"
        f"{statistics.median(row.cpu):>8.2f}{row.memory:>9.0f}"
        f"{rate:>12,.0f} {row.unit:<6}{row.rates[0]:>11,.0f}{row.rates[-1]:>11,.0f}"
        f"{row.amount / min(row.cpu):>11,.0f}{rate / native:>8.1f}{step.goal:>6.0f}"
    )


def heading(conf: Path, runs: int, native: str | None) -> str:
    """Return what the figures depend on."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    processor = model[1] if model else platform.machine()
    slowed = [name for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE") if name in environment()]
    libraries = ", ".join(f"{name} {version(name)}" for name in ("numpy", "berkeleydb"))
    return "\n".join(
        (
            f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {platform.platform()}",
            f"{processor}, {len(os.sched_getaffinity(0))} processors",
            f"load at the start {os.getloadavg()[0]:.1f} (above 0.5 the rates say little)",
            f"Python {platform.python_version()}, {libraries}",
            f"configuration {conf}; {runs} runs of each step",
            f"native core: {native or 'not run (CBNG_CORE names its directory)'}",
            *(f"note: {name} is set, which may slow numpy down" for name in slowed),
        )
    )


def _notes(native: str | None) -> str:
    """Return how the columns are to be read."""
    against = (
        "the native core's median in the same runs"
        if native
        else "the native core's figures in issue 3 (8000 edits, 2 cores; create_bayes_db 800,000)"
    )
    return (
        "\nwall, cpu: medians; cpu is user and system time of all processes."
        "\npeak MB: highest sum of PSS (shared pages counted once) over all processes, any run."
        "\na second, lowest, highest: by wall clock, start of the program included; rows are"
        "\nrows times epochs. A cpu s: units a second of processor time, of the run with the least."
        f"\nload at the end: {os.getloadavg()[0]:.1f}"
        f"\nratio: to {against}."
    )


def _plain(row: Row) -> dict[str, object]:
    return {name: getattr(row, name) for name in Row.__slots__} | {
        "rate": statistics.median(row.rates)
    }


if __name__ == "__main__":
    sys.exit(main())
