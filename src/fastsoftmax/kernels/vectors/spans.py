"""Operations on spans of memory that are whole vectors long, given by their addresses."""

from __future__ import annotations

from fastsoftmax.kernels.compile.jit import jit
from fastsoftmax.kernels.vectors import simd
from fastsoftmax.kernels.vectors.memory import Array
from fastsoftmax.kernels.vectors.vector_ir import VECTOR_BYTES


@jit
def dot(item: Array, a: int, b: int, size: int) -> float:
    """The dot product of `size` bytes at the addresses a and b, whole vectors."""
    total = simd.splat(item, 0)
    for at in range(0, size, VECTOR_BYTES):
        total = simd.fma(simd.load(item, a + at), simd.load(item, b + at), total)
    return simd.reduce_add(total)


@jit
def add_multiple(item: Array, factor: float, a: int, b: int, size: int) -> None:
    """b += factor * a, likewise."""
    f = simd.splat(item, factor)
    for at in range(0, size, VECTOR_BYTES):
        simd.store(simd.fma(simd.load(item, a + at), f, simd.load(item, b + at)), b + at)


@jit
def copy_multiple(item: Array, factor: float, a: int, b: int, size: int) -> None:
    """b = factor * a, likewise."""
    f = simd.splat(item, factor)
    for at in range(0, size, VECTOR_BYTES):
        simd.store(simd.load(item, a + at) * f, b + at)


@jit
def clear(item: Array, a: int, size: int) -> None:
    """a = 0."""
    for at in range(0, size, VECTOR_BYTES):
        simd.store(simd.splat(item, 0), a + at)
