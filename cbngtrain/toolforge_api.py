"""
Toolforge's HTTP API, as a tool: components, environment variables, jobs.

The tool shows its client certificate, and the server is verified always. What may be repeated is
repeated while the API is away, within bounds; it times out now and then. No secret is told: not in
an error, though the API repeats tokens in its answers, nor in a library's log.
"""

import base64
import binascii
import logging
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, quote_plus

import requests
import yaml

from cbngtrain.errors import SettingsError, ToolforgeError, reason
from cbngtrain.settings import Settings

log = logging.getLogger(__name__)

TIMEOUT = (10.0, 60.0)  # seconds to connect, and between two bytes
WAITS = (1, 2, 4, 8)  # seconds before the second, third… try of what may be repeated
MAY_PASS = frozenset({408, 429, 500, 502, 503, 504})  # statuses of an API that is busy or restarts

_LOST = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
_AGENT = "cbngtrain (https://en.wikipedia.org/wiki/User:ClueBot_NG)"
_LONGEST = 300  # characters of an answer that are told


@dataclass(frozen=True, slots=True)
class Identity:
    """
    Who the tool is to its cluster, as PEM.

    Attributes:
        certificate: Its client certificate.
        key: That certificate's key.
        server: The Kubernetes API; empty where it is not known.
        authority: What that API is verified by; empty where it is not known.
    """

    certificate: str
    key: str = field(repr=False)
    server: str = ""
    authority: str = ""


def identity(settings: Settings, kubeconfig: Path) -> Identity | None:
    """
    Return who the tool is: by the settings, else by its *kubeconfig*, or None if neither says.

    Raises:
        SettingsError: The kubeconfig is none.
    """
    if settings.k8s_client_crt and settings.k8s_client_key:
        return Identity(
            settings.k8s_client_crt,
            settings.k8s_client_key,
            settings.k8s_server,
            settings.k8s_ca_crt,
        )
    return identity_in(kubeconfig) if kubeconfig.exists() else None


def identity_in(kubeconfig: Path) -> Identity:
    """Return whom the current context of *kubeconfig* tells of. Raises SettingsError."""
    try:
        config = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
        context = _named(config, "context", config["current-context"])
        user = _named(config, "user", context["user"])
        cluster = _named(config, "cluster", context["cluster"])
        return Identity(
            _pem(user, "client-certificate", kubeconfig.parent),
            _pem(user, "client-key", kubeconfig.parent),
            str(cluster["server"]),
            _pem(cluster, "certificate-authority", kubeconfig.parent, default=""),
        )
    except OSError as error:
        raise SettingsError(f"{error.filename}: cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{kubeconfig}: is no YAML") from error
    except (KeyError, TypeError, ValueError, StopIteration, binascii.Error) as error:
        raise SettingsError(f"{kubeconfig}: is no kubeconfig with a client certificate") from error


def _named(config: Any, kind: str, name: str) -> Any:
    """Return the *kind* called *name* of a kubeconfig."""
    return next(each[kind] for each in config[f"{kind}s"] if each["name"] == name)


def _pem(entry: Any, what: str, directory: Path, default: str | None = None) -> str:
    """Return the PEM text of *what*: as it stands in *entry*, or in the file that it names."""
    if data := entry.get(f"{what}-data"):
        return base64.b64decode(data, validate=True).decode("ascii")
    if what not in entry and default is not None:
        return default
    return (directory / str(entry[what])).read_text(encoding="ascii")


class ToolforgeApi:
    """The API at a URL, as one tool; a context manager, since the key lies in a file meanwhile."""

    def __init__(
        self,
        url: str,
        tool: str,
        who: Identity | None,
        authority: Path | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """
        Args:
            url: ``https://…``.
            tool: The tool's name.
            who: Whose certificate is shown; with None only what takes a token can be asked.
            authority: Certificates by which the API is verified; else the system's.
            sleep: Waits that many seconds.
        """
        if not re.fullmatch("[a-z0-9-]+", tool):
            raise SettingsError(f"{tool!r} is no tool's name")
        self.tool = tool
        self.is_known = who is not None
        self._url = url.rstrip("/")
        self._sleep = sleep
        self.timeout = TIMEOUT
        self._session = requests.Session()
        self._session.trust_env = False  # no .netrc, no proxy: the certificate is who we are
        self._session.headers["User-Agent"] = _AGENT
        self._session.verify = str(authority) if authority else True
        self._keys = tempfile.TemporaryDirectory(prefix="cbng-toolforge-")  # mode 700
        if who:
            self._session.cert = _files(who, Path(self._keys.name))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()
        self._keys.cleanup()

    def ask(
        self,
        method: str,
        path: str,
        *,
        value: object = None,
        token: str = "",
        may_repeat: bool = True,
    ) -> dict[str, Any]:
        """
        Return the JSON object that the API answers.

        Args:
            method: ``GET``, ``POST``, ….
            path: Service and address, with ``{tool}`` for the tool: ``jobs/v1/tool/{tool}/jobs/``.
            value: What is sent, as JSON.
            token: Sent as the query's ``token``, as the components service wants it.
            may_repeat: Whether asking twice does no harm.

        Raises:
            ToolforgeError: It refused (``code`` says how), cannot be asked, or answers nonsense.
        """
        url = f"{self._url}/{path.format(tool=self.tool)}"
        with _hidden(token):
            for wait in WAITS if may_repeat else ():
                try:
                    return self._asked(method, url, value, token)
                except ToolforgeError as error:
                    if error.code is not None and error.code not in MAY_PASS:
                        raise
                    log.info("%s; trying again in %d s", error, wait)
                    self._sleep(wait)
            return self._asked(method, url, value, token)

    def _asked(self, method: str, url: str, value: object, token: str) -> dict[str, Any]:
        """Ask once."""
        try:
            answer = self._session.request(
                method,
                url,
                json=value,
                params={"token": token} if token else None,
                timeout=self.timeout,
                allow_redirects=False,  # a redirect would take the token elsewhere
            )
        except requests.exceptions.SSLError as error:
            problem = _redacted(reason(error), token)
            raise ToolforgeError(f"{url}: cannot be trusted: {problem}", code=0) from None
        except _LOST as error:
            problem = _redacted(reason(error), token)
            raise ToolforgeError(f"{url}: Toolforge cannot be asked: {problem}") from None
        except (requests.RequestException, OSError) as error:
            problem = _redacted(reason(error), token)
            raise ToolforgeError(f"{url}: cannot be asked: {problem}", code=0) from None
        if not answer.ok or answer.is_redirect:
            told = _redacted(_told(answer), token)
            raise ToolforgeError(
                f"{url}: Toolforge answered {answer.status_code}: {told}", code=answer.status_code
            )
        with suppress(ValueError):
            found = answer.json()
            if isinstance(found, dict):
                return found
        raise ToolforgeError(
            f"{url}: Toolforge's answer is no JSON object", code=answer.status_code
        )


def _files(who: Identity, directory: Path) -> tuple[str, str]:
    """Write certificate and key to files, as the TLS library wants them; for this user alone."""
    paths = directory / "client.crt", directory / "client.key"
    for path, text in zip(paths, (who.certificate, who.key), strict=True):
        path.touch(mode=0o600)
        path.write_text(text if text.endswith("\n") else f"{text}\n", encoding="ascii")
    return str(paths[0]), str(paths[1])


def _told(answer: requests.Response) -> str:
    """Return what an answer says went wrong, in one line."""
    try:
        value = answer.json()
    except ValueError:
        return " ".join(answer.text.split())[:_LONGEST]
    if isinstance(value, Mapping):
        messages = value.get("messages")
        errors = messages.get("error") if isinstance(messages, Mapping) else None
        value = errors or value.get("detail") or value.get("message") or value
    if isinstance(value, list):
        value = "; ".join(_problem(each) for each in value)
    return " ".join(str(value).split())[:_LONGEST]


def _problem(value: object) -> str:
    """Return one complaint of a validation in words: where, and what."""
    if isinstance(value, Mapping) and "msg" in value:
        where = value.get("loc") or ()
        return f"{'.'.join(map(str, where))}: {value['msg']}"
    return str(value)


def _redacted(text: str, token: str) -> str:
    """Return *text* without *token*, also as a query spells it."""
    for spelling in {token, quote(token, safe=""), quote_plus(token)} if token else ():
        text = text.replace(spelling, "…")
    return text


@contextmanager
def _hidden(token: str) -> Iterator[None]:
    """Keep *token* out of what the HTTP library logs: at DEBUG it tells every query."""

    def redact(record: logging.LogRecord) -> bool:
        record.msg, record.args = _redacted(record.getMessage(), token), None
        return True

    library = logging.getLogger("urllib3.connectionpool")
    library.addFilter(redact)
    try:
        yield
    finally:
        library.removeFilter(redact)
