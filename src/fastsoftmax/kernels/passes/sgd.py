"""Mini-batch SGD: whole runs of batches inside one compiled call.

Fused: the rows of a batch are read where they lie, or loaded a block at a time where they are
centred and scaled or of another type, and the block's share of the gradient is added while they
are in cache. Never materialised: a gathered batch or scaled copy of X, probabilities, one-hot
labels.
Writes: each chunk of a batch owns one entry of the `partial_` arrays of the state; each class owns
its part of the weights in the update, where the chunks are added up in order.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastsoftmax.kernels.compile.jit import jit_borrowing, jit_callable_borrowing, jit_inline
from fastsoftmax.kernels.compile.parallel import for_each
from fastsoftmax.kernels.passes.sgd_update import (
    Frame,
    Run,
    State,
    Steps,
    add_projected_sums,
    begin_update,
    end_update,
    load_projections,
    update_run,
)
from fastsoftmax.kernels.products.block import (
    add_row_sums,
    load_targets,
    residuals,
    zero_row,
)
from fastsoftmax.kernels.products.gradient import Gradient, add_gradient, tail_size
from fastsoftmax.kernels.products.logits import logits, transposed_size
from fastsoftmax.kernels.rows.targets import weight_of
from fastsoftmax.kernels.tiles.packing import packed_row
from fastsoftmax.kernels.tiles.sizes import A_GROUP, DIRECTIONS, ROW_BLOCK, ceil_div
from fastsoftmax.kernels.vectors import simd
from fastsoftmax.kernels.vectors.memory import (
    CACHE_LINE,
    Array,
    Rows,
    Strided,
    Table,
    item_bytes,
    load_row,
    load_scaled_row,
    prefetch,
)
from fastsoftmax.kernels.vectors.simd import address_of
from fastsoftmax.kernels.vectors.vector_ir import VECTOR_BYTES
from fastsoftmax.kernels.vectors.widening import stored_bytes

# Up to this many weights one thread updates them all: 784x10 and 1024x20 took as long with two.
SERIAL_UPDATE = 32768


class Batches(NamedTuple):
    """What the steps read: the epochs of `order`, each cut into batches from its first row on."""

    X: Rows  # (N, D)
    targets: Rows  # (N, 1) or (N, K)
    sample_weight: Rows  # (N, 1)
    order: Array  # (epochs * rows of an epoch,), the rows to visit
    epoch_rows: int
    batch_size: int
    first: int  # the batch to begin with
    cut: int  # rows of a chunk, or features of a slab, a multiple of A_GROUP
    centre: Array  # (D,), features are (x - centre) * scale; (0,) for X as it is
    scale: Array
    label_smoothing: float


class Scratch(NamedTuple):
    """Room for the block of each of C chunks."""

    at: Array  # (1,), the batch that tasks work on
    rows: Array  # (C, 2 * ROW_BLOCK), the addresses of the block's rows, as `logits` takes them
    Y_T: Array  # (C, DIRECTIONS, ROW_BLOCK), their projections
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
        np.zeros((C, DIRECTIONS, ROW_BLOCK), b.dtype),
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
    dense = X.item.size == 0 and X.item.dtype == b.dtype  # else narrow, or of another type
    in_place = dense and X.column_stride == b.itemsize
    return 0 if in_place and batches.centre.size == 0 else n_rows


def targets_room(targets: Rows, n_blocks: int, b: Array) -> Array:
    """Room for the targets of blocks, each as `block.targets_scratch`."""
    if targets.item.dtype.kind in "iu":
        return np.zeros((n_blocks, ROW_BLOCK), f"i{b.itemsize}")
    return np.zeros((n_blocks, b.size, ROW_BLOCK), b.dtype)


@jit_borrowing
def prefetch_row(X: Rows, n: int, n_features: int) -> None:
    """Ask for row n, if it is contiguous."""
    if X.column_stride == stored_bytes(X.item):
        address = X.address + n * X.row_stride
        size = n_features * X.column_stride
        for line in range(0, size, CACHE_LINE):
            prefetch(address + line)
        prefetch(address + size - 1)  # a row that begins within a line ends in one more


@jit_inline
def batch_start(i: int, batches: Any) -> int:
    """Where in the order batch i begins, of dense or sparse rows."""
    per_epoch = ceil_div(batches.epoch_rows, batches.batch_size)
    start = i // per_epoch * batches.epoch_rows + i % per_epoch * batches.batch_size
    return min(start, batches.order.size)


class Part(NamedTuple):
    """Rows of a batch: n of them, from place `first` of the order on."""

    first: int
    n: int  # 1 to ROW_BLOCK
    ahead: int  # from where on in the order rows are asked for, which no hardware foresees
    batch_rows: int


@jit_inline
def load_targets_of(
    part: Part,
    batches: Batches,
    weight_scale: float,
    projections: Rows,
    weights: Array,
    block_targets: Array,
    Y_T: Array,
) -> None:
    """What the rows are to teach: their weights in the mean, targets, and projections if any."""
    targets, order = batches.targets, batches.order
    for r in range(part.n):
        n = order[part.first + r]
        load_targets(targets, r, n, block_targets)
        weights[r] = weight_of(batches.sample_weight, n) * weight_scale / part.batch_rows
        if projections.row_stride != 0:
            load_projections(projections, n, r, Y_T)
        if part.ahead + r < order.size:
            ahead = order[part.ahead + r]
            prefetch(targets.address + ahead * targets.row_stride)
            prefetch(projections.address + ahead * projections.row_stride)
    weights[part.n :] = 0


@jit_inline
def load_rows_of(part: Part, c: int, batches: Batches, state: State, scratch: Scratch) -> None:
    """scratch.rows[c] = the addresses of the rows, of zeros for those without weight."""
    X, order, centre, b = batches.X, batches.order, batches.centre, state.b
    rows, weights = scratch.rows[c], scratch.weights[c]
    row_bytes = state.n_features * item_bytes(b)
    loaded = address_of(scratch.loaded) + c * ROW_BLOCK * row_bytes
    for r in range(part.n):
        n = order[part.first + r]
        rows[r] = X.address + n * X.row_stride
        if weights[r] == 0:
            rows[r] = address_of(scratch.zeros)
        elif scratch.loaded.size:
            rows[r] = loaded + r * row_bytes
            if centre.size:
                load_scaled_row(X, n, centre, batches.scale, b, rows[r])
            else:
                load_row(X, n, state.n_features, b, rows[r])
        if part.ahead + r < order.size:
            prefetch_row(X, order[part.ahead + r], state.n_features)
    rows[part.n :] = rows[part.n - 1]


@jit_inline
def add_losses(total: float, losses: Array, part: Part, batches: Batches) -> float:
    """`total` and weight * J of the rows, one after another."""
    for r in range(part.n):
        weight = weight_of(batches.sample_weight, batches.order[part.first + r])
        total += weight * np.float64(losses[r])
    return total


@jit_borrowing
def chunk_gradient(
    c: int,
    at: Array,
    batches: Batches,
    weight_scale: float,
    frame: Frame,
    state: State,
    scratch: Scratch,
) -> None:
    """The sums over chunk c of batch at[0]."""
    start, stop = batch_start(at[0], batches), batch_start(at[0] + 1, batches)
    b, g, projections = state.b, state.partial_g[c], frame.projections
    G_T, Z_T, rows, Y_T = state.partial_G_T[c], scratch.Z_T[c], scratch.rows[c], scratch.Y_T[c]
    weights, losses, targets = scratch.weights[c], scratch.losses[c], scratch.targets[c]
    G, tail = Gradient(address_of(G_T), state.n_features, b.size), address_of(scratch.tail[c])
    G_T[:] = 0
    g[:] = 0
    loss = 0.0
    chunk_start = start + c * batches.cut
    chunk_stop = min(chunk_start + batches.cut, stop)
    for first in range(chunk_start, chunk_stop, ROW_BLOCK):
        following = first + ROW_BLOCK
        ahead = following if following < chunk_stop else stop + c * batches.cut
        part = Part(first, min(ROW_BLOCK, chunk_stop - first), ahead, stop - start)
        load_targets_of(part, batches, weight_scale, projections, weights, targets, Y_T)
        load_rows_of(part, c, batches, state, scratch)
        logits(rows, part.n, state.n_features, state.W, b, scratch.X_T[c], Z_T, 0)
        residuals(Z_T, targets, weights, batches.label_smoothing, losses)
        loss = add_losses(loss, losses, part, batches)
        block = Table(address_of(rows), 0, part.n)
        add_gradient(b, block, address_of(Z_T), G, tail, Strided(rows[0], 0))
        add_row_sums(Z_T, g[0])
        if projections.row_stride != 0:
            add_projected_sums(Z_T, Y_T, g)
    state.partial_loss[c] = loss


@jit_borrowing
def update_class(k: int, at: Array, steps: Steps, frame: Frame, state: State) -> None:
    """Step at[0] for class k, adding up the chunks."""
    b, n_features, G_T = state.b, state.n_features, state.partial_G_T
    i, item = at[0], item_bytes(b)
    begin_update(k, state.partial_g.shape[0], i, steps, frame, state)
    chunk_bytes = G_T.shape[1] * G_T.shape[2] * item
    shift = address_of(state.shift) + k * VECTOR_BYTES
    simd.store(simd.splat(b, 0), shift)
    for d in range(0, n_features, A_GROUP):
        run = Run(
            k,
            d,
            min(A_GROUP, n_features - d) * item,
            packed_row(k, d, n_features, b.size) * item,
            shift,
            address_of(G_T) + (k * G_T.shape[2] + d) * item,
            G_T.shape[0],
            chunk_bytes,
        )
        update_run(i, run, steps, frame, state)
    end_update(k, i, steps, state)


@jit_callable_borrowing
def sgd_steps_by_chunk(
    run: int,
    batches: Batches,
    steps: Steps,
    frame: Frame,
    state: State,
    scratch: Scratch,
    batch_loss: Array,
) -> None:
    """One step per batch; batch_loss[i] = sum of weight * J in the i-th batch, before its step.

    `scratch` is from `scratch_for`.
    """
    n_classes, partial_loss, at = state.b.size, state.partial_loss, scratch.at
    gradient_arguments = (at, batches, steps.weight_scale, frame, state, scratch)
    update_arguments = (at, steps, frame, state)
    for i in range(batch_loss.size):
        at[0] = batches.first + i
        for_each(run, partial_loss.size, chunk_gradient, gradient_arguments)
        at[0] = i
        if state.W.size > SERIAL_UPDATE:
            for_each(run, n_classes, update_class, update_arguments)
        else:
            for k in range(n_classes):
                update_class(k, at, steps, frame, state)
        total = 0.0
        for c in range(partial_loss.size):
            total += partial_loss[c]
        batch_loss[i] = total
