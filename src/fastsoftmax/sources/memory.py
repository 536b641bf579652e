"""The budget of memory, and how it is shared out."""

from __future__ import annotations

import re
from typing import Any

from fastsoftmax import validation as check

_UNITS = {"": 1, "B": 1}
_UNITS |= {f"{p}B": 1000**i for i, p in enumerate("KMGT", 1)}
_UNITS |= {f"{p}IB": 1024**i for i, p in enumerate("KMGT", 1)}

# Windows that are in memory at once: one is computed with, one waits, one is read.
BUFFERS = 3


def parse(value: Any, name: str) -> int:
    """Bytes, of a whole number or of text such as "512MB" (a million bytes) or "2GiB" (2**30)."""
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([A-Za-z]*)\s*", value)
        if match is None or match[2].upper() not in _UNITS:
            raise ValueError(
                f"{name} must be a number of bytes or text such as '512MB' or '2GiB', got {value!r}"
            )
        value = int(float(match[1]) * _UNITS[match[2].upper()])
    return check.integer(value, name, 1)


def shown(size: float) -> str:
    """A number of bytes as `parse` takes it, rounded up."""
    for unit in ("TB", "GB", "MB", "KB"):
        if size >= _UNITS[unit]:
            return f"{-(-size // (_UNITS[unit] / 10)) / 10:g}{unit}"
    return f"{size:.0f}B"


def kept(memory: int) -> int:
    """Bytes of rows that are kept in memory whole; more than these are read window by window."""
    return memory // 2


def batch_rows(memory: int, row_bytes: int) -> int:
    """Rows that are decoded at once: a sixteenth of the budget, for there are copies."""
    return max(min(memory // 16 // max(row_bytes, 1), 65536), 1)


def window_rows(memory: int, row_bytes: int, step: int) -> int:
    """Rows of a window: a multiple of `step`, of which `BUFFERS` take half of the budget."""
    rows = memory // 2 // BUFFERS // row_bytes // step * step
    if rows == 0:
        least = 2 * BUFFERS * row_bytes * step
        raise ValueError(
            f"memory={shown(memory)!r} is too small for rows of {row_bytes} bytes, of which {step} "
            f"lie in each of {BUFFERS} windows: give at least memory={shown(least)!r}"
        )
    return rows
