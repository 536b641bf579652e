"""From X to what a model says of each row, a block of rows at a time.

Fused: the logits of a block become the answer in place. Never materialised: anything N x K but
the caller's `out`. Each chunk owns its rows of `out` and its entry of `overflows`, which tells
whether one of its logits was not finite. The kernels return whether all are.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastsoftmax.kernels.compile.jit import jit, jit_borrowing, jit_callable, jit_inline
from fastsoftmax.kernels.compile.parallel import for_each
from fastsoftmax.kernels.products.block import (
    find_rows,
    groups,
    lanes,
    logits_of_block,
    logits_scratch,
    none_of,
    rows_scratch,
    rows_table,
    store_block,
    store_log_softmax,
    store_softmax,
)
from fastsoftmax.kernels.products.logits import transposed_scratch
from fastsoftmax.kernels.rows import row
from fastsoftmax.kernels.rows.targets import may_be_absent, weight_of
from fastsoftmax.kernels.tiles.packing import pack_weights
from fastsoftmax.kernels.tiles.sizes import ROW_BLOCK, chunk_rows, n_chunks
from fastsoftmax.kernels.vectors import simd
from fastsoftmax.kernels.vectors.memory import Array, Rows, item_bytes, store_item
from fastsoftmax.kernels.vectors.simd import address_of
from fastsoftmax.kernels.vectors.vector_ir import VECTOR_BYTES


class Problem(NamedTuple):
    """What a prediction is computed from."""

    X: Rows  # (N, D)
    sample_weight: Rows  # (N, 1), only whether they are zero counts
    n_rows: int
    W: Rows  # (D, K)
    n_features: int
    W_tiles: Array  # room for W packed
    b: Array  # (K,)
    zeros: Array  # from `zero_row`


@jit
def prepared(given: Any) -> Problem:
    """The problem of its fields in plain tuples, as in `fused.prepared`, with W packed."""
    X, sample_weight, n_rows, W, n_features, W_tiles, b, zeros = given
    rows_of_W = Rows(W[0], W[1], W[2], W[3])
    pack_weights(rows_of_W, n_features, b.size, W_tiles)
    return Problem(
        Rows(X[0], X[1], X[2], X[3]),
        Rows(sample_weight[0], sample_weight[1], sample_weight[2], sample_weight[3]),
        n_rows,
        rows_of_W,
        n_features,
        W_tiles,
        b,
        zeros,
    )


@jit_borrowing
def load_logits(
    problem: Problem, first: int, n_rows: int, rows: Array, scratch: Array, X_T: Array, Z_T: Array
) -> bool:
    """Z_T (K, ROW_BLOCK) of n_rows rows from `first` on; returns whether all are finite."""
    X, weight, _, _, n_features, W_tiles, b, zeros = problem
    find_rows(X, first, n_rows, scratch, rows)
    for r in range(ROW_BLOCK if may_be_absent(weight) else 0):
        if weight_of(weight, first + min(r, n_rows - 1)) == 0:
            rows[r] = address_of(zeros)
    return logits_of_block(rows, n_rows, n_features, W_tiles, b, X_T, Z_T)


@jit
def predict_chunk(c: int, problem: Problem, out: Rows, overflows: Array, finish: Any) -> None:
    """The rows of chunk c; `finish` makes the answer of a block of logits."""
    b, n_features = problem.b, problem.n_features
    rows, scratch = rows_table(), rows_scratch(problem.X, n_features, b)
    X_T, Z_T = transposed_scratch(n_features, b), logits_scratch(b.size, b)
    size = chunk_rows(problem.n_rows)
    stop = min((c + 1) * size, problem.n_rows)
    for first in range(c * size, stop, ROW_BLOCK):
        count = min(ROW_BLOCK, stop - first)
        overflows[c] |= not load_logits(problem, first, count, rows, scratch, X_T, Z_T)
        finish(Z_T, first, count, out)


@jit_inline
def predict_all(run: int, given: Any, out: Any, finish: Any) -> bool:
    """Every chunk of rows; whether all logits are finite.

    Numba compiles a chunk for each `finish`, as it would for as many copies of this code.
    """
    problem, rows = prepared(given), Rows(out[0], out[1], out[2], out[3])
    overflows = np.zeros(n_chunks(problem.n_rows), np.bool_)
    for_each(run, overflows.size, predict_chunk, (problem, rows, overflows, finish))
    return none_of(overflows)


@jit_callable
def decision_function(run: int, given: Any, out: Any) -> bool:
    """out (N, K) = X W + b."""
    return predict_all(run, given, out, store_block)


@jit_callable
def predict_proba(run: int, given: Any, out: Any) -> bool:
    """out (N, K) = softmax of each row of X W + b."""
    return predict_all(run, given, out, store_softmax)


@jit_callable
def predict_log_proba(run: int, given: Any, out: Any) -> bool:
    """out (N, K) = log-softmax of each row of X W + b."""
    return predict_all(run, given, out, store_log_softmax)


@jit_borrowing
def store_argmax(Z_T: Array, first: int, n_rows: int, out: Rows) -> None:
    """out[first : first + n_rows] = the first class with the largest logit."""
    per_group = VECTOR_BYTES // item_bytes(Z_T)
    for g in range(groups(Z_T, n_rows)):
        best, start = row.argmax(lanes(Z_T, g)), g * per_group
        for r in range(start, min(start + per_group, n_rows)):
            place = out.address + (first + r) * out.row_stride
            store_item(out.item, place, simd.extract(best, r - start))


@jit_callable
def predict(run: int, given: Any, out: Any) -> bool:
    """out (N, 1) = the first class with the largest logit."""
    return predict_all(run, given, out, store_argmax)
