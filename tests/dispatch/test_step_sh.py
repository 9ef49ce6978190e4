"""A step in a pod that ends well: what its script needs, leaves, and keeps to itself."""

import re
import shutil
from pathlib import Path

import pytest

from cbngtrain.canonical import artifact_of
from cbngtrain.dispatch.script import Place, script
from cbngtrain.recipes import MODELS, REFERENCE_IN_IMAGE
from cbngtrain.step import Made, Recipe, Step, fingerprint
from tests.dispatch.places import (
    CHAIN,
    PATH,
    STEP,
    WELL,
    Pod,
    add_edit_sets,
    engine_workspace,
    recipe,
    step_of,
)
from tests.web.conftest import TOKEN

pytestmark = pytest.mark.slow  # each runs a step to its end


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
