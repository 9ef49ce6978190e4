"""A dump's canonical form: to the letter, what it keeps, what it leaves out, in little memory."""

import gzip
import re
import subprocess
import sys
import textwrap
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from cbngtrain.dump import FALSE, TRUE
from tests.conftest import ROOT, SHARED, dump, edit, needs_shared
from tests.dump_in_small import ONE, WHOLE, canonical, counts, text, with_value, without


def test_canonical_form_to_the_letter():
    """An element a line, nothing between them; the text of the form is pinned by its version."""
    raw = """<?xml version="1.0"?>
    <WPEditSet><!-- a comment -->
      <WPEdit kind="odd">
        <EditID> 007 </EditID><user_warns>01</user_warns><user_reg_time> </user_reg_time>
        <comment><![CDATA[a < b]]>&#13;</comment>
        <current><text>é &amp; ü
</text></current>
        <isVandalism>Yes</isVandalism>
      </WPEdit>
    </WPEditSet>"""

    assert text(raw) == textwrap.dedent("""\
        <?xml version="1.0" encoding="UTF-8"?>
        <WPEditSet>
        <WPEdit>
        <EditID>7</EditID>
        <user_warns>1</user_warns>
        <user_reg_time></user_reg_time>
        <comment>a &lt; b&#13;</comment>
        <current>
        <text>é &amp; ü
        </text>
        </current>
        <isVandalism>true</isVandalism>
        <previous>
        <text></text>
        </previous>
        </WPEdit>
        </WPEditSet>
        """)


@pytest.mark.parametrize(
    "extra",
    [
        "<EditDB><lastUpdated>1</lastUpdated></EditDB>",
        "<EditDB> </EditDB>",
        "<EditDB/>",
        "<ReviewInterface>\n<reviewers>a</reviewers><reviewers_agreeing/></ReviewInterface>",
    ],
)
def test_container_of_volatile_fields_alone_leaves_no_trace(extra: str):
    """What is left when the volatile fields are out does not tell whether there were any."""
    assert text(dump([ONE.replace("</WPEdit>", f"{extra}</WPEdit>")])) == text(dump([ONE]))


def test_fields_beside_the_volatile_ones_stay():
    """Only lastUpdated and reviewers… are volatile; the rest of their containers is kept."""
    extra = "<EditDB><source>a</source><lastUpdated>1</lastUpdated></EditDB>"

    found = text(dump([ONE.replace("</WPEdit>", f"{extra}</WPEdit>")]))

    assert "<EditDB>\n<source>a</source>\n</EditDB>\n" in found
    assert "lastUpdated" not in found


def test_same_field_elsewhere_is_not_volatile():
    """A field is volatile by its path, not by its name."""
    extra = "<lastUpdated>1</lastUpdated>"

    assert extra in text(dump([ONE.replace("</WPEdit>", f"{extra}</WPEdit>")]))


@pytest.mark.parametrize(
    "of",
    [
        edit(1, "new", previous=None),
        edit(1, "new", previous=None).replace("<isV", "<previous/><isV"),
        edit(1, "new", previous=None).replace("<isV", "<previous><minor>x</minor></previous><isV"),
    ],
    ids=["no previous", "an empty one", "one without text"],
)
def test_creation_gets_an_empty_previous_text(of: str):
    """A page's creation is kept, with an empty previous text, and counted."""
    counted, _, written = canonical(dump([of]))

    assert (counted.edits, counted.creations) == (1, 1)
    assert ET.fromstring(written).findtext("WPEdit/previous/text") == ""


def test_whole_set_of_left_out_edits_is_counted_with_reasons():
    """Edits that nobody judged, or without current text, are left out and counted by reason."""
    no_text = ONE.replace("<text>text</text>", "")
    found, edit_ids, _ = canonical(
        dump(
            [
                without("isVandalism"),
                with_value("EditID", "2", without("isVandalism")),
                with_value("EditID", "3", no_text),
                with_value("EditID", "4", without("current")),
                edit(5, "text"),
            ]
        )
    )

    assert edit_ids == [5]
    assert found.left_out == {"isVandalism": 2, "current text": 2}
    assert str(found) == (
        "1 edits, 0 vandalism; left out: 2 without current text, 2 without isVandalism"
    )


@pytest.mark.parametrize("word", sorted(TRUE | FALSE))
def test_verdicts_are_the_core_s(word: str):
    """Every word that the core knows is understood, in any case."""
    assert counts(dump([with_value("isVandalism", word.upper())])).vandalism == (word in TRUE)


@pytest.mark.parametrize("value", ["", "0", "00", "2147483647", "0000000000002147483647"])
@pytest.mark.parametrize("field", ["user_warns", "timestamp", "num_recent_edits"])
def test_numbers_the_core_can_hold(field: str, value: str):
    """Empty, zero and the largest number are fine."""
    assert counts(dump([with_value(field, value)])).edits == 1


def test_gzipped_dump():
    """A gzipped dump has the form of what is in it."""
    assert canonical(gzip.compress(WHOLE.encode())) == canonical(WHOLE)


def test_byte_order_mark():
    """A byte order mark is no text."""
    assert canonical(b"\xef\xbb\xbf" + WHOLE.encode()) == canonical(WHOLE)


def test_names_in_any_case():
    """The core lower-cases names, so they are understood in any case."""
    lower = re.sub("</?[A-Za-z_]+>", lambda tag: tag[0].lower(), dump([ONE]))

    assert counts(lower).edits == 1


def test_number_behind_many_blanks():
    """However many blanks stand before a number, it is that number."""
    assert "<user_warns>7</user_warns>" in text(dump([with_value("user_warns", " " * 60 + "7")]))


@needs_shared
@pytest.mark.parametrize(("name", "number"), [("train50", 50), ("trial50", 50)])
def test_real_text(name: str, number: int):
    """Real Wikipedia text is kept to the character."""
    packed = (SHARED / "data" / "edits" / f"{name}.xml.gz").read_bytes()

    found, _, written = canonical(packed)

    raw = {e.findtext("EditID"): e for e in ET.fromstring(gzip.decompress(packed))}
    texts = [
        (e.findtext("current/text"), e.findtext("previous/text"), e.findtext("comment"))
        for e in ET.fromstring(written)
    ]
    wanted = [
        (e.findtext("current/text"), e.findtext("previous/text"), e.findtext("comment"))
        for _, e in sorted(raw.items(), key=lambda item: int(item[0] or ""))
    ]
    assert found.edits == number
    assert texts == wanted


PEAK = """
import sys
from pathlib import Path
from cbngtrain.dump import canonicalise
from tests.conftest import most_memory
canonicalise(Path(sys.argv[1]), Path(sys.argv[1] + ".out"), "url")
print(most_memory("self"))
"""


def peak_memory(path: Path, number: int) -> int:
    """How many bytes a process takes at most that canonicalises *number* edits of 20 KB."""
    words = "word " * 4000
    with path.open("w", encoding="utf-8") as file:
        file.write("<WPEditSet>")
        file.writelines(edit(number - i, words) for i in range(number))
        file.write("</WPEditSet>")
    command = [sys.executable, "-c", PEAK, str(path)]
    ended = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return int(ended.stdout)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_dump(tmp_path: Path):
    """A dump of 200 MB takes no more memory than one of 20 MB, but for a row of numbers an edit."""
    small = peak_memory(tmp_path / "small", 1_000)
    large = peak_memory(tmp_path / "large", 10_000)

    assert large - small < 9_000 * 500  # bytes; an edit has 20 KB
