"""
``cbng-trainer``: what the trainer's operators and its scheduled job call.

`compose` puts a build together from the environment; ``dodo.py`` uses it too, so that `doit` and
this command line run the same build.
"""

import argparse
import atexit
import json
import logging
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from doit.cmd_base import ModuleTaskLoader
from doit.doit_cmd import DoitMain

from cbngtrain import deploy_commands, evaluation_commands, tasks, upkeep
from cbngtrain.build import (
    DIRECTORY,
    EDITS,
    Build,
    Dispatcher,
    Scratch,
    changes,
    read_reference,
)
from cbngtrain.canonical import berkeley_db
from cbngtrain.dispatch.deadline import Deadline
from cbngtrain.dispatch.jobs import JobDispatcher, JobPace
from cbngtrain.dispatch.local import LocalDispatcher
from cbngtrain.dispatch.programs import Images, images, programs
from cbngtrain.dispatch.prune import rows
from cbngtrain.dispatch.split import SplitDispatcher
from cbngtrain.dispatch.toolforge_jobs import Jobs
from cbngtrain.errors import BlobNotFound, PlanError, SettingsError, StoreError, TrainerError
from cbngtrain.http_store import HttpStore
from cbngtrain.launch import LIMIT, Launch, launch, shown, status_of
from cbngtrain.plan import EditSet, Plan, edit_sets, plan, single_edit_set
from cbngtrain.review import EditGroup, ReviewService, edit_groups_from_json
from cbngtrain.settings import VARIABLES, Settings
from cbngtrain.step import INSTANCE, Artifact, Digest, Model, Record, Source, Step, fingerprint
from cbngtrain.store import DirectoryStore, Store
from cbngtrain.summary import Course, summary
from cbngtrain.toolforge_api import ToolforgeApi, identity
from cbngtrain.watching import LONG, leave

if TYPE_CHECKING:
    from cbngtrain.dispatch.pods import PodDispatcher

log = logging.getLogger(__name__)

GROUPS = DIRECTORY / "edit-groups.json"
"""What the review service answered last; commands that run no tasks read this."""


# Composition -----------------------------------------------------------------------------------


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
    settings = _settings(env, level)
    service = ReviewService(settings.review_url)
    if not runs:
        groups = _known_groups(service, settings)
        found = edit_sets(groups, service.dump_url, settings.fallback_trial)
        return _build(settings, found, runs=False)
    with _told_to_store(settings):
        groups = _asked_groups(service)
        found = edit_sets(groups, service.dump_url, settings.fallback_trial)
        build = _build(settings, found, runs=True)
    build.scratch.clear()
    return build


@contextmanager
def _told_to_store(settings: Settings) -> Iterator[None]:
    """Leave a summary in the store, if there is one, where a build cannot begin."""
    began = time.time()
    try:
        yield
    except TrainerError as error:
        if settings.store_url or settings.store.is_dir():
            course = Course(began=began, ended=time.time(), status=error.status,
                            problem=tasks.told(error))  # fmt: skip
            told = summary(course, (), {})
            for problem in leave(_store(settings), told, settings.metrics_file, LONG):
                print(problem, file=sys.stderr)
        raise


def _settings(env: Mapping[str, str], level: str) -> Settings:
    """Return the settings, with logging set up as they say. Raises SettingsError."""
    settings = Settings.from_env(env)
    logging.basicConfig(
        level=settings.log_level or level, format="%(levelname)s %(name)s: %(message)s"
    )
    return settings


def _build(
    settings: Settings, found: tuple[EditSet, ...], instance: str = "", *, runs: bool
) -> Build:
    """Return the build of the edit sets *found*; if it *runs*, SIGTERM and SIGINT stop it."""
    berkeley_db()  # without it nothing can be checked: better told now than after the first step
    store = _store(settings)
    run_in = None if settings.dispatch == "local" else images(settings, store, runs=runs)
    planned = plan(found, programs(settings, run_in))
    if runs:
        dispatcher = _dispatcher(settings, store, planned, run_in)
    else:
        dispatcher = LocalDispatcher(store, settings, Scratch())  # nothing is dispatched
    return Build(planned, store, dispatcher, settings, instance=instance)


def _dispatcher(
    settings: Settings, store: Store, planned: Plan, run_in: Images | None
) -> Dispatcher:
    """Return the places where steps run; SIGTERM and SIGINT stop what runs there."""
    deadline = Deadline(settings.deadline)
    here = LocalDispatcher(store, settings, Scratch(), deadline)
    if run_in is None:
        tasks.stop_on_signals(here.kill)
        return here
    there = _elsewhere(settings, store, planned, run_in, deadline)

    def kill() -> None:
        there.kill()
        here.kill()

    tasks.stop_on_signals(kill, there.interrupt)
    atexit.register(there.leave)
    return there if run_in.trainer else SplitDispatcher(there, here)


def _elsewhere(
    settings: Settings, store: Store, planned: Plan, run_in: Images, deadline: Deadline
) -> "JobDispatcher | PodDispatcher":
    """Return the place for steps that do not run here."""
    if settings.dispatch == "jobs":
        jobs = Jobs(_toolforge(settings))
        return JobDispatcher(store, settings, planned, run_in, jobs, JobPace(deadline=deadline))
    from cbngtrain.dispatch import attendant, pods  # noqa: PLC0415 - kubernetes is slow to load

    pace = attendant.Pace(deadline=deadline)
    return pods.PodDispatcher(store, settings, planned, run_in, pace)


def _toolforge(settings: Settings) -> ToolforgeApi:
    """Return Toolforge's API, as the tool that the settings tell of; closed at the end."""
    kubeconfig = Path(settings.kubeconfig or Path.home() / ".kube" / "config")
    who = identity(settings, kubeconfig)
    if who is None:
        raise SettingsError(
            f"{kubeconfig} is not there, and Toolforge asks for the tool's client certificate: set "
            "KUBECONFIG, or K8S_CLIENT_CRT and K8S_CLIENT_KEY"
        )
    tool = settings.namespace.removeprefix("tool-") or deploy_commands.TOOL
    api = ToolforgeApi(settings.toolforge_api_url, tool, who, settings.toolforge_ca)
    atexit.register(api.__exit__)
    return api


def _store(settings: Settings) -> Store:
    """Return the store that the settings name: a file service's, or a directory."""
    if settings.store_url:
        return HttpStore(settings.store_url, settings.file_api_key)
    return DirectoryStore(settings.store)


def _asked_groups(service: ReviewService) -> list[EditGroup]:
    """Ask the review service for its edit groups, and keep the answer for who needs no network."""
    groups = service.edit_groups()
    GROUPS.parent.mkdir(parents=True, exist_ok=True)
    part = GROUPS.with_name(f".{GROUPS.name}.part")
    part.write_text(json.dumps([group.to_json() for group in groups], indent=1), encoding="utf-8")
    part.replace(GROUPS)
    return groups


def _known_groups(service: ReviewService, settings: Settings) -> list[EditGroup]:
    """Return the edit groups without asking over the network."""
    if settings.review_url.startswith("file:"):
        return service.edit_groups()
    try:
        value = json.loads(GROUPS.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        log.warning("no edit groups are known here yet: run `doit` once")
        return []
    return edit_groups_from_json(value, str(GROUPS))


# Commands --------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    arguments = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        return command(arguments)
    except TrainerError as error:
        print(tasks.told(error), file=sys.stderr)
        return error.status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nobody reads on: say no more
        return 0


def _parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="cbng-trainer",
        description="Build ClueBot NG's models, and get at what was built.",
        epilog=_settings_help(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"cbngtrain {version('cbngtrain')}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_builders(commands)
    _add_readers(commands)
    evaluation_commands.add_commands(commands, lambda: compose(os.environ, runs=False))
    deploy_commands.add_commands(commands, lambda: _settings(os.environ, "INFO"))
    return parser


def _settings_help() -> str:
    """Return the table of settings for ``--help``."""
    rows = [
        f"  {variable.name:<22} {variable.doc}"
        + (f" [{variable.default}]" if variable.default else "")
        for variable in VARIABLES.values()
    ]
    statuses = (
        "exit status: 0 done, 3 usage or plan, 10 a step failed, 11 bad input, 12 settings,\n"
        "  13 store, 14 infrastructure, 15 held by the gate, 130 and 143 stopped"
    )
    return "\n".join(["environment:", *rows, "", statuses])


def _add_builders(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands that build and serve."""
    many = commands.add_parser("run-edit-sets", help="build and publish edit sets, as `doit` does")
    many.add_argument("--edit-set", action="append", default=[], metavar="NAME",
                      help="only this one; may be repeated")  # fmt: skip
    many.add_argument("--launch", choices=("here", "jobs"), default="here",
                      help="build here, or have a Toolforge job do it for each [here]")  # fmt: skip
    many.add_argument("--print-only", action="store_true",
                      help="print a run-edit-set command for each, and build nothing")  # fmt: skip
    _add_run_options(many)
    many.set_defaults(command=run_edit_sets)

    one = commands.add_parser("run-edit-set", help="build and publish one edit set from its URLs")
    one.add_argument("--target-name", required=True, metavar="NAME", help="the edit set's name")
    one.add_argument("--instance-name", default="", metavar="TIME",
                     help="name of the instance, a UTC time: YYYY-mm-dd HH:MM:SS")  # fmt: skip
    one.add_argument("--download-training", required=True, metavar="URL", help="training dump")
    one.add_argument("--download-trial", metavar="URL", help="trial dump; without it no trial")
    _add_run_options(one)
    one.set_defaults(command=run_edit_set)

    serve = commands.add_parser("run-file-api", help="serve the store over HTTP")
    serve.add_argument("--base-dir", type=Path, metavar="DIR", help="the store; else CBNG_STORE")
    serve.add_argument("--bind", default="0.0.0.0:8000", metavar="HOST:PORT",
                       help="where to listen [%(default)s]")  # fmt: skip
    serve.set_defaults(command=run_file_api)


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that both building commands take."""
    parser.add_argument("-n", "--process", type=int, default=None, metavar="N",
                        help="steps at once [one after another; elsewhere, all]")  # fmt: skip
    for option, (metavar, name) in REMOTE_OPTIONS.items():
        told = f"instead of {name}, for steps in pods and jobs"
        parser.add_argument(option, metavar=metavar, default="", help=told)


REMOTE_OPTIONS = {
    "--release-ref": ("REF", "CBNG_CORE_RELEASE"),
    "--trainer-host": ("URL", "CBNG_STORE_URL"),
    "--kubernetes-namespace": ("NS", "CBNG_NAMESPACE"),
}
"""Options of the scheduled job's commands that say something about pods: metavar, variable."""


def _remote_options(arguments: argparse.Namespace) -> dict[str, str]:
    """Return the `REMOTE_OPTIONS` that were given, with their values."""
    values = {option: getattr(arguments, option[2:].replace("-", "_")) for option in REMOTE_OPTIONS}
    return {option: value for option, value in values.items() if value}


def _settings_with(arguments: argparse.Namespace) -> Settings:
    """Return the settings, with the options that stand for some; raises SettingsError."""
    given = _remote_options(arguments)
    if os.environ.get("CBNG_DISPATCH", "local") == "local":
        settings = _settings(os.environ, "INFO")
        for option in given:
            log.warning("%s is not used: steps run on this machine, not in pods", option)
        return settings
    more = {REMOTE_OPTIONS[option][1]: value for option, value in given.items()}
    return _settings({**os.environ, **more}, "INFO")


def _add_readers(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands that get at what was built."""
    getter = commands.add_parser("get", help="write an artifact to a file")
    getter.add_argument("artifact", metavar="SLUG/ARTIFACT",
                        help="such as legacy-import/main_ann.fann, or a digest")  # fmt: skip
    getter.add_argument("-o", "--output", metavar="FILE",
                        help="where to; - is standard output [its own name, here]")  # fmt: skip
    getter.set_defaults(command=get)

    whys = commands.add_parser("why", help="tell what would be built and why, or why it was")
    whys.add_argument("step", nargs="?", default="", metavar="SLUG/STEP", help="only this step")
    whys.set_defaults(command=why)

    auditor = upkeep.add_commands(commands, _on_store)
    auditor.set_defaults(command=audit)

    lister = commands.add_parser("pods", help="list the pods in which steps run, or ran")
    lister.add_argument("--prune", action="store_true",
                        help="delete those that have ended or are unknown to the plan")  # fmt: skip
    lister.set_defaults(command=pods)

    disown = commands.add_parser("forget", help="disown a step's record: it is built anew")
    disown.add_argument("step", metavar="SLUG/STEP", help="such as legacy-import/ann")
    disown.set_defaults(command=forget)


def run_edit_sets(arguments: argparse.Namespace) -> int:
    """Build all edit sets, or those named."""
    settings = _settings_with(arguments)
    service = ReviewService(settings.review_url)
    is_typed = arguments.edit_set or arguments.print_only  # who mistypes a name needs no page
    with nullcontext() if is_typed else _told_to_store(settings):
        found = edit_sets(
            _asked_groups(service), service.dump_url, settings.fallback_trial, arguments.edit_set
        )
    if arguments.launch == "jobs":
        return _launch(arguments, settings, found)
    if arguments.print_only:
        print("\n\n".join(shlex.join(_command_line(each, arguments)) for each in found))
        return 0
    return _run(arguments, settings, found)


def _launch(arguments: argparse.Namespace, settings: Settings, found: Sequence[EditSet]) -> int:
    """Have a Toolforge job build each edit set; tell what became of each."""
    if settings.trainer_image is None:
        raise SettingsError("--launch jobs needs CBNG_TRAINER_IMAGE, in which the jobs run")
    wanted = [
        Launch(edit_set=each.name, slug=each.slug, command=_command_line(each, arguments))
        for each in found
    ]
    if arguments.print_only:
        print("\n\n".join(f"# job {each.name}\n{shlex.join(each.command)}" for each in wanted))
        return 0
    tasks.stop_on_signals(lambda: None)  # the jobs go on, and the next run finds them
    seconds = settings.deadline or LIMIT
    endings = launch(wanted, settings.trainer_image, Jobs(_toolforge(settings)), seconds)
    for name, ending in endings.items():
        print(shown(f"{name}: {ending.told}"))
    return status_of(list(endings.values()))


def _command_line(edit_set: EditSet, arguments: argparse.Namespace) -> list[str]:
    """Return the command that builds *edit_set* alone."""
    words = ["cbng-trainer", "run-edit-set", "--target-name", edit_set.name]
    for option, value in _remote_options(arguments).items():
        words += [option, value]
    words += ["--download-training", edit_set.training]
    return words + (["--download-trial", edit_set.trial] if edit_set.trial else [])


def run_edit_set(arguments: argparse.Namespace) -> int:
    """Build one edit set from its URLs."""
    settings = _settings_with(arguments)
    if arguments.instance_name and not INSTANCE.fullmatch(arguments.instance_name):
        raise PlanError(f"--instance-name {arguments.instance_name!r} is no YYYY-mm-dd HH:MM:SS")
    urls = (arguments.download_training, arguments.download_trial)
    return _run(arguments, settings, single_edit_set(arguments.target_name, *urls))


def _run(arguments: argparse.Namespace, settings: Settings, found: tuple[EditSet, ...]) -> int:
    """Build *found* with doit, as ``dodo.py`` would."""
    lock = tasks.hold_checkout()
    build = _build(settings, found, getattr(arguments, "instance_name", ""), runs=True)
    build.scratch.clear()
    namespace = {
        "DOIT_CONFIG": tasks.doit_config(build),
        "task_build": lambda: tasks.as_doit_tasks(build, runs=True),
    }
    main = DoitMain(ModuleTaskLoader(namespace))
    process = [] if arguments.process is None else ["-n", str(arguments.process)]
    try:
        status: int = main.run(["run", *process])
    finally:
        os.close(lock)
    return status


def run_file_api(arguments: argparse.Namespace) -> int:
    """Become gunicorn, serving the store; ``web/serving.py`` is its configuration."""
    settings = _settings(os.environ, "INFO")
    base = (arguments.base_dir or settings.store).resolve()
    base.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "gunicorn", "--config", "python:web.serving",
               "--bind", arguments.bind, "web.app:get_app()"]  # fmt: skip
    metrics = tempfile.mkdtemp(prefix="cbng-metrics-")  # what its workers have counted
    env = {**os.environ, "CBNG_STORE": str(base), "PROMETHEUS_MULTIPROC_DIR": metrics}
    os.execve(sys.executable, command, env)  # noqa: S606 - becomes it


def get(arguments: argparse.Namespace) -> int:
    """Write an artifact, verified, to a file or to standard output."""
    build = compose(os.environ, runs=False)
    name = arguments.artifact
    wanted = Digest(name) if _is_digest(name) else _artifact(build, name).digest
    with build.scratch.directory("get") as directory:
        path = directory / "blob"
        try:
            build.store.fetch(wanted, path)
        except BlobNotFound as error:
            raise BlobNotFound(wanted, f"{error}; run `doit` to have it made again") from error
        if arguments.output == "-":
            with path.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
        else:
            shutil.copyfile(path, arguments.output or name.rsplit("/", 1)[-1])
    return 0


def _is_digest(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")


def _artifact(build: Build, name: str) -> Artifact:
    """Return the artifact ``SLUG/ARTIFACT``: as referred to here, else as built last anywhere."""
    slug, _, artifact = name.partition("/")
    maker = build.plan.maker(slug, artifact)
    if made := read_reference(build.reference(slug, artifact)):
        return made.artifact
    record = None if isinstance(maker, Model) else _record_of_head(build, maker)
    if record is None or isinstance(maker, Model):
        raise StoreError(f"{name} has not been built yet; run `doit {maker.name}`")
    return record.artifact(artifact if isinstance(maker, Step) else EDITS)


def _record_of_head(
    build: Build, maker: Source | Step, which: str = "fingerprint"
) -> Record | None:
    """Return the record that *maker*'s last complete build used, or with ``before`` that before."""
    kind, key = ("steps", maker.recipe.name) if isinstance(maker, Step) else ("sources", maker.role)
    row = build.store.head(maker.slug).get(kind, {}).get(key, {})
    return build.store.find(row[which]) if row.get(which) else None


def _step(build: Build, name: str) -> Step:
    """Return the step ``SLUG/STEP``. Raises PlanError."""
    slug, _, recipe = name.partition("/")
    edit_set = build.plan.edit_set(slug)
    for step in build.plan.steps[edit_set.slug]:
        if step.recipe.name == recipe:
            return step
    known = ", ".join(step.recipe.name for step in build.plan.steps[edit_set.slug])
    raise PlanError(f"{slug} has no step {recipe!r}; it has: {known}")


def why(arguments: argparse.Namespace) -> int:
    """Tell for each step whether it would look or work, and why; or why it was built."""
    build = compose(os.environ, runs=False)
    chosen = _step(build, arguments.step) if arguments.step else None
    for edit_set in build.plan.edit_sets:
        unknown: set[str] = set()  # artifacts that will be others, or of which nothing is known
        for step in build.plan.steps[edit_set.slug]:
            state = _state(build, step, unknown)
            if chosen is None or chosen == step:
                print(f"{step.name}: {state}")
    return 0


def _state(build: Build, step: Step, unknown: set[str]) -> str:
    """Return what a build would do with *step*, and why; what it makes anew goes to *unknown*."""
    if not build.is_due(step):
        return "has nothing to do: no other network is known to compare with"
    made = [leaf.artifact for leaf in step.recipe.leaves]
    reads = step.recipe.reads.values()
    lacking = [n for n in reads if read_reference(build.reference(step.slug, n)) is None]
    if waits := sorted(unknown.intersection(reads) | set(lacking)):
        unknown.update(made)
        makers = sorted({build.plan.maker(step.slug, name).name for name in waits})
        return f"will look when {' and '.join(makers)} has been looked at"
    record = build.store.find(fingerprint(step, build.inputs(step)))
    referred = [read_reference(build.reference(step.slug, name)) for name in made]
    if record is None and step.recipe.name == "previous" and all(referred):
        return "up to date; its own trial was on the same edits"
    if record is None:
        unknown.update(made)
        return f"will be built: {'; '.join(build.reasons(step))}"
    if any(reference is None or reference.by != record.fingerprint for reference in referred):
        return f"will look, and find its record {record.fingerprint:.12}"
    return f"up to date; {_why_built(build, step, record)}"


def _why_built(build: Build, step: Step, record: Record) -> str:
    """Return why *record* came to be, from the record before it."""
    told = f"built as {record.fingerprint:.12}"
    before = _record_of_head(build, step, "before")
    if before is None:
        return f"{told}: no record before it"
    return f"{told}: {'; '.join(changes(before.parts, record.parts))}"


def pods(arguments: argparse.Namespace) -> int:
    """List this trainer's pods, and delete those that have ended or are unknown to the plan."""
    from cbngtrain.dispatch.cluster import Cluster  # noqa: PLC0415 - kubernetes is slow to load

    settings = _settings(os.environ, "WARNING")
    service = ReviewService(settings.review_url)
    found = edit_sets(_asked_groups(service), service.dump_url, settings.fallback_trial)
    build = _build(settings, found, runs=False)
    cluster = Cluster(settings.kubeconfig, settings.namespace)
    for row in rows(cluster.pods()[0], build.plan, datetime.now(UTC)):
        print(row)
        if arguments.prune and row.surplus:
            cluster.delete(row.pod)
            print(f"{row.name} is deleted")
    return 0


def forget(arguments: argparse.Namespace) -> int:
    """Disown the record of a step, so that the next build makes it anew."""
    build = compose(os.environ, runs=False)
    step = _step(build, arguments.step)
    key = fingerprint(step, build.inputs(step))
    build.store.forget(key)
    for leaf in step.recipe.leaves:
        build.reference(step.slug, leaf.artifact).unlink(missing_ok=True)
    print(f"{step.name}: record {key:.12} is forgotten; the next build makes it anew")
    return 0


def _on_store(
    command: Callable[[Settings, argparse.Namespace], int],
) -> Callable[[argparse.Namespace], int]:
    """Return *command* with its settings given."""
    return lambda arguments: command(_settings(os.environ, "WARNING"), arguments)


def audit(arguments: argparse.Namespace) -> int:
    """Build each step of an edit set twice, and tell whether the same came out."""
    build = compose(os.environ, runs=False)
    settings = Settings.from_env(os.environ)
    if settings.dispatch != "local":
        raise SettingsError("`cbng-trainer audit` runs steps on this machine: unset CBNG_DISPATCH")
    made: list[LocalDispatcher] = []

    def here(store: Store) -> LocalDispatcher:
        made.append(LocalDispatcher(store, settings, build.scratch))
        return made[-1]

    def kill() -> None:
        for each in made:
            each.kill()

    tasks.stop_on_signals(kill)
    return upkeep.audit_edit_set(build, here, arguments)


if __name__ == "__main__":
    sys.exit(main())
