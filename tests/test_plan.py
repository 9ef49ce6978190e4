"""From edit groups to the plan: the rules of pairing, names, and the order of steps."""

import logging
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbngtrain import plan as module
from cbngtrain.errors import PlanError
from cbngtrain.plan import IN_IMAGE, EditSet, Plan, Programs, edit_sets, plan, single_edit_set
from cbngtrain.recipes import RECIPES
from cbngtrain.review import EditGroup
from cbngtrain.step import Digest, Source, Step, problem_with_target

Row = tuple[int, str, str, int | None]

ORIGINAL = "Original Testing Training Set - Random Edits 50/50"
SAMPLED = "Sampled Main Namespace Edits"

PARENT: Row = (1, "Legacy", "Generic", None)
TRAINING: Row = (2, "Legacy training", "Training", 1)
TRIAL: Row = (3, "Legacy trial", "Trial", 1)
REPORTED: Row = (4, "Legacy reports", "Reported False Positives", 1)
FIRST: tuple[Row, ...] = (
    (50, ORIGINAL, "Generic", None),
    (51, "Original training", "Training", 50),
    (52, "Original trial", "Trial", 50),
)
SECOND: tuple[Row, ...] = ((60, SAMPLED, "Generic", None),)

PROGRAMS = Programs({"engine": "e" * 64}, Digest("c" * 64), {"trainer": "a" * 64})


def url(group: EditGroup) -> str:
    """Where a group's dump is: here, just its number."""
    return f"dump {group.id}"


def paired(*rows: Row, **options: Any) -> dict[str, tuple[str, str | None]]:
    """Name → training and trial dump, of the edit sets that groups make."""
    found = edit_sets([EditGroup(*row) for row in rows], url, **options)
    return {each.name: (each.training, each.trial) for each in found}


def slugs(*names: str, **options: Any) -> dict[str, str]:
    """Name → slug, of edit sets with these names."""
    groups = [EditGroup(number, name, "Training", None) for number, name in enumerate(names)]
    return {each.name: each.slug for each in edit_sets(groups, url, **options)}


def refusal(*rows: Row, **options: Any) -> str:
    """What is said of groups that are refused."""
    with pytest.raises(PlanError) as error:
        paired(*rows, **options)
    return str(error.value)


# Rule 1: whose a group is ----------------------------------------------------------------------


def test_group_belongs_to_its_parent_s_edit_set():
    """An edit set is named after the parent of its groups, whatever they are called."""
    assert paired(PARENT, TRAINING, TRIAL) == {"Legacy": ("dump 2", "dump 3")}


def test_group_without_parent_is_its_own_edit_set():
    """A group that is related to none stands for itself."""
    assert paired((7, "Alone", "Training", None), *SECOND)["Alone"] == ("dump 7", "dump 60")


def test_groups_may_come_in_any_order():
    """A parent may be listed after its children."""
    assert paired(TRIAL, TRAINING, PARENT) == paired(PARENT, TRAINING, TRIAL)


def test_edit_sets_come_in_the_service_s_order():
    """An edit set stands where its first group does."""
    rows = (TRAINING, (8, "A", "Generic", None), PARENT)

    assert list(paired(*rows)) == ["Legacy", "A"]


def test_chain_of_relations_goes_one_step_up():
    """A group whose parent has a parent is named after its own parent, not after the eldest."""
    found = paired(PARENT, TRAINING, (9, "Refined", "Training", 2), (10, "t", "Trial", 2), TRIAL)

    assert found == {"Legacy": ("dump 2", "dump 3"), "Legacy training": ("dump 9", "dump 10")}


def test_missing_parent_is_refused():
    """A group whose parent is not listed cannot be named, and is told with its number."""
    assert refusal(TRAINING) == (
        "edit group 2 ('Legacy training') is related to group 1, "
        "which the review service does not list"
    )


def test_two_groups_of_one_type_are_refused():
    """Which of the two would be trained on is not ours to choose."""
    assert refusal(PARENT, TRAINING, (5, "again", "Training", 1)) == (
        "edit set 'Legacy' has two Training groups, 2 and 5; merge them at the review service"
    )


# Rule 2: what is trained on --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "training"), [(TRAINING, "dump 2"), (REPORTED, "dump 4")], ids=["Training", "Reported"]
)
def test_training_takes_the_place_of_generic(
    caplog: pytest.LogCaptureFixture, row: Row, training: str
):
    """Generic is ignored beside Training or Reported False Positives, and that is logged."""
    with caplog.at_level(logging.INFO):
        found = paired(PARENT, row, TRIAL)

    assert found == {"Legacy": (training, "dump 3")}
    assert caplog.messages == ["Legacy: its Generic group 1 is ignored for a training of its own"]


def test_generic_alone_is_trained_on():
    """An edit set with only Generic, or Generic and Trial, is trained on that."""
    assert paired(PARENT) == {"Legacy": ("dump 1", None)}
    assert paired(PARENT, TRIAL) == {"Legacy": ("dump 1", "dump 3")}


@pytest.mark.parametrize("rows", [(TRAINING, REPORTED), (REPORTED, TRAINING)])
def test_both_trainings_are_two_edit_sets(rows: tuple[Row, ...]):
    """Training keeps the edit set's name, Reported False Positives gets it appended."""
    assert paired(PARENT, *rows, TRIAL) == {
        "Legacy": ("dump 2", "dump 3"),
        "Legacy (Reported False Positives)": ("dump 4", "dump 3"),
    }


def test_both_trainings_fall_back_each():
    """Without a trial group both are tried on the fallback."""
    found = paired(PARENT, TRAINING, REPORTED, *SECOND)

    assert found["Legacy"] == ("dump 2", "dump 60")
    assert found["Legacy (Reported False Positives)"] == ("dump 4", "dump 60")


def test_trial_alone_is_no_edit_set(caplog: pytest.LogCaptureFixture):
    """With nothing to train on there is no edit set, and that is logged."""
    with caplog.at_level(logging.INFO):
        found = paired((3, "Lonely trial", "Trial", None))

    assert found == {}
    assert caplog.messages == ["Lonely trial: has nothing to train on"]


def test_no_edit_set_is_lost_to_another_of_its_name():
    """A group that is called as a second training would be is refused, not overwritten."""
    taken: Row = (9, "Legacy (Reported False Positives)", "Generic", None)

    assert "two edit sets are called 'Legacy (Reported" in refusal(
        PARENT, TRAINING, REPORTED, taken
    )


# Rule 3: what it is tried on -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "trial", "name"),
    [
        ((PARENT, TRAINING, *FIRST, *SECOND), "dump 52", "Original trial"),
        ((*SECOND, *FIRST, TRAINING, PARENT), "dump 52", "Original trial"),
        ((PARENT, TRAINING, *SECOND), "dump 60", SAMPLED),
        ((PARENT, REPORTED, *SECOND), "dump 60", SAMPLED),
        ((PARENT, TRAINING, *FIRST[:2], *SECOND), "dump 60", SAMPLED),
        ((PARENT, REPORTED, *FIRST), "dump 52", "Original trial"),
    ],
    ids=["first", "first, other order", "second", "reported", "first without trial", "only first"],
)
def test_fallback_trial(
    caplog: pytest.LogCaptureFixture, rows: tuple[Row, ...], trial: str, name: str
):
    """The first fallback's Trial, else the second's Generic group, and which is logged."""
    with caplog.at_level(logging.INFO):
        found = paired(*rows)

    assert found["Legacy"][1] == trial
    assert f"Using {name} as fallback trial group for Legacy" in caplog.messages


def test_own_trial_comes_before_any_fallback(caplog: pytest.LogCaptureFixture):
    """An edit set's own Trial group needs no fallback."""
    with caplog.at_level(logging.INFO):
        found = paired(PARENT, TRAINING, TRIAL, *FIRST, *SECOND)

    assert found["Legacy"][1] == "dump 3"
    assert not any("fallback" in message for message in caplog.messages)


def test_generic_without_trial_has_no_trial_and_says_so(caplog: pytest.LogCaptureFixture):
    """A training on Generic never falls back."""
    with caplog.at_level(logging.INFO):
        found = paired(PARENT, *FIRST, *SECOND)

    assert found["Legacy"] == ("dump 1", None)
    assert (
        "Legacy: is trained on a Generic group and has no trial group: no trial" in caplog.messages
    )


def test_no_fallback_there_is_a_warning(caplog: pytest.LogCaptureFixture):
    """Where neither fallback is listed there is no trial, and that is a warning."""
    found = paired(PARENT, TRAINING)

    assert found == {"Legacy": ("dump 2", None)}
    assert caplog.messages == ["Legacy: has no trial group, and there is no fallback: no trial"]


@pytest.mark.parametrize(
    ("rows", "trial"),
    [
        (((20, "Mine", "Generic", None), (21, "t", "Trial", 20)), "dump 21"),
        (((20, "Mine", "Generic", None),), "dump 20"),
        (((20, "Mine", "Trial", None),), "dump 20"),
    ],
    ids=["Trial", "Generic", "Trial alone"],
)
def test_fallback_of_the_setting(rows: tuple[Row, ...], trial: str):
    """The setting names another fallback: its Trial, else its Generic group."""
    found = paired(PARENT, TRAINING, *FIRST, *SECOND, *rows, fallback="Mine")

    assert found["Legacy"][1] == trial


@pytest.mark.parametrize("rows", [(), ((20, "Mine", "Training", None),)], ids=["none", "no trial"])
def test_fallback_that_does_not_exist_is_refused(rows: tuple[Row, ...]):
    """A misspelt setting is no silent lack of trials."""
    message = refusal(PARENT, TRAINING, *rows, fallback="Mine")

    assert message.startswith(
        "CBNG_FALLBACK_TRIAL='Mine' is no edit set with a Trial or Generic group; known are: Legacy"
    )


# Rule 4: which are kept ------------------------------------------------------------------------


def test_only_the_named_are_kept():
    """Names may be given in any order and twice; the order stays the service's."""
    rows = (PARENT, (8, "A", "Generic", None), (9, "B", "Generic", None))

    assert list(paired(*rows, only=["B", "Legacy", "B"])) == ["Legacy", "B"]


def test_fallback_is_looked_up_before_filtering():
    """The fallback need not be among the edit sets that are kept."""
    found = paired(PARENT, TRAINING, *FIRST, only=["Legacy"])

    assert found == {"Legacy": ("dump 2", "dump 52")}


def test_unknown_name_is_refused_with_the_known():
    """A misspelt name is told, with what it could have been."""
    message = refusal(PARENT, (8, "A", "Generic", None), only=["A", "legacy"])

    assert message == "there is no edit set 'legacy'; is 'Legacy' meant?"


def test_unknown_name_where_there_is_nothing():
    """Where nothing is known, that is said."""
    assert refusal(only=["A"]) == "there is no edit set 'A'; known are: none"


def test_filter_does_not_change_slugs():
    """A slug tells an edit set from all others, also from those that are not kept."""
    everything = slugs("A b", "A-b", "C")

    assert slugs("A b", "A-b", "C", only=["A b"]) == {"A b": everything["A b"]}


# Names and slugs -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Legacy Report Interface Import", "legacy-report-interface-import"),
        (ORIGINAL, "original-testing-training-set-random-edits-50-50"),
        ("Legacy (Reported False Positives)", "legacy-reported-false-positives"),
        ("--A--", "a"),
        ("Größe", "gr-e"),
        ("2025", "2025"),
        ("x" * 79 + " y" * 40, "x" * 79),
    ],
)
def test_slug(name: str, slug: str):
    """A slug is the name in [a-z0-9-], and not too long for files' and pods' names."""
    assert slugs(name) == {name: slug}


def test_equal_slugs_get_a_hash():
    """Names that differ only in what slugs leave out are told apart by a hash of the name."""
    found = slugs("A b", "A-b", "a/b", "C")

    assert len(set(found.values())) == 4
    assert found["C"] == "c"
    assert all(re.fullmatch("a-b-[0-9a-f]{8}", found[name]) for name in ("A b", "A-b", "a/b"))
    assert slugs("A-b", "A b")["A b"] == found["A b"]


def test_name_without_latin_letters_gets_a_hash():
    """A name that leaves nothing for a slug has a hash for one."""
    found = slugs("例え", "пример")

    assert len(set(found.values())) == 2
    assert all(re.fullmatch("[0-9a-f]{8}", slug) for slug in found.values())


@given(st.lists(st.text("abA- é/例", min_size=1, max_size=6), unique=True, max_size=6))
def test_slugs_are_unique_and_plain(names: list[str]):
    """Whatever the names, no two edit sets share a slug, and each is safe in any name."""
    allowed = [name for name in names if problem_with_target(name) is None]

    found = slugs(*allowed)

    assert len(set(found.values())) == len(allowed)
    assert all(re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", slug) for slug in found.values())


@pytest.mark.parametrize("name", ["latest", "a/production", "..", "a\nb", "a//b", "x" * 201])
def test_name_that_cannot_be_a_target_is_refused(name: str):
    """What the store could not keep stops the plan, by name and with the reason."""
    told = re.escape(f"edit set {name!r} cannot be stored: ")

    with pytest.raises(PlanError, match=told):
        slugs(name)
    with pytest.raises(PlanError, match=told):
        single_edit_set(name, "dump 1", None)


def test_name_that_is_no_text_is_refused():
    """What a command line gives that is no UTF-8 is refused like any other bad name."""
    with pytest.raises(PlanError, match=r"'a\\udcff' cannot be stored: .*control characters"):
        single_edit_set("a\udcff", "dump 1", None)


def test_bad_name_does_not_stop_what_is_kept_beside_it():
    """An edit set that cannot be stored is no matter where another is asked for."""
    assert slugs("A", "latest", only=["A"]) == {"A": "a"}


def test_single_edit_set():
    """One edit set is made from its URLs alone."""
    assert single_edit_set("Legacy Import", "train", "trial") == (
        EditSet("Legacy Import", "legacy-import", "train", "trial"),
    )


# The plan --------------------------------------------------------------------------------------

WITH_TRIAL = EditSet("A", "a", "dump 1", "dump 2")
WITHOUT_TRIAL = EditSet("B", "b", "dump 3", None)


@pytest.fixture
def planned() -> Plan:
    """The plan of an edit set with a trial and of one without."""
    return plan([WITH_TRIAL, WITHOUT_TRIAL], PROGRAMS)


def test_steps_stand_in_building_order(planned: Plan):
    """Every step stands after what it reads; the graph is DESIGN's."""
    assert [step.name for step in planned.steps["a"]] == [
        "bayes_train:a",
        "bayes_db:a",
        "two_bayes_db:a",
        "ann_train:a",
        "ann:a",
        "trial:a",
        "report:a",
        "previous:a",
        "compare:a",
    ]


def test_without_a_trial_set_there_is_no_trial_step(planned: Plan):
    """An edit set without trial edits is trained, and nothing reads what is not there."""
    assert [source.name for source in planned.edit_sets[1].sources] == ["edit_set:b/train"]
    assert [step.recipe.name for step in planned.steps["b"]] == [
        "bayes_train", "bayes_db", "two_bayes_db", "ann_train", "ann",
    ]  # fmt: skip


def test_network_in_use_is_tried_where_one_is_known():
    """Its three files are asked for, for each edit set with a trial, and it has a step."""
    planned = plan([WITH_TRIAL, WITHOUT_TRIAL], replace(PROGRAMS, reference="file:/x"))

    assert [model.url for model in planned.models["a"]] == [
        "file:/x/bayes.db", "file:/x/two_bayes.db", "file:/x/main_ann.fann",
    ]  # fmt: skip
    assert planned.models["a"][0].name == "model:a/bayes.db"
    assert planned.models["b"] == ()
    assert "reference:a" in [step.name for step in planned.steps["a"]]
    assert planned.maker("a", "reference/bayes.db") == planned.models["a"][0]
    assert planned.maker("a", "previous/bayes.db").name == "previous:a"


def test_network_in_use_that_is_in_the_image_is_not_asked_for():
    """What is in the core's image comes out of the step that tries it."""
    planned = plan([WITH_TRIAL, WITHOUT_TRIAL], replace(PROGRAMS, reference=IN_IMAGE))
    (step,) = [each for each in planned.steps["a"] if each.name == "reference:a"]

    assert planned.models == {"a": (), "b": ()}
    assert list(step.recipe.reads.values()) == ["trial.xml"]
    assert planned.maker("a", "reference/main_ann.fann") is step
    assert "compare:a" in [each.name for each in planned.steps["a"]]


def test_names_are_unique(planned: Plan):
    """No two sources or steps of a plan have one name, and no two artifacts one place."""
    sources = [source for each in planned.edit_sets for source in each.sources]
    steps = [step for each in planned.steps.values() for step in each]
    names = [source.name for source in sources] + [step.name for step in steps]
    places = [(s.slug, s.artifact) for s in sources]
    places += [(step.slug, leaf.artifact) for step in steps for leaf in step.recipe.leaves]

    assert len(set(names)) == len(names)
    assert len(set(places)) == len(places)


def test_every_input_is_accounted_for(planned: Plan):
    """What a step reads is made in its own edit set, by a source or a step before it."""
    steps = planned.steps["a"]
    makers = [
        (index, planned.maker("a", artifact))
        for index, step in enumerate(steps)
        for artifact in step.recipe.reads.values()
    ]

    assert all(
        maker in WITH_TRIAL.sources
        if isinstance(maker, Source)
        else maker in steps[:index] or maker.name == "previous:a"  # found in the store
        for index, maker in makers
    )


def test_input_that_nothing_makes_is_refused(monkeypatch: pytest.MonkeyPatch):
    """A recipe that stands above what it reads is an error of the table, told by name."""
    monkeypatch.setattr(module, "RECIPES", RECIPES[1:])

    with pytest.raises(
        PlanError, match=r"recipe bayes_db reads main_bayes_train\.dat, which nothing makes"
    ):
        plan([WITH_TRIAL], PROGRAMS)


def test_steps_know_program_and_configuration(planned: Plan):
    """All but the report run the core; those alone that read the configuration depend on it."""
    steps = planned.steps["a"]

    ours = [step.recipe.name for step in steps if step.program == PROGRAMS.trainer]
    assert ours == ["report", "compare"]
    assert all(step.program == PROGRAMS.core for step in steps if step.recipe.name not in ours)
    assert [step.recipe.name for step in steps if step.conf == PROGRAMS.conf] == [
        "bayes_train", "ann_train", "trial", "previous",
    ]  # fmt: skip
    assert {step.conf for step in steps} == {PROGRAMS.conf, None}


@pytest.mark.parametrize("name", ["A", "--out=/", "{share} {0}", "50 % $(x) `y` 'z' \"w\""])
def test_name_of_the_edit_set_is_one_word_of_the_report(name: str):
    """Whatever an edit set is called, its name is one argument, and part of the fingerprint."""
    steps = plan([replace(WITH_TRIAL, name=name)], PROGRAMS).steps["a"]
    step = next(step for step in steps if step.recipe.name == "report")

    assert step.command[1] == f"--edit-set={name}"
    assert step.spec["parameters"]["edit_set"] == name


@pytest.mark.parametrize(("seed", "expected"), [(None, 1), (0, 0), (7, 7)])
def test_seed_of_the_settings_replaces_the_recipe_s(seed: int | None, expected: int):
    """A seed, 0 too, goes to the network and to no other step; none leaves the recipe's."""
    replaced = {} if seed is None else {"seed": seed}
    steps = plan([WITH_TRIAL], replace(PROGRAMS, replaced=replaced)).steps["a"]

    seeds = [step.parameters.get("seed") for step in steps]
    assert seeds == [None, None, None, None, expected, *[None] * 4]
    assert steps[4].command[-3:] == ("150", "0.037", "100")


def test_maker_of_an_artifact(planned: Plan):
    """An artifact is made by a source or a step."""
    maker = planned.maker("a", "main_ann.fann")

    assert isinstance(maker, Step)
    assert maker.name == "ann:a"
    assert planned.maker("a", "trial.xml") == Source("a", "trial", "dump 2")


@pytest.mark.parametrize("artifact", ["trial.xml", "trial/report.txt", "nonsense"])
def test_artifact_that_nothing_makes(planned: Plan, artifact: str):
    """What an edit set does not have is told."""
    with pytest.raises(PlanError, match=f"the edit set 'b' has no artifact '{artifact}'; "):
        planned.maker("b", artifact)


def test_unknown_slug_is_refused_with_the_known(planned: Plan):
    """A misspelt slug is told, with what it could have been."""
    with pytest.raises(PlanError, match="there is no edit set 'c'; known are: a, b"):
        planned.edit_set("c")


def test_nothing_to_plan():
    """No edit sets make an empty plan."""
    assert plan([], PROGRAMS) == Plan((), {})
