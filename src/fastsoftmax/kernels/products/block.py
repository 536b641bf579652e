"""One block of up to ROW_BLOCK rows, between the caller's arrays and the lanes of `row`.

A block's logits lie by class, Z_T (K, ROW_BLOCK), and so do soft targets; labels and weights are
vectors (ROW_BLOCK,). Lanes beyond the block's rows have weight 0 and label 0. Weights are float64
until they multiply a residual.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from fastsoftmax.kernels.compile.jit import jit, jit_borrowing, jit_inline, overload
from fastsoftmax.kernels.products.logits import logits
from fastsoftmax.kernels.rows import row
from fastsoftmax.kernels.rows.lanes import RowPerLane
from fastsoftmax.kernels.rows.targets import weight_of
from fastsoftmax.kernels.tiles.packing import padded
from fastsoftmax.kernels.tiles.sizes import ROW_BLOCK
from fastsoftmax.kernels.tiles.transpose import transpose_rows, transpose_rows_back
from fastsoftmax.kernels.vectors import simd
from fastsoftmax.kernels.vectors.memory import (
    CACHE_LINE,
    Array,
    Rows,
    Strided,
    Table,
    item_bytes,
    load_item,
    load_rows,
    prefetch,
    store_item,
)
from fastsoftmax.kernels.vectors.simd import address_of
from fastsoftmax.kernels.vectors.vector_ir import VECTOR_BYTES
from fastsoftmax.kernels.vectors.widening import stride_in_place


@jit
def lies_ready(X: Rows, like: Array) -> bool:
    """Whether rows of X can be read where they lie: contiguous, in the compute type."""
    return X.item.dtype == like.dtype and X.column_stride == stride_in_place(X.item)


@jit_inline
def rows_scratch(X: Rows, n_features: int, like: Array) -> Array:
    """Room for a block of rows of X, none where they lie ready."""
    return np.empty((0 if lies_ready(X, like) else ROW_BLOCK, n_features), like.dtype)


@jit_inline
def rows_table() -> Array:
    """Room for the addresses of a block's rows and of the next block's."""
    return np.empty(2 * ROW_BLOCK, np.int64)


@jit_inline
def find_rows(X: Rows, first: int, n_rows: int, scratch: Array, rows: Array) -> None:
    """rows = the addresses of n_rows rows of X, where they lie or loaded into scratch.

    The last goes on to the end of the block; where the next block's rows lie comes behind. An
    address keeps no array alive: `keep_alive(scratch)` after the rows are read, unless it belongs
    to the caller's caller or to a loop around.
    """
    address, stride = X.address + first * X.row_stride, X.row_stride
    for r in range(ROW_BLOCK):
        rows[ROW_BLOCK + r] = address + (ROW_BLOCK + r) * stride
    if not lies_ready(X, scratch):
        address, stride = address_of(scratch), scratch.shape[1] * item_bytes(scratch)
        load_rows(X, first, n_rows, scratch.shape[1], scratch, Strided(address, stride))
    for r in range(ROW_BLOCK):
        rows[r] = address + min(r, n_rows - 1) * stride


def zero_row(n_features: int, dtype: np.dtype[Any]) -> Array:
    """What is read in the place of rows of weight zero; a whole number of tile widths."""
    return np.zeros(padded(n_features, dtype.itemsize), dtype)


@jit_inline
def leave_out(weights: Array, zeros: Array, rows: Array) -> None:
    """Rows of weight zero are read from `zero_row` instead, so that they may hold anything."""
    for r in range(ROW_BLOCK):
        if weights[r] == 0:
            rows[r] = address_of(zeros)


def targets_scratch(targets: Rows, n_classes: int, like: Array) -> Array:
    """Room for a block's targets: labels (ROW_BLOCK,), or weights (K, ROW_BLOCK)."""
    raise NotImplementedError("compiled code only")


def load_targets(targets: Rows, r: int, n: int, block: Array) -> None:
    """Row r of the block gets the targets of row n."""
    raise NotImplementedError("compiled code only")


def lanes_of_targets(block: Array, group: int) -> Any:
    """The targets of a group of lanes, as `targets.target` takes them."""
    raise NotImplementedError("compiled code only")


@overload(targets_scratch)
def _targets_scratch(targets, n_classes, like):  # type: ignore[no-untyped-def]
    if isinstance(targets[0].dtype, types.Integer):
        dtype = np.int32 if like.dtype == types.float32 else np.int64
        return lambda targets, n_classes, like: np.empty(ROW_BLOCK, dtype)
    return lambda targets, n_classes, like: np.zeros((n_classes, ROW_BLOCK), like.dtype)


@overload(load_targets)
def _load_targets(targets, r, n, block):  # type: ignore[no-untyped-def]
    if block.ndim == 1:

        def label(targets, r, n, block):  # type: ignore[no-untyped-def]
            block[r] = load_item(targets.item, targets.address + n * targets.row_stride)

        return label

    def weights(targets, r, n, block):  # type: ignore[no-untyped-def]
        address = targets.address + n * targets.row_stride
        for k in range(block.shape[0]):
            block[k, r] = load_item(targets.item, address + k * targets.column_stride)

    return weights


@overload(lanes_of_targets, inline="always")
def _lanes_of_targets(block, group):  # type: ignore[no-untyped-def]
    if block.ndim == 1:
        return lambda block, group: simd.load(block, address_of(block) + group * VECTOR_BYTES)
    return lambda block, group: lanes(block, group)


@jit_inline
def lanes(Z_T: Array, group: int) -> RowPerLane:
    """The rows of one group of lanes of a block by class."""
    stride = ROW_BLOCK * item_bytes(Z_T)
    return RowPerLane(Z_T, address_of(Z_T) + group * VECTOR_BYTES, Z_T.shape[0], stride)


@jit_inline
def groups(Z_T: Array, n_rows: int) -> int:
    """Groups of lanes that hold rows."""
    per_group = VECTOR_BYTES // item_bytes(Z_T)
    return (n_rows + per_group - 1) // per_group


@jit_inline
def residuals(Z_T: Array, targets: Array, weights: Array, smoothing: float, losses: Array) -> None:
    """Z_T becomes weight * (s P - T), and losses (ROW_BLOCK,) the unweighted J of each row."""
    address, lane_bytes = address_of(weights), item_bytes(weights)
    for g in range(groups(Z_T, weights.size)):
        z = lanes(Z_T, g)
        place = address + g * (VECTOR_BYTES // item_bytes(Z_T)) * lane_bytes
        weight = simd.convert(Z_T, simd.load_lanes_of(Z_T, weights, place))
        J = row.cross_entropy_gradient(z, lanes_of_targets(targets, g), weight, smoothing, z)
        simd.store(J, address_of(losses) + g * VECTOR_BYTES)


@jit_inline
def all_finite(Z_T: Array) -> bool:
    """Whether no logit of a block is NaN or infinite."""
    total = simd.splat(Z_T, 0)
    address = address_of(Z_T)
    for i in range(Z_T.size * item_bytes(Z_T) // VECTOR_BYTES):
        total += simd.load(Z_T, address + i * VECTOR_BYTES) * 0
    return simd.reduce_add(total) == 0


@jit
def none_of(flags: Array) -> bool:
    """Whether all are False."""
    found = False
    for c in range(flags.size):
        found |= flags[c]
    return not found


@jit
def logits_of_block(
    rows: Array, n_rows: int, n_features: int, W_tiles: Array, b: Array, X_T: Array, Z_T: Array
) -> bool:
    """Z_T (K, ROW_BLOCK) of n_rows rows from `find_rows`; returns whether all are finite."""
    logits(rows, n_rows, n_features, W_tiles, b, X_T, Z_T, ROW_BLOCK)
    return all_finite(Z_T)


@jit_inline
def add_row_sums(Z_T: Array, sums: Array) -> None:
    """sums (K,) += what each class has in the block, in float64."""
    address = address_of(Z_T)
    for k in range(Z_T.shape[0]):
        total = simd.widen(simd.splat(Z_T, 0))
        for _ in range(ROW_BLOCK * item_bytes(Z_T) // VECTOR_BYTES):
            total += simd.widen(simd.load(Z_T, address))
            address += VECTOR_BYTES
        sums[k] += simd.reduce_add(total)


@jit_inline
def load_weights_and_targets(
    sample_weight: Rows, targets: Rows, first: int, n_rows: int, weights: Array, block: Array
) -> None:
    """Fill a block's weights and targets from rows first...; the rest get weight 0."""
    for r in range(n_rows):
        weights[r] = weight_of(sample_weight, first + r)
        load_targets(targets, r, first + r, block)
    weights[n_rows:] = 0


@jit_inline
def weighted_sum(losses: Array, weights: Array) -> float:
    """The sum of weight * J, in float64."""
    total = 0.0
    for r in range(losses.size):
        total += weights[r] * np.float64(losses[r])
    return total


@jit
def logits_scratch(n_classes: int, like: Array) -> Array:
    """Z_T (K, ROW_BLOCK); whole vectors of classes can be read from it."""
    lanes = VECTOR_BYTES // item_bytes(like)
    return np.zeros((-(-n_classes // lanes) * lanes, ROW_BLOCK), like.dtype)[:n_classes]


@jit
def load_block(Z: Rows, first: int, n_rows: int, Z_T: Array) -> None:
    """Z_T (K, ROW_BLOCK) = Z[first : first + n_rows, :K]', zeros beyond n_rows."""
    n_classes, size = Z_T.shape[0], item_bytes(Z_T)
    per_group = VECTOR_BYTES // size
    stride = ROW_BLOCK * size
    if lies_ready(Z, Z_T):
        rows = np.empty(per_group, np.int64)
        for g in range(ROW_BLOCK // per_group):
            source = Z.address + (first + g * per_group) * Z.row_stride
            count = max(min(n_rows - g * per_group, per_group), 0)
            target = address_of(Z_T) + g * VECTOR_BYTES
            # sixteen rows at once are more streams than the hardware follows
            for ahead in range(0, per_group * Z.row_stride, CACHE_LINE):
                prefetch(source + per_group * Z.row_stride + ahead)
            for r in range(count):
                rows[r] = source + r * Z.row_stride
            table = Table(address_of(rows), 0, count)
            transpose_rows(Z_T, table, n_classes, Strided(target, stride))
        return
    for k in range(n_classes):
        address = Z.address + first * Z.row_stride + k * Z.column_stride
        for r in range(n_rows):
            Z_T[k, r] = load_item(Z.item, address + r * Z.row_stride)
        Z_T[k, n_rows:] = 0


@jit_borrowing
def store_block(Z_T: Array, first: int, n_rows: int, out: Rows) -> None:
    """out[first : first + n_rows, :K] = the block, whose scratch is from `logits_scratch`."""
    n_classes, size = Z_T.shape[0], item_bytes(Z_T)
    per_group = VECTOR_BYTES // size
    stride = ROW_BLOCK * size
    if lies_ready(out, Z_T):
        for g in range(groups(Z_T, n_rows)):
            r = g * per_group
            source = Strided(address_of(Z_T) + g * VECTOR_BYTES, stride)
            target = Strided(out.address + (first + r) * out.row_stride, out.row_stride)
            transpose_rows_back(Z_T, source, min(n_rows - r, per_group), n_classes, target)
        return
    for k in range(n_classes):
        address = out.address + first * out.row_stride + k * out.column_stride
        for r in range(n_rows):
            store_item(out.item, address + r * out.row_stride, Z_T[k, r])


@jit_borrowing
def store_softmax(Z_T: Array, first: int, n_rows: int, out: Rows) -> None:
    """out[first : first + n_rows, :K] = softmax of the rows of the block."""
    for g in range(groups(Z_T, n_rows)):
        row.softmax(lanes(Z_T, g), lanes(Z_T, g))
    store_block(Z_T, first, n_rows, out)


@jit_borrowing
def store_log_softmax(Z_T: Array, first: int, n_rows: int, out: Rows) -> None:
    """out[first : first + n_rows, :K] = log-softmax of the rows of the block."""
    for g in range(groups(Z_T, n_rows)):
        row.log_softmax(lanes(Z_T, g), lanes(Z_T, g))
    store_block(Z_T, first, n_rows, out)
