"""From X to what a model says of each row, a block of rows at a time.

Fused: the logits of a block become the answer in place. Never materialised: anything N x K but
the caller's `out`. Each chunk owns its rows of `out` and its entry of `finite`, which tells
whether the chunk's logits all were.
"""

from __future__ import annotations

from numba import prange

from fastsoftmax.kernels import row
from fastsoftmax.kernels._jit import jit, parallel_jit
from fastsoftmax.kernels.block import (
    groups,
    int_lanes,
    lanes,
    logits_of_block,
    logits_scratch,
    rows_scratch,
    store_block,
)
from fastsoftmax.kernels.blocks import ROW_BLOCK, chunk_rows
from fastsoftmax.kernels.memory import Array, Rows, store_item
from fastsoftmax.kernels.products import transposed_scratch
from fastsoftmax.kernels.simd import address_of, store
from fastsoftmax.kernels.vector_ir import VECTOR_BYTES


@jit
def workspace(X: Rows, W_tiles: Array, b: Array) -> tuple[Array, Array, Array]:
    """Scratch for a block: its rows, their transpose, and Z_T (K, ROW_BLOCK)."""
    n_features = W_tiles.size // b.size
    scratch = rows_scratch(X, n_features, b)
    return scratch, transposed_scratch(n_features, b), logits_scratch(b.size, b)


@jit
def decision_function_of_rows(
    X: Rows, start: int, stop: int, W_tiles: Array, b: Array, out: Rows
) -> bool:
    """Rows start...stop; returns whether all their logits are finite."""
    scratch, X_T, Z_T = workspace(X, W_tiles, b)
    finite = True
    for first in range(start, stop, ROW_BLOCK):
        count = min(ROW_BLOCK, stop - first)
        finite &= logits_of_block(X, first, count, W_tiles, b, scratch, X_T, Z_T)
        store_block(Z_T, first, count, out)
    return finite


@parallel_jit
def decision_function(
    X: Rows, n_rows: int, W_tiles: Array, b: Array, out: Rows, finite: Array
) -> None:
    """out (N, K) = X W + b."""
    size = chunk_rows(n_rows)
    for c in prange(finite.size):
        stop = min((c + 1) * size, n_rows)
        finite[c] = decision_function_of_rows(X, c * size, stop, W_tiles, b, out)


@jit
def predict_proba_of_rows(
    X: Rows, start: int, stop: int, W_tiles: Array, b: Array, out: Rows
) -> bool:
    """Rows start...stop; returns whether all their logits are finite."""
    scratch, X_T, Z_T = workspace(X, W_tiles, b)
    finite = True
    for first in range(start, stop, ROW_BLOCK):
        count = min(ROW_BLOCK, stop - first)
        finite &= logits_of_block(X, first, count, W_tiles, b, scratch, X_T, Z_T)
        for g in range(groups(Z_T, count)):
            row.softmax(lanes(Z_T, g), lanes(Z_T, g))
        store_block(Z_T, first, count, out)
    return finite


@parallel_jit
def predict_proba(X: Rows, n_rows: int, W_tiles: Array, b: Array, out: Rows, finite: Array) -> None:
    """out (N, K) = softmax of each row of X W + b."""
    size = chunk_rows(n_rows)
    for c in prange(finite.size):
        stop = min((c + 1) * size, n_rows)
        finite[c] = predict_proba_of_rows(X, c * size, stop, W_tiles, b, out)


@jit
def predict_log_proba_of_rows(
    X: Rows, start: int, stop: int, W_tiles: Array, b: Array, out: Rows
) -> bool:
    """Rows start...stop; returns whether all their logits are finite."""
    scratch, X_T, Z_T = workspace(X, W_tiles, b)
    finite = True
    for first in range(start, stop, ROW_BLOCK):
        count = min(ROW_BLOCK, stop - first)
        finite &= logits_of_block(X, first, count, W_tiles, b, scratch, X_T, Z_T)
        for g in range(groups(Z_T, count)):
            row.log_softmax(lanes(Z_T, g), lanes(Z_T, g))
        store_block(Z_T, first, count, out)
    return finite


@parallel_jit
def predict_log_proba(
    X: Rows, n_rows: int, W_tiles: Array, b: Array, out: Rows, finite: Array
) -> None:
    """out (N, K) = log-softmax of each row of X W + b."""
    size = chunk_rows(n_rows)
    for c in prange(finite.size):
        stop = min((c + 1) * size, n_rows)
        finite[c] = predict_log_proba_of_rows(X, c * size, stop, W_tiles, b, out)


@jit
def predict_of_rows(X: Rows, start: int, stop: int, W_tiles: Array, b: Array, out: Rows) -> bool:
    """Rows start...stop; returns whether all their logits are finite."""
    scratch, X_T, Z_T = workspace(X, W_tiles, b)
    best = int_lanes(b)
    finite = True
    for first in range(start, stop, ROW_BLOCK):
        count = min(ROW_BLOCK, stop - first)
        finite &= logits_of_block(X, first, count, W_tiles, b, scratch, X_T, Z_T)
        for g in range(groups(Z_T, count)):
            store(row.argmax(lanes(Z_T, g)), address_of(best) + g * VECTOR_BYTES)
        for r in range(count):
            store_item(out.item, out.address + (first + r) * out.row_stride, best[r])
    return finite


@parallel_jit
def predict(X: Rows, n_rows: int, W_tiles: Array, b: Array, out: Rows, finite: Array) -> None:
    """out (N, 1) = the first class with the largest logit."""
    size = chunk_rows(n_rows)
    for c in prange(finite.size):
        stop = min((c + 1) * size, n_rows)
        finite[c] = predict_of_rows(X, c * size, stop, W_tiles, b, out)
