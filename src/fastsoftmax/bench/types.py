"""Types of X by name: what they are computed in, and what they take."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax.kernels.vectors.widening import NARROW

Array = npt.NDArray[Any]

COMPUTED = ("float32", "float64")
DTYPES = (*COMPUTED, *NARROW)


def dtype_of(name: str) -> np.dtype[Any]:
    """The dtype; that of bfloat16 is ml_dtypes'."""
    if name == "bfloat16":
        try:
            import ml_dtypes
        except ImportError:
            raise ImportError(
                "bfloat16 needs ml_dtypes; pip install 'fastsoftmax[bench]'"
            ) from None
        dtype: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return dtype
    return np.dtype(name)


def computed_in(name: str) -> np.dtype[Any]:
    """What weights are, and what libraries that do not compute with narrow X make of it."""
    return np.dtype(np.float32 if name in NARROW else name)


def size_of(name: str) -> int:
    """Bytes of a number, without ml_dtypes."""
    return 2 if name == "bfloat16" else np.dtype(name).itemsize


def values(rng: np.random.Generator, N: int, D: int, name: str) -> Array:
    """X (N, D), about as large in all types: standard normal, or integers from -1 or 0 to 1."""
    dtype = dtype_of(name)
    if dtype.kind in "biu":
        return rng.integers(-1 if dtype.kind == "i" else 0, 2, (N, D), np.int8).astype(dtype)
    return rng.standard_normal((N, D), dtype=np.float32).astype(dtype)
