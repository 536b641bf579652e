"""The one place for compile options; every compiled function uses one of these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
from numba import extending
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import NativeLowering

from fastsoftmax.kernels.compile.cache import keep

Function = TypeVar("Function", bound=Callable[..., Any])

if numba.config.DISABLE_JIT:
    raise ImportError(
        "fastsoftmax is compiled by Numba, and the setting NUMBA_DISABLE_JIT forbids that: unset it"
    )


class _HelperLibrary(JITCodeLibrary):  # type: ignore[misc]
    """LLVM's code of a helper, for kernels to link.

    Numba optimises each library with all that is linked into it and makes machine code of that.
    Python calls no helper, so both are left to the kernels.
    """

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


@register_pass(mutates_CFG=True, analysis_only=False)
class _HelperLowering(NativeLowering):  # type: ignore[misc]
    """The step of Numba's compiler that makes LLVM's code, into such a library."""

    _name = "helper_lowering"

    def run_pass(self, state: Any) -> bool:
        name = state.func_id.func_qualname
        state.library = _HelperLibrary(state.targetctx.codegen(), name)
        state.flags.no_compile = True
        super().run_pass(state)
        # Numba knows a function by its machine code; any other builtin serves as well for a key
        key: Any = [].append
        state.targetctx.insert_user_function(key, state.cr.fndesc, [state.library])
        state.cr = state.cr._replace(cfunc=key)
        return True


class _HelperCompiler(CompilerBase):  # type: ignore[misc]
    """Numba's compiler, with that step."""

    def define_pipelines(self) -> list[Any]:
        steps = DefaultPassBuilder.define_nopython_pipeline(self.state)
        steps.passes = [
            (_HelperLowering if step is NativeLowering else step, name)
            for step, name in steps.passes
        ]
        steps.finalize()
        return [steps]


# What only compiled code calls needs no wrappers, which cost 10 to 20 ms of compilation each.
_HELPER = {
    "pipeline_class": _HelperCompiler,
    "error_model": "numpy",
    "nogil": True,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "_nrt": True,  # said, or else a helper takes it from whoever calls it first
}


def jit(function: Function) -> Function:
    """Compile a row or tile helper, which only compiled code calls, and whose cache holds it."""
    return numba.njit(**_HELPER)(function)


def jit_borrowing(function: Function) -> Function:
    """As `jit`, for a helper that makes no array: it counts no references to those it gets.

    Counts are locked instructions, which wait for the loads before them, and for other threads'.
    What it calls must be inlined or return no array: a reference returned is never given back.
    """
    return numba.njit(**{**_HELPER, "_nrt": False})(function)


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
    return _kept(function, {"_nrt": False})


def _kept(function: Function, options: dict[str, Any]) -> Function:
    compiled: Function = numba.njit(nogil=True, error_model="numpy", **options)(function)
    keep(compiled, function)
    return compiled
