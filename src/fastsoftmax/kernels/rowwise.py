"""Functions of given logits, row by row: drivers over blocks of rows in any strides.

Fused: a block is loaded, worked on in place and stored, so that `out` may be Z itself. Each
block owns its rows of every output.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from fastsoftmax.kernels import row
from fastsoftmax.kernels._jit import jit, parallel_jit
from fastsoftmax.kernels.blocks import ceil_div
from fastsoftmax.kernels.memory import Array, Rows, load_rows, store_rows
from fastsoftmax.kernels.targets import weight_of

# Elements of a block: long rows come one at a time, short ones by the hundred.
BLOCK_ELEMENTS = 4096


@jit
def block_of_rows(n_rows: int, n_classes: int) -> int:
    """Rows per block."""
    return min(max(BLOCK_ELEMENTS // n_classes, 1), n_rows)


@jit
def load_block(Z: Rows, n_rows: int, n_classes: int, size: int, block: int) -> Array:
    """A copy (R, K) of one block of Z."""
    first = block * size
    rows = np.empty((min(size, n_rows - first), n_classes), Z.item.dtype)
    load_rows(Z, first, rows)
    return rows


@parallel_jit
def softmax(Z: Rows, n_rows: int, n_classes: int, out: Rows) -> None:
    """out (N, K) = softmax of each row."""
    size = block_of_rows(n_rows, n_classes)
    for block in prange(ceil_div(n_rows, size)):
        rows = load_block(Z, n_rows, n_classes, size, block)
        for r in range(rows.shape[0]):
            row.softmax(rows[r])
        store_rows(rows, block * size, out)


@parallel_jit
def log_softmax(Z: Rows, n_rows: int, n_classes: int, out: Rows) -> None:
    """out (N, K) = log-softmax of each row."""
    size = block_of_rows(n_rows, n_classes)
    for block in prange(ceil_div(n_rows, size)):
        rows = load_block(Z, n_rows, n_classes, size, block)
        for r in range(rows.shape[0]):
            row.log_softmax(rows[r])
        store_rows(rows, block * size, out)


@parallel_jit
def log_sum_exp(Z: Rows, n_rows: int, n_classes: int, out: Rows) -> None:
    """out (N, 1) = log-sum-exp of each row."""
    size = block_of_rows(n_rows, n_classes)
    for block in prange(ceil_div(n_rows, size)):
        rows = load_block(Z, n_rows, n_classes, size, block)
        result = np.empty((rows.shape[0], 1), rows.dtype)
        for r in range(rows.shape[0]):
            result[r, 0] = row.log_sum_exp(rows[r])
        store_rows(result, block * size, out)


@parallel_jit
def cross_entropy(
    Z: Rows,
    targets: Rows,
    sample_weight: Rows,
    n_classes: int,
    label_smoothing: float,
    row_loss: Array,  # (N,)
) -> None:
    """row_loss[n] = weight * J of row n."""
    size = block_of_rows(row_loss.size, n_classes)
    for block in prange(ceil_div(row_loss.size, size)):
        rows = load_block(Z, row_loss.size, n_classes, size, block)
        for r in range(rows.shape[0]):
            n = block * size + r
            J = row.cross_entropy(rows[r], targets, n, label_smoothing)
            row_loss[n] = weight_of(sample_weight, n) * J


@parallel_jit
def cross_entropy_gradient(
    Z: Rows,
    targets: Rows,
    sample_weight: Rows,
    n_classes: int,
    label_smoothing: float,
    gradient_scale: float,
    row_loss: Array,  # (N,)
    dZ: Rows,  # (N, K)
) -> None:
    """row_loss[n] = weight * J and dZ[n] = gradient_scale * weight * (s P - T) of row n."""
    size = block_of_rows(row_loss.size, n_classes)
    for block in prange(ceil_div(row_loss.size, size)):
        rows = load_block(Z, row_loss.size, n_classes, size, block)
        for r in range(rows.shape[0]):
            n = block * size + r
            weight = weight_of(sample_weight, n)
            row_loss[n] = weight * row.cross_entropy_gradient(
                rows[r], targets, n, weight * gradient_scale, label_smoothing
            )
        store_rows(rows, block * size, dZ)


@parallel_jit
def weighted_argmax(P: Rows, n_rows: int, weights: Array, out: Array) -> None:
    """out[n] = the first k with the largest P[n, k] * weights[k]."""
    size = block_of_rows(n_rows, weights.size)
    for block in prange(ceil_div(n_rows, size)):
        rows = load_block(P, n_rows, weights.size, size, block)
        for r in range(rows.shape[0]):
            for k in range(weights.size):
                rows[r, k] *= weights[k]
            out[block * size + r] = row.argmax(rows[r])
