"""Numba's compiler for helpers: it stops at LLVM's code, of which kernels make machine code.

It stands on Numba's internals, so it is tried out before it is used, by `works`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numba
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import NativeLowering

from fastsoftmax.kernels.compile import plain


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


class _Untried(CompilerBase):  # type: ignore[misc]
    """Numba's compiler, with that step."""

    def define_pipelines(self) -> list[Any]:
        steps = DefaultPassBuilder.define_nopython_pipeline(self.state)
        steps.passes = [
            (_HelperLowering if step is NativeLowering else step, name)
            for step, name in steps.passes
        ]
        steps.finalize()
        return [steps]


class HelperCompiler(_Untried):
    """The same where it works, else Numba's own."""

    def define_pipelines(self) -> list[Any]:
        if works():
            return super().define_pipelines()
        return [DefaultPassBuilder.define_nopython_pipeline(self.state)]


@cache
def works() -> bool:
    """Whether a helper of a helper comes out right, in some 50 ms."""

    @numba.njit(pipeline_class=_Untried)
    def twice(x):  # type: ignore[no-untyped-def]
        return x + x

    @numba.njit(pipeline_class=_Untried)
    def four_times(x):  # type: ignore[no-untyped-def]
        return twice(twice(x))

    @numba.njit
    def kernel(x):  # type: ignore[no-untyped-def]
        return four_times(x) + twice(x)

    try:
        if kernel(1.5) != 9.0:
            raise ValueError("wrong results")
    except Exception as error:
        plain.note(plain.HELPERS, error)
        return False
    return True
