"""A coordinator that runs one step as a Toolforge job: what the tests of jobs share."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from cbngtrain.dispatch.job_attendant import JobPace
from cbngtrain.dispatch.jobs import JobDispatcher
from cbngtrain.dispatch.manifest import pod_name
from cbngtrain.dispatch.programs import Images
from cbngtrain.dispatch.toolforge_jobs import Jobs
from cbngtrain.errors import DispatchError
from cbngtrain.image import Image
from cbngtrain.plan import Plan
from cbngtrain.settings import Settings
from cbngtrain.step import Made
from cbngtrain.toolforge_api import ToolforgeApi
from tests.dispatch.jobs_standin import JobsStandin
from tests.dispatch.places import WELL, Pod, recipe, step_of
from tests.web.conftest import TOKEN

IMAGE = Image.parse(f"tools-harbor.wmcloud.org/tool-cluebotng/core:latest@sha256:{'1' * 64}")

QUICK = JobPace(look=0.02, poll=0.05, store=0.2, deaf=3, gone=5, logs=0.2, quota=0.1, again=0.01)


class Trainer:
    """A coordinator that runs one step, of a program of its own: nothing is there already."""

    def __init__(self, pod: Pod, standin: JobsStandin, api: ToolforgeApi) -> None:
        self.pod, self.standin, self._api = pod, standin, api
        self.step = step_of(recipe("bayes_train"), core=str(pod.path))
        self.key = pod.key(self.step)
        self.name = pod_name(self.step, self.key)
        self.settings = Settings.from_env(
            {
                "CBNG_DISPATCH": "jobs",
                "CBNG_STORE_URL": pod.service.url,
                "CBNG_STORE_URL_IN_PODS": "http://host.invalid",
                "FILE_API_KEY": TOKEN,
                "CBNG_CORE_IMAGE": str(IMAGE),
                "TOOL_TOOLFORGE_API_URL": standin.url,
            }
        )
        self.settings = replace(self.settings, store_url_in_pods=pod.service.url)
        self.pace = QUICK

    def dispatcher(self, **changes: Any) -> JobDispatcher:
        """A dispatcher; each call is another process of ours, so to say."""
        return JobDispatcher(
            self.pod.store,
            replace(self.settings, **changes),
            Plan((), {self.step.slug: (self.step,)}),
            Images(IMAGE, None),
            Jobs(self._api),
            self.pace,
        )

    def run(self, **changes: Any) -> None:
        """Run the step."""
        self.dispatcher(**changes).run(self.step, self.key, self.pod.inputs(self.step))

    @property
    def has_record(self) -> bool:
        """Whether the store has the record."""
        return self.pod.store.find(self.key) is not None


def waiting(pod: Pod) -> Path:
    """Have the core wait for a file; return it."""
    go = pod.path / "go"
    pod.program("cluebotng", f"until [[ -e {go} ]]; do sleep 0.02; done\n{WELL}")
    return go


def quiet(dispatcher: JobDispatcher, trainer: Trainer, inputs: dict[str, Made]) -> None:
    """Run the step, whatever comes of it."""
    with suppress(DispatchError):
        dispatcher.run(trainer.step, trainer.key, inputs)
