"""``/_/static/{name}``: the style sheet, the script and the icon of the pages."""

import hashlib
from importlib.resources import files

import falcon

from web.files import is_known

_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript", ".svg": "image/svg+xml"}


class Static:
    """The files in ``static/``, held in memory: there are three small ones."""

    def __init__(self) -> None:
        folder = files("web") / "static"
        self._files = {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Send the file."""
        if (content := self._files.get(name)) is None:
            raise falcon.HTTPNotFound(title="Not here", description="there is no such file")
        digest = hashlib.sha256(content).hexdigest()
        resp.set_headers({"ETag": f'"{digest}"', "Cache-Control": "public, max-age=600"})
        if is_known(req, digest):
            resp.status = falcon.HTTP_304
            return
        resp.content_type = _TYPES["." + name.rsplit(".", 1)[-1]]
        resp.data = content

    on_head = on_get
