"""
Everything that may differ between two machines: read once, then passed on.

What changes *results* is not a setting but a number in ``recipes.py``; the exceptions are the
program (``CBNG_CORE``, ``CBNG_CORE_IMAGE``, ``CBNG_CORE_RELEASE``), its configuration
(``CBNG_CORE_CONF``) and the seed, which are all part of the fingerprints.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from cbngtrain import parse
from cbngtrain.errors import SettingsError
from cbngtrain.image import Image

OTHERS = frozenset(
    {
        "CBNG_START_WEIGHTS",
        "CBNG_TEST_IMAGE",
        "CBNG_TEST_KUBECONFIG",
        "CBNG_CLUSTER_ADMIN",
        "CBNG_CLUSTER_DIR",
        "CBNG_CLUSTER_HOST",
    }
)
"""Variables of ours that the build does not read: the engine's, the tests'."""

PASSED_ON = frozenset({"PATH", "HOME", "TMPDIR", "LANG", "LD_LIBRARY_PATH"})
"""Variables that a step's command sees besides those of its recipe."""

PASSED_ON_PREFIXES = ("LC_", "OMP_", "OPENBLAS_")
"""Beginnings of further ones: the locale, and how many threads numpy uses."""


@dataclass(frozen=True, slots=True)
class Variable:
    """
    A setting's place in the environment.

    Attributes:
        name: The variable.
        parse: From its text to the value; raises ValueError with what was expected.
        default: The text where it is not set.
        doc: What it means, for the README and ``cbng-trainer --help``.
        is_secret: Whether its value must never be told.
    """

    name: str
    parse: Callable[[str], Any]
    default: str
    doc: str
    is_secret: bool = False


VARIABLES: Mapping[str, Variable] = {
    "review_url": Variable(
        "CBNG_REVIEW_URL",
        parse.review_url,
        "file:sample/",
        "the review service: `http(s)://…`, or `file:` and a directory like `sample/`",
    ),
    "store": Variable("CBNG_STORE", Path, "store", "the store's directory"),
    "store_url": Variable(
        "CBNG_STORE_URL",
        parse.http_url,
        "",
        "the file service whose store is used instead of a directory: `http(s)://…`",
    ),
    "file_api_key": Variable(
        "FILE_API_KEY",
        parse.tokens,
        "",
        "token that may write to the file service; the service takes several, with commas between",
        is_secret=True,
    ),
    "max_upload": Variable(
        "CBNG_MAX_UPLOAD",
        parse.whole_number(1, 2**50),
        str(8 << 30),
        "the file service: bytes that an upload may have",
    ),
    "keep_free": Variable(
        "CBNG_KEEP_FREE",
        parse.whole_number(0, 2**50),
        str(1 << 30),
        "the file service: bytes of its disk that uploads leave free",
    ),
    "dispatch": Variable(
        "CBNG_DISPATCH",
        parse.one_of("local", "pods", "jobs"),
        "local",
        "where steps run: `local`, on this machine; `pods`, in Kubernetes; `jobs`, as Toolforge's",
    ),
    "store_url_in_pods": Variable(
        "CBNG_STORE_URL_IN_PODS",
        parse.http_url,
        "",
        "the file service as pods and jobs reach it; else `CBNG_STORE_URL`",
    ),
    "core_image": Variable(
        "CBNG_CORE_IMAGE",
        parse.image,
        "",
        "the image with the core, for pods and jobs: `registry/name:tag`, or pinned by `@sha256:…`",
    ),
    "trainer_image": Variable(
        "CBNG_TRAINER_IMAGE",
        parse.image,
        "",
        "the image in which steps run that run no core; else they run on this machine",
    ),
    "core_release": Variable(
        "CBNG_CORE_RELEASE",
        parse.name_of_release,
        "",
        "a release of the core, such as `v1.0.3`, that pods and jobs download instead of the "
        "image's core; they then run in `CBNG_CORE_IMAGE`, or in one of Toolforge's own",
    ),
    "core_releases_url": Variable(
        "CBNG_CORE_RELEASES_URL",
        parse.http_url,
        "https://github.com/cluebotng/core/releases/download",
        "where the core's releases are, a folder each",
    ),
    "kubeconfig": Variable(
        "KUBECONFIG",
        str,
        "",
        "how Kubernetes is reached; else `~/.kube/config`, or a pod's own account",
    ),
    "namespace": Variable(
        "CBNG_NAMESPACE",
        parse.namespace,
        "",
        "where pods are made; else what `KUBECONFIG` says; with jobs it names the tool, `tool-…`",
    ),
    "memory_scale": Variable(
        "CBNG_MEMORY_SCALE",
        parse.factor,
        "1",
        "times the memory that the recipes give to a pod or job",
    ),
    "cpu_scale": Variable(
        "CBNG_CPU_SCALE", parse.factor, "1", "times the CPU that the recipes give to a pod or job"
    ),
    "schedule_timeout": Variable(
        "CBNG_SCHEDULE_TIMEOUT",
        parse.whole_number(1, 10**7),
        "900",
        "seconds for which a pod may wait for a node that has room",
    ),
    "deadline": Variable(
        "CBNG_DEADLINE",
        parse.limit,
        "",
        "seconds that a whole build may take; what cannot end within is left to the next",
    ),
    "core": Variable(
        "CBNG_CORE",
        parse.directory,
        "",
        "a directory with the native core's programs, to run instead of the embedded engine",
    ),
    "core_conf": Variable(
        "CBNG_CORE_CONF",
        parse.conf_directory,
        "",
        "the core's configuration; else `conf/` in `CBNG_CORE`, else the engine's own",
    ),
    "step_timeout": Variable(
        "CBNG_STEP_TIMEOUT",
        parse.limit,
        "",
        "seconds after which a step is stopped; else what its recipe says",
    ),
    "seed": Variable(
        "CBNG_SEED",
        parse.seed,
        "",
        "seed of the networks' start weights, part of the fingerprint; else the recipe's own",
    ),
    "reference": Variable(
        "CBNG_REFERENCE",
        parse.reference,
        "",
        "where `bayes.db`, `two_bayes.db` and `main_ann.fann` of the bot's network in use are, a "
        "directory or a URL, to compare with; `image` for `data/` in `CBNG_CORE_IMAGE`, where "
        "steps run its core; else in `data/` of `CBNG_CORE`, or the release of "
        "`CBNG_CORE_RELEASE`; `none` for none",
    ),
    "share": Variable(
        "CBNG_VANDALISM_SHARE",
        parse.percent,
        "",
        "percent of all edits that are vandalism, for precision, part of the fingerprint; else "
        "3.4, editquality's share of damaging edits on the English Wikipedia in 2015",
    ),
    "promote": Variable(
        "CBNG_PROMOTE",
        parse.one_of("never", "auto"),
        "never",
        "whether a build puts what it published into production if the gate lets it: `never` or "
        "`auto`",
    ),
    "promote_rate": Variable(
        "CBNG_PROMOTE_RATE",
        parse.rate,
        "0.1",
        "the gate: false positive rate in percent at which a network must not catch less than the "
        "reference: 1, 0.5, 0.25, 0.1 or 0.01",
    ),
    "promote_margin": Variable(
        "CBNG_PROMOTE_MARGIN",
        parse.points,
        "0",
        "the gate: points of recall there that the interval of the difference may reach below 0",
    ),
    "promote_overlap": Variable(
        "CBNG_PROMOTE_OVERLAP",
        parse.whole_number(0, 10**9),
        "0",
        "the gate: trial edits that may have been trained on",
    ),
    "source_max_age": Variable(
        "CBNG_SOURCE_MAX_AGE",
        parse.whole_number(0, 10**9),
        "0",
        "seconds for which a dump is not asked for again",
    ),
    "fallback_trial": Variable(
        "CBNG_FALLBACK_TRIAL",
        str,
        "",
        "edit set whose trial group others without one use; else the review service's own two",
    ),
    "overlap": Variable(
        "CBNG_OVERLAP",
        parse.one_of("report", "refuse"),
        "report",
        "edits in both training and trial set: `report` them or `refuse` the edit set",
    ),
    "keep_instances": Variable(
        "CBNG_KEEP_INSTANCES",
        parse.whole_number(1, 10**6),
        "10",
        "pruning: the last so many instances of each edit set stay",
    ),
    "keep_months": Variable(
        "CBNG_KEEP_MONTHS",
        parse.whole_number(0, 1200),
        "12",
        "pruning: the last instance of each of so many months stays",
    ),
    "keep_builds": Variable(
        "CBNG_KEEP_BUILDS",
        parse.whole_number(1, 10**6),
        "100",
        "pruning: the last so many summaries of builds stay, and the logs that they name",
    ),
    "prune_grace": Variable(
        "CBNG_PRUNE_GRACE",
        parse.whole_number(86400, 10**9),  # a day: far more than store.RENEW_AFTER and a build
        str(7 * 86400),
        "pruning: seconds for which all stays that was written or relied upon; a day or more",
    ),
    "metrics_file": Variable(
        "CBNG_METRICS_FILE",
        parse.new_file,
        "",
        "where each build leaves its numbers for Prometheus, such as `/…/cbng.prom`",
    ),
    "log_level": Variable(
        "CBNG_LOG_LEVEL",
        parse.one_of("", "DEBUG", "INFO", "WARNING", "ERROR"),
        "",
        "how much is logged: `DEBUG`, `INFO`, `WARNING`, `ERROR`; "
        "else `WARNING` for doit and `INFO` for cbng-trainer",
    ),
    "toolforge_api_url": Variable(
        "TOOL_TOOLFORGE_API_URL",
        parse.http_url,
        "https://api.svc.toolforge.org",
        "Toolforge's API, which Toolforge itself tells its jobs",
    ),
    "toolforge_ca": Variable(
        "CBNG_TOOLFORGE_CA",
        parse.file,
        "",
        "a file of certificates by which that API is verified; else the system's",
    ),
    "deploy_token": Variable(
        "CBNG_DEPLOY_TOKEN",
        parse.tokens,
        "",
        "token of Toolforge's components service, with which deploying needs no key",
        is_secret=True,
    ),
    "k8s_server": Variable(
        "K8S_SERVER",
        parse.http_url,
        "",
        "the Kubernetes API of a job that has no kubeconfig: `https://…`",
    ),
    "k8s_ca_crt": Variable(
        "K8S_CA_CRT", str, "", "certificates by which it is verified, as PEM; else the pod's own"
    ),
    "k8s_client_crt": Variable(
        "K8S_CLIENT_CRT", str, "", "the tool's client certificate, as PEM; else the kubeconfig's"
    ),
    "k8s_client_key": Variable(
        "K8S_CLIENT_KEY", str, "", "its key, as PEM; else the kubeconfig's", is_secret=True
    ),
}
"""Attribute of `Settings` → its variable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that may differ between two machines; see `VARIABLES` for each."""

    review_url: str
    store: Path
    store_url: str
    file_api_key: str = field(repr=False)  # never in a log
    max_upload: int  # bytes
    keep_free: int  # bytes
    dispatch: str
    store_url_in_pods: str
    core_image: Image | None
    trainer_image: Image | None
    core_release: str
    core_releases_url: str
    kubeconfig: str
    namespace: str
    memory_scale: float
    cpu_scale: float
    schedule_timeout: int  # seconds
    deadline: int | None  # seconds
    core: Path | None
    core_conf: Path | None
    step_timeout: int | None  # seconds
    seed: int | None
    reference: str
    share: float | None  # in (0, 1)
    promote: str
    promote_rate: float  # in (0, 1)
    promote_margin: float  # in [0, 1]
    promote_overlap: int
    source_max_age: int  # seconds
    fallback_trial: str
    overlap: str
    keep_instances: int
    keep_months: int
    keep_builds: int
    prune_grace: int  # seconds
    metrics_file: Path | None
    log_level: str
    toolforge_api_url: str
    toolforge_ca: Path | None
    deploy_token: str = field(repr=False)  # never in a log
    k8s_server: str
    k8s_ca_crt: str
    k8s_client_crt: str
    k8s_client_key: str = field(repr=False)  # never in a log
    step_env: Mapping[str, str]  # what a step's command sees of the environment

    @property
    def replaced(self) -> dict[str, int | float]:
        """Parameter of a recipe → what it is replaced by; only those that were set."""
        told = {"seed": self.seed, "share": self.share}
        return {name: value for name, value in told.items() if value is not None}

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """
        Return the settings in *env*.

        Raises:
            SettingsError: Names every variable that is malformed, not known, or lacking for what
                another one asks.
        """
        values: dict[str, Any] = {}
        problems = _unknown(env)
        for attribute, variable in VARIABLES.items():
            text = env.get(variable.name) or variable.default
            try:
                values[attribute] = variable.parse(text)
            except ValueError as error:
                is_secret = variable.is_secret or parse.has_password(text)
                told = "" if is_secret else f"={text!r}"
                problems.append(f"{variable.name}{told} is not {error}")
        if not problems and values["dispatch"] != "local":
            problems = _lacking_elsewhere(values)
        if problems:
            raise SettingsError("; ".join(problems))
        return cls(**values, step_env=_passed_on(env))


def _unknown(env: Mapping[str, str]) -> list[str]:
    """Return a complaint for every CBNG_ variable that is no setting, with what may be meant."""
    known = {variable.name for variable in VARIABLES.values()}
    complaints = []
    for name in sorted(env):
        if name.startswith("CBNG_") and name not in known | OTHERS:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; is {near[0]} meant?" if near else ""
            complaints.append(f"{name} is no setting{hint}")
    return complaints


def _lacking_elsewhere(values: Mapping[str, Any]) -> list[str]:
    """Return why steps cannot run as pods or jobs with these settings."""
    told = f"CBNG_DISPATCH={values['dispatch']}"
    problems = []
    if not values["store_url"]:
        problems.append(f"{told} needs CBNG_STORE_URL, the file service where steps leave results")
    elif _is_loopback(values["store_url_in_pods"] or values["store_url"]):
        problems.append(
            f"{told} needs CBNG_STORE_URL_IN_PODS: what CBNG_STORE_URL names is this machine alone"
        )
    if not values["file_api_key"]:
        problems.append(f"{told} needs FILE_API_KEY, the token that writes to the file service")
    if not values["core_image"] and not values["core_release"]:
        problems.append(f"{told} needs CBNG_CORE_IMAGE or CBNG_CORE_RELEASE, the core to run")
    if values["core"]:
        problems.append(f"{told} cannot run the programs of CBNG_CORE; unset one of the two")
    return problems


def _is_loopback(url: str) -> bool:
    """Return whether *url* names the machine that it is used on."""
    host = urlsplit(url).hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")


def _passed_on(env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of *env* that a step's command may see."""
    return {
        name: value
        for name, value in env.items()
        if name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES)
    }


assert [f.name for f in fields(Settings)] == [*VARIABLES, "step_env"]
