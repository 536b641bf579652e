"""A library that has parallel Numba code of its own, and knows nothing of this one."""

from __future__ import annotations

import ctypes
from importlib import metadata

import numba


@numba.njit(parallel=True, nogil=True, cache=True)
def count(a):
    for i in numba.prange(a.size):
        a[i] += i


def load_tbb():
    path = next(str(file.locate()) for file in metadata.files("tbb") if file.name == "libtbb.so.12")
    ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
