"""
A build, put together from the environment, once.

``dodo.py`` and ``cbng-trainer`` both do it here, so that they run the same build. What only some
builds need, such as the clients of Kubernetes and Toolforge, is loaded when it is needed.
"""

import atexit
import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cbngtrain.build import Build, Dispatcher
from cbngtrain.canonical import berkeley_db
from cbngtrain.dispatch.deadline import Deadline
from cbngtrain.dispatch.local import LocalDispatcher
from cbngtrain.dispatch.programs import Images, images, programs
from cbngtrain.dispatch.split import SplitDispatcher
from cbngtrain.errors import DispatchError, ReviewError, SettingsError, TrainerError, told
from cbngtrain.http_store import HttpStore
from cbngtrain.plan import EditSet, Plan, edit_sets, plan
from cbngtrain.review import EditGroup, ReviewService, edit_groups_from_json
from cbngtrain.scratch import DIRECTORY, Scratch
from cbngtrain.settings import Settings
from cbngtrain.stopping import stop_on_signals
from cbngtrain.store import DirectoryStore, Store
from cbngtrain.summary import Course, summary
from cbngtrain.watching import LONG, leave

if TYPE_CHECKING:
    from cbngtrain.dispatch.jobs import JobDispatcher
    from cbngtrain.dispatch.pods import PodDispatcher
    from cbngtrain.toolforge_api import ToolforgeApi

log = logging.getLogger(__name__)

GROUPS = DIRECTORY / "edit-groups.json"
"""What the review service answered last; commands that run no tasks read this."""

TOOL = "cluebotng-trainer"
"""The tool on Toolforge, where the settings name no namespace."""


def compose(env: Mapping[str, str], *, runs: bool, level: str = "WARNING") -> Build:
    """
    Return the build that the environment asks for.

    Args:
        env: The environment.
        runs: Whether tasks will be run: then the review service is asked for its edit groups.
        level: How much is logged where the settings do not say.

    Raises:
        TrainerError: Settings, review service or plan are wrong.
    """
    settings = settings_from(env, level)
    service = ReviewService(settings.review_url)
    if not runs:
        groups = _known_groups(service, settings)
        found = edit_sets(groups, service.dump_url, settings.fallback_trial)
        return build_of(settings, found, runs=False)
    with told_to_store(settings):
        groups = asked_groups(service)
        found = edit_sets(groups, service.dump_url, settings.fallback_trial)
        build = build_of(settings, found, runs=True)
    build.scratch.clear()
    return build


@contextmanager
def told_to_store(settings: Settings) -> Iterator[None]:
    """Leave a summary in the store, if there is one, where a build cannot begin."""
    began = time.time()
    try:
        yield
    except TrainerError as error:
        if settings.store_url or settings.store.is_dir():
            course = Course(began=began, ended=time.time(), status=error.status,
                            problem=told(error))  # fmt: skip
            left = summary(course, (), {})
            for problem in leave(store_of(settings), left, settings.metrics_file, LONG):
                print(problem, file=sys.stderr)
        raise


def settings_from(env: Mapping[str, str], level: str) -> Settings:
    """Return the settings, with logging set up as they say. Raises SettingsError."""
    settings = Settings.from_env(env)
    logging.basicConfig(
        level=settings.log_level or level, format="%(levelname)s %(name)s: %(message)s"
    )
    return settings


def build_of(
    settings: Settings, found: tuple[EditSet, ...], instance: str = "", *, runs: bool
) -> Build:
    """Return the build of the edit sets *found*; SIGTERM and SIGINT stop it."""
    berkeley_db()  # without it nothing can be checked: better told now than after the first step
    store = store_of(settings)
    run_in = None if settings.dispatch == "local" else images(settings, store, runs=runs)
    planned = plan(found, programs(settings, run_in))
    if runs:
        dispatcher = _dispatcher(settings, store, planned, run_in)
    else:
        dispatcher = here = LocalDispatcher(store, settings, Scratch())  # `spread` alone has steps
        stop_on_signals(here.kill)
    return Build(planned, store, dispatcher, settings, instance=instance)


def _dispatcher(
    settings: Settings, store: Store, planned: Plan, run_in: Images | None
) -> Dispatcher:
    """Return the places where steps run; SIGTERM and SIGINT stop what runs there."""
    deadline = Deadline(settings.deadline)
    here = LocalDispatcher(store, settings, Scratch(), deadline)
    if run_in is None:
        stop_on_signals(here.kill)
        return here
    there = _elsewhere(settings, store, planned, run_in, deadline)

    def kill() -> None:
        there.stopping.begin()
        here.kill()

    stop_on_signals(kill, there.stopping.interrupt)
    atexit.register(there.stopping.leave)
    return there if run_in.trainer else SplitDispatcher(there, here)


def _elsewhere(
    settings: Settings, store: Store, planned: Plan, run_in: Images, deadline: Deadline
) -> "JobDispatcher | PodDispatcher":
    """Return the place for steps that do not run here."""
    if settings.dispatch == "jobs":
        from cbngtrain.dispatch import job_attendant, jobs, toolforge_jobs  # noqa: PLC0415 - see above

        client = toolforge_jobs.Jobs(toolforge(settings))
        pace_of_jobs = job_attendant.JobPace(deadline=deadline)
        return jobs.JobDispatcher(store, settings, planned, run_in, client, pace_of_jobs)
    from cbngtrain.dispatch import attendant, pods  # noqa: PLC0415 - see above

    pace = attendant.Pace(deadline=deadline)
    return pods.PodDispatcher(store, settings, planned, run_in, pace)


def toolforge(settings: Settings) -> "ToolforgeApi":
    """Return Toolforge's API, as the tool that the settings tell of; closed at the end."""
    from cbngtrain.toolforge_api import ToolforgeApi, identity  # noqa: PLC0415 - see above

    kubeconfig = Path(settings.kubeconfig or Path.home() / ".kube" / "config")
    who = identity(settings, kubeconfig)
    if who is None:
        raise SettingsError(
            f"{kubeconfig} is not there, and Toolforge asks for the tool's client certificate: set "
            "KUBECONFIG, or K8S_CLIENT_CRT and K8S_CLIENT_KEY"
        )
    tool = settings.namespace.removeprefix("tool-") or TOOL
    api = ToolforgeApi(settings.toolforge_api_url, tool, who, settings.toolforge_ca)
    atexit.register(api.__exit__)
    return api


def store_of(settings: Settings) -> Store:
    """Return the store that the settings name: a file service's, or a directory."""
    if settings.store_url:
        return HttpStore(settings.store_url, settings.file_api_key)
    return DirectoryStore(settings.store)


def asked_groups(service: ReviewService) -> list[EditGroup]:
    """Ask the review service for its edit groups, and keep the answer for who needs no network."""
    groups = service.edit_groups()
    part = GROUPS.with_name(f".{GROUPS.name}.part")
    text = json.dumps([group.to_json() for group in groups], indent=1)
    try:
        GROUPS.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        part.replace(GROUPS)
    except OSError as error:
        raise DispatchError(f"{GROUPS}: cannot be written: {error.strerror}") from error
    return groups


def _known_groups(service: ReviewService, settings: Settings) -> list[EditGroup]:
    """Return the edit groups without asking over the network."""
    if settings.review_url.startswith("file:"):
        return service.edit_groups()
    try:
        return edit_groups_from_json(json.loads(GROUPS.read_bytes()), str(GROUPS))
    except FileNotFoundError:
        log.warning("no edit groups are known here yet: run `doit` once")
    except (OSError, ValueError, ReviewError) as error:
        log.warning("%s cannot be read; run `doit` once to have it made anew: %s", GROUPS, error)
    return []
