"""Mini-batch SGD: whole runs of batches inside one compiled call.

Fused: the rows of a batch are read where they lie, or loaded a block at a time where they are
centred and scaled or of another type, and the block's share of the gradient is added while they
are in cache. Never materialised: a gathered batch or scaled copy of X, probabilities, one-hot
labels.
Writes: each chunk of a batch owns one entry of the `partial_` arrays of the state; each class owns
its part of the weights in the update, where the chunks are added up in order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastsoftmax.kernels.compile.jit import jit_borrowing, jit_callable_borrowing, jit_inline
from fastsoftmax.kernels.compile.parallel import for_each
from fastsoftmax.kernels.products.block import (
    add_row_sums,
    load_targets,
    residuals,
    zero_row,
)
from fastsoftmax.kernels.products.gradient import add_gradient, tail_size
from fastsoftmax.kernels.products.logits import logits, transposed_size
from fastsoftmax.kernels.rows.targets import weight_of
from fastsoftmax.kernels.tiles.packing import packed_row
from fastsoftmax.kernels.tiles.sizes import A_GROUP, ROW_BLOCK
from fastsoftmax.kernels.vectors import simd
from fastsoftmax.kernels.vectors.memory import (
    CACHE_LINE,
    Array,
    Rows,
    item_bytes,
    load_row,
    load_scaled_row,
    prefetch,
)
from fastsoftmax.kernels.vectors.simd import address_of
from fastsoftmax.kernels.vectors.vector_ir import VECTOR_BYTES

# Up to this many weights one thread updates them all: 784x10 and 1024x20 took as long with two.
SERIAL_UPDATE = 32768


class Batches(NamedTuple):
    """What the steps read; batch i is rows order[i * batch_size : (i + 1) * batch_size]."""

    X: Rows  # (N, D)
    targets: Rows  # (N, 1) or (N, K)
    sample_weight: Rows  # (N, 1)
    order: Array  # (n,), the rows to visit
    batch_size: int
    cut: int  # rows of a chunk, or features of a slab, a multiple of A_GROUP
    centre: Array  # (D,), features are (x - centre) * scale; (0,) for X as it is
    scale: Array
    label_smoothing: float


class Steps(NamedTuple):
    """How far the steps go.

    gradient = (N / sum of weights) / rows of the batch * (sum over the batch) + l2 W
    velocity = momentum * velocity + gradient
    W = W - learning_rate * (gradient + momentum * velocity if nesterov else velocity)
    average = average + share * (W - average)
    and likewise for b, without l2.
    """

    learning_rate: Array  # of each batch
    share: Array  # of each batch in the average
    weight_scale: float  # N / sum of weights
    l2: float
    momentum: float
    nesterov: bool


class State(NamedTuple):
    """What steps change; weights, velocity and average are packed alike.

    A batch has C chunks or, by slabs of features, C blocks of rows.
    """

    n_features: int
    W: Array
    b: Array  # (K,)
    velocity_W: Array
    velocity_b: Array
    average_W: Array
    average_b: Array
    partial_G_T: Array  # (C, K, padded D), or (0, ...) by slabs
    partial_g_b: Array  # (C, K)
    partial_loss: Array  # (C,)


class Scratch(NamedTuple):
    """Room for the block of each of C chunks."""

    at: Array  # (1,), the batch that tasks work on
    rows: Array  # (C, 2 * ROW_BLOCK), the addresses of the block's rows, as `logits` takes them
    loaded: Array  # (C, ROW_BLOCK, D), or (C, 0, D) where rows can be read where they lie
    X_T: Array  # (C, as `transposed_scratch`)
    Z_T: Array  # (C, K, ROW_BLOCK)
    tail: Array  # (C, `tail_size`)
    weights: Array  # (C, ROW_BLOCK), float64
    losses: Array  # (C, ROW_BLOCK)
    targets: Array  # (C, as `targets_scratch`)
    zeros: Array  # from `zero_row`, read in the place of rows of weight zero


def scratch_for(batches: Batches, state: State) -> Scratch:
    """Room for batches like these."""
    b, n_features, C = state.b, state.n_features, state.partial_loss.size
    size = b.itemsize
    return Scratch(
        np.zeros(1, np.int64),
        np.empty((C, 2 * ROW_BLOCK), np.int64),
        np.empty((C, loaded_rows(batches, b, ROW_BLOCK), n_features), b.dtype),
        np.empty((C, transposed_size(n_features, size)), b.dtype),
        np.empty((C, b.size, ROW_BLOCK), b.dtype),
        np.empty((C, tail_size(b.size, size)), b.dtype),
        np.empty((C, ROW_BLOCK)),
        np.empty((C, ROW_BLOCK), b.dtype),
        targets_room(batches.targets, C, b),
        zero_row(n_features, b.dtype),
    )


def loaded_rows(batches: Batches, b: Array, n_rows: int) -> int:
    """Of so many rows, how many are copied: none that can be read where they lie."""
    X = batches.X
    in_place = X.item.dtype == b.dtype and X.column_stride == b.itemsize
    return 0 if in_place and batches.centre.size == 0 else n_rows


def targets_room(targets: Rows, n_blocks: int, b: Array) -> Array:
    """Room for the targets of blocks, each as `block.targets_scratch`."""
    if targets.item.dtype.kind in "iu":
        return np.zeros((n_blocks, ROW_BLOCK), f"i{b.itemsize}")
    return np.zeros((n_blocks, b.size, ROW_BLOCK), b.dtype)


@jit_inline
def prefetch_row(X: Rows, n: int, n_features: int) -> None:
    """Ask for row n, if it is contiguous."""
    if X.column_stride == item_bytes(X.item):
        address = X.address + n * X.row_stride
        size = n_features * item_bytes(X.item)
        for line in range(0, size, CACHE_LINE):
            prefetch(address + line)
        prefetch(address + size - 1)  # a row that begins within a line ends in one more


@jit_borrowing
def chunk_gradient(
    c: int,
    batches: Batches,
    at: Array,
    weight_scale: float,
    state: State,
    scratch: Scratch,
) -> None:
    """The sums over chunk c of batch at[0]."""
    X, targets, sample_weight, order, batch_size, size, centre, scale, label_smoothing = batches
    start = at[0] * batch_size
    stop = min(start + batch_size, order.size)
    b, n_features, partial_loss = state.b, state.n_features, state.partial_loss
    G_T, g_b = state.partial_G_T[c], state.partial_g_b[c]
    n_classes = b.size
    X_T, Z_T, tail = scratch.X_T[c], scratch.Z_T[c], scratch.tail[c]
    rows, weights, losses = scratch.rows[c], scratch.weights[c], scratch.losses[c]
    loaded = address_of(scratch.loaded) + c * ROW_BLOCK * n_features * item_bytes(b)
    block_targets = scratch.targets[c]
    G_T[:] = 0
    g_b[:] = 0
    loss = 0.0
    chunk_stop = min(start + (c + 1) * size, stop)
    for first in range(start + c * size, chunk_stop, ROW_BLOCK):
        count = min(ROW_BLOCK, chunk_stop - first)
        # the rows wanted next lie anywhere, where no hardware looks ahead
        ahead = (
            first + ROW_BLOCK if first + ROW_BLOCK < chunk_stop else start + batch_size + c * size
        )
        for r in range(count):
            n = order[first + r]
            load_targets(targets, r, n, block_targets)
            weights[r] = weight_of(sample_weight, n) * weight_scale / (stop - start)
            rows[r] = X.address + n * X.row_stride
            if weights[r] == 0:
                rows[r] = address_of(scratch.zeros)
            elif scratch.loaded.size:
                rows[r] = loaded + r * n_features * item_bytes(b)
                if centre.size:
                    load_scaled_row(X, n, centre, scale, b, rows[r])
                else:
                    load_row(X, n, n_features, b, rows[r])
            if ahead + r < order.size:
                prefetch(targets.address + order[ahead + r] * targets.row_stride)
                prefetch_row(X, order[ahead + r], n_features)
        weights[count:] = 0
        rows[count:] = rows[count - 1]
        logits(rows, count, n_features, state.W, b, X_T, Z_T, 0)
        residuals(Z_T, block_targets, weights, label_smoothing, losses)
        for r in range(count):
            loss += weight_of(sample_weight, order[first + r]) * np.float64(losses[r])
        add_gradient(
            b,
            address_of(rows),
            count,
            n_features,
            n_classes,
            address_of(Z_T),
            address_of(tail),
            address_of(G_T),
            rows[0],
            0,
        )
        add_row_sums(Z_T, g_b)
    partial_loss[c] = loss


@jit_borrowing
def update_class(k: int, at: Array, steps: Steps, state: State) -> None:
    """Step at[0] for class k, adding up the chunks."""
    update_bias(k, state.partial_g_b.shape[0], at[0], steps, state)
    update_weights(k, at[0], steps, state)


@jit_inline
def update_bias(k: int, n_partials: int, i: int, steps: Steps, state: State) -> None:
    """Step i for b[k], from the first n_partials sums."""
    b, v, average, g_b = state.b, state.velocity_b, state.average_b, state.partial_g_b
    gradient = 0.0
    for c in range(n_partials):
        gradient += g_b[c, k]
    v[k] = steps.momentum * v[k] + gradient
    u = gradient + steps.momentum * v[k] if steps.nesterov else v[k]
    b[k] -= steps.learning_rate[i] * u
    average[k] += steps.share[i] * (b[k] - average[k])


@jit_inline
def update_weights(k: int, i: int, steps: Steps, state: State) -> None:
    """Step i for W[:, k]."""
    b, n_features, G_T = state.b, state.n_features, state.partial_G_T
    item = item_bytes(b)
    chunk_bytes = G_T.shape[1] * G_T.shape[2] * item
    for d in range(0, n_features, A_GROUP):
        packed = packed_row(k, d, n_features, b.size) * item
        G = address_of(G_T) + (k * G_T.shape[2] + d) * item
        size = min(A_GROUP, n_features - d) * item
        update_run(packed, size, G, G_T.shape[0], chunk_bytes, i, steps, state)


@jit_inline
def update_run(
    packed: int,
    size: int,
    G: int,
    n_partials: int,
    partial_bytes: int,
    i: int,
    steps: Steps,
    state: State,
) -> None:
    """Step i for `size` bytes of the packed weights from `packed` on, a vector at a time.

    Their gradients lie at G, in as many parts, so many bytes apart.
    """
    b, share = state.b, steps.share[i]
    momentum, l2 = simd.splat(b, steps.momentum), simd.splat(b, steps.l2)
    minus_rate, part = simd.splat(b, -steps.learning_rate[i]), simd.splat(b, share)
    W, V = address_of(state.W) + packed, address_of(state.velocity_W) + packed
    average = address_of(state.average_W) + packed
    for at in range(0, size, VECTOR_BYTES):
        g = simd.load(b, G + at)
        for c in range(1, n_partials):
            g += simd.load(b, G + c * partial_bytes + at)
        w = simd.load(b, W + at)
        g = simd.fma(w, l2, g)
        v = simd.fma(simd.load(b, V + at), momentum, g)
        simd.store(v, V + at)
        u = simd.fma(v, momentum, g) if steps.nesterov else v
        w = simd.fma(u, minus_rate, w)
        simd.store(w, W + at)
        if share > 0:
            a = simd.load(b, average + at)
            simd.store(simd.fma(w - a, part, a), average + at)


@jit_callable_borrowing
def sgd_steps_by_chunk(
    run: int, batches: Batches, steps: Steps, state: State, scratch: Scratch, batch_loss: Array
) -> None:
    """One step per batch; batch_loss[i] = sum of weight * J in batch i, before its step.

    `scratch` is from `scratch_for`.
    """
    n_classes, partial_loss, at = state.b.size, state.partial_loss, scratch.at
    gradient_arguments = (batches, at, steps.weight_scale, state, scratch)
    update_arguments = (at, steps, state)
    for i in range(batch_loss.size):
        at[0] = i
        for_each(run, partial_loss.size, chunk_gradient, gradient_arguments)
        if state.W.size > SERIAL_UPDATE:
            for_each(run, n_classes, update_class, update_arguments)
        else:
            for k in range(n_classes):
                update_class(k, at, steps, state)
        total = 0.0
        for c in range(partial_loss.size):
            total += partial_loss[c]
        batch_loss[i] = total
