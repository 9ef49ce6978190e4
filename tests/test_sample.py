"""The sample: what it holds, that its script writes it, and that its trial is not perfect."""

import gzip
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from cbngtrain.dump import canonicalise

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "sample"
CONF = ROOT / "cbngtrain" / "engine" / "conf"

PARENT, TRAINING, TRIAL, REPORTED, GENERIC = GROUPS = (1, 2, 3, 4, 5)
FALLBACK = "Original Testing Training Set - Random Edits 50/50"  # review-api.md, rule 3


def make(out: Path, *options: str) -> None:
    """Run the script."""
    command = [sys.executable, str(SAMPLE / "make_sample.py"), "--out", str(out), *options]
    subprocess.run(command, check=True, capture_output=True)


def dump_of(group: int, sample: Path = SAMPLE) -> bytes:
    """Return the dump of an edit group."""
    return gzip.decompress((sample / "dumps" / f"{group}.xml.gz").read_bytes())


@cache
def edits_of(group: int) -> list[ET.Element]:
    """Return the edits of an edit group."""
    return list(ET.fromstring(dump_of(group)))


def ids_of(group: int) -> list[int]:
    """Return the EditIDs of an edit group, in the order of its dump."""
    return [int(edit.findtext("EditID", "")) for edit in edits_of(group)]


@pytest.fixture(scope="module")
def rows() -> dict[int, dict[str, object]]:
    """The edit groups by id."""
    return {row["id"]: row for row in json.loads((SAMPLE / "edit-groups.json").read_text())}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sample just made."""
    out = tmp_path_factory.mktemp("sample")
    make(out)
    return out


class TestScript:
    """``make_sample.py``."""

    def test_made_the_edit_groups(self, made: Path):
        """The committed edit groups are what the script writes."""
        expected = (SAMPLE / "edit-groups.json").read_bytes()

        assert (made / "edit-groups.json").read_bytes() == expected

    @pytest.mark.parametrize("group", GROUPS)
    def test_made_the_dump(self, made: Path, group: int):
        """The committed dumps are what the script writes (compressors differ, dumps do not)."""
        assert dump_of(group, made) == dump_of(group)

    def test_same_seed_same_bytes(self, made: Path, tmp_path: Path):
        """Two runs write the same files, compressed ones too: no time, no name is in them."""
        make(tmp_path)
        files = sorted(path.relative_to(made) for path in made.rglob("*.*"))

        assert [(tmp_path / name).read_bytes() for name in files] == [
            (made / name).read_bytes() for name in files
        ]

    def test_another_seed_another_sample(self, tmp_path: Path):
        """The seed decides what comes out."""
        make(tmp_path, "--seed", "7")

        assert dump_of(TRIAL, tmp_path) != dump_of(TRIAL)


class TestEditGroups:
    """Which edit sets there are: one for each way of pairing groups."""

    def test_a_training_with_its_trial(self, rows: dict[int, dict[str, object]]):
        """Training and Trial belong to a parent, which is the fallback trial's edit set, too."""
        assert rows[PARENT] == {
            "id": PARENT,
            "name": FALLBACK,
            "related_to": None,
            "type": "Generic",
        }
        assert (rows[TRAINING]["type"], rows[TRAINING]["related_to"]) == ("Training", PARENT)
        assert (rows[TRIAL]["type"], rows[TRIAL]["related_to"]) == ("Trial", PARENT)

    def test_reported_false_positives_without_a_trial(self, rows: dict[int, dict[str, object]]):
        """They stand alone, so that they are tried on the fallback trial."""
        assert rows[REPORTED]["type"] == "Reported False Positives"
        assert REPORTED not in [row["related_to"] for row in rows.values()]

    def test_a_generic_group_alone(self, rows: dict[int, dict[str, object]]):
        """It is trained on and tried on nothing."""
        assert rows[GENERIC]["type"] == "Generic"
        assert GENERIC not in [row["related_to"] for row in rows.values()]

    def test_each_has_a_dump(self, rows: dict[int, dict[str, object]]):
        """The stand-in answers for every group it lists."""
        dumps = {int(path.name.removesuffix(".xml.gz")) for path in (SAMPLE / "dumps").iterdir()}

        assert dumps == set(rows)


class TestDumps:
    """What the dumps hold."""

    def test_enough_in_little_room(self):
        """More than a thousand edits, less than a megabyte."""
        sizes = [path.stat().st_size for path in (SAMPLE / "dumps").iterdir()]

        assert sum(len(edits_of(group)) for group in GROUPS) >= 1000
        assert sum(sizes) < 2**20

    @pytest.mark.parametrize("group", GROUPS)
    def test_edit_ids(self, group: int):
        """They are unique and come in no order."""
        ids = ids_of(group)

        assert len(set(ids)) == len(ids)
        assert ids != sorted(ids)

    @pytest.mark.parametrize("group", [TRAINING, TRIAL, REPORTED])
    def test_both_kinds(self, group: int):
        """A third or more of the edits is vandalism, a third or more is not."""
        labels = [edit.findtext("isVandalism") for edit in edits_of(group)]

        assert labels.count("true") > len(labels) / 3
        assert labels.count("false") > len(labels) / 3

    @pytest.mark.parametrize("group", [TRAINING, TRIAL, REPORTED, GENERIC])
    def test_some_without_a_label(self, group: int):
        """A few edits nobody has judged."""
        unlabelled = [edit for edit in edits_of(group) if edit.find("isVandalism") is None]

        assert 0 < len(unlabelled) < len(edits_of(group)) / 20

    def test_some_pages_are_created(self):
        """A few edits have no text before them."""
        created = [edit for edit in edits_of(TRAINING) if edit.find("previous") is None]

        assert 0 < len(created) < len(edits_of(TRAINING)) / 20

    def test_some_with_the_review_services_own_elements(self):
        """Volatile fields are there for the trainer to leave out."""
        edits = edits_of(TRAINING)

        assert 0 < len([edit for edit in edits if edit.find("EditDB") is not None]) < len(edits)
        assert (
            0
            < len([edit for edit in edits if edit.find("ReviewInterface/*") is not None])
            < len(edits)
        )

    @pytest.mark.parametrize(
        "text", ["ö", "ñ", "&amp;", "&quot;", "&lt;ref", "{{", "[[", "http://"]
    )
    def test_text_as_it_comes(self, text: str):
        """There are other alphabets, entities, quotation marks and wikitext."""
        assert text.encode() in dump_of(TRAINING)

    def test_a_few_edits_are_in_training_and_trial(self):
        """The overlap report has something to say, and little."""
        assert 0 < len(set(ids_of(TRAINING)) & set(ids_of(TRIAL))) < 10

    def test_the_fallback_trial_is_new_to_the_reported(self):
        """The edit set that uses the fallback trial shares no edit with it."""
        assert not set(ids_of(REPORTED)) & set(ids_of(TRIAL))


class TestTrial:
    """How hard the sample is, with the engine and its own configuration."""

    @pytest.mark.slow
    @pytest.mark.parametrize("training", [TRAINING, REPORTED])
    def test_is_not_perfect(self, tmp_path: Path, training: int):
        """The trial's area under the ROC curve is between 0.85 and 0.99."""
        (tmp_path / "data").mkdir()
        (tmp_path / "trialreport").mkdir()
        run = program_in(tmp_path)

        canonicalise(SAMPLE / "dumps" / f"{training}.xml.gz", tmp_path / "edits.xml", "training")
        run("cluebotng", "-c", CONF, "-m", "bayes_train", "-f", "edits.xml")
        run("create_bayes_db", "data/bayes.db", "data/main_bayes_train.dat")
        run("create_bayes_db", "data/two_bayes.db", "data/two_bayes_train.dat")
        run("cluebotng", "-c", CONF, "-m", "ann_train", "-f", "edits.xml")
        run("create_ann", "data/main_ann.fann", "data/main_ann_train.dat", "150", "0.037", "100")
        canonicalise(SAMPLE / "dumps" / f"{TRIAL}.xml.gz", tmp_path / "edits.xml", "trial")
        run("cluebotng", "-c", CONF, "-m", "trial_run", "-f", "edits.xml")

        assert 0.85 < auc((tmp_path / "trialreport" / "details.txt").read_text()) < 0.99


def program_in(directory: Path) -> Callable[..., None]:
    """Return what runs the engine's programs in *directory*."""

    def run(*args: str | Path) -> None:
        command = [sys.executable, "-m", "cbngtrain.engine", *args]
        subprocess.run(command, cwd=directory, check=True, capture_output=True)

    return run


def auc(details: str) -> float:
    """Return the chance that vandalism scores above another edit, ties counting as one half."""
    found = re.findall(r"isvandalism=(\w+), score=([^,]+)", details)
    bad = [float(score) for label, score in found if label == "true"]
    good = [float(score) for label, score in found if label == "false"]
    above = sum((b > g) + (b == g) / 2 for b in bad for g in good)
    return above / (len(bad) * len(good))
