"""Edit sets: what is written in XML is what is read, whole or in chunks."""

import re
from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cbngtrain.engine.edits import EditSet
from tests.engine.conftest import Place, edit, edit_set, unpacked

TYPES = {"user_edit_count": "int", "isvandalism": "bool"}

texts = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")
    | st.sampled_from("\n\t"),
    max_size=40,
)


def _read(path, size):
    edits = EditSet(path, TYPES)
    return [each.properties for each in _parsed(edits, edits.chunks(size))]


def _parsed(edits, chunks):
    """The edits of the chunks, up to one whose end is none; that one goes to the end."""
    for chunk in chunks:
        found = edits.parse(chunk)
        if found is None:
            yield from edits.parse(chunk.with_all_that_follows(edits.size))
            return
        yield from found


@given(found=st.lists(st.tuples(texts, texts), max_size=5), size=st.integers(1, 900))
def test_texts_come_back(tmp_path_factory, found, size):
    """Whatever characters XML can hold, and wherever chunks are cut."""
    place = Place(tmp_path_factory.mktemp("edits"))
    edits = [edit(str(i), current=one, previous=other) for i, (one, other) in enumerate(found)]
    path = place.write("edits.xml", edit_set(*edits))
    read = [
        (each["current_text"].decode(), each["previous_text"].decode())
        for each in _read(path, size)
    ]
    assert read == found


@given(edits=st.integers(1, 12), size=st.integers(1, 5000))
def test_the_last_chunk_is_no_small_rest(tmp_path_factory, edits, size):
    """Less than half a chunk is none of its own, such as what ends the edit set."""
    one = edit("1", current="x" * 1000)
    path = Place(tmp_path_factory.mktemp("edits")).write("edits.xml", edit_set(*[one] * edits))
    *_, last = EditSet(path, TYPES).chunks(size)
    assert last.end == path.stat().st_size
    assert last.end - last.start >= size // 2 or last.start == 0


cuttable = st.sampled_from(["x", "<", "!", "?", "</WPEdit>", "\n"])


@example(first="", other="<!", after=[], size=7 + 9 + 1)  # "<" and "!" are read one by one
@given(
    first=st.text("x!?<\n", max_size=20).filter(lambda text: not re.search("<[!?]", text)),
    other=st.sampled_from(["", "<!", "<?"]),
    after=st.lists(cuttable, max_size=5),
    size=st.integers(1, 20),
)
def test_nothing_is_cut_where_an_end_may_be_none(tmp_path_factory, first, other, after, size):
    """From the first ``<!`` or ``<?`` on, wherever it falls in what is read at once."""
    before = f"<?xml?></WPEdit>{first}"
    content = before + other + "".join([*after, "</WPEdit>"] * 3) + "x" * size
    path = Place(tmp_path_factory.mktemp("edits")).write("edits.xml", content)
    *cut, last = EditSet(path, TYPES).chunks(size)
    assert last.end == len(content)
    if other:
        assert all(chunk.end <= len(before) for chunk in cut)
    elif not re.search("<[!?]", content[5:]):
        assert cut


wrapped = st.recursive(
    st.lists(st.sampled_from([edit("1"), edit("2", current="two"), "<x>1</x>", "\n"])),
    lambda inside: st.lists(
        st.tuples(
            st.sampled_from(["group", "WPEdit", "wpeditset", "common"]), inside.map("".join)
        ).map(lambda found: f"<{found[0]}>{found[1]}</{found[0]}>")
        | st.just(edit("3")),
        max_size=5,
    ),
    max_leaves=12,
).map("".join)


@given(content=wrapped, size=st.integers(1, 900))
def test_edits_may_lie_in_further_elements(tmp_path_factory, content, size):
    """And in each other: what is read in chunks is what is read at once."""
    place = Place(tmp_path_factory.mktemp("edits"))
    path = place.write("edits.xml", edit_set(content))
    assert _read(path, size) == _read(path, path.stat().st_size)


@pytest.fixture(scope="module")
def many() -> list[str]:
    """Edits of so many bytes that their file is cut into chunks, of which each is some edits."""
    return [edit(str(number), current=f"word{number} " * 300) for number in range(400)]


def _some_in_each(edits: list[str]) -> str:
    return "".join(
        f"<group>{''.join(edits[start : start + 7])}</group>" for start in range(0, len(edits), 7)
    )


WRAPS: dict[str, Callable[[list[str]], str]] = {
    "all in one": lambda edits: f"<group>{''.join(edits)}</group>",
    "some in each": _some_in_each,
    "the last ones": lambda edits: (
        f"{''.join(edits[:300])}<group><x>1</x>{''.join(edits[300:])}<y/></group>"
    ),
    "deep": lambda edits: f"<a><b><c>{''.join(edits)}</c></b></a>",
}


@pytest.mark.slow
@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_wrapped_edits_of_a_large_file_give_what_they_give_by_themselves(place, many, wrap):
    """The elements around them matter to nothing, as in the native core."""
    place.write("edits.xml", edit_set(*many))
    assert place.run("train").returncode == 0
    expected = place.read("out/words.dat")
    place.write("edits.xml", edit_set(wrap(many)))
    assert (place.run("train").stdout, place.read("out/words.dat")) == (
        "Processed 400 edits.\n",
        expected,
    )


@pytest.mark.slow
def test_a_mistake_behind_wrapped_edits_is_found_where_it_is(place, many):
    """The line is counted from the beginning of the file."""
    content = edit_set("<group>", *many, "</groups>")
    place.write("edits.xml", content)
    line = content[: content.index("</groups>")].count("\n") + 1
    done = place.run("train")
    assert done.stderr == (
        f"cluebotng: edits.xml: line {line}: is not well-formed: mismatched tag\n"
    )
    assert (done.returncode, place.outputs()) == (2, [])


def test_properties_are_named_by_their_path(tmp_path):
    """``common`` sets two; a container has what follows its last child's start; case goes."""
    path = Place(tmp_path).write(
        "edits.xml",
        "<WPEditSet><WPEdit><Common><Title>T</Title></Common>"
        "<EditDB><Source>s</Source> \r\n</EditDB><current><minor>true</minor></current>"
        "<isVandalism>Yes</isVandalism><user_edit_count>7</user_edit_count></WPEdit></WPEditSet>",
    )
    [properties] = _read(path, 1000)
    size = path.stat().st_size
    assert properties == {
        "current_title": b"T",
        "previous_title": b"T",
        "editdb_source": b"s",
        "editdb": b"s \n",
        "current_minor": b"true",
        "isvandalism": True,
        "user_edit_count": 7,
        "input_xml_file_pos": 0,
        "input_xml_file_size": size,
    }


def test_names_lose_the_case_of_ascii_alone(tmp_path):
    """Other letters stay as they are, as in the native core."""
    path = Place(tmp_path).write(
        "edits.xml", "<WPEditSet><WPEdit><\u00c9T\u00c9>1</\u00c9T\u00c9></WPEdit></WPEditSet>"
    )
    [properties] = _read(path, 1000)
    assert properties["\u00c9t\u00c9"] == b"1"


@cache
def scattered() -> list[str]:
    """Distinct words in no order."""
    return [f"{number * 40_503 % (1 << 24):06x}" for number in range(571_000)]


HOSTILE: dict[str, Callable[[], str]] = {
    "distinct words": lambda: " ".join(scattered()),
    "distinct words in capitals": lambda: " ".join(scattered()).upper(),
    "distinct words on a line each": lambda: "\n".join(scattered()),
    "distinct words that begin alike": lambda: " ".join(
        "alike-" + word for word in scattered()[:300_000]
    ),
    "words of three letters after apostrophes": lambda: " ".join(
        "'" * 12 + word[:3] for word in scattered()[:250_000]
    ),
    "distinct pairs of words": lambda: " ".join(word[:3] for word in scattered() * 2)[:4_000_000],
    "opening brackets": lambda: "[" * 4_000_000,
    "blanks": lambda: " " * 4_000_000,
    "less-than signs": lambda: "<" * 4_000_000,
    "apostrophes": lambda: "'" * 4_000_000,
    "bars": lambda: "| | |" * 800_000,
    "quote marks": lambda: '"' * 4_000_000,
    "one word": lambda: "a" * 4_000_000,
    "a bar and blanks": lambda: "|" + " " * 4_000_000,
    "colons": lambda: ":" * 4_000_000,
    "ends of paragraphs": lambda: "na\n\n" * 1_000_000,
    "both signs": lambda: "<" * 2_000_000 + ">" * 2_000_000,
}
"""What a text may consist of that takes long where work is not in proportion to it."""


CHAINS = ["bayes_train", "ann_train", "trial_run"]


def _trained(path, shared):
    """A place with what the chains read."""
    place = Place(path)
    for name in ("bayes.db", "two_bayes.db", "main_ann.fann"):
        place.write(f"data/{name}", unpacked(shared / "golden" / "n50" / "data" / name))
    (path / "trialreport").mkdir()
    return place


@pytest.mark.slow
@pytest.mark.parametrize("text_of", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("chain", CHAINS)
def test_a_text_of_4_mb_takes_a_second_or_two(tmp_path, shared, chain, text_of):
    """
    The time is in proportion to the text.

    The limit is of processor time, of which a busy machine takes up to twice as much.
    """
    place = _trained(tmp_path, shared)
    place.write("edits.xml", f"<WPEditSet>{edit('1', current=text_of())}</WPEditSet>")
    done = place.run(chain, conf=str(shared / "data" / "core-conf"), cpu_seconds=3)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("chain", CHAINS)
def test_two_texts_of_4_mb_take_two_seconds_or_three(tmp_path, shared, chain):
    """That have no pair of words in common; the limit is as above."""
    place = _trained(tmp_path, shared)
    current, previous = " ".join(scattered()), " ".join(reversed(scattered()))
    place.write(
        "edits.xml", f"<WPEditSet>{edit('1', current=current, previous=previous)}</WPEditSet>"
    )
    done = place.run(chain, conf=str(shared / "data" / "core-conf"), cpu_seconds=4)
    assert (done.returncode, done.stderr) == (0, "")
