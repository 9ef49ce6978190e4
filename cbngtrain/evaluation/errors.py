"""
What goes wrong in the evaluation.

    EvaluationError        every error that the evaluation raises on purpose; exit status 2
    - FormatError          a file is not what its name says (path and line)
"""

from pathlib import Path


class EvaluationError(Exception):
    """One sentence for the user: what failed, on what, what to do."""


class FormatError(EvaluationError):
    """A file is not what its name says."""

    def __init__(self, path: Path, line: int | None, problem: str) -> None:
        """
        Args:
            path: The file.
            line: Its line, from 1; None where the problem is the whole file's.
            problem: What is wrong with it.
        """
        self.path = path
        self.line = line
        self.problem = problem
        where = f"{path}: line {line}" if line else str(path)
        super().__init__(f"{where}: {problem}")
