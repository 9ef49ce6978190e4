"""
The nouns of a build: artifacts, records, recipes, steps, and the fingerprint of a step.

Pure: values and functions from values to values.

Data flows so: a `Recipe` (a row of the table in ``recipes.py``) and an edit set make a `Step`; a
step and the artifacts it reads make a `Fingerprint`; whoever runs the step leaves a `Record`
under that fingerprint.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NewType, Self, TypeAlias

from cbngtrain.errors import FormatError

Digest = NewType("Digest", str)
"""A sha256 in 64 hexadecimal digits: of an artifact's bytes, or of its canonical form."""

Fingerprint = NewType("Fingerprint", str)
"""A sha256 in 64 hexadecimal digits: of all that decides a step's result."""

Parameters: TypeAlias = Mapping[str, int | float | str]
"""What changes a step's results, by name."""

FORMAT = 1  # raise it when the meaning of a fingerprint changes: everything is built anew

INSTANCE = re.compile(
    r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01]) ([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
)
"""What an instance is named by: a UTC time."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_RESERVED = frozenset({"cas", "ac", "_", "latest", "production", "instance.json"})
_LONGEST = 200  # bytes of a part of a name; file systems allow 255
_DEEPEST = 10  # parts of an edit set's name
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # control, format, surrogate, line, paragraph
_JOINERS = frozenset("\u200c\u200d")  # of category Cf, which words of some scripts need
_ARTIFACT = re.compile(r"(?![.])[A-Za-z0-9._-]+(/(?![.])[A-Za-z0-9._-]+)*")


def digest(text: str, source: object = "digest") -> Digest:
    """
    Return *text* as a `Digest`.

    Raises:
        FormatError: It is not 64 lower-case hexadecimal digits; *source* says where it was found.
    """
    if not _SHA256.fullmatch(text):
        raise FormatError(source, "", f"{text[:80]!r} is not a sha256 in 64 hexadecimal digits")
    return Digest(text)


def problem_with_target(name: str) -> str | None:
    """
    Return why *name* cannot be an edit set's name in the store, or None where it can.

    A ``/`` makes a folder; each part must be a file name that cannot be taken for anything else.
    """
    parts = name.split("/")
    for part in parts:
        if part in _RESERVED or INSTANCE.fullmatch(part):
            return f"its part {part!r} has a meaning of its own in the store"
        if problem := problem_with_part(part):
            return problem
    return f"it has more than {_DEEPEST} parts" if len(parts) > _DEEPEST else None


def problem_with_part(part: str) -> str | None:
    """
    Return why *part* cannot be a file's name in the store, or None where it can.

    Characters that are not seen could make it look like another.
    """
    if not part or part.startswith("."):
        return f"its part {part[:40]!r} is empty or begins with a dot"
    if any(unicodedata.category(each) in _UNSEEN and each not in _JOINERS for each in part):
        return f"its part {part[:40]!r} holds control characters, or others that are not seen"
    if len(part.encode()) > _LONGEST:
        return f"its part {part[:20]!r}… is longer than {_LONGEST} bytes"
    return None


def canonical_json(value: object) -> bytes:
    """Return *value* as JSON with sorted keys and no spaces: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def fingerprint_of(parts: Mapping[str, Any]) -> Fingerprint:
    """Return the sha256 of the canonical JSON of *parts*."""
    return Fingerprint(hashlib.sha256(canonical_json(parts)).hexdigest())


@dataclass(frozen=True, slots=True)
class Artifact:
    """
    A named output.

    Attributes:
        name: Such as ``bayes.db`` or ``trial/report.txt``.
        digest: The sha256 of its bytes: the blob's address.
        meaning: The sha256 of its canonical form: what staleness is made of.
        size: In bytes.
    """

    name: str
    digest: Digest
    meaning: Digest
    size: int

    @classmethod
    def from_json(cls, value: Any, source: object) -> Self:
        """Raises FormatError, naming *source*, where *value* is no artifact."""
        try:
            name, size = value["name"], value["size"]
            checked = digest(value["digest"], source), digest(value["meaning"], source)
        except (KeyError, TypeError) as error:
            raise FormatError(source, "", f"an artifact is malformed: {error}") from error
        is_named = isinstance(name, str) and _ARTIFACT.fullmatch(name)  # it becomes a path
        if not is_named or type(size) is not int or size < 0:
            raise FormatError(source, "", f"an artifact's name or size is malformed: {name!r:.80}")
        return cls(name, *checked, size)

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` takes."""
        return {
            "name": self.name,
            "digest": self.digest,
            "meaning": self.meaning,
            "size": self.size,
        }


@dataclass(frozen=True, slots=True)
class Made:
    """An artifact and the fingerprint of the step or source that made it."""

    artifact: Artifact
    by: Fingerprint


@dataclass(frozen=True, slots=True)
class Record:
    """
    With this fingerprint, these artifacts came out: the only proof of success.

    It is valid only while every blob it names is in the store.

    Attributes:
        fingerprint: The key it is stored under.
        artifacts: What the step left.
        log: The digest of what the command printed; None for a source.
        parts: What went into the fingerprint, for people and for ``why``.
        inputs: Per path, the artifact really read and what made it: for people, never for
            validity.
        about: Facts for people: counts, seconds.
    """

    fingerprint: Fingerprint
    artifacts: tuple[Artifact, ...]
    log: Digest | None
    parts: Mapping[str, Any]
    inputs: Mapping[str, Made] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def blobs(self) -> frozenset[Digest]:
        """Every digest that must be in the store for the record to be valid."""
        logs = {self.log} if self.log else set()
        return frozenset({artifact.digest for artifact in self.artifacts} | logs)

    def artifact(self, name: str) -> Artifact:
        """Return the artifact called *name*. Raises FormatError if there is none."""
        for artifact in self.artifacts:
            if artifact.name == name:
                return artifact
        raise FormatError(f"record {self.fingerprint:.12}", "", f"has no artifact {name!r}")

    @classmethod
    def from_json(cls, value: Any, source: object) -> Self:
        """Raises FormatError, naming *source*, where *value* is no record or not its own key's."""
        try:
            log = value["log"]
            record = cls(
                fingerprint=Fingerprint(digest(value["fingerprint"], source)),
                artifacts=tuple(Artifact.from_json(a, source) for a in value["artifacts"]),
                log=None if log is None else digest(log, source),
                parts=_mapping(value["parts"]),
                inputs={
                    path: Made(
                        Artifact.from_json(made, source), Fingerprint(digest(made["by"], source))
                    )
                    for path, made in value["inputs"].items()
                },
                about=_mapping(value["about"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FormatError(source, "", f"the record is malformed: {error!r}") from error
        if len({artifact.name for artifact in record.artifacts}) != len(record.artifacts):
            raise FormatError(source, "", "the record names an artifact twice")
        if fingerprint_of(record.parts) != record.fingerprint:
            raise FormatError(source, "", "the record's parts do not make its fingerprint")
        return record

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` takes."""
        return {
            "fingerprint": self.fingerprint,
            "artifacts": [artifact.to_json() for artifact in self.artifacts],
            "log": self.log,
            "parts": dict(self.parts),
            "inputs": {
                path: {**made.artifact.to_json(), "by": made.by}
                for path, made in self.inputs.items()
            },
            "about": dict(self.about),
        }


def _mapping(value: Any) -> dict[str, Any]:
    """Return *value*. Raises TypeError if it is no JSON object."""
    if not isinstance(value, dict):
        raise TypeError(f"{str(value)[:40]!r} is no object")
    return value


@dataclass(frozen=True, slots=True)
class Leaf:
    """
    A file that a command leaves.

    Attributes:
        path: Where the command leaves it, in its working directory.
        artifact: The artifact's name.
        form: Its canonical form, a key of ``canonical.FORMS``.
        check: What it must look like, a key of ``canonical.CHECKS``.
    """

    path: str
    artifact: str
    form: str
    check: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """
    What a step may use, wherever that can be bounded; it does not change results.

    The defaults are what Toolforge gives to a pod that asks for nothing.

    Attributes:
        memory: In MiB.
        cpu: In cores.
        seconds: After which it is stopped.
    """

    memory: int = 512
    cpu: float = 0.5
    seconds: int = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """
    A row of the table that says what training is.

    Attributes:
        name: The task's name, such as ``ann_train``.
        doc: What it makes, in a few words, for ``doit list``.
        command: Program and arguments; ``{name}`` stands for a parameter.
        reads: Path in the working directory → name of the artifact that must be there.
        leaves: The files it leaves.
        may_read: Path → artifact, of what it reads where that is there.
        if_any: Artifacts of which one must be there, or it has nothing to do; none: it always has.
        parameters: What changes results, by name: numbers, of which the settings may replace some,
            and ``edit_set``, for which its name is filled in. A ``seed`` is told to the command in
            its environment.
        reads_conf: Whether the command reads the configuration in ``conf/``.
        keeps: What the core's image has in its workspace that stays there, which no other step
            finds: it would not be declared.
        program: Whose the command is: ``core``, or ``trainer`` for one of our own evaluation,
            which runs no core.
        resources: What it may use; not part of the fingerprint.
    """

    name: str
    doc: str
    command: tuple[str, ...]
    reads: Mapping[str, str]
    leaves: tuple[Leaf, ...]
    may_read: Mapping[str, str] = field(default_factory=dict)
    if_any: tuple[str, ...] = ()
    parameters: Parameters = field(default_factory=dict)
    reads_conf: bool = False
    keeps: tuple[str, ...] = ()
    program: str = "core"
    resources: Resources = Resources()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """
    A recipe for one edit set.

    Attributes:
        recipe: What is done.
        slug: For which edit set.
        program: What the command is: ``{"engine": digest}``, ``{"core": digest}``,
            ``{"image": name@digest}``, ``{"release": URL}`` or ``{"trainer": digest}``.
        conf: The configuration's digest, where the command reads it and it is not the program's.
        parameters: The recipe's, with the edit set's name and what the settings replace.
    """

    recipe: Recipe
    slug: str
    program: Mapping[str, str]
    conf: Digest | None
    parameters: Parameters

    @property
    def name(self) -> str:
        """The task's full name, such as ``ann:legacy-import``."""
        return f"{self.recipe.name}:{self.slug}"

    @property
    def command(self) -> tuple[str, ...]:
        """Program and arguments, parameters filled in."""
        return tuple(word.format(**self.parameters) for word in self.recipe.command)

    @property
    def spec(self) -> dict[str, Any]:
        """All that decides the result but the inputs' meanings."""
        return {
            "format": FORMAT,
            "program": dict(self.program),
            "conf": self.conf,
            "command": list(self.command),
            "parameters": dict(self.parameters),
            "leaves": [[leaf.path, leaf.artifact, leaf.form] for leaf in self.recipe.leaves],
        }

    def parts(self, inputs: Mapping[str, Made]) -> dict[str, Any]:
        """Return what the fingerprint is made of: the spec and, per path, the input's meaning."""
        meanings = {path: made.artifact.meaning for path, made in inputs.items()}
        return {**self.spec, "inputs": meanings}


def fingerprint(step: Step, inputs: Mapping[str, Made]) -> Fingerprint:
    """Return what tells *step* on *inputs* (path → what is read there) from every other."""
    return fingerprint_of(step.parts(inputs))


@dataclass(frozen=True, slots=True)
class Source:
    """
    A URL that becomes an artifact.

    Attributes:
        slug: The edit set it is for.
        role: ``train`` or ``trial``.
        url: Where the dump is.
    """

    slug: str
    role: str
    url: str

    @property
    def name(self) -> str:
        """The task's full name, such as ``edit_set:legacy-import/train``."""
        return f"edit_set:{self.slug}/{self.role}"

    @property
    def artifact(self) -> str:
        """The artifact's name: ``train.xml`` or ``trial.xml``."""
        return f"{self.role}.xml"


@dataclass(frozen=True, slots=True)
class Model:
    """
    A file of another network, with which one is compared.

    Attributes:
        slug: The edit set whose network is compared with it.
        role: ``reference`` of the bot's network in use, ``previous`` of one published before.
        file: ``bayes.db``, ``two_bayes.db`` or ``main_ann.fann``.
        url: Where it is; empty where it is in the store.
    """

    slug: str
    role: str
    file: str
    url: str = ""

    @property
    def name(self) -> str:
        """The full name of the task that asks or looks for it."""
        is_asked_for = self.role == "reference"
        return f"model:{self.slug}/{self.file}" if is_asked_for else f"previous:{self.slug}"

    @property
    def artifact(self) -> str:
        """The artifact's name, such as ``reference/bayes.db``."""
        return f"{self.role}/{self.file}"
