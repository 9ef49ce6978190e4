"""
Prints what CHANGELOG.md says of a version, for its release.

    python3 .github/release_notes.py v1.2.3

The version must be pyproject.toml's. Exits with 1 where it is not, or nothing is said of it.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def notes(changelog: str, version: str) -> str:
    """Return the entries of *version*, without its heading; nothing where there are none."""
    heading = rf"(?m)^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$"
    found = re.split(heading, changelog, maxsplit=1)
    return re.split(r"(?m)^(?:## |\[)", found[1], maxsplit=1)[0].strip() if len(found) > 1 else ""


def main(tag: str, root: Path = ROOT) -> str:
    """Return what to print of *tag*. Raises SystemExit with a complaint."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    if tag != f"v{project['version']}":
        raise SystemExit(f"{tag}: pyproject.toml has version {project['version']}")
    told = notes((root / "CHANGELOG.md").read_text(encoding="utf-8"), project["version"])
    if not told:
        heading = f"## [{project['version']}] - YYYY-MM-DD"
        raise SystemExit(f"{tag}: CHANGELOG.md has nothing below {heading}")
    return told


if __name__ == "__main__":
    print(main(sys.argv[1]))  # noqa: T201 - a command line
