"""From a dump to the canonical form."""

import gzip
import random
import re
import subprocess
import sys
import tempfile
import textwrap
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbngtrain.dump import FALSE, NUMBERS, TRUE, Counts, canonicalise
from cbngtrain.errors import FormatError
from tests.conftest import ROOT, SHARED, dump, edit, needs_shared

URL = "https://review.example/dump"

ONE = edit(1, "text")
WHOLE = dump([ONE, edit(2, "other", vandalism=True)])
OTHER = WHOLE[: WHOLE.index("other")].count("\n") + 1  # the line
AFTER = WHOLE.count("\n") + 1


def canonical(raw: str | bytes) -> tuple[Counts, list[int], bytes]:
    """What `canonicalise` returns, and what it wrote."""
    with tempfile.TemporaryDirectory() as directory:
        source, path = Path(directory, "raw"), Path(directory, "edits.xml")
        source.write_bytes(raw.encode() if isinstance(raw, str) else raw)
        counted, edit_ids = canonicalise(source, path, URL)
        return counted, list(edit_ids), path.read_bytes()


def counts(raw: str | bytes) -> Counts:
    """How many edits of which kind a dump holds."""
    return canonical(raw)[0]


def text(raw: str | bytes) -> str:
    """A dump's canonical form."""
    return canonical(raw)[2].decode()


def refusal(raw: str | bytes) -> str:
    """What is said of a dump that is refused."""
    with pytest.raises(FormatError) as error:
        canonical(raw)
    return str(error.value)


def without(tag: str, of: str = ONE) -> str:
    """The edit without that element."""
    return re.sub(f"<{tag}>.*?</{tag}>", "", of, count=1, flags=re.DOTALL)


def with_value(tag: str, value: str, of: str = ONE) -> str:
    """The edit with another value of that element."""
    return re.sub(f"<{tag}>.*?</{tag}>", f"<{tag}>{value}</{tag}>", of, count=1)


# One form, however it came ---------------------------------------------------------------------


@dataclass(frozen=True)
class Edit:
    """What an edit says, apart from how it is written."""

    edit_id: int
    user: str
    current: str
    previous: str | None
    vandalism: bool
    edit_count: int


@dataclass(frozen=True)
class Hand:
    """How a dump is written."""

    indent: str
    updated: str
    reviewers: int
    spell: Callable[[str], str]
    verdicts: tuple[str, str]  # constructive, vandalism
    blank: str  # round numbers

    def write(self, edits: list[Edit]) -> str:
        """A dump of *edits*."""
        return f"<WPEditSet>{''.join(map(self._edit, edits))}{self.indent}</WPEditSet>"

    def _edit(self, edit: Edit) -> str:
        i = self.indent
        parts = [
            f"<EditDB>{i}<source>a</source><lastUpdated>{self.updated}</lastUpdated>{i}</EditDB>",
            f"<EditID>{self.blank}{edit.edit_id}{self.blank}</EditID>",
            f"<user>{self.spell(edit.user)}</user>",
            f"<user_edit_count>{self.blank}{edit.edit_count}</user_edit_count>",
            f"<current>{i}<text>{self.spell(edit.current)}</text>{i}</current>",
            self._previous(edit.previous),
            f"<isVandalism>{self.verdicts[edit.vandalism]}</isVandalism>",
            "<ReviewInterface>" + "<reviewers>me</reviewers>" * self.reviewers,
            f"{i}<reviewers_agreeing>{self.reviewers}</reviewers_agreeing></ReviewInterface>",
        ]
        return f"{i}<WPEdit>{i}{i.join(parts[:8])}{parts[8]}{i}</WPEdit>"

    def _previous(self, previous: str | None) -> str:
        told = "" if previous is None else f"<text>{self.spell(previous)}</text>"
        return f"<previous>{self.indent}{told}</previous>"


def entities(text: str) -> str:
    """Text in which every character is a reference to it."""
    return "".join(f"&#x{ord(character):x};" for character in text)


def plainly(text: str) -> str:
    """Text with the references that are needed, and no more."""
    return escape(text, {"\r": "&#13;"})


xml_text = st.text(
    st.characters(min_codepoint=0x20, exclude_categories=["Cs"], exclude_characters="\ufffe\uffff")
    | st.sampled_from("\t\n\r&<>]\u0085\u2028\x7f\U0001f600"),
    max_size=20,
)
edits = st.lists(
    st.builds(
        Edit,
        st.integers(0, 10**12),
        xml_text,
        xml_text,
        st.none() | xml_text,
        st.booleans(),
        st.integers(0, 2**31 - 1),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda edit: edit.edit_id,
)
hands = st.builds(
    Hand,
    st.sampled_from(["", "\n", "\n\t ", "\r\n"]),
    st.sampled_from(["", "1289798163", "yesterday"]),
    st.integers(0, 3),
    st.sampled_from([plainly, entities]),
    st.tuples(
        st.sampled_from(sorted(FALSE)).map(str.upper), st.sampled_from(sorted(TRUE)).map(str.title)
    ),
    st.sampled_from(["", " ", "\n"]),
)


@settings(max_examples=60)
@given(edits, hands, hands, st.randoms(use_true_random=False))
def test_same_edits_have_the_same_form(
    of: list[Edit], one: Hand, other: Hand, chance: random.Random
):
    """Order, indentation, spelling and volatile fields of a dump do not show in its form."""
    shuffled = chance.sample(of, len(of))

    assert canonical(one.write(of))[2] == canonical(other.write(shuffled))[2]


@settings(max_examples=60)
@given(edits, hands)
def test_canonical_form_says_what_the_dump_said(of: list[Edit], hand: Hand):
    """Another XML parser reads the same edits out of it, by ascending EditID, to the character."""
    counted, edit_ids, written = canonical(hand.write(of))

    found = [
        Edit(
            int(element.findtext("EditID", "")),
            element.findtext("user", ""),
            element.findtext("current/text", ""),
            element.findtext("previous/text"),
            element.findtext("isVandalism") == "true",
            int(element.findtext("user_edit_count", "")),
        )
        for element in ET.fromstring(written)
    ]
    wanted = sorted(of, key=lambda edit: edit.edit_id)
    assert found == [replace(edit, previous=edit.previous or "") for edit in wanted]
    assert edit_ids == [edit.edit_id for edit in wanted]
    assert counted.edits == len(of)
    assert counted.vandalism == sum(edit.vandalism for edit in of)
    assert counted.creations == sum(edit.previous is None for edit in of)


@settings(max_examples=60)
@given(edits, hands)
def test_canonical_form_is_its_own(of: list[Edit], hand: Hand):
    """Bringing the canonical form into canonical form changes nothing."""
    once = canonical(hand.write(of))[2]

    assert canonical(once)[2] == once


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


# What is refused -------------------------------------------------------------------------------

BILLION = """<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<WPEditSet><WPEdit><comment>&b;</comment></WPEdit></WPEditSet>"""


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"", "is empty"),
        (b" \n", "line 2: not well-formed UTF-8 XML to </WPEditSet>: it ends too early"),
        ("<html><body>Sign in</body></html>", "line 1: <html> where only <WPEditSet> can stand"),
        ("<!DOCTYPE html>\n<html></html>", "line 1: a document type"),
        ("Internal Server Error", "line 1: not well-formed"),
        (BILLION, "line 1: a document type"),
        (WHOLE + "x", f"line {AFTER}: not well-formed UTF-8 XML to </WPEditSet>: junk after"),
        (WHOLE + WHOLE[22:], f"line {AFTER}: not well-formed"),
        (WHOLE.encode() + b"\0", f"line {AFTER}: not well-formed"),
        (WHOLE.encode().replace(b"other", b"\xff\xfe"), f"line {OTHER}: not well-formed"),
        (WHOLE.replace('"1.0"', '"1.0" encoding="latin-1"').replace("other", "é").encode("latin-1"),
         f"line {OTHER}: not well-formed"),
        (WHOLE.encode("utf-16"), "line 1: not well-formed UTF-8 XML to </WPEditSet>: it is UTF-16"),
        (WHOLE.replace("other", "&nbsp;"), f"line {OTHER}: not well-formed"),
        (WHOLE.replace("other", "&#0;"), f"line {OTHER}: not well-formed"),
        (WHOLE.replace("other", "\x01"), f"line {OTHER}: not well-formed"),
        (dump([ONE.replace("a comment", "<a>" * 9 + "</a>" * 9)]),
         "line 6: <a> is nested too deeply"),
        ("<WPEditSet></WPEditSet>", "has no edits to train or try on"),
        (dump([without("isVandalism")]),
         "has no edits to train or try on; left out: 1 without isVandalism"),
        ("<WPEditSet><WPEdits/></WPEditSet>", "<WPEdits> where only <WPEdit> can stand"),
        (dump([without("EditID")]), "line 3: an edit without EditID"),
        (dump([with_value("EditID", "12a")]), "line 3: EditID '12a' is not a number"),
        (dump([with_value("EditID", "")]), "line 3: EditID '' is not a number"),
        (dump([with_value("EditID", "-5")]), "line 3: EditID '-5' is not a number"),
        (dump([ONE, edit(2, "x"), ONE]), "EditID 1: is there twice"),
        (dump([ONE, with_value("EditID", "01")]), "EditID 1: is there twice"),
        (dump([ONE, without("isVandalism")]), "EditID 1: is there twice"),
        (dump([without("isVandalism"), ONE]), "EditID 1: is there twice"),
        (dump([with_value("isVandalism", "maybe")]), "EditID 1: isVandalism is 'maybe'"),
        (dump([with_value("isVandalism", "")]), "EditID 1: isVandalism is ''"),
        (dump([without("current", with_value("isVandalism", "x"))]), "isVandalism is 'x'"),
        (dump([ONE.replace("</WPEdit>", "<isVandalism>true</isVandalism></WPEdit>")]),
         "EditID 1: has <isVandalism> twice"),
        (dump([ONE.replace("</WPEdit>", "<EditID>2</EditID></WPEdit>")]),
         "line 3: has <EditID> twice"),
        (dump([ONE.replace("</current>", "<text>2</text></current>")]),
         "EditID 1: has <text> twice"),
        (dump([ONE.replace("<text>text", "<text>a<b>c</b>")]), "<b> inside <text>"),
        (dump([ONE.replace("a comment", "a <b>c</b>")]), "text beside the elements in <comment>"),
        (dump([ONE.replace("<user>", "oops <user>")]), "elements can stand: 'oops'"),
        (WHOLE.replace("</WPEditSet>", "Traceback</WPEditSet>"), "can stand: 'Traceback'"),
        (dump([edit(1, "x", previous=None).replace("<isV", "<previous>x</previous><isV")]),
         "EditID 1: <previous> holds text"),
        (WHOLE.replace("  </WPEdit>\n  <WPEdit>", "  <WPEdit>", 1), "<WPEdit> inside <WPEdit>"),
    ],
    ids=lambda value: None if isinstance(value, bytes) or "<WPEdit" in value else value[:50],
)  # fmt: skip
def test_refused_with_url_and_place(raw: str | bytes, told: str):
    """What is no edit set is refused with its URL, and the line or the EditID."""
    message = refusal(raw)

    assert message.startswith(f"{URL}: ")
    assert told in message


@pytest.mark.parametrize("field", sorted(NUMBERS - {"user_top_count"}))
@pytest.mark.parametrize(
    "value",
    ["abc", "-1", "1.5", "2147483648", "9" * 5000, " " * 50 + "x", "1 2", "+1", "٣", "\u00a01"],
    ids=lambda value: ascii(value.strip()[:10]),
)
def test_number_that_is_none_is_refused(field: str, value: str):
    """What the core would silently take for another number is refused with its EditID."""
    message = refusal(dump([with_value(field, value)]))

    assert f"{URL}: EditID 1: {field} is " in message
    assert "not a number from 0 to 2147483647" in message


def test_number_behind_many_blanks():
    """However many blanks stand before a number, it is that number."""
    assert "<user_warns>7</user_warns>" in text(dump([with_value("user_warns", " " * 60 + "7")]))


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_cut_dump_is_refused(share: float):
    """A dump that ends before </WPEditSet> is refused, wherever it was cut."""
    message = refusal(WHOLE[: int(len(WHOLE.rstrip()) * share)])

    assert re.search(r"dump: line \d+: not well-formed .*: it ends too early", message)


@given(st.integers(0, len(WHOLE.rstrip()) - 1))
def test_no_cut_dump_is_taken_for_whole(at: int):
    """There is no place at which a dump can be cut unnoticed."""
    assert URL in refusal(WHOLE[:at])


@pytest.mark.parametrize("share", [0.05, 0.5, 0.99])
def test_cut_gzip_is_refused(share: float):
    """A gzipped dump that was cut is refused."""
    packed = gzip.compress(WHOLE.encode())

    assert "cannot be unpacked" in refusal(packed[: int(len(packed) * share)])


def test_damaged_gzip_is_refused():
    """Bytes that no decompressor understands are a refusal, not a traceback."""
    packed = bytearray(gzip.compress(WHOLE.encode()))
    packed[12:40] = b"\xff" * 28

    assert "cannot be unpacked" in refusal(bytes(packed))


def test_refused_dump_leaves_nothing_behind(tmp_path: Path):
    """No file is left when a dump is refused at its last edit."""
    raw = tmp_path / "raw"
    raw.write_text(dump([ONE, ONE]), encoding="utf-8")

    with pytest.raises(FormatError):
        canonicalise(raw, tmp_path / "edits.xml", URL)

    assert list(tmp_path.iterdir()) == [raw]


@settings(max_examples=200)
@given(st.binary(max_size=60))
def test_any_bytes_are_refused_with_their_url(noise: bytes):
    """Nonsense of any kind is one line that names the URL."""
    assert refusal(noise).startswith(f"{URL}: ")


# Real edits, and many --------------------------------------------------------------------------


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


@needs_shared
def test_real_set_with_an_edit_twice():
    """The nine real edits hold one EditID twice: refused by name."""
    packed = (SHARED / "data" / "edits" / "real.xml.gz").read_bytes()

    assert re.search(r"EditID \d+: is there twice", refusal(packed))


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
