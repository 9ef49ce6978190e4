"""The configuration: its syntax against another reader's, includes, places, what is refused."""

import os
from collections.abc import Callable
from typing import Any

import libconf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbngtrain.engine.configuration import load
from cbngtrain.engine.errors import FormatError
from tests.engine.conftest import Place


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


numbers = st.sampled_from(
    ["0", "-7", "+12", "99L", "3LL", "0x1F", "0XaL", "1.5", "-.5", "1.", "2e3"]
)
strings = st.text(st.characters(max_codepoint=255, exclude_characters='"\\'), max_size=8)
spelled = st.lists(strings.map('"{}"'.format) | st.just(r'"\n\\\"\x41\q"'), min_size=1, max_size=2)
scalars = numbers | spelled.map(" ".join) | st.sampled_from(["true", "FALSE"])
arrays = st.lists(scalars, max_size=3).map(", ".join).map("[ {} ]".format)
blanks = st.sampled_from([" ", "\n", "\t# one\n", " // two ;\n", "/* a = 3; */", "/* \n * */\n"])


def _lists(inner):
    return st.lists(inner, max_size=3).map(
        lambda each: f"( {', '.join(each)},)" * bool(each) or "()"
    )


def _groups(inner):
    setting = st.tuples(st.sampled_from("=:"), inner, st.sampled_from(["", ";", ","]), blanks)
    return st.lists(setting, max_size=4).map(_spelled)


def _spelled(settings: list[tuple[str, str, str, str]]) -> str:
    return "".join(f"name-{i} {a}{b}{c}{d}" for i, (a, b, c, d) in enumerate(settings))


values = st.recursive(
    scalars | arrays, lambda inner: _lists(inner) | _groups(inner).map("{{{}}}".format)
)
pieces = st.lists(
    blanks
    | scalars
    | st.sampled_from([*'a=:;,(){}[]"\\.@-*x', "b_2", "= 1;", "012", '"\\xzz"', "/*"])
)


@given(_groups(values))
def test_syntax_is_that_of_another_reader(tmp_path_factory, text):
    """What is well formed has the values that libconf reads, however it is spelled."""
    directory = tmp_path_factory.mktemp("conf")
    (directory / "cluebotng.conf").write_bytes(text.encode("latin-1"))
    assert load(directory) == libconf.loads(text)


@given(pieces.map("".join))
def test_what_another_reader_refuses_is_refused(tmp_path_factory, text):
    """What is not well formed is refused where libconf refuses it; so are settings set again."""
    directory = tmp_path_factory.mktemp("conf")
    (directory / "cluebotng.conf").write_bytes(text.encode("latin-1"))
    ours = _read(lambda: load(directory))
    assert ours in (_read(lambda: libconf.loads(text)), "set again")


def _read(reader: Callable[[], Any]) -> Any:
    try:
        return reader()
    except (FormatError, libconf.ConfigParseError, ValueError) as error:
        return "set again" if "is set again" in str(error) else "refused"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a = 1 2", ': line 1: there is "2" where a setting should be'),
        ('a\n"b"', ': line 2: there is "b" where = or : should be'),
        ("a = (1\n2)", ': line 2: there is "2" where ) should be'),
        ("a = {b = 1;", ": ends where } should be"),
        ("a = [(1)]", ': line 1: there is "(" where a value should be'),
        ('\n\na = "b', ': line 3: there is """ where a value should be'),
        (r'a = "\xyz"', ": line 1: there is a string that is none: "),
        (f"a = {'(' * 10000}", ": there are too many lists in lists"),
    ],
    ids=["value", "sign", "list", "group", "array", "quotation mark", "escape", "depth"],
)
def test_syntax_errors_say_what_is_expected(tmp_path, text, problem):
    """What stands there, and what should."""
    Place(tmp_path).write("cluebotng.conf", text)
    with pytest.raises(FormatError) as caught:
        load(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}/cluebotng.conf{problem}")


def test_lines_are_counted_in_strings_and_comments(tmp_path):
    """A setting's place is right after a string or a comment of several lines."""
    Place(tmp_path).write("cluebotng.conf", 'a = "1\n2"\n"3"; /* \n */ b = 1;\nc = 2;')
    assert [line for _, line in load(tmp_path).places.values()] == [1, 4, 5]
