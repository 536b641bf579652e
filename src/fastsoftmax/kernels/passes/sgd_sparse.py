"""Mini-batch SGD on sparse rows: whole runs of batches inside one compiled call.

Fused: a batch's entries are read once, and find the rows of weights that they need, brought up to
date by `sgd_lazy`; logits, residuals and the gradient of these features alone follow, a block of
rows at a time, in cache. Never materialised: centred rows, a gradient of all features, a gathered
batch.
Writes: batches are short, and one thread owns all of them; the end of a period is shared.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastsoftmax.kernels.compile.jit import jit_borrowing, jit_callable_borrowing, jit_inline
from fastsoftmax.kernels.passes.sgd import batch_start, targets_room
from fastsoftmax.kernels.passes.sgd_lazy import (
    SparseState,
    advance,
    catch_up,
    end_period,
    step_row,
    stepped,
)
from fastsoftmax.kernels.passes.sgd_update import Steps
from fastsoftmax.kernels.passes.sparse import load_logits
from fastsoftmax.kernels.products.block import add_row_sums, load_targets, residuals, store_block
from fastsoftmax.kernels.products.entries import Entries, add_entries
from fastsoftmax.kernels.rows.targets import weight_of
from fastsoftmax.kernels.tiles.packing import padded
from fastsoftmax.kernels.tiles.sizes import ROW_BLOCK
from fastsoftmax.kernels.vectors import simd
from fastsoftmax.kernels.vectors.memory import (
    CACHE_LINE,
    Array,
    Rows,
    SparseRows,
    Strided,
    item_bytes,
    load_column,
    load_item,
    prefetch,
    row_start,
)
from fastsoftmax.kernels.vectors.simd import address_of
from fastsoftmax.kernels.vectors.vector_ir import VECTOR_BYTES

# Where in a pair the column or the slot lies.
_SECOND = 4

_POINTER_BYTES, _INDEX_BYTES = 8, 4

# So many rows before its turn, the weights of a row are asked for, which no hardware foresees;
# its entries, which say where these are, and where it begins, by as many earlier each.
_AHEAD = 8


class SparseBatches(NamedTuple):
    """What the steps read: the epochs of `order`, each cut into batches from its first row on."""

    X: SparseRows  # (N, D)
    targets: Rows  # (N, 1) or (N, K)
    sample_weight: Rows  # (N, 1)
    order: Array  # (epochs * rows of an epoch,), the rows to visit
    epoch_rows: int
    batch_size: int
    first: int  # the batch to begin with
    label_smoothing: float


class SparseScratch(NamedTuple):
    """Room for the S features of a batch, and the E entries of a block of its rows."""

    features: Array  # (S,), those of the batch, as they come up
    n_slots: Array  # (1,), how many
    G: Array  # (S, padded K), their gradient; zeros between batches
    pairs: Array  # (2, E, 2), int32: of each entry its row and column, its row and slot
    values: Array  # (E,)
    Z: Array  # (ROW_BLOCK, padded K): logits, then residuals
    Z_T: Array  # (K, ROW_BLOCK), as `logits_scratch`
    weights: Array  # (ROW_BLOCK,), float64
    centres: Array  # (ROW_BLOCK,), x'centre of each row
    losses: Array  # (ROW_BLOCK,)
    targets: Array  # as `targets_scratch`
    sums: Array  # (2, K): of residuals, and of these times `centres`


def sparse_scratch(targets: Rows, b: Array, n_slots: int, n_entries: int) -> SparseScratch:
    """Room for batches of so many features and blocks of so many entries."""
    n_classes, width = b.size, padded(b.size, b.itemsize)
    return SparseScratch(
        np.empty(n_slots, np.int32),
        np.zeros(1, np.int64),
        np.zeros((n_slots, width), b.dtype),
        np.empty((2, n_entries, 2), np.int32),
        np.empty(n_entries, b.dtype),
        np.empty((ROW_BLOCK, width), b.dtype),
        np.zeros((width, ROW_BLOCK), b.dtype)[:n_classes],
        np.empty(ROW_BLOCK),
        np.empty(ROW_BLOCK),
        np.empty(ROW_BLOCK, b.dtype),
        targets_room(targets, 1, b)[0],
        np.empty((2, n_classes)),
    )


@jit_inline
def slot_of(d: int, state: SparseState, scratch: SparseScratch) -> int:
    """Which feature of the batch d is; one that is new gets its row of weights up to date."""
    slot = -1 - state.last[d]
    if slot < 0:
        catch_up(d, state)
        slot = scratch.n_slots[0]
        scratch.n_slots[0] = slot + 1
        scratch.features[slot] = d
        state.last[d] = -1 - slot
    return slot


@jit_inline
def prefetch_lines(address: int, size: int) -> None:
    """Ask for so many bytes, one at least."""
    for line in range(0, size, CACHE_LINE):
        prefetch(address + line)
    prefetch(address + size - 1)


@jit_inline
def prefetch_ahead(place: int, batches: SparseBatches, state: SparseState) -> None:
    """Ask for what the rows of places further on need: where they begin, entries, weights."""
    X, order, last = batches.X, batches.order, state.last
    if place + 3 * _AHEAD < order.size:
        prefetch(X.indptr + order[place + 3 * _AHEAD] * _POINTER_BYTES)
    if place + 2 * _AHEAD < order.size:
        n = order[place + 2 * _AHEAD]
        start, size = row_start(X, n), row_start(X, n + 1) - row_start(X, n)
        prefetch_lines(X.indices + start * _INDEX_BYTES, size * _INDEX_BYTES)
        prefetch_lines(X.at + start * item_bytes(X.values), size * item_bytes(X.values))
    if place + _AHEAD < order.size:
        n, size = order[place + _AHEAD], state.Y.shape[1] * state.Y.shape[2] * item_bytes(state.Y)
        for e in range(row_start(X, n), row_start(X, n + 1)):
            d = load_column(X, e)
            prefetch(address_of(last) + d * item_bytes(last))
            prefetch_lines(address_of(state.Y) + d * size, size)


@jit_borrowing
def load_entries(
    first: int, n_rows: int, batches: SparseBatches, state: SparseState, scratch: SparseScratch
) -> int:
    """The entries of the rows at these places of the order; how many. None without weight."""
    X, pairs, values, centre = batches.X, scratch.pairs, scratch.values, state.centre
    bytes_each, count = item_bytes(X.values), 0
    for r in range(n_rows):
        prefetch_ahead(first + r, batches, state)
        n = batches.order[first + r]
        total = 0.0
        if scratch.weights[r] != 0:
            for e in range(row_start(X, n), row_start(X, n + 1)):
                d = load_column(X, e)
                pairs[0, count, 0] = pairs[1, count, 0] = r
                pairs[0, count, 1] = d
                pairs[1, count, 1] = slot_of(d, state, scratch)
                values[count] = load_item(X.values, X.at + e * bytes_each)
                if centre.size:
                    total += np.float64(values[count]) * centre[d]
                count += 1
        scratch.centres[r] = total
    return count


@jit_inline
def load_rows_of(
    first: int, n_rows: int, scale: float, batches: SparseBatches, scratch: SparseScratch
) -> None:
    """Weights, times `scale`, and targets of the rows at these places of the order."""
    weights = scratch.weights
    for r in range(n_rows):
        n = batches.order[first + r]
        load_targets(batches.targets, r, n, scratch.targets)
        weights[r] = weight_of(batches.sample_weight, n) * scale
    weights[n_rows:] = 0


@jit_inline
def add_sums(n_rows: int, centred: bool, scratch: SparseScratch) -> None:
    """sums += those of a block's residuals."""
    Z_T, sums, centres = scratch.Z_T, scratch.sums, scratch.centres
    add_row_sums(Z_T, sums[0])
    if centred:
        for k in range(Z_T.shape[0]):
            for r in range(n_rows):
                sums[1, k] += centres[r] * Z_T[k, r]


@jit_borrowing
def add_block(
    first: int,
    n_rows: int,
    scale: float,
    batches: SparseBatches,
    state: SparseState,
    scratch: SparseScratch,
) -> float:
    """The gradient of the rows at these places of the order, added; the sum of weight * J."""
    Z, Z_T, losses, b, values = scratch.Z, scratch.Z_T, scratch.losses, state.b, scratch.values
    Y, G, centring = state.Y, scratch.G, state.centring
    load_rows_of(first, n_rows, scale, batches, scratch)
    count = load_entries(first, n_rows, batches, state, scratch)
    for r in range(n_rows):
        for k in range(b.size):
            Z[r, k] = b[k] - scratch.centres[r] * centring[0, k]
    row_bytes, pairs = b.size * item_bytes(b), address_of(scratch.pairs)
    rows = Strided(address_of(Z), Z.shape[1] * item_bytes(b))
    entries = Entries(values, address_of(values), pairs + _SECOND, pairs, 0, count)
    add_entries(b, entries, b.size, Strided(address_of(Y), Y.shape[1] * row_bytes), rows)
    load_logits(Z, 0, n_rows, Z_T)
    residuals(Z_T, scratch.targets, scratch.weights, batches.label_smoothing, losses)
    total = 0.0
    for r in range(n_rows):
        weight = weight_of(batches.sample_weight, batches.order[first + r])
        total += weight * np.float64(losses[r])
    add_sums(n_rows, state.centre.size != 0, scratch)
    store_block(Z_T, 0, n_rows, Rows(Z, rows.address, rows.stride, item_bytes(b)))
    pairs += scratch.pairs.shape[1] * 2 * _SECOND
    entries = Entries(values, address_of(values), pairs, pairs + _SECOND, 0, count)
    add_entries(b, entries, b.size, rows, Strided(address_of(G), G.shape[1] * item_bytes(b)))
    return total


@jit_borrowing
def step_features(i: int, steps: Steps, state: SparseState, scratch: SparseScratch) -> None:
    """Step i for the features of the batch, whose gradient is then zero again."""
    b, G, n_rows = state.b, scratch.G, state.Y.shape[1]
    size, row_bytes = item_bytes(b), b.size * item_bytes(b)
    momentum, l2 = simd.splat(b, steps.momentum), simd.splat(b, steps.l2)
    minus_rate, share = simd.splat(b, -steps.learning_rate[i]), simd.splat(b, steps.share[i])
    check = simd.splat(b, 0)
    for slot in range(scratch.n_slots[0]):
        d = scratch.features[slot]
        state.last[d] = state.now[0] + 1
        W = address_of(state.Y) + d * n_rows * row_bytes
        gradient = address_of(G) + slot * G.shape[1] * size
        for k in range(0, b.size, VECTOR_BYTES // size):
            at, left = W + k * size, b.size - k
            w = simd.load_first(b, at, left, 0)
            g = simd.fma(w, l2, simd.load(b, gradient + k * size))
            v = simd.fma(simd.load_first(b, at + row_bytes, left, 0), momentum, g)
            u = simd.fma(v, momentum, g) if steps.nesterov else v
            w = simd.fma(u, minus_rate, w)
            check = simd.fma(w, simd.splat(b, 0), check)
            simd.store_first(w, at, left)
            simd.store_first(v, at + row_bytes, left)
            simd.store(simd.splat(b, 0), gradient + k * size)
            if n_rows == 3:
                a = simd.load_first(b, at + 2 * row_bytes, left, 0)
                simd.store_first(simd.fma(w - a, share, a), at + 2 * row_bytes, left)
    scratch.n_slots[0] = 0
    state.check[0] += simd.reduce_add(check)


@jit_inline
def step_biases(
    i: int, steps: Steps, bias_step: float, squares: float, state: SparseState, sums: Array
) -> None:
    """Step i for biases, and for what centring needs; `squares` is centre'centre."""
    b, biases, shift = state.b, state.biases, state.shift
    for k in range(b.size):
        r = sums[0, k]
        step_row(state.centring, k, r, i, steps)
        step_row(shift, k, sums[1, k] - squares * r, i, steps)
        c, v = stepped(biases[0, k], biases[1, k], bias_step * r, i, steps.momentum, steps)
        biases[0, k], biases[1, k] = c, v
        b[k] = c - shift[0, k]
        biases[2, k] += steps.share[i] * (c - shift[0, k] - biases[2, k])


@jit_callable_borrowing
def sgd_steps_sparse(
    run: int,
    batches: SparseBatches,
    steps: Steps,
    bias_step: float,
    squares: float,
    state: SparseState,
    scratch: SparseScratch,
    batch_loss: Array,
) -> None:
    """One step per batch; batch_loss[i] = sum of weight * J in the i-th batch, before its step."""
    sums = scratch.sums
    for i in range(batch_loss.size):
        start = batch_start(batches.first + i, batches)
        stop = batch_start(batches.first + i + 1, batches)
        scale = steps.weight_scale / (stop - start)
        for m in range(2):
            for k in range(sums.shape[1]):
                sums[m, k] = 0
        total = 0.0
        for first in range(start, stop, ROW_BLOCK):
            n_rows = min(ROW_BLOCK, stop - first)
            total += add_block(first, n_rows, scale, batches, state, scratch)
        batch_loss[i] = total
        step_features(i, steps, state, scratch)
        step_biases(i, steps, bias_step, squares, state, sums)
        advance(i, steps, state)
        if state.now[0] + 1 == state.products.shape[1]:
            end_period(run, state)
