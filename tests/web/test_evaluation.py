"""What the evaluation wrote of an instance, on its pages and in its JSON."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cbngtrain.evaluation.comparison import comparison, document
from cbngtrain.evaluation.measures import tally_of
from cbngtrain.evaluation.metrics import metrics
from cbngtrain.evaluation.options import Options
from cbngtrain.evaluation.pairs import paired
from cbngtrain.evaluation.spread import spread
from cbngtrain.promote import RULE
from tests.evaluation.trials import drawn
from tests.web.conftest import WRITER, digest_of
from web import evaluation as module
from web.evaluation import evaluation
from web.templates import render

BROWSER = {"Accept": "text/html"}
SET = "/Legacy Import"
FIRST, SECOND = "2025-08-01 18:36:31", "2025-08-02 18:36:31"
OPTIONS = Options(edit_set="Legacy Import", bootstrap=100)

NEW, OLD = drawn(300, 3200, 1), drawn(300, 3200, 2)
METRICS = metrics(NEW, OPTIONS, overlap=0)
BESIDE = comparison(
    paired(NEW, OLD), ("this", "previous"), OPTIONS, network=digest_of(b"the network before")
)
SPREAD = spread(tally_of(NEW), {2: tally_of(OLD)}, OPTIONS)
COMPARISON = document([BESIDE], OPTIONS, SPREAD)


@pytest.fixture
def publish(client, put):
    """Publish an instance with what the evaluation wrote."""

    def publish(name=SECOND, measured: Any = METRICS, compared: Any = COMPARISON, network=b"new"):
        files = {
            "artifacts/main_ann.fann": put(network),
            "trial/roc.png": put(b"png"),
            "trial/roc.svg": put(b"svg"),
            "trial/only.svg": put(b"only"),
        }
        for path, value in (("metrics", measured), ("comparison", compared)):
            if value is not None:
                text = value if isinstance(value, bytes) else json.dumps(value).encode()
                files[f"trial/{path}.json"] = put(text)
        answer = client.simulate_put(f"{SET}/{name}", json={"files": files}, headers=WRITER)
        assert answer.status_code == 201, answer.text

    return publish


@pytest.fixture
def page(client):
    """Get a page as a browser does."""

    def page(path: str) -> str:
        answer = client.simulate_get(path, headers=BROWSER)
        assert answer.status_code == 200, answer.text
        return str(answer.text)

    return page


def told(figure: dict[str, float], digits: int = 2) -> tuple[str, str]:
    """A share and its interval as pages show them."""
    value, low, high = (f"{100 * figure[end]:.{digits}f}" for end in ("value", "low", "high"))
    return f"{value} %", f"{low} to {high}"


def test_figures_have_intervals(page, publish):
    """On the instance's page, and the one that counts in every list."""
    publish()
    headline = METRICS["at_rates"][3]
    assert headline["rate"] == 0.001

    for path in (f"{SET}/{SECOND}/", f"{SET}/", "/"):
        text = page(path)
        assert all(part in text for part in told(headline["recall"])), path
    text = page(f"{SET}/{SECOND}/")
    assert all(part in text for part in told(METRICS["at_live_threshold"]["false_positive_rate"]))
    assert "where 3.4 % of all edits are vandalism" in text
    assert f"{METRICS['roc_auc']['value']:.4f}" in text


def test_comparison_verdict_and_spread_are_shown(page, publish):
    """The answer and why, differences with intervals, edits that changed, what the gate says."""
    publish(FIRST, None, None, network=b"the network before")
    publish()
    text = page(f"{SET}/{SECOND}/")

    assert f"<strong>{BESIDE['answer']['is'].capitalize()}</strong>" in text
    difference = BESIDE["at_rates"][0]["difference"]
    assert f"{100 * difference['low']:+.2f} to {100 * difference['high']:+.2f}" in text
    first = BESIDE["changes"]["at_live_threshold"]["newly_wrong"][0]["edit"]
    assert f'href="https://en.wikipedia.org/w/index.php?diff={first}"' in text
    assert 'It is the network of <a href="../2025-08-01%2018%3A36%3A31/">' in text
    assert f">{FIRST}</a>" in text
    assert "<h2>The gate</h2>" in text
    assert "3200 constructive edits are enough for a rate of 0.1 %" in text
    assert "<h2>Over seeds</h2>" in text


def test_programs_get_the_same(client, publish):
    """Figures, comparison, spread and verdict are in the JSON."""
    publish()
    value = client.simulate_get(f"{SET}/{SECOND}/").json["evaluation"]
    listed = client.simulate_get(f"{SET}/").json["instances"][0]

    recall = METRICS["at_rates"][3]["recall"]
    assert value["metrics"]["headline"]["caught"]["low"] == pytest.approx(recall["low"])
    assert value["comparisons"][0]["answer"] == BESIDE["answer"]["is"]
    assert value["verdict"]["answer"] in {"promote", "hold"}
    assert value["spread"]["seeds"] == [2]
    assert listed["headline"] == value["metrics"]["headline"]


def test_each_plot_is_shown_once(page, publish):
    """As PNG, with its SVG beside it; an SVG alone is shown itself."""
    publish()
    text = page(f"{SET}/{SECOND}/")

    assert text.count("<img ") == 2
    assert '<img src="trial/roc.png"' in text
    assert '<img src="trial/only.svg"' in text
    assert 'href="trial/roc.svg"' in text


@pytest.mark.parametrize("reason", ["no vandalism", "no edits"])
def test_degenerate_trial_says_why(page, publish, reason: str):
    """A sentence stands where a number would."""
    of = drawn(0, 40 if reason == "no vandalism" else 0)
    publish(measured=metrics(of, OPTIONS, overlap=0), compared=None)

    text = page(f"{SET}/{SECOND}/")
    assert f"the trial has {reason}" in text
    assert "nan" not in text.lower().replace("unan", "")


def test_script_in_other_peoples_json_is_text(page, publish):
    """Names, reasons and edits of other clients run nothing and lead nowhere."""
    evil = "<script>alert(1)</script>"
    text = json.dumps(COMPARISON).replace('"previous"', json.dumps(evil))
    bad = json.loads(text)
    for each in bad["comparisons"][0]["changes"]["at_live_threshold"]["newly_wrong"]:
        each.update(edit="javascript:alert(1)", url="javascript:alert(1)")
    publish(compared=bad)

    shown = page(f"{SET}/{SECOND}/")
    assert evil not in shown
    assert "&lt;script&gt;" in shown
    assert 'href="javascript' not in shown


@pytest.mark.parametrize(
    "bad", [b"", b"{", b"[]", b"{}", b"null", b'{"at_rates": 7}', b"[" * 100_000, b"NaN"], ids=repr
)
def test_what_is_no_evaluation_is_not_shown(page, publish, bad: bytes):
    """The page is that of before; nothing fails."""
    publish(measured=bad, compared=bad)

    text = page(f"{SET}/{SECOND}/")
    assert "At fixed false positive rates" not in text
    assert page(f"{SET}/")
    assert page("/")


def _paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value within *value*, but for the long lists."""
    found = [at] if at else []
    if isinstance(value, dict):
        for name, child in value.items():
            found += _paths(child, (*at, name))
    elif isinstance(value, list):
        for number, child in enumerate(value[:2]):
            found += _paths(child, (*at, number))
    return found


JUNK = st.sampled_from([None, True, -1, 1e400, "x", [], {}, [None], {"value": "x"}, "9" * 9999])


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    where=st.sampled_from([("metrics", p) for p in _paths(METRICS)]
                          + [("comparison", p) for p in _paths(COMPARISON)]),
    junk=JUNK,
)  # fmt: skip
def test_any_value_may_be_junk(tmp_path, where, junk):
    """Whatever is wrong in the JSON, there is a page, and its own JSON is sound."""
    values = json.loads(json.dumps({"metrics": METRICS, "comparison": COMPARISON}))
    name, path = where
    at: Any = values[name]
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = junk
    files = {}
    for kind, value in values.items():
        files[kind] = tmp_path / digest_of(json.dumps(value).encode())
        files[kind].write_text(json.dumps(value))

    found = module._read(files["metrics"], files["comparison"], RULE, "")

    value = found.to_json()
    json.dumps(value, allow_nan=False)
    if found.metrics:
        assert render("metrics.html", metrics=found.metrics)
    if value:
        assert render("comparison.html", evaluation=value, compared_with={})


def test_rule_is_that_of_the_service(store, publish):
    """The verdict on a page is by the rule that the settings have."""
    publish()
    instance = store.instance("Legacy Import", SECOND)

    strict = evaluation(store, instance, RULE)
    lax = evaluation(store, instance, type(RULE)(rate=0.01, margin=0.9, overlap=9))

    assert (strict.verdict or {})["rule"]["rate"] == 0.001
    assert (lax.verdict or {})["answer"] == "promote"


def test_alias_that_was_moved_by_hand_has_a_page(store, page, publish):
    """Who, when and why are not known then."""
    publish()
    (store.instances.folder("Legacy Import") / "production").symlink_to(SECOND)

    assert "In production:" in page(f"{SET}/")
