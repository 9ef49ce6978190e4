"""
What the steps of a build run: the embedded engine, native programs, an image, a release.

Images are resolved to digests by who runs tasks; who only looks reads what was written then.
"""

import json
import logging
from dataclasses import dataclass

from cbngtrain.dispatch.local import conf_digest, conf_directory, core_program, trainer_program
from cbngtrain.dispatch.registry import Registry, resolved
from cbngtrain.image import Image
from cbngtrain.plan import Programs
from cbngtrain.reference import reference_url
from cbngtrain.scratch import DIRECTORY
from cbngtrain.settings import Settings
from cbngtrain.store import Store

log = logging.getLogger(__name__)

IMAGES = DIRECTORY / "images.json"
"""What the tags stood for in the last build: image → digest."""

RELEASES_RUN_IN = Image.parse("docker-registry.tools.wmflabs.org/toolforge-bookworm-sssd:latest")
"""Where a release of the core runs unless the settings name an image; it has curl."""


@dataclass(frozen=True, slots=True)
class Images:
    """
    The images that pods and jobs run in.

    Attributes:
        core: For steps that run the core.
        trainer: For those that do not; None where they run on this machine.
    """

    core: Image
    trainer: Image | None


def images(settings: Settings, store: Store, *, runs: bool) -> Images:
    """
    Return the images that *settings* name, by digest.

    Args:
        settings: Not for steps on this machine.
        store: Keeps what tags stood for last.
        runs: Whether tasks will be run: then the registries are asked; else what the last build
            was told here counts, and an image of which nothing is known keeps its tag.

    Raises:
        DispatchError: A registry cannot tell what a tag stands for, and never has.
    """
    wanted = [settings.core_image or RELEASES_RUN_IN]
    if settings.trainer_image:
        wanted.append(settings.trainer_image)
    if runs:
        registry = Registry()
        found = [resolved(image, store, registry) for image in wanted]
        _write({str(image): each.digest for image, each in zip(wanted, found, strict=True)})
    else:
        known = _read()
        found = [image.at(image.digest or known.get(str(image), "")) for image in wanted]
    return Images(found[0], found[1] if settings.trainer_image else None)


def programs(settings: Settings, found: Images | None) -> Programs:
    """
    Return what stands for programs and configuration in fingerprints.

    Args:
        settings: The machine's.
        found: What steps run in; None for steps on this machine.

    Raises:
        SettingsError: ``CBNG_CORE`` lacks a program.
    """
    if found is None:
        own = conf_digest(conf_directory(settings))
        core = core_program(settings)
        return Programs(core, own, trainer_program(), settings.replaced, reference_url(settings))
    if settings.core_release:
        core = {"release": f"{settings.core_releases_url}/{settings.core_release}"}
    else:
        core = {"image": found.core.pinned}
    conf = conf_digest(settings.core_conf) if settings.core_conf else None
    trainer = {"image": found.trainer.pinned} if found.trainer else trainer_program()
    return Programs(core, conf, trainer, settings.replaced, reference_url(settings))


def _write(digests: dict[str, str]) -> None:
    """Write what tags stand for, for who does not ask; whole or not at all."""
    IMAGES.parent.mkdir(parents=True, exist_ok=True)
    part = IMAGES.with_name(f".{IMAGES.name}.part")
    part.write_text(json.dumps(digests, indent=1), encoding="ascii")
    part.replace(IMAGES)


def _read() -> dict[str, str]:
    """Return what tags stood for in the last build here."""
    try:
        value = json.loads(IMAGES.read_text(encoding="ascii"))
    except (OSError, ValueError):
        log.warning("what the images' tags stand for is not known here yet: run `doit` once")
        return {}
    return value if isinstance(value, dict) else {}
