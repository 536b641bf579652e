"""Files that may not change while they are read."""

from __future__ import annotations

import os

from fastsoftmax.sources.errors import SourceChangedError


class Unchanged:
    """Files as they were first seen."""

    def __init__(self, paths: list[str]) -> None:
        self._seen = {path: _state(path) for path in paths}

    def check(self) -> None:
        """Raise SourceChangedError if one is no longer what it was."""
        for path, seen in self._seen.items():
            try:
                same = _state(path) == seen
            except OSError as error:
                raise SourceChangedError(f"{path} was changed between passes: {error}") from None
            if not same:
                raise SourceChangedError(f"{path} was changed between passes")


def _state(path: str) -> tuple[int, int, int]:
    status = os.stat(path)
    return status.st_ino, status.st_size, status.st_mtime_ns
