"""Loss and gradient in one pass over X.

Fused: a block of rows is loaded, its logits become the loss and the residuals P - T in place,
and its share is added to the gradient while the rows are still in cache. Never materialised: an
N x K array, a one-hot label, a copy of X.
Writes: each chunk of rows owns one entry of every `partial_` array; `loss_and_gradient_by_slab`,
for gradients too large to have in several copies, owns slabs of features instead. Either way the
sums run in block order. `finite` tells whether every logit of a chunk was.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from fastsoftmax.kernels._jit import jit, parallel_jit
from fastsoftmax.kernels.blocks import ROW_BLOCK, SLAB_FEATURES, SLAB_ROWS, ceil_div, chunk_rows
from fastsoftmax.kernels.memory import Array, Rows, load_rows, skip_columns
from fastsoftmax.kernels.row import all_finite, cross_entropy, cross_entropy_gradient
from fastsoftmax.kernels.targets import weight_of
from fastsoftmax.kernels.tiles import add_gradient, add_rows, logits


@jit
def residuals_of_block(
    targets: Rows, sample_weight: Rows, label_smoothing: float, first: int, Z: Array
) -> float:
    """Z (R, K), the logits of rows first..., become weight * (s P - T); returns their loss."""
    total = 0.0
    for r in range(Z.shape[0]):
        weight = weight_of(sample_weight, first + r)
        J = cross_entropy_gradient(Z[r], targets, first + r, weight, label_smoothing)
        total += weight * J
    return total


@parallel_jit
def loss_and_gradient_by_chunk(
    X: Rows,
    targets: Rows,
    sample_weight: Rows,
    n_rows: int,
    W_T: Array,
    b: Array,
    label_smoothing: float,
    partial_loss: Array,  # (C,)
    partial_G_T: Array,  # (C, K, D), zeros
    partial_g_b: Array,  # (C, K), zeros
    finite: Array,  # (C,)
) -> None:
    """Sums over each chunk of rows; the caller adds the chunks up in order."""
    size = chunk_rows(n_rows)
    n_classes, n_features = W_T.shape
    for c in prange(partial_loss.size):
        rows = np.empty((ROW_BLOCK, n_features), W_T.dtype)
        Z = np.empty((ROW_BLOCK, n_classes), W_T.dtype)
        loss = 0.0
        chunk_finite = True
        for first in range(c * size, min((c + 1) * size, n_rows), ROW_BLOCK):
            count = min(ROW_BLOCK, n_rows - first)
            load_rows(X, first, rows[:count])
            logits(rows[:count], W_T, b, Z[:count])
            chunk_finite &= all_finite(Z[:count])
            loss += residuals_of_block(targets, sample_weight, label_smoothing, first, Z[:count])
            add_gradient(rows[:count], Z[:count], partial_G_T[c])
            add_rows(Z[:count], partial_g_b[c])
        partial_loss[c] = loss
        finite[c] = chunk_finite


@parallel_jit
def loss_and_gradient_by_slab(
    X: Rows,
    targets: Rows,
    sample_weight: Rows,
    n_rows: int,
    W_T: Array,
    b: Array,
    label_smoothing: float,
    partial_loss: Array,  # (B,), zeros; B = SLAB_ROWS / ROW_BLOCK
    partial_G_T: Array,  # (1, K, D), zeros
    partial_g_b: Array,  # (B, K), zeros
    finite: Array,  # (B,), ones
) -> None:
    """As `loss_and_gradient_by_chunk`, the gradient held once and owned by slabs of features."""
    n_classes, n_features = W_T.shape
    Z = np.empty((SLAB_ROWS, n_classes), W_T.dtype)
    for start in range(0, n_rows, SLAB_ROWS):
        stop = min(start + SLAB_ROWS, n_rows)
        for block in prange(ceil_div(stop - start, ROW_BLOCK)):
            first = start + block * ROW_BLOCK
            count = min(ROW_BLOCK, stop - first)
            rows = np.empty((count, n_features), W_T.dtype)
            Z_block = Z[first - start : first - start + count]
            load_rows(X, first, rows)
            logits(rows, W_T, b, Z_block)
            finite[block] &= all_finite(Z_block)
            partial_loss[block] += residuals_of_block(
                targets, sample_weight, label_smoothing, first, Z_block
            )
            add_rows(Z_block, partial_g_b[block])
        for slab in prange(ceil_div(n_features, SLAB_FEATURES)):
            d = slab * SLAB_FEATURES
            width = min(SLAB_FEATURES, n_features - d)
            rows = np.empty((stop - start, width), W_T.dtype)
            load_rows(skip_columns(X, d), start, rows)
            add_gradient(rows, Z[: stop - start], partial_G_T[0, :, d : d + width])


@parallel_jit
def combine(
    partial_G_T: Array,  # (C, K, D)
    partial_g_b: Array,  # (C, K)
    W_T: Array,
    scale: float,
    l2: float,
    grad_W: Array,  # (D, K)
    grad_b: Array,  # (K,)
) -> None:
    """grad_W = scale * (sum of the partials) + l2 W, and grad_b likewise without l2.

    Each class owns its column. Sums run in float64, in the order of the chunks.
    """
    n_classes, n_features = W_T.shape
    for k in prange(n_classes):
        total_b = 0.0
        total = np.zeros(n_features, np.float64)
        for c in range(partial_G_T.shape[0]):
            total_b += partial_g_b[c, k]
            for d in range(n_features):
                total[d] += partial_G_T[c, k, d]
        grad_b[k] = scale * total_b
        for d in range(n_features):
            grad_W[d, k] = scale * total[d] + l2 * W_T[k, d]


@parallel_jit
def losses(
    X: Rows,
    targets: Rows,
    sample_weight: Rows,
    W_T: Array,
    b: Array,
    label_smoothing: float,
    row_loss: Array,  # (N,)
    finite: Array,  # (B,), one per ROW_BLOCK rows
) -> None:
    """row_loss[n] = weight * J of row n."""
    n_classes, n_features = W_T.shape
    n_rows = row_loss.size
    for block in prange(finite.size):
        first = block * ROW_BLOCK
        count = min(ROW_BLOCK, n_rows - first)
        rows = np.empty((count, n_features), W_T.dtype)
        Z = np.empty((count, n_classes), W_T.dtype)
        load_rows(X, first, rows)
        logits(rows, W_T, b, Z)
        finite[block] = all_finite(Z)
        for r in range(count):
            n = first + r
            J = cross_entropy(Z[r], targets, n, label_smoothing)
            row_loss[n] = weight_of(sample_weight, n) * J
