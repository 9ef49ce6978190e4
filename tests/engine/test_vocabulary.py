"""Words numbered, grouped and ordered, as plain second implementations do."""

from collections.abc import Sequence
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbngtrain.engine import first_words, groups, splitter, vocabulary
from cbngtrain.engine.first_words import sorted_and_joined
from cbngtrain.engine.packed import MULTIPLIER, Packed
from cbngtrain.engine.run_vocabulary import Runs, RunVocabulary
from cbngtrain.engine.spellings import Spellings
from cbngtrain.engine.vocabulary import NOTHING, Vocabulary, numbered
from cbngtrain.engine.word_sets import Splitting

texts = st.binary(max_size=60) | st.text("aB1'- \n,", max_size=60).map(str.encode)


def _packed(words: Sequence[bytes]) -> Spellings:
    return Spellings(Packed.of(words))


any_words = st.lists(texts | st.builds(bytes.__mul__, texts, st.just(5)))


@pytest.fixture(scope="module", params=[(1 << 12, 4), (1, 0)], ids=["sorted", "by a table"])
def either_numbering(request):
    """Words as they are, and all taken for ones most of which are repeated."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vocabulary, "SAMPLE", request.param[0])
        patch.setattr(vocabulary, "REPEATED", request.param[1])
        yield


@pytest.mark.usefixtures("either_numbering")
@given(any_words, any_words, any_words)
def test_words_are_numbered_as_they_are_met(first, then, last):
    """Packed ones as others, and the numbers that are given stay."""
    places = {b"": NOTHING}
    for word in [*first, *then, *last]:
        places.setdefault(word, len(places) - 1)
    words = Vocabulary()
    assert words.ids(Spellings(first)).tolist() == [places[word] for word in first]
    assert words.ids(_packed(then)).tolist() == [places[word] for word in then]
    assert words.ids(Spellings(last)).tolist() == [places[word] for word in last]
    assert [b"", *words.words.words] == list(places)
    assert [words.id(word) for word in places] == list(places.values())
    assert words.spelled(np.arange(-1, len(words))).words == list(places)


def _of_one_hash() -> list[bytes]:
    """Two words of 16 bytes: what the first half does to a hash, the second half undoes."""
    one, other = (int.from_bytes(half, "little") for half in (b"one half", b"another "))
    mixed = [(half ^ 16 << 56) * int(MULTIPLIER) % (1 << 64) for half in (one, other)]
    first, second = (number ^ number >> 32 for number in mixed)
    undone = (first ^ second ^ one).to_bytes(8, "little")
    return [b"one halfone half", b"another " + undone]


@pytest.mark.usefixtures("either_numbering")
def test_words_of_one_hash_are_told_apart():
    """They are not numbered by their hashes."""
    alike = _packed(_of_one_hash())
    assert alike.hashes[0] == alike.hashes[1]
    assert numbered(alike) is None
    words = Vocabulary()
    assert words.ids(_packed([b"a", b"b"])).tolist() == [0, 1]
    assert words.ids(alike).tolist() == [2, 3]
    assert words.ids(_packed([*alike.words, b"", b"a"])).tolist() == [2, 3, NOTHING, 0]
    assert words.id(alike.words[1]) == 3


@pytest.mark.parametrize(
    "hashes", [[5, 4], [5, 4, 1 << 40, 1 << 40 | 1 << 32]], ids=["ends", "ends and middles"]
)
def test_hashes_that_are_alike_in_part_are_told_apart(hashes):
    """The bits that make room for the places of words count where others do not suffice."""
    each = [b"a", b"b", b"c", b"d"][: len(hashes)]
    words = Spellings(Packed.of(each * 2), np.array(hashes * 2, np.uint64))
    found = numbered(words)
    assert found
    assert found.numbers.tolist() == [*range(len(each))] * 2
    assert found.is_new.tolist() == [True] * len(each) + [False] * len(each)


def _item(byte: int) -> tuple[int, int, int]:
    """Two keys and what is counted."""
    return byte % 4 - 1, byte // 4 % 4 - 1, byte // 16 % 5 - 2


rows_of_items = st.lists(st.binary().map(lambda row: [_item(byte) for byte in row]), min_size=1)


@pytest.mark.parametrize(
    ("long_row", "per_item"),
    [(0, 1 << 20), (0, 0), (1 << 16, 2)],
    ids=["by a table", "at once", "row by row"],
)
@given(rows_of_items)
def test_items_are_grouped(long_row, per_item, rows):
    """Row by row, in the order of their keys, with what they count summed."""
    items = np.array([item for row in rows for item in row], np.int64).reshape(-1, 3)
    starts = groups.starts_of(np.array([len(row) for row in rows]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(groups, "LONG_ROW", long_row)
        patch.setattr(groups, "PLACES_PER_ITEM", per_item)
        found = groups.grouped(starts, [items[:, 0], items[:, 1]], items[:, 2])
        uncounted = groups.grouped(starts, [items[:, 0], items[:, 1]])
    keys = np.stack(found.keys, axis=1).tolist()
    bounds = pairwise(found.starts.tolist())
    expected = [[[*key] for key in sorted({item[:2] for item in row})] for row in rows]
    assert [keys[a:b] for a, b in bounds] == expected
    sums = [
        sum(n for *k, n in row if k == key)
        for row, of in zip(rows, expected, strict=True)
        for key in of
    ]
    assert found.sums.tolist() == sums
    assert np.array_equal(found.keys, uncounted.keys)
    keys_of_rows = [[item[:2] for item in row] for row in rows]
    times = [
        row.count(tuple(key)) for row, of in zip(keys_of_rows, expected, strict=True) for key in of
    ]
    assert uncounted.sums.tolist() == times


ordered = st.sets(st.integers(-1, 9)).map(sorted)


@given(st.lists(ordered | st.lists(st.integers(-1, 9)), min_size=1))
def test_items_of_one_key_are_grouped(rows):
    """Those too that are in order, no two of a row equal: of long rows they stay as they are."""
    starts = groups.starts_of(np.array([len(row) for row in rows]))
    keys = np.array([key for row in rows for key in row], np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(groups, "LONG_ROW", 0)
        found = groups.grouped(starts, [keys], keys * 2)
        uncounted = groups.grouped(starts, [keys])
    expected = [(key, row.count(key)) for row in rows for key in sorted(set(row))]
    assert found.starts.tolist() == [0, *np.cumsum([len(set(row)) for row in rows])]
    assert list(zip(found.keys[0], found.sums, strict=True)) == [
        (k, 2 * k * n) for k, n in expected
    ]
    assert np.array_equal(found.starts, uncounted.starts)
    assert list(zip(uncounted.keys[0], uncounted.sums, strict=True)) == expected


@given(st.lists(st.tuples(*[st.sampled_from([NOTHING, 0, 1, 1 << 40])] * 3)), st.integers(0, 9))
def test_runs_are_numbered_as_they_are_met(runs, number):
    """Whatever their words' numbers are."""
    vocabulary = RunVocabulary(Vocabulary(), Runs(3), b"abc")
    keys = np.array(runs, np.int64).reshape(-1, 3)
    found = [*vocabulary.ids([*keys[:number].T]), *vocabulary.ids([*keys[number:].T])]
    distinct = list(dict.fromkeys(runs))
    assert found == [distinct.index(run) for run in runs]
    assert len(vocabulary) == len(distinct)


def test_runs_of_large_numbers_are_told_apart():
    """Whose keys fill all bits that there are, so that none is left for their places."""
    large = 1 << 20
    vocabulary = RunVocabulary(Vocabulary(), Runs(3), b"abc")
    last = [large, 3, 2, 1, 0, 2]
    keys = [np.full(len(last), large), np.full(len(last), large), np.array(last)]
    assert vocabulary.ids(keys).tolist() == [0, 1, 2, 3, 4, 2]


beginnings = st.sampled_from([b"", b"\0", b"begins as", b"begins a", b"begins as well" * 6])


NUMBERS = [b"%d" % number for number in range(first_words.MANY)]


@pytest.mark.parametrize("more", [[], NUMBERS], ids=["few", "many"])
@given(st.sets(st.builds(bytes.__add__, beginnings, texts)), st.sampled_from([b"\n", b"\n0 "]))
def test_words_in_byte_order(more, words, separator):
    """Also of so many that numbers are ordered, not the words."""
    each = list({*words, *more} - {b""})
    vocabulary = Vocabulary()
    ids = vocabulary.ids(Spellings(each))
    assert sorted_and_joined(vocabulary, ids, separator) == separator.join(sorted(each))


def test_many_pairs_in_byte_order():
    """Ordered by the places of their words, of which some begin as others do."""
    words = [b"ab" * n + tail for n in range(9) for tail in (b"a", b"b", b"bb", b"ba")]
    text = b"- ".join(map(b" ".join, product(words, words[1:])))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splitter, "LONG", 0)
        sets = Splitting().of([text], splitter.Splitter(b"ab", b""), Runs(2))
    [pairs] = sets.dicts()
    ids = np.arange(len(sets.vocabulary))
    assert isinstance(sets.vocabulary, RunVocabulary)
    assert sets.vocabulary.sort_as_words
    assert len(pairs) >= first_words.MANY
    assert sorted_and_joined(sets.vocabulary, ids, b"\n") == b"\n".join(sorted(pairs))
