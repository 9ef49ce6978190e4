"""
Edit groups → edit sets → the plan of all sources and steps. Pure.

The rules of pairing are the review service's: a group belongs to the edit set named after its
parent, or after itself; `edit_sets` has them in order.
"""

import hashlib
import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from cbngtrain.errors import PlanError, instead
from cbngtrain.recipes import MODELS, RECIPES, REFERENCE, REFERENCE_IN_IMAGE
from cbngtrain.review import EditGroup
from cbngtrain.step import Digest, Model, Parameters, Recipe, Source, Step, problem_with_target

log = logging.getLogger(__name__)

FALLBACKS = (
    ("Original Testing Training Set - Random Edits 50/50", "Trial"),
    ("Sampled Main Namespace Edits", "Generic"),
)
"""Edit set and type of the groups that those without a trial group are tried on; first wins."""

IN_IMAGE = "image"
"""Where the bot's network is if the core's image has it in ``data/``, as `CBNG_REFERENCE` says."""

_LONGEST_SLUG = 80  # characters; it is part of file and pod names


@dataclass(frozen=True, slots=True)
class EditSet:
    """
    What one model is trained and tried on.

    Attributes:
        name: The *target* in the store.
        slug: The name in ``[a-z0-9-]``, unique among the edit sets of a plan.
        training: The training dump's URL.
        trial: The trial dump's URL, or None.
    """

    name: str
    slug: str
    training: str
    trial: str | None

    @property
    def sources(self) -> tuple[Source, ...]:
        """What must be downloaded for it."""
        train = Source(self.slug, "train", self.training)
        return (train, Source(self.slug, "trial", self.trial)) if self.trial else (train,)


@dataclass(frozen=True, slots=True)
class Programs:
    """
    What the steps of a plan run.

    Attributes:
        core: What stands for the core: ``{"engine": digest}``, ``{"core": digest}``,
            ``{"image": name@digest}`` or ``{"release": URL}``.
        conf: The digest of its configuration; None where that comes with the image or release.
        trainer: What stands for our own evaluation: ``{"trainer": digest}``.
        replaced: Parameters that the settings replace, such as ``seed``.
        reference: Where the models of the bot's network in use are, a URL without a slash at its
            end, or `IN_IMAGE`; empty where none is known.
    """

    core: Mapping[str, str]
    conf: Digest | None
    trainer: Mapping[str, str]
    replaced: Parameters = field(default_factory=dict)
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """
    All edit sets with their sources and steps.

    Attributes:
        edit_sets: In the order of the review service.
        steps: Slug → its steps, in building order.
        models: Slug → the files of the bot's network in use; none where that is not known.
    """

    edit_sets: tuple[EditSet, ...]
    steps: Mapping[str, tuple[Step, ...]]
    models: Mapping[str, tuple[Model, ...]] = field(default_factory=dict)

    def edit_set(self, slug: str) -> EditSet:
        """Return the edit set of that slug. Raises PlanError."""
        for edit_set in self.edit_sets:
            if edit_set.slug == slug:
                return edit_set
        known = [edit_set.slug for edit_set in self.edit_sets]
        raise PlanError(f"there is no edit set {slug!r}; {instead(slug, known)}")

    def maker(self, slug: str, artifact: str) -> Source | Model | Step:
        """
        Return what makes *artifact* of the edit set *slug*; a model is asked for or looked for.

        Raises:
            PlanError: Nothing makes it.
        """
        for source in self.edit_set(slug).sources:
            if source.artifact == artifact:
                return source
        for step in self.steps[slug]:
            if any(leaf.artifact == artifact for leaf in step.recipe.leaves):
                return step
        for model in (*self.models.get(slug, ()), *(Model(slug, "previous", f) for f in MODELS)):
            if model.artifact == artifact:
                return model
        made = [source.artifact for source in self.edit_set(slug).sources]
        made += [leaf.artifact for step in self.steps[slug] for leaf in step.recipe.leaves]
        raise PlanError(
            f"the edit set {slug!r} has no artifact {artifact!r}; {instead(artifact, made)}"
        )


def edit_sets(
    groups: Sequence[EditGroup],
    dump_url: Callable[[EditGroup], str],
    fallback: str = "",
    only: Sequence[str] = (),
) -> tuple[EditSet, ...]:
    """
    Pair the groups into edit sets.

    Args:
        groups: All groups of the review service.
        dump_url: Where a group's dump is.
        fallback: The edit set whose Trial, else Generic group those without a trial group use;
            if empty, `FALLBACKS`.
        only: Names of the edit sets to keep; all if empty.

    Raises:
        PlanError: A parent is missing, a type is there twice in an edit set, two edit sets have
            one name, a name cannot be a target, *fallback* has no group to try on, or *only*
            names an edit set that does not exist.
    """
    by_name = _by_edit_set(groups)
    if fallback and _fallback_group(by_name, fallback) is None:
        usable = [name for name in by_name if _fallback_group(by_name, name)]
        raise PlanError(
            f"CBNG_FALLBACK_TRIAL={fallback!r} is no edit set with a Trial or Generic group; "
            f"{instead(fallback, usable)}"
        )
    found = _paired(by_name, dump_url, fallback)
    if unknown := [name for name in only if name not in found]:
        raise PlanError(f"there is no edit set {unknown[0]!r}; {instead(unknown[0], found)}")
    everything = _with_slugs(list(found.values()))  # a slug must not depend on what is kept
    return _storable(each for each in everything if not only or each.name in only)


def single_edit_set(name: str, training: str, trial: str | None) -> tuple[EditSet, ...]:
    """Return one edit set from its URLs. Raises PlanError where the name cannot be a target."""
    return _storable(_with_slugs([EditSet(name, "", training, trial)]))


def plan(edit_sets: Iterable[EditSet], programs: Programs) -> Plan:
    """
    Return the plan of *edit_sets*.

    An edit set without a trial has no steps that read one.

    Raises:
        PlanError: A recipe reads an artifact that nothing before it makes.
    """
    planned = tuple(edit_sets)
    steps = {each.slug: _steps(each, programs) for each in planned}
    return Plan(planned, steps, {each.slug: _models(each, programs) for each in planned})


def _models(edit_set: EditSet, programs: Programs) -> tuple[Model, ...]:
    """Return the files of the network that *edit_set*'s is compared with, if one is known."""
    url = programs.reference
    if url in {"", IN_IMAGE} or edit_set.trial is None:
        return ()
    return tuple(Model(edit_set.slug, "reference", file, f"{url}/{file}") for file in MODELS)


def _by_edit_set(groups: Sequence[EditGroup]) -> dict[str, dict[str, EditGroup]]:
    """Return name of the edit set → type → group."""
    by_id = {group.id: group for group in groups}
    found: dict[str, dict[str, EditGroup]] = defaultdict(dict)
    for group in groups:
        parent = group if group.related_to is None else by_id.get(group.related_to)
        if parent is None:
            raise PlanError(
                f"edit group {group.id} ({group.name!r}) is related to group {group.related_to}, "
                "which the review service does not list"
            )
        types = found[parent.name]
        if other := types.get(group.type):
            raise PlanError(
                f"edit set {parent.name!r} has two {group.type} groups, {other.id} and {group.id}; "
                "merge them at the review service"
            )
        types[group.type] = group
    return dict(found)


def _paired(
    by_name: Mapping[str, Mapping[str, EditGroup]],
    dump_url: Callable[[EditGroup], str],
    fallback: str,
) -> dict[str, EditSet]:
    """Return name → edit set, as yet without slugs. Raises PlanError if two have one name."""
    found: dict[str, EditSet] = {}
    for name, types in by_name.items():
        for target, training in _trainings(name, types):
            if target in found:
                raise PlanError(f"two edit sets are called {target!r}; rename a group of one")
            trial = types.get("Trial") or _fallback_trial(target, training, by_name, fallback)
            url = dump_url(trial) if trial else None
            found[target] = EditSet(target, "", dump_url(training), url)
    return found


def _trainings(name: str, types: Mapping[str, EditGroup]) -> list[tuple[str, EditGroup]]:
    """Return the edit sets that *types*, the groups of one name, make: name and training group."""
    training, reported = types.get("Training"), types.get("Reported False Positives")
    generic = types.get("Generic")
    if generic and (training or reported):
        log.info("%s: its Generic group %d is ignored for a training of its own", name, generic.id)
    if training and reported:
        return [(name, training), (f"{name} (Reported False Positives)", reported)]
    if chosen := training or reported or generic:
        return [(name, chosen)]
    log.info("%s: has nothing to train on", name)
    return []


def _fallback_trial(
    name: str, training: EditGroup, by_name: Mapping[str, Mapping[str, EditGroup]], fallback: str
) -> EditGroup | None:
    """Return the group on which an edit set without one of its own is tried, if any."""
    if training.type == "Generic":
        log.info("%s: is trained on a Generic group and has no trial group: no trial", name)
        return None
    group = _fallback_group(by_name, fallback)
    if group is None:
        log.warning("%s: has no trial group, and there is no fallback: no trial", name)
    else:
        log.info("Using %s as fallback trial group for %s", group.name, name)
    return group


def _fallback_group(
    by_name: Mapping[str, Mapping[str, EditGroup]], fallback: str
) -> EditGroup | None:
    """Return the group that edit sets without a trial group are tried on, if there is one."""
    choices = ((fallback, "Trial"), (fallback, "Generic")) if fallback else FALLBACKS
    for name, kind in choices:
        if group := by_name.get(name, {}).get(kind):
            return group
    return None


def _storable(edit_sets: Iterable[EditSet]) -> tuple[EditSet, ...]:
    """Return *edit_sets*; raises PlanError where a name cannot be a target."""
    kept = tuple(edit_sets)
    for edit_set in kept:
        if problem := problem_with_target(edit_set.name):
            raise PlanError(f"edit set {edit_set.name!r} cannot be stored: {problem}")
    return kept


def _with_slugs(edit_sets: Sequence[EditSet]) -> tuple[EditSet, ...]:
    """Return the edit sets with slugs, a hash suffix where two would be equal."""
    plain = [_slug(edit_set.name) for edit_set in edit_sets]
    hashed = [_hashed(slug, edit_set) for slug, edit_set in zip(plain, edit_sets, strict=True)]
    taken = {own for own, slug in zip(hashed, plain, strict=True) if plain.count(slug) > 1}
    return tuple(
        replace(each, slug=slug if slug and plain.count(slug) == 1 and slug not in taken else own)
        for each, slug, own in zip(edit_sets, plain, hashed, strict=True)
    )


def _slug(name: str) -> str:
    """Return *name* in ``[a-z0-9-]``."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_LONGEST_SLUG].rstrip("-")


def _hashed(slug: str, edit_set: EditSet) -> str:
    """Return *slug* with a suffix that tells the edit set's name from all others."""
    suffix = hashlib.sha256(edit_set.name.encode(errors="replace")).hexdigest()[:8]
    return f"{slug}-{suffix}".lstrip("-")


def _steps(edit_set: EditSet, programs: Programs) -> tuple[Step, ...]:
    """Return the steps of *edit_set* in building order."""
    made = {source.artifact for source in edit_set.sources}
    made |= {model.artifact for model in _models(edit_set, programs)}
    made |= {f"previous/{file}" for file in MODELS}  # which are found, if they are
    steps = []
    for recipe in _recipes(programs):
        if edit_set.trial is None and _needs_trial(recipe):
            continue
        if lacking := set(recipe.reads.values()) - made:
            raise PlanError(f"recipe {recipe.name} reads {min(lacking)}, which nothing makes")
        made |= {leaf.artifact for leaf in recipe.leaves}
        steps.append(step_of(recipe, edit_set, programs))
    return tuple(steps)


def _recipes(programs: Programs) -> Iterator[Recipe]:
    """Yield the recipes; that of the bot's network as it is had, if it is."""
    for recipe in RECIPES:
        if recipe is not REFERENCE:
            yield recipe
        elif programs.reference:
            yield REFERENCE_IN_IMAGE if programs.reference == IN_IMAGE else recipe


def _needs_trial(recipe: Recipe) -> bool:
    """Return whether *recipe* reads trial edits, or what a trial left."""
    return any(name == "trial.xml" or name.startswith("trial/") for name in recipe.reads.values())


def step_of(recipe: Recipe, edit_set: EditSet, programs: Programs) -> Step:
    """Return *recipe* for *edit_set*."""
    told = {**programs.replaced, "edit_set": edit_set.name}
    return Step(
        recipe=recipe,
        slug=edit_set.slug,
        program=programs.trainer if recipe.program == "trainer" else programs.core,
        conf=programs.conf if recipe.reads_conf else None,
        parameters={name: told.get(name, value) for name, value in recipe.parameters.items()},
    )
