"""What pods and Toolforge's jobs have in common: what a step takes there, and how it is told."""

import logging
from collections.abc import Mapping, Sequence

from cbngtrain.dispatch.classify import Means, Verdict
from cbngtrain.dispatch.local import conf_digest
from cbngtrain.dispatch.manifest import LEAST, Room
from cbngtrain.dispatch.programs import Images
from cbngtrain.dispatch.script import Place
from cbngtrain.dispatch.slots import UNBOUNDED
from cbngtrain.errors import BlobNotFound, DispatchError, StepFailed, StepTimedOut
from cbngtrain.image import Image
from cbngtrain.settings import Settings
from cbngtrain.step import Digest, Made, Step
from cbngtrain.store import Store

log = logging.getLogger(__name__)

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


def more_memory(step: Step, had: Sequence[int], verdict: Verdict, most: int) -> int:
    """
    Return the MiB with which *step*, which ran out of memory, is tried once more.

    Args:
        step: Which has failed so.
        had: The MiB that it had, each time.
        verdict: How it ended.
        most: MiB that it may have.

    Raises:
        StepFailed: It had twice as much already, or there is no more.
    """
    more = min(2 * had[-1], most)
    if len(had) > 1 or more <= had[-1]:
        amounts = " and then ".join(f"{each} MiB" for each in had)
        limit = f"a pod may have {most} MiB" if most < UNBOUNDED.memory else "there is no limit"
        problem = f"its memory: {verdict.why}, with {amounts} ({limit}; CBNG_MEMORY_SCALE)"
        raise StepFailed(step.name, problem, verdict.log or "none was kept")
    log.warning("%s: %s, with %d MiB; trying once more with %d MiB", step.name, verdict.why,
                had[-1], more)  # fmt: skip
    return more


def refuse_lost(store: Store, inputs: Mapping[str, Made]) -> None:
    """Raise BlobNotFound if an input is not in the store: then nothing need be started."""
    lost = store.missing({made.artifact.digest for made in inputs.values()})
    if lost:
        raise BlobNotFound(min(lost))


def failure(step: Step, where: str, verdict: Verdict) -> DispatchError:
    """Return *verdict*, which is for good, as an error; *where* is such as ``pod cbng-…``."""
    place = verdict.log or "none was kept"
    if verdict.means is Means.STEP_FAILED:
        return StepFailed(step.name, verdict.why, place)
    if verdict.means is Means.STEP_TIMED_OUT:
        return StepTimedOut(step.name, f"{verdict.why} (CBNG_STEP_TIMEOUT)", place)
    return DispatchError(f"{step.name}: {where}: {verdict.why}")
