"""The gate: promote or hold, and why."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbngtrain.errors import BlobNotFound, HeldError
from cbngtrain.evaluation.comparison import comparison, document
from cbngtrain.evaluation.metrics import metrics
from cbngtrain.evaluation.options import Options
from cbngtrain.evaluation.pairs import paired
from cbngtrain.promote import Rule, Verdict, judged, promote, rule_of, verdict_on
from cbngtrain.settings import Settings
from cbngtrain.step import Digest
from cbngtrain.store import DirectoryStore, Instance
from tests.conftest import Site
from tests.evaluation.trials import trial

RULE = Rule(rate=0.001, margin=0.0, overlap=0)
OPTIONS = Options(bootstrap=100)
CONSTRUCTIVE = [0.1] * 3000


def told(
    new: list[float], reference: list[float], *, overlap: int | None = 0, constructive: int = 3000
) -> tuple[Any, Any]:
    """What the evaluation writes of a network and a reference with these scores of vandalism."""
    ours, theirs = (trial(scores, [0.1] * constructive) for scores in (new, reference))
    beside = comparison(paired(ours, theirs), ("new", "the bot's"), OPTIONS)
    return metrics(ours, OPTIONS, overlap), document([beside], OPTIONS, None)


Found = Callable[[], tuple[Any, Any]]

GOOD, BAD = [0.9] * 40, [0.9] * 20 + [0.05] * 20


def test_better_network_is_promoted():
    """It catches more, surely; enough edits; none trained on."""
    verdict = judged(*told(GOOD, BAD), RULE)

    assert verdict.promotes
    assert verdict.reference == "the bot's"
    assert "it catches +50.00 points (" in verdict.why
    assert "3000 constructive edits are enough for a rate of 0.1 %" in verdict.why


def test_equal_network_is_promoted():
    """Not lower is enough, where the interval says so."""
    assert judged(*told(GOOD, GOOD), RULE).promotes


@pytest.mark.parametrize(
    ("found", "why"),
    [
        pytest.param(
            partial(told, BAD, GOOD), "may be less than is allowed to be lost: none", id="worse"
        ),
        pytest.param(
            partial(told, [*GOOD[1:], 0.05], GOOD), "may be less than", id="perhaps worse"
        ),
        pytest.param(
            partial(told, GOOD, BAD, constructive=2999),
            "2999 constructive edits are too few",
            id="few",
        ),
        pytest.param(
            partial(told, GOOD, BAD, overlap=2), "2 of the trial's edits were", id="overlap"
        ),
        pytest.param(
            partial(told, GOOD, BAD, overlap=None), "nobody knows how many", id="unknown overlap"
        ),
        pytest.param(
            lambda: (told(GOOD, BAD)[0], None), "no network to compare it with", id="alone"
        ),
        pytest.param(lambda: (None, told(GOOD, BAD)[1]), "nobody knows how many", id="no report"),
        pytest.param(
            partial(told, [], []), "nothing is known of the recall at 0.1 %", id="no vandalism"
        ),
    ],
)
def test_doubt_holds(found: Found, why: str):
    """Whatever is not known, or not so, holds a network, and is named."""
    verdict = judged(*found(), RULE)

    assert not verdict.promotes
    assert why in verdict.why


def test_network_that_no_threshold_fits_is_held():
    """It catches no less than a reference that has none either: the bot could use neither."""
    ours = trial(GOOD + [1.0] * 10, [1.0] * 30 + CONSTRUCTIVE)
    beside = comparison(paired(ours, ours), ("new", "the bot's"), OPTIONS)

    verdict = judged(metrics(ours, OPTIONS, 0), document([beside], OPTIONS, None), RULE)

    assert beside["answer"]["is"] == "undecided"
    assert not verdict.promotes
    assert "no threshold of it keeps a false positive rate of 0.1 %" in verdict.why


def test_rule_is_the_settings_():
    """Rate, margin and overlap are settings."""
    env = {"CBNG_PROMOTE_RATE": "1", "CBNG_PROMOTE_MARGIN": "80", "CBNG_PROMOTE_OVERLAP": "3"}
    rule = rule_of(Settings.from_env(env))

    assert rule == Rule(rate=0.01, margin=0.8, overlap=3)
    assert judged(*told(BAD, GOOD, overlap=3, constructive=300), rule).promotes


NAMES = ("comparisons", "at_rates", "rate", "difference", "low", "names", "reference", "overlap")

anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(anything, anything)
def test_nonsense_holds(metrics: Any, comparison: Any):
    """Other clients publish what they like: it is no reason to promote, and no crash."""
    verdict = judged(metrics, comparison, RULE)

    assert not verdict.promotes
    assert json.loads(json.dumps(verdict.to_json()))["answer"] == "hold"


RUNNING = "ab" * 32


def beside(new: list[float], *others: tuple[str, list[float]]) -> tuple[Any, Any]:
    """What the evaluation writes of a network beside others, each with its sha256."""
    ours = trial(new, CONSTRUCTIVE)
    found = [
        comparison(paired(ours, trial(theirs, CONSTRUCTIVE)), ("new", network), OPTIONS, network)
        for network, theirs in others
    ]
    return metrics(ours, OPTIONS, 0), document(found, OPTIONS, None)


@pytest.mark.parametrize(
    ("found", "running", "word"),
    [
        pytest.param(partial(beside, GOOD, ("bot", BAD)), "", "promote", id="none in production"),
        pytest.param(
            partial(beside, GOOD, (RUNNING, BAD)), RUNNING, "promote", id="better than it"
        ),
        pytest.param(
            partial(beside, GOOD, ("held", BAD)), RUNNING, "hold", id="better than another"
        ),
        pytest.param(
            partial(beside, BAD, ("bot", BAD), (RUNNING, GOOD)),
            RUNNING,
            "hold",
            id="worse than one of two",
        ),
        pytest.param(
            partial(beside, GOOD, ("bot", BAD), (RUNNING, GOOD)),
            RUNNING,
            "promote",
            id="not worse than two",
        ),
    ],
)
def test_network_must_not_lose_beside_the_one_in_production(found: Found, running: str, word: str):
    """That another one, which the gate held perhaps, is no better says nothing."""
    assert judged(*found(), RULE, running).word == word


# In a store ------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "store")


def published(
    store: DirectoryStore, found: tuple[Any, Any], name: str, network: str = "network"
) -> Instance:
    """An instance with these results."""
    files = {}
    paths = ("trial/metrics.json", "trial/comparison.json", "artifacts/main_ann.fann")
    for path, value in zip(paths, (*found, network), strict=True):
        if value is not None:
            place = store.root.with_name("value")
            place.write_text(json.dumps(value))
            files[path] = store.add(place)
    instance = Instance("A", name, files, files, {})
    store.publish(instance)
    return instance


def test_promotion_keeps_who_when_and_the_verdict(store: DirectoryStore):
    """The record says by what verdict."""
    instance = published(store, told(GOOD, BAD), "2026-01-02 03:04:05")
    verdict = verdict_on(store, instance, RULE)

    promote(store, instance, verdict, "me@here")

    record = store.production("A")
    assert record
    assert (record["instance"], record["who"], record["why"]) == (
        instance.name, "me@here", verdict.why,
    )  # fmt: skip
    assert record["verdict"] == verdict.to_json()
    assert "forced" not in record


def test_held_network_is_not_promoted_without_a_reason(store: DirectoryStore):
    """Nothing moves; with a reason it does, and the reason is kept with the verdict."""
    good = published(store, told(GOOD, BAD), "2026-01-02 03:04:05")
    promote(store, good, verdict_on(store, good, RULE), "me")
    bad = published(store, told(BAD, GOOD), "2026-01-03 00:00:00")
    verdict = verdict_on(store, bad, RULE)

    with pytest.raises(HeldError, match=r"A/2026-01-03 00:00:00 is held: at a false positive"):
        promote(store, bad, verdict, "me")
    assert (store.production("A") or {})["instance"] == good.name
    promote(store, bad, verdict, "me", "the other one is broken")

    record = store.production("A") or {}
    assert (record["instance"], record["why"]) == (bad.name, "the other one is broken")
    assert (record["forced"], record["verdict"]["answer"]) == (True, "hold")


def test_network_that_was_not_compared_with_the_one_in_production_is_held(store: DirectoryStore):
    """It says what to do; the same network in another instance passes."""
    stands = published(store, told(GOOD, BAD), "2026-01-02 03:04:05")
    promote(store, stands, verdict_on(store, stands, RULE), "me")
    same = published(store, told(GOOD, BAD), "2026-01-03 00:00:00")
    other = published(store, told(GOOD, BAD), "2026-01-04 00:00:00", "another network")

    assert verdict_on(store, same, RULE).promotes
    assert verdict_on(store, other, RULE).why == (
        "it was not compared with the network in production: the next build compares the latest "
        "one, cbng-trainer compare any two"
    )


def test_network_in_production_that_nobody_knows_holds(store: DirectoryStore):
    """A script's instance has none: nothing says that it is no better."""
    stands = published(store, told(GOOD, BAD), "2026-01-02 03:04:05")
    promote(store, stands, verdict_on(store, stands, RULE), "me")
    other = published(store, told(GOOD, BAD), "2026-01-04 00:00:00", "another network")
    shutil.rmtree(store.root / "tree" / "A" / stands.name)

    assert not verdict_on(store, other, RULE).promotes


def test_lost_report_is_an_error(store: DirectoryStore):
    """What cannot be read is no reason to hold nor to promote: it is told."""
    instance = published(store, told(GOOD, BAD), "2026-01-02 03:04:05")
    store.path(Digest(instance.files["trial/metrics.json"])).unlink()

    with pytest.raises(BlobNotFound):
        verdict_on(store, instance, RULE)


def test_verdict_of_nothing_is_to_hold():
    """A network of which nothing is known stays where it is."""
    verdict = judged(None, None, RULE)

    assert isinstance(verdict, Verdict)
    assert verdict.word == "hold"
    assert len([check for check in verdict.checks if not check.holds]) == 3


# On the command line ---------------------------------------------------------------------------


def in_production(site: Site, name: str = "Alpha") -> str | None:
    """What the alias points to."""
    alias = site.base / "store" / "tree" / name / "production"
    return str(alias.readlink()) if alias.is_symlink() else None


def test_first_network_is_held_and_said_why(built: Site):
    """Nothing is in production then; exit status 15."""
    ended = built.run("cbng-trainer", "promote", "alpha")

    assert ended.status == 15
    assert ended.lines[0].endswith(": hold"), ended
    assert "  no   there is no network to compare it with" in ended.lines[1]
    assert "--force --reason TEXT" in ended.lines[-1]
    assert in_production(built) is None


@pytest.mark.slow
def test_promote_by_the_gate(built: Site):
    """A dry run changes nothing; then it moves; the second time it is there already."""
    built.run(env={"CBNG_SEED": "2"})

    dry = built.run("cbng-trainer", "promote", "alpha", "--dry-run", "--json")
    assert (dry.status, json.loads(dry.out)["answer"], in_production(built)) == (
        0, "promote", None,
    )  # fmt: skip
    ended = built.run("cbng-trainer", "promote", "Alpha")
    assert ended.status == 0, ended
    assert ended.lines[-1].endswith("is in production now")
    assert in_production(built) == (built.base / "store/tree/Alpha/latest").readlink().name
    again = built.run("cbng-trainer", "promote", "alpha")
    assert (again.status, again.lines[-1].endswith("is in production already")) == (0, True)


@pytest.mark.slow
def test_force_needs_a_reason(built: Site):
    """Which is kept."""
    assert built.run("cbng-trainer", "promote", "alpha", "--force").status == 3
    assert built.run("cbng-trainer", "promote", "alpha", "--force", "--reason", " ").status == 3
    assert built.run("cbng-trainer", "promote", "alpha", "--reason", "x").status == 3
    assert in_production(built) is None

    forced = built.run("cbng-trainer", "promote", "alpha", "--force", "--reason", "it is the first")

    assert forced.status == 0, forced
    record = DirectoryStore(built.base / "store").production("Alpha") or {}
    assert (record["why"], record["forced"]) == ("it is the first", True)
    assert "@" in record["who"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nothing"], "nothing is published of 'nothing'; known are: alpha, beta"),
        (["alpha", "--instance", "2020-01-01 00:00:00"], "'Alpha' has no instance '2020-01-01"),
        (["alpha", "--instance", "production"], "is neither a time nor latest"),
        (["alpha", "--instance", "../../x"], "--instance '../../x' is neither a time nor latest"),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_what_is_not_there_is_a_usage_error(built: Site, arguments: list[str], told: str):
    """Exit status 3, with what there is."""
    ended = built.run("cbng-trainer", "promote", *arguments)

    assert ended.status == 3, ended
    assert told in ended.out


@pytest.mark.slow
def test_nothing_promotes_by_itself_unless_told_to(built: Site):
    """A build says what the gate says where the setting has it promote."""
    built.run(env={"CBNG_SEED": "2"})
    assert in_production(built) is None

    ended = built.run(env={"CBNG_SEED": "3", "CBNG_PROMOTE": "auto"})

    assert ended.status == 0, ended
    lines = [line for line in ended.lines if line.startswith("published Alpha/")]
    assert "; in production: at a false positive rate of 0.1 %" in lines[0]
    assert in_production(built) == (built.base / "store/tree/Alpha/latest").readlink().name
    assert "Nothing to do" in built.run(env={"CBNG_SEED": "3", "CBNG_PROMOTE": "auto"}).out


@pytest.mark.slow
def test_gate_that_holds_fails_no_build(site: Site):
    """The first networks are published, and held."""
    ended = site.run(env={"CBNG_PROMOTE": "auto"})

    assert ended.status == 0, ended
    assert "; held: there is no network to compare it with" in ended.out
    assert in_production(site) is None
