"""Words and sets of them, against plain second implementations."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbngtrain.engine import changes, word_metrics, words
from cbngtrain.engine.text import Replacement
from tests.engine import plain

VALID = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
IGNORED = b"'-"

texts = st.binary(max_size=60) | st.text("aB1'- \n,", max_size=60).map(str.encode)
some_bytes = st.binary(max_size=5) | st.text("aB1'- \n,", max_size=5).map(str.encode)

lines = st.sampled_from(
    [
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
)
pages = st.lists(lines, max_size=40).map(b"".join)


@st.composite
def page_pairs(draw):
    """Two texts of which one is the other with some lines changed."""
    old = draw(st.lists(lines, max_size=40))
    new = list(old)
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(new)))
        new[place : place + draw(st.integers(0, 3))] = draw(st.lists(lines | texts, max_size=3))
    return b"".join(new), b"".join(old)


@given(texts, some_bytes, some_bytes)
def test_texts_are_split(text, valid, ignored):
    """Whatever bytes are of words, and whatever bytes are ignored."""
    splitter = words.Splitter(valid, ignored)
    assert splitter.words(text) == plain.words(text, valid, ignored)


@given(pages)
def test_pages_are_split(text):
    """With the bytes that the bot's words have."""
    splitter = words.Splitter(VALID, IGNORED)
    assert splitter.words(text) == plain.words(text, VALID, IGNORED)


def _set(text: bytes, together: int) -> dict[bytes, int]:
    return dict(Counter(plain.runs(plain.words(text, VALID, IGNORED), together, b" ")))


@given(page_pairs(), st.integers(1, 4))
def test_a_difference_is_that_of_all_words(pair, together):
    """Looking only at where two texts differ finds what counting all of both finds."""
    text, old = (words.SplitText(each, words.Splitter(VALID, IGNORED)) for each in pair)
    ours = words.Runs(together).difference(text, old)
    theirs = Counter(_set(pair[0], together))
    theirs.subtract(_set(pair[1], together))
    assert ours == {word: count for word, count in theirs.items() if count}


@given(page_pairs(), st.integers(1, 3))
def test_a_set_with_a_twin_is_the_set(pair, together):
    """Counts, first words and both for changed words are those without a twin."""
    change = Replacement(
        find=VALID[26:52], replace=VALID[:26], remove=b"", removemulti=b"", keep=VALID + b" "
    )
    how = words.Splitter(VALID, IGNORED), words.Runs(together)
    sets = words.Sets()
    old = sets.of(0, pair[1], how, None)
    ours = sets.of(0, pair[0], how, old)
    theirs = words.WordSet.of(_set(pair[0], together))
    for number in (1, 3, 10, 40):
        assert ours.first(number) == theirs.first(number)
        assert ours.changed(change).first(number) == theirs.changed(change).first(number)
    assert ours.counts == theirs.counts
    assert ours.changed(change).counts == theirs.changed(change).counts
    assert ours.minus(old) == words.subtracted(theirs.counts, _set(pair[1], together))


@given(page_pairs())
def test_regions_are_all_that_differs(pair):
    """Putting one text's regions in place of the other's makes the one of the other."""
    text, old = pair
    made, end = b"", 0
    for region in changes.regions(text, old, len):
        made += old[end : region.old_begin] + text[region.begin : region.end]
        end = region.old_end
    assert made + old[end:] == text


counts = st.dictionaries(
    st.binary(min_size=1, max_size=6) | st.text("aAbZ19'-", min_size=1, max_size=6).map(str.encode),
    st.integers(1, 5),
)


@given(st.lists(counts, min_size=1, max_size=4))
def test_word_metrics(sets):
    """Of all sets at once, what each has by itself."""
    found = word_metrics.words_of(sets)
    ours = {name: metric(found).tolist() for name, metric in word_metrics.METRICS.items()}
    theirs = [plain.word_metrics(each) for each in sets]
    assert ours == {name: [each.get(name, 0) for each in theirs] for name in ours}


@given(counts, counts)
def test_common_words_are_counted_in_the_second_set(first, second):
    """The sum of the second set's counts over the words in both."""
    assert words.common_words(first, second) == sum(second[w] for w in first.keys() & second.keys())


@pytest.mark.parametrize("separator", [b" ", b"~"], ids=["before all words", "after all words"])
def test_first_runs_with_any_separator(separator):
    """Also where runs do not sort as their first words do."""
    text = b"b a bb a b~ a " * 3
    how = words.Splitter(b"abc", b""), words.Runs(2, separator)
    ours = words.Sets().of(0, text, how, None)
    expected = sorted(Counter(plain.runs(plain.words(text, b"abc", b""), 2, separator)).items())
    assert ours.first(3) == expected[:3]
