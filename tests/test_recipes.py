"""The table of recipes: what training is."""

import string
from importlib import import_module

import pytest

from cbngtrain.canonical import CHECKS, FORMS
from cbngtrain.evaluation import options
from cbngtrain.recipes import (
    ANN,
    MODELS,
    PLOTS,
    RECIPES,
    REFERENCE,
    REFERENCE_IN_IMAGE,
    REPORT,
    SPREAD,
)
from cbngtrain.step import Recipe

SOURCES = {"train.xml", "trial.xml"}
OTHERS = {f"{role}/{file}" for role in ("previous", "reference") for file in MODELS}

every_recipe = pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)


def test_commands_are_the_core_s():
    """The command lines are those of the core's contract, the numbers those of the trainer."""
    filled = [
        " ".join(word.format(**recipe.parameters) for word in recipe.command) for recipe in RECIPES
    ]

    assert filled == [
        "cluebotng -c conf -m bayes_train -f edits.xml",
        "create_bayes_db data/bayes.db data/main_bayes_train.dat",
        "create_bayes_db data/two_bayes.db data/two_bayes_train.dat",
        "cluebotng -c conf -m ann_train -f edits.xml",
        "create_ann data/main_ann.fann data/main_ann_train.dat 150 0.037 100",
        "cluebotng -c conf -m trial_run -f edits.xml",
        (
            "report --edit-set= --details details.txt --network main_ann.fann "
            "--train-ids train.xml --share 0.034 --bootstrap 2000 --seed 1 --out trial"
        ),
        "cluebotng -c conf -m trial_run -f edits.xml",
        "cluebotng -c conf -m trial_run -f edits.xml",
        (
            "compare --edit-set= --details details.txt --network main_ann.fann "
            "--references references --share 0.034 --bootstrap 2000 --seed 1 --out trial"
        ),
    ]


def test_what_each_step_reads_is_declared():
    """The trial reads the models just trained, and the graph is DESIGN's."""
    assert {recipe.name: sorted(recipe.reads.values()) for recipe in RECIPES} == {
        "bayes_train": ["train.xml"],
        "bayes_db": ["main_bayes_train.dat"],
        "two_bayes_db": ["two_bayes_train.dat"],
        "ann_train": ["bayes.db", "train.xml", "two_bayes.db"],
        "ann": ["main_ann_train.dat"],
        "trial": ["bayes.db", "main_ann.fann", "trial.xml", "two_bayes.db"],
        "report": ["main_ann.fann", "train.xml", "trial/details.txt"],
        "previous": [
            "previous/bayes.db", "previous/main_ann.fann", "previous/two_bayes.db", "trial.xml",
        ],
        "reference": [
            "reference/bayes.db", "reference/main_ann.fann", "reference/two_bayes.db", "trial.xml",
        ],
        "compare": ["main_ann.fann", "trial/details.txt"],
    }  # fmt: skip


def test_network_in_the_image_leaves_what_is_compared():
    """Where the bot's network is in the core's image, the same artifacts are there."""
    found = {leaf.artifact for leaf in REFERENCE_IN_IMAGE.leaves}

    assert found == {*REFERENCE.reads.values(), "reference/details.txt"} - {"trial.xml"}


def test_what_is_left_has_the_names_people_know():
    """Every artifact that scripts fetch today is left by one recipe."""
    left = [leaf.artifact for recipe in RECIPES for leaf in recipe.leaves]

    assert sorted(left) == sorted(
        [
            "main_bayes_train.dat",
            "two_bayes_train.dat",
            "bayes.db",
            "two_bayes.db",
            "main_ann_train.dat",
            "main_ann.fann",
            "trial/debug.xml",
            "trial/details.txt",
            "trial/falsenegatives.txt",
            "trial/falsepositives.txt",
            "trial/report.txt",
            "trial/thresholdtable.txt",
            "trial/metrics.json",
            *(f"trial/{plot}.{kind}" for plot in PLOTS for kind in ("png", "svg")),
            "previous/details.txt",
            "reference/details.txt",
            "trial/comparison.json",
            "trial/comparison.md",
            *(f"trial/comparison-{plot}.{kind}" for plot in PLOTS for kind in ("png", "svg")),
        ]
    )


@every_recipe
def test_recipe_stands_after_what_it_reads(recipe: Recipe):
    """What a recipe reads is a source or is left by one above it."""
    above = RECIPES[: RECIPES.index(recipe)]
    made = {leaf.artifact for each in above for leaf in each.leaves}

    known = SOURCES | OTHERS | made
    assert set(recipe.reads.values()) <= known
    assert set(recipe.may_read.values()) <= known | {"spread.json"}
    assert set(recipe.if_any) <= known


@every_recipe
def test_words_of_the_command_are_declared(recipe: Recipe):
    """Every file and every number in a command is in the recipe's other columns."""
    files = {word for word in recipe.command if "/" in word or word.endswith(".xml")}
    fields = {name for word in recipe.command for _, name, _, _ in string.Formatter().parse(word)}

    assert files <= {*recipe.reads, *(leaf.path for leaf in recipe.leaves)}
    assert fields - {None} == set(recipe.parameters) - {"seed"}


@every_recipe
def test_configuration_is_read_by_cluebotng_alone(recipe: Recipe):
    """Exactly the commands with ``-c conf`` depend on the configuration."""
    assert recipe.reads_conf == ("conf" in recipe.command)
    assert recipe.reads_conf == (recipe.command[0] == "cluebotng")


@every_recipe
def test_forms_and_checks_are_known(recipe: Recipe):
    """Each output has a canonical form and a check, and each recipe a word for people."""
    assert {leaf.form for leaf in recipe.leaves} <= set(FORMS)
    assert {leaf.check for leaf in recipe.leaves} <= set(CHECKS)
    assert recipe.leaves
    assert recipe.doc


def test_tables_hold_nothing_that_no_recipe_uses():
    """A form or check that no output has is dead."""
    leaves = [leaf for recipe in (*RECIPES, SPREAD) for leaf in recipe.leaves]

    assert set(FORMS) == {leaf.form for leaf in leaves}
    assert set(CHECKS) == {leaf.check for leaf in leaves}


def test_only_the_network_is_seeded():
    """Chance plays a part in one step, and its seed is a number of the table."""
    assert [recipe.name for recipe in RECIPES if "seed" in recipe.parameters] == ["ann"]
    assert ANN.parameters["seed"] == 1


def test_plots_are_those_that_the_evaluation_draws():
    """The two meet on a command line: their lists of names are held together here."""
    plots = import_module("cbngtrain.evaluation.plots")  # slow: not by who only collects

    assert tuple(plots.PLOTS) == PLOTS


def test_numbers_of_the_report_are_the_evaluation_s():
    """Who calls the evaluation by hand gets what a build gets."""
    assert REPORT.parameters["share"] == options.SHARE
    assert REPORT.parameters["samples"] == options.BOOTSTRAP
