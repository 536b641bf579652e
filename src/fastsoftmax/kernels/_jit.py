"""The one place for compile options; every compiled function uses one of these three."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def _compile(function: Function, **options: Any) -> Function:
    try:
        return numba.njit(cache=True, nogil=True, error_model="numpy", **options)(function)
    except RuntimeError:  # no folder to cache in can be written: compile in every process
        return numba.njit(nogil=True, error_model="numpy", **options)(function)


def jit(function: Function) -> Function:
    """Compile a row or tile helper, which only compiled code calls.

    Its machine code is part of its callers', which are cached: it needs no wrappers for Python and
    no cache file of its own, which would outlive a change to a helper of its own.
    """
    return numba.njit(
        error_model="numpy", nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True
    )(function)


def jit_callable(function: Function) -> Function:
    """Compile a serial function that Python calls too."""
    return _compile(function)


def parallel_jit(function: Function) -> Function:
    """Compile a parallel driver: its `prange` runs over fixed blocks, each with one owner."""
    return _compile(function, parallel=True)
