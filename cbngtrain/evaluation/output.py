"""Results that appear all together or not at all."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from cbngtrain.evaluation.errors import EvaluationError


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """
    Yield an empty folder whose files are moved to *out* only when the block ends well.

    It lies in *out*, which is made, so each file is moved by renaming. What else is in *out*
    stays; if the block raises, nothing is left.

    Raises:
        EvaluationError: A file cannot be written.
    """
    try:
        is_new = not out.exists()
        out.mkdir(parents=True, exist_ok=True)
        part = Path(mkdtemp(prefix=".part-", dir=out))
    except OSError as error:
        raise EvaluationError(f"{out}: cannot be written: {error.strerror or error}") from error
    try:
        yield part
        for path in sorted(part.iterdir()):
            path.replace(out / path.name)
    except OSError as error:
        raise EvaluationError(f"{out}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if is_new and not any(out.iterdir()):
            out.rmdir()


def json_text(value: Any) -> str:
    """Return *value* as JSON for people and programs. Raises ValueError for a NaN in it."""
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
