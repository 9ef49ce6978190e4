"""``cbng-trainer deploy`` and ``setup-secrets``: their command lines."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from cbngtrain.compose import TOOL
from cbngtrain.deploy import (
    COMPONENTS,
    Orders,
    Patience,
    check_health,
    cluster_secrets,
    configuration,
    deploy,
    differences,
    fetch_known,
    keep_secret,
    kept_secret,
    rotated,
)
from cbngtrain.errors import SettingsError, reason
from cbngtrain.settings import Settings
from cbngtrain.toolforge_api import ToolforgeApi, identity


def add_commands(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    settings: Callable[[], Settings],
) -> None:
    """Add the two commands; *settings* reads the environment when one of them is run."""
    deploying = commands.add_parser("deploy", help="deploy to Toolforge, and see that it is well")
    _add_common(deploying)
    deploying.add_argument("--components", type=Path, default=COMPONENTS, metavar="FILE",
                           help="the components configuration [%(default)s]")  # fmt: skip
    deploying.add_argument("--ref", default="", metavar="REF",
                           help="build this tag, branch or commit")  # fmt: skip
    deploying.add_argument("--keep-configuration", action="store_true",
                           help="send no configuration: a token is enough then")  # fmt: skip
    deploying.add_argument("--restart", action="store_true",
                           help="also start anew what has not changed")  # fmt: skip
    deploying.add_argument("--token-file", type=Path, metavar="FILE",
                           help="the deploy token; else CBNG_DEPLOY_TOKEN")  # fmt: skip
    deploying.add_argument("--url", metavar="URL",
                           help="the file service [https://TOOL.toolforge.org]")  # fmt: skip
    deploying.add_argument("--timeout", type=float, default=3600, metavar="SECONDS",
                           help="how long a deployment may take [%(default)s]")  # fmt: skip
    deploying.set_defaults(command=lambda arguments: run_deploy(arguments, settings()))

    setting = commands.add_parser(
        "setup-secrets", help="make the secrets of what runs on Toolforge",
        description="Without a choice: the way to the cluster, from the kubeconfig, and a "
        "FILE_API_KEY if there is none.",
    )  # fmt: skip
    _add_common(setting)
    setting.add_argument("--from-file", action="append", default=[], metavar="NAME=FILE",
                         help="the variable NAME from a file; - is standard input")  # fmt: skip
    setting.add_argument("--rotate", action="append", default=[], choices=["FILE_API_KEY"],
                         help="put a new token in front, and keep the last one")  # fmt: skip
    setting.set_defaults(command=lambda arguments: run_setup_secrets(arguments, settings()))


def _add_common(parser: argparse.ArgumentParser) -> None:
    """Add the options that both take."""
    parser.add_argument("--dry-run", action="store_true", help="change nothing; tell what would")
    parser.add_argument("--tool", default=TOOL, help="the tool's name [%(default)s]")
    whose = "whose certificate is used [KUBECONFIG, else ~/.kube/config]"
    parser.add_argument("--kubeconfig", type=Path, metavar="FILE", help=whose)


def run_deploy(arguments: argparse.Namespace, settings: Settings) -> int:
    """Deploy, and see that what was deployed is well. Raises TrainerError."""
    token = _text(arguments.token_file) if arguments.token_file else settings.deploy_token
    config = None
    if not arguments.keep_configuration:
        config = configuration(arguments.components, arguments.ref)
    kubeconfig = _kubeconfig(arguments, settings)
    url = (arguments.url or f"https://{arguments.tool}.toolforge.org").rstrip("/")
    with _api(arguments, settings) as api:
        if config is not None and not api.is_known:
            raise SettingsError(
                f"{kubeconfig}: not there, and without a client certificate the "
                "configuration cannot be sent; --keep-configuration leaves it as it is"
            )
        if config is not None:
            for line in differences(api, config) or ["none"]:
                print(f"difference: {line}")
        if arguments.dry_run:
            print("nothing was sent, nothing was started")
            return 0
        patience = Patience(arguments.timeout)
        orders = Orders(
            config=config, token=token, restarts=arguments.restart, patience=patience, say=_say
        )
        ended = deploy(api, orders)
    _say(f"deployment {ended.id} was successful; looking at {url}")
    check_health(url, Patience(min(arguments.timeout, 300)))
    _say(f"{url} is well; {fetch_known(url)}")
    return 0


def run_setup_secrets(arguments: argparse.Namespace, settings: Settings) -> int:
    """Make the tool's environment variables. Raises TrainerError."""
    with _api(arguments, settings) as api:
        if not api.is_known:
            kubeconfig = _kubeconfig(arguments, settings)
            raise SettingsError(f"{kubeconfig}: not there; --kubeconfig names another")
        for name, value in _secrets(arguments, settings, api).items():
            if arguments.dry_run:
                _say(f"{name} would be set")
            elif keep_secret(api, name, value):
                _say(f"{name} is set; `cbng-trainer deploy --restart` has it used")
            else:
                _say(f"{name} is as it was")
    return 0


def _secrets(
    arguments: argparse.Namespace, settings: Settings, api: ToolforgeApi
) -> dict[str, str]:
    """Return the variables to be made, with their values, which are never told."""
    found = {}
    for each in arguments.from_file:
        name, separator, path = each.partition("=")
        if not separator or not path:
            raise SettingsError("--from-file wants NAME=FILE: a value belongs into a file")
        found[name] = _text(Path(path))
    for name in arguments.rotate:
        found[name] = rotated(kept_secret(api, name))
    if found:
        return found
    who = identity(settings, _kubeconfig(arguments, settings))
    assert who, "the API was asked with it"
    return {
        **cluster_secrets(who),
        "FILE_API_KEY": kept_secret(api, "FILE_API_KEY") or rotated(""),
    }


def _api(arguments: argparse.Namespace, settings: Settings) -> ToolforgeApi:
    """Return Toolforge's API, as the tool."""
    who = identity(settings, _kubeconfig(arguments, settings))
    return ToolforgeApi(settings.toolforge_api_url, arguments.tool, who, settings.toolforge_ca)


def _kubeconfig(arguments: argparse.Namespace, settings: Settings) -> Path:
    """Return where the kubeconfig is, or would be."""
    named = arguments.kubeconfig or settings.kubeconfig
    return Path(named) if named else Path.home() / ".kube" / "config"


def _text(path: Path) -> str:
    """Return what a file, or for ``-`` standard input, holds, without white space around it."""
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: cannot be read: {reason(error)}") from error
    return text.strip()


def _say(line: str) -> None:
    """Tell it at once."""
    print(line, flush=True)
