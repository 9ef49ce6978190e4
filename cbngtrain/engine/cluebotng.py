"""
``cluebotng``: edits through a chain of processors.

    cluebotng -c CONFDIR -m CHAIN -f EDITS
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cbngtrain.engine.configuration import Block, load
from cbngtrain.engine.edits import Edit, EditSet, edit_set
from cbngtrain.engine.errors import EngineError, FormatError
from cbngtrain.engine.features import MODULES
from cbngtrain.engine.output import whole_file
from cbngtrain.engine.table import EVERYTHING, Link, Output, Step, Table, needed

TEXTS = ("current_text", "previous_text")
"""What no edit can do without; a page's creation is to be given an empty previous text."""

CHUNK = 1 << 19  # bytes of the file that are processed together


def main(args: Sequence[str], env: Mapping[str, str]) -> int:
    """Run edits through a chain; see the module."""
    del env
    options = _options(args)
    configuration = load(options.c)
    links, wanted = needed(_links(configuration, options.m))
    edits = edit_set(options.f, configuration)
    required = (
        configuration.texts("file_require_properties")
        if "file_require_properties" in configuration
        else ()
    )
    outputs = [link for link in links if not isinstance(link, Step)]
    count = skipped = 0
    with ExitStack() as stack:
        files = {
            name: stack.enter_context(whole_file(Path(name)))
            for output in outputs
            for name in output.filenames
        }
        writers = [output.writer(files) for output in outputs]
        for chunk in edits.chunks(CHUNK):
            found = edits.parse(chunk)
            kept = [edit for edit in found if all(name in edit.properties for name in required)]
            skipped += len(found) - len(kept)
            count += len(kept)
            if not kept:
                continue
            table = _table(edits, kept, wanted)
            for link in links:
                if isinstance(link, Step):
                    link.run(table)
                else:
                    writers[outputs.index(link)].write(link.rendered(table))
        for writer in writers:
            writer.finish()
    print(f"Processed {count} edits.")
    return 0


def _table(edits, kept, wanted) -> Table:
    names = {name for edit in kept for name in edit.properties}
    if EVERYTHING not in wanted:
        names &= wanted
    return Table(
        edits.path, kept, {name: [edit.properties.get(name) for edit in kept] for name in names}
    )


def _options(args: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="cluebotng", description=__doc__)
    parser.add_argument("-c", metavar="CONFDIR", type=Path, default=Path("conf"))
    parser.add_argument("-m", metavar="CHAIN", default="default")
    parser.add_argument("-f", metavar="EDITS", type=Path, required=True)
    return parser.parse_args(args)


def _links(configuration: Block, chain: str) -> list[Link]:
    chains = configuration.group("chains")
    if chain not in chains:
        raise EngineError(f'there is no chain "{chain}"; there are {", ".join(chains)}')
    return list(_chain(configuration, chains.texts(chain), (chain,)))


def _chain(configuration: Block, names: Sequence[str], parents: tuple[str, ...]) -> Iterator[Link]:
    chains = configuration.group("chains")
    for name in names:
        if name in parents:
            raise EngineError(f'the chain "{name}" contains itself')
        block = configuration.get(name)
        if block is None and name in chains:
            yield from _chain(configuration, chains.texts(name), (*parents, name))
            continue
        block = Block(name) if block is None else block
        module = block.text("module", name)
        if module == "chain":
            yield from _chain(configuration, block.only("chain").texts("chain"), (*parents, name))
        elif module in MODULES:
            yield from MODULES[module](block)
        else:
            raise EngineError(f'there is no processor, chain or module "{module}"')
