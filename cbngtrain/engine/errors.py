"""
What goes wrong in the engine.

    EngineError            every error that the engine raises on purpose; exit status 2
    - FormatError          a file is not what its name says (path, and line or EditID)
"""

from pathlib import Path


class EngineError(Exception):
    """One sentence for the user: what failed, on what, what to do."""


class FormatError(EngineError):
    """A file is not what its name says."""

    def __init__(self, path: Path, where: str, problem: str) -> None:
        """
        Args:
            path: The file.
            where: ``line 12``, ``EditID 4711``, or empty where neither is known.
            problem: What is wrong with it.
        """
        self.path = path
        self.where = where
        self.problem = problem
        super().__init__(f"{path}: {where}: {problem}" if where else f"{path}: {problem}")
