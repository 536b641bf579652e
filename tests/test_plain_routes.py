"""A Numba whose internals are gone, or do otherwise: the same results, and a word in `diagnose`."""

from __future__ import annotations

import pytest

from fastsoftmax.kernels.compile import plain

GONE = """
from numba.core import caching, codegen, compiler_machinery, options, registry
del codegen.JITCodeLibrary, compiler_machinery.register_pass, caching.IndexDataCacheFile
(mixin,) = [base for base in registry.cpu_target.options.__mro__ if "_nrt" in vars(base)]
del mixin._nrt
"""

OTHERWISE = """
import numba
from numba.core import caching, ccallback, typed_passes

lower = typed_passes.NativeLowering.run_pass
def run_pass(self, state):
    if type(state.library).__name__ == "_HelperLibrary":
        raise TypeError("no such library")
    return lower(self, state)
typed_passes.NativeLowering.run_pass = run_pass

save = caching.Cache._save_overload
caching.Cache._key = caching.Cache._index_key
del caching.Cache._index_key
def _save_overload(self, sig, data):
    self._index_key = self._key  # by another name
    save(self, sig, data)
caching.Cache._save_overload = _save_overload

class CFunc(ccallback.CFunc):
    def __init__(self, function, signature, options):
        super().__init__(function, (signature.args, signature.return_type), {}, options)

def cfunc(signature, **options):
    def decorate(function):
        compiled = CFunc(function, signature, options)
        compiled.compile()
        return compiled
    return decorate
ccallback.CFunc, numba.cfunc = CFunc, cfunc
"""

PROGRAM = """
import numpy as np
import fastsoftmax as fs

P = np.arange(6000.0).reshape(-1, 3)
for n in (1, 2):
    with fs.num_threads(n):
        assert (fs.decide(P, [1, 1, 1]) == 2).all()
print(fs.diagnose())
"""

OPTIONS = "compiled without private options, which is slower"
LOOP = "the parallel loop is compiled in each process"
LOST = {
    "nothing": ("", set()),
    "gone": (GONE, {plain.CACHE, plain.HELPERS, OPTIONS}),
    "otherwise": (OTHERWISE, {plain.CACHE, plain.HELPERS, LOOP}),
}


@pytest.mark.parametrize(("change", "lost"), LOST.values(), ids=LOST)
def test_a_plain_route_is_taken(run_program, tmp_path, change, lost):
    variables = {"NUMBA_CACHE_DIR": tmp_path, "NUMBA_NUM_THREADS": 2}
    lines = run_program(change + PROGRAM, **variables).splitlines()
    warnings = [line.split(maxsplit=1)[1] for line in lines if line.startswith("warning ")]
    assert {text.split(" (")[0] for text in warnings} == lost
    assert len(warnings) == len(lost)


EVERY_CALL = """
import hashlib
from every_call import all_bits
print(hashlib.sha256(b"".join(all_bits().values())).hexdigest())
"""


@pytest.mark.exhaustive
@pytest.mark.parametrize("change", [GONE, OTHERWISE], ids=["gone", "otherwise"])
def test_every_function_gives_the_same_bits(run_program, change):
    """Each compiles everything: the cache is not to be had."""
    expected = run_program(EVERY_CALL, NUMBA_NUM_THREADS=2)
    assert run_program(change + EVERY_CALL, timeout=400, NUMBA_NUM_THREADS=2) == expected
