"""What is done to texts, against plain second implementations."""

from itertools import groupby

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cbngtrain.engine import text
from cbngtrain.engine.packed import Packed
from cbngtrain.engine.spellings import Spellings
from tests.engine import plain

texts = st.binary(max_size=60) | st.text('ab"\n <', max_size=60).map(str.encode)
some_bytes = st.binary(max_size=5) | st.text('ab"\n <', max_size=5).map(str.encode)


@given(texts)
def test_quotes_are_separated(value):
    """A quote toggles, a newline ends a quotation and goes to both."""
    assert text.quotes_separated(value) == plain.quotes_separated(value)


@given(st.text('ab"\n', max_size=20).map(str.encode), st.text('a"\n', max_size=3).map(str.encode))
def test_many_quotes_are_separated(value, more):
    """Where there are so many that all bytes are looked at at once."""
    many = (value + b'"') * (text.MANY_QUOTES + 1) + more
    assert text.quotes_separated(many) == plain.quotes_separated(many)


@example(b"aab" * 50_000, b"", b"", b"", b"a", None)  # in several pieces
@given(texts, some_bytes, some_bytes, some_bytes, some_bytes, st.none() | some_bytes)
def test_bytes_are_replaced(value, find, replace, remove, removemulti, keep):  # noqa: PLR0917
    """Mapped, then dropped, then collapsed, as one byte after the other would be."""
    ours = text.Replacement(
        find=find, replace=replace, remove=remove, removemulti=removemulti, keep=keep
    )
    theirs = plain.replaced(value, find, replace, remove, removemulti, keep)
    assert ours.of(value) == theirs


@example([b"a"], b"a", b"\n", b"", b"\n", None)  # the newline in the word is not the one after it
@given(st.lists(texts), some_bytes, some_bytes, some_bytes, some_bytes, st.none() | some_bytes)
def test_words_are_replaced_as_texts_are(  # noqa: PLR0917
    values, find, replace, remove, removemulti, keep
):
    """Many words at once, packed or not, become what each becomes."""
    change = text.Replacement(
        find=find, replace=replace, remove=remove, removemulti=removemulti, keep=keep
    )
    expected = [change.of(value) for value in values]
    assert change.of_each(Spellings(values)).words == expected
    assert change.of_each(Spellings(Packed.of(values))).words == expected


@given(st.lists(texts, max_size=4), st.lists(some_bytes, min_size=1, max_size=4))
def test_bytes_are_counted(values, metrics):
    """As often as each byte of the metric occurs, of a repeated one twice."""
    found = text.histograms(values) @ text.byte_sets(metrics)
    assert found.tolist() == [
        [sum(value.count(bytes([byte])) for byte in metric) for metric in metrics]
        for value in values
    ]


@given(st.binary(min_size=1, max_size=60), st.booleans())
def test_bytes_of_a_long_text_are_counted(value, is_odd):
    """Two at a time, and the last one of an odd number."""
    long = (value * text.LONG)[: text.LONG + is_odd]
    assert text.histograms([long])[0].tolist() == [long.count(bytes([byte])) for byte in range(256)]


needles = st.text("ab", min_size=1, max_size=4).map(str.encode)


def _none_ends_another(found: list[bytes]) -> bool:
    return not any(a != b and a.endswith(b) for a in found for b in found)


@given(
    st.text("abc", max_size=40).map(str.encode),
    st.lists(needles, max_size=3).filter(_none_ends_another),
    st.lists(needles, max_size=3),
)
def test_the_string_that_ends_first_counts(value, first, second):
    """The scan begins anew after each find."""
    metrics = {
        "first": first,
        "second": [each for each in second if _none_ends_another([*first, each])][:1],
    }
    assert text.Finder(metrics).counts(value) == plain.found_first(value, metrics)


@pytest.mark.parametrize("size", [1, 16, 17, 1000, 20_000])
def test_strings_may_be_long_and_nested(size):
    """Each begins as the next one does; or has nothing in common with others."""
    needles = [b"a" * count + b"b" for count in range(min(size, 500))] + [b"c" * size + b"d"]
    finder = text.Finder({"long": needles[-1:], "nested": [each + b"!" for each in needles[:-1]]})
    value = b"".join(each + b"! " for each in needles)
    assert finder.counts(value) == {"long": 1, "nested": len(needles) - 1}


@given(
    st.text("abc", max_size=60).map(str.encode),
    st.lists(needles, max_size=3),
    st.lists(needles, max_size=3),
)
def test_of_strings_that_end_together_the_first_reader_counts(value, first, second):
    """Whatever the strings are: which one counts is decided by the native core's ring."""
    metrics = {"first": first, "second": second}
    assert text.Finder(metrics).counts(value) == plain.found_by_readers(value, metrics)


@given(st.text(max_size=40))
def test_what_is_not_ascii_goes(value):
    """The rest stays as it is."""
    assert text.ascii_of(value.encode()) == bytes(b for b in value.encode() if b < 128)


@given(texts | st.text("aab", max_size=60).map(str.encode))
def test_the_longest_run(value):
    """Of one byte, wherever in the text it is."""
    assert text.longest_run(value) == max((len(list(g)) for _, g in groupby(value)), default=0)
