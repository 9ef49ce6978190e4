"""Chains: what a configuration's names of processors, chains and modules mean."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NoReturn

from cbngtrain.engine.configuration import Block
from cbngtrain.engine.errors import EngineError
from cbngtrain.engine.features import MODULES
from cbngtrain.engine.table import EVERYTHING, Link, Step

SUBCHAIN = "chain"
"""The module whose processor is a chain itself."""


def links_of(configuration: Block, name: str) -> list[Link]:
    """
    Return the links of the chain *name* of the block ``chains``, in order.

    A member is looked up as a processor's block, then as a chain, then as a bare module.

    Raises:
        EngineError: There is no such chain, processor or module, or an option is wrong.
    """
    chains = configuration.group("chains")
    if name not in chains:
        raise EngineError(f'there is no chain "{name}"; there are {", ".join(chains)}')
    return list(_links(configuration, chains.texts(name), (name,)))


def needed(links: Iterable[Link]) -> tuple[list[Link], frozenset[str]]:
    """
    Leave out the steps that no output asks for.

    Returns:
        The links that matter, in order, and the properties that edits must bring for them.
    """
    wanted: set[str] = set()
    kept: list[Link] = []
    for link in reversed(list(links)):
        if isinstance(link, Step) and not _is_asked_for(link, wanted):
            continue
        wanted.update(link.reads)
        kept.append(link)
    return kept[::-1], frozenset(wanted)


def _is_asked_for(step: Step, wanted: set[str]) -> bool:
    return not step.makes or EVERYTHING in wanted or not wanted.isdisjoint(step.makes)


def _links(
    configuration: Block, members: Sequence[str], parents: tuple[str, ...]
) -> Iterator[Link]:
    chains = configuration.group("chains")
    for name in members:
        if name in parents:
            raise EngineError(f'the chain "{name}" contains itself')
        if name not in configuration and name in chains:
            yield from _links(configuration, chains.texts(name), (*parents, name))
            continue
        block = configuration.group(name) if name in configuration else Block(name)
        module = block.text("module", name)
        if module == SUBCHAIN:
            inner = block.only(SUBCHAIN).texts(SUBCHAIN)
            yield from _links(configuration, inner, (*parents, name))
        elif module in MODULES:
            yield from MODULES[module](block)
        else:
            _refuse(name, block, module)


def _refuse(name: str, block: Block, module: str) -> NoReturn:
    if "module" in block:
        block.refuse("module", f'there is no module "{module}"')
    raise EngineError(f'there is no processor, chain or module "{name}", which a chain names')
