"""Edit sets: what is written in XML is what is read, whole or in chunks."""

import pytest
from hypothesis import given
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
    return [each.properties for chunk in edits.chunks(size) for each in edits.parse(chunk)]


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


SCATTERED = [f"{number * 40_503 % (1 << 24):06x}" for number in range(571_000)]
"""Distinct words in no order."""

HOSTILE = {
    "distinct words": " ".join(SCATTERED),
    "distinct words in capitals": " ".join(SCATTERED).upper(),
    "distinct words on a line each": "\n".join(SCATTERED),
    "distinct words that begin alike": " ".join("alike-" + word for word in SCATTERED[:300_000]),
    "words of three letters after apostrophes": " ".join(
        "'" * 12 + word[:3] for word in SCATTERED[:250_000]
    ),
    "distinct pairs of words": " ".join(word[:3] for word in SCATTERED * 2)[:4_000_000],
    "opening brackets": "[" * 4_000_000,
    "blanks": " " * 4_000_000,
    "less-than signs": "<" * 4_000_000,
    "apostrophes": "'" * 4_000_000,
    "bars": "| | |" * 800_000,
    "quote marks": '"' * 4_000_000,
    "one word": "a" * 4_000_000,
    "a bar and blanks": "|" + " " * 4_000_000,
    "colons": ":" * 4_000_000,
    "ends of paragraphs": "na\n\n" * 1_000_000,
    "both signs": "<" * 2_000_000 + ">" * 2_000_000,
}


CHAINS = ["bayes_train", "ann_train", "trial_run"]


def _trained(path, shared):
    """A place with what the chains read."""
    place = Place(path)
    for name in ("bayes.db", "two_bayes.db", "main_ann.fann"):
        place.write(f"data/{name}", unpacked(shared / "golden" / "n50" / "data" / name))
    (path / "trialreport").mkdir()
    return place


@pytest.mark.slow
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("chain", CHAINS)
def test_a_text_of_4_mb_takes_a_second_or_two(tmp_path, shared, chain, text):
    """
    The time is in proportion to the text.

    The limit is of processor time, of which a busy machine takes up to twice as much.
    """
    place = _trained(tmp_path, shared)
    place.write("edits.xml", f"<WPEditSet>{edit('1', current=text)}</WPEditSet>")
    done = place.run(chain, conf=str(shared / "data" / "core-conf"), cpu_seconds=3)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("chain", CHAINS)
def test_two_texts_of_4_mb_take_two_seconds_or_three(tmp_path, shared, chain):
    """That have no pair of words in common; the limit is as above."""
    place = _trained(tmp_path, shared)
    current, previous = " ".join(SCATTERED), " ".join(reversed(SCATTERED))
    place.write(
        "edits.xml", f"<WPEditSet>{edit('1', current=current, previous=previous)}</WPEditSet>"
    )
    done = place.run(chain, conf=str(shared / "data" / "core-conf"), cpu_seconds=4)
    assert (done.returncode, done.stderr) == (0, "")
