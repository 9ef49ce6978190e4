"""Disks that are full: of the store, the checkout, the file service, or beside the build."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import Ended, Site, wait_until
from tests.ledger import STEPS
from tests.store_on_disk import check_store
from tests.web.conftest import TOKEN, serving

pytestmark = pytest.mark.slow


@contextmanager
def small_disk(path: Path, size: int = 16 << 20) -> Iterator[Path]:
    """Mount a file system of *size* bytes at *path*."""
    path.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "cbng-test", str(path)]
    mounted = subprocess.run(mount, check=False, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted: {mounted.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def leave_free(disk: Path, size: int) -> None:
    """Fill the disk until *size* bytes are left."""
    filler = disk / ".filler"
    filler.unlink(missing_ok=True)
    with filler.open("wb") as file:

        def is_filled() -> bool:
            now = os.statvfs(disk)
            if (more := now.f_bavail * now.f_frsize - size) <= 0:
                return True
            with suppress(OSError):  # who serves the disk may have taken some of it meanwhile
                os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, more)
            return False

        wait_until(is_filled)


STEP = 8 << 10  # bytes more, each time that nothing more was stored


@dataclass
class FullDisk:
    """A build whose disk fills up again and again, each time a little later."""

    site: Site
    disk: Path
    store: Path
    env: dict[str, str]
    failures: list[Ended] = field(default_factory=list)

    def build(self) -> Ended:
        """Build as far as it goes."""
        return self.site.run(env=self.env)

    def build_by_bits(self) -> None:
        """Build with a few free bytes, again and again, until a build comes to its end."""
        free = 0
        for _ in range(80):
            before = len(list(self.store.glob("*/*/*")))
            leave_free(self.disk, free)
            ended = self.build()
            check_store(self.store)
            if ended.status == 0:
                break
            self.failures.append(ended)
            if len(list(self.store.glob("*/*/*"))) == before:
                free += STEP
        (self.disk / ".filler").unlink()
        ended = self.build()
        assert ended.status == 0, ended
        assert self.build().lines[0].startswith("Nothing to do")
        check_store(self.store)
        assert len(list(self.store.glob("tree/*/latest/instance.json"))) == 2


def check_told(failures: list[Ended], statuses: set[int]) -> None:
    """Each failure has such an exit status, and one line for each reason."""
    assert len(failures) > 5
    for ended in failures:
        assert ended.status in statuses, ended
        assert "Traceback" not in ended.out, ended
        assert "No space left" in ended.out or "is full" in ended.out, ended


def test_full_disk_of_the_store(site: Site):
    """However far a build comes before the store's disk is full, the next goes on from there."""
    with small_disk(site.base / "disk") as disk:
        store = disk / "store"
        battle = FullDisk(site, disk, store, {"CBNG_STORE": str(store)})
        battle.build_by_bits()

    check_told(battle.failures, {13})


def test_full_disk_of_the_working_directory(site: Site):
    """Where references, scratch and doit's database fill a disk at any stage, it is told."""
    env = {"CBNG_REVIEW_URL": f"file:{site.review}"}
    failures = []
    with small_disk(site.base / "disk") as disk:
        for what in STEPS:
            shutil.rmtree(site.base / "store", ignore_errors=True)
            site.path = site.add_checkout(f"disk/{what}")
            site.behave(**{what.replace(".", "__"): {"fill": str(disk)}})
            failures.append(site.run(env=env))
            check_store(site.base / "store")
            (disk / ".filler").unlink()
            site.behave()
            ended = site.run(env=env)
            assert ended.status == 0, ended
            assert site.run(env=env).lines[0].startswith("Nothing to do")

    check_told(failures, {10, 13, 14})


@pytest.mark.parametrize("setting", ["CBNG_METRICS_FILE", "TMPDIR"])
def test_full_disk_beside_the_build(setting: str, site: Site):
    """Where only the numbers, or other programs' files, have no room the build ends right."""
    with small_disk(site.base / "disk") as disk:
        leave_free(disk, 0)
        numbers = disk / "cbng.prom"
        ended = site.run(env={setting: str(numbers if setting == "CBNG_METRICS_FILE" else disk)})
        assert [path.name for path in disk.iterdir()] == [".filler"]
        again = site.run()

    assert ended.status == 0, ended
    assert "Traceback" not in ended.out
    assert ("NOT KEPT: the numbers of this build" in ended.out) == (setting == "CBNG_METRICS_FILE")
    assert again.lines[0].startswith("Nothing to do")


def test_full_disk_can_be_pruned(site: Site):
    """Pruning needs no room to make room: where not a byte is free it takes what is idle."""
    with small_disk(site.base / "disk") as disk:
        env = {"CBNG_STORE": str(disk / "store")}
        assert site.run(env=env).status == 0
        idle = disk / "store" / "cas" / "ab" / f"ab{'0' * 62}"
        idle.parent.mkdir(exist_ok=True)
        idle.write_bytes(bytes(1 << 20))
        os.utime(idle, (0, 0))
        leave_free(disk, 0)
        pruned = site.run("cbng-trainer", "prune", env=env)
        (disk / ".filler").unlink()
        again = site.run(env=env)

    assert pruned.status == 0, pruned
    assert pruned.lines[-1].startswith("Freed 1.0 MB: 1 blob")
    assert again.lines[0].startswith("Nothing to do")


def test_build_wants_some_room_to_begin(site: Site):
    """Where the disk is full before the start one line says so."""
    with small_disk(site.base / "disk") as disk:
        site.path = site.add_checkout("disk/checkout")
        leave_free(disk, 4096)
        refused = site.run()

    assert refused.status == 3, refused
    assert len(refused.lines) == 1
    assert "No space left on device: a build needs 256 KB there at least" in refused.out


def test_full_disk_of_the_file_service(site: Site):
    """The same where the file service's disk is full: it answers 507, and goes on later."""
    with small_disk(site.base / "disk") as disk:
        store = disk / "store"
        store.mkdir()
        with serving(store) as running:
            env = {"CBNG_STORE_URL": running.url, "FILE_API_KEY": TOKEN}
            battle = FullDisk(site, disk, store, env)
            battle.build_by_bits()

    check_told(battle.failures, {13})
