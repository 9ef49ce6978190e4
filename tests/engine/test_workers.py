"""Work spread over processes: where it is done, and in what order it comes back."""

import os
import threading
import time

import pytest

from cbngtrain.engine.errors import EngineError
from cbngtrain.engine.workers import AHEAD, in_order


def _where(item):
    return item, os.getpid()


def _refuse(item):
    raise EngineError(f"{item}: refused")


def test_results_come_in_the_order_of_the_items():
    """However many processes there are."""
    assert [item for item, _ in in_order(_where, iter(range(20)), 3)] == list(range(20))


def test_several_items_are_worked_on_elsewhere():
    """In so many processes at most, none of which is this one."""
    places = {place for _, place in in_order(_where, iter(range(20)), 2)}
    assert 1 <= len(places) <= 2
    assert os.getpid() not in places


def _wait_for_name(item):
    while item and not item.exists():
        time.sleep(0.01)


def test_no_more_items_are_drawn_than_are_soon_needed(tmp_path):
    """While the first one is worked on, few results wait for it."""
    drawn = 0

    def items():
        nonlocal drawn
        for drawn in range(1, 101):  # the test looks at it
            if drawn == 50:
                (tmp_path / "go").touch()
            yield tmp_path / "go" if drawn == 1 else 0

    results = in_order(_wait_for_name, items(), 2)
    release = threading.Timer(1, (tmp_path / "go").touch)
    release.start()
    next(results)
    assert drawn <= 2 * AHEAD + 2
    assert len(list(results)) == 99
    release.join()


def test_a_single_item_is_worked_on_here():
    """A process would cost its start, and to be sent the result."""
    assert list(in_order(_where, iter(["one"]), 2)) == [("one", os.getpid())]


def test_no_items_have_no_results():
    """And no error."""
    assert not list(in_order(_where, iter([]), 2))


@pytest.mark.parametrize("items", [["one"], ["one", "two"]])
def test_the_first_refusal_is_raised(items):
    """Wherever the work is done."""
    with pytest.raises(EngineError, match="one: refused"):
        list(in_order(_refuse, iter(items), 2))
