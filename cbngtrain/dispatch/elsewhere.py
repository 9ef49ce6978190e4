"""What pods and Toolforge's jobs have in common: what a step takes there."""

from collections.abc import Mapping

from cbngtrain.dispatch.local import conf_digest
from cbngtrain.dispatch.manifest import LEAST, Room
from cbngtrain.dispatch.programs import Images
from cbngtrain.dispatch.script import Place
from cbngtrain.errors import BlobNotFound, DispatchError
from cbngtrain.image import Image
from cbngtrain.settings import Settings
from cbngtrain.step import Digest, Made, Step
from cbngtrain.store import Store

WORKSPACE = "/workspace"  # where the core's image has its programs


def place_of(step: Step, settings: Settings, store: Store) -> Place:
    """
    Return where things are for the script of *step*; a configuration that it takes is stored.

    Raises:
        DispatchError: The configuration has changed since the build began.
    """
    return Place(
        store_url=settings.store_url_in_pods or settings.store_url,
        timeout=timeout_of(step, settings),
        where=settings.dispatch,
        workspace=WORKSPACE,
        release=step.program.get("release", "") if step.recipe.program == "core" else "",
        conf=_conf(step, settings, store),
    )


def _conf(step: Step, settings: Settings, store: Store) -> dict[str, Digest]:
    """Store the configuration that *step* takes along; return path → digest."""
    root = settings.core_conf
    if step.conf is None or root is None:
        return {}
    if conf_digest(root) != step.conf:
        raise DispatchError(f"the configuration {root} has changed since the build began")
    paths = sorted(root.rglob("*.conf"))
    return {str(path.relative_to(root)): store.add(path) for path in paths}


def timeout_of(step: Step, settings: Settings) -> int:
    """Return the seconds that the command of *step* may take."""
    return settings.step_timeout or step.recipe.resources.seconds


def image_of(step: Step, images: Images) -> Image:
    """Return the image that *step* runs in."""
    return images.core if step.recipe.program == "core" else images.trainer or images.core


def need_of(step: Step, settings: Settings, most: Room) -> Room:
    """Return what *step* takes, by its recipe and the settings, within what it may have."""
    wanted = step.recipe.resources
    memory = max(round(wanted.memory * settings.memory_scale), LEAST.memory)
    cpu = max(round(wanted.cpu * 1000 * settings.cpu_scale), LEAST.cpu)
    return Room(memory=min(memory, most.memory), cpu=min(cpu, most.cpu))


def refuse_lost(store: Store, inputs: Mapping[str, Made]) -> None:
    """Raise BlobNotFound if an input is not in the store: then nothing need be started."""
    lost = store.missing({made.artifact.digest for made in inputs.values()})
    if lost:
        raise BlobNotFound(min(lost))
