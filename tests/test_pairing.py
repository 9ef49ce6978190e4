"""From edit groups to edit sets: the four rules of pairing, names and slugs."""

import logging
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbngtrain.errors import PlanError
from cbngtrain.plan import EditSet, edit_sets, single_edit_set
from cbngtrain.review import EditGroup
from cbngtrain.step import problem_with_target

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
