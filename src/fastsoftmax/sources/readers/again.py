"""Functions of the user's that begin a pass each time they are called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Again:
    """`start`, whose results must be new each time where they can be gone through only once."""

    def __init__(self, start: Callable[[], Any]) -> None:
        self._start = start
        self._last: Any = None
        self.name = getattr(start, "__qualname__", type(start).__name__)

    def __call__(self) -> Any:
        given = self._start()
        if given is self._last and hasattr(given, "__next__"):
            raise ValueError(
                f"{self.name} returned the iterator that was read before; it must begin a new pass "
                "each time, as a generator function does"
            )
        self._last = given
        return given
