"""
The bash that a pod runs, as text.

``python -m tests.dispatch.test_script`` writes the golden files anew.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cbngtrain.canonical import CHECKS, FORMS
from cbngtrain.dispatch.script import Place, argv, script
from cbngtrain.plan import single_edit_set
from cbngtrain.recipes import RECIPES, REFERENCE_IN_IMAGE
from cbngtrain.step import Artifact, Digest, Fingerprint, Made, Recipe, fingerprint
from tests.conftest import ROOT
from tests.dispatch.places import recipe, step_of

GOLDEN = Path(__file__).with_name("golden")
BODY = "".join(
    (ROOT / "cbngtrain" / "dispatch" / name).read_text(encoding="utf-8")
    for name in ("canonical.sh", "step.sh")
)


def example(of: Recipe) -> str:
    """The script of a recipe on inputs that are easy to read."""
    step = step_of(of)
    inputs = {
        path: Made(
            Artifact(name, Digest(f"{i:x}" * 64), Digest(f"{i + 8:x}" * 64), 1000 + i),
            Fingerprint("f" * 64),
        )
        for i, (path, name) in enumerate(of.reads.items())
    }
    place = Place(store_url="http://file-api.tool-x.svc.tools.local:8000/", timeout=7200)
    return script(step, fingerprint(step, inputs), inputs, place)


def test_models_of_an_image_stay_for_the_step_that_tries_them():
    """All others begin without them."""
    cleared = [line for line in example(REFERENCE_IN_IMAGE).splitlines() if "clear=" in line]

    assert cleared == ["clear=(edits.xml trialreport)"]


@pytest.mark.parametrize("of", RECIPES, ids=lambda of: of.name)
def test_script_is_its_values_and_one_body(of: Recipe):
    """A script sets the step's values, as in its golden file, and then never differs."""
    values, body = example(of).split("\n#", 1)

    assert values == (GOLDEN / f"{of.name}.sh").read_text(encoding="utf-8").rstrip("\n")
    assert f"#{body}" == BODY


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="Debian's shellcheck is not here")
@pytest.mark.parametrize("of", [RECIPES[0], RECIPES[4]], ids=lambda of: of.name)
def test_shellcheck_finds_nothing(tmp_path: Path, of: Recipe):
    """Debian's shellcheck has nothing to say, not even in style."""
    path = tmp_path / "script"
    path.write_text(example(of), encoding="utf-8")

    ended = subprocess.run(
        ["shellcheck", "--shell=bash", "--severity=style", path],
        check=False, capture_output=True, text=True,
    )  # fmt: skip

    assert ended.stdout == ""
    assert ended.returncode == 0


def test_script_fits_an_argument():
    """Linux takes arguments of 128 KiB; a configuration of 100 files leaves room."""
    conf = {f"a/long/path/of/a/file/{i}.conf": Digest(f"{i:064x}") for i in range(100)}
    step = step_of(recipe("trial"))

    text = script(step, Fingerprint("0" * 64), {}, Place(store_url="x", timeout=1, conf=conf))

    assert len(text.encode()) < 48 << 10


def test_every_form_and_check_is_spelt_in_bash():
    """A form or check that canonical.py knows has its case in the script."""
    labels = re.findall(r"^  ([\w| ]+)\) ", BODY, re.MULTILINE)
    cases = {name.strip() for label in labels for name in label.split("|")}

    assert {name.replace("-", "_") for name in (*FORMS, *CHECKS)} <= cases


def test_programs_of_the_trainer_run_in_its_own_image():
    """A step that runs no core calls the evaluation of the image that it runs in."""
    of = Recipe(name="r", doc="", command=("report", "-o", "x"), reads={}, leaves=(),
                program="trainer")  # fmt: skip

    assert argv(step_of(of)) == ("python3", "-m", "cbngtrain.evaluation", "report", "-o", "x")


def test_names_of_the_review_service_are_not_in_it():
    """A script knows an edit set by its slug, in which no letter means anything to a shell."""
    (edit_set,) = single_edit_set("$(touch a)'`b`\";É", "http://x/$(c)", "http://x/'d'")
    text = example(recipe("ann")).replace("a-set", edit_set.slug)

    assert re.fullmatch("[a-z0-9-]+", edit_set.slug)
    assert f"name=ann:{edit_set.slug}\n" in text


if __name__ == "__main__":
    for each in RECIPES:
        path = GOLDEN / f"{each.name}.sh"
        path.write_text(example(each).split("\n#", 1)[0] + "\n", encoding="utf-8")
