"""``cluebotng``: edits from a file through a chain of processors, into the chain's outputs."""

import argparse
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from cbngtrain.engine import workers
from cbngtrain.engine.chain import links_of, needed
from cbngtrain.engine.chunks import Chunk
from cbngtrain.engine.configuration import load
from cbngtrain.engine.edits import Edit, EditSet, edit_set
from cbngtrain.engine.errors import EngineError, FormatError
from cbngtrain.engine.output import whole_file
from cbngtrain.engine.progress import progress
from cbngtrain.engine.table import EVERYTHING, Column, Link, Output, Step, Table

TEXTS = {"current_text": "current", "previous_text": "previous"}
"""What an edit cannot do without, and its name for people."""

CHUNK = 1 << 20  # bytes of the file that are processed together, some 50 edits
MIN_CHUNK = 1 << 17  # of small files, so that every process has some
PARTS = 4  # chunks for each process, at least, where the file is large enough
MOST = 256  # edits in a table, which has a cell for what an edit has not


def main(args: Sequence[str], env: Mapping[str, str]) -> int:
    """
    Run the edits of a file through a chain: ``-c CONFDIR -m CHAIN -f EDITS``.

    Raises:
        EngineError: What was given cannot be used; no output is left.
    """
    del env  # nothing of it matters here
    seen = _run(_options(args))
    print(f"Processed {seen.edits} edits.")
    if seen.skipped:
        print(f"Left out {seen.skipped} edits: {seen.reason}.", file=sys.stderr)
    return 0


def _options(args: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="cluebotng", description="Run edits through a chain.")
    parser.add_argument("-c", metavar="CONFDIR", type=Path, default=Path("conf"), dest="directory")
    parser.add_argument("-m", metavar="CHAIN", default="default", dest="chain")
    parser.add_argument("-f", metavar="EDITS", type=Path, required=True, dest="edits")
    return parser.parse_args(args)


@dataclass(slots=True)
class _Seen:
    """How many edits there were, how many were left out, and why."""

    reason: str
    edits: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class _Part:
    """
    What became of a chunk.

    Attributes:
        edits: How many were processed.
        skipped: How many were left out.
        rendered: What each output renders, of one run of edits after another.
    """

    edits: int
    skipped: int
    rendered: list[list[Any]]


@dataclass(frozen=True, slots=True)
class _Work:
    """
    What is done with a chunk, in a process of its own.

    Attributes:
        links: The steps and outputs of the chain that matter.
        wanted: The properties that they read; `EVERYTHING`: all.
        required: An edit without all of these is left out.
    """

    edits: EditSet
    links: Sequence[Link]
    wanted: frozenset[str]
    required: Sequence[str]

    def __call__(self, chunk: Chunk) -> "_Part | Chunk":
        """The chunk's part of the outputs; where its end is none, the chunk that it is."""
        found = self.edits.parse(chunk)
        if found is None:
            return chunk.with_all_that_follows(self.edits.size)
        kept = [e for e in found if all(name in e.properties for name in self.required)]
        tables = (self._table(kept[at : at + MOST]) for at in range(0, len(kept), MOST))
        rendered = [self._rendered(table) for table in tables]
        return _Part(len(kept), len(found) - len(kept), rendered)

    def _table(self, edits: Sequence[Edit]) -> Table:
        for edit in edits:
            for name, kind in TEXTS.items():
                if name in self.wanted and name not in edit.properties:
                    raise FormatError(self.edits.path, edit.place, f"the edit has no {kind} text")
        names = {name for edit in edits for name in edit.properties}
        if EVERYTHING not in self.wanted:
            names &= self.wanted
        columns: dict[str, Column] = {
            name: [edit.properties.get(name) for edit in edits] for name in names
        }
        return Table(self.edits.path, edits, columns)

    def _rendered(self, table: Table) -> list[Any]:
        rendered = []
        for link in self.links:
            if isinstance(link, Step):
                link.run(table)
            else:
                rendered.append(link.rendered(table))
        return rendered


def _run(options: argparse.Namespace) -> _Seen:
    configuration = load(options.directory)
    edits = edit_set(options.edits, configuration)
    links, wanted = needed(links_of(configuration, options.chain))
    key = "file_require_properties"
    required = configuration.texts(key) if key in configuration else ()
    work = _Work(edits, links, wanted, required)
    seen = _Seen(f"they have not all of {', '.join(required)}")
    with ExitStack() as stack:
        writers = _writers([link for link in links if not isinstance(link, Step)], stack)
        for rendered in _processed(work, seen):
            for writer, part in zip(writers, rendered, strict=True):
                writer.write(part)
        if not seen.edits:
            raise FormatError(options.edits, "", _why_none(seen))
        for writer in writers:
            writer.finish()
    return seen


def _why_none(seen: _Seen) -> str:
    if seen.skipped:
        return f"all its {seen.skipped} edits are left out: {seen.reason}"
    return "there are no edits in it"


def _processed(work: _Work, seen: _Seen) -> Iterator[list[Any]]:
    """What the outputs render, in the order of the edit set."""
    processes = len(os.sched_getaffinity(0))
    size = min(CHUNK, max(MIN_CHUNK, work.edits.size // (PARTS * processes)))
    processes = min(processes, math.ceil(work.edits.size / size))  # no more than chunks
    with progress(" edits") as more:
        for part in _parts(work, work.edits.chunks(size), processes):
            seen.edits += part.edits
            seen.skipped += part.skipped
            more(part.edits)
            yield from part.rendered


def _parts(work: _Work, chunks: Iterator[Chunk], processes: int) -> Iterator[_Part]:
    """What is done with each chunk; the first whose end is none goes on to the file's."""
    with closing(workers.in_order(work, chunks, processes)) as found:
        for part in found:
            if isinstance(part, Chunk):
                rest = part
                break
            yield part
        else:
            return
    yield from _parts(work, iter([rest]), 1)


def _writers(outputs: Sequence[Output], stack: ExitStack) -> list[Any]:
    """What writes the outputs, into files that get their names when the stack ends well."""
    files: dict[str, BinaryIO] = {}
    for output in outputs:
        for name in output.filenames:
            if name in files:
                raise EngineError(f"{name}: two outputs of the chain would write it")
            files[name] = stack.enter_context(whole_file(Path(name)))
    return [output.writer(files) for output in outputs]
