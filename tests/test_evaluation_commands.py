"""``cbng-trainer compare`` and ``spread``."""

import json
from pathlib import Path

import pytest

from tests.conftest import ROOT, Site, edits

REAL = {"PYTHONPATH": str(ROOT)}  # with the evaluation itself, not the one in small


def names(site: Site, target: str = "Alpha") -> list[str]:
    """The instances of an edit set, oldest first."""
    folder = site.base / "store" / "tree" / target
    return sorted(path.name for path in folder.iterdir() if path.name[:2] == "20")


@pytest.mark.slow
def test_compare_two_instances(built: Site):
    """As a table, and as the JSON that a build leaves."""
    built.run(env={"CBNG_SEED": "2"})
    first, second = names(built)

    table = built.run("cbng-trainer", "compare", "alpha", f"Alpha/{first}", env=REAL)
    value = built.run(
        "cbng-trainer", "compare", "alpha/latest", f"alpha/{first}", "--json", env=REAL
    )

    assert (table.status, value.status) == (0, 0), table
    assert table.out.startswith("Alpha: 8 edits: 3 vandalism, 5 constructive, scored by both")
    result = json.loads(value.out)
    assert (result["format"], result["edit_set"]) == ("cbngtrain/comparison", "Alpha")
    assert result["comparisons"][0]["names"] == {"new": second, "reference": first}


@pytest.mark.slow
def test_compare_across_edit_sets_without_a_common_edit(built: Site):
    """There is nothing to compare, and it is said; exit status 11."""
    ended = built.run("cbng-trainer", "compare", "alpha", "beta", env=REAL)

    assert ended.status == 11
    assert "their trials have no edit in common" in ended.out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("alpha", "alpha"), "name two instances"),
        (("alpha", "nothing"), "nothing is published of 'nothing'"),
        (("", "alpha"), "nothing is published of ''"),
        (("../..", "alpha"), "nothing is published of '../..'"),
        (("alpha", "beta/production"), "nothing of 'Beta' is in production"),
        (("alpha", "a//b"), "nothing is published of 'a//b'"),
    ],
)
def test_compare_says_what_is_wrong(built: Site, arguments: tuple[str, str], told: str):
    """One line, exit status 3: the words are wrong, not the store."""
    ended = built.run("cbng-trainer", "compare", *arguments)

    assert ended.status == 3, ended
    assert (told in ended.out, len(ended.lines)) == (True, 1), ended


def spread_json(site: Site) -> Path:
    """The reference to the spread of Alpha's networks."""
    return site.path / "build" / "alpha" / "spread.json"


@pytest.mark.slow
def test_spread_trains_and_tries_other_seeds_once(built: Site):
    """A second call finds them all, and so does a build with one of these seeds."""
    ended = built.run("cbng-trainer", "spread", "alpha", "--seeds", "3")

    assert ended.out == "seeds [2, 3, 4]\n", ended
    assert built.calls == ["create_ann", "trial_run"] * 3
    built.forget_calls()
    again = built.run("cbng-trainer", "spread", "alpha", "--seeds", "3", "--json", "-n", "2")
    assert json.loads(again.out)["seeds"] == [2, 3, 4]
    assert (built.calls, built.evaluations) == ([], [])
    built.run("trial:alpha", env={"CBNG_SEED": "3"})
    assert built.calls == []


@pytest.mark.slow
def test_spread_leaves_the_edit_set_alone(built: Site):
    """Its records, references and instances: the next build has nothing to do."""
    before = {p: p.read_bytes() for p in (built.path / "build").rglob("*") if p.is_file()}

    built.run("cbng-trainer", "spread", "alpha", "--seeds", "2")

    after = {p: p.read_bytes() for p in (built.path / "build").rglob("*") if p.is_file()}
    assert {p: text for p, text in after.items() if p != spread_json(built)} == before
    assert built.run().lines == ["Nothing to do: 20 up to date, 4 sources unchanged."]


@pytest.mark.slow
def test_comparison_quotes_the_spread_of_its_network(built: Site):
    """Once there is one; in another checkout too; and not that of another network."""
    seed = {"CBNG_SEED": "9"}
    built.run(env=seed)
    built.run("cbng-trainer", "spread", "alpha", "--seeds", "2", env=seed)
    built.forget_calls()

    quoting = built.run(env=seed)

    assert built.evaluations == ["compare"], quoting
    assert "inputs.references/spread.json nothing → " in quoting.out
    assert built.run(env=seed).lines == ["Nothing to do: 20 up to date, 4 sources unchanged."]
    elsewhere = built.add_checkout("elsewhere")
    built.forget_calls()
    built.run(cwd=elsewhere, env=seed)
    assert (built.evaluations, len(names(built))) == ([], 3)
    built.dump(3, edits(200, 9))
    built.run(env=seed)
    assert not spread_json(built).exists()


@pytest.mark.slow
def test_own_seed_is_that_of_the_built_network(built: Site):
    """Not that which is set now."""
    built.run(env={"CBNG_SEED": "2"})

    ended = built.run("cbng-trainer", "spread", "alpha", "--seeds", "2")

    assert ended.out == "seeds [1, 3]\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nothing",), "there is no edit set 'nothing'"),
        (("alpha", "--seeds", "0"), "is not a whole number from 1 to 100"),
        (("alpha", "--seeds", "x"), "is not a whole number from 1 to 100"),
    ],
)
def test_spread_says_what_is_wrong(built: Site, arguments: tuple[str], told: str):
    """One line, and the status of usage."""
    ended = built.run("cbng-trainer", "spread", *arguments)

    assert ended.status == 3
    assert told in ended.out


@pytest.mark.slow
def test_spread_of_nothing(site: Site):
    """Before a build it says what to run."""
    ended = site.run("cbng-trainer", "spread", "alpha")

    assert ended.status == 13
    assert "run `doit " in ended.out


@pytest.mark.slow
def test_failed_seed_is_one_line_and_the_others_are_kept(built: Site):
    """It names the step; what is finished is found by the next call."""
    built.behave(trial_run={"exit": 3})

    ended = built.run("cbng-trainer", "spread", "alpha", "--seeds", "2")

    assert ended.status == 10
    assert "StepFailed: trial:alpha failed with exit code 3" in ended.out
    built.behave()
    built.forget_calls()
    built.run("cbng-trainer", "spread", "alpha", "--seeds", "2")
    assert built.calls.count("create_ann") < 2
