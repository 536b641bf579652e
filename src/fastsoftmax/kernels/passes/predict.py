"""From X to what a model says of each row, a block of rows at a time.

Fused: the logits of a block become the answer in place. Never materialised: anything N x K but
the caller's `out`. Each chunk owns its rows of `out` and its entry of `overflows`, which tells
whether one of its logits was not finite.
"""

from __future__ import annotations

from typing import NamedTuple

from fastsoftmax.kernels.compile.jit import jit, jit_callable
from fastsoftmax.kernels.compile.parallel import for_each
from fastsoftmax.kernels.products.block import (
    groups,
    int_lanes,
    lanes,
    logits_of_block,
    logits_scratch,
    rows_scratch,
    store_block,
)
from fastsoftmax.kernels.products.logits import transposed_scratch
from fastsoftmax.kernels.rows import row
from fastsoftmax.kernels.tiles.packing import pack_weights
from fastsoftmax.kernels.tiles.sizes import ROW_BLOCK, chunk_rows
from fastsoftmax.kernels.vectors.memory import Array, Rows, store_item
from fastsoftmax.kernels.vectors.simd import address_of, store
from fastsoftmax.kernels.vectors.vector_ir import VECTOR_BYTES


class Problem(NamedTuple):
    """What a prediction is computed from."""

    X: Rows  # (N, D)
    n_rows: int
    W: Rows  # (D, K)
    n_features: int
    W_tiles: Array  # room for W packed
    b: Array  # (K,)


@jit
def workspace(problem: Problem) -> tuple[Array, Array, Array]:
    """Scratch for a block: its rows, their transpose, and Z_T (K, ROW_BLOCK)."""
    b, n_features = problem.b, problem.n_features
    scratch = rows_scratch(problem.X, n_features, b)
    return scratch, transposed_scratch(n_features, b), logits_scratch(b.size, b)


@jit
def rows_of_chunk(c: int, problem: Problem) -> tuple[int, int]:
    """(first row, the row after the last)."""
    size = chunk_rows(problem.n_rows)
    return c * size, min((c + 1) * size, problem.n_rows)


@jit
def decision_function_of_chunk(c: int, problem: Problem, out: Rows, overflows: Array) -> None:
    """The rows of chunk c."""
    X, _, _, _, W_tiles, b = problem
    scratch, X_T, Z_T = workspace(problem)
    start, stop = rows_of_chunk(c, problem)
    for first in range(start, stop, ROW_BLOCK):
        count = min(ROW_BLOCK, stop - first)
        finite = logits_of_block(X, first, count, W_tiles, b, scratch, X_T, Z_T)
        overflows[c] |= not finite
        store_block(Z_T, first, count, out)


@jit_callable
def decision_function(run: int, problem: Problem, out: Rows, overflows: Array) -> None:
    """out (N, K) = X W + b."""
    pack_weights(problem.W, problem.n_features, problem.b.size, problem.W_tiles)
    for_each(run, overflows.size, decision_function_of_chunk, (problem, out, overflows))


@jit
def predict_proba_of_chunk(c: int, problem: Problem, out: Rows, overflows: Array) -> None:
    """The rows of chunk c."""
    X, _, _, _, W_tiles, b = problem
    scratch, X_T, Z_T = workspace(problem)
    start, stop = rows_of_chunk(c, problem)
    for first in range(start, stop, ROW_BLOCK):
        count = min(ROW_BLOCK, stop - first)
        finite = logits_of_block(X, first, count, W_tiles, b, scratch, X_T, Z_T)
        overflows[c] |= not finite
        for g in range(groups(Z_T, count)):
            row.softmax(lanes(Z_T, g), lanes(Z_T, g))
        store_block(Z_T, first, count, out)


@jit_callable
def predict_proba(run: int, problem: Problem, out: Rows, overflows: Array) -> None:
    """out (N, K) = softmax of each row of X W + b."""
    pack_weights(problem.W, problem.n_features, problem.b.size, problem.W_tiles)
    for_each(run, overflows.size, predict_proba_of_chunk, (problem, out, overflows))


@jit
def predict_log_proba_of_chunk(c: int, problem: Problem, out: Rows, overflows: Array) -> None:
    """The rows of chunk c."""
    X, _, _, _, W_tiles, b = problem
    scratch, X_T, Z_T = workspace(problem)
    start, stop = rows_of_chunk(c, problem)
    for first in range(start, stop, ROW_BLOCK):
        count = min(ROW_BLOCK, stop - first)
        finite = logits_of_block(X, first, count, W_tiles, b, scratch, X_T, Z_T)
        overflows[c] |= not finite
        for g in range(groups(Z_T, count)):
            row.log_softmax(lanes(Z_T, g), lanes(Z_T, g))
        store_block(Z_T, first, count, out)


@jit_callable
def predict_log_proba(run: int, problem: Problem, out: Rows, overflows: Array) -> None:
    """out (N, K) = log-softmax of each row of X W + b."""
    pack_weights(problem.W, problem.n_features, problem.b.size, problem.W_tiles)
    for_each(run, overflows.size, predict_log_proba_of_chunk, (problem, out, overflows))


@jit
def predict_of_chunk(c: int, problem: Problem, out: Rows, overflows: Array) -> None:
    """The rows of chunk c."""
    X, _, _, _, W_tiles, b = problem
    scratch, X_T, Z_T = workspace(problem)
    best = int_lanes(b)
    start, stop = rows_of_chunk(c, problem)
    for first in range(start, stop, ROW_BLOCK):
        count = min(ROW_BLOCK, stop - first)
        finite = logits_of_block(X, first, count, W_tiles, b, scratch, X_T, Z_T)
        overflows[c] |= not finite
        for g in range(groups(Z_T, count)):
            store(row.argmax(lanes(Z_T, g)), address_of(best) + g * VECTOR_BYTES)
        for r in range(count):
            store_item(out.item, out.address + (first + r) * out.row_stride, best[r])


@jit_callable
def predict(run: int, problem: Problem, out: Rows, overflows: Array) -> None:
    """out (N, 1) = the first class with the largest logit."""
    pack_weights(problem.W, problem.n_features, problem.b.size, problem.W_tiles)
    for_each(run, overflows.size, predict_of_chunk, (problem, out, overflows))
