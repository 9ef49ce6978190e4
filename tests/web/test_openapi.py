"""The OpenAPI description against the routes; answers are compared in every other test here."""

import re

import pytest
from falcon.inspect import inspect_routes
from jsonschema import Draft202012Validator

from tests.web.described import DOCUMENT, check, resolved
from web.app import create_app

METHODS = {"get", "head", "put", "post", "delete"}


def test_routes(service):
    """Every route and method is described, and nothing else is."""
    routes = {
        (re.sub(r":\w+}", "}", route.path), method.method.lower())
        for route in inspect_routes(create_app(service))
        for method in route.methods
        if not method.internal
    }
    described = {(p, m) for p, item in DOCUMENT["paths"].items() for m in item if m in METHODS}
    assert routes == described


def test_served(client):
    """The service tells what can be asked of it."""
    assert client.simulate_get("/_/openapi.json").json == DOCUMENT


@pytest.mark.parametrize("name", DOCUMENT["components"]["schemas"])
def test_schemas(name):
    """Every schema is one."""
    Draft202012Validator.check_schema(DOCUMENT["components"]["schemas"][name])


def test_references():
    """Every reference leads somewhere, and every parameter in a path is described."""
    refs = re.findall(r"'\$ref': '([^']+)'", str(DOCUMENT))
    assert [ref for ref in refs if not resolved({"$ref": ref})] == []


@pytest.mark.parametrize("path", DOCUMENT["paths"])
def test_parameters(path):
    """Every name in a path is described."""
    told = DOCUMENT["paths"][path].get("parameters", [])
    assert {resolved(each)["name"] for each in told} == set(re.findall(r"{(\w+)}", path))


def test_writing_needs_a_token():
    """What writes is described as needing a token; asking what is missing writes nothing."""
    open_to_all = {
        (path, method)
        for path, item in DOCUMENT["paths"].items()
        for method in METHODS & set(item)
        if "security" not in item[method]
    }
    assert {method for _, method in open_to_all} == {"get", "head", "post"}
    assert [path for path, method in open_to_all if method == "post"] == ["/_/missing"]


def test_undescribed_answer(client):
    """The comparison finds what is not described."""
    answer = client.simulate_get("/_/health")
    with pytest.raises(AssertionError, match="not described"):
        check("PUT", "/_/heads/a", answer)
