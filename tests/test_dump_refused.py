"""Dumps that are refused: no edit set, cut, damaged, or with an edit that cannot be trained on."""

import gzip
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbngtrain.dump import NUMBERS, canonicalise
from cbngtrain.errors import FormatError
from tests.conftest import SHARED, dump, edit, needs_shared
from tests.dump_in_small import ONE, URL, WHOLE, refusal, with_value, without

OTHER = WHOLE[: WHOLE.index("other")].count("\n") + 1  # the line
AFTER = WHOLE.count("\n") + 1

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


@needs_shared
def test_real_set_with_an_edit_twice():
    """The nine real edits hold one EditID twice: refused by name."""
    packed = (SHARED / "data" / "edits" / "real.xml.gz").read_bytes()

    assert re.search(r"EditID \d+: is there twice", refusal(packed))
