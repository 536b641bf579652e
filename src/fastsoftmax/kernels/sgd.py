"""Mini-batch SGD: whole runs of batches inside one compiled call.

Fused: the rows of a batch are gathered a block at a time by their indices, and the block's share
of the gradient is added while they are in cache. Never materialised: a gathered batch or copy of
X, probabilities, one-hot labels.
Writes: each chunk of a batch owns one entry of the `partial_` arrays of the state; each tile of
classes owns its part of the weights in the update, where the chunks are added up in order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastsoftmax.kernels._jit import jit, jit_callable
from fastsoftmax.kernels.block import (
    add_row_sums,
    load_targets,
    logits_scratch,
    residuals,
    targets_scratch,
)
from fastsoftmax.kernels.blocks import ROW_BLOCK, ceil_div
from fastsoftmax.kernels.memory import Array, Rows, gather_rows
from fastsoftmax.kernels.parallel import for_each
from fastsoftmax.kernels.products import (
    add_gradient,
    class_tiles,
    first_class,
    logits,
    packed_row,
    tile_width,
    transposed_scratch,
)
from fastsoftmax.kernels.simd import address_of
from fastsoftmax.kernels.tile import A_GROUP


class SGDState(NamedTuple):
    """What a step reads and writes; C chunks per batch. Weights are packed by tile."""

    n_features: int
    W_tiles: Array  # packed
    b: Array  # (K,)
    velocity_W: Array  # as W_tiles
    velocity_b: Array  # (K,)
    partial_G_T: Array  # (C, K, padded D)
    partial_g_b: Array  # (C, K)
    partial_loss: Array  # (C,)


class Batches(NamedTuple):
    """What the steps read."""

    X: Rows  # (N, D)
    targets: Rows  # (N, 1)
    order: Array  # (n,), the rows to visit
    batch_size: int


@jit
def chunk_gradient(c: int, batches: Batches, start: int, stop: int, state: SGDState) -> None:
    """The sums over chunk c of the batch order[start:stop]."""
    X, targets, order, _ = batches
    b = state.b
    n_classes, n_chunks = b.size, state.partial_loss.size
    n_features = state.n_features
    size = ceil_div(ceil_div(stop - start, n_chunks), ROW_BLOCK) * ROW_BLOCK
    scratch = np.empty((ROW_BLOCK, n_features), b.dtype)
    X_T = transposed_scratch(n_features, b)
    Z_T = logits_scratch(n_classes, b)
    tail = np.empty(ROW_BLOCK * tile_width(b), b.dtype)
    weights = np.zeros(ROW_BLOCK, b.dtype)
    losses = np.empty(ROW_BLOCK, b.dtype)
    block_targets = targets_scratch(targets, n_classes, b)
    state.partial_G_T[c] = 0
    state.partial_g_b[c] = 0
    loss = 0.0
    for first in range(start + c * size, min(start + (c + 1) * size, stop), ROW_BLOCK):
        count = min(ROW_BLOCK, stop - first)
        gather_rows(X, order, first, scratch[:count])
        for r in range(count):
            load_targets(targets, r, order[first + r], block_targets)
        weights[:count] = 1.0 / (stop - start)
        weights[count:] = 0
        rows, stride = address_of(scratch), n_features * b.itemsize
        logits(rows, stride, count, n_features, state.W_tiles, b, X_T, Z_T)
        residuals(Z_T, block_targets, weights, 0.0, losses)
        loss += total(losses[:count])
        add_gradient(rows, stride, count, n_features, Z_T, tail, state.partial_G_T[c])
        add_row_sums(Z_T, state.partial_g_b[c])
    state.partial_loss[c] = loss


@jit_callable
def sgd_steps(
    run: int,
    batches: Batches,
    learning_rate: float,
    momentum: float,
    l2: float,
    state: SGDState,
    batch_loss: Array,
) -> None:
    """One step per batch; batch_loss[i] = sum of J in batch i.

    v = momentum v + (mean gradient + l2 W), W = W - learning_rate v; b likewise, without l2.
    """
    n_tiles = class_tiles(state.b.size)
    for batch in range(batch_loss.size):
        start = batch * batches.batch_size
        stop = min(start + batches.batch_size, batches.order.size)
        for_each(run, state.partial_loss.size, chunk_gradient, (batches, start, stop, state))
        for_each(run, n_tiles, update_tile, (learning_rate, momentum, l2, state))
        batch_loss[batch] = total(state.partial_loss)


@jit
def total(values: Array) -> float:
    """The sum of a few values, in order, in float64."""
    result = 0.0
    for value in values:
        result += value
    return result


@jit
def update_tile(t: int, learning_rate: float, momentum: float, l2: float, state: SGDState) -> None:
    """One step for the classes of tile t, adding up the chunks."""
    n_classes = state.b.size
    n_features = state.n_features
    start, stop = first_class(t, n_classes), first_class(t + 1, n_classes)
    for k in range(start, stop):
        gradient = 0.0
        for c in range(state.partial_loss.size):
            gradient += state.partial_g_b[c, k]
        state.velocity_b[k] = momentum * state.velocity_b[k] + gradient
        state.b[k] -= learning_rate * state.velocity_b[k]
        for group in range(0, n_features, A_GROUP):
            i = packed_row(k, group, n_features, n_classes)
            for d in range(group, min(group + A_GROUP, n_features)):
                gradient = l2 * state.W_tiles[i]
                for c in range(state.partial_loss.size):
                    gradient += state.partial_G_T[c, k, d]
                state.velocity_W[i] = momentum * state.velocity_W[i] + gradient
                state.W_tiles[i] -= learning_rate * state.velocity_W[i]
                i += 1
