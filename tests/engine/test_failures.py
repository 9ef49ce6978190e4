"""Every way to be wrong that is known of the real core: here one line, status 2, no output."""

import gzip
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.engine.conftest import CONFIGURATION, Place, edit, edit_set

pytestmark = pytest.mark.slow  # each starts the engine

GOOD = edit_set(edit("1"), edit("2", truth="false"))
LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol">'
    + "".join(f'<!ENTITY lol{i} "{f"&lol{i - 1 or str()};" * 10}">' for i in range(1, 9))
    + "]><WPEditSet><WPEdit><EditID>&lol8;</EditID></WPEdit></WPEditSet>"
)

BROKEN = {
    "no previous text": (
        "train",
        edit_set(edit("1"), edit("4711", previous=None)),
        "edits.xml: EditID 4711: the edit has no previous text",
    ),
    "no current text": (
        "train",
        edit_set(edit("4712", current=None)),
        "edits.xml: EditID 4712: the edit has no current text",
    ),
    "no previous text in a trial": (
        "trial",
        edit_set(edit("4711", previous=None)),
        "edits.xml: EditID 4711: the edit has no previous text",
    ),
    "no EditID in a trial": (
        "trial",
        edit_set(edit("1"), edit(None)),
        "edits.xml: line 10: the edit has no editid",
    ),
    "malformed": (
        "train",
        GOOD.replace("</EditID>", "</EditIDs>", 1),
        "edits.xml: line 4: is not well-formed: mismatched tag",
    ),
    "truncated": ("train", GOOD[:-40], "edits.xml: line 15: is not well-formed"),
    "without its end tag": (
        "train",
        GOOD.replace("</WPEditSet>", ""),
        "edits.xml: line 18: is not well-formed: no element found",
    ),
    "not UTF-8": (
        "train",
        GOOD.encode().replace(b"three", b"thr\xe9\xe9"),
        "edits.xml: line 7: is not well-formed: not well-formed (invalid token)",
    ),
    "an empty EditID in a trial": (
        "trial",
        edit_set(edit("")),
        "edits.xml: line 3: the edit's editid is empty",
    ),
    "another encoding": (
        "train",
        GOOD.replace("?>", ' encoding="ISO-8859-1"?>', 1),
        "edits.xml: line 1: is encoded in ISO-8859-1, not in UTF-8",
    ),
    "UTF-16": ("train", GOOD.encode("utf-16"), "edits.xml: line 1: is not encoded in UTF-8"),
    "NUL bytes": (
        "train",
        GOOD.replace("three", "thr\0ee", 1),
        "edits.xml: line 7: is not well-formed: not well-formed (invalid token)",
    ),
    "empty": ("train", "", "edits.xml: is empty"),
    "only blanks": ("train", " \n\n", "edits.xml: line 3: is not well-formed: no element found"),
    "trailing bytes": (
        "train",
        GOOD + "garbage",
        "edits.xml: line 18: is not well-formed: junk after document element",
    ),
    "two edit sets": (
        "train",
        GOOD + "<WPEditSet></WPEditSet>",
        "edits.xml: line 18: is not well-formed: junk after document element",
    ),
    "an HTML error page": (
        "train",
        "<!DOCTYPE html>\n<html><body>502 Bad Gateway</body></html>",
        "edits.xml: line 1: has a document type, which edit sets have not",
    ),
    "an HTML page without a type": (
        "train",
        "<html><body>502 Bad Gateway</body></html>",
        "edits.xml: line 1: is not an edit set: it begins with <html>",
    ),
    "billion laughs": (
        "train",
        LAUGHS,
        "edits.xml: line 1: has a document type, which edit sets have not",
    ),
    "elements in elements": (
        "train",
        edit_set("\n<WPEdit>" + "<a>" * 50_000 + "</a>" * 50_000 + "</WPEdit>"),
        "edits.xml: line 4: has elements more than 100 deep",
    ),
    "an empty edit set": ("train", edit_set(), "edits.xml: there are no edits in it"),
    "an empty edit set in a trial": ("trial", edit_set(), "edits.xml: there are no edits in it"),
    "all edits left out": (
        "train",
        edit_set(edit("1", truth=None)),
        "edits.xml: all its 1 edits are left out: they have not all of isvandalism",
    ),
    "isVandalism empty": (
        "train",
        edit_set(edit("1", truth="")),
        'edits.xml: EditID 1: isvandalism: "" is neither true nor false',
    ),
    "isVandalism unknown": (
        "train",
        edit_set(edit("1", truth="perhaps")),
        'edits.xml: EditID 1: isvandalism: "perhaps" is neither true nor false',
    ),
    "a number that is none": (
        "train",
        edit_set(edit("7", user_edit_count="abc")),
        'edits.xml: EditID 7: user_edit_count: "abc" is not a number',
    ),
    "a number out of range": (
        "train",
        edit_set(edit("7", user_edit_count="2147483648")),
        "edits.xml: EditID 7: user_edit_count: 2147483648 is not between 0 and 2147483647",
    ),
    "a number far out of range": (
        "train",
        edit_set(edit("7", user_edit_count="9" * 5000)),
        "edits.xml: EditID 7: user_edit_count: 9999999999999999999999999999999999999999 is not",
    ),
    "a negative number": (
        "train",
        edit_set(edit("7", user_edit_count="-1")),
        "edits.xml: EditID 7: user_edit_count: -1 is not between 0 and 2147483647",
    ),
    "a weight that is no number": (
        "train",
        edit_set(edit("7", weight="heavy")),
        'edits.xml: EditID 7: weight: "heavy" is not a number',
    ),
}


@pytest.mark.parametrize(("chain", "content", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_edit_set_is_one_line_and_no_output(place, chain, content, message):
    """The line names the file and the line or the EditID; the status is 2; no file is left."""
    place.write("edits.xml", content)
    done = place.run(chain)
    assert done.stderr.startswith(f"cluebotng: {message}")
    assert (done.stderr.count("\n"), done.stdout, done.returncode) == (1, "", 2)
    assert place.outputs() == []


ACCEPTED = {
    "zero": ("0", b"0"),
    "empty": ("", b"0"),
    "leading digits": ("12abc", b"12"),
    "blanks before": (" \n7", b"7"),
    "a plus": ("+5", b"5"),
    "the greatest": ("2147483647", b"2147483647"),
}


@pytest.mark.parametrize(("value", "number"), ACCEPTED.values(), ids=ACCEPTED)
def test_numbers_are_taken_as_atoi_takes_them(place, value, number):
    """An empty value is 0, and what follows leading digits does not matter."""
    place.write("edits.xml", edit_set(edit("1", user_edit_count=value)))
    assert place.run("trial").returncode == 0
    assert b"<user_edit_count>" + number + b"</user_edit_count>" in place.read("out/dump.xml")


def test_no_editid_is_fine_in_training(place):
    """Training asks for no EditID."""
    place.write("edits.xml", edit_set(edit(None)))
    assert place.run("train").returncode == 0
    assert place.read("out/words.dat") == b"1 _EDIT_TOTALS\n1 three\n"


def test_edits_without_a_required_property_are_counted(place):
    """They are left out, and the end tells how many and why."""
    place.write("edits.xml", edit_set(edit("1"), edit("2", truth=None), edit("3", truth=None)))
    done = place.run("train")
    assert done.stdout == "Processed 1 edits.\n"
    assert done.stderr == "Left out 2 edits: they have not all of isvandalism.\n"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param(
            '"split", "changes"',
            '"split", "chances"',
            'there is no processor, chain or module "chances", which a chain names',
            id="processor",
        ),
        pytest.param(
            'module = "wordset_diff"',
            'module = "wordset_dif"',
            'conf/cluebotng.conf: line 14: changes.module: there is no module "wordset_dif"',
            id="module",
        ),
        pytest.param(
            'added = "added";',
            'addid = "added";',
            "conf/cluebotng.conf: line 15: changes.addid: there is no such option",
            id="option",
        ),
        pytest.param(
            'words = "added";',
            'words = "addid";',
            "edits.xml: EditID 1: the edit has no addid",
            id="property",
        ),
        pytest.param(
            'filename = "out/words.dat";',
            "",
            "conf/cluebotng.conf: line 16: words_out.filename: is missing: a string",
            id="missing option",
        ),
        pytest.param(
            'filename = "out/words.dat"',
            "filename = 7",
            "conf/cluebotng.conf: line 16: words_out.filename: must be a string",
            id="wrong kind of option",
        ),
        pytest.param(
            'from = "UTF-8"',
            'from = "UTF-inf"',
            "conf/cluebotng.conf: line 9: ascii.from: there is no encoding",
            id="charset",
        ),
        pytest.param("chains: {", "chains: ", "conf/cluebotng.conf: line 3: ", id="syntax"),
        pytest.param(
            "chains: {",
            "n = .;\nchains: {",
            "conf/cluebotng.conf: line 2: there is a number that is none",
            id="number without digits",
        ),
        pytest.param(
            "chains: {",
            f"n = {'9' * 5000};\nchains: {{",
            "conf/cluebotng.conf: line 2: there is a number that is none",
            id="number with too many digits",
        ),
        pytest.param(
            '"ascii", "split", "changes"',
            '"train", "split", "changes"',
            'the chain "train" contains itself',
            id="chain in itself",
        ),
        pytest.param(
            'filename = "out/words.dat"',
            'filename = "nowhere/words.dat"',
            "nowhere/words.dat: cannot be written: No such file or directory",
            id="unwritable",
        ),
        pytest.param(
            'user_edit_count = "int"',
            'user_edit_count = "integer"',
            "conf/cluebotng.conf: line 7: xml_edit_parser.proptypes.user_edit_count: there is no "
            'type "integer"',
            id="type",
        ),
    ],
)
def test_a_wrong_configuration_is_one_line(place, old, new, message):
    """A chain, module, property or option that does not exist is named, with its place."""
    place.write("conf/cluebotng.conf", CONFIGURATION.replace(old, new))
    done = place.run("train")
    assert done.stderr.startswith(f"cluebotng: {message}")
    assert (done.stderr.count("\n"), done.returncode, place.outputs()) == (1, 2, [])


def test_a_chain_that_does_not_exist(place):
    """The line names the chains there are."""
    done = place.run("trains")
    assert done.stderr == 'cluebotng: there is no chain "trains"; there are train, trial\n'
    assert done.returncode == 2


def test_no_configuration(place):
    """The line names the file that is missing."""
    done = place.run("train", conf="cofn")
    assert (
        done.stderr == "cluebotng: cofn/cluebotng.conf: cannot be read: No such file or directory\n"
    )
    assert done.returncode == 2


def test_no_edits(place):
    """The line names the file that is missing."""
    done = place.run("train", edits="edit.xml")
    assert done.stderr == "cluebotng: edit.xml: cannot be read: No such file or directory\n"
    assert done.returncode == 2


BAYES = (
    CONFIGURATION.replace('"measure"', '"bayes"')
    + """
bayes: { module = "bayesian_scorer"; dbfile = "data/bayes.db"; input = "current_words";
  output = "score"; };
"""
)
ANN = (
    CONFIGURATION.replace('"measure"', '"inputs", "ann", "measure"')
    + """
inputs: { module = "float_set_creator"; output = "in"; properties = ( "user_edit_count" ); };
ann: { module = "run_ann"; input_set = "in"; output_set = "o"; ann_file = "data/main.fann"; };
"""
)
ANN = ANN.replace("user_edit_count / (", "o_0 / (")


@pytest.mark.parametrize(
    "content", [None, b"", b"rotten" * 100], ids=["missing", "empty", "rotten"]
)
@pytest.mark.parametrize(
    ("configuration", "name"),
    [
        pytest.param(BAYES, "data/bayes.db", id="database"),
        pytest.param(ANN, "data/main.fann", id="network"),
    ],
)
def test_a_broken_model_is_one_line(place, content, configuration, name):
    """A missing, empty or rotten database or network is named."""
    place.write("conf/cluebotng.conf", configuration)
    (place.path / "data").mkdir()
    _write_if_any(place, name, content)
    done = place.run("trial")
    assert done.stderr.startswith(f"cluebotng: {name}: ")
    assert (done.stderr.count("\n"), done.returncode, place.outputs()) == (1, 2, [])


def _write_if_any(place: Place, name: str, content: bytes | None) -> None:
    if content is not None:
        place.write(name, content)


def test_what_was_there_stays_when_it_fails(place):
    """An output of an earlier run is neither touched nor cut."""
    place.write("out/words.dat", "before")
    place.write("edits.xml", GOOD[:-40])
    assert place.run("train").returncode == 2
    assert (place.outputs(), place.read("out/words.dat")) == (["words.dat"], b"before")


def test_a_full_disk_is_one_line_and_no_output(place):
    """Here it is full at 4 KB; what was there stays."""
    place.write("out/words.dat", "before")
    place.write("edits.xml", edit_set(*(edit(str(i), current=f"new{i}") for i in range(300))))
    done = place.run("train", under=["prlimit", "--fsize=4096"])
    assert done.stderr.startswith("cluebotng: out/words.dat: cannot be written: File too large")
    assert (done.stderr.count("\n"), done.stdout, done.returncode) == (1, "", 2)
    assert (place.outputs(), place.read("out/words.dat")) == (["words.dat"], b"before")


def test_edits_that_have_nothing_in_common_take_little_time(place):
    """A few seconds; a table of all of them at once would have 16 million cells."""
    own = [edit(str(i)).replace("</WPEdit>", f"<own{i}>{i}</own{i}></WPEdit>") for i in range(4000)]
    place.write("edits.xml", edit_set("<!-- in one chunk -->", *own))
    assert place.run("trial", cpu_seconds=20).returncode == 0
    found = re.findall(rb"<own(\d+)>(\d+)</own\1>", place.read("out/dump.xml"))
    assert found == [(b"%d" % i, b"%d" % i) for i in range(4000)]


def test_one_processor_writes_the_bytes_of_many(place):
    """Edits come in their order, whoever processed them; runs do not differ."""
    many = [edit(str(i), current=f"word{i} " * 200, truth=str(i % 2)) for i in range(400)]
    place.write("edits.xml", edit_set(*many))
    assert place.run("trial").returncode == 0
    before = {name: place.read(f"out/{name}") for name in place.outputs()}
    processor = str(min(os.sched_getaffinity(0)))
    assert place.run("trial", under=["taskset", "--cpu-list", processor]).returncode == 0
    assert {name: place.read(f"out/{name}") for name in place.outputs()} == before


def _started(place: Place) -> "subprocess.Popen[bytes]":
    """A run of a large edit set, once its processes are at work."""
    many = edit_set(*(edit(str(i), current=f"word{i} " * 2000) for i in range(1000)))
    place.write("edits.xml", many)
    engine = [sys.executable, "-m", "cbngtrain.engine"]
    command = ["env", "--default-signal=INT", *engine, "cluebotng", "-c", "conf", "-m", "trial"]
    done = subprocess.Popen([*command, "-f", "edits.xml"], cwd=place.path)
    _wait_for(lambda: _children(done.pid))
    return done


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []


def _wait_for(condition, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def _is_gone(pid: int) -> bool:
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize(
    ("number", "leaves"),
    [
        pytest.param(signal.SIGTERM, [], id="SIGTERM"),
        pytest.param(signal.SIGINT, [], id="Ctrl-C"),
        pytest.param(signal.SIGKILL, None, id="kill -9"),
    ],
)
def test_a_stopped_run_leaves_no_process_and_no_output(place, number, leaves):
    """Its processes end with it, however it ends; what can clean up does."""
    run = _started(place)
    children = _children(run.pid)
    run.send_signal(number)
    run.wait(10)
    _wait_for(lambda: all(map(_is_gone, children)))
    finished = [name for name in place.outputs() if not name.endswith(".part")]
    assert finished == []
    assert leaves is None or place.outputs() == leaves


def test_a_dead_worker_is_an_error(place):
    """A process that is killed ends the run with one line."""
    run = _started(place)
    os.kill(_children(run.pid)[0], signal.SIGKILL)
    assert run.wait(10) == 2
    assert place.outputs() == []


def test_comments_and_cdata_are_read_as_xml_says(place):
    """An end tag in a comment or in CDATA is none, and the text in CDATA is text."""
    tricky = edit("1", current="AAA").replace("AAA", "<![CDATA[one </WPEdit> two six]]>")
    place.write("edits.xml", edit_set("<!-- </WPEdit> -->", tricky, edit("2", truth="false")))
    assert place.run("train").returncode == 0
    words = b"1 _EDIT_TOTALS\n1 WPEdit\n1 six\n0 _EDIT_TOTALS\n0 three\n"
    assert place.read("out/words.dat") == words


def test_gzip_is_not_xml(place):
    """A packed edit set is refused as what it is not."""
    place.write("edits.xml", gzip.compress(GOOD.encode()))
    done = place.run("train")
    assert done.stderr.startswith("cluebotng: edits.xml: line 1: is not well-formed")
    assert done.returncode == 2
