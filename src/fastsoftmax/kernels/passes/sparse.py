"""Loss, residuals and answers of a slab of sparse rows, whose entries lie in buckets.

Fused: a chunk's logits are summed up entry by entry, with the rows of W read where they lie, and
become losses and residuals, or the answer, a block at a time, in cache. What is left of a slab are
its residuals, for `buckets.add_columns`: nothing else is N x K.
Each chunk of rows owns its rows of the output and its entry of the sums, which are added up in the
order of the chunks.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastsoftmax.kernels.compile.jit import jit, jit_callable, jit_inline
from fastsoftmax.kernels.compile.parallel import for_each
from fastsoftmax.kernels.passes.buckets import COLUMN_AT, ROW_AT, Buckets
from fastsoftmax.kernels.passes.predict import store_argmax
from fastsoftmax.kernels.products.block import (
    add_row_sums,
    all_finite,
    groups,
    lanes,
    lanes_of_targets,
    load_block,
    load_weights_and_targets,
    logits_scratch,
    none_of,
    residuals,
    store_block,
    store_log_softmax,
    store_softmax,
    targets_scratch,
    weighted_sum,
)
from fastsoftmax.kernels.products.entries import Entries, add_entries
from fastsoftmax.kernels.rows import row
from fastsoftmax.kernels.tiles.packing import padded
from fastsoftmax.kernels.tiles.sizes import ROW_BLOCK, chunk_rows, n_chunks
from fastsoftmax.kernels.vectors.memory import (
    CACHE_LINE,
    Array,
    Rows,
    Strided,
    item_bytes,
)
from fastsoftmax.kernels.vectors.simd import address_of, store
from fastsoftmax.kernels.vectors.vector_ir import VECTOR_BYTES


class Model(NamedTuple):
    """What the logits of a slab are computed from."""

    buckets: Buckets
    sample_weight: Rows  # (N, 1)
    first: int  # the slab's first row
    n_rows: int  # of the slab
    W: Strided  # K numbers for each feature
    b: Array  # (K,)


@jit
def prepared(given: Any) -> Model:
    """The model of its fields, in plain tuples, which Numba takes faster than named ones."""
    buckets, sample_weight, first, n_rows, W, b = given
    weight = Rows(sample_weight[0], sample_weight[1], sample_weight[2], sample_weight[3])
    return Model(buckets, weight, first, n_rows, Strided(W[0], W[1]), b)


@jit
def aligned_rows(n_rows: int, n_columns: int, item: Array) -> Array:
    """Room (n_rows, n_columns) whose rows of whole vectors lie in as few cache lines as can be."""
    size = item_bytes(item)
    room = np.empty(n_rows * n_columns + CACHE_LINE // size, item.dtype)
    first = -address_of(room) % CACHE_LINE // size
    return room[first : first + n_rows * n_columns].reshape(n_rows, n_columns)


@jit
def logits_of_chunk(c: int, model: Model) -> Array:
    """Z (rows, padded K) of chunk c, in whole vectors; b for rows without weight."""
    b, buckets = model.b, model.buckets
    size = chunk_rows(model.n_rows)
    n_rows = min(size, model.n_rows - c * size)
    Z = aligned_rows(n_rows, padded(b.size, item_bytes(b)), b)
    for r in range(n_rows):
        for k in range(b.size):
            Z[r, k] = b[k]
    stride = Z.shape[1] * item_bytes(Z)
    pairs = address_of(buckets.pairs)
    entries = Entries(
        buckets.values,
        address_of(buckets.values),
        pairs + COLUMN_AT,
        pairs + ROW_AT,
        buckets.starts[c, 0],
        buckets.starts[c, buckets.starts.shape[1] - 1],
    )
    rows_of_Z = Strided(address_of(Z) - c * size * stride, stride)
    add_entries(b, entries, b.size, model.W, rows_of_Z)
    return Z


@jit_inline
def load_logits(Z: Array, first: int, n_rows: int, Z_T: Array) -> bool:
    """Z_T (K, ROW_BLOCK) = n_rows rows of Z; whether all are finite."""
    load_block(
        Rows(Z_T, address_of(Z), Z.shape[1] * item_bytes(Z), item_bytes(Z)), first, n_rows, Z_T
    )
    return all_finite(Z_T)


class Sums(NamedTuple):
    """Sums over C chunks of rows, which those of further slabs are added to."""

    loss: Array  # (C,)
    g_b: Array  # (C, K)
    overflows: Array  # (C,), whether a logit was not finite


@jit
def chunk_residuals(
    c: int, model: Model, targets: Rows, label_smoothing: float, scale: float, R: Rows, sums: Sums
) -> None:
    """R (n_rows, K) of the rows of chunk c, and their sums."""
    scaled = np.zeros(ROW_BLOCK, np.float64)
    b = model.b
    Z, Z_T = logits_of_chunk(c, model), logits_scratch(b.size, b)
    weights, block = np.empty(ROW_BLOCK, np.float64), targets_scratch(targets, b.size, b)
    losses = np.empty(ROW_BLOCK, b.dtype)
    size = chunk_rows(model.n_rows)
    for first in range(c * size, min((c + 1) * size, model.n_rows), ROW_BLOCK):
        count = min(ROW_BLOCK, model.n_rows - first)
        n = model.first + first
        load_weights_and_targets(model.sample_weight, targets, n, count, weights, block)
        sums.overflows[c] |= not load_logits(Z, first - c * size, count, Z_T)
        for r in range(ROW_BLOCK):
            scaled[r] = scale * weights[r]
        residuals(Z_T, block, scaled, label_smoothing, losses)
        sums.loss[c] += weighted_sum(losses[:count], weights)
        add_row_sums(Z_T, sums.g_b[c])
        store_block(Z_T, first, count, R)


@jit_callable
def residuals_of_slab(
    run: int,
    given: Any,  # as `prepared` takes it
    targets: Any,
    label_smoothing: float,
    scale: float,
    R: Any,  # (n_rows, K)
    sums: Sums,
) -> bool:
    """R = scale * weight * (s P - T) of a slab of rows. Returns whether all logits are finite."""
    model = prepared(given)
    t = Rows(targets[0], targets[1], targets[2], targets[3])
    out = Rows(R[0], R[1], R[2], R[3])
    tasks = (model, t, label_smoothing, scale, out, sums)
    for_each(run, n_chunks(model.n_rows), chunk_residuals, tasks)
    return none_of(sums.overflows)


@jit
def chunk_losses(
    c: int, model: Model, targets: Rows, label_smoothing: float, row_loss: Array, overflows: Array
) -> None:
    """row_loss[n] = weight * J for the rows of chunk c."""
    b = model.b
    Z, Z_T = logits_of_chunk(c, model), logits_scratch(b.size, b)
    weights, block = np.empty(ROW_BLOCK, np.float64), targets_scratch(targets, b.size, b)
    losses = np.empty(ROW_BLOCK, b.dtype)
    size = chunk_rows(model.n_rows)
    for first in range(c * size, min((c + 1) * size, model.n_rows), ROW_BLOCK):
        count = min(ROW_BLOCK, model.n_rows - first)
        n = model.first + first
        load_weights_and_targets(model.sample_weight, targets, n, count, weights, block)
        overflows[c] |= not load_logits(Z, first - c * size, count, Z_T)
        for g in range(groups(Z_T, count)):
            J = row.cross_entropy(lanes(Z_T, g), lanes_of_targets(block, g), label_smoothing)
            store(J, address_of(losses) + g * VECTOR_BYTES)
        for r in range(count):
            row_loss[n + r] = weights[r] * np.float64(losses[r])


@jit_callable
def losses(
    run: int,
    given: Any,
    targets: Any,
    label_smoothing: float,
    row_loss: Array,  # (N,)
) -> bool:
    """row_loss[n] = weight * J of each row n of a slab. Returns whether all logits are finite."""
    model = prepared(given)
    overflows = np.zeros(n_chunks(model.n_rows), np.bool_)
    t = Rows(targets[0], targets[1], targets[2], targets[3])
    tasks = (model, t, label_smoothing, row_loss, overflows)
    for_each(run, overflows.size, chunk_losses, tasks)
    return none_of(overflows)


@jit
def predict_chunk(c: int, model: Model, out: Rows, overflows: Array, finish: Any) -> None:
    """The rows of chunk c; `finish` makes the answer of a block of logits."""
    b = model.b
    Z, Z_T = logits_of_chunk(c, model), logits_scratch(b.size, b)
    size = chunk_rows(model.n_rows)
    for first in range(c * size, min((c + 1) * size, model.n_rows), ROW_BLOCK):
        count = min(ROW_BLOCK, model.n_rows - first)
        overflows[c] |= not load_logits(Z, first - c * size, count, Z_T)
        finish(Z_T, model.first + first, count, out)


@jit_inline
def predict_all(run: int, given: Any, out: Any, finish: Any) -> bool:
    """Every chunk of rows; whether all logits are finite."""
    model, rows = prepared(given), Rows(out[0], out[1], out[2], out[3])
    overflows = np.zeros(n_chunks(model.n_rows), np.bool_)
    for_each(run, overflows.size, predict_chunk, (model, rows, overflows, finish))
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


@jit_callable
def predict(run: int, given: Any, out: Any) -> bool:
    """out (N, 1) = for the rows of a slab, the first class with the largest logit."""
    return predict_all(run, given, out, store_argmax)
