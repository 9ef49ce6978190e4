"""A client that holds every answer to the OpenAPI description."""

import json
import re
from functools import lru_cache
from typing import Any

from falcon import testing
from jsonschema import Draft202012Validator

from web.description import description

DOCUMENT = description()


def _pattern(template: str) -> re.Pattern[str]:
    """What a path of the description matches; ``{path}`` is any number of parts."""
    pieces = re.split(r"{(\w+)}", template)
    names = ["(.+)" if name == "path" else "([^/]+)" for name in pieces[1::2]]
    texts = [re.escape(text) for text in pieces[::2]]
    return re.compile("".join(map("".join, zip(texts, [*names, ""], strict=True))), re.DOTALL)


_ORDER = sorted(DOCUMENT["paths"], key=lambda each: ("{path}" in each, -len(each)))
_PATTERNS = {template: _pattern(template) for template in _ORDER}


class Described(testing.TestClient):
    """Whatever a test asks, the answer is one that ``openapi.yaml`` tells of."""

    def simulate_request(self, *args: Any, **kwargs: Any) -> Any:
        """Ask, and compare."""
        result = super().simulate_request(*args, **kwargs)
        method, path = [*args, *(kwargs[name] for name in ("method", "path") if name in kwargs)][:2]
        check(method, path, result)
        return result


def operation(method: str, path: str) -> dict[str, Any] | None:
    """Return what the description says of a request; exact paths come before those with names."""
    for template, pattern in _PATTERNS.items():
        if pattern.fullmatch(path):
            found: dict[str, Any] | None = DOCUMENT["paths"][template].get(method.lower())
            return found
    return None


def resolved(value: Any) -> Any:
    """Return *value*, or what it refers to."""
    while "$ref" in value:
        target: Any = DOCUMENT
        for part in value["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        value = target
    return value


def check(method: str, path: str, result: Any) -> None:
    """Fail where the description does not tell of *result*."""
    told = operation(method, path)
    status = str(result.status_code)
    if told is None:
        assert status == "405", f"{method} {path}: {status}, which is not described"
        return
    kind = result.headers.get("Content-Type", "").split(";")[0]
    if status in {"400", "404"} and status not in told["responses"]:
        assert kind in {"application/problem+json", "text/html"}  # of any path that names nothing
        return
    assert status in told["responses"], f"{method} {path}: {status} is not described"
    contents = resolved(told["responses"][status]).get("content", {})
    if not result.content or method == "HEAD":
        return
    assert kind in contents or "*/*" in contents, f"{method} {path}: {status} {kind}"
    if kind.endswith("json") and "schema" in contents.get(kind, {}):
        _validator(json.dumps(contents[kind]["schema"])).validate(result.json)


@lru_cache
def _validator(schema: str) -> Draft202012Validator:
    """What holds JSON to a schema of the description."""
    return Draft202012Validator({**json.loads(schema), "components": DOCUMENT["components"]})
