"""What goes wrong on the command line, and with which exit code it ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# What the extra `[cli]` installs.
EXTRA = {"click", "polars", "pyarrow", "rich", "sklearn", "typer"}


class UsageError(ValueError):
    """The command cannot be carried out as it was given: exit code 2."""


class DataError(ValueError):
    """The user's file does not hold what is needed; the text is one clear line. Exit code 1."""


def listed(names: Sequence[Any]) -> str:
    """The first of them, and how many more there are."""
    shown = ", ".join(map(repr, names[:8]))
    return shown + (f" and {len(names) - 8} more" if len(names) > 8 else "")
