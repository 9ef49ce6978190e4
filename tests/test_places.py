"""Places of edits: in order, and in little memory."""

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from cbngtrain.places import Place, Places

NUMBERS = st.integers(0, 10**18)
PLACES = st.lists(st.tuples(st.integers(0, 9) | NUMBERS, NUMBERS, NUMBERS))


@given(of=PLACES, run=st.integers(1, 4))
def test_places_come_in_order(of: list[Place], run: int):
    """Whatever order they were added in, all come by EditID, as often as they are asked for."""
    places = Places(run)
    for place in of:
        places.add(place)

    assert list(places) == sorted(of)
    assert list(places) == sorted(of)


def test_a_place_takes_few_bytes():
    """Of 4 GB of edits of 1 KB that is 100 MB; as Python's own numbers it would be 900 MB."""
    number = 1 << 16
    tracemalloc.start()
    try:
        places = Places(run=1 << 12)
        for edit_id in range(number):
            places.add((edit_id * 7919 % 1_000_003, edit_id << 10, 1 << 10))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert taken < 28 * number
