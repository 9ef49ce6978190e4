"""Who may write: bearer tokens."""

import hashlib
import hmac
import logging
from collections.abc import Sequence

import falcon

log = logging.getLogger(__name__)


class Tokens:
    """
    The tokens that may write; several, so that they can be changed one after another.

    They are compared by their hashes, all of them every time: how long it takes tells nothing.
    """

    def __init__(self, tokens: Sequence[str]) -> None:
        """*tokens* are those that may write; with none writing is off, which the log says."""
        self._hashes = [hashlib.sha256(token.encode()).digest() for token in tokens]
        if not tokens:
            log.warning("FILE_API_KEY is not set: nobody may write")

    @classmethod
    def of(cls, setting: str) -> "Tokens":
        """Return the tokens in *setting*, separated by commas."""
        return cls([token for each in setting.split(",") if (token := each.strip())])

    def require(self, req: falcon.Request) -> None:
        """Raise 401 unless *req* carries a token, 403 where writing is off."""
        if not self._hashes:
            raise falcon.HTTPForbidden(
                title="Writing is off", description="this service was started without FILE_API_KEY"
            )
        scheme, _, token = (req.get_header("Authorization") or "").partition(" ")
        sent = hashlib.sha256(token.strip().encode(errors="replace")).digest()
        matches = [hmac.compare_digest(sent, each) for each in self._hashes]
        if scheme.lower() != "bearer" or not any(matches):
            raise falcon.HTTPUnauthorized(
                title="A token is needed",
                description="send Authorization: Bearer and a token that may write",
                challenges=["Bearer"],
            )
