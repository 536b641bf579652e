"""The one place for compile options; every compiled function uses one of these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
from numba import extending

from fastsoftmax.kernels._cache import keep

Function = TypeVar("Function", bound=Callable[..., Any])

if numba.config.DISABLE_JIT:
    raise ImportError(
        "fastsoftmax is compiled by Numba, and the setting NUMBA_DISABLE_JIT forbids that: unset it"
    )

# What only compiled code calls needs no wrappers, which cost 10 to 20 ms of compilation each.
_HELPER = {
    "error_model": "numpy",
    "nogil": True,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}


def jit(function: Function) -> Function:
    """Compile a row or tile helper, which only compiled code calls, and whose cache holds it."""
    return numba.njit(**_HELPER)(function)


def jit_counting_nothing(function: Function) -> Function:
    """As `jit`, for a helper that makes no array: it counts no references to those it gets."""
    return numba.njit(**_HELPER, _nrt=False)(function)


def jit_inline(function: Function) -> Function:
    """Compile a helper into each of its callers."""
    return numba.njit(inline="always", **_HELPER)(function)


def jit_also(function: Function) -> Function:
    """Leave a function as it is, and let compiled code call it too."""
    return extending.register_jitable(**_HELPER)(function)


def overload(function: Any, inline: str = "never") -> Any:
    """A call of `function` in compiled code gets what the decorated function returns for it."""
    return extending.overload(function, jit_options=_HELPER, inline=inline)


def jit_callable(function: Function) -> Function:
    """Compile a function that Python calls too, among them every kernel."""
    compiled = numba.njit(nogil=True, error_model="numpy")(function)
    keep(compiled, function)
    return compiled
