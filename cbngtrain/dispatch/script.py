"""
Step → the bash that a pod runs.

Pure: the text is made of the step's own values, each quoted, and of ``canonical.sh`` and
``step.sh``, which never change from step to step. It is run as ``bash -c SCRIPT``, needs bash,
coreutils and curl, finds the token of the file service in ``FILE_API_KEY``, and leaves log, blobs
and record in the store.

It ends with one of the exit codes below and tells, as one JSON object on its last line after
``cbngtrain:``, and in the file that ``CBNG_TERMINATION_LOG`` names::

    {"code": 82, "exit": 3, "problem": "exit code 3: no such file", "log": "9f2c…"}

``code`` is its own exit code, ``exit`` the command's or null where none ran, ``log`` the digest of
what the command printed or null where that is not in the store.
"""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from cbngtrain.step import Digest, Fingerprint, Made, Record, Step, canonical_json

INPUT_NOT_FETCHED = 80  # or the workspace could not be made: infrastructure
INPUT_DIFFERS = 81  # twice; the service was asked to take it out
COMMAND_FAILED = 82  # with any other code than the two that pass through
CHECK_FAILED = 83
UPLOAD_FAILED = 84  # or something else that stands between a good end and its record
TIMED_OUT = 124  # timeout's
KILLED = 137  # 128 + SIGKILL

PATIENCE = 120  # seconds that one request may wait between its tries, as in http_store.py

_BODY = "".join(
    Path(__file__).with_name(name).read_text(encoding="utf-8")
    for name in ("canonical.sh", "step.sh")
)

_CLEARED = ("data", "edits.xml", "trialreport")
"""Where the core reads and writes: the core's image comes with models of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """
    What a pod's script must know besides the step: where things are, as seen from the pod.

    Attributes:
        store_url: The file service.
        timeout: Seconds for the command.
        where: What runs it, as `CBNG_DISPATCH` says; for the record.
        workspace: Directory of the programs, in which the command runs.
        release: URL of a core release, whose programs and configuration are fetched into the
            workspace first; or empty.
        conf: Path below ``conf/`` → digest, of a configuration that travels as an input and
            replaces ``conf/``; or empty.
    """

    store_url: str
    timeout: int
    where: str = "pods"
    workspace: str = "/workspace"
    release: str = ""
    conf: Mapping[str, Digest] = field(default_factory=dict)


def script(step: Step, key: Fingerprint, inputs: Mapping[str, Made], place: Place) -> str:
    """Return the bash that runs *step* and leaves log, blobs and record in the store."""
    leaves = step.recipe.leaves
    digests = {path: made.artifact.digest for path, made in inputs.items()}
    seed = step.parameters.get("seed", "")
    cleared = {*_CLEARED, *_tops(inputs), *_tops(leaf.path for leaf in leaves)}
    values = [
        _value("name", step.name),
        _value("key", key),
        _value("store", place.store_url.rstrip("/")),
        _value("release", place.release.rstrip("/")),
        _value("workspace", place.workspace),
        _value("limit", place.timeout),
        _value("patience", PATIENCE),
        _value("where", place.where),
        _list("command", argv(step)),
        _value("seed", seed),
        _list("clear", sorted(cleared - {*step.recipe.keeps})),
        _list("inputs", _flat(digests.items())),
        _list("conf", _flat(place.conf.items() if step.conf else ())),
        _list(
            "leaves",
            _flat((lf.path, lf.artifact, _word(lf.form), _word(lf.check)) for lf in leaves),
        ),
        _value("record", _record(step, key, inputs)),
    ]
    return "\n".join([*values, _BODY])


def argv(step: Step) -> tuple[str, ...]:
    """Return the command of *step* with its program's place in an image's workspace."""
    program, *arguments = step.command
    if step.recipe.program == "trainer":
        return ("python3", "-m", "cbngtrain.evaluation", program, *arguments)
    return (f"./{program}", *arguments)


def _value(name: str, value: object) -> str:
    """Return the bash that sets a variable."""
    return f"{name}={shlex.quote(str(value))}"


def _list(name: str, words: Iterable[str]) -> str:
    """Return the bash that sets an array."""
    return f"{name}=({shlex.join(words)})"


def _flat(rows: Iterable[Iterable[str]]) -> list[str]:
    """Return the cells of *rows* one after another."""
    return [cell for row in rows for cell in row]


def _word(name: str) -> str:
    """Return the name of a form or check as a part of a bash function's name."""
    return name.replace("-", "_")


def _tops(paths: Iterable[str]) -> set[str]:
    """Return the first part of each path."""
    return {PurePosixPath(path).parts[0] for path in paths}


def _record(step: Step, key: Fingerprint, inputs: Mapping[str, Made]) -> str:
    """Return what is known of the record's JSON before the step runs, without the braces."""
    value = Record(key, (), None, step.parts(inputs), inputs).to_json()
    for later in ("artifacts", "log", "about"):
        del value[later]
    return canonical_json(value).decode()[1:-1]
