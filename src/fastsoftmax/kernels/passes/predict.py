"""From X to what a model says of each row, a block of rows at a time.

Fused: the logits of a block become the answer in place. Never materialised: anything N x K but
the caller's `out`. Each chunk owns its rows of `out` and its entry of `overflows`, which tells
whether one of its logits was not finite. The kernels return whether all are.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastsoftmax.kernels.compile.jit import jit, jit_borrowing, jit_callable
from fastsoftmax.kernels.compile.parallel import for_each
from fastsoftmax.kernels.passes.fused import none_of
from fastsoftmax.kernels.products.block import (
    find_rows,
    groups,
    int_lanes,
    lanes,
    logits_of_block,
    logits_scratch,
    rows_scratch,
    rows_table,
    store_block,
)
from fastsoftmax.kernels.products.logits import transposed_scratch
from fastsoftmax.kernels.rows import row
from fastsoftmax.kernels.rows.targets import may_be_absent, weight_of
from fastsoftmax.kernels.tiles.packing import pack_weights
from fastsoftmax.kernels.tiles.sizes import ROW_BLOCK, chunk_rows, n_chunks
from fastsoftmax.kernels.vectors.memory import Array, Rows, store_item
from fastsoftmax.kernels.vectors.simd import address_of, store
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


@jit
def workspace(problem: Problem) -> tuple[Array, Array, Array, Array]:
    """Scratch for a block: table and room of its rows, their transpose, Z_T (K, ROW_BLOCK)."""
    b, n_features = problem.b, problem.n_features
    scratch = rows_scratch(problem.X, n_features, b)
    X_T = transposed_scratch(n_features, b)
    return rows_table(), scratch, X_T, logits_scratch(b.size, b)


@jit
def rows_of_chunk(c: int, problem: Problem) -> tuple[int, int]:
    """(first row, the row after the last)."""
    size = chunk_rows(problem.n_rows)
    return c * size, min((c + 1) * size, problem.n_rows)


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
def decision_function_of_chunk(c: int, problem: Problem, out: Rows, overflows: Array) -> None:
    """The rows of chunk c."""
    rows, scratch, X_T, Z_T = workspace(problem)
    start, stop = rows_of_chunk(c, problem)
    for first in range(start, stop, ROW_BLOCK):
        count = min(ROW_BLOCK, stop - first)
        overflows[c] |= not load_logits(problem, first, count, rows, scratch, X_T, Z_T)
        store_block(Z_T, first, count, out)


@jit_callable
def decision_function(run: int, given: Any, out: Any) -> bool:
    """out (N, K) = X W + b."""
    problem, rows = prepared(given), Rows(out[0], out[1], out[2], out[3])
    overflows = np.zeros(n_chunks(problem.n_rows), np.bool_)
    for_each(run, overflows.size, decision_function_of_chunk, (problem, rows, overflows))
    return none_of(overflows)


@jit
def predict_proba_of_chunk(c: int, problem: Problem, out: Rows, overflows: Array) -> None:
    """The rows of chunk c."""
    rows, scratch, X_T, Z_T = workspace(problem)
    start, stop = rows_of_chunk(c, problem)
    for first in range(start, stop, ROW_BLOCK):
        count = min(ROW_BLOCK, stop - first)
        overflows[c] |= not load_logits(problem, first, count, rows, scratch, X_T, Z_T)
        for g in range(groups(Z_T, count)):
            row.softmax(lanes(Z_T, g), lanes(Z_T, g))
        store_block(Z_T, first, count, out)


@jit_callable
def predict_proba(run: int, given: Any, out: Any) -> bool:
    """out (N, K) = softmax of each row of X W + b."""
    problem, rows = prepared(given), Rows(out[0], out[1], out[2], out[3])
    overflows = np.zeros(n_chunks(problem.n_rows), np.bool_)
    for_each(run, overflows.size, predict_proba_of_chunk, (problem, rows, overflows))
    return none_of(overflows)


@jit
def predict_log_proba_of_chunk(c: int, problem: Problem, out: Rows, overflows: Array) -> None:
    """The rows of chunk c."""
    rows, scratch, X_T, Z_T = workspace(problem)
    start, stop = rows_of_chunk(c, problem)
    for first in range(start, stop, ROW_BLOCK):
        count = min(ROW_BLOCK, stop - first)
        overflows[c] |= not load_logits(problem, first, count, rows, scratch, X_T, Z_T)
        for g in range(groups(Z_T, count)):
            row.log_softmax(lanes(Z_T, g), lanes(Z_T, g))
        store_block(Z_T, first, count, out)


@jit_callable
def predict_log_proba(run: int, given: Any, out: Any) -> bool:
    """out (N, K) = log-softmax of each row of X W + b."""
    problem, rows = prepared(given), Rows(out[0], out[1], out[2], out[3])
    overflows = np.zeros(n_chunks(problem.n_rows), np.bool_)
    for_each(run, overflows.size, predict_log_proba_of_chunk, (problem, rows, overflows))
    return none_of(overflows)


@jit
def predict_of_chunk(c: int, problem: Problem, out: Rows, overflows: Array) -> None:
    """The rows of chunk c."""
    rows, scratch, X_T, Z_T = workspace(problem)
    best = int_lanes(problem.b)
    start, stop = rows_of_chunk(c, problem)
    for first in range(start, stop, ROW_BLOCK):
        count = min(ROW_BLOCK, stop - first)
        overflows[c] |= not load_logits(problem, first, count, rows, scratch, X_T, Z_T)
        for g in range(groups(Z_T, count)):
            store(row.argmax(lanes(Z_T, g)), address_of(best) + g * VECTOR_BYTES)
        for r in range(count):
            store_item(out.item, out.address + (first + r) * out.row_stride, best[r])


@jit_callable
def predict(run: int, given: Any, out: Any) -> bool:
    """out (N, 1) = the first class with the largest logit."""
    problem, rows = prepared(given), Rows(out[0], out[1], out[2], out[3])
    overflows = np.zeros(n_chunks(problem.n_rows), np.bool_)
    for_each(run, overflows.size, predict_of_chunk, (problem, rows, overflows))
    return none_of(overflows)
