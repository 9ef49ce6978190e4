"""Sets of words, against plain second implementations."""

from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cbngtrain.engine import (
    split_texts,
    splitter,
    word_metrics,
)
from cbngtrain.engine.run_vocabulary import Runs
from cbngtrain.engine.splitter import Splitter
from cbngtrain.engine.text import Replacement
from cbngtrain.engine.word_sets import Splitting, WordSets
from tests.engine import plain

VALID = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
IGNORED = b"'-"

texts = st.binary(max_size=60) | st.text("aB1'- \n,", max_size=60).map(str.encode)
some_bytes = st.binary(max_size=5) | st.text("aB1'- \n,", max_size=5).map(str.encode)

LINES = [
    b"one two three four five six\n",
    b"One two-three -four five' six seven\n",
    b"a line of words, of words, of words\n",
    b"-- '' -- '' -- '' -- '' -- '' -- ''\n",
    b"x\n",
    b"\n",
    b"1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26\n",
    b"word" * 100 + b"\n",
    b"cut",
    b" ",
]


def lines(most: int) -> st.SearchStrategy[list[bytes]]:
    """At most so many lines, by one draw."""
    return st.binary(max_size=most).map(lambda of: [LINES[byte % len(LINES)] for byte in of])


pages = lines(40).map(b"".join)


def _changed_page(
    old: list[bytes], changes: list[tuple[bytes, list[bytes]]]
) -> tuple[bytes, bytes]:
    new = list(old)
    for (place, removed), added in changes:
        at = place % (len(new) + 1)
        new[at : at + removed % 4] = added
    return b"".join(new), b"".join(old)


changes = st.tuples(st.binary(min_size=2, max_size=2), lines(3) | texts.map(lambda text: [text]))
page_pairs = st.builds(_changed_page, lines(40), st.lists(changes, max_size=4))
"""Two texts of which one is the other with some lines changed."""


@example(each=[b""], valid=b"", ignored=b"\0")
@given(each=st.lists(texts, max_size=3), valid=some_bytes, ignored=some_bytes)
def test_texts_are_split(each, valid, ignored):
    """Whatever bytes are of words, and whatever bytes are ignored."""
    ours = Splitter(valid, ignored)
    found = [(plain.words(text, valid, ignored)) for text in each]
    assert [ours.words(text) for text in each] == found
    assert ours.marked_words(each).words == [w for ws in found for w in (*ws, ours.mark)]


@pytest.mark.parametrize("ignored", [IGNORED, b""], ids=["ignored bytes", "none"])
@given(st.lists(texts | st.just(b" '''''''''''' a"), max_size=3))
def test_long_texts_are_split(ignored, each):
    """Into packed words."""
    ours = Splitter(VALID, ignored)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splitter, "LONG", 0)
        found = ours.marked_words(each)
    assert found.is_packed
    assert found.words == [w for t in each for w in (*plain.words(t, VALID, ignored), ours.mark)]


@given(pages)
def test_pages_are_split(text):
    """With the bytes that the bot's words have."""
    assert Splitter(VALID, IGNORED).words(text) == plain.words(text, VALID, IGNORED)


HOW = Splitter(VALID, IGNORED)
CHANGES = {
    "word by word": Replacement(
        find=VALID[26:52], replace=VALID[:26], remove=b"x1", removemulti=b"", keep=VALID + b" "
    ),
    "as a whole": Replacement(find=b"", replace=b"", remove=b"", removemulti=b" o", keep=None),
    "with another separator": Replacement(
        find=b" ", replace=b"~", remove=b"", removemulti=b"", keep=None
    ),
}


def _set(text: bytes, together: int) -> Counter[bytes]:
    return Counter(plain.runs(plain.words(text, VALID, IGNORED), together, b" "))


def _difference(one: Counter[bytes], other: Counter[bytes]) -> dict[bytes, int]:
    return {word: n for word in one | other if (n := one[word] - other[word])}


def _changed(counts: dict[bytes, int], change: Replacement) -> dict[bytes, int]:
    found: Counter[bytes] = Counter()
    for word, count in counts.items():
        found[change.of(word)] += count
    del found[b""]
    return dict(found)


def _first(counts: dict[bytes, int], number: int) -> list[tuple[bytes, int]]:
    return sorted(counts.items())[:number]


def _columns(pairs: list[tuple[bytes, bytes]], together: int) -> tuple[WordSets, WordSets]:
    """The words of new texts, and of old ones."""
    splitting = Splitting()
    ours, theirs = (
        splitting.of(list(column), HOW, Runs(together)) for column in zip(*pairs, strict=True)
    )
    return ours, theirs


some_pairs = st.lists(page_pairs, min_size=1, max_size=4)


@given(some_pairs, st.integers(1, 4))
def test_runs_of_words_are_counted(pairs, together):
    """Of each text of a column."""
    for column, each in zip(_columns(pairs, together), zip(*pairs, strict=True), strict=True):
        expected = [_set(text, together) for text in each]
        assert column.dicts() == expected
        assert column.sizes.tolist() == [len(counts) for counts in expected]
        asked = [b"One", b"One Two", b"One ", b" ", *expected[0]]
        assert [column.times(word).tolist() for word in asked] == [
            [counts[word] for counts in expected] for word in asked
        ]


@given(some_pairs, st.integers(1, 4))
def test_a_difference_is_that_of_all_words(pairs, together):
    """Looking only at lines in which two texts differ finds what counting all of both finds."""
    ours, old = _columns(pairs, together)
    expected = [_difference(_set(new, together), _set(old, together)) for new, old in pairs]
    assert ours.minus(old).dicts() == expected
    assert WordSets.of(ours.dicts()).minus(WordSets.of(old.dicts())).dicts() == expected
    assert ours.minus(WordSets.of(old.dicts())).dicts() == expected


@given(some_pairs, st.integers(1, 2))
def test_what_was_added_and_removed(pairs, together):
    """The parts of a difference that are above and below 0; and all words, 0 times."""
    ours, old = _columns(pairs, together)
    difference = ours.minus(old)
    expected = [_difference(_set(new, together), _set(old, together)) for new, old in pairs]
    added, removed = (difference.where_above(sign=sign).dicts() for sign in (1, -1))
    assert added == [{w: n for w, n in each.items() if n > 0} for each in expected]
    assert removed == [{w: -n for w, n in each.items() if n < 0} for each in expected]
    with_all = [
        dict.fromkeys([*_set(new, together), *_set(old, together)], 0) | each
        for (new, old), each in zip(pairs, expected, strict=True)
    ]
    assert difference.with_words_of(ours).with_words_of(old).dicts() == with_all


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@given(some_pairs, st.integers(1, 3), st.sampled_from([1, 3, 10, 40]))
def test_first_and_changed_words(change, pairs, together, number):
    """Counts and first words, of words and of changed words, also where not all are counted."""
    column, _ = _columns(pairs, together)
    expected = [_set(new, together) for new, _ in pairs]
    assert column.first(number) == [_first(each, number) for each in expected]
    changed = [_changed(each, change) for each in expected]
    assert column.changed(change).first(number) == [_first(each, number) for each in changed]
    assert column.changed(change).dicts() == changed


@given(st.integers(1, 3))
def test_first_runs_of_many_equal_words(number):
    """Where the least words are in the same few runs, the others are found too."""
    text = b"a " * 500 + b"c b " * 100 + b"B"
    column = Splitting().of([text, b"x y", None], HOW, Runs(2))
    expected = [_set(text, 2), _set(b"x y", 2), {}]
    assert column.first(number + 3) == [_first(each, number + 3) for each in expected]
    assert list(column.is_there) == [True, True, False]


def test_equal_columns_are_counted_once():
    """And what they have more than others, too."""
    splitting = Splitting()
    one, same, other = (splitting.of(each, HOW, Runs()) for each in ([b"a"], [b"a"], [b"a b"]))
    assert one.counts is same.counts
    assert one.minus(other).counts is same.minus(other).counts
    assert not splitting.of([None], HOW, Runs()).is_there[0]
    assert splitting.of([b""], HOW, Runs()).is_there[0]


def test_more_words_than_16_bits_count():
    """Vocabularies have no limit."""
    text = b" ".join(b"%d" % number for number in range(70_000)) + b" 69999 0"
    column = Splitting().of([text, b"69999 69998"], HOW, Runs())
    assert column.dicts() == [_set(text, 1), {b"69999": 1, b"69998": 1}]


def _all_of(pairs: list[tuple[bytes, bytes]], together: int, number: int) -> list[object]:
    """What is asked of the words of new texts and of old ones."""
    ours, old = _columns(pairs, together)
    changed = [ours.changed(change) for change in CHANGES.values()]
    return [
        ours.first(number),
        [each.first(number) for each in changed],
        ours.minus(old).dicts(),
        old.changed(CHANGES["word by word"]).common(changed[0]).tolist(),
        [each.dicts() for each in (ours, old, *changed)],
    ]


@given(some_pairs, st.integers(1, 3), st.integers(1, 10), st.integers(0, 100))
def test_words_of_long_texts_are_like_others(pairs, together, number, long):
    """They are packed, or not split into lines, and what is asked of them has the same answer."""
    expected = _all_of(pairs, together, number)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splitter, "LONG", long)
        patch.setattr(split_texts, "LONG", long)
        assert _all_of(pairs, together, number) == expected


@pytest.mark.parametrize("length", [1, 2])
def test_many_distinct_words_count(length):
    """Of a text so long that they are packed, and few others before and afterwards."""
    words = [b"%x" % (number * 40_503 % (1 << 20)) for number in range(splitter.LONG // 5)]
    each = [b"0 x y", b" ".join([*words, *words[:9]]), b"x y 0 z"]
    expected = [_set(text, length) for text in each]
    splitting = Splitting()
    columns = [splitting.of([text], HOW, Runs(length)) for text in each]
    assert [column.dicts() for column in columns] == [[each] for each in expected]
    assert columns[1].minus(columns[2]).dicts() == [_difference(expected[1], expected[2])]


counts = st.dictionaries(
    st.binary(min_size=1, max_size=6) | st.text("aAbZ19'-", min_size=1, max_size=6).map(str.encode),
    st.integers(1, 5),
)


@given(st.lists(counts, min_size=1, max_size=4))
def test_word_metrics(sets):
    """Of all sets at once, what each has by itself."""
    ours = {n: column.tolist() for n, column in word_metrics.metrics(WordSets.of(sets)).items()}
    theirs = [plain.word_metrics(each) for each in sets]
    assert ours == {name: [each.get(name, 0) for each in theirs] for name in ours}


@given(st.lists(st.tuples(counts, counts), min_size=1, max_size=3))
def test_common_words_are_counted_in_the_second_set(pairs):
    """The sum of the second set's counts over the words in both."""
    firsts, seconds = (WordSets.of(column) for column in zip(*pairs, strict=True))
    expected = [sum(second[w] for w in first.keys() & second.keys()) for first, second in pairs]
    assert firsts.common(seconds).tolist() == expected


@given(some_pairs, st.integers(1, 3), st.integers(1, 3))
def test_common_runs_of_texts(pairs, one, other):
    """Whichever of the two is counted first, and whatever each takes for a word."""
    new = [_set(text, one) for text, _ in pairs]
    old = [_set(text, other) for _, text in pairs]
    expected = [sum(b[word] for word in a.keys() & b.keys()) for a, b in zip(new, old, strict=True)]
    splitting = Splitting()
    ours, theirs = (
        splitting.of(list(column), HOW, Runs(length))
        for column, length in zip(zip(*pairs, strict=True), (one, other), strict=True)
    )
    assert ours.common(theirs).tolist() == expected


def test_a_set_of_negative_counts_repeats_nothing():
    """As what is left of a page in a delta."""
    found = word_metrics.metrics(WordSets.of([{b"gone": -3}, {b"gone": -3, b"new": 2}]))
    assert found["max_word_repeats"].tolist() == [0, 2]
    assert found["word_count"].tolist() == [-3, -1]


@pytest.mark.parametrize("separator", [b" ", b"~"], ids=["before all words", "after all words"])
def test_first_runs_with_any_separator(separator):
    """Also where runs do not sort as their first words do."""
    text = b"b a bb a b~ a " * 3
    ours = Splitting().of([text], Splitter(b"abc", b""), Runs(2, separator))
    expected = Counter(plain.runs(plain.words(text, b"abc", b""), 2, separator))
    assert ours.first(3) == [_first(expected, 3)]


def test_runs_that_read_the_same_add_up():
    """Where words have the separator's byte in them."""
    text = b"a-b c a b-c"
    ours = Splitting().of([text, b"a b"], Splitter(b"abc-", b""), Runs(2, b"-"))
    expected = [Counter(plain.runs(each.split(), 2, b"-")) for each in (text, b"a b")]
    assert ours.dicts() == expected
    assert ours.minus(Splitting().of([b"", b""], Splitter(b"a", b""), Runs(2))).dicts() == expected
