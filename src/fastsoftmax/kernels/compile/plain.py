"""Notes of the plain routes, which a Numba takes whose inside has changed.

Numba promises to keep none of what the compiler of helpers, the cache and the parallel loop reach
into. Where a part of it is missing or fails, they do without: results are the same, compiling takes
longer. `diagnose` shows the notes.
"""

from __future__ import annotations

HELPERS = "helpers are compiled as functions of their own, which takes longer"
CACHE = "compiled code is not kept on disk: each process compiles anew"

_notes: dict[str, str] = {}


def note(consequence: str, error: Exception) -> None:
    """Keep what is lost, and the first reason for it."""
    _notes.setdefault(consequence, f"{consequence} ({type(error).__name__}: {error})")


def notes() -> tuple[str, ...]:
    """What was lost so far."""
    return tuple(_notes.values())
