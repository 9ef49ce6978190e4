"""
The name of a container image: where it is, and which one.

Pure. What a tag stands for is asked in ``dispatch/registry.py``.
"""

import re
from dataclasses import dataclass, replace
from typing import Self

# The grammar of the OCI distribution specification, with the registry always named: what a name
# without one means differs from machine to machine.
_IMAGE = re.compile(
    r"(?P<registry>localhost(?::[0-9]+)?|(?:[a-z0-9-]+\.)+[a-z0-9-]+(?::[0-9]+)?)"
    r"/(?P<name>[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_LONGEST = 512  # characters


@dataclass(frozen=True, slots=True)
class Image:
    """
    A container image.

    Attributes:
        registry: Host, with a port perhaps, such as ``tools-harbor.wmcloud.org``.
        name: Its name there, such as ``tool-cluebotng/core``.
        tag: Such as ``latest``; empty where there is only a digest.
        digest: ``sha256:`` and 64 hexadecimal digits; empty where it is not known.
    """

    registry: str
    name: str
    tag: str
    digest: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Return the image that *text* names: ``registry/name[:tag][@sha256:…]``.

        Raises:
            ValueError: With what was expected.
        """
        match = _IMAGE.fullmatch(text) if len(text) <= _LONGEST else None
        if match is None:
            raise ValueError("an image, registry/name:tag or registry/name@sha256:…")
        tag, digest = match["tag"] or "", match["digest"] or ""
        return cls(match["registry"], match["name"], tag or ("" if digest else "latest"), digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.registry}/{self.name}{tag}{'@' if self.digest else ''}{self.digest}"

    @property
    def pinned(self) -> str:
        """What it is called in fingerprints and manifests: name and digest, whatever the tag."""
        return str(replace(self, tag=""))

    def at(self, digest: str) -> Self:
        """Return it with *digest*, which its tag was resolved to."""
        return replace(self, digest=digest)
