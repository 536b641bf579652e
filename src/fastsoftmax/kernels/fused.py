"""Loss and gradient in one pass over X.

Fused: a block of rows gets its logits, which become the loss and the residuals P - T in place,
and its share is added to the gradient while the rows are still in cache. Never materialised: an
N x K array, a one-hot label, a copy of X.
Writes: each chunk of rows owns one entry of every `partial_` array; `loss_and_gradient_by_slab`,
for gradients too large to have in several copies, owns slabs of features instead. Either way the
sums run in block order. `finite` tells whether every logit of a chunk was.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from fastsoftmax.kernels import row
from fastsoftmax.kernels._jit import jit, parallel_jit
from fastsoftmax.kernels.block import (
    add_row_sums,
    all_finite,
    block_address,
    groups,
    lanes,
    lanes_of_targets,
    load_weights_and_targets,
    logits_of_block,
    residuals,
    rows_scratch,
    targets_scratch,
    weighted_sum,
)
from fastsoftmax.kernels.blocks import (
    ROW_BLOCK,
    SLAB_ROWS,
    SLAB_TILES,
    ceil_div,
    chunk_rows,
)
from fastsoftmax.kernels.memory import Array, Rows, load_rows, skip_columns
from fastsoftmax.kernels.products import (
    add_gradient,
    add_gradient_tile,
    class_tiles,
    logits,
    tile_width,
    transposed_scratch,
)
from fastsoftmax.kernels.simd import address_of, store
from fastsoftmax.kernels.tile import TILE_BYTES
from fastsoftmax.kernels.vector_ir import VECTOR_BYTES


@jit
def rows_loss_and_gradient(
    X: Rows,
    targets: Rows,
    sample_weight: Rows,
    start: int,
    stop: int,
    W_tiles: Array,
    b: Array,
    label_smoothing: float,
    G_T: Array,  # (K, padded D)
    g_b: Array,  # (K,)
) -> tuple[float, bool]:
    """(loss, whether all logits are finite) of rows start...stop, whose gradient is added."""
    n_classes = b.size
    n_features = W_tiles.size // n_classes
    scratch = rows_scratch(X, n_features, b)
    X_T = transposed_scratch(n_features, b)
    Z_T = np.empty((n_classes, ROW_BLOCK), b.dtype)
    tail = np.empty(ROW_BLOCK * tile_width(b), b.dtype)
    weights = np.empty(ROW_BLOCK, b.dtype)
    losses = np.empty(ROW_BLOCK, b.dtype)
    block_targets = targets_scratch(targets, n_classes, b)
    loss = 0.0
    finite = True
    for first in range(start, stop, ROW_BLOCK):
        count = min(ROW_BLOCK, stop - first)
        rows, stride = block_address(X, first, count, scratch)
        load_weights_and_targets(sample_weight, targets, first, count, weights, block_targets)
        logits(rows, stride, count, n_features, W_tiles, b, X_T, Z_T)
        finite &= all_finite(Z_T)
        residuals(Z_T, block_targets, weights, label_smoothing, losses)
        loss += weighted_sum(losses[:count], weights)
        add_gradient(rows, stride, count, n_features, Z_T, tail, G_T)
        add_row_sums(Z_T, g_b)
    return loss, finite


@parallel_jit
def loss_and_gradient_by_chunk(
    X: Rows,
    targets: Rows,
    sample_weight: Rows,
    n_rows: int,
    W_tiles: Array,
    b: Array,
    label_smoothing: float,
    partial_loss: Array,  # (C,)
    partial_G_T: Array,  # (C, K, padded D), zeros
    partial_g_b: Array,  # (C, K), zeros
    finite: Array,  # (C,)
) -> None:
    """Sums over each chunk of rows; `combine` adds the chunks up in order."""
    size = chunk_rows(n_rows)
    for c in prange(partial_loss.size):
        partial_loss[c], finite[c] = rows_loss_and_gradient(
            X,
            targets,
            sample_weight,
            c * size,
            min((c + 1) * size, n_rows),
            W_tiles,
            b,
            label_smoothing,
            partial_G_T[c],
            partial_g_b[c],
        )


@jit
def block_residuals(
    X: Rows,
    targets: Rows,
    sample_weight: Rows,
    first: int,
    n_rows: int,
    W_tiles: Array,
    b: Array,
    label_smoothing: float,
    Z_T: Array,  # (K, ROW_BLOCK)
    g_b: Array,  # (K,)
) -> tuple[float, bool]:
    """Z_T = the residuals of n_rows rows, and their share of g_b added; (loss, finite) as above."""
    n_classes = b.size
    n_features = W_tiles.size // n_classes
    weights = np.empty(ROW_BLOCK, b.dtype)
    losses = np.empty(ROW_BLOCK, b.dtype)
    block_targets = targets_scratch(targets, n_classes, b)
    scratch, X_T = rows_scratch(X, n_features, b), transposed_scratch(n_features, b)
    finite = logits_of_block(X, first, n_rows, W_tiles, b, scratch, X_T, Z_T)
    load_weights_and_targets(sample_weight, targets, first, n_rows, weights, block_targets)
    residuals(Z_T, block_targets, weights, label_smoothing, losses)
    add_row_sums(Z_T, g_b)
    return weighted_sum(losses[:n_rows], weights), finite


@jit
def add_slab(
    X: Rows, start: int, n_rows: int, slab: int, n_features: int, Z_T: Array, G_T: Array
) -> None:
    """One slab's share of n_rows rows, with residuals Z_T (blocks, K, ROW_BLOCK), in G_T.

    A slab is a tile width of features by SLAB_TILES tiles of classes.
    """
    n_tiles = class_tiles(G_T.shape[0])
    class_slabs = ceil_div(n_tiles, SLAB_TILES)
    width = tile_width(G_T)
    d = slab // class_slabs * width
    columns = np.zeros((n_rows, width), G_T.dtype)
    load_rows(skip_columns(X, d), start, columns[:, : min(width, n_features - d)])
    first_tile = slab % class_slabs * SLAB_TILES
    for t in range(first_tile, min(first_tile + SLAB_TILES, n_tiles)):
        for r in range(0, n_rows, ROW_BLOCK):
            rows = address_of(columns) + r * TILE_BYTES
            count = min(ROW_BLOCK, n_rows - r)
            add_gradient_tile(rows, TILE_BYTES, count, d, t, Z_T[r // ROW_BLOCK], G_T, rows)


@parallel_jit
def loss_and_gradient_by_slab(
    X: Rows,
    targets: Rows,
    sample_weight: Rows,
    n_rows: int,
    W_tiles: Array,
    b: Array,
    label_smoothing: float,
    partial_loss: Array,  # (B,), zeros; B = SLAB_ROWS / ROW_BLOCK
    partial_G_T: Array,  # (1, K, padded D), zeros
    partial_g_b: Array,  # (B, K), zeros
    finite: Array,  # (B,), ones
) -> None:
    """As `loss_and_gradient_by_chunk`, the gradient held once and owned by slabs of it."""
    n_classes = b.size
    n_features = W_tiles.size // n_classes
    n_slabs = ceil_div(n_features, tile_width(b)) * ceil_div(class_tiles(n_classes), SLAB_TILES)
    G_T = partial_G_T[0]
    Z_T = np.empty((SLAB_ROWS // ROW_BLOCK, n_classes, ROW_BLOCK), b.dtype)
    for start in range(0, n_rows, SLAB_ROWS):
        slab_rows = min(SLAB_ROWS, n_rows - start)
        for i in prange(ceil_div(slab_rows, ROW_BLOCK)):
            loss, block_finite = block_residuals(
                X,
                targets,
                sample_weight,
                start + i * ROW_BLOCK,
                min(ROW_BLOCK, slab_rows - i * ROW_BLOCK),
                W_tiles,
                b,
                label_smoothing,
                Z_T[i],
                partial_g_b[i],
            )
            partial_loss[i] += loss
            finite[i] &= block_finite
        for slab in prange(n_slabs):
            add_slab(X, start, slab_rows, slab, n_features, Z_T, G_T)


@parallel_jit
def combine(
    partial_G_T: Array,  # (C, K, padded D)
    partial_g_b: Array,  # (B, K)
    W: Array,  # (D, K)
    scale: float,
    l2: float,
    grad_W: Array,  # (D, K)
    grad_b: Array,  # (K,)
) -> None:
    """grad_W = scale * (sum of the partials) + l2 W, and grad_b likewise without l2.

    Each class owns its column. Sums run in float64, in the order of the chunks.
    """
    n_features, n_classes = grad_W.shape
    for k in prange(n_classes):
        total_b = 0.0
        for c in range(partial_g_b.shape[0]):
            total_b += partial_g_b[c, k]
        grad_b[k] = scale * total_b
        total = np.zeros(n_features, np.float64)
        for c in range(partial_G_T.shape[0]):
            for d in range(n_features):
                total[d] += partial_G_T[c, k, d]
        for d in range(n_features):
            grad_W[d, k] = scale * total[d] + l2 * W[d, k]


@jit
def rows_losses(
    X: Rows,
    targets: Rows,
    sample_weight: Rows,
    start: int,
    stop: int,
    W_tiles: Array,
    b: Array,
    label_smoothing: float,
    row_loss: Array,  # (N,)
) -> bool:
    """row_loss[n] = weight * J for rows start...stop; returns whether all logits are finite."""
    n_classes = b.size
    n_features = W_tiles.size // n_classes
    scratch = rows_scratch(X, n_features, b)
    X_T = transposed_scratch(n_features, b)
    Z_T = np.empty((n_classes, ROW_BLOCK), b.dtype)
    weights = np.empty(ROW_BLOCK, b.dtype)
    losses = np.empty(ROW_BLOCK, b.dtype)
    block_targets = targets_scratch(targets, n_classes, b)
    finite = True
    for first in range(start, stop, ROW_BLOCK):
        count = min(ROW_BLOCK, stop - first)
        finite &= logits_of_block(X, first, count, W_tiles, b, scratch, X_T, Z_T)
        load_weights_and_targets(sample_weight, targets, first, count, weights, block_targets)
        for g in range(groups(Z_T, count)):
            t = lanes_of_targets(block_targets, g)
            J = row.cross_entropy(lanes(Z_T, g), t, label_smoothing)
            store(J, address_of(losses) + g * VECTOR_BYTES)
        for r in range(count):
            row_loss[first + r] = np.float64(weights[r]) * np.float64(losses[r])
    return finite


@parallel_jit
def losses(
    X: Rows,
    targets: Rows,
    sample_weight: Rows,
    W_tiles: Array,
    b: Array,
    label_smoothing: float,
    row_loss: Array,  # (N,)
    finite: Array,  # (C,)
) -> None:
    """row_loss[n] = weight * J of row n."""
    size = chunk_rows(row_loss.size)
    for c in prange(finite.size):
        finite[c] = rows_losses(
            X,
            targets,
            sample_weight,
            c * size,
            min((c + 1) * size, row_loss.size),
            W_tiles,
            b,
            label_smoothing,
            row_loss,
        )
