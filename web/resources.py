"""
The store's keyspaces over HTTP: blobs, records, heads, builds.

Each responder translates a request to a call of the store, and its answer to a status.
"""

import re
from collections.abc import Mapping
from typing import Any

import falcon

from cbngtrain.disk import read_json
from cbngtrain.errors import BlobNotFound
from cbngtrain.step import Digest, Fingerprint, Record, digest
from web.errors import problem
from web.files import IMMUTABLE, File, send, send_json
from web.service import Service
from web.uploads import Upload, json_value

MOST_DIGESTS = 100_000  # in one question; a build has some hundred

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,150}")


class DigestConverter(falcon.routing.BaseConverter):
    """A part of a path that is 64 hexadecimal digits, and nothing else."""

    _PATTERN = re.compile(r"[0-9a-f]{64}")

    def convert(self, value: str) -> str | None:
        """Return *value*, or None where it is no digest."""
        return value if self._PATTERN.fullmatch(value) else None


class IdConverter(falcon.routing.BaseConverter):
    """A part of a path that names a head or a build: letters, digits, dots, dashes."""

    def convert(self, value: str) -> str | None:
        """Return *value*, or None where it is no such name."""
        return value if _ID.fullmatch(value) else None


class Blob:
    """``/cas/{digest}``."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._blobs = service.store.root / "cas"

    def on_get(self, req: falcon.Request, resp: falcon.Response, key: str) -> None:
        """Send the blob; ``?name=ann.log`` says what to call it."""
        name = (req.get_param("name") or "").rsplit("/", 1)[-1]
        path = f"{self._blobs}/{key[:2]}/{key}"  # the store's path(), without its cost
        file = File(path, Digest(key), name, IMMUTABLE)
        try:
            send(req, resp, file)
        except FileNotFoundError as error:
            if self._service.store.missing([file.digest]):  # it has read the directory again
                raise BlobNotFound(key) from error
            send(req, resp, file)

    on_head = on_get

    def on_put(self, req: falcon.Request, resp: falcon.Response, key: str) -> None:
        """Take the blob."""
        upload = self._service.upload(req)
        _, is_new = self._service.store.receive(upload, Digest(key))
        resp.status = falcon.HTTP_201 if is_new else falcon.HTTP_200
        resp.media = {"digest": key, "size": upload.seen}

    def on_delete(self, req: falcon.Request, resp: falcon.Response, key: str) -> None:
        """Take the blob out if its bytes have rotted; one that is whole stays."""
        self._service.tokens.require(req)
        if not self._service.store.drop_rotten(Digest(key)):
            raise falcon.HTTPConflict(
                title="Whole", description="the blob has the right bytes: it is not taken out"
            )
        resp.status = falcon.HTTP_204


class RecordOf:
    """``/ac/{fingerprint}``."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def on_get(self, req: falcon.Request, resp: falcon.Response, key: str) -> None:
        """Send the record, if every blob that it names is here."""
        record = self._service.store.find(Fingerprint(key))
        if record is None:
            raise falcon.HTTPNotFound(
                title="No record", description=f"no valid record has the fingerprint {key}"
            )
        send_json(req, resp, record.to_json())

    on_head = on_get

    def on_put(self, req: falcon.Request, resp: falcon.Response, key: str) -> None:
        """Keep the record; answer with the one that stands."""
        record = Record.from_json(self._service.json(req), f"record {key:.12}")
        if record.fingerprint != key:
            raise falcon.HTTPUnprocessableEntity(
                title="Other fingerprint", description=f"the record's is {record.fingerprint}"
            )
        refuse_missing(self._service, record.blobs)
        standing = self._service.store.keep(record)
        resp.status = falcon.HTTP_201 if standing is record else falcon.HTTP_200
        resp.media = standing.to_json()

    def on_delete(self, req: falcon.Request, resp: falcon.Response, key: str) -> None:
        """Disown the record."""
        self._service.tokens.require(req)
        self._service.store.forget(Fingerprint(key))
        resp.status = falcon.HTTP_204


def refuse_missing(service: Service, digests: frozenset[Digest]) -> None:
    """Raise 422 with the list of those *digests* of which there is no blob."""
    if lacking := sorted(service.store.missing(digests)):
        error = falcon.HTTPUnprocessableEntity(
            title="Blobs are missing", description="upload them and try again"
        )
        raise problem(error, missing=lacking)


class Missing:
    """``/_/missing``: which of many digests are not here; everybody may ask."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer a JSON list of digests with a list of those that are missing."""
        largest = MOST_DIGESTS * 70  # bytes: each has 64 digits, quotes, a comma, space
        asked = json_value(Upload(req, largest, self._service.store.root, 0))
        if not isinstance(asked, list) or len(asked) > MOST_DIGESTS:
            raise falcon.HTTPBadRequest(
                title="No list", description=f"send a JSON list of at most {MOST_DIGESTS} digests"
            )
        lacking = self._service.store.missing([digest(str(each), "the body") for each in asked])
        resp.set_header("Cache-Control", "no-store")
        resp.media = sorted(lacking)


class Head:
    """``/_/heads/{slug}``: what an edit set's last complete build used."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def on_get(self, req: falcon.Request, resp: falcon.Response, slug: str) -> None:
        """Send the head."""
        if not (head := self._service.store.head(slug)):
            raise falcon.HTTPNotFound(title="No head", description=f"{slug} was never complete")
        send_json(req, resp, head)

    on_head = on_get

    def on_put(self, req: falcon.Request, resp: falcon.Response, slug: str) -> None:
        """Keep the head."""
        self._service.store.set_head(slug, _object(self._service.json(req)))
        resp.status = falcon.HTTP_204


class BuildSummary:
    """``/_/builds/{id}``: what a build did; it names the logs of the steps that failed."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def on_get(self, req: falcon.Request, resp: falcon.Response, build: str) -> None:
        """Send the summary."""
        path = self._service.store.root / "builds" / f"{build}.json"
        if (summary := read_json(path)) is None:
            raise falcon.HTTPNotFound(title="No summary", description=f"no build is called {build}")
        send_json(req, resp, summary)

    on_head = on_get

    def on_put(self, req: falcon.Request, resp: falcon.Response, build: str) -> None:
        """Keep the summary."""
        self._service.store.keep_build(build, _object(self._service.json(req)))
        resp.status = falcon.HTTP_204


def _object(value: Any) -> Mapping[str, Any]:
    """Return *value* if it is a JSON object. Raises 400."""
    if not isinstance(value, dict):
        raise falcon.HTTPBadRequest(title="No object", description="send a JSON object")
    return value
