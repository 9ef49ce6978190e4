"""The settings: every variable, its default, and what is said of a wrong one."""

import os
from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any

import pytest

from cbngtrain.errors import SettingsError
from cbngtrain.image import Image
from cbngtrain.settings import OTHERS, VARIABLES, Settings

NAMES = sorted(variable.name for variable in VARIABLES.values())


def refusal(**env: str) -> str:
    """What is said of an environment that is refused."""
    with pytest.raises(SettingsError) as error:
        Settings.from_env(env)
    return str(error.value)


def setting(attribute: str, text: str) -> Any:
    """The value of a setting whose variable is *text*."""
    return getattr(Settings.from_env({VARIABLES[attribute].name: text}), attribute)


DEFAULTS = {
    "review_url": "file:sample/",
    "store": Path("store"),
    "store_url": "",
    "file_api_key": "",
    "max_upload": 8 << 30,
    "keep_free": 1 << 30,
    "dispatch": "local",
    "core": None,
    "core_conf": None,
    "store_url_in_pods": "",
    "core_image": None,
    "trainer_image": None,
    "core_release": "",
    "core_releases_url": "https://github.com/cluebotng/core/releases/download",
    "kubeconfig": "",
    "namespace": "",
    "memory_scale": 1.0,
    "cpu_scale": 1.0,
    "schedule_timeout": 900,
    "deadline": None,
    "step_timeout": None,
    "seed": None,
    "reference": "",
    "share": None,
    "promote": "never",
    "promote_rate": 0.001,
    "promote_margin": 0.0,
    "promote_overlap": 0,
    "source_max_age": 0,
    "fallback_trial": "",
    "overlap": "report",
    "keep_instances": 10,
    "keep_months": 12,
    "keep_builds": 100,
    "prune_grace": 604800,
    "metrics_file": None,
    "log_level": "",
    "toolforge_api_url": "https://api.svc.toolforge.org",
    "toolforge_ca": None,
    "deploy_token": "",
    "k8s_server": "",
    "k8s_ca_crt": "",
    "k8s_client_crt": "",
    "k8s_client_key": "",
    "step_env": {},
}


@pytest.mark.parametrize("attribute", [field.name for field in fields(Settings)])
def test_default(attribute: str):
    """In an empty environment every setting has its default."""
    assert getattr(Settings.from_env({}), attribute) == DEFAULTS[attribute]


@pytest.mark.parametrize("name", NAMES)
def test_empty_variable_counts_as_not_set(name: str):
    """A variable that is set to nothing has its default."""
    assert Settings.from_env({name: ""}) == Settings.from_env({})


def test_variables_have_names_and_a_meaning():
    """Each setting has a variable of its own, and a meaning for people."""
    assert len(set(NAMES)) == len(NAMES)
    others = {name for name in NAMES if not name.startswith("CBNG_")}
    assert others == {"FILE_API_KEY", "K8S_CA_CRT", "K8S_CLIENT_CRT", "K8S_CLIENT_KEY",
                      "K8S_SERVER", "KUBECONFIG", "TOOL_TOOLFORGE_API_URL"}  # fmt: skip
    assert all(len(variable.doc) > 10 for variable in VARIABLES.values())


@pytest.mark.parametrize(
    ("attribute", "text", "value"),
    [
        ("review_url", "https://review.example", "https://review.example"),
        ("review_url", "file:/srv/review", "file:/srv/review"),
        ("store", "/srv/store", Path("/srv/store")),
        ("store_url", "http://trainer.example:8000/", "http://trainer.example:8000"),
        ("file_api_key", "a,b", "a,b"),
        ("store_url_in_pods", "http://trainer.tool-x.svc:8000/", "http://trainer.tool-x.svc:8000"),
        ("core_image", "a.example/b", Image("a.example", "b", "latest", "")),
        ("core_release", "v1.0.3", "v1.0.3"),
        ("core_releases_url", "https://a.example/releases/", "https://a.example/releases"),
        ("namespace", "tool-cluebotng-trainer", "tool-cluebotng-trainer"),
        ("memory_scale", "1.5", 1.5),
        ("cpu_scale", "2", 2.0),
        ("deadline", "3600", 3600),
        ("step_timeout", "60", 60),
        ("step_timeout", " 60\n", 60),
        ("seed", "0", 0),
        ("seed", "4294967295", 4294967295),
        ("reference", "https://example.org/models/", "https://example.org/models"),
        ("reference", "none", "none"),
        ("reference", "image", "image"),
        ("reference", "/", "file:/"),
        ("share", "3.4", 0.034),
        ("promote_rate", "0.25", 0.0025),
        ("promote_margin", "1.5", 0.015),
        ("share", "50", 0.5),
        ("source_max_age", "3600", 3600),
        ("fallback_trial", "Sampled Main Namespace Edits", "Sampled Main Namespace Edits"),
        ("overlap", "refuse", "refuse"),
        ("log_level", "DEBUG", "DEBUG"),
    ],
)
def test_value(attribute: str, text: str, value: object):
    """A variable's text becomes the setting's value."""
    assert setting(attribute, text) == value


@pytest.mark.parametrize("attribute", ["core", "core_conf"])
def test_directory_is_absolute(attribute: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Steps run elsewhere: a directory is known by its whole path."""
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "cluebotng.conf").touch()
    monkeypatch.chdir(tmp_path)

    assert setting(attribute, "core") == tmp_path / "core"


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("CBNG_REVIEW_URL", "sample/", "a URL that begins with file:, or http:// or https:// and"),
        ("CBNG_REVIEW_URL", "https://", "a URL that begins with file:, or http:// or https:// and"),
        ("CBNG_STORE_URL", "http://:80/", "a URL that begins with http:// or https:// and a host"),
        (
            "CBNG_STORE_URL",
            "http://a:port",
            "a URL that begins with http:// or https:// and a host",
        ),
        ("CBNG_CORE_CONF", "/proc/self", "a directory with the core's *.conf"),
        ("CBNG_METRICS_FILE", "/dev/null", "a file in a directory that exists"),
        ("CBNG_REVIEW_URL", "ftp://x", "a URL that begins with"),
        ("CBNG_STORE_URL", "file:store", "a URL that begins with http:// or https://"),
        ("CBNG_DISPATCH", "cloud", "local or pods or jobs"),
        ("CBNG_STORE_URL_IN_PODS", "trainer:8000", "a URL that begins with http:// or https://"),
        ("CBNG_CORE_IMAGE", "core:latest", "an image, registry/name:tag or registry/name@sha256"),
        ("CBNG_TRAINER_IMAGE", "a.example/X", "an image, registry/name:tag"),
        ("CBNG_CORE_RELEASE", "../v1", "a release such as v1.0.3"),
        ("CBNG_CORE_RELEASE", "v1;reboot", "a release such as v1.0.3"),
        ("CBNG_NAMESPACE", "Tool_X", "a Kubernetes namespace"),
        ("CBNG_MEMORY_SCALE", "0", "a number from 0.1 to 100"),
        ("CBNG_MEMORY_SCALE", "nan", "a number from 0.1 to 100"),
        ("CBNG_CPU_SCALE", "1e1", "a number from 0.1 to 100"),
        ("CBNG_SCHEDULE_TIMEOUT", "0", "a whole number from 1"),
        ("CBNG_DEADLINE", "2h", "a whole number from 1"),
        ("CBNG_CORE", "/nowhere/at/all", "a directory that exists"),
        ("CBNG_CORE_CONF", "/nowhere/at/all", "a directory that exists"),
        ("CBNG_STEP_TIMEOUT", "0", "a whole number from 1 to 10000000"),
        ("CBNG_STEP_TIMEOUT", "10000001", "a whole number from 1 to 10000000"),
        ("CBNG_STEP_TIMEOUT", "1.5", "a whole number"),
        ("CBNG_STEP_TIMEOUT", "2h", "a whole number"),
        ("CBNG_SEED", "-1", "a whole number from 0 to 4294967295"),
        ("CBNG_SEED", "4294967296", "a whole number from 0 to 4294967295"),
        ("CBNG_SEED", "٣", "a whole number"),
        ("CBNG_SEED", "9" * 5000, "a whole number from 0 to 4294967295"),
        ("CBNG_REFERENCE", "/nowhere/at/all", "a directory that exists, a URL of http"),
        ("CBNG_REFERENCE", "ftp://x", "a directory that exists, a URL of http"),
        ("CBNG_PROMOTE", "always", "never or auto"),
        ("CBNG_PROMOTE_RATE", "0.2", "1, 0.5, 0.25, 0.1 or 0.01"),
        ("CBNG_PROMOTE_MARGIN", "-1", "a number of points"),
        ("CBNG_PROMOTE_OVERLAP", "some", "a whole number from 0"),
        ("CBNG_VANDALISM_SHARE", "0", "a percentage between 0 and 100"),
        ("CBNG_VANDALISM_SHARE", "100", "a percentage between 0 and 100"),
        ("CBNG_VANDALISM_SHARE", "nan", "a percentage between 0 and 100"),
        ("CBNG_SOURCE_MAX_AGE", "soon", "a whole number from 0"),
        ("CBNG_OVERLAP", "ignore", "report or refuse"),
        ("CBNG_METRICS_FILE", "nowhere/cbng.prom", "a file in a directory that exists"),
        ("CBNG_KEEP_INSTANCES", "0", "a whole number from 1 to 1000000"),
        ("CBNG_PRUNE_GRACE", "3600", "a whole number from 86400 to 1000000000"),
        ("CBNG_METRICS_FILE", "/", "a file in a directory that exists"),
        ("CBNG_LOG_LEVEL", "verbose", "DEBUG or INFO or WARNING or ERROR"),
        ("CBNG_LOG_LEVEL", "info", "DEBUG or INFO or WARNING or ERROR"),
    ],
    ids=lambda value: value[:20],
)
def test_malformed_value_is_named_with_what_was_expected(name: str, text: str, told: str):
    """A value of no use is refused with its variable, the value and what can stand there."""
    message = refusal(**{name: text})

    assert message.startswith(f"{name}={text!r} is not ")
    assert told in message


def test_all_that_is_wrong_is_told_at_once():
    """Nobody has to start three times to learn of three mistakes."""
    message = refusal(CBNG_SEED="x", CBNG_OVERLAP="y", CBNG_STOER="z")

    assert message.split("; ") == [
        "CBNG_STOER is no setting",
        "is CBNG_STORE meant?",
        "CBNG_SEED='x' is not a whole number from 0 to 4294967295",
        "CBNG_OVERLAP='y' is not report or refuse",
    ]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("CBNG_STEP_TIMEOUTS", "is CBNG_STEP_TIMEOUT meant?"),
        ("CBNG_REVIEW", "is CBNG_REVIEW_URL meant?"),
        ("CBNG_FALLBACK", "is CBNG_FALLBACK_TRIAL meant?"),
        ("CBNG_QQQQQQQQQQQQQQQQQQQQQQ", "CBNG_QQQQQQQQQQQQQQQQQQQQQQ is no setting"),
    ],
)
def test_unknown_variable_of_ours_is_refused_with_a_hint(name: str, told: str):
    """A misspelt variable is no silent default."""
    assert refusal(**{name: "1"}).endswith(told)


@pytest.mark.parametrize("name", [*sorted(OTHERS), "HOME", "CBNGX", "XCBNG_SEED"])
def test_variables_of_others_are_let_be(name: str):
    """What is not ours, or is the engine's or the tests', is no mistake."""
    assert Settings.from_env({name: "1"}).store == Path("store")


ELSEWHERE = {
    "CBNG_DISPATCH": "pods",
    "CBNG_STORE_URL": "http://198.51.100.1:8000",
    "FILE_API_KEY": "a",
    "CBNG_CORE_IMAGE": "a.example/b:c",
}


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("CBNG_STORE_URL", "", "CBNG_DISPATCH=pods needs CBNG_STORE_URL"),
        ("CBNG_STORE_URL", "http://localhost:8000", "needs CBNG_STORE_URL_IN_PODS"),
        ("CBNG_STORE_URL", "http://127.0.0.1:8000", "needs CBNG_STORE_URL_IN_PODS"),
        ("CBNG_STORE_URL_IN_PODS", "http://[::1]:8000", "needs CBNG_STORE_URL_IN_PODS"),
        ("FILE_API_KEY", "", "needs FILE_API_KEY"),
        ("CBNG_CORE_IMAGE", "", "needs CBNG_CORE_IMAGE or CBNG_CORE_RELEASE"),
        ("CBNG_CORE", "/usr", "cannot run the programs of CBNG_CORE"),
    ],
)
def test_what_steps_elsewhere_need_is_asked_for(name: str, text: str, told: str):
    """Pods and jobs without a store, a token or a core are refused, with what to set."""
    assert told in refusal(**{**ELSEWHERE, name: text})
    assert "CBNG_DISPATCH=jobs" in refusal(**{**ELSEWHERE, name: text, "CBNG_DISPATCH": "jobs"})
    assert Settings.from_env({**ELSEWHERE, name: text, "CBNG_DISPATCH": "local"})


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"CBNG_DISPATCH": "jobs"},
        {"CBNG_CORE_IMAGE": "", "CBNG_CORE_RELEASE": "v1.0.3"},
        {"CBNG_STORE_URL": "http://[::1]:1", "CBNG_STORE_URL_IN_PODS": "http://a.example"},
        {"CBNG_CORE_CONF": "/etc"},
    ],
)
def test_steps_elsewhere(more: dict[str, str]):
    """A store, a token and a core are enough."""
    assert Settings.from_env({**ELSEWHERE, **more}).dispatch in {"pods", "jobs"}


def test_environment_is_a_parameter(monkeypatch: pytest.MonkeyPatch):
    """The process's own environment is not looked at."""
    monkeypatch.setitem(os.environ, "CBNG_STEP_TIMEOUT", "5")  # noqa: TID251 - to be ignored

    assert Settings.from_env({}).step_timeout is None


def test_settings_do_not_change():
    """They are read once, then passed on."""
    settings = Settings.from_env({})

    with pytest.raises(FrozenInstanceError):
        settings.step_timeout = 5  # type: ignore[misc] # that is the point


SECRET = "s3cret"  # a token that is none


def test_token_is_never_shown():
    """Neither the settings' text nor a complaint holds the token."""
    settings = Settings.from_env({"FILE_API_KEY": SECRET})

    assert settings.file_api_key == SECRET
    assert SECRET not in repr(settings)
    assert SECRET not in str(settings)
    assert refusal(FILE_API_KEY=f"{SECRET}\n") == (
        "FILE_API_KEY is not made of printable ASCII characters"
    )


@pytest.mark.parametrize("name", ["CBNG_REVIEW_URL", "CBNG_STORE_URL", "CBNG_CORE_RELEASES_URL"])
def test_password_in_a_url_is_refused_and_not_shown(name: str):
    """URLs are logged, published and written on command lines."""
    told = refusal(**{name: f"https://bot:{SECRET}@service.example/"})

    assert told.startswith(f"{name} is not a URL that begins with ")
    assert told.endswith("and a host, without a password")


@pytest.mark.parametrize(
    "name",
    ["FILE_API_KEY", "HOMEBREW_GITHUB_API_TOKEN", "LANGCHAIN_API_KEY", "PATH_TO_TOKEN",
     "TMPDIR_TOKEN", "AWS_SECRET_ACCESS_KEY", "KUBECONFIG", "CBNG_START_WEIGHTS", "PYTHONPATH"],
)  # fmt: skip
def test_steps_see_no_secret(name: str):
    """A step's command sees nothing of the environment but what is listed."""
    assert Settings.from_env({name: SECRET}).step_env == {}


def test_steps_see_what_programs_need():
    """Where programs and temporary files are, the locale, and how many threads to use."""
    needed = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "LD_LIBRARY_PATH")
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    env = dict.fromkeys(needed + threads, "x")

    assert Settings.from_env(env).step_env == env
