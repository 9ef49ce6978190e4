"""
Make the sample: a stand-in review service on disk, with edits of articles that do not exist.

    python sample/make_sample.py            # writes edit-groups.json and dumps/{id}.xml.gz here

``writing/`` writes the edits, from a small grammar (``phrases.toml``) and a table of what people do
to articles, for better (``GOOD``) and for worse (``BAD``). Who edits, when, and with what comment
leans the same way as the text but overlaps, as it does in real life: some vandals have accounts,
many honest editors have none, some vandalism reads like an encyclopedia, some honest prose is
clumsy, and a few labels are wrong. The same seed gives the same bytes.
"""

import argparse
import gzip
import json
import random
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from sample.writing.edits import Edit, edits  # noqa: E402 - found by the line above
from sample.writing.grammar import Grammar  # noqa: E402
from sample.writing.groups import GROUPS, Group  # noqa: E402

SEED = 6  # any number would do
OVERLAP = 6  # edits of the 50/50 training group that are in its trial group again


def xml(name: str, value: object, depth: int = 0) -> str:
    """Return the element *name* with *value*, which is a text, a number or a dict of children."""
    indent = " " * depth
    if isinstance(value, dict):
        children = "".join(xml(child, inner, depth + 1) for child, inner in value.items())
        return f"{indent}<{name}>\n{children}{indent}</{name}>\n"
    text = escape(str(value), {'"': "&quot;"})
    return f"{indent}<{name}>{text}</{name}>\n" if text else f"{indent}<{name}/>\n"


def dump(members: Sequence[Edit]) -> bytes:
    """Return the dump of an edit group, as the review service streams it."""
    body = "".join(xml("WPEdit", edit) for edit in members)
    return f'<?xml version="1.0"?>\n<WPEditSet>\n{body}</WPEditSet>\n'.encode()


def dumps(seed: int) -> Iterator[tuple[Group, bytes]]:
    """Yield every group with its dump; each has a seed of its own, so that none changes others."""
    phrases = tomllib.loads((HERE / "phrases.toml").read_text(encoding="utf-8"))
    seen: dict[int, list[Edit]] = {}
    for group in GROUPS:
        rng = random.Random(f"{seed}/{group.id}")
        members = list(edits(group, Grammar(rng, phrases["rules"]), phrases["topics"]))
        if group.type == "Trial" and group.related_to is not None:
            members[:OVERLAP] = seen[group.related_to][:OVERLAP]
            rng.shuffle(members)
        if group.type == "Training" and group.related_to is not None:
            seen[group.related_to] = members
        yield group, dump(members)


def edit_groups() -> str:
    """Return what ``GET /api/v1/edit-groups/`` answers."""
    rows = [
        {"id": group.id, "name": group.name, "related_to": group.related_to, "type": group.type}
        for group in GROUPS
    ]
    return json.dumps(rows, indent=2) + "\n"


def write_gzip(path: Path, data: bytes) -> None:
    """Write *data* compressed, without a name or a time, so that equal data gives equal bytes."""
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.write(data)


def main() -> None:
    """Write the sample."""
    parser = argparse.ArgumentParser(
        description="Make the sample: a stand-in review service on disk."
    )
    parser.add_argument(
        "--seed", type=int, default=SEED, help="another sample (default: %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, default=HERE, help="where to (default: beside this script)"
    )
    options = parser.parse_args()
    folder = options.out / "dumps"
    folder.mkdir(parents=True, exist_ok=True)
    (options.out / "edit-groups.json").write_text(edit_groups(), encoding="utf-8")
    for group, data in dumps(options.seed):
        write_gzip(folder / f"{group.id}.xml.gz", data)
        print(f"{group.id}.xml.gz: {group.edits} edits, {group.name}")


if __name__ == "__main__":
    main()
