"""From X to what a model says of each row, a block of rows at a time.

Fused: the logits of a block become the answer in place. Never materialised: anything N x K but
the caller's `out`. Each block owns its rows of `out` and its entry of `finite`, which tells
whether the block's logits all were.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from fastsoftmax.kernels._jit import jit, parallel_jit
from fastsoftmax.kernels.blocks import ROW_BLOCK
from fastsoftmax.kernels.memory import Array, Rows, load_rows, store_rows
from fastsoftmax.kernels.row import all_finite, argmax, log_softmax, softmax
from fastsoftmax.kernels.tiles import logits


@jit
def logits_of_block(X: Rows, n_rows: int, W_T: Array, b: Array, block: int, finite: Array) -> Array:
    """Z (R, K) of one block of rows."""
    first = block * ROW_BLOCK
    rows = np.empty((min(ROW_BLOCK, n_rows - first), W_T.shape[1]), W_T.dtype)
    Z = np.empty((rows.shape[0], W_T.shape[0]), W_T.dtype)
    load_rows(X, first, rows)
    logits(rows, W_T, b, Z)
    finite[block] = all_finite(Z)
    return Z


@parallel_jit
def decision_function(X: Rows, n_rows: int, W_T: Array, b: Array, out: Rows, finite: Array) -> None:
    """out (N, K) = X W + b."""
    for block in prange(finite.size):
        Z = logits_of_block(X, n_rows, W_T, b, block, finite)
        store_rows(Z, block * ROW_BLOCK, out)


@parallel_jit
def predict_proba(X: Rows, n_rows: int, W_T: Array, b: Array, out: Rows, finite: Array) -> None:
    """out (N, K) = softmax of each row of X W + b."""
    for block in prange(finite.size):
        Z = logits_of_block(X, n_rows, W_T, b, block, finite)
        for r in range(Z.shape[0]):
            softmax(Z[r])
        store_rows(Z, block * ROW_BLOCK, out)


@parallel_jit
def predict_log_proba(X: Rows, n_rows: int, W_T: Array, b: Array, out: Rows, finite: Array) -> None:
    """out (N, K) = log-softmax of each row of X W + b."""
    for block in prange(finite.size):
        Z = logits_of_block(X, n_rows, W_T, b, block, finite)
        for r in range(Z.shape[0]):
            log_softmax(Z[r])
        store_rows(Z, block * ROW_BLOCK, out)


@parallel_jit
def predict(X: Rows, n_rows: int, W_T: Array, b: Array, out: Rows, finite: Array) -> None:
    """out (N, 1) = the first class with the largest logit."""
    for block in prange(finite.size):
        Z = logits_of_block(X, n_rows, W_T, b, block, finite)
        best = np.empty((Z.shape[0], 1), np.int64)
        for r in range(Z.shape[0]):
            best[r, 0] = argmax(Z[r])
        store_rows(best, block * ROW_BLOCK, out)
