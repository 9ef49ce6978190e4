"""
The composition root of the file service: `create_app` wires it, `get_app` reads the environment.

Started by ``cbng-trainer run-file-api``.
"""

import logging
import os
from typing import TypeAlias

import falcon

from cbngtrain.promote import rule_of
from cbngtrain.settings import Settings
from cbngtrain.store import DirectoryStore
from web import errors
from web.auth import Tokens
from web.description import Description
from web.folders import Folder, Home
from web.health import Health
from web.metrics import ROUTE, Metrics
from web.resources import Blob, BuildSummary, DigestConverter, Head, IdConverter, Missing, RecordOf
from web.service import Service
from web.static_files import Static
from web.tree import Tree

App: TypeAlias = "falcon.App[falcon.Request, falcon.Response]"

SAFE = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
)
"""What every answer says."""

PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What a page may load: our own style, script and pictures; nothing written into it."""


class Guard:
    """What holds for every request and every answer."""

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Refuse a path that is no UTF-8: two of them could look alike."""
        path = str(req.env["PATH_INFO"])
        if path.isascii():
            return
        try:
            path.encode("latin-1").decode("utf-8")
        except UnicodeError as error:
            raise falcon.HTTPBadRequest(
                title="Malformed path", description="paths are UTF-8, percent-encoded"
            ) from error

    def process_resource(
        self, req: falcon.Request, _resp: falcon.Response, _resource: object, _params: object
    ) -> None:
        """Tell who counts requests which route this is."""
        req.env[ROUTE] = req.uri_template

    def process_response(
        self, _req: falcon.Request, resp: falcon.Response, _resource: object, _ok: object
    ) -> None:
        """Tell browsers not to guess, run or leak anything: reports are other people's text."""
        resp.set_headers(SAFE)
        if resp.get_header("Content-Security-Policy") is None:
            resp.set_header("Content-Security-Policy", PAGE_POLICY)


def create_app(service: Service, counts: str = "") -> App:
    """
    Return the WSGI application that serves *service*.

    *counts* is where gunicorn's workers write what they count.
    """
    app: App = falcon.App(middleware=[Guard()])
    app.router_options.converters["digest"] = DigestConverter
    app.router_options.converters["id"] = IdConverter
    app.resp_options.default_media_type = falcon.MEDIA_JSON
    errors.add_handlers(app)
    folder = Folder(service)
    app.add_route("/cas/{key:digest}", Blob(service))
    app.add_route("/ac/{key:digest}", RecordOf(service))
    app.add_route("/_/missing", Missing(service))
    app.add_route("/_/heads/{slug:id}", Head(service))
    app.add_route("/_/builds/{build:id}", BuildSummary(service))
    app.add_route("/_/health", Health(service.store.root))
    app.add_route("/_/metrics", Metrics(service.store.root, counts))
    app.add_route("/_/openapi.json", Description())
    app.add_route("/_/static/{name}", Static())
    app.add_route("/", Home(folder))
    app.add_route("/{path:path}", folder)
    return app


def get_app() -> App:
    """Return the application that the environment asks for."""
    logging.basicConfig(level="INFO", format="%(levelname)s %(name)s: %(message)s")
    settings = Settings.from_env(os.environ)
    store = DirectoryStore(settings.store)
    tokens = Tokens.of(settings.file_api_key)
    limits = (settings.max_upload, settings.keep_free)
    counts = os.environ.get("PROMETHEUS_MULTIPROC_DIR", "")
    service = Service(store, Tree(store), tokens, *limits, rule=rule_of(settings))
    return create_app(service, counts)
