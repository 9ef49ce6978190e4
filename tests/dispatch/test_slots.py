"""Which step starts next."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cbngtrain.dispatch.manifest import Room
from cbngtrain.dispatch.slots import (
    PASSED_OVER,
    UNBOUNDED,
    Durations,
    Slots,
    largest_container,
    longest_chains,
    mebibytes,
    millicores,
    quantity,
    room_within,
)
from cbngtrain.errors import DispatchError
from cbngtrain.plan import EditSet, Programs, plan
from cbngtrain.step import Digest, Record, Step, fingerprint_of
from cbngtrain.store import DirectoryStore
from tests.conftest import wait_until

PLAN = plan(
    [EditSet(name, name, "file:a", "file:b") for name in ("alpha", "beta")],
    Programs({"engine": "e"}, Digest("c"), {"trainer": "t"}),
)
STEPS = {step.name: step for steps in PLAN.steps.values() for step in steps}


def step(name: str) -> Step:
    """A step of the edit set alpha."""
    return STEPS[f"{name}:alpha"]


# Chains


def test_chain_is_the_longest_way_to_the_end():
    """A step's chain is its own time and that of the longest way below it."""
    steps = PLAN.steps["alpha"][:6]
    names = [each.recipe.name for each in steps]
    assert names == ["bayes_train", "bayes_db", "two_bayes_db", "ann_train", "ann", "trial"]

    chains = longest_chains(steps, [1, 10, 20, 100, 1000, 10000])

    assert chains == {
        "bayes_train": 11121,
        "bayes_db": 11110,
        "two_bayes_db": 11120,
        "ann_train": 11100,
        "ann": 11000,
        "trial": 10000,
    }


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "store")


def leave_times(store: DirectoryStore, slug: str, times: Mapping[str, Any]) -> None:
    """Leave records and a head that tell how long steps took."""
    head = {}
    for name, seconds in times.items():
        parts = {"step": name, "slug": slug}
        key = fingerprint_of(parts)
        store.keep(Record(key, (), None, parts, about={"seconds": seconds}))
        head[name] = {"fingerprint": key}
    store.set_head(slug, {"steps": head})


def test_times_are_those_of_the_last_build(store: DirectoryStore):
    """What a step took is what its record says."""
    leave_times(store, "alpha", {"ann": 300.5})

    durations = Durations(PLAN, store)

    assert durations.known(step("ann")) == 300.5
    assert durations.known(step("trial")) is None
    assert durations.known(STEPS["ann:beta"]) is None


def test_times_of_others_stand_in(store: DirectoryStore):
    """A new edit set is judged by the others; its longest chain begins with its first step."""
    leave_times(store, "alpha", {each.recipe.name: 10 for each in PLAN.steps["alpha"]})
    durations = Durations(PLAN, store)
    durations.chain(step("ann"))

    assert durations.chain(STEPS["bayes_train:beta"]) == durations.chain(step("bayes_train"))


@pytest.mark.parametrize("seconds", ["soon", None, [1]])
def test_time_that_is_none_is_let_be(seconds: object, store: DirectoryStore):
    """A record tells facts for people; one that makes no sense decides nothing."""
    leave_times(store, "alpha", {"ann": seconds})

    assert Durations(PLAN, store).known(step("ann")) is None


def test_nothing_known_still_gives_an_order(store: DirectoryStore):
    """A step near the start of its chain goes before one near the end."""
    durations = Durations(PLAN, store)
    chains = [durations.chain(step(name)) for name in ("bayes_train", "ann_train", "ann", "trial")]

    assert chains == sorted(chains, reverse=True)
    assert len(set(chains)) == 4


# Amounts


@pytest.mark.parametrize(
    ("text", "mib"),
    [("8Gi", 8192), ("512Mi", 512), ("1e9", 953), ("1G", 953), ("1048576", 1), ("0", 0),
     ("1.5Gi", 1536), ("524288Ki", 512)],
)  # fmt: skip
def test_memory(text: str, mib: int):
    """Amounts of memory as Kubernetes writes them."""
    assert mebibytes(text) == mib


@pytest.mark.parametrize(("text", "m"), [("500m", 500), ("1", 1000), ("0.1", 100), ("10", 10000)])
def test_cpu(text: str, m: int):
    """Amounts of CPU."""
    assert millicores(text) == m


@pytest.mark.parametrize("text", ["", "8 Gi", "Gi", "-1", "8GiB", "ten"])
def test_amount_that_is_none(text: str):
    """Nonsense is told."""
    with pytest.raises(DispatchError, match="an amount of"):
        quantity(text)


def pod(memory: str = "1Gi", cpu: str = "1") -> dict[str, Any]:
    """Somebody's pod."""
    return {"spec": {"containers": [{"resources": {"limits": {"memory": memory, "cpu": cpu}}}]}}


QUOTA = {"spec": {"hard": {"pods": "10", "limits.memory": "8Gi", "limits.cpu": "10",
                           "count/jobs.batch": "15", "requests.cpu": "4"}}}  # fmt: skip


def test_room_is_the_quota_s_less_what_others_have():
    """Toolforge's quota, with two pods of somebody else's."""
    assert room_within([QUOTA], []) == Room(memory=8192, cpu=10000, pods=10)
    assert room_within([QUOTA], [pod(), pod("512Mi", "500m")]) == Room(
        memory=8192 - 1536, cpu=8500, pods=8
    )


def test_smallest_of_several_quotas_counts():
    """Requests count as limits do: our pods ask for as much memory as they may have."""
    other = {"spec": {"hard": {"requests.memory": "4Gi", "count/pods": "3"}}}

    assert room_within([QUOTA, other], []) == Room(memory=4096, cpu=10000, pods=3)


def test_without_a_quota_there_is_room():
    """A cluster of one's own."""
    assert room_within([], []) == UNBOUNDED


def test_container_may_have_what_limit_range_and_quota_allow():
    """Toolforge's 1 CPU and 4 GiB; or the quota, if that is less."""
    ranges = [{"spec": {"limits": [{"type": "Container", "max": {"cpu": "1", "memory": "4Gi"}},
                                   {"type": "Pod", "max": {"memory": "1Gi"}}]}}]  # fmt: skip

    assert largest_container(ranges, UNBOUNDED) == Room(memory=4096, cpu=1000)
    assert largest_container([], Room(memory=512, cpu=200, pods=9)) == Room(memory=512, cpu=200)


# Turns


class Crowd:
    """Steps that wait for their turns, each in a thread of its own."""

    def __init__(self, limit: Room) -> None:
        self.slots = Slots()
        self.slots.set_limit(limit)
        self.order: list[str] = []
        self._gates: dict[str, threading.Event] = {}
        self._threads: dict[str, threading.Thread] = {}

    def join(self, name: str, chain: float, need: Room) -> None:
        """Let a step wait; return when it does, or has its turn."""
        gate = self._gates[name] = threading.Event()

        def wait() -> None:
            with self.slots.turn(step("ann"), need, chain, lambda: None):
                self.order.append(name)
                gate.wait(10)

        before = len(self.slots._waiting) + len(self.slots._running)
        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        self._threads[name] = thread
        wait_until(lambda: len(self.slots._waiting) + len(self.slots._running) > before)

    def end(self, name: str) -> None:
        """Let a step end."""
        self._gates[name].set()
        self._threads[name].join(10)


SMALL = Room(memory=1, cpu=1)


def test_longest_chain_goes_first():
    """Whoever came first, the one with the longest chain has the next turn."""
    crowd = Crowd(Room(memory=10, cpu=10, pods=1))
    for name, chain in (("first", 5.0), ("short", 1.0), ("long", 100.0), ("middle", 50.0)):
        crowd.join(name, chain, SMALL)

    for count, name in enumerate(("first", "long", "middle"), 1):
        wait_until(lambda count=count: len(crowd.order) == count)  # type: ignore[misc]
        crowd.end(name)
    wait_until(lambda: len(crowd.order) == 4)

    assert crowd.order == ["first", "long", "middle", "short"]


def test_what_does_not_fit_lets_smaller_ones_pass():
    """Memory bounds as pods do; room that is left is used."""
    crowd = Crowd(Room(memory=10, cpu=100, pods=10))
    crowd.join("half", 5.0, Room(memory=6, cpu=1))
    crowd.join("large", 100.0, Room(memory=8, cpu=1))
    crowd.join("small", 1.0, Room(memory=2, cpu=1))

    wait_until(lambda: crowd.order == ["half", "small"])


def test_what_waits_is_not_passed_over_for_ever():
    """After so many others it is its turn next."""
    crowd = Crowd(Room(memory=10, cpu=1000, pods=1000))
    crowd.join("half", 5.0, Room(memory=6, cpu=1))
    crowd.join("large", 100.0, Room(memory=8, cpu=1))
    for number in range(PASSED_OVER):
        crowd.join(f"small {number}", 1.0, Room(memory=0, cpu=1))
    wait_until(lambda: len(crowd.order) == 1 + PASSED_OVER)

    crowd.join("one more", 1.0, Room(memory=0, cpu=1))

    assert "one more" not in crowd.order


def test_limit_may_grow_and_shrink():
    """What the quota has room for changes while a build runs; what runs is let be."""
    crowd = Crowd(Room(memory=10, cpu=10, pods=0))
    crowd.join("a", 2.0, SMALL)
    crowd.join("b", 1.0, SMALL)
    assert crowd.order == []

    crowd.slots.set_limit(Room(memory=10, cpu=10, pods=1))
    wait_until(lambda: crowd.order == ["a"])
    crowd.slots.set_limit(Room(memory=10, cpu=10, pods=0))
    crowd.end("a")
    assert crowd.order == ["a"]
    crowd.slots.set_limit(Room(memory=10, cpu=10, pods=1))
    wait_until(lambda: crowd.order == ["a", "b"])


def test_what_runs_already_counts():
    """A pod that was attached to takes room, whatever is left."""
    slots = Slots()
    slots.set_limit(Room(memory=10, cpu=10, pods=1))

    with slots.taken(step("ann"), SMALL):
        assert slots._left().pods == 0
    assert slots._left().pods == 1


def test_waiting_ends_when_it_is_told_to():
    """A step that waits looks up now and then; an error ends its waiting and frees its place."""
    slots = Slots()
    slots.set_limit(Room(memory=0, cpu=0, pods=0))

    def until() -> None:
        raise DispatchError("enough")

    with pytest.raises(DispatchError, match="enough"), slots.turn(step("ann"), SMALL, 1.0, until):
        pass
    assert slots._waiting == []
