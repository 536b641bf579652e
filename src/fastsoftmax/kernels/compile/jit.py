"""The one place for compile options; every compiled function uses one of these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
from numba import extending
from numba.core.registry import cpu_target

from fastsoftmax.kernels.compile import plain
from fastsoftmax.kernels.compile.cache import keep

Function = TypeVar("Function", bound=Callable[..., Any])

if numba.config.DISABLE_JIT:
    raise ImportError(
        "fastsoftmax is compiled by Numba, and the setting NUMBA_DISABLE_JIT forbids that: unset it"
    )

# What only compiled code calls needs no wrappers, which cost 10 to 20 ms of compilation each.
_HELPER: dict[str, Any] = {
    "error_model": "numpy",
    "nogil": True,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "_nrt": True,  # said, or else a helper takes it from whoever calls it first
}
_BORROWING: dict[str, Any] = {"_nrt": False}

try:
    _unknown = [name for name in _HELPER if not hasattr(cpu_target.options, name)]
    if _unknown:
        raise AttributeError(f"no options {', '.join(_unknown)}")
except AttributeError as error:
    plain.note("compiled without private options, which is slower", error)
    _HELPER = {"error_model": "numpy", "nogil": True}
    _BORROWING = {}

try:
    from fastsoftmax.kernels.compile import helpers
except Exception as error:
    plain.note(plain.HELPERS, error)
    helpers = None  # type: ignore[assignment]
else:
    _HELPER["pipeline_class"] = helpers.HelperCompiler


def warnings() -> tuple[str, ...]:
    """What is lost with this version of Numba, as far as it is known by now."""
    if helpers is not None:
        helpers.works()
    return plain.notes()


def jit(function: Function) -> Function:
    """Compile a row or tile helper, which only compiled code calls, and whose cache holds it."""
    return numba.njit(**_HELPER)(function)


def jit_borrowing(function: Function) -> Function:
    """As `jit`, for a helper that makes no array: it counts no references to those it gets.

    Counts are locked instructions, which wait for the loads before them, and for other threads'.
    What it calls must be inlined or return no array: a reference returned is never given back.
    """
    return numba.njit(**{**_HELPER, **_BORROWING})(function)


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
    return _kept(function, {})


def jit_callable_borrowing(function: Function) -> Function:
    """As `jit_callable` and `jit_borrowing`: all arrays are the caller's."""
    return _kept(function, _BORROWING)


def _kept(function: Function, options: dict[str, Any]) -> Function:
    compiled: Function = numba.njit(nogil=True, error_model="numpy", **options)(function)
    keep(compiled, function)
    return compiled
