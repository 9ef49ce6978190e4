"""The nouns of a build, and the fingerprint of a step."""

import json
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbngtrain.errors import FormatError
from cbngtrain.step import (
    INSTANCE,
    Artifact,
    Digest,
    Fingerprint,
    Leaf,
    Made,
    Recipe,
    Record,
    Source,
    Step,
    canonical_json,
    digest,
    fingerprint,
    fingerprint_of,
    problem_with_target,
)

digests = st.text("0123456789abcdef", min_size=64, max_size=64).map(Digest)
words = st.text("abcxyz./-0", min_size=1, max_size=8)
names = st.from_regex(r"[a-z0-9_-]{1,8}(/[a-z0-9_-]{1,8})?\.(db|txt)", fullmatch=True)
numbers = st.integers(0, 10**6) | st.floats(0, 1, allow_subnormal=False)
artifacts = st.builds(Artifact, names, digests, digests, st.integers(0, 2**40))
mades = st.builds(Made, artifacts, digests.map(Fingerprint))
inputs_of_steps = st.dictionaries(words, mades, max_size=4)
leaves = st.builds(Leaf, words, names, words, words)
recipes = st.builds(
    Recipe,
    name=words,
    doc=words,
    command=st.lists(words, min_size=1, max_size=3).map(tuple),
    reads=st.just({}),
    leaves=st.lists(leaves, min_size=1, max_size=2).map(tuple),
)
steps = st.builds(
    Step,
    recipe=recipes,
    slug=words,
    program=st.dictionaries(st.sampled_from(["core", "engine"]), digests, min_size=1, max_size=1),
    conf=st.none() | digests,
    parameters=st.dictionaries(words, numbers, max_size=3),
)

A, B = Digest("a" * 64), Digest("b" * 64)
INPUTS = {"data/x.dat": Made(Artifact("x.dat", A, A, 1), Fingerprint(A))}
RECIPE = Recipe(
    name="ann",
    doc="network",
    command=("create_ann", "{max_epochs}", "{desired_error}"),
    reads={"data/x.dat": "x.dat"},
    leaves=(Leaf("data/main_ann.fann", "main_ann.fann", "raw", "network"),),
)
STEP = Step(
    recipe=RECIPE,
    slug="legacy-import",
    program={"engine": A},
    conf=None,
    parameters={"max_epochs": 150, "desired_error": 0.037},
)
LEAF = RECIPE.leaves[0]
RECORD = Record(
    fingerprint=fingerprint(STEP, INPUTS),
    artifacts=(Artifact("main_ann.fann", A, B, 7),),
    log=A,
    parts=STEP.parts(INPUTS),
    inputs=INPUTS,
    about={"seconds": 0.5},
)


# Fingerprints ----------------------------------------------------------------------------------


@settings(max_examples=40)
@given(steps, inputs_of_steps, st.randoms(use_true_random=False))
def test_order_of_inputs_does_not_matter(
    step: Step, inputs: dict[str, Made], chance: random.Random
):
    """The same inputs in another order make the same fingerprint."""
    shuffled = dict(chance.sample(list(inputs.items()), len(inputs)))

    assert fingerprint(step, shuffled) == fingerprint(step, inputs)


@settings(max_examples=40)
@given(steps, inputs_of_steps, steps, inputs_of_steps)
def test_fingerprints_are_equal_where_all_that_decides_is(
    step: Step, inputs: dict[str, Made], other: Step, other_inputs: dict[str, Made]
):
    """Two steps have one fingerprint exactly if nothing that decides their results differs."""
    decides, other_decides = all_that_decides(step, inputs), all_that_decides(other, other_inputs)

    are_equal = fingerprint(step, inputs) == fingerprint(other, other_inputs)

    assert are_equal == (decides == other_decides)


def all_that_decides(step: Step, inputs: Mapping[str, Made]) -> Any:
    """What DESIGN names, told apart as Python tells values apart, and ``1`` from ``1.0``."""
    return (
        dict(step.program),
        step.conf,
        step.command,
        {name: repr(value) for name, value in step.parameters.items()},
        [(leaf.path, leaf.artifact, leaf.form) for leaf in step.recipe.leaves],
        {path: made.artifact.meaning for path, made in inputs.items()},
    )


@pytest.mark.parametrize(
    ("step", "inputs"),
    [
        (replace(STEP, program={"engine": B}), INPUTS),
        (replace(STEP, program={"core": A}), INPUTS),
        (replace(STEP, conf=A), INPUTS),
        (replace(STEP, parameters={**STEP.parameters, "max_epochs": 151}), INPUTS),
        (replace(STEP, parameters={**STEP.parameters, "desired_error": 0.0370001}), INPUTS),
        (replace(STEP, parameters={**STEP.parameters, "seed": 1}), INPUTS),
        (replace(STEP, recipe=replace(RECIPE, command=(*RECIPE.command, "-v"))), INPUTS),
        (replace(STEP, recipe=replace(RECIPE, leaves=(replace(LEAF, path="x"),))), INPUTS),
        (replace(STEP, recipe=replace(RECIPE, leaves=(replace(LEAF, artifact="x"),))), INPUTS),
        (replace(STEP, recipe=replace(RECIPE, leaves=(replace(LEAF, form="lines"),))), INPUTS),
        (replace(STEP, recipe=replace(RECIPE, leaves=(LEAF, LEAF))), INPUTS),
        (STEP, {"data/y.dat": INPUTS["data/x.dat"]}),
        (STEP, {**INPUTS, "data/y.dat": INPUTS["data/x.dat"]}),
        (STEP, {}),
        (STEP, {"data/x.dat": Made(Artifact("x.dat", A, B, 1), Fingerprint(A))}),
    ],
    ids=["program", "kind of program", "conf", "whole number", "number", "seed", "command", "path",
         "artifact", "form", "leaves", "input's path", "more inputs", "fewer inputs", "meaning"],
)  # fmt: skip
def test_what_decides_the_result_is_in_the_fingerprint(step: Step, inputs: dict[str, Made]):
    """Every change of what decides a step's result makes another fingerprint."""
    assert fingerprint(step, inputs) != fingerprint(STEP, INPUTS)


@pytest.mark.parametrize(
    ("step", "inputs"),
    [
        (replace(STEP, slug="other"), INPUTS),
        (replace(STEP, recipe=replace(RECIPE, name="other")), INPUTS),
        (replace(STEP, recipe=replace(RECIPE, doc="other")), INPUTS),
        (replace(STEP, recipe=replace(RECIPE, reads={"data/x.dat": "other"})), INPUTS),
        (replace(STEP, recipe=replace(RECIPE, leaves=(replace(LEAF, check="other"),))), INPUTS),
        (STEP, {"data/x.dat": Made(Artifact("other", A, A, 1), Fingerprint(A))}),
        (STEP, {"data/x.dat": Made(Artifact("x.dat", B, A, 1), Fingerprint(A))}),
        (STEP, {"data/x.dat": Made(Artifact("x.dat", A, A, 2), Fingerprint(A))}),
        (STEP, {"data/x.dat": Made(Artifact("x.dat", A, A, 1), Fingerprint(B))}),
    ],
    ids=["edit set", "name", "doc", "artifact's name", "check", "input's name", "input's bytes",
         "input's size", "input's maker"],
)  # fmt: skip
def test_what_does_not_decide_is_not_in_the_fingerprint(step: Step, inputs: dict[str, Made]):
    """Names, words for people and an input's bytes do not show: its meaning does."""
    assert fingerprint(step, inputs) == fingerprint(STEP, INPUTS)


def test_fingerprint_is_pinned():
    """The fingerprint of a given step stays what it is, or every store is built anew."""
    assert fingerprint(STEP, INPUTS) == fingerprint_of(
        {
            "format": 1,
            "program": {"engine": A},
            "conf": None,
            "command": ["create_ann", "150", "0.037"],
            "parameters": {"desired_error": 0.037, "max_epochs": 150},
            "leaves": [["data/main_ann.fann", "main_ann.fann", "raw"]],
            "inputs": {"data/x.dat": A},
        }
    )


def test_canonical_json_to_the_letter():
    """Keys are sorted, nothing is spaced, all is ASCII."""
    assert canonical_json({"b": [1, 0.5], "a": {"d": None, "c": "é"}}) == (
        b'{"a":{"c":"\\u00e9","d":null},"b":[1,0.5]}'
    )


# Steps and sources -----------------------------------------------------------------------------


def test_step_has_a_name_and_a_command():
    """A step's name is its task's; its command has the parameters filled in."""
    assert STEP.name == "ann:legacy-import"
    assert STEP.command == ("create_ann", "150", "0.037")


def test_source_has_a_name_and_an_artifact():
    """A source's name is its task's."""
    source = Source("legacy-import", "train", "https://review.example")

    assert (source.name, source.artifact) == ("edit_set:legacy-import/train", "train.xml")


# Records ---------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(steps, inputs_of_steps, st.lists(artifacts, unique_by=lambda a: a.name), st.none() | digests)
def test_record_goes_through_json(
    step: Step, inputs: dict[str, Made], left: list[Artifact], log: Digest | None
):
    """What `to_json` gives is JSON, and `from_json` makes the same record of it."""
    record = Record(
        fingerprint(step, inputs), tuple(left), log, step.parts(inputs), inputs, {"seconds": 1.5}
    )

    assert Record.from_json(json.loads(json.dumps(record.to_json())), "here") == record


def test_record_names_its_blobs():
    """A record is valid with its artifacts' blobs and its log; not its inputs."""
    inputs = {"x": Made(Artifact("x", Digest("c" * 64), A, 1), Fingerprint(A))}
    record = replace(RECORD, artifacts=(Artifact("y", B, B, 1),), inputs=inputs)

    assert record.blobs == {A, B}
    assert replace(record, log=None).blobs == {B}


def test_record_gives_its_artifacts_by_name():
    """An artifact is found by its name; one that is not there is a record that is malformed."""
    assert RECORD.artifact("main_ann.fann").size == 7
    with pytest.raises(FormatError, match=r"has no artifact 'bayes\.db'"):
        RECORD.artifact("bayes.db")


GOOD = RECORD.to_json()
ARTIFACT = GOOD["artifacts"][0]
INPUT = GOOD["inputs"]["data/x.dat"]


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "record",
        1,
        {},
        *[{name: value for name, value in GOOD.items() if name != key} for key in GOOD],
        {**GOOD, "fingerprint": B},
        {**GOOD, "fingerprint": GOOD["fingerprint"].upper()},
        {**GOOD, "fingerprint": GOOD["fingerprint"] + "\n"},
        {**GOOD, "fingerprint": 1},
        {**GOOD, "log": "none"},
        {**GOOD, "log": 5},
        {**GOOD, "parts": {**GOOD["parts"], "format": 0}},
        {**GOOD, "parts": list(GOOD["parts"].items())},
        {**GOOD, "parts": None},
        {**GOOD, "about": []},
        {**GOOD, "about": "x"},
        {**GOOD, "inputs": []},
        {**GOOD, "inputs": {"data/x.dat": ARTIFACT}},
        {**GOOD, "inputs": {"data/x.dat": {**INPUT, "by": "me"}}},
        {**GOOD, "artifacts": 5},
        {**GOOD, "artifacts": [5]},
        {**GOOD, "artifacts": "x"},
        {**GOOD, "artifacts": [ARTIFACT, ARTIFACT]},
        *[
            {**GOOD, "artifacts": [{k: v for k, v in ARTIFACT.items() if k != key}]}
            for key in ARTIFACT
        ],
        *[
            {**GOOD, "artifacts": [{**ARTIFACT, "name": name}]}
            for name in (5, "", "/etc/passwd", "../x", "a/../x", "a//b", ".git", "a/", "a\nb", None)
        ],
        *[{**GOOD, "artifacts": [{**ARTIFACT, "size": size}]} for size in ("7", 7.5, True, -1)],
        {**GOOD, "artifacts": [{**ARTIFACT, "digest": "a" * 63}]},
        {**GOOD, "artifacts": [{**ARTIFACT, "meaning": None}]},
    ],
    ids=lambda value: str(value)[-60:],
)
def test_malformed_record_is_refused(value: Any):
    """What is no record, or not that of its own fingerprint, is refused with its place."""
    with pytest.raises(FormatError, match=r"^record 12: "):
        Record.from_json(value, "record 12")


@pytest.mark.parametrize(
    "text", ["", "a" * 63, "a" * 65, "A" * 64, "g" * 64, "a" * 64 + "\n", " " + "a" * 63]
)
def test_digest_is_64_lower_case_hexadecimal_digits(text: str):
    """Nothing else is taken for a digest."""
    with pytest.raises(FormatError, match=r"reference: .*is not a sha256"):
        digest(text, "reference")


# Names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "Legacy Import",
        "Original Testing Training Set - Random Edits 50/50",
        "Größe/例え",
        "no-break\u00a0space",
        "zero\u200cwidth",
        "a.b",
        "latest edits",
        "Cas",
        "x" * 200,
        "é" * 100,
        "2025-08-01",
    ],
)
def test_names_that_can_be_targets(name: str):
    """People's names for edit sets are allowed, in any script; a slash makes a folder."""
    assert problem_with_target(name) is None


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("", "'' is empty"),
        ("a//b", "'' is empty"),
        ("/a", "'' is empty"),
        ("a/", "'' is empty"),
        ("cas", "'cas' has a meaning of its own"),
        ("ac", "meaning of its own"),
        ("_", "meaning of its own"),
        ("a/latest", "'latest' has a meaning of its own"),
        ("production/a", "meaning of its own"),
        ("instance.json", "meaning of its own"),
        ("a/2025-08-01 18:36:31", "meaning of its own"),
        (".", "begins with a dot"),
        ("..", "begins with a dot"),
        ("a/../b", "begins with a dot"),
        (".part", "begins with a dot"),
        ("a\nb", "control characters"),
        ("a\0b", "control characters"),
        ("a\x7fb", "control characters"),
        ("a\x85b", "control characters"),
        ("a\u2028b", "control characters"),
        ("a\ud800b", "control characters"),
        ("x" * 201, "longer than 200 bytes"),
        ("é" * 101, "longer than 200 bytes"),
    ],
    ids=ascii,
)
def test_names_that_cannot_be_targets(name: str, told: str):
    """What means something else in the store, or is no file's name, is refused, and why."""
    assert told in (problem_with_target(name) or "")


@given(st.text())
def test_any_name_is_judged(name: str):
    """No text of any kind is an error, and what is allowed can be a path's parts."""
    parts = name.split("/")
    is_allowed = problem_with_target(name) is None

    assert not is_allowed or all(0 < len(part.encode()) <= 200 for part in parts)


@pytest.mark.parametrize(
    "name", ["2025-08-01 18:36:31\n", "2025-8-1 18:36:31", "x", "٢٠٢٥-08-01 18:36:31"]
)
def test_instance_is_named_by_a_time(name: str):
    """Nothing but YYYY-mm-dd HH:MM:SS names an instance."""
    assert INSTANCE.fullmatch("2025-08-01 18:36:31")
    assert not INSTANCE.fullmatch(name)
