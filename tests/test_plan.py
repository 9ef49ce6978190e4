"""The plan: which steps an edit set has, in which order, and who makes what they read."""

from dataclasses import replace

import pytest

from cbngtrain import plan as module
from cbngtrain.errors import PlanError
from cbngtrain.plan import IN_IMAGE, EditSet, Plan, Programs, plan
from cbngtrain.recipes import RECIPES
from cbngtrain.step import Digest, Source, Step

PROGRAMS = Programs({"engine": "e" * 64}, Digest("c" * 64), {"trainer": "a" * 64})

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
