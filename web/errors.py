"""
How errors are told: ``application/problem+json`` (RFC 9457), or a small page for people.

What failed inside is logged; the client is told that it failed, never a stack trace.
"""

import errno
import json
import logging

import falcon

from cbngtrain.errors import (
    BlobNotFound,
    DigestMismatch,
    FormatError,
    InstanceConflict,
    StoreError,
)
from web.templates import render

log = logging.getLogger(__name__)

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def wants_html(req: falcon.Request) -> bool:
    """Return whether who asks would rather read a page than JSON; tools that take all get JSON."""
    accept = req.get_header("Accept") or ""
    if "text/html" not in accept and "text/*" not in accept:
        return False
    return req.client_prefers(("text/html", "application/json")) == "text/html"


def serialise(req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError) -> None:
    """Write *error* into *resp* in the form that *req* asks for."""
    told = {
        "type": "about:blank",
        "status": error.status_code,
        "title": str(error.title or error.status).removeprefix(f"{error.status_code} "),
        "detail": error.description or "",
    }
    told |= getattr(error, "more", {})
    resp.append_header("Vary", "Accept")
    resp.set_header("Cache-Control", "no-store")
    if wants_html(req):
        resp.content_type = falcon.MEDIA_HTML
        resp.text = render("error.html", title=told["title"], error=told)
        return
    resp.content_type = "application/problem+json"
    resp.data = json.dumps(told).encode()


def problem(error: falcon.HTTPError, **more: object) -> falcon.HTTPError:
    """Return *error* with further members for its JSON."""
    error.more = more  # type: ignore[attr-defined] # HTTPError has room for it
    return error


def add_handlers(app: "falcon.App[falcon.Request, falcon.Response]") -> None:
    """Say what each of our errors is in HTTP."""
    app.set_error_serializer(serialise)
    app.add_error_handler(falcon.HTTPMethodNotAllowed, _method_not_allowed)
    app.add_error_handler(StoreError, _store_error)
    app.add_error_handler(BlobNotFound, _blob_not_found)
    app.add_error_handler(DigestMismatch, _digest_mismatch)
    app.add_error_handler(InstanceConflict, _conflict)
    app.add_error_handler(FormatError, _format_error)
    app.add_error_handler(Exception, _bug)


def _method_not_allowed(
    _req: falcon.Request, _resp: falcon.Response, error: falcon.HTTPError, _params: object
) -> None:
    taken = dict(error.headers or {}).get("Allow")
    error.description = f"this address takes {taken}"
    raise error


def _blob_not_found(
    _req: falcon.Request, _resp: falcon.Response, error: BlobNotFound, _params: object
) -> None:
    raise falcon.HTTPNotFound(title="Not here", description=str(error)) from error


def _digest_mismatch(
    _req: falcon.Request, _resp: falcon.Response, error: DigestMismatch, _params: object
) -> None:
    raise falcon.HTTPUnprocessableEntity(
        title="Other digest", description=f"{error}; nothing was stored"
    ) from error


def _conflict(
    _req: falcon.Request, _resp: falcon.Response, error: InstanceConflict, _params: object
) -> None:
    raise falcon.HTTPConflict(title="Name is taken", description=str(error)) from error


def _format_error(
    _req: falcon.Request, _resp: falcon.Response, error: FormatError, _params: object
) -> None:
    raise falcon.HTTPBadRequest(title="Malformed", description=str(error)) from error


def _store_error(
    req: falcon.Request, _resp: falcon.Response, error: StoreError, _params: object
) -> None:
    log.error("%s %s: %s", req.method, req.path, error)
    if getattr(error.__cause__, "errno", None) in _FULL:
        raise falcon.HTTPInsufficientStorage(
            title="Disk is full", description="nothing was stored"
        ) from error
    if getattr(error.__cause__, "errno", None) == errno.ENAMETOOLONG:
        raise falcon.HTTPUnprocessableEntity(
            title="Name too long", description="the file system takes no path as long as this"
        ) from error
    raise falcon.HTTPInternalServerError(
        title="Store failed", description="the store could not do it; its log says why"
    ) from error


def _bug(req: falcon.Request, _resp: falcon.Response, error: Exception, _params: object) -> None:
    log.error("%s %s failed", req.method, req.path, exc_info=error)
    raise falcon.HTTPInternalServerError(
        title="Failed", description="this is a bug; the service's log says more"
    ) from error
