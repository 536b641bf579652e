"""How kernels see arrays: where they lie, how far apart their items are and of what type."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax.kernels.vectors.memory import Rows
from fastsoftmax.kernels.vectors.widening import narrow_item

Array = npt.NDArray[Any]


class _Items(dict[np.dtype[Any], Array]):
    """What tells a kernel the type of an array's items: see `Rows`."""

    def __missing__(self, dtype: np.dtype[Any]) -> Array:
        item = self[dtype] = narrow_item(dtype.name, not dtype.isnative)
        return item


_DENSE = (np.float32, np.float64, np.int64)
_ITEMS = _Items({np.dtype(dtype): np.empty(0, dtype) for dtype in _DENSE})


def as_rows(array: Array) -> Rows:
    """How a kernel sees a 2-D array. The caller keeps `array` alive while the kernel runs."""
    strides = array.strides
    return Rows(_ITEMS[array.dtype], _address(array), strides[0], strides[1])


def as_column(array: Array) -> Rows:
    """How a kernel sees a 1-D array: as (N, 1)."""
    return Rows(_ITEMS[array.dtype], _address(array), array.strides[0], 0)


def _address(array: Array) -> int:
    """Where the first item lies. The interface makes a dict of many parts: 0.8 us."""
    flags = array.flags
    # bfloat16, of no kind that buffers have, gives none
    if flags.c_contiguous and flags.writeable and array.size and array.dtype.kind != "V":
        return ctypes.addressof(ctypes.c_char.from_buffer(array))  # type: ignore[arg-type]
    address: int = array.__array_interface__["data"][0]
    return address


def target_rows(array: Array) -> Rows:
    """How a kernel sees checked targets."""
    return as_column(array) if array.ndim == 1 else as_rows(array)
