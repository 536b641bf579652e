"""Mini-batch SGD: whole runs of batches inside one compiled call.

Fused: the rows of a batch are gathered a block at a time by their indices, and the block's share
of the gradient is added while they are in cache. Never materialised: a gathered batch or copy of
X, probabilities, one-hot labels.
Writes: each chunk of a batch owns one entry of the `partial_` arrays of the state; each class
owns its row of the weights in the update, where the chunks are added up in order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import prange

from fastsoftmax.kernels._jit import parallel_jit
from fastsoftmax.kernels.blocks import ROW_BLOCK, ceil_div
from fastsoftmax.kernels.memory import Array, Rows, gather_rows
from fastsoftmax.kernels.row import cross_entropy_gradient
from fastsoftmax.kernels.tiles import add_gradient, add_rows, logits


class SGDState(NamedTuple):
    """What a step reads and writes; C chunks per batch."""

    W_T: Array  # (K, D)
    b: Array  # (K,)
    velocity_W_T: Array  # (K, D)
    velocity_b: Array  # (K,)
    partial_G_T: Array  # (C, K, D)
    partial_g_b: Array  # (C, K)
    partial_loss: Array  # (C,)


@parallel_jit
def sgd_steps(
    X: Rows,
    targets: Rows,
    order: Array,
    batch_size: int,
    learning_rate: float,
    momentum: float,
    l2: float,
    state: SGDState,
    batch_loss: Array,
) -> None:
    """One step per batch of `order` (n,), the rows to visit; batch_loss[i] = sum of J in batch i.

    v = momentum v + (mean gradient + l2 W), W = W - learning_rate v; b likewise, without l2.
    """
    W_T, b, velocity_W_T, velocity_b, partial_G_T, partial_g_b, partial_loss = state
    n_classes, n_features = W_T.shape
    n_chunks = partial_loss.size
    for batch in range(batch_loss.size):
        start = batch * batch_size
        count = min(batch_size, order.size - start)
        size = ceil_div(ceil_div(count, n_chunks), ROW_BLOCK) * ROW_BLOCK
        for c in prange(n_chunks):
            rows = np.empty((ROW_BLOCK, n_features), W_T.dtype)
            Z = np.empty((ROW_BLOCK, n_classes), W_T.dtype)
            partial_G_T[c] = 0
            partial_g_b[c] = 0
            loss = 0.0
            for first in range(
                start + c * size, min(start + (c + 1) * size, start + count), ROW_BLOCK
            ):
                height = min(ROW_BLOCK, start + count - first)
                gather_rows(X, order, first, rows[:height])
                logits(rows[:height], W_T, b, Z[:height])
                for r in range(height):
                    loss += cross_entropy_gradient(
                        Z[r], targets, order[first + r], 1.0 / count, 0.0
                    )
                add_gradient(rows[:height], Z[:height], partial_G_T[c])
                add_rows(Z[:height], partial_g_b[c])
            partial_loss[c] = loss
        for k in prange(n_classes):
            for c in range(1, n_chunks):
                partial_g_b[0, k] += partial_g_b[c, k]
                for d in range(n_features):
                    partial_G_T[0, k, d] += partial_G_T[c, k, d]
            velocity_b[k] = momentum * velocity_b[k] + partial_g_b[0, k]
            b[k] -= learning_rate * velocity_b[k]
            for d in range(n_features):
                gradient = partial_G_T[0, k, d] + l2 * W_T[k, d]
                velocity_W_T[k, d] = momentum * velocity_W_T[k, d] + gradient
                W_T[k, d] -= learning_rate * velocity_W_T[k, d]
        batch_loss[batch] = partial_loss.sum()
