"""Mini-batch SGD by slabs of features, for batches that stay in cache.

Each slab of features has one owner, in every batch: its columns of the rows, its weights, their
gradient and velocity then stay in one core's cache, and all that cores exchange is the logits.
Fused: the gradient of a tile of features is the weights' step at once, and the same task goes on
with the logits of the next batch.
Never materialised: a gathered batch or scaled copy of X, the gradient, one-hot labels.
Writes: each slab owns its columns of all arrays and its share of the logits; each block of rows its
residuals and losses. Slabs and blocks are added up in order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastsoftmax.kernels.compile.jit import jit_borrowing, jit_callable_borrowing, jit_inline
from fastsoftmax.kernels.compile.parallel import for_each
from fastsoftmax.kernels.passes.sgd import (
    Batches,
    batch_start,
    loaded_rows,
    prefetch_row,
    targets_room,
)
from fastsoftmax.kernels.passes.sgd_update import (
    Frame,
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
from fastsoftmax.kernels.products.gradient import last_columns, skipped_columns
from fastsoftmax.kernels.products.logits import add_logits, as_dots, transposed_size
from fastsoftmax.kernels.rows.targets import may_be_absent, weight_of
from fastsoftmax.kernels.tiles.packing import class_tiles, first_class, packed_tile, tile_width
from fastsoftmax.kernels.tiles.sizes import A_GROUP, DIRECTIONS, ROW_BLOCK, ceil_div
from fastsoftmax.kernels.tiles.tile import MAX_ROWS, TILE_BYTES, multiply_add
from fastsoftmax.kernels.vectors import simd
from fastsoftmax.kernels.vectors.memory import (
    Array,
    Rows,
    item_bytes,
    load_address,
    load_row,
    load_scaled_row,
    prefetch,
    skip_columns,
)
from fastsoftmax.kernels.vectors.simd import address_of
from fastsoftmax.kernels.vectors.vector_ir import VECTOR_BYTES

# Up to this many logits of a batch, one thread makes all residuals.
SERIAL_RESIDUALS = 4096


class Slabs(NamedTuple):
    """Room for a batch of M blocks of rows and S slabs of features."""

    at: Array  # (1,), the batch that tasks work on
    rows: Array  # (3, M * ROW_BLOCK), the addresses of the rows of batch i in rows[i % 3]
    loaded: Array  # (M * ROW_BLOCK, D), or (0, D) where rows can be read where they lie
    Y_T: Array  # (M, DIRECTIONS, ROW_BLOCK), the rows' projections
    X_T: Array  # (S, as `transposed_scratch`)
    shares: Array  # (S, M, K, ROW_BLOCK), the slabs' shares of the logits
    Z_T: Array  # (M, K, ROW_BLOCK), logits, then residuals
    G: Array  # (S, MAX_ROWS, tile width and a vector of zeros)
    tail: Array  # (S, M * ROW_BLOCK * tile width), for `last_columns`
    tail_rows: Array  # (M * ROW_BLOCK,), where each row is in it
    weights: Array  # (M, ROW_BLOCK), float64
    losses: Array  # (M, ROW_BLOCK)
    targets: Array  # (M, as `targets_scratch`)
    zeros: Array  # from `zero_row`, read in the place of rows of weight zero


def slabs_for(batches: Batches, state: State) -> Slabs:
    """Room for batches like these."""
    b, n_features, width = state.b, state.n_features, batches.cut
    M, S = ceil_div(batches.batch_size, ROW_BLOCK), ceil_div(n_features, width)
    size = b.itemsize
    tile, lanes = TILE_BYTES // size, VECTOR_BYTES // size
    return Slabs(
        np.zeros(1, np.int64),
        np.zeros((3, M * ROW_BLOCK), np.int64),
        np.empty((loaded_rows(batches, b, M * ROW_BLOCK), n_features), b.dtype),
        np.zeros((M, DIRECTIONS, ROW_BLOCK), b.dtype),
        np.empty((S, transposed_size(width, size)), b.dtype),
        np.empty((S, M, b.size, ROW_BLOCK), b.dtype),
        np.empty((M, b.size, ROW_BLOCK), b.dtype),
        np.zeros((S, MAX_ROWS * (tile + lanes)), b.dtype),
        np.empty((S, M * ROW_BLOCK * tile), b.dtype),
        np.arange(M * ROW_BLOCK) * TILE_BYTES,
        np.empty((M, ROW_BLOCK)),
        np.empty((M, ROW_BLOCK), b.dtype),
        targets_room(batches.targets, M, b),
        zero_row(n_features, b.dtype),
    )


@jit_inline
def rows_of(i: int, slabs: Slabs) -> int:
    """The address of the table of the rows of batch i."""
    return address_of(slabs.rows) + i % 3 * slabs.rows.shape[1] * 8


@jit_borrowing
def find_batch(i: int, batches: Batches, slabs: Slabs) -> None:
    """The addresses of the rows of batch i; the last goes on to the end of its block."""
    X, order, loaded = batches.X, batches.order, slabs.loaded
    start = batch_start(i, batches)
    count = batch_start(i + 1, batches) - start
    rows = slabs.rows[i % 3]
    for r in range(rows.size if count > 0 else 0):
        place = min(r, count - 1)
        if loaded.size:
            rows[r] = address_of(loaded) + place * loaded.shape[1] * item_bytes(loaded)
        else:
            rows[r] = X.address + order[start + place] * X.row_stride
    if may_be_absent(batches.sample_weight):
        for r in range(rows.size if count > 0 else 0):
            n = order[start + min(r, count - 1)]
            if weight_of(batches.sample_weight, n) == 0:
                rows[r] = address_of(slabs.zeros)


@jit_borrowing
def slab_step(
    s: int, at: Array, batches: Batches, steps: Steps, frame: Frame, state: State, slabs: Slabs
) -> None:
    """Slab s of step at[0], unless that is -1, and of the logits of the next batch."""
    i = at[0]
    if i >= 0:
        update_slab(s, i, batches, steps, frame, state, slabs)
    if batch_start(batches.first + i + 1, batches) < batches.order.size:
        logits_of_slab(s, batches.first + i + 1, batches, state, slabs)


@jit_borrowing
def update_slab(
    s: int, i: int, batches: Batches, steps: Steps, frame: Frame, state: State, slabs: Slabs
) -> None:
    """The gradient of the batch of step i, and the step."""
    b, n_features = state.b, state.n_features
    n_classes, width, size = b.size, tile_width(b), item_bytes(b)
    batch = batches.first + i
    n_rows = batch_start(batch + 1, batches) - batch_start(batch, batches)
    G_stride = TILE_BYTES + VECTOR_BYTES
    G = address_of(slabs.G) + s * MAX_ROWS * G_stride
    tail = address_of(slabs.tail) + s * slabs.tail.shape[1] * size
    rows, residual = rows_of(batch, slabs), address_of(slabs.Z_T)
    tail_rows = address_of(slabs.tail_rows)
    shift = address_of(state.shift) + s * n_classes * VECTOR_BYTES
    for place in range(shift, shift + n_classes * VECTOR_BYTES, VECTOR_BYTES):
        simd.store(simd.splat(b, 0), place)
    stop = min((s + 1) * batches.cut, n_features)
    for d in range(s * batches.cut, stop, width):
        B, B_rows, skipped = d * size, rows, 0
        if d + width > n_features:
            B, B_rows = last_columns(b, rows, n_rows, n_features, tail, tail_rows)
            skipped = skipped_columns(b, n_features)
        in_group = d % A_GROUP
        for t in range(class_tiles(n_classes)):
            first = first_class(t, n_classes)
            height = first_class(t + 1, n_classes) - first
            for place in range(G, G + height * G_stride, VECTOR_BYTES):
                simd.store(simd.splat(b, 0), place)
            multiply_add(
                b,
                height,
                residual + first * ROW_BLOCK * size,
                n_classes * ROW_BLOCK * size,
                B,
                B_rows,
                G,
                G_stride,
                n_rows,
                G,
                0,
            )
            packed = (packed_tile(first, height, d - in_group, n_features) + in_group) * size
            for k in range(height):
                update_run(
                    d,
                    min(width, n_features - d) * size,
                    first + k,
                    packed + k * A_GROUP * size,
                    shift + (first + k) * VECTOR_BYTES,
                    G + k * G_stride + skipped * size,
                    1,
                    0,
                    i,
                    steps,
                    frame,
                    state,
                )


@jit_borrowing
def logits_of_slab(s: int, i: int, batches: Batches, state: State, slabs: Slabs) -> None:
    """The slab's share of the logits of batch i, which all come without the biases."""
    X, order, batch_size = batches.X, batches.order, batches.batch_size
    b, n_features = state.b, state.n_features
    n_classes, size = b.size, item_bytes(b)
    first, following = batch_start(i, batches), batch_start(i + 1, batches)
    n_rows, n_next = following - first, batch_start(i + 2, batches) - following
    start, stop = s * batches.cut, min((s + 1) * batches.cut, n_features)
    rows, next_rows = rows_of(i, slabs), rows_of(i + 1, slabs)
    in_place = slabs.loaded.size == 0
    if not in_place:
        load_slab(first, n_rows, start, stop, rows, address_of(slabs.zeros), batches, b)
    while_dotting = in_place and as_dots(stop - start, n_classes, size)
    if not while_dotting:
        # rows wanted next lie anywhere, where no hardware looks ahead
        for r in range(n_next):
            prefetch_row(skip_columns(X, start), order[following + r], stop - start)
    blocks = ceil_div(batch_size, ROW_BLOCK)
    shares = address_of(slabs.shares) + s * blocks * n_classes * ROW_BLOCK * size
    X_T = address_of(slabs.X_T) + s * slabs.X_T.shape[1] * size
    for place in range(shares, shares + blocks * n_classes * ROW_BLOCK * size, VECTOR_BYTES):
        simd.store(simd.splat(b, 0), place)
    for r in range(0, n_rows, ROW_BLOCK):
        add_logits(
            b,
            rows + r * 8,
            min(n_rows - r, ROW_BLOCK),
            start,
            stop,
            n_features,
            n_classes,
            address_of(state.W),
            X_T,
            shares + r * n_classes * size,
            next_rows + r * 8,
            min(max(n_next - r, 0), ROW_BLOCK) if while_dotting else 0,
        )


@jit_borrowing
def load_slab(
    first: int,
    n_rows: int,
    start: int,
    stop: int,
    rows: int,
    zeros: int,
    batches: Batches,
    item: Array,
) -> None:
    """The features [start, stop) of the rows at place `first` of the order and on.

    Nothing is loaded for those that are read from `zeros`.
    """
    X, order, centre, scale = batches.X, batches.order, batches.centre, batches.scale
    X_slab, target = skip_columns(X, start), start * item_bytes(item)
    if centre.size:
        centre, scale = centre[start:stop], scale[start:stop]
    for r in range(n_rows):
        place, n = load_address(rows, r), order[first + r]
        if place == zeros:
            continue
        if centre.size:
            load_scaled_row(X_slab, n, centre, scale, item, place + target)
        else:
            load_row(X_slab, n, stop - start, item, place + target)


@jit_borrowing
def block_residuals(
    m: int,
    at: Array,
    batches: Batches,
    weight_scale: float,
    projections: Rows,
    state: State,
    slabs: Slabs,
) -> None:
    """The residuals of block m of step at[0], from the logits of the slabs, and their sums."""
    targets, sample_weight, order = batches.targets, batches.sample_weight, batches.order
    b, g, partial_loss = state.b, state.partial_g[m], state.partial_loss
    batch = batches.first + at[0]
    start, stop = batch_start(batch, batches), batch_start(batch + 1, batches)
    batch_rows = stop - start
    count = min(batch_rows - m * ROW_BLOCK, ROW_BLOCK)
    first = start + m * ROW_BLOCK
    Y_T, projected = slabs.Y_T[m], projections.row_stride != 0
    weights, losses, Z_T = slabs.weights[m], slabs.losses[m], slabs.Z_T[m]
    block_targets = slabs.targets[m]
    slab_bytes = slabs.Z_T.size * item_bytes(b)
    shares = address_of(slabs.shares[0, m])
    for k in range(b.size):
        bias = simd.splat(b, b[k])
        place = k * ROW_BLOCK * item_bytes(b)
        for lane in range(place, place + ROW_BLOCK * item_bytes(b), VECTOR_BYTES):
            z = simd.load(b, shares + lane)
            for s in range(1, slabs.shares.shape[0]):
                z += simd.load(b, shares + lane + s * slab_bytes)
            simd.store(z + bias, address_of(Z_T) + lane)
    for r in range(count):
        n = order[first + r]
        load_targets(targets, r, n, block_targets)
        weights[r] = weight_of(sample_weight, n) * weight_scale / batch_rows
        if projected:
            load_projections(projections, n, r, Y_T)
        if stop + m * ROW_BLOCK + r < order.size:
            ahead = order[stop + m * ROW_BLOCK + r]
            prefetch(targets.address + ahead * targets.row_stride)
            prefetch(projections.address + ahead * projections.row_stride)
    weights[count:] = 0
    residuals(Z_T, block_targets, weights, batches.label_smoothing, losses)
    loss = 0.0
    for r in range(count):
        loss += weight_of(sample_weight, order[first + r]) * np.float64(losses[r])
    partial_loss[m] = loss
    g[:] = 0
    add_row_sums(Z_T, g[0])
    if projected:
        add_projected_sums(Z_T, Y_T, g)


@jit_callable_borrowing
def sgd_steps_by_slab(
    run: int,
    batches: Batches,
    steps: Steps,
    frame: Frame,
    state: State,
    slabs: Slabs,
    batch_loss: Array,
) -> None:
    """As `sgd_steps_by_chunk`, to rounding; `slabs` is from `slabs_for`."""
    n_classes, at, first = state.b.size, slabs.at, batches.first
    n_slabs, partial_loss = slabs.shares.shape[0], state.partial_loss
    slab_arguments = (at, batches, steps, frame, state, slabs)
    block_arguments = (at, batches, steps.weight_scale, frame.projections, state, slabs)
    find_batch(first, batches, slabs)
    for i in range(-1, batch_loss.size):
        at[0] = i
        if i >= 0:
            n_rows = batch_start(first + i + 1, batches) - batch_start(first + i, batches)
            n_blocks = ceil_div(n_rows, ROW_BLOCK)
            if n_rows * n_classes > SERIAL_RESIDUALS:
                for_each(run, n_blocks, block_residuals, block_arguments)
            else:
                for m in range(n_blocks):
                    block_residuals(m, *block_arguments)
            total = 0.0
            for m in range(n_blocks):
                total += partial_loss[m]
            batch_loss[i] = total
            for k in range(n_classes):
                begin_update(k, n_blocks, i, steps, frame, state)
        find_batch(first + i + 2, batches, slabs)
        for_each(run, n_slabs, slab_step, slab_arguments)
        if i >= 0:
            for k in range(n_classes):
                end_update(k, i, steps, state)
