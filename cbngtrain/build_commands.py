"""``cbng-trainer run-edit-sets``, ``run-edit-set`` and ``run-file-api``: they build and serve."""

import argparse
import logging
import os
import shlex
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from doit.cmd_base import ModuleTaskLoader
from doit.doit_cmd import DoitMain
from gunicorn.util import parse_address

from cbngtrain import parse, tasks
from cbngtrain.compose import asked_groups, build_of, settings_from, told_to_store, toolforge
from cbngtrain.dispatch.toolforge_jobs import Jobs
from cbngtrain.errors import DispatchError, PlanError, SettingsError
from cbngtrain.launch import LIMIT, Launch, launch, shown, status_of
from cbngtrain.locks import hold_checkout
from cbngtrain.plan import EditSet, edit_sets, single_edit_set
from cbngtrain.review import ReviewService
from cbngtrain.settings import Settings
from cbngtrain.step import INSTANCE
from cbngtrain.stopping import stop_on_signals

log = logging.getLogger(__name__)


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
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
    dump_url = parse.argument(parse.review_url)
    one.add_argument("--target-name", required=True, metavar="NAME", help="the edit set's name")
    one.add_argument("--instance-name", default="", metavar="TIME",
                     help="name of the instance, a UTC time: YYYY-mm-dd HH:MM:SS")  # fmt: skip
    one.add_argument("--download-training", required=True, type=dump_url, metavar="URL",
                     help="training dump")  # fmt: skip
    one.add_argument("--download-trial", type=dump_url, metavar="URL",
                     help="trial dump; without it no trial")  # fmt: skip
    _add_run_options(one)
    one.set_defaults(command=run_edit_set)

    serve = commands.add_parser("run-file-api", help="serve the store over HTTP")
    serve.add_argument("--base-dir", type=Path, metavar="DIR", help="the store; else CBNG_STORE")
    serve.add_argument("--bind", default="0.0.0.0:8000", metavar="HOST:PORT",
                       help="where to listen [%(default)s]")  # fmt: skip
    serve.set_defaults(command=run_file_api)


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that both building commands take."""
    parser.add_argument("-n", "--process", type=parse.argument(parse.whole_number(1, 1000)),
                        default=None, metavar="N",
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
        settings = settings_from(os.environ, "INFO")
        for option in given:
            log.warning("%s is not used: steps run on this machine, not in pods", option)
        return settings
    more = {REMOTE_OPTIONS[option][1]: value for option, value in given.items()}
    return settings_from({**os.environ, **more}, "INFO")


def run_edit_sets(arguments: argparse.Namespace) -> int:
    """Build all edit sets, or those named."""
    settings = _settings_with(arguments)
    service = ReviewService(settings.review_url)
    is_typed = arguments.edit_set or arguments.print_only  # who mistypes a name needs no page
    with nullcontext() if is_typed else told_to_store(settings):
        found = edit_sets(
            asked_groups(service), service.dump_url, settings.fallback_trial, arguments.edit_set
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
    stop_on_signals(lambda: None)  # the jobs go on, and the next run finds them
    seconds = settings.deadline or LIMIT
    endings = launch(wanted, settings.trainer_image, Jobs(toolforge(settings)), seconds)
    for name, ending in endings.items():
        print(shown(f"{name}: {ending.told}"))
    return status_of(list(endings.values()))


def _command_line(edit_set: EditSet, arguments: argparse.Namespace) -> list[str]:
    """Return the command that builds *edit_set* alone."""
    name = edit_set.name
    named = [f"--target-name={name}"] if name.startswith("-") else ["--target-name", name]
    words = ["cbng-trainer", "run-edit-set", *named]
    for option, value in _remote_options(arguments).items():
        words += [option, value]
    words += ["--download-training", edit_set.training]
    return words + (["--download-trial", edit_set.trial] if edit_set.trial else [])


def run_edit_set(arguments: argparse.Namespace) -> int:
    """Build one edit set from its URLs."""
    settings = _settings_with(arguments)
    if arguments.instance_name and not _is_time(arguments.instance_name):
        raise PlanError(f"--instance-name {arguments.instance_name!r} is no YYYY-mm-dd HH:MM:SS")
    urls = (arguments.download_training, arguments.download_trial)
    return _run(arguments, settings, single_edit_set(arguments.target_name, *urls))


def _is_time(name: str) -> bool:
    """Return whether an instance can have this name, and there is such a day."""
    try:
        time.strptime(name, "%Y-%m-%d %H:%M:%S")
    except ValueError:
        return False
    return INSTANCE.fullmatch(name) is not None


def _run(arguments: argparse.Namespace, settings: Settings, found: tuple[EditSet, ...]) -> int:
    """Build *found* with doit, as ``dodo.py`` would."""
    lock = hold_checkout()
    build = build_of(settings, found, getattr(arguments, "instance_name", ""), runs=True)
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
    settings = settings_from(os.environ, "INFO")
    _refuse_unusable(arguments.bind)
    base = (arguments.base_dir or settings.store).resolve()
    base.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "gunicorn", "--config", "python:web.serving",
               "--bind", arguments.bind, "web.app:get_app()"]  # fmt: skip
    metrics = tempfile.mkdtemp(prefix="cbng-metrics-")  # what its workers have counted
    env = {**os.environ, "CBNG_STORE": str(base), "PROMETHEUS_MULTIPROC_DIR": metrics}
    _hand_on_streams()
    os.execve(sys.executable, command, env)  # noqa: S606 - becomes it


def _hand_on_streams() -> None:
    """Leave output and error open to gunicorn: one that was closed would become a socket of its."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        os.dup2(stream.fileno(), number)
        os.set_inheritable(number, True)  # which dup2 does not do where both are one


def _refuse_unusable(bind: str) -> None:
    """Raise DispatchError where nothing can listen at *bind*: gunicorn would try for long."""
    try:
        address = parse_address(bind, "8000")
        if isinstance(address, tuple):  # else a socket's path, or the number of an open one
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            socket.create_server(address, family=family).close()
    except (RuntimeError, OverflowError, OSError) as error:
        raise DispatchError(f"nothing can listen at --bind {bind}: {error}") from error
