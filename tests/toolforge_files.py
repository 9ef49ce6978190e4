"""What is declared for Toolforge, as its files say it: settings, processes, the entry point."""

import shlex

from cbngtrain.settings import Settings
from tests.conftest import ROOT

TOOLFORGE = ROOT / "toolforge"
ENTRYPOINT = TOOLFORGE / "entrypoint"


def file_settings() -> dict[str, str]:
    """The settings in settings.env."""
    text = (TOOLFORGE / "settings.env").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def settings_there() -> Settings:
    """The settings of what runs on Toolforge: those of the file, and a secret."""
    return Settings.from_env({**file_settings(), "FILE_API_KEY": "sesame"})


def procfile() -> dict[str, list[str]]:
    """The processes of the Procfile, as words."""
    lines = (ROOT / "Procfile").read_text(encoding="utf-8").splitlines()
    return {name: shlex.split(command) for name, command in (line.split(": ", 1) for line in lines)}
