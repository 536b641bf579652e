"""What goes wrong while rows are read."""

from __future__ import annotations

from typing import Any


class SourceError(RuntimeError):
    """A source could not be read to its end; raised from what went wrong.

    Attributes
    ----------
    result : FitResult, PathResult, SGDResult or None
        What a training under way had learnt by then.
    """

    def __init__(self, text: str, result: Any = None) -> None:
        super().__init__(text)
        self.result = result

    def __reduce__(self) -> Any:
        return type(self), (self.args[0], self.result)


class SourceChangedError(SourceError, ValueError):
    """A later pass over a source found other rows than the first."""
