"""However a dump is written, the same edits have one canonical form that says what they said."""

import random
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass, replace
from xml.sax.saxutils import escape

from hypothesis import given, settings
from hypothesis import strategies as st

from cbngtrain.dump import FALSE, TRUE
from tests.dump_in_small import canonical


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
