"""Targets and weights of rows; the one place that tells labels from soft targets.

By the type of their items: `Rows` (N, 1) of an integer type hold one label per row, (N, K) of a
floating type a weight per row and class. A one-hot row is never formed: the numerics of a row ask
for the target of a vector of classes, which for labels is a comparison.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from fastsoftmax.kernels.compile.jit import jit, overload
from fastsoftmax.kernels.rows.lanes import ClassPerLane, class_numbers, load_classes
from fastsoftmax.kernels.vectors import simd
from fastsoftmax.kernels.vectors.memory import Array, Rows, load_item, load_row
from fastsoftmax.kernels.vectors.vector_ir import Vector


@jit
def weight_of(sample_weight: Rows, n: int) -> float:
    """The weight of row n of sample_weight (N, 1); a stride of zero serves for 'all alike'."""
    return load_item(sample_weight.item, sample_weight.address + n * sample_weight.row_stride)


@jit
def may_be_absent(sample_weight: Rows) -> bool:
    """Whether some rows may have weight zero, and others not."""
    return sample_weight.row_stride != 0


@jit
def weighted(weight: float, J: float) -> float:
    """weight * J, in float64; a row of weight zero counts nothing, whatever its loss."""
    return weight * np.float64(J) if weight > 0 else 0.0


def target(z: Any, targets: Any, i: int) -> Any:
    """t of the classes in vector i of the row or rows z, 0 beyond the last class.

    `targets` is a vector of labels, one for each lane's row, or weights laid out as z is.
    """
    raise NotImplementedError("compiled code only")


@overload(target)
def _target(z, targets, i):  # type: ignore[no-untyped-def]
    if isinstance(targets, Vector):

        def of_label(z, targets, i):  # type: ignore[no-untyped-def]
            zero = simd.splat(z.item, 0)
            return simd.select(class_numbers(z, i) == targets, simd.splat_like(zero, 1), zero)

        return of_label
    return lambda z, targets, i: load_classes(targets, i, 0)


def row_targets_scratch(targets: Rows, n_classes: int, like: Array) -> Array:
    """Room for the soft targets of one row (K,); none for a label."""
    raise NotImplementedError("compiled code only")


def row_targets(targets: Rows, n: int, scratch: Array) -> Any:
    """The targets of row n alone, as `target` takes them for a `ClassPerLane`."""
    raise NotImplementedError("compiled code only")


@overload(row_targets_scratch)
def _row_targets_scratch(targets, n_classes, like):  # type: ignore[no-untyped-def]
    if isinstance(targets[0].dtype, types.Integer):
        return lambda targets, n_classes, like: np.empty(0, like.dtype)
    return lambda targets, n_classes, like: np.empty(n_classes, like.dtype)


@overload(row_targets)
def _row_targets(targets, n, scratch):  # type: ignore[no-untyped-def]
    if isinstance(targets[0].dtype, types.Integer):

        def label(targets, n, scratch):  # type: ignore[no-untyped-def]
            y = load_item(targets.item, targets.address + n * targets.row_stride)
            return simd.splat_like(simd.lane_numbers(simd.splat(scratch, 0)), y)

        return label

    def weights(targets, n, scratch):  # type: ignore[no-untyped-def]
        load_row(targets, n, scratch.size, scratch, simd.address_of(scratch))
        return ClassPerLane(scratch, simd.address_of(scratch), scratch.size)

    return weights
