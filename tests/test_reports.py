"""What a build tells of its networks: reports as steps, with real doit and toys for programs."""

import json
from typing import Any

import pytest

from tests.conftest import Site, edits


def published(site: Site, path: str, name: str = "Alpha") -> Any:
    """A JSON file of the latest instance."""
    return json.loads((site.base / "store" / "tree" / name / "latest" / path).read_bytes())


def test_report_is_published_beside_its_trial(built: Site):
    """Figures, and plots under the names they always had."""
    files = published(built, "instance.json")["files"]

    assert published(built, "trial/metrics.json")["edit_set"] == "Alpha"
    assert {"trial/falsepositives.png", "trial/thresholds.png", "trial/roc.svg"} <= set(files)
    assert "logs/report.log" in files


def test_real_share_of_vandalism_changes_the_report_alone(built: Site):
    """What changes results is in the fingerprint: the setting rebuilds what it decides."""
    ended = built.run(env={"CBNG_VANDALISM_SHARE": "5"})

    assert (built.calls, built.evaluations) == ([], ["report", "report"]), ended
    assert "built report:alpha in " in ended.out
    assert "parameters.share 0.034 → 0.05" in ended.out
    assert published(built, "trial/metrics.json")["share"] == 0.05


def test_renamed_edit_set_is_reported_anew_and_trained_no_more(built: Site):
    """Its name is on the plots: they are all that differs."""
    built.groups(
        (1, "Gamma", "Generic", None), (2, "training", "Training", 1), (3, "trial", "Trial", 1)
    )

    ended = built.run()

    assert (built.calls, built.evaluations) == ([], ["report"]), ended
    assert published(built, "trial/metrics.json", "Gamma")["edit_set"] == "Gamma"


def test_report_sees_what_it_declares_and_nothing_else(built: Site):
    """Its scratch directory holds the trial's scores, the network and the training edits."""
    built.dump(3, edits(200, 9))
    built.run()
    (call,) = (built.base / "evaluations.log").read_text().splitlines()

    assert call == "report details.txt main_ann.fann train.xml"


@pytest.mark.parametrize("vandalism", [False, True])
def test_trial_of_one_class_fails_no_build(site: Site, vandalism: bool):  # noqa: FBT001 - a case
    """What cannot be measured is stated by the report; the networks are published all the same."""
    kind = "true" if vandalism else "false"
    others = [each for each in edits(200, 8) if f"<isVandalism>{kind}<" in each]
    site.dump(3, others)

    ended = site.run()

    assert ended.status == 0, ended
    assert published(site, "trial/metrics.json")["counts"]["edits"] == len(others)
