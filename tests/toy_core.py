"""
A core in small, for tests of the build: the native programs' command lines, with little inside.

It is installed under the four programs' names (`conftest.install_toy_core`), and starts often:
what few calls need is imported there. Beside it lie
``calls.log``, one line per call, and ``behaviour.json``: what → how it misbehaves, where *what* is
the chain, the output's name, or the program:

    sleep     seconds before it does anything
    exit      leaves nothing and ends with this code
    child     starts a child of its own that sleeps this many seconds, first
    fill      fills the disk of this directory to its last byte, first
    spoil     path of an output → text that stands there instead
    note      text in each network, so that it gets other bytes
"""

import contextlib
import itertools
import os
import re
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


def edits() -> list[tuple[int, int, str]]:
    """EditID, 1 for vandalism or 0, current text, of each edit in canonical XML."""
    text = Path("edits.xml").read_text(encoding="utf-8")
    found = []
    for edit in re.findall(r"<WPEdit>.*?</WPEdit>", text, re.DOTALL):
        edit_id = re.search(r"<EditID>(\d+)<", edit)
        is_vandalism = "<isVandalism>true<" in edit
        current = re.search(r"<current>.*?<text>(.*?)</text>", edit, re.DOTALL)
        assert edit_id
        assert current
        found.append((int(edit_id[1]), int(is_vandalism), current[1]))
    return found


def words(text: str) -> list[str]:
    """Distinct words in byte order."""
    return sorted(set(re.findall("[a-z]+", text.lower())))


def bayes_train() -> None:
    """A block per edit in each file."""
    main, two = [], []
    for _, vandalism, text in edits():
        found = words(text)
        pairs = [f"{a} {b}" for a, b in itertools.pairwise(found)]
        main += [f"{vandalism} {word}" for word in ["_EDIT_TOTALS", *found]]
        two += [f"{vandalism} {word}" for word in ["_EDIT_TOTALS", *pairs]]
    Path("data/main_bayes_train.dat").write_text("\n".join(main) + "\n", encoding="utf-8")
    Path("data/two_bayes_train.dat").write_text("\n".join(two) + "\n", encoding="utf-8")


def create_bayes_db(out: str, source: str) -> None:
    """A database of all words, with a file id that differs each time."""
    from berkeleydb import db  # noqa: PLC0415 - see above

    counts: dict[bytes, list[int]] = {}
    for line in Path(source).read_bytes().splitlines():
        counts.setdefault(line[2:], [0, 0])[int(line[:1])] += 1
    base = db.DB()
    base.open(out, dbtype=db.DB_BTREE, flags=db.DB_CREATE)
    for word, (good, bad) in sorted(counts.items()):
        base.put(word, good.to_bytes(4, "little") + bad.to_bytes(4, "little"))
    base.close()


def print_bayes_db(path: str) -> None:
    """Every word of a database with its counts, but for the totals; the score is anything."""
    from berkeleydb import db  # noqa: PLC0415 - see above

    base = db.DB()
    base.open(path, flags=db.DB_RDONLY)
    for word, counts in base.items():
        good, bad = (int.from_bytes(counts[at : at + 4], "little") for at in (0, 4))
        if word != b"_EDIT_TOTALS":
            sys.stdout.buffer.write(b"%s 0.5 %d %d\n" % (word, good, bad))
    base.close()


def ann_train() -> None:
    """Two inputs an edit: the text's length, and the two databases' size."""
    size = sum(Path(f"data/{name}.db").stat().st_size for name in ("bayes", "two_bayes"))
    rows = [f"{len(text):.10f} {size:.10f}\n{vandal}" for _, vandal, text in edits()]
    text = "\n".join([f"{len(rows)} 2 1", *rows])
    Path("data/main_ann_train.dat").write_text(f"{text}\n", encoding="ascii")


def create_ann(out: str, source: str, *parameters: str) -> None:
    """A network whose weights are a hash of data, parameters and seed."""
    import hashlib  # noqa: PLC0415 - see above

    what = Path(source).read_bytes() + repr(parameters).encode()
    note = f"{how('create_ann').get('note', '')}"
    seed = os.environ["CBNG_SEED"]  # noqa: TID251 - the core's way to be told
    weights = hashlib.sha256(what + seed.encode() + note.encode()).hexdigest()
    connections = f"(0, {weights}) " * (3 * 4 + 5 * 1)
    Path(out).write_text(
        "FANN_FLO_2.1\nlayer_sizes=3 5 2 \n"
        f"connections (connected_to_neuron, weight)={connections}\n",
        encoding="ascii",
    )


def trial_run() -> None:
    """Scores by the text's length and the network's first weight."""
    network = Path("data/main_ann.fann").read_bytes()
    found = edits()
    offset = network[-5] % 7 / 100
    labels = ("false", "true")
    lines = [
        f"editid={i}, isvandalism={labels[v]}, score={len(t) % 90 / 100 + offset:.6g}"
        for i, v, t in found
    ]
    bad = sum(vandalism for _, vandalism, _ in found)
    out = Path("trialreport")
    (out / "details.txt").write_text("\n".join(lines) + "\n", encoding="ascii")
    (out / "report.txt").write_text(
        f"=== REPORT ===\nTrial set: {len(found)} Edits - {bad} vandalism\n"
        f"Correct positives: {bad} (100.0000% of vandal edits)\n",
        encoding="ascii",
    )
    for name in ("thresholdtable", "falsepositives", "falsenegatives"):
        (out / f"{name}.txt").write_text(f"# {name}\n", encoding="ascii")
    (out / "debug.xml").write_text("<WPEditSet>\n</WPEditSet>\n", encoding="ascii")


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with contextlib.suppress(OSError), path.open("ab", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


def how(what: str) -> dict[str, object]:
    """How *what* misbehaves."""
    path = HERE / "behaviour.json"
    if not path.exists():
        return {}
    import json  # noqa: PLC0415 - see above

    behaviour: dict[str, dict[str, object]] = json.loads(path.read_text(encoding="utf-8"))
    return behaviour.get(what, {})


def main(program: str, arguments: list[str]) -> int:
    """Log the call, misbehave as told, do the work; what only prints is no call of a step."""
    if program == "print_bayes_db":
        print_bayes_db(*arguments)
        return 0
    is_core = program == "cluebotng"
    what = arguments[3] if is_core else arguments[0].removeprefix("data/")
    what = "create_ann" if program == "create_ann" else what
    with (HERE / "calls.log").open("a", encoding="utf-8") as calls:
        calls.write(f"{what} {os.getpid()} {os.getcwd()}\n")  # noqa: PTH109 - for people
    behaviour = how(what)
    if child := behaviour.get("child"):
        os.spawnlp(os.P_NOWAIT, "sleep", "sleep", str(child))
    time.sleep(float(str(behaviour.get("sleep", 0))))
    if full := behaviour.get("fill"):
        fill(Path(str(full)) / ".filler")
    if "exit" in behaviour:
        print(f"toy core: {what} fails as told")
        return int(str(behaviour["exit"]))
    if is_core:
        {"bayes_train": bayes_train, "ann_train": ann_train, "trial_run": trial_run}[what]()
    elif program == "create_ann":
        create_ann(*arguments)
    else:
        create_bayes_db(*arguments)
    spoilt = behaviour.get("spoil", {})
    assert isinstance(spoilt, dict)
    for path, text in spoilt.items():
        Path(path).write_text(text, encoding="utf-8")
    if number := behaviour.get("signal"):
        os.kill(os.getpid(), int(str(number)))
    print("Processed as told.")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[0]).name, sys.argv[1:]))
