"""What steps leave, in small: good and bad, and what is told of the bad; digests by other means."""

import hashlib
import subprocess
from collections.abc import Iterable
from pathlib import Path

from berkeleydb import db

from tests.toy_evaluation import picture


def sha256(text: bytes) -> str:
    """The digest of bytes."""
    return hashlib.sha256(text).hexdigest()


def shell(script: str, path: Path) -> str:
    """The sha256 that a pod's shell computes of *path*, which is ``$1``."""
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-euc", script, "bash", str(path)],
        check=True,
        capture_output=True,
        text=True,
    )
    return ended.stdout.split()[0]


def write_bayes_db(path: Path, counts: Iterable[tuple[bytes, bytes]]) -> Path:
    """Make a database."""
    path.unlink(missing_ok=True)
    base = db.DB()
    base.open(str(path), dbtype=db.DB_BTREE, flags=db.DB_CREATE)
    for word, value in counts:
        base.put(word, value)
    base.close()
    return path


def two(good: int, bad: int) -> bytes:
    """A database's value."""
    return good.to_bytes(4, "little") + bad.to_bytes(4, "little")


WORDS = b"1 _EDIT_TOTALS\n1 a\n1 b c\n0 _EDIT_TOTALS\n0 a\n"
ROWS = b"3 2 1\n0.5 0.25\n1\n0 -1.0\n0\n1 1\n0\n"
NETWORK = (
    b"FANN_FLO_2.1\nnum_layers=3\nlayer_sizes=3 3 2 \nconnections (connected_to_neuron, weight)="
    + b"(0, 1.5e-01) " * (3 * 2 + 3 * 1)
    + b"\n"
)
REPORT = b"=== REPORT ===\nTrial set: 3 Edits - 1 vandalism\nCorrect positives: 1 (90.0%)\n"
DETAILS = b"".join(b"editid=%d, isvandalism=true, score=0.5\n" % i for i in range(3))
METRICS = b'{"format": "cbngtrain/metrics", "version": 1, "counts": {"edits": 3}}'
PNG = picture(7)
SVG = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg">\n</svg>\n'

GOOD: list[tuple[str, bytes]] = [
    ("bayes-words", WORDS),
    ("bayes-words", b"0 _EDIT_TOTALS\n"),
    ("bayes-words", b"0 _EDIT_TOTALS\n0 \xff\r \x00\n"),
    ("ann-rows", ROWS),
    ("network", NETWORK),
    ("trial-report", REPORT),
    ("trial-report", REPORT.replace(b"- 1", b"- 0").replace(b"90.0", b"-nan")),
    ("trial-report", REPORT.replace(b"- 1", b"- 3").replace(b"90.0", b"nan")),
    ("trial-details", DETAILS),
    ("table", b"# False negatives\n"),
    ("table", b"# Threshold\n0.0000 1.0000 1.0000\n"),
    ("edit-set", b"<WPEditSet>\n<WPEdit></WPEdit>\n\n</WPEditSet>\n"),
    ("metrics", METRICS),
    ("png", PNG),
    ("svg", SVG),
]
"""Check, and text that passes it where a step with three edits has run."""

BAD: list[tuple[str, bytes, str]] = [
    ("bayes-words", b"", "out: is empty"),
    ("bayes-words", b"\0" * 100, "out: line 1: not a 0 or 1, a space and a word"),
    ("bayes-words", WORDS[:-1], "out: line 5: not a 0 or 1"),
    ("bayes-words", WORDS + b"\n", "out: line 6: not a 0 or 1"),
    ("bayes-words", WORDS + b"1", "out: line 6: not a 0 or 1"),
    ("bayes-words", WORDS + b"2 a\n", "out: line 6: not a 0 or 1"),
    ("bayes-words", WORDS + b"1 \n", "out: line 6: not a 0 or 1"),
    ("bayes-words", b"1 a\n" + WORDS, "out: line 1: does not begin with _EDIT_TOTALS"),
    ("bayes-words", WORDS * 2, "out: tells of 4 edits, but there are only 3"),
    ("ann-rows", b"", "out: is empty"),
    ("ann-rows", b"garbage", "out: line 1: not a header of three numbers"),
    ("ann-rows", b"9" * 5000 + b" 1 1\n", "out: line 1: not a header of three numbers"),
    ("ann-rows", ROWS.replace(b"3", b"2", 1), "out: line 1: 2 rows for 3 edits"),
    ("ann-rows", ROWS[:-1], "out: has 5 whole lines for 3 rows"),
    ("ann-rows", ROWS[:-3], "out: has 4 whole lines for 3 rows"),
    ("ann-rows", ROWS[:6], "out: has 0 whole lines for 3 rows"),
    ("ann-rows", ROWS + b"1\n", "out: has 7 whole lines for 3 rows"),
    ("ann-rows", ROWS + b"1", "out: has 6 whole lines for 3 rows"),
    ("ann-rows", ROWS.replace(b"0 -1.0", b"0"), "out: line 4: does not hold 2 numbers"),
    ("ann-rows", b"3 2 1\n0 0 0\n1\n0\n0\n1 1\n0\n", "out: line 2: does not hold 2 numbers"),
    ("ann-rows", ROWS.replace(b"1 1\n0\n", b"1 1\n\n"), "out: line 7: does not hold 1 numbers"),
    ("ann-rows", ROWS.replace(b"0.5", b"nan"), "out: holds more than numbers: b'nan'"),
    ("ann-rows", ROWS.replace(b"0.5", b"-inf"), "out: holds more than numbers: b'inf'"),
    ("network", b"", "out: is empty"),
    ("network", b"garbage", "out: is not a whole network"),
    ("network", NETWORK[13:], "out: is not a whole network"),
    ("network", NETWORK[: NETWORK.index(b"conn")], "out: is not a whole network"),
    ("network", NETWORK[:-1], "out: is not a whole network"),
    ("network", NETWORK.replace(b"layer_sizes=3 3 2 ", b""), "out: is not a whole network"),
    ("network", NETWORK.replace(b"(0, 1.5e-01) \n", b"\n"), "out: has 8 weights instead of 9"),
    ("network", NETWORK.replace(b"1.5e-01", b"-nan", 1), "out: has a weight that is no number"),
    ("network", NETWORK.replace(b"1.5e-01", b"inf", 1), "out: has a weight that is no number"),
    ("network", NETWORK.replace(b"3 3 2", b"4 3 2").replace(b"\n\n", b"") [:-1]
     + b"(0, 1) (0, 1) \n", "out: has 3 inputs and 1 outputs instead of 2 and 1"),
    ("trial-report", b"", "out: does not report on the 3 edits of the trial set"),
    ("trial-report", REPORT.replace(b"3 E", b"4 E"), "out: does not report on the 3 edits"),
    ("trial-report", REPORT.replace(b"90.0", b"-nan"), "out: a rate is no number"),
    ("trial-report", REPORT[:-1], "out: is cut before its last line"),
    ("trial-report", REPORT[:50], "out: is cut before its last line"),
    ("trial-details", b"", "out: is empty"),
    ("trial-details", DETAILS[:-1], "out: has 3 whole lines for 3 edits"),
    ("trial-details", DETAILS[: len(DETAILS) // 3], "out: has 1 whole lines for 3 edits"),
    ("trial-details", DETAILS * 2, "out: has 6 whole lines for 3 edits"),
    ("trial-details", DETAILS + b"oops\n", "out: has 3 whole lines for 3 edits"),
    ("trial-details", DETAILS.replace(b"0.5", b"-nan"), "out: line 1: a score is no number"),
    ("table", b"", "out: is not a whole table"),
    ("table", b"0.5 1 1\n", "out: is not a whole table"),
    ("table", b"# Threshold\n0.0000 1.00", "out: is not a whole table"),
    ("metrics", b"", "out: is empty"),
    ("metrics", METRICS[:-2], "out: is no cbngtrain/metrics: JSONDecodeError"),
    ("metrics", b"[]", "out: is no cbngtrain/metrics: TypeError"),
    ("metrics", METRICS.replace(b": 1,", b": 2,"), "out: is not cbngtrain/metrics in version"),
    ("metrics", METRICS.replace(b"cbngtrain/m", b"m"), "out: is not cbngtrain/metrics in"),
    ("metrics", METRICS.replace(b"3}", b"2}"), "out: tells of 2 edits, but 3 were scored"),
    ("metrics", METRICS.replace(b"3}", b"NaN}"), "out: has NaN, which is no number"),
    ("png", b"", "out: is no whole PNG"),
    ("png", PNG[:-1], "out: is no whole PNG"),
    ("png", PNG[:-12], "out: is no whole PNG"),
    ("png", PNG + b"x", "out: is no whole PNG"),
    ("png", PNG[1:], "out: is no whole PNG"),
    ("png", PNG.replace(b"IDAT", b"IDAX"), "out: is no whole PNG"),
    ("svg", b"", "out: is no whole SVG"),
    ("svg", SVG[:-3], "out: is no whole SVG"),
    ("svg", b"<html></svg>", "out: is no whole SVG"),
    ("edit-set", b"", "out: does not end with </WPEditSet>"),
    ("edit-set", b"<WPEditSet>" + b"x" * 500, "out: does not end with </WPEditSet>"),
    ("edit-set", b"<WPEditSet></WPEditSet>x", "out: does not end with </WPEditSet>"),
]  # fmt: skip
"""Check, text that fails it there, and what is told."""

TOTALS = (b"_EDIT_TOTALS", two(1, 1))
