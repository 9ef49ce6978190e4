"""
Everything else: ``/{target}/{instance}/{path}``, folders, and what scripts and publishing write.

A file is sent; a folder is a page for people and JSON for programs.
"""

from typing import Any

import falcon

from cbngtrain.errors import FormatError
from cbngtrain.step import INSTANCE, Digest, digest
from cbngtrain.store import Instance
from web.errors import wants_html
from web.files import CHANGING, IMMUTABLE, File, send
from web.names import Address, address, problem_with_file
from web.pages import Pages
from web.resources import refuse_missing
from web.service import Service
from web.tree import GoneError

_NOTHING = falcon.HTTPNotFound(title="Not here", description="there is nothing at this address")


class Folder:
    """``/`` and everything below it that is not the store's own."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._pages = Pages(service.store, service.tree, service.rule)

    def on_get(self, req: falcon.Request, resp: falcon.Response, path: str = "") -> None:
        """Send the file, or show the folder."""
        asked = self._address(path)
        at = self._service.tree.resolved(asked)
        if at is None:
            raise _NOTHING
        if at != asked:
            resp.set_header("Content-Location", at.url + ("/" if path.endswith("/") else ""))
        if not path.endswith("/") and path and self._is_sent(req, resp, at, asked):
            return
        if not self._service.tree.is_folder(at) and path:
            raise _NOTHING
        if path and not path.endswith("/"):
            raise falcon.HTTPPermanentRedirect(asked.url + "/" + _query(req))
        self._show(req, resp, at)

    on_head = on_get

    def _address(self, path: str) -> Address:
        """Return what *path* names. Raises 404."""
        try:
            return address(path.removesuffix("/"))
        except FormatError as error:
            raise falcon.HTTPNotFound(title="Not here", description=str(error)) from error

    def _is_sent(
        self, req: falcon.Request, resp: falcon.Response, at: Address, asked: Address
    ) -> bool:
        """Send the file at *at*, if there is one. Raises 410 where its blob is gone."""
        try:
            found = self._service.tree.file(at)
            if found is None:
                return False
            cache = IMMUTABLE if INSTANCE.fullmatch(asked.instance) else CHANGING
            name = (at.path or at.target).rsplit("/", 1)[-1]
            send(req, resp, File(found.path, found.digest, name, cache, int(found.modified)))
        except (GoneError, FileNotFoundError) as error:
            raise falcon.HTTPGone(title="Gone", description=str(error)) from error
        return True

    def _show(self, req: falcon.Request, resp: falcon.Response, at: Address) -> None:
        """Show the folder at *at*."""
        resp.set_header("Cache-Control", CHANGING)
        resp.append_header("Vary", "Accept")
        page = self._pages.page(at, req.get_param_as_int("page", min_value=1) or 1)
        if wants_html(req):
            resp.content_type = falcon.MEDIA_HTML
            resp.text = page.html()
        else:
            resp.media = page.value

    # Writing

    def on_put(self, req: falcon.Request, resp: falcon.Response, path: str) -> None:
        """Take a file of a script, publish an instance, or move ``production``."""
        self._service.tokens.require(req)
        at = self._address(path)
        if at.instance == "production" and not at.path:
            self._produce(req, resp, at)
        elif not INSTANCE.fullmatch(at.instance):
            raise falcon.HTTPNotFound(
                title="No instance", description="files go to /{target}/{YYYY-mm-dd HH:MM:SS}/…"
            )
        elif at.path:
            self._take(req, resp, at, path)
        else:
            self._publish(req, resp, at)

    def on_post(self, req: falcon.Request, resp: falcon.Response, path: str) -> None:
        """Take a file of a script."""
        self._service.tokens.require(req)
        at = self._address(path)
        if not INSTANCE.fullmatch(at.instance) or not at.path:
            raise falcon.HTTPMethodNotAllowed(["GET", "HEAD", "PUT"])
        self._take(req, resp, at, path)

    def _take(self, req: falcon.Request, resp: falcon.Response, at: Address, path: str) -> None:
        """Take one file."""
        problem = "it ends with a slash" if path.endswith("/") else problem_with_file(at.path)
        if problem:
            raise falcon.HTTPUnprocessableEntity(title="Not a file's name", description=problem)
        received, _ = self._service.store.receive(self._service.upload(req))
        is_new = self._service.tree.put(at, received)
        resp.status = falcon.HTTP_201 if is_new else falcon.HTTP_200
        resp.set_header("Content-Location", at.url)
        resp.media = {"digest": received}

    def _publish(self, req: falcon.Request, resp: falcon.Response, at: Address) -> None:
        """Publish an instance: all or nothing."""
        instance = _instance(at, self._service.json(req))
        refuse_missing(self._service, frozenset(instance.files.values()))
        is_new = self._service.store.instances.publish(instance)
        resp.status = falcon.HTTP_201 if is_new else falcon.HTTP_200
        resp.set_header("Content-Location", at.url + "/")
        resp.media = {"target": at.target, "instance": at.instance}

    def _produce(self, req: falcon.Request, resp: falcon.Response, at: Address) -> None:
        """Move ``production`` to another instance."""
        told = self._service.json(req)
        name = told.get("instance") if isinstance(told, dict) else None
        if not isinstance(name, str) or not INSTANCE.fullmatch(name):
            raise falcon.HTTPBadRequest(
                title="No instance", description='send {"instance": …, "who": …, "why": …}'
            )
        if self._service.store.instance(at.target, name) is None:
            raise falcon.HTTPUnprocessableEntity(
                title="No instance", description=f"{at.target}/{name} is not published"
            )
        about: dict[str, Any] = {key: str(told.get(key, ""))[:500] for key in ("who", "why")}
        if isinstance(told.get("verdict"), dict):
            about["verdict"] = told["verdict"]
        if told.get("forced") is True:
            about["forced"] = True
        resp.media = self._service.store.promote(at.target, name, about)


class Home:
    """``/``: the folder of all edit sets, to which nothing is written."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show all edit sets."""
        self._folder.on_get(req, resp)

    on_head = on_get


def _query(req: falcon.Request) -> str:
    """Return the query of *req* as it stands behind a path."""
    return f"?{req.query_string}" if req.query_string else ""


def _instance(at: Address, value: Any) -> Instance:
    """Return the instance that *value* describes. Raises 400 or 422."""
    if not isinstance(value, dict) or not isinstance(value.get("files"), dict):
        raise falcon.HTTPBadRequest(
            title="No instance", description='send {"files": {path: digest}, …}'
        )
    files = _digests(value["files"])
    folders = {path[:i] for path in files for i, each in enumerate(path) if each == "/"}
    for path in files:
        problem = "it is a folder's, too" if path in folders else problem_with_file(path)
        if problem:
            raise falcon.HTTPUnprocessableEntity(
                title="Not a file's name", description=f"{path[:80]!r}: {problem}"
            )
    about = value.get("about", {})
    meanings = _digests(value.get("meanings", files))
    return Instance(
        at.target, at.instance, files, meanings, about if isinstance(about, dict) else {}
    )


def _digests(value: Any) -> dict[str, Digest]:
    """Return a JSON object of path → digest. Raises 400."""
    if not isinstance(value, dict):
        raise falcon.HTTPBadRequest(title="No object", description="send {path: digest}")
    return {path: digest(str(text), path[:80]) for path, text in value.items()}
