"""
An evaluation in small, for tests of the build: its command lines, with little inside.

It takes the place of ``cbngtrain/evaluation`` in a copy of the package (`conftest.toy_trainer`),
since the real one draws for seconds. Its calls are told in ``~/evaluations.log``, one a line: the
program and the files it found.
"""

import argparse
import hashlib
import json
import struct
import sys
import zlib
from pathlib import Path

PLOTS = ("falsepositives", "thresholds", "roc", "precision-recall", "scores", "calibration")


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def picture(grey: int) -> bytes:
    """A PNG of one pixel."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    pixel = chunk(b"IDAT", zlib.compress(bytes([0, grey])))
    return b"\x89PNG\r\n\x1a\n" + header + pixel + chunk(b"IEND", b"")


def draw(out: Path, prefix: str, what: bytes) -> None:
    """Pictures that are others where *what* is other."""
    for name in PLOTS:
        (out / f"{prefix}{name}.png").write_bytes(picture(what[0]))
        (out / f"{prefix}{name}.svg").write_text(f"<svg><desc>{what.hex()}</desc></svg>\n")


def digest(*texts: bytes) -> bytes:
    """What stands for all of *texts*."""
    return hashlib.sha256(b"\0".join(sorted(texts))).digest()


def scores(path: Path) -> list[bytes]:
    """The lines of a trial's details."""
    return sorted(path.read_bytes().splitlines())


def report(arguments: argparse.Namespace) -> None:
    """Figures that are a digest of what was scored."""
    lines = scores(arguments.details)
    what = digest(*lines, arguments.edit_set.encode(), repr(arguments.share).encode())
    value = {
        "format": "cbngtrain/metrics",
        "version": 1,
        "edit_set": arguments.edit_set,
        "share": arguments.share,
        "counts": {"edits": len(lines), "constructive": len(lines)},
        "overlap": {"edits": 0},
        "at_rates": [{"rate": 0.001, "enough_constructive": True}],
        "digest": what.hex(),
    }
    (arguments.out / "metrics.json").write_text(json.dumps(value))
    draw(arguments.out, "", what)


def compare(arguments: argparse.Namespace) -> None:
    """What was compared, as digests."""
    found = sorted(arguments.references.glob("*.txt"))
    comparisons = [
        {
            "name": path.stem,
            "names": {"new": "this network", "reference": path.stem},
            "at_rates": [
                {
                    "rate": 0.001,
                    "enough_constructive": True,
                    "new": {"threshold": 0.9},
                    "difference": {"value": 0.02, "low": 0.01, "high": 0.03},
                }
            ],
            "network": hashlib.sha256(path.with_suffix(".fann").read_bytes()).hexdigest(),
            "scores": digest(*scores(path)).hex(),
        }
        for path in found
    ]
    value = {
        "format": "cbngtrain/comparison",
        "version": 1,
        "network": hashlib.sha256(arguments.network.read_bytes()).hexdigest(),
        "scores": digest(*scores(arguments.details)).hex(),
        "comparisons": comparisons,
        "spread": (arguments.references / "spread.json").exists(),
    }
    text = json.dumps(value)
    (arguments.out / "comparison.json").write_text(text)
    (arguments.out / "comparison.md").write_text(f"# {text}\n")
    draw(arguments.out, "comparison-", digest(text.encode()))


def spread(arguments: argparse.Namespace) -> None:
    """The seeds, and what was scored for each."""
    found = {int(path.stem): path for path in arguments.seeds.glob("*.txt")}
    value = {
        "format": "cbngtrain/spread",
        "version": 1,
        "seeds": sorted(found),
        "scores": [digest(*scores(found[seed])).hex() for seed in sorted(found)],
    }
    (arguments.out / "spread.json").write_text(json.dumps(value))
    print(f"seeds {sorted(found)}")


def main(program: str, words: list[str]) -> int:
    """Log the call, do the work."""
    with (Path.home() / "evaluations.log").open("a", encoding="utf-8") as calls:
        found = sorted(str(path) for path in Path().rglob("*") if path.is_file())
        calls.write(f"{program} {' '.join(found)}\n")
    parser = argparse.ArgumentParser()
    for option in ("--details", "--train-ids", "--network", "--references", "--seeds", "--out"):
        parser.add_argument(option, type=Path)
    parser.add_argument("--edit-set")
    parser.add_argument("--share", type=float)
    arguments, _ = parser.parse_known_args(words)
    {"report": report, "compare": compare, "spread": spread}[program](arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
