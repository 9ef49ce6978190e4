"""What a pod runs, run for real: with bash, curl and a file service, and every way to end."""

import functools
import http.server
import re
import shutil
import signal
import socket
import ssl
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cbngtrain.canonical import artifact_of
from cbngtrain.dispatch.script import Place, script
from cbngtrain.recipes import MODELS, RECIPES, REFERENCE_IN_IMAGE
from cbngtrain.step import (
    Leaf,
    Made,
    Recipe,
    Step,
    fingerprint,
)
from tests.conftest import processes_in, wait_until
from tests.dispatch.places import (
    CHAIN,
    ENGINE,
    PATH,
    WELL,
    EndedPod,
    Pod,
    add_edit_sets,
    engine_workspace,
    recipe,
    step_of,
)
from tests.toolforge_standin import make_certificates
from tests.web.conftest import TOKEN, Running, serving

pytestmark = pytest.mark.slow  # each runs a step to its end


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A file service."""
    root = tmp_path_factory.mktemp("script") / "store"
    root.mkdir()
    with serving(root) as running:
        yield running


@pytest.fixture
def pod(tmp_path: Path, service: Running) -> Pod:
    """A place to run scripts in, with a store in which nothing is."""
    for folder in ("cas", "ac"):
        shutil.rmtree(service.root / folder, ignore_errors=True)
    return Pod(tmp_path, service)


STEP = step_of(recipe("bayes_train"))


def test_whole_chain_equals_a_local_build(tmp_path: Path, pod: Pod):
    """
    The engine under the core's names: every record says what canonical.py says of the files.

    What lies in ``data/`` after the trial is then tried as an image's own network.
    """
    pod.workspace.rmdir()
    engine_workspace(pod.workspace)
    made = add_edit_sets(pod.store, tmp_path)
    for each in (*CHAIN, REFERENCE_IN_IMAGE):
        step = step_of(each)
        inputs = {path: made[name] for path, name in each.reads.items()}
        place = Place(store_url=pod.service.url, timeout=60, workspace=str(pod.workspace))
        key = fingerprint(step, inputs)

        ended = pod.ended(pod.start(script(step, key, inputs, place)))

        record = pod.store.find(key)
        assert record, ended
        assert record.artifacts == tuple(artifact_of(leaf, pod.workspace) for leaf in each.leaves)
        assert (record.inputs, record.parts) == (inputs, step.parts(inputs))
        assert (record.about["where"], ended.told) == (
            "pods", {"code": 0, "exit": 0, "problem": "", "log": record.log}
        )  # fmt: skip
        made |= {artifact.name: Made(artifact, key) for artifact in record.artifacts}
    for name in MODELS:
        assert made[f"reference/{name}"].artifact.digest == made[name].artifact.digest
    assert (
        made["reference/details.txt"].artifact.meaning == made["trial/details.txt"].artifact.meaning
    )


@pytest.mark.skipif(not shutil.which("dpkg"), reason="not a Debian")
def test_script_needs_bash_coreutils_and_curl_only(pod: Pod, bare_path: str):
    """An image with these is enough to run a step."""
    pod.program("cluebotng", WELL)

    ended = pod.run(STEP, env={"PATH": bare_path})

    assert ended.code == 0, ended
    assert "not found" not in ended.out
    assert pod.record(STEP)


def test_log_is_what_the_command_printed(pod: Pod):
    """The log blob holds what went to standard output and error; both are followed live as well."""
    pod.program("cluebotng", f"echo out; echo err >&2; printf 'no end\\r'\n{WELL}")

    ended = pod.run(STEP)

    assert pod.blob(ended.told["log"]) == b"out\nerr\nno end\rdone\n"
    assert "out\nerr\n" in ended.out


def test_record_that_stands_is_no_failure(pod: Pod):
    """Who comes second, with other bytes, is told 200 and ends well; the first record stands."""
    pod.program("cluebotng", WELL.replace("0 a", "0 a$$"))
    first = pod.run(STEP)
    record = pod.record(STEP)

    assert (first.code, pod.run(STEP).code) == (0, 0)
    assert pod.record(STEP) == record


def test_nothing_undeclared_is_there(pod: Pod):
    """What lay in the workspace is gone: models of the image, edits and reports of other steps."""
    for path in ("data/bayes.db", "data/.hidden", "trialreport/report.txt", "edits.xml"):
        (pod.workspace / path).parent.mkdir(exist_ok=True)
        (pod.workspace / path).write_text("old", encoding="utf-8")
    of = step_of(recipe("bayes_db"))
    pod.program("create_bayes_db", "find . -type f | sort; exit 3")

    ended = pod.run(of)

    assert pod.blob(ended.told["log"]).split() == [
        b"./create_bayes_db",
        b"./data/main_bayes_train.dat",
    ]


def test_command_gets_its_seed_and_no_setting(pod: Pod):
    """A command sees the step's seed, not the place's settings, and not the token."""
    pod.program("create_ann", "env; exit 3")

    ended = pod.run(step_of(recipe("ann")), env={"CBNG_SEED": "7", "CBNG_START_WEIGHTS": "x"})

    log = pod.blob(ended.told["log"]).decode()
    assert re.findall("^CBNG_.*", log, re.MULTILINE) == ["CBNG_SEED=1"]
    assert TOKEN not in ended.out + log


def test_token_is_on_no_command_line(pod: Pod):
    """It reads the token from a file that nobody else can read."""
    spy = pod.path / "bin"
    spy.mkdir()
    (spy / "curl").write_text(
        f'#!/bin/bash\necho "$*" >>{pod.path}/argv\nstat -c %a {pod.path}/tmp.*/header '
        f'>>{pod.path}/mode\nexec {shutil.which("curl")} "$@"\n',
        encoding="utf-8",
    )
    (spy / "curl").chmod(0o755)
    pod.program("cluebotng", f"cat /proc/[0-9]*/cmdline | tr '\\0' ' '\n{WELL}")

    ended = pod.run(STEP, env={"PATH": f"{spy}:{PATH}"})

    assert ended.code == 0
    argvs = (pod.path / "argv").read_text(encoding="utf-8")
    assert "--header @" in argvs
    assert TOKEN not in argvs + ended.out + pod.blob(ended.told["log"]).decode(errors="replace")
    assert "600" in (pod.path / "mode").read_text(encoding="utf-8").split()


def test_scratch_is_removed(pod: Pod):
    """Nothing of the script stays behind, the token least of all."""
    pod.program("cluebotng", WELL)

    pod.run(STEP)

    assert [path for path in pod.path.iterdir() if path.name.startswith("tmp.")] == []


EVIL = "$(touch pwned)`touch pwned`'; touch pwned; '\"\n#é\\"


def test_no_value_breaks_out(pod: Pod):
    """Whatever a name, path, URL or parameter holds, it is never run; should it ever get there."""
    of = Recipe(
        name="bayes_train",
        doc="",
        command=("cluebotng", EVIL),
        reads={f"in/{EVIL}": "train.xml", "edits.xml": "train.xml"},
        leaves=STEP.recipe.leaves,
        parameters={"seed": 1},
    )
    step = Step(recipe=of, slug=EVIL, program={"core": EVIL}, conf=None, parameters={"seed": 1})
    pod.program("cluebotng", f'printf %s "$1"\n{WELL}')

    ended = pod.run(step)

    assert ended.code == 0, ended
    assert pod.blob(ended.told["log"]).decode().startswith(EVIL)
    assert (pod.workspace / "in" / EVIL).is_file()
    assert list(pod.path.rglob("pwned")) == []
    record = pod.record(step)
    assert record
    assert record.parts == step.parts(pod.inputs(step))


# Every way to end --------------------------------------------------------------------------------


def failed(ended: EndedPod) -> tuple[int, object]:
    """The exit code, and the command's."""
    return ended.code, ended.told["exit"]


def test_missing_input(pod: Pod):
    """An input that is not in the store: 80, and which it was."""
    pod.inputs(STEP)
    text = pod.script(STEP).replace(pod.inputs(STEP)["edits.xml"].artifact.digest, "0" * 64)

    ended = pod.ended(pod.start(text))

    assert failed(ended) == (80, None)
    assert "edits.xml could not be fetched" in ended.told["problem"]
    assert ": 404 " in ended.told["problem"]


def test_rotten_input(pod: Pod):
    """An input whose bytes have rotted: 81, and the service has taken it out."""
    step = step_of(recipe("bayes_db"))
    digest = pod.inputs(step)["data/main_bayes_train.dat"].artifact.digest
    path = pod.store.path(digest)
    text = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(text.replace(b"t", b"T"))

    ended = pod.run(step)

    assert failed(ended) == (81, None)
    assert f"other bytes than {digest}" in ended.told["problem"]
    assert not path.exists()


def test_service_that_stays_away(pod: Pod):
    """A file service that nobody hears of for as long as a request may wait: 80."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    ended = pod.run(STEP, store_url=url, patience=1)

    assert failed(ended) == (80, None)
    assert "trying again in 1 s" in ended.out


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("echo first; echo ' the reason ' >&2; exit 3", (82, 3, "exit code 3: the reason")),
        ("exit 1", (82, 1, "exit code 1")),
        ("kill -SEGV $$", (82, 139, "exit code 139")),
        ("kill -9 $$", (137, 137, "exit code 137: killed, for want of memory perhaps")),
        ("exit 124", (124, 124, "no end after 60 s, when it was stopped")),
        (r"""printf 'a \\ \047 " \x01 \xc3\xa9 b\n\n'; exit 9""",
         (82, 9, r"""exit code 9: a \ ' "      b""")),
    ],
    ids=["exit", "silent", "signal", "killed", "124", "odd text"],
)  # fmt: skip
def test_command_that_fails(pod: Pod, text: str, told: tuple[int, int, str]):
    """How the command ended is told with its last line; the log is kept, a record is not."""
    pod.program("cluebotng", text)

    ended = pod.run(STEP)

    assert (ended.code, ended.told["exit"], ended.told["problem"]) == told
    assert pod.store.missing([ended.told["log"]]) == set()
    assert pod.record(STEP) is None


def test_program_that_is_not_there(pod: Pod):
    """An image without the program: 82, with what timeout says of it."""
    ended = pod.run(STEP)

    assert failed(ended) == (82, 127)
    assert "No such file" in ended.told["problem"]


@pytest.mark.parametrize(
    "text",
    [
        "sleep 100",
        pytest.param("trap '' TERM; sleep 100 & wait; sleep 100", marks=pytest.mark.slow),
    ],
)
def test_command_without_end(pod: Pod, text: str):
    """A command that is out of time: 124, also where it has to be killed; nothing stays behind."""
    pod.program("cluebotng", f"echo begun\n{text}")
    script = pod.script(STEP, timeout=1).replace("--kill-after=10", "--kill-after=1")

    ended = pod.ended(pod.start(script))

    assert failed(ended) == (124, 124)
    assert pod.blob(ended.told["log"]).startswith(b"begun\n")
    assert processes_in(pod.workspace) == []


def test_children_of_the_command_do_not_stay(pod: Pod):
    """What a command started and left running ends with it, and holds nothing up."""
    pod.program("cluebotng", f"sleep 1000 &\n{WELL}")

    assert pod.run(STEP).code == 0
    assert processes_in(pod.workspace) == []


def test_child_with_a_session_of_its_own_holds_nothing_up(pod: Pod):
    """What has left the command's process group may keep the log open: it is not waited for."""
    pod.program("cluebotng", f"setsid sleep 20 &\n{WELL}")
    script = pod.script(STEP).replace("--foreground 10 ", "--foreground 1 ")

    ended = pod.ended(pod.start(script))

    assert ended.code == 0
    assert pod.blob(ended.told["log"]) == b"done\n"


def test_command_that_prints_much(pod: Pod):
    """A log of 100 MB is kept whole, and its last line tells what was wrong."""
    pod.program("cluebotng", "yes 'as ever' | head -c 100000000; echo; echo 'the reason'; exit 3")

    ended = pod.run(STEP)

    assert ended.told["problem"] == "exit code 3: the reason"
    assert len(pod.blob(ended.told["log"])) == 100_000_000 + len("\nthe reason\n")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("true", "data/main_bayes_train.dat: the command did not leave it"),
        (f"{WELL}; : >data/two_bayes_train.dat", "data/two_bayes_train.dat: is empty"),
        (f"{WELL}; rm data/two_bayes_train.dat; mkdir data/two_bayes_train.dat",
         "data/two_bayes_train.dat: the command did not leave it"),
    ],
    ids=["nothing", "empty", "directory"],
)  # fmt: skip
def test_bad_output(pod: Pod, text: str, told: str):
    """A check that fails: 83, although the command said that all is well; the log is kept."""
    pod.program("cluebotng", text)

    ended = pod.run(STEP)

    assert failed(ended) == (83, 0)
    assert ended.told["problem"] == f"exit code 0 but a bad output: {told}"
    assert pod.store.missing([ended.told["log"]]) == set()
    assert pod.record(STEP) is None


CHECKED = [(each, leaf) for each in RECIPES if each.program == "core" for leaf in each.leaves]


@pytest.mark.parametrize(("of", "leaf"), CHECKED, ids=lambda of: getattr(of, "artifact", ""))
def test_every_leaf_is_checked(pod: Pod, of: Recipe, leaf: Leaf):
    """An output of nonsense is refused, whichever it is."""
    others = "; ".join(f"echo nonsense >{each.path}" for each in of.leaves)
    step = step_of(Recipe(name=of.name, doc="", command=("any",), reads=of.reads, leaves=(leaf,)))
    pod.program("any", others)
    pod.program("print_bayes_db", "exit 1")

    assert failed(pod.run(step)) == (83, 0)


def test_token_that_is_refused(pod: Pod):
    """An upload without the right token: 84, with what the service said."""
    pod.program("cluebotng", WELL)

    ended = pod.run(STEP, env={"FILE_API_KEY": "wrong"})

    assert failed(ended) == (84, 0)
    assert " 401 " in ended.told["problem"]
    assert ended.told["log"] is None


def test_failure_is_told_where_its_log_is_refused(pod: Pod):
    """A command that failed has failed, even if its log cannot be stored."""
    pod.program("cluebotng", "exit 3")

    ended = pod.run(STEP, env={"FILE_API_KEY": ""})

    assert (failed(ended), ended.told["log"]) == ((82, 3), None)


@pytest.mark.parametrize(
    ("env", "status"),
    [
        pytest.param({"CBNG_MAX_UPLOAD": "100000"}, 413, marks=pytest.mark.slow),
        ({"CBNG_KEEP_FREE": str(2**50)}, 507),
    ],
    ids=["too large", "disk full"],
)
def test_upload_that_is_refused(tmp_path: Path, env: dict[str, str], status: int):
    """A blob too large for the service, or a service whose disk is full: 84, with the reason."""
    (tmp_path / "store").mkdir()
    with serving(tmp_path / "store", env) as service:
        pod = Pod(tmp_path, service)
        large = "yes '0 a' | head -n 1000000 >>data/two_bayes_train.dat"
        pod.program("cluebotng", f"{WELL}\n{large}")

        ended = pod.run(STEP)

    assert failed(ended) == (84, 0)
    assert f": {status} " in ended.told["problem"]
    assert pod.record(STEP) is None


def test_service_that_is_away_for_a_while(tmp_path: Path):
    """A file service that is gone when the command ends, and comes back: no harm."""
    (tmp_path / "store").mkdir()
    with serving(tmp_path / "store") as service:
        pod = Pod(tmp_path, service)
        pod.program(
            "cluebotng",
            f"touch {tmp_path}/begun\nuntil [[ -e {tmp_path}/go ]]; do sleep 0.05; done\n{WELL}",
        )
        process = pod.start(pod.script(STEP))
        wait_until((tmp_path / "begun").exists)
    (tmp_path / "go").touch()
    assert process.stdout
    said = iter(process.stdout.readline, "")
    assert any("trying again" in line for line in said)
    with serving(tmp_path / "store", port=service.port):
        ended = pod.ended(process)

    assert ended.code == 0
    assert pod.record(STEP)


def test_blobs_that_are_lost_are_uploaded_again(tmp_path: Path, pod: Pod):
    """A blob that is gone when the record comes is uploaded again, and the record is kept."""
    pod.program("cluebotng", WELL)
    spy = tmp_path / "bin"
    spy.mkdir()
    (spy / "curl").write_text(  # loses all that was uploaded, once, just before the record
        f'#!/bin/bash\nif [[ $* == *"PUT --header"*/ac/* && ! -e {tmp_path}/lost ]]; then\n'
        f"touch {tmp_path}/lost; rm -f {pod.service.root}/cas/*/*; fi\n"
        f'exec {shutil.which("curl")} "$@"\n',
        encoding="utf-8",
    )
    (spy / "curl").chmod(0o755)

    ended = pod.run(STEP, env={"PATH": f"{spy}:{PATH}"})

    assert (tmp_path / "lost").exists()
    assert "uploading them again (1)" in ended.out
    assert ended.code == 0
    assert pod.record(STEP)


def test_sigterm_while_the_command_runs(pod: Pod):
    """A script that is told to stop does so at once, with all that it started."""
    pod.program("cluebotng", f"touch {pod.path}/begun; sleep 1000 & sleep 1000")
    process = pod.start(pod.script(STEP))
    wait_until((pod.path / "begun").exists)

    process.send_signal(signal.SIGTERM)
    ended = pod.ended(process)

    assert failed(ended) == (143, None)
    wait_until(lambda: processes_in(pod.workspace) == [])
    assert [path for path in pod.path.iterdir() if path.name.startswith("tmp.")] == []


def test_sigterm_while_the_service_is_silent(pod: Pod):
    """It does so too while it waits for an answer that does not come."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = pod.start(
            pod.script(STEP, store_url=f"http://127.0.0.1:{listener.getsockname()[1]}")
        )
        listener.settimeout(20)
        line, _ = listener.accept()
        with line:
            process.send_signal(signal.SIGTERM)
            ended = pod.ended(process)

    assert ended.code == 143


def test_script_that_is_killed_in_its_middle(pod: Pod):
    """Where the kernel kills the script's own work, that is told like a killed command."""
    pod.program("cluebotng", "kill -9 $(ps -o ppid= $PPID)")

    ended = pod.run(STEP)

    assert failed(ended) == (137, None)


def test_service_that_cannot_be_trusted(pod: Pod):
    """A certificate that nobody vouches for is refused at once, before anything is sent."""
    server, key = make_certificates(pod.path / "tls").pair("server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server, key)
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler
    ) as listener:
        listener.socket = context.wrap_socket(listener.socket, server_side=True)
        threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True).start()
        ended = pod.run(STEP, store_url=f"https://127.0.0.1:{listener.server_port}")
        listener.shutdown()

    assert failed(ended) == (80, None)
    assert "certificate" in ended.told["problem"]
    assert "trying again" not in ended.out


# What is fetched besides ------------------------------------------------------------------------


def test_configuration_as_an_input(pod: Pod):
    """A configuration that travels as an input replaces the image's whole ``conf/``."""
    (pod.workspace / "conf").mkdir()
    (pod.workspace / "conf" / "image.conf").touch()
    path = pod.path / "a.conf"
    path.write_text("own\n", encoding="utf-8")
    digest = pod.store.add(path)
    pod.program("cluebotng", f"find conf -type f -exec head {{}} +; {WELL}")

    ended = pod.run(STEP, conf={"a.conf": digest, "sub dir/b'.conf": digest})

    assert ended.code == 0
    log = pod.blob(ended.told["log"]).decode()
    assert sorted(re.findall("==> (.*) <==", log)) == ["conf/a.conf", "conf/sub dir/b'.conf"]
    assert log.count("own\n") == 2


@pytest.fixture
def releases(tmp_path: Path) -> Iterator[str]:
    """A page of core releases with one, v1.0.3, whose programs are the engine's."""
    folder = tmp_path / "releases" / "v1.0.3"
    folder.mkdir(parents=True)
    for path in (ENGINE / "bin").iterdir():
        text = f'#!/bin/bash\nexec {path} "$@"\n'
        (folder / path.name).write_text(text, encoding="utf-8")
    with tarfile.open(folder / "conf.tar.gz", "w:gz") as tar:
        tar.add(ENGINE / "conf", arcname="conf")
    handler = functools.partial(
        http.server.SimpleHTTPRequestHandler, directory=tmp_path / "releases"
    )
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_release_of_the_core(pod: Pod, releases: str):
    """Programs and configuration of a release are fetched into a workspace that has neither."""
    pod.workspace.rmdir()

    ended = pod.run(STEP, release=f"{releases}/v1.0.3")

    assert ended.code == 0, ended
    record = pod.record(STEP)
    assert record
    assert pod.blob(ended.told["log"]) == b"Processed 3 edits.\n"


def test_release_that_does_not_exist(pod: Pod, releases: str):
    """A release that is not there: 80, and which file."""
    ended = pod.run(STEP, release=f"{releases}/v9")

    assert failed(ended) == (80, None)
    assert f"{releases}/v9/cluebotng could not be fetched" in ended.told["problem"]
