"""Arrays that end, or begin, at a page which kills the process that touches it."""

from __future__ import annotations

import ctypes
import mmap

import numpy as np
from csr_rows import CSRRows

PAGE = mmap.PAGESIZE
_NONE, _READ, _WRITE = 0, 1, 2
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def _check(failed):
    if failed:
        raise OSError(ctypes.get_errno(), "the memory of the tests cannot be protected")


class Guard:
    """Guarded arrays, all of which are given back by `free`."""

    def __init__(self, at_end):
        self.at_end = at_end
        self._mapped = []

    def new(self, shape, dtype=float):
        """A C-contiguous array of zeros that touches a forbidden page on the chosen side."""
        dtype = np.dtype(dtype)
        shape = (shape,) if np.ndim(shape) == 0 else tuple(shape)
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        inner = max(-(-size // PAGE), 1) * PAGE
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        start = _libc.mmap(None, inner + 2 * PAGE, _NONE, flags, -1, 0)
        _check(start in (None, ctypes.c_void_p(-1).value))
        self._mapped.append((start, inner + 2 * PAGE))
        _check(_libc.mprotect(start + PAGE, inner, _READ | _WRITE))
        address = start + PAGE + (inner - size if self.at_end else 0)
        buffer = (ctypes.c_byte * size).from_address(address)
        return np.frombuffer(buffer, dtype, size // dtype.itemsize).reshape(shape)

    def read_only(self, array, layout="C"):
        """A copy that cannot be written, in a layout whose first and last items touch the pages."""
        array = np.asarray(array)
        shape = array.shape
        if layout == "F":
            view = self.new(shape[::-1], array.dtype).T
        elif layout == "rows":  # every third row, nothing after the last
            view = self.new((3 * shape[0] - 2, *shape[1:]), array.dtype)[::3]
        elif layout == "columns":
            view = self.new((*shape[:-1], max(2 * shape[-1] - 1, 0)), array.dtype)[..., ::2]
        elif layout == "reversed":
            view = self.new(shape, array.dtype)[(slice(None, None, -1),) * array.ndim]
        elif layout == "padded":  # a few columns of more, of which the last row has none
            row = shape[-1] + 3
            base = self.new(shape[0] * row - 3, array.dtype)
            view = np.lib.stride_tricks.as_strided(
                base, shape, (row * array.itemsize, array.itemsize)
            )
        else:
            view = self.new(shape, array.dtype)
        view[...] = array
        start, size = self._mapped[-1]
        _check(_libc.mprotect(start + PAGE, size - 2 * PAGE, _READ))
        view.flags.writeable = False
        return view

    def read_only_rows(self, array, random):
        """Sparse rows of an array (N, D): in order or not, with indices of either type."""
        order = random.random(array.shape) if random.random() < 0.5 else None
        rows, index = CSRRows.of(array, order), random.choice([np.int32, np.int64])
        parts = rows.data, rows.indices.astype(index), rows.indptr.astype(index)
        return CSRRows(array.shape, *map(self.read_only, parts))

    def free(self):
        for start, size in self._mapped:
            _check(_libc.munmap(start, size))
        self._mapped.clear()


class GuardedNumpy:
    """NumPy for a module of the package, its new arrays guarded."""

    def __init__(self, guard):
        self._guard = guard

    def __getattr__(self, name):
        return getattr(np, name)

    def empty(self, shape, dtype=float, order="C"):
        if order == "F":
            return self.empty(shape[::-1], dtype).T
        array = self._guard.new(shape, dtype)
        array[...] = 1 if array.dtype.kind in "bi" else np.nan  # what was never written shows
        return array

    def zeros(self, shape, dtype=float):
        return self._guard.new(shape, dtype)

    def full(self, shape, value, dtype=float):
        array = self._guard.new(shape, dtype)
        array[...] = value
        return array

    def empty_like(self, array):
        return self.empty(array.shape, array.dtype)
