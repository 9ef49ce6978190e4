"""The configuration: includes, places, and what is refused."""

import os

import pytest

from cbngtrain.engine.configuration import load
from cbngtrain.engine.errors import FormatError
from tests.engine.conftest import Place, edit, edit_set


@pytest.mark.parametrize("directory", ["conf", "other", "deep/er"])
def test_includes_are_found_wherever_the_directory_is(tmp_path, monkeypatch, directory):
    """``conf/x.conf`` is x.conf of the configuration directory, whatever that is called."""
    place = Place(tmp_path)
    place.write(f"{directory}/cluebotng.conf", 'a: {\n@include "conf/x.conf"\n};\nb = 2;\n')
    place.write(f"{directory}/x.conf", 'text = "one" "two\\n\xe9";\n'.encode("latin-1"))
    monkeypatch.chdir(os.sep)
    block = load(tmp_path / directory)
    assert block.group("a").data("text") == b"onetwo\n\xe9"
    assert block.places["b"] == (tmp_path / directory / "cluebotng.conf", 4)


@pytest.mark.parametrize(
    ("spelled", "meant"),
    [
        (rb"\n\r\t\f\\\"", b'\n\r\t\f\\"'),
        (rb"\x41\X42\xe9", b"AB\xe9"),
        (rb"\a\b\v\'\d\.\xzz\101", rb"\a\b\v\'\d\.\xzz\101"),
        (b"a\\\nb", b"a\\\nb"),
        (rb"a\x00b", b"ab"),
        ("caf\xe9".encode(), "caf\xe9".encode()),
    ],
    ids=["letters", "numbers", "no escapes", "end of line", "NUL", "UTF-8"],
)
def test_strings_are_read_as_libconfig_reads_them(tmp_path, spelled, meant):
    """What is no escape there keeps its backslash; libconf would read more."""
    Place(tmp_path).write("cluebotng.conf", b'a = "%b";' % spelled)
    assert load(tmp_path).data("a") == meant


@pytest.mark.parametrize(
    ("root", "other", "message"),
    [
        pytest.param(
            '@include "no.conf"',
            "",
            'cluebotng.conf: line 1: there is no file "no.conf"',
            id="missing",
        ),
        pytest.param(
            '\n@include "x.conf"',
            '@include "x.conf"',
            'x.conf: line 1: "x.conf" is included by itself',
            id="cycle",
        ),
        pytest.param('@include "x.conf"', "a = 1;\nb = ;", "x.conf: line 2: ", id="syntax"),
        pytest.param("a = 1;\na = 2;", "", "cluebotng.conf: line 1: a: is set again", id="twice"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path, root, other, message):
    """The file and the line."""
    place = Place(tmp_path)
    place.write("cluebotng.conf", root)
    place.write("x.conf", other)
    with pytest.raises(FormatError) as caught:
        load(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}/{message}")


def test_names_beyond_ascii_are_those_of_edits_and_files(place):
    """A property of an edit, and a file."""
    text = place.read("conf/cluebotng.conf").decode()
    text = text.replace("out/list.txt", "out/l\xefst.txt").replace('"score" ); };', '"\xe9" ); };')
    place.write("conf/cluebotng.conf", text)
    place.write("edits.xml", edit_set(edit("1", é="caf\xe9")))
    assert place.run("trial").returncode == 0
    assert place.read("out/l\xefst.txt").decode() == "editid=1, isvandalism=true, \xe9=caf\n"
