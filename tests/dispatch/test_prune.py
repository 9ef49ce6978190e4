"""Which pods nobody needs any more, by the plan and by what has become of them."""

from datetime import UTC, datetime

import pytest

from cbngtrain.dispatch.manifest import COMPONENT, EDIT_SET
from cbngtrain.dispatch.prune import rows
from tests.dispatch.conftest import plan_of, step_of
from tests.dispatch.fake_cluster import Json

RUNS = {"running": {"startedAt": "2026-01-02T03:04:05Z"}}
ENDED = {"terminated": {"exitCode": 0, "reason": "Completed"}}


def pod(recipe: str, slug: str, state: Json) -> Json:
    """A pod of ours."""
    return {
        "metadata": {
            "name": "a-pod",
            "labels": {COMPONENT: recipe},
            "annotations": {EDIT_SET: slug},
            "creationTimestamp": "2026-01-02T03:04:00Z",
        },
        "status": {
            "phase": "Running" if state == RUNS else "Succeeded",
            "containerStatuses": [{"name": "step", "state": state}],
        },
    }


@pytest.mark.parametrize(
    ("recipe", "slug", "state", "surplus"),
    [
        ("snippet", "alpha", RUNS, ""),
        ("snippet", "alpha", ENDED, "ended"),
        ("snippet", "beta", RUNS, "unknown to the plan"),
        ("other", "alpha", RUNS, "unknown to the plan"),
    ],
    ids=["of the plan", "ended", "another edit set", "another step"],
)
def test_pod_that_runs_for_the_plan_stays(recipe: str, slug: str, state: Json, surplus: str):
    """What has ended, or runs for no step of the plan, is surplus; what runs for one is not."""
    (row,) = rows([pod(recipe, slug, state)], plan_of(step_of("alpha")), datetime.now(UTC))

    assert row.surplus == surplus
