"""
A week of scheduled builds, rehearsed: each day the coordinator begins in an empty directory, as the
entry point of its job gives it, with the file service as its only memory. In the week steps run
beside the coordinator; on the days of another image they run as jobs.
"""

import hashlib
import json
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
import requests

from tests.conftest import Site, kill_hard, processes_in, wait_until
from tests.dispatch.jobs_standin import JobsStandin, jobs_standin
from tests.dispatch.places import ENGINE
from tests.ledger import RIVALS, Edit
from tests.review_standin import review_service
from tests.step_outputs import NETWORK, TOTALS, write_bayes_db
from tests.web.conftest import TOKEN, serving
from tests.week import START, Week, with_training

pytestmark = pytest.mark.slow

EARLIER = START.edits["Alpha"][0]
LATER = frozenset(
    Edit(120 + i, f"a later edit number {i} of the {word}", i % 2 == 0)
    for i, word in enumerate(["stream", "brook", "creek", "pond"])
)


@pytest.fixture
def week(site: Site, tmp_path: Path) -> Iterator[Week]:
    """The morning of the first day: edits to be trained on, an empty store."""
    root = tmp_path / "served"
    root.mkdir()
    (site.base / ".kube").mkdir()
    (site.base / ".kube" / "config").write_text("kind: Config\n")  # which is not needed here
    with review_service() as review, ExitStack() as stack:
        review.lists(START.edits)
        made = Week(site, review, stack, stack.enter_context(serving(root)))
        made.change(START)
        yield made


def check_whole(week: Week) -> None:
    """Every instance is whole: each of its files comes with the bytes that it tells of."""
    for name, instances in week.instances.items():
        for instance in instances:
            at = f"{quote(name)}/{quote(instance)}"
            told = week.ask(f"{at}/")
            assert told["whole"], told
            for path, digest in told["instance"]["files"].items():
                content = requests.get(f"{week.service.url}/{at}/{path}", timeout=10).content
                assert hashlib.sha256(content).hexdigest() == digest, (name, instance, path)


def check_disk(root: Path) -> None:
    """The disk holds blobs under their digest, records of what is there, and no scrap."""
    blobs = {path.name: path for path in root.glob("cas/*/*")}
    assert all(
        hashlib.sha256(path.read_bytes()).hexdigest() == name for name, path in blobs.items()
    )
    for path in root.glob("ac/*/*"):
        record = json.loads(path.read_bytes())
        needed = {artifact["digest"] for artifact in record["artifacts"]} | {record["log"]} - {None}
        assert needed <= set(blobs), path
    assert list(root.rglob("*.part")) == []


def size_of(root: Path) -> int:
    """How many bytes the store has."""
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


def check_nothing_is_idle(root: Path) -> None:
    """Every blob is one that an instance, a record or a build's summary refers to."""
    texts = [path.read_text() for path in root.rglob("*.json")]
    texts += [path.read_text() for path in root.glob("ac/*/*")]
    referred = set(re.findall("[0-9a-f]{64}", "".join(texts)))
    assert {path.name for path in root.glob("cas/*/*")} <= referred


def prune_and_miss_nothing(week: Week) -> None:
    """What is no longer needed goes, and the next build does not miss it."""
    stays = {name: week.staying(name, instances) for name, instances in week.instances.items()}
    before = size_of(week.service.root)
    age(week.service.root, 2 * 86400)
    pruned = week.prune()
    assert pruned.status == 0, pruned
    assert week.instances == stays
    assert size_of(week.service.root) < before
    check_whole(week)
    check_disk(week.service.root)
    check_nothing_is_idle(week.service.root)
    ended = week.day()
    assert (ended.status, week.site.own_calls) == (0, []), ended
    assert week.instances == stays


def age(root: Path, seconds: float) -> None:
    """Have everything in the store be so much older: pruning leaves alone what is young."""
    for path in root.rglob("*"):
        then = path.lstat().st_mtime - seconds
        os.utime(path, (then, then), follow_symlinks=False)


def check_published(week: Week) -> None:
    """Every edit set has as many instances as it has meant something new, and all are whole."""
    built = {name: len(instances) for name, instances in week.instances.items()}
    assert built == {name: len(meanings) for name, meanings in week.published.items()}
    check_whole(week)
    check_disk(week.service.root)


def all_is_built(week: Week) -> None:
    """Everything is built, once."""
    assert len(week.good_day()) == 18


def edits_arrive_that_nobody_has_reviewed(week: Week) -> None:
    """Alpha gets more edits to be trained on, without a verdict: nothing changes."""
    unreviewed = frozenset(replace(each, vandalism=None) for each in LATER)
    week.change(with_training(week.world, "Alpha", EARLIER | unreviewed))
    assert week.good_day() == []


def they_are_reviewed_but_the_review_service_is_down(week: Week) -> None:
    """There is something to build, and nobody to hear of it from."""
    week.change(with_training(week.world, "Alpha", EARLIER | LATER))
    week.review.is_down = True
    ended = week.day()
    assert (ended.status, week.site.own_calls) == (3, []), ended
    week.review.is_down = False


def the_file_service_is_restarted_in_the_middle_of_the_build(week: Week) -> None:
    """The review service is back; what it tells of is built once all the same."""
    wanted = week.ledger.build(week.world)
    week.site.behave(ann_train={"sleep": 2})
    with week.coordinator() as process:
        week.site.wait_for_call("ann_train")
        week.restart()
        out, _ = process.communicate(timeout=120)
    week.site.behave()
    assert process.returncode == 0, out
    assert sorted(week.site.own_calls) == sorted(wanted) != []
    week.enter_published()


def edits_are_reclassified_and_the_coordinator_is_killed_on_the_way(week: Week) -> None:
    """Beta is trained anew, up to the network."""
    reviewed_again = frozenset(
        replace(each, vandalism=not each.vandalism) for each in week.world.edits["Beta"][0]
    )
    week.change(with_training(week.world, "Beta", reviewed_again))
    wanted = week.ledger.build(week.world, until="create_ann")
    week.site.behave(create_ann={"sleep": 60})
    process = week.coordinator()
    week.site.wait_for_call("create_ann")
    kill_hard(process)
    week.site.behave()
    wait_until(lambda: not processes_in(week.site.base))
    assert week.site.own_calls == wanted
    week.site.forget_calls()


def the_next_goes_on_where_it_was_killed(week: Week) -> None:
    """It trains nothing twice."""
    assert week.good_day() == ["create_ann", "trial_run"]


def the_core_is_another(week: Week) -> None:
    """All is built again."""
    week.change(replace(week.world, program="new"))
    assert len(week.good_day()) == 18


def core_and_edits_are_what_they_were(week: Week) -> None:
    """The new core was no better: with the old one, and without the later edits, all is known."""
    week.change(replace(with_training(week.world, "Alpha", EARLIER), program=""))
    assert week.good_day() == []


def nothing_is_left_to_do(week: Week) -> None:
    """A day on which nothing has changed."""
    ended = week.day()
    assert (ended.status, week.site.own_calls) == (0, []), ended


def test_a_week_of_scheduled_builds(week: Week):
    """
    What is built is exactly what has to be built, whatever happens on the way.

    At the end every instance is whole, there are exactly as many as there should be, and the disk
    holds no scrap; when the store has been kept small, nothing is missed.
    """
    all_is_built(week)  # Monday
    edits_arrive_that_nobody_has_reviewed(week)  # Tuesday
    they_are_reviewed_but_the_review_service_is_down(week)  # Wednesday
    the_file_service_is_restarted_in_the_middle_of_the_build(week)  # Thursday
    edits_are_reclassified_and_the_coordinator_is_killed_on_the_way(week)  # Friday
    the_next_goes_on_where_it_was_killed(week)  # Saturday
    the_core_is_another(week)  # Sunday
    core_and_edits_are_what_they_were(week)  # Monday
    nothing_is_left_to_do(week)  # Tuesday

    check_published(week)
    prune_and_miss_nothing(week)


def test_terminated_coordinator_leaves_the_rest_to_the_next_day(week: Week):
    """A job that is out of time is asked to stop: it does, and the next day builds the rest."""
    wanted = week.ledger.build(week.world)
    week.site.behave(create_ann={"sleep": 60})
    process = week.coordinator()
    week.site.wait_for_call("create_ann")

    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)

    assert process.returncode == 143, out
    week.site.behave()
    assert week.day().status == 0
    assert sorted(week.site.own_calls) == sorted([*wanted, "create_ann"])
    check_whole(week)


def test_coordinator_ends_within_its_time_and_leaves_the_rest_to_the_next_day(week: Week):
    """What cannot end by the deadline is left alone; but for the step at work nothing is lost."""
    wanted = week.ledger.build(week.world)
    week.site.behave(create_ann={"sleep": 120})
    week.settings["CBNG_DEADLINE"] = "20"
    began = time.monotonic()
    ended = week.day()

    assert ended.status == 14, ended
    assert time.monotonic() - began < 60
    assert "is left to the next build: CBNG_DEADLINE" in ended.out
    week.site.behave()
    week.settings.clear()
    assert week.day().status == 0
    twice = Counter(week.site.own_calls) - Counter(wanted)
    assert Counter(wanted) <= Counter(week.site.own_calls)
    assert twice.total() <= 1
    check_whole(week)


CALLED_FOR = {
    "bayes-train": "bayes_train", "bayes-db": "bayes.db", "two-bayes-db": "two_bayes.db",
    "ann-train": "ann_train", "ann": "create_ann", "trial": "trial_run",
}  # fmt: skip
"""What a job is called after → what the core is called for in it."""


def by_jobs(week: Week, standin: JobsStandin, digit: str) -> list[str]:
    """Build for a day by jobs, in the image with a digest of that digit; what was called for."""
    image = f"tools-harbor.wmcloud.org/tool-cluebotng/core:latest@sha256:{digit * 64}"
    week.settings["CBNG_CORE_IMAGE"] = image
    before = len(standin.made)
    ended = week.day()
    assert ended.status == 0, ended
    names = [name.removeprefix("cbng-").rpartition("-")[0] for name in standin.names()[before:]]
    return sorted(CALLED_FOR[name] for name in names if not name.startswith(RIVALS))


def ship_models(core: Path) -> None:
    """Put models into *core*, as the image of the real one has them."""
    (core / "data").mkdir()
    for name in ("bayes.db", "two_bayes.db"):
        write_bayes_db(core / "data" / name, [TOTALS])
    (core / "data" / "main_ann.fann").write_bytes(NETWORK)


def test_image_changes_and_changes_back(week: Week, tmp_path: Path):
    """With another image all is built again, once, by jobs; with the one before nothing is."""
    printing = week.site.core / "print_bayes_db"
    printing.unlink()
    printing.symlink_to(ENGINE / "bin" / printing.name)
    ship_models(week.site.core)
    with jobs_standin(tmp_path, week.site.core, FILE_API_KEY=TOKEN) as standin:
        standin.names_of = {"http://store.invalid": week.service.url}
        week.settings = {
            "CBNG_DISPATCH": "jobs", "CBNG_CORE": "", "TOOL_TOOLFORGE_API_URL": standin.url,
            "CBNG_STORE_URL_IN_PODS": "http://store.invalid",
            "K8S_CLIENT_CRT": "certificate", "K8S_CLIENT_KEY": "key",
        }  # fmt: skip
        first = by_jobs(week, standin, "1")
        other = by_jobs(week, standin, "2")
        back = by_jobs(week, standin, "1")

    assert first == sorted(week.ledger.build(START))
    assert other == sorted(week.ledger.build(replace(START, program="other")))
    assert back == week.ledger.build(START) == []
    assert any(name.startswith("cbng-reference-") for name in standin.names())
    check_whole(week)
    check_disk(week.service.root)
