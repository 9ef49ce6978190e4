"""What stays in a store, and why."""

from calendar import timegm
from typing import Any

import pytest

from cbngtrain.instances import Instance
from cbngtrain.retention import Decision, Folder, Inventory, Rules, Stored, decide
from cbngtrain.step import Artifact, Digest, Fingerprint, Made, Record, fingerprint_of

NOW = float(timegm((2025, 8, 15, 12, 0, 0)))
DAY = 86400
RULES = Rules(instances=2, months=3, builds=2, grace=7 * DAY)
OLD, YOUNG = Stored(NOW - 8 * DAY, 10), Stored(NOW - 6 * DAY, 10)


def blob(name: str) -> Digest:
    """A digest of one's own."""
    return Digest(fingerprint_of({"blob": name}))


def record(name: str, *, log: str = "", **inputs: Record) -> Record:
    """A record of one artifact, made from those of others."""
    parts = {"step": name}
    made = {path: Made(other.artifacts[0], other.fingerprint) for path, other in inputs.items()}
    artifact = Artifact("a", blob(name), blob(name), 10)
    return Record(fingerprint_of(parts), (artifact,), blob(log) if log else None, parts, made)


SOURCE = record("source")
TRAIN = record("train", log="train log", edits=SOURCE)
ANN = record("ann", data=TRAIN)
OTHER = record("other")
RECORDS = {each.fingerprint: each for each in (SOURCE, TRAIN, ANN, OTHER)}


def folder(name: str, *records: Record, target: str = "Set", **more: object) -> Folder:
    """An instance, published long ago."""
    files = {f"artifacts/{i}": each.artifacts[0].digest for i, each in enumerate(records)}
    about = {"steps": {str(i): {"fingerprint": r.fingerprint} for i, r in enumerate(records)}}
    plain = {
        "target": target,
        "name": name,
        "modified": NOW - 400 * DAY,
        "links": frozenset(files.values()),
        "instance": Instance(target, name, files, files, about),
    }
    return Folder(**(plain | more))  # type: ignore[arg-type] # whatever a test wants


def inventory(*folders: Folder, **more: object) -> Inventory:
    """A store with these instances and all records, long ago."""
    names = {digest for each in RECORDS.values() for digest in each.blobs}
    plain = {
        "at": NOW,
        "folders": folders,
        "strays": {},
        "records": dict.fromkeys(RECORDS, OLD),
        "read": RECORDS,
        "blobs": dict.fromkeys(names, OLD),
        "heads": {},
        "builds": {},
        "parts": {},
    }
    return Inventory(**(plain | more))  # type: ignore[arg-type] # as above


def kept(decision: Decision) -> dict[str, list[str]]:
    """The names of the instances that stay, with the reasons."""
    return {title.partition("/")[2]: reasons for title, reasons in decision.folders.items()}


TIMES = [
    "2025-08-14 00:00:00", "2025-08-02 00:00:00", "2025-08-01 00:00:00", "2025-07-31 23:00:00",
    "2025-07-01 00:00:00", "2025-06-30 00:00:00", "2025-05-31 23:59:59", "2024-08-01 00:00:00",
]  # fmt: skip


def test_last_ones_and_one_a_month_stay():
    """The last of each edit set, and the last of each month; the others go."""
    decision = decide(inventory(*map(folder, TIMES)), RULES)

    assert kept(decision) == {
        "2025-08-14 00:00:00": ["one of the last 2", "the last one of 2025-08"],
        "2025-08-02 00:00:00": ["one of the last 2"],
        "2025-07-31 23:00:00": ["the last one of 2025-07"],
        "2025-06-30 00:00:00": ["the last one of 2025-06"],
    }


def with_network(name: str, network: str) -> Folder:
    """An instance that published a network."""
    meanings = {"artifacts/main_ann.fann": blob(network)}
    return folder(name, instance=Instance("Set", name, meanings, meanings, {}))


def test_network_before_stays():
    """What the next build compares with stays, however often the last network was published."""
    networks = ["new", "new", "new", "before", "before", "long before"]
    rules = Rules(instances=1, months=0, builds=1, grace=1)

    decision = decide(inventory(*map(with_network, TIMES, networks)), rules)

    assert kept(decision) == {TIMES[0]: ["one of the last 1"], TIMES[3]: ["the network before"]}


def test_months_go_back_over_the_turn_of_the_year():
    """In January the month before is December."""
    at = float(timegm((2026, 1, 1, 0, 0, 0)))
    names = ["2026-01-01 00:00:00", "2025-12-31 00:00:00", "2025-11-05 00:00:00"]
    rules = Rules(instances=1, months=2, builds=1, grace=1)
    assert list(kept(decide(inventory(*map(folder, names), at=at), rules))) == names[:2]


def test_last_ones_are_counted_for_each_edit_set():
    """An edit set's instances do not crowd out another's."""
    rules = Rules(instances=1, months=0, builds=1, grace=1)
    both = [folder(TIMES[0]), folder(TIMES[5], target="Other"), folder(TIMES[6], target="Other")]
    assert set(decide(inventory(*both), rules).folders) == {
        f"Set/{TIMES[0]}",
        f"Other/{TIMES[5]}",
    }


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"aliases": frozenset({"production"})}, "production"),
        ({"aliases": frozenset({"latest"})}, "latest"),
        ({"pin": "the paper"}, "pinned: the paper"),
        ({"pin": ""}, "pinned: "),
        ({"instance": None}, "filled by a script"),
        ({"modified": NOW - 6 * DAY}, "younger than 7 days"),
    ],
)
def test_instance_stays_for_a_reason(more: dict[str, Any], reason: str):
    """What is in use, pinned, a script's or young stays though no rule counts it."""
    found = inventory(*map(folder, TIMES[:7]), folder(TIMES[7], **more))
    assert kept(decide(found, RULES))[TIMES[7]] == [reason]


def test_what_an_instance_was_made_from_stays():
    """Its records, back to the source, with their logs; what nothing refers to goes."""
    decision = decide(inventory(folder(TIMES[0], ANN)), RULES)

    reason = f"instance Set/{TIMES[0]}"
    assert decision.records == dict.fromkeys(
        (ANN.fingerprint, TRAIN.fingerprint, SOURCE.fingerprint), reason
    )
    assert set(decision.blobs) == {blob(n) for n in ("ann", "train", "train log", "source")}


def test_bytes_that_were_really_read_stay():
    """The record of an input may have other bytes now: those that were read stay with it."""
    read = Artifact("a", blob("as read"), TRAIN.artifacts[0].meaning, 10)
    made = Record(
        fingerprint_of({"x": 1}), (), None, {"x": 1}, {"d": Made(read, TRAIN.fingerprint)}
    )
    found = inventory(
        folder(TIMES[0], ANN, instance=Instance("Set", TIMES[0], {}, {}, {"f": [made.to_json()]})),
        read={**RECORDS, made.fingerprint: made},
    )
    assert blob("as read") in decide(found, RULES).blobs


def test_instance_that_goes_keeps_nothing():
    """What only an instance that goes refers to goes with it."""
    found = inventory(folder(TIMES[0]), folder(TIMES[1]), folder(TIMES[6], OTHER))
    decision = decide(found, RULES)
    assert (decision.records, decision.blobs) == ({}, {})
    assert decide(found, RULES, all_folders=True).records


def test_last_complete_build_stays():
    """Heads keep the records that they name, as they are now, not those before."""
    head = {"steps": {"ann": {"fingerprint": ANN.fingerprint, "before": OTHER.fingerprint}}}
    decision = decide(inventory(heads={"set": head}), RULES)
    assert decision.records[ANN.fingerprint] == "last complete build of set"
    assert OTHER.fingerprint not in decision.records


def test_young_records_keep_their_blobs():
    """A record that somebody has just relied upon stays valid."""
    records = {**dict.fromkeys(RECORDS, OLD), TRAIN.fingerprint: YOUNG}
    decision = decide(inventory(records=records), RULES)
    assert decision.records == {TRAIN.fingerprint: "younger than 7 days"}
    assert set(decision.blobs) == {blob("train"), blob("train log")}


def test_young_blobs_and_unfinished_files_stay():
    """What has just been written may be about to be named."""
    blobs = {blob("new"): YOUNG, blob("old"): OLD}
    decision = decide(inventory(blobs=blobs, parts={"cas/.1.part": YOUNG, ".2.part": OLD}), RULES)
    assert decision.blobs == {blob("new"): "younger than 7 days"}
    assert list(decision.parts) == ["cas/.1.part"]


def test_links_outside_of_instances_stay():
    """What people have linked beside the instances keeps its blobs."""
    found = inventory(strays={"Set/best": frozenset({OTHER.artifacts[0].digest})})
    assert decide(found, RULES).blobs == {OTHER.artifacts[0].digest: "file Set/best"}


def test_last_summaries_stay_with_their_logs():
    """The last builds, and the last that tells of each edit set; with the logs of failed steps."""
    failed = {"Set": {"failed": [{"step": "ann:set", "log": OTHER.artifacts[0].digest}]}}
    builds = {
        "2025-01-01T00.00.00-a": (OLD, {"edit_sets": {"Gone": {}}}),
        "2025-01-02T00.00.00-a": (OLD, {"edit_sets": {"Gone": {}, "Set": {}}}),
        "2025-01-03T00.00.00-a": (OLD, {"edit_sets": failed}),
        "2025-01-04T00.00.00-a": (OLD, ["no summary"]),
    }
    decision = decide(inventory(builds=builds), RULES)
    assert decision.builds == {
        "2025-01-04T00.00.00-a": "one of the last 2",
        "2025-01-03T00.00.00-a": "one of the last 2",
        "2025-01-02T00.00.00-a": "the last one of Gone",
    }
    assert list(decision.blobs) == [OTHER.artifacts[0].digest]


@pytest.mark.parametrize(
    "value",
    [None, [], "x", {"steps": 5}, {"steps": {"a": None}}, {"steps": {"a": {"fingerprint": 5}}}],
)
def test_odd_values_do_no_harm(value: object):
    """Heads, summaries and ``about`` that are not what they should be keep nothing, and no more."""
    odd = folder(TIMES[0], instance=Instance("Set", TIMES[0], {}, {}, {"x": value}))
    found = inventory(odd, heads={"a": value}, builds={"b": (OLD, value)})
    decision = decide(found, RULES)
    assert decision.records == {}
    assert Fingerprint("x") not in decision.records
