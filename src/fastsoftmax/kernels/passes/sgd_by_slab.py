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
    Part,
    add_losses,
    batch_start,
    load_targets_of,
    loaded_rows,
    prefetch_row,
    targets_room,
)
from fastsoftmax.kernels.passes.sgd_update import (
    Frame,
    Run,
    State,
    Steps,
    add_projected_sums,
    begin_update,
    end_update,
    update_run,
)
from fastsoftmax.kernels.products.block import (
    add_row_sums,
    residuals,
    zero_row,
)
from fastsoftmax.kernels.products.gradient import last_columns, skipped_columns
from fastsoftmax.kernels.products.logits import add_logits, as_dots, transposed_size
from fastsoftmax.kernels.rows.targets import may_be_absent, weight_of
from fastsoftmax.kernels.tiles.packing import (
    Weights,
    class_tiles,
    first_class,
    packed_tile,
    tile_width,
)
from fastsoftmax.kernels.tiles.sizes import A_GROUP, DIRECTIONS, ROW_BLOCK, ceil_div
from fastsoftmax.kernels.tiles.tile import MAX_ROWS, TILE_BYTES, multiply_add
from fastsoftmax.kernels.vectors import simd
from fastsoftmax.kernels.vectors.memory import (
    ADDRESS_BYTES,
    Array,
    Rows,
    Strided,
    Table,
    first_rows,
    item_bytes,
    load_address,
    load_row,
    load_scaled_row,
    skip_bytes,
    skip_columns,
    skip_rows,
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
def rows_of(i: int, batches: Batches, slabs: Slabs) -> Table:
    """The rows of batch i."""
    table = address_of(slabs.rows) + i % 3 * slabs.rows.shape[1] * ADDRESS_BYTES
    return Table(table, 0, batch_start(i + 1, batches) - batch_start(i, batches))


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
    b, n_features, width = state.b, state.n_features, tile_width(state.b)
    n_classes, size = b.size, item_bytes(b)
    rows = rows_of(batches.first + i, batches, slabs)
    shift = address_of(state.shift) + s * n_classes * VECTOR_BYTES
    for place in range(shift, shift + n_classes * VECTOR_BYTES, VECTOR_BYTES):
        simd.store(simd.splat(b, 0), place)
    stop = min((s + 1) * batches.cut, n_features)
    for d in range(s * batches.cut, stop, width):
        B, skipped = skip_bytes(rows, d * size), 0
        if d + width > n_features:
            tail = address_of(slabs.tail) + s * slabs.tail.shape[1] * size
            B = last_columns(b, rows, n_features, tail, address_of(slabs.tail_rows))
            skipped = skipped_columns(b, n_features)
        in_group = d % A_GROUP
        run_size = min(width, n_features - d) * size
        for t in range(class_tiles(n_classes)):
            first = first_class(t, n_classes)
            height = first_class(t + 1, n_classes) - first
            G = gradient_of_tile(s, first, height, B, b, slabs)
            packed = (packed_tile(first, height, d - in_group, n_features) + in_group) * size
            for k in range(height):
                place, to = packed + k * A_GROUP * size, shift + (first + k) * VECTOR_BYTES
                g = G.address + k * G.stride + skipped * size
                update_run(i, Run(first + k, d, run_size, place, to, g, 1, 0), steps, frame, state)


@jit_inline
def gradient_of_tile(s: int, first: int, height: int, B: Table, b: Array, slabs: Slabs) -> Strided:
    """Where that of a tile of classes lies, for the columns B of the rows."""
    stride = TILE_BYTES + VECTOR_BYTES
    G = Strided(address_of(slabs.G) + s * MAX_ROWS * stride, stride)
    for place in range(G.address, G.address + height * stride, VECTOR_BYTES):
        simd.store(simd.splat(b, 0), place)
    class_bytes = ROW_BLOCK * item_bytes(b)
    A = Strided(address_of(slabs.Z_T) + first * class_bytes, b.size * class_bytes)
    multiply_add(b, height, A, B, G, Strided(G.address, 0))
    return G


@jit_borrowing
def logits_of_slab(s: int, i: int, batches: Batches, state: State, slabs: Slabs) -> None:
    """The slab's share of the logits of batch i, which all come without the biases."""
    b, n_features, size = state.b, state.n_features, item_bytes(state.b)
    start, stop = s * batches.cut, min((s + 1) * batches.cut, n_features)
    rows, following = rows_of(i, batches, slabs), rows_of(i + 1, batches, slabs)
    in_place = slabs.loaded.size == 0
    if not in_place:
        load_slab(i, start, stop, rows, batches, slabs, b)
    while_dotting = in_place and as_dots(stop - start, b.size, size)
    if in_place and not while_dotting:
        # rows wanted next lie anywhere, where no hardware looks ahead
        place = batch_start(i + 1, batches)
        for r in range(following.n):
            n = batches.order[place + r]
            prefetch_row(skip_columns(batches.X, start), n, stop - start)
    share_bytes = slabs.Z_T.size * size
    share = address_of(slabs.shares) + s * share_bytes
    X_T = address_of(slabs.X_T) + s * slabs.X_T.shape[1] * size
    for place in range(share, share + share_bytes, VECTOR_BYTES):
        simd.store(simd.splat(b, 0), place)
    W = Weights(address_of(state.W), n_features, b.size)
    for r in range(0, rows.n, ROW_BLOCK):
        n_next = min(max(following.n - r, 0), ROW_BLOCK) if while_dotting else 0
        block = first_rows(skip_rows(rows, r), ROW_BLOCK)
        wanted = first_rows(skip_rows(following, r), n_next)
        add_logits(b, block, wanted, start, stop, W, X_T, share + r * b.size * size)


@jit_borrowing
def load_slab(
    i: int, start: int, stop: int, rows: Table, batches: Batches, slabs: Slabs, item: Array
) -> None:
    """The features [start, stop) of the rows of batch i.

    Nothing is loaded for those of weight zero, in whose place zeros are read.
    """
    centre, scale = batches.centre, batches.scale
    X_slab, target = skip_columns(batches.X, start), start * item_bytes(item)
    first, zeros = batch_start(i, batches), address_of(slabs.zeros)
    ahead = batch_start(i + 1, batches)
    if centre.size:
        centre, scale = centre[start:stop], scale[start:stop]
    for r in range(rows.n):
        if ahead + r < batches.order.size:
            prefetch_row(X_slab, batches.order[ahead + r], stop - start)
        place, n = load_address(rows.addresses, r), batches.order[first + r]
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
    g, Y_T, Z_T = state.partial_g[m], slabs.Y_T[m], slabs.Z_T[m]
    weights, losses, block_targets = slabs.weights[m], slabs.losses[m], slabs.targets[m]
    batch = batches.first + at[0]
    start, stop = batch_start(batch, batches), batch_start(batch + 1, batches)
    first = start + m * ROW_BLOCK
    part = Part(first, min(stop - first, ROW_BLOCK), stop + m * ROW_BLOCK, stop - start)
    add_up_shares(m, state.b, slabs)
    load_targets_of(part, batches, weight_scale, projections, weights, block_targets, Y_T)
    residuals(Z_T, block_targets, weights, batches.label_smoothing, losses)
    state.partial_loss[m] = add_losses(0.0, losses, part, batches)
    g[:] = 0
    add_row_sums(Z_T, g[0])
    if projections.row_stride != 0:
        add_projected_sums(Z_T, Y_T, g)


@jit_inline
def add_up_shares(m: int, b: Array, slabs: Slabs) -> None:
    """The logits of block m: the slabs' shares and the biases."""
    slab_bytes = slabs.Z_T.size * item_bytes(b)
    shares, Z_T = address_of(slabs.shares[0, m]), address_of(slabs.Z_T[m])
    for k in range(b.size):
        bias = simd.splat(b, b[k])
        place = k * ROW_BLOCK * item_bytes(b)
        for lane in range(place, place + ROW_BLOCK * item_bytes(b), VECTOR_BYTES):
            z = simd.load(b, shares + lane)
            for s in range(1, slabs.shares.shape[0]):
                z += simd.load(b, shares + lane + s * slab_bytes)
            simd.store(z + bias, Z_T + lane)


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
