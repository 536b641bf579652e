"""Where the logits of a row lie, as the numerics of `row` see them: a sequence of vectors.

`RowPerLane`: vector i holds class i of as many rows as there are lanes, and nothing passes between
lanes. `ClassPerLane`: one row alone; vector i holds as many consecutive classes, the last one
filled up with a value that counts nothing, and sums and maxima end with a step across the lanes.
Every function takes either, by its type.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fastsoftmax.kernels.compile.jit import overload
from fastsoftmax.kernels.vectors import simd
from fastsoftmax.kernels.vectors.memory import Array
from fastsoftmax.kernels.vectors.vector_ir import VECTOR_BYTES


class RowPerLane(NamedTuple):
    """Classes of a vector's width of rows, `stride` bytes apart."""

    item: Array  # only its dtype counts
    address: int
    n_classes: int
    stride: int


class ClassPerLane(NamedTuple):
    """The contiguous classes of one row."""

    item: Array
    address: int
    n_classes: int


def n_vectors(z: Any) -> int:
    """How many vectors the row takes."""
    raise NotImplementedError("compiled code only")


def load_classes(z: Any, i: int, other: float) -> Any:
    """Vector i; `other` in lanes beyond the last class."""
    raise NotImplementedError("compiled code only")


def store_classes(z: Any, i: int, v: Any) -> None:
    """Write vector i, without lanes beyond the last class."""
    raise NotImplementedError("compiled code only")


def class_numbers(z: Any, i: int) -> Any:
    """Which class each lane of vector i holds, as integers of the lanes' width."""
    raise NotImplementedError("compiled code only")


def sum_of_row(z: Any, v: Any) -> Any:
    """In every lane, the sum over its row of partial sums by lane."""
    raise NotImplementedError("compiled code only")


def max_of_row(z: Any, v: Any) -> Any:
    """In every lane, the largest of its row's partial maxima; NaN where one is."""
    raise NotImplementedError("compiled code only")


def _by_lane(z: Any) -> bool:
    return bool(z.instance_class is RowPerLane)


def _classes_per_vector(z: Any) -> int:
    """A constant for the compiler: dividing by `itemsize`, which is not, took half of the time."""
    return VECTOR_BYTES // int(z.types[0].dtype.bitwidth // 8)


@overload(n_vectors, inline="always")
def _n_vectors(z):  # type: ignore[no-untyped-def]
    if _by_lane(z):
        return lambda z: z.n_classes

    per_vector = _classes_per_vector(z)

    def by_class(z):  # type: ignore[no-untyped-def]
        return (z.n_classes + per_vector - 1) // per_vector

    return by_class


@overload(load_classes)
def _load_classes(z, i, other):  # type: ignore[no-untyped-def]
    if _by_lane(z):
        return lambda z, i, other: simd.load(z.item, z.address + i * z.stride)

    per_vector = _classes_per_vector(z)

    def by_class(z, i, other):  # type: ignore[no-untyped-def]
        left = z.n_classes - i * per_vector
        address = z.address + i * VECTOR_BYTES
        if left >= per_vector:
            return simd.load(z.item, address)
        return simd.load_first(z.item, address, left, z.item.dtype.type(other))

    return by_class


@overload(store_classes)
def _store_classes(z, i, v):  # type: ignore[no-untyped-def]
    if _by_lane(z):
        return lambda z, i, v: simd.store(v, z.address + i * z.stride)

    per_vector = _classes_per_vector(z)

    def by_class(z, i, v):  # type: ignore[no-untyped-def]
        left = z.n_classes - i * per_vector
        address = z.address + i * VECTOR_BYTES
        if left >= per_vector:
            simd.store(v, address)
        else:
            simd.store_first(v, address, left)

    return by_class


@overload(class_numbers)
def _class_numbers(z, i):  # type: ignore[no-untyped-def]
    if _by_lane(z):
        return lambda z, i: simd.splat_like(simd.lane_numbers(simd.splat(z.item, 0)), i)

    per_vector = _classes_per_vector(z)

    def by_class(z, i):  # type: ignore[no-untyped-def]
        return simd.lane_numbers(simd.splat(z.item, 0)) + i * per_vector

    return by_class


@overload(sum_of_row)
def _sum_of_row(z, v):  # type: ignore[no-untyped-def]
    if _by_lane(z):
        return lambda z, v: v
    return lambda z, v: simd.splat_like(v, simd.reduce_add(v))


@overload(max_of_row)
def _max_of_row(z, v):  # type: ignore[no-untyped-def]
    if _by_lane(z):
        return lambda z, v: v
    return lambda z, v: simd.splat_like(v, simd.reduce_max(v))
