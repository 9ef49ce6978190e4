"""The pod of a step."""

import json
from pathlib import Path

import pytest

from cbngtrain.dispatch.manifest import Room, Shell, manifest, pod_name
from cbngtrain.image import Image
from cbngtrain.recipes import RECIPES
from cbngtrain.step import Digest, Fingerprint, Step

KEY = Fingerprint(Digest("0123456789abcdef" * 4))
CORE = Image.parse("tools-harbor.wmcloud.org/tool-cluebotng/core:latest@sha256:" + "c" * 64)
GOLDEN = Path(__file__).with_name("pod.json")


def step(name: str = "bayes_train", slug: str = "alpha") -> Step:
    """A step of that recipe."""
    recipe = next(each for each in RECIPES if each.name == name)
    return Step(recipe=recipe, slug=slug, program={}, conf=None, parameters={})


def test_pod_is_the_golden_one():
    """The whole pod, as it stands in pod.json beside this file."""
    shell = Shell(image=CORE, script="echo 'the script'", workspace="/workspace", seconds=9000)
    pod = manifest(step(), KEY, shell, Room(memory=1024, cpu=1000))

    assert pod == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_names_are_those_of_what_is_made():
    """Two edit sets with the same bytes meet in one pod; the step tells what it is."""
    assert pod_name(step("two_bayes_db", "alpha"), KEY) == "cbng-two-bayes-db-0123456789abcdef0123"
    assert pod_name(step("ann", "alpha"), KEY) == pod_name(step("ann", "beta"), KEY)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_names_are_valid(recipe):
    """At most 63 characters, so that they can be labels and host names."""
    assert len(pod_name(step(recipe.name), KEY)) <= 63


def test_token_is_no_text():
    """The pod takes the token from the secret; no value of it is in the manifest."""
    shell = Shell(image=CORE, script="", workspace="", seconds=1)
    (container,) = manifest(step(), KEY, shell, Room(memory=1, cpu=1))["spec"]["containers"]

    assert [set(each) for each in container["env"]] == [{"name", "valueFrom"}, {"name", "value"}]
    assert "volumeMounts" not in container
