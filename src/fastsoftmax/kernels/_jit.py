"""The one place for compile options; every compiled function here uses one of these two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., Any])

# Sums may be reordered and contracted into multiply-adds; NaN and infinity keep their meaning
# (fastmath=True would set nnan and ninf as well, and break both).
REASSOCIATE = {"nsz", "arcp", "contract", "afn", "reassoc"}


def _compile(function: Function, **options: Any) -> Function:
    options.update(nogil=True, error_model="numpy")
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder to cache in can be written: compile in every process
        return numba.njit(**options)(function)


def jit(function: Function) -> Function:
    """Compile a row or tile helper; floating-point operations stay in the order written."""
    return _compile(function)


def jit_reassociate(function: Function) -> Function:
    """Compile a helper whose sums LLVM may reorder, so that it can vectorise them."""
    return _compile(function, fastmath=REASSOCIATE)


def parallel_jit(function: Function) -> Function:
    """Compile a parallel driver: its `prange` runs over fixed blocks, each with one owner."""
    return _compile(function, parallel=True)
