"""Functions of given logits (N, K), row by row.

Rows with few classes are transposed, a block at a time, so that lanes are rows (`_short`); long
rows are read along their classes (`_long`). Fused: all steps of a row or block happen in cache.
Each chunk or row owns its part of every output; `out` may be Z itself.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastsoftmax.kernels.compile.jit import jit, jit_borrowing, jit_callable
from fastsoftmax.kernels.compile.parallel import for_each
from fastsoftmax.kernels.products.block import (
    groups,
    lanes,
    lanes_of_targets,
    lies_ready,
    load_block,
    load_weights_and_targets,
    logits_scratch,
    residuals,
    store_block,
    store_log_softmax,
    store_softmax,
    targets_scratch,
)
from fastsoftmax.kernels.rows import row
from fastsoftmax.kernels.rows.lanes import ClassPerLane
from fastsoftmax.kernels.rows.targets import (
    row_targets,
    row_targets_scratch,
    weight_of,
    weighted,
)
from fastsoftmax.kernels.tiles.sizes import ROW_BLOCK, ceil_div, chunk_rows, n_chunks
from fastsoftmax.kernels.vectors import simd
from fastsoftmax.kernels.vectors.memory import (
    Array,
    Rows,
    load_item,
    load_row,
    store_item,
    store_row,
)
from fastsoftmax.kernels.vectors.simd import address_of
from fastsoftmax.kernels.vectors.vector_ir import VECTOR_BYTES

# Up to this many vectors' width of classes rows are transposed. In turns on 6 million logits,
# `_long` took for K = 100, 200, 400, 1000 in float32 2.6, 1.3, 1.0, 0.8 times as long as `_short`
# (softmax), in float64 for K = 64, 128, 200, 400 1.4, 0.9, 0.7, 0.7 times; of cross-entropy and
# gradient 3.0, 1.8, 1.2, 1.0 and 1.6, 1.2, 1.0, 0.9. A vector has 16 and 8 lanes there.
SHORT_VECTORS = 20

# Logits of a task of long rows: enough to spread the cost of a task.
PART_LOGITS = 16384


def is_short(n_classes: int, itemsize: int) -> bool:
    """Whether rows are few enough classes long to be transposed."""
    return n_classes * itemsize <= SHORT_VECTORS * VECTOR_BYTES


class Problem(NamedTuple):
    """What a cross-entropy is computed from."""

    Z: Rows  # (N, K)
    targets: Rows  # (N, 1) or (N, K)
    sample_weight: Rows  # (N, 1)
    n_classes: int
    label_smoothing: float


@jit
def short_chunk(c: int, Z: Rows, n_rows: int, n_classes: int, out: Rows, finish: Any) -> None:
    """The rows of chunk c; `finish` makes the result of a block of them.

    Numba compiles it for each `finish`, as it would as many copies of this code.
    """
    size = chunk_rows(n_rows)
    Z_T = logits_scratch(n_classes, Z.item)
    for first in range(c * size, min((c + 1) * size, n_rows), ROW_BLOCK):
        count = min(ROW_BLOCK, n_rows - first)
        load_block(Z, first, count, Z_T)
        finish(Z_T, first, count, out)


@jit_callable
def softmax_short(run: int, Z: Rows, n_rows: int, n_classes: int, out: Rows) -> None:
    """out (N, K) = softmax of each row."""
    for_each(run, n_chunks(n_rows), short_chunk, (Z, n_rows, n_classes, out, store_softmax))


@jit_callable
def log_softmax_short(run: int, Z: Rows, n_rows: int, n_classes: int, out: Rows) -> None:
    """out (N, K) = log-softmax of each row."""
    for_each(run, n_chunks(n_rows), short_chunk, (Z, n_rows, n_classes, out, store_log_softmax))


@jit_borrowing
def store_log_sum_exp(Z_T: Array, first: int, n_rows: int, out: Rows) -> None:
    """out[first : first + n_rows] = log-sum-exp of the rows of the block."""
    for g in range(groups(Z_T, n_rows)):
        lse = row.log_sum_exp(lanes(Z_T, g))
        simd.store(lse, address_of(Z_T) + g * VECTOR_BYTES)  # its logits have been read
    for r in range(n_rows):
        store_item(out.item, out.address + (first + r) * out.row_stride, Z_T[0, r])


@jit_callable
def log_sum_exp_short(run: int, Z: Rows, n_rows: int, n_classes: int, out: Rows) -> None:
    """out (N, 1) = log-sum-exp of each row."""
    for_each(run, n_chunks(n_rows), short_chunk, (Z, n_rows, n_classes, out, store_log_sum_exp))


@jit
def cross_entropy_short_chunk(c: int, problem: Problem, row_loss: Array) -> None:
    """The rows of chunk c."""
    Z, targets, sample_weight, n_classes, label_smoothing = problem
    n_rows = row_loss.size
    size = chunk_rows(n_rows)
    Z_T = logits_scratch(n_classes, Z.item)
    weights = np.empty(ROW_BLOCK, np.float64)
    losses = np.empty(ROW_BLOCK, Z.item.dtype)
    block_targets = targets_scratch(targets, n_classes, Z.item)
    for first in range(c * size, min((c + 1) * size, n_rows), ROW_BLOCK):
        count = min(ROW_BLOCK, n_rows - first)
        load_block(Z, first, count, Z_T)
        load_weights_and_targets(sample_weight, targets, first, count, weights, block_targets)
        for g in range(groups(Z_T, count)):
            t = lanes_of_targets(block_targets, g)
            J = row.cross_entropy(lanes(Z_T, g), t, label_smoothing)
            simd.store(J, address_of(losses) + g * VECTOR_BYTES)
        for r in range(count):
            row_loss[first + r] = weighted(weight_of(sample_weight, first + r), losses[r])


@jit_callable
def cross_entropy_short(run: int, problem: Problem, row_loss: Array) -> None:
    """row_loss[n] = weight * J of row n."""
    for_each(
        run,
        n_chunks(row_loss.size),
        cross_entropy_short_chunk,
        (problem, row_loss),
    )


@jit
def cross_entropy_gradient_short_chunk(
    c: int, problem: Problem, scale: float, row_loss: Array, dZ: Rows
) -> None:
    """The rows of chunk c."""
    Z, targets, sample_weight, n_classes, label_smoothing = problem
    n_rows = row_loss.size
    size = chunk_rows(n_rows)
    Z_T = logits_scratch(n_classes, Z.item)
    weights = np.empty(ROW_BLOCK, np.float64)
    losses = np.empty(ROW_BLOCK, Z.item.dtype)
    block_targets = targets_scratch(targets, n_classes, Z.item)
    for first in range(c * size, min((c + 1) * size, n_rows), ROW_BLOCK):
        count = min(ROW_BLOCK, n_rows - first)
        load_block(Z, first, count, Z_T)
        load_weights_and_targets(sample_weight, targets, first, count, weights, block_targets)
        weights *= scale
        residuals(Z_T, block_targets, weights, label_smoothing, losses)
        store_block(Z_T, first, count, dZ)
        for r in range(count):
            row_loss[first + r] = weighted(weight_of(sample_weight, first + r), losses[r])


@jit_callable
def cross_entropy_gradient_short(
    run: int, problem: Problem, scale: float, row_loss: Array, dZ: Rows
) -> None:
    """row_loss[n] = weight * J and dZ[n] = scale * weight * (s P - T) of row n."""
    for_each(
        run,
        n_chunks(row_loss.size),
        cross_entropy_gradient_short_chunk,
        (problem, scale, row_loss, dZ),
    )


@jit
def whole_row(Z: Rows, n: int, scratch: Array) -> ClassPerLane:
    """Row n of Z, where it lies or loaded into scratch (K,)."""
    if lies_ready(Z, scratch):
        return ClassPerLane(scratch, Z.address + n * Z.row_stride, scratch.size)
    load_row(Z, n, scratch.size, scratch, address_of(scratch))
    return ClassPerLane(scratch, address_of(scratch), scratch.size)


@jit
def result_row(out: Rows, n: int, scratch: Array) -> ClassPerLane:
    """Where to put row n of out: in its place, or in scratch (K,) for `finish_row` to store."""
    if lies_ready(out, scratch):
        return ClassPerLane(scratch, out.address + n * out.row_stride, scratch.size)
    return ClassPerLane(scratch, address_of(scratch), scratch.size)


@jit
def finish_row(out: Rows, n: int, scratch: Array) -> None:
    """Store what `result_row` could not put in place."""
    if not lies_ready(out, scratch):
        store_row(scratch, n, out)


@jit
def part_rows(n_classes: int) -> int:
    """Rows of a part, which share scratch and are done in one task."""
    return ceil_div(PART_LOGITS, n_classes)


@jit
def n_parts(n_rows: int, n_classes: int) -> int:
    """Parts of long rows."""
    return ceil_div(n_rows, part_rows(n_classes))


@jit
def long_part(p: int, Z: Rows, n_rows: int, n_classes: int, out: Rows, finish: Any) -> None:
    """The rows of part p; `finish` makes the result of one, as in `short_chunk`."""
    scratch = np.empty(n_classes, Z.item.dtype)
    size = part_rows(n_classes)
    for n in range(p * size, min((p + 1) * size, n_rows)):
        finish(whole_row(Z, n, scratch), n, out, scratch)


@jit
def finish_softmax(z: ClassPerLane, n: int, out: Rows, scratch: Array) -> None:
    """Row n."""
    row.softmax(z, result_row(out, n, scratch))
    finish_row(out, n, scratch)


@jit_callable
def softmax_long(run: int, Z: Rows, n_rows: int, n_classes: int, out: Rows) -> None:
    """out (N, K) = softmax of each row."""
    arguments = (Z, n_rows, n_classes, out, finish_softmax)
    for_each(run, n_parts(n_rows, n_classes), long_part, arguments)


@jit
def finish_log_softmax(z: ClassPerLane, n: int, out: Rows, scratch: Array) -> None:
    """Row n."""
    row.log_softmax(z, result_row(out, n, scratch))
    finish_row(out, n, scratch)


@jit_callable
def log_softmax_long(run: int, Z: Rows, n_rows: int, n_classes: int, out: Rows) -> None:
    """out (N, K) = log-softmax of each row."""
    arguments = (Z, n_rows, n_classes, out, finish_log_softmax)
    for_each(run, n_parts(n_rows, n_classes), long_part, arguments)


@jit
def finish_log_sum_exp(z: ClassPerLane, n: int, out: Rows, scratch: Array) -> None:
    """Row n."""
    lse = simd.extract(row.log_sum_exp(z), 0)
    store_item(out.item, out.address + n * out.row_stride, lse)


@jit_callable
def log_sum_exp_long(run: int, Z: Rows, n_rows: int, n_classes: int, out: Rows) -> None:
    """out (N, 1) = log-sum-exp of each row."""
    arguments = (Z, n_rows, n_classes, out, finish_log_sum_exp)
    for_each(run, n_parts(n_rows, n_classes), long_part, arguments)


@jit
def cross_entropy_long_part(p: int, problem: Problem, row_loss: Array) -> None:
    """The rows of part p."""
    Z, targets, sample_weight, n_classes, label_smoothing = problem
    scratch = np.empty(n_classes, Z.item.dtype)
    t_scratch = row_targets_scratch(targets, n_classes, Z.item)
    size = part_rows(n_classes)
    for n in range(p * size, min((p + 1) * size, row_loss.size)):
        t = row_targets(targets, n, t_scratch)
        J = row.cross_entropy(whole_row(Z, n, scratch), t, label_smoothing)
        row_loss[n] = weighted(weight_of(sample_weight, n), simd.extract(J, 0))


@jit_callable
def cross_entropy_long(run: int, problem: Problem, row_loss: Array) -> None:
    """row_loss[n] = weight * J of row n."""
    for_each(
        run,
        n_parts(row_loss.size, problem.n_classes),
        cross_entropy_long_part,
        (problem, row_loss),
    )


@jit
def cross_entropy_gradient_long_part(
    p: int, problem: Problem, scale: float, row_loss: Array, dZ: Rows
) -> None:
    """The rows of part p."""
    Z, targets, sample_weight, n_classes, label_smoothing = problem
    scratch = np.empty(n_classes, Z.item.dtype)
    t_scratch = row_targets_scratch(targets, n_classes, Z.item)
    size = part_rows(n_classes)
    for n in range(p * size, min((p + 1) * size, row_loss.size)):
        t = row_targets(targets, n, t_scratch)
        weight = weight_of(sample_weight, n)
        factor = simd.splat(Z.item, weight * scale)
        z, out = whole_row(Z, n, scratch), result_row(dZ, n, scratch)
        J = row.cross_entropy_gradient(z, t, factor, label_smoothing, out)
        row_loss[n] = weighted(weight, simd.extract(J, 0))
        finish_row(dZ, n, scratch)


@jit_callable
def cross_entropy_gradient_long(
    run: int, problem: Problem, scale: float, row_loss: Array, dZ: Rows
) -> None:
    """row_loss[n] = weight * J and dZ[n] = scale * weight * (s P - T) of row n."""
    for_each(
        run,
        n_parts(row_loss.size, problem.n_classes),
        cross_entropy_gradient_long_part,
        (problem, scale, row_loss, dZ),
    )


@jit
def weighted_argmax_row(n: int, P: Rows, n_rows: int, weights: Array, out: Array) -> None:
    """Row n."""
    row_address = P.address + n * P.row_stride
    best = 0
    most = load_product(P, row_address, weights, 0)
    for k in range(1, weights.size):
        value = load_product(P, row_address, weights, k)
        if value > most:
            best, most = k, value
    out[n] = best


@jit_callable
def weighted_argmax(run: int, P: Rows, n_rows: int, weights: Array, out: Array) -> None:
    """out[n] = the first k with the largest P[n, k] * weights[k]."""
    for_each(run, n_rows, weighted_argmax_row, (P, n_rows, weights, out))


@jit
def load_product(P: Rows, row_address: int, weights: Array, k: int) -> float:
    """P[n, k] * weights[k]."""
    return load_item(P.item, row_address + k * P.column_stride) * weights[k]
