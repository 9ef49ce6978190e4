"""``cbng-trainer``: what the trainer's operators and its scheduled job call."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any, NoReturn

from cbngtrain import (
    build_commands,
    deploy_commands,
    evaluation_commands,
    look_commands,
    upkeep,
)
from cbngtrain.compose import compose, settings_from
from cbngtrain.dispatch.local import LocalDispatcher
from cbngtrain.errors import DispatchError, PlanError, SettingsError, TrainerError, instead, told
from cbngtrain.reporter import ready_streams, silence
from cbngtrain.settings import VARIABLES, Settings
from cbngtrain.stopping import stop_on_signals
from cbngtrain.store import Store


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    ready_streams()
    arguments = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        status = command(arguments)
        sys.stdout.flush()
    except TrainerError as error:
        print(told(error), file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        silence(sys.stdout)  # nobody reads on
        return 0
    except OSError as error:
        silence(sys.stdout)  # it may be what cannot be written
        where = error.filename or "output"
        print(told(DispatchError(f"{where}: {error.strerror or error}")), file=sys.stderr)
        return DispatchError.status
    return status


def _parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser: argparse.ArgumentParser = _Parser(
        prog="cbng-trainer",
        description="Build ClueBot NG's models, and get at what was built.",
        epilog=_settings_help(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"cbngtrain {version('cbngtrain')}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    build_commands.add_commands(commands)
    look_commands.add_commands(commands)
    upkeep.add_commands(commands, _on_store).set_defaults(command=audit)
    evaluation_commands.add_commands(commands, lambda: compose(os.environ, runs=False))
    deploy_commands.add_commands(commands, lambda: settings_from(os.environ, "INFO"))
    return parser


class _Parser(argparse.ArgumentParser):
    """argparse's, with our exit status for what cannot be understood."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line, and end."""
        self.exit(PlanError.status, f"{self.prog}: {message}; `{self.prog} --help` tells more\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """
        Raise ArgumentError, with what may be meant, where *value* is none of the choices.

        Before Python 3.14 argparse has no other place for that.
        """
        if action.choices is not None and value not in action.choices:
            told = f"{value!r} is not known; {instead(str(value), list(action.choices))}"
            raise argparse.ArgumentError(action, told)


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


def _on_store(
    command: Callable[[Settings, argparse.Namespace], int],
) -> Callable[[argparse.Namespace], int]:
    """Return *command* with its settings given."""
    return lambda arguments: command(settings_from(os.environ, "WARNING"), arguments)


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

    stop_on_signals(kill)
    return upkeep.audit_edit_set(build, here, arguments)


if __name__ == "__main__":
    sys.exit(main())
