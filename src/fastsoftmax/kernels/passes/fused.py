"""Loss and gradient in one pass over X.

Fused: a block of rows gets its logits, which become the loss and the residuals P - T in place,
and its share is added to the gradient while the rows are still in cache. Never materialised: an
N x K array, a one-hot label, a copy of X.
Writes: each chunk of rows owns one entry of every array of `Partials`; `loss_and_gradient_by_slab`,
for gradients too large to have in several copies, owns slabs of features instead. Either way the
sums run in block order.
Rows come in windows, whose sums go on from those before; the last call, of any rows, combines them.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from fastsoftmax.kernels.compile.jit import jit, jit_borrowing, jit_callable
from fastsoftmax.kernels.compile.parallel import for_each
from fastsoftmax.kernels.products.block import (
    add_row_sums,
    all_finite,
    find_rows,
    groups,
    lanes,
    lanes_of_targets,
    leave_out,
    lies_ready,
    load_weights_and_targets,
    none_of,
    residuals,
    rows_scratch,
    rows_table,
    targets_scratch,
    weighted_sum,
)
from fastsoftmax.kernels.products.gradient import Gradient, add_gradient, tail_size
from fastsoftmax.kernels.products.logits import logits, transposed_scratch
from fastsoftmax.kernels.rows import row
from fastsoftmax.kernels.rows.targets import weight_of
from fastsoftmax.kernels.tiles.packing import (
    class_tiles,
    first_class,
    pack_weights,
    packed_features,
    padded,
    tile_width,
)
from fastsoftmax.kernels.tiles.sizes import (
    ROW_BLOCK,
    SLAB_ROWS,
    SLAB_TILES,
    ceil_div,
    chunk_rows,
    n_chunks,
)
from fastsoftmax.kernels.tiles.tile import TILE_BYTES, multiply_add
from fastsoftmax.kernels.vectors.memory import (
    CACHE_LINE,
    Array,
    Rows,
    Strided,
    Table,
    item_bytes,
    keep_alive,
    load_item,
    load_rows,
    skip_columns,
)
from fastsoftmax.kernels.vectors.simd import address_of, store
from fastsoftmax.kernels.vectors.vector_ir import VECTOR_BYTES


class Problem(NamedTuple):
    """What a loss is computed from."""

    X: Rows  # (N, D)
    targets: Rows  # (N, 1) or (N, K)
    sample_weight: Rows  # (N, 1)
    n_rows: int
    W: Rows  # (D, K)
    n_features: int
    W_tiles: Array  # room for W packed
    b: Array  # (K,)
    label_smoothing: float
    zeros: Array  # from `zero_row`, read in the place of rows of weight zero


class Partials(NamedTuple):
    """Sums over C chunks of rows, all zeros at first; P is C, or 1 where the chunks share one."""

    G_T: Array  # (P, K, padded D)
    sums: Array  # (C, K + 2): of residuals, of losses, and whether a logit was not finite
    total: Array  # (K, D), float64, of leaves that shared G_T; or empty


class Window(NamedTuple):
    """Where consecutive rows lie among all."""

    first: int  # number of the first
    size: int  # rows of a chunk


@jit
def prepared(given: Any) -> Problem:
    """The problem of (X, targets, sample_weight, n_rows, W, n_features, b, label_smoothing).

    Plain tuples, as are those in the place of `Rows`: Numba takes 0.6 us for each that has names.
    """
    X, targets, sample_weight, n_rows, W, n_features, b, label_smoothing = given
    rows_of_W = Rows(W[0], W[1], W[2], W[3])
    W_tiles = np.empty(packed_features(n_features) * b.size, b.dtype)
    pack_weights(rows_of_W, n_features, b.size, W_tiles)
    return Problem(
        Rows(X[0], X[1], X[2], X[3]),
        Rows(targets[0], targets[1], targets[2], targets[3]),
        Rows(sample_weight[0], sample_weight[1], sample_weight[2], sample_weight[3]),
        n_rows,
        rows_of_W,
        n_features,
        W_tiles,
        b,
        label_smoothing,
        np.zeros(padded(n_features, item_bytes(b)), b.dtype),
    )


@jit
def is_finite(sums: Array, grad_b: Array) -> bool:
    """Whether all logits are, and the gradient: `combine` makes a NaN of a class's if not."""
    total = 0.0
    for k in range(grad_b.size):
        total += grad_b[k] * 0
    for c in range(sums.shape[0]):
        total += sums[c, sums.shape[1] - 1]
    return total == 0


class Block(NamedTuple):
    """Room for a block of rows."""

    rows: Array  # from `rows_table`
    loaded: Array  # from `rows_scratch`
    X_T: Array  # from `transposed_scratch`
    weights: Array  # (ROW_BLOCK,), float64
    losses: Array  # (ROW_BLOCK,)
    targets: Array  # from `targets_scratch`


@jit
def block_for(problem: Problem) -> Block:
    """Room for a block of the problem's rows."""
    b, n_features = problem.b, problem.n_features
    return Block(
        rows_table(),
        rows_scratch(problem.X, n_features, b),
        transposed_scratch(n_features, b),
        np.empty(ROW_BLOCK, np.float64),
        np.empty(ROW_BLOCK, b.dtype),
        targets_scratch(problem.targets, b.size, b),
    )


@jit_borrowing
def logits_from(
    first: int, n_rows: int, n_next: int, problem: Problem, block: Block, Z_T: Array
) -> bool:
    """Z_T (K, ROW_BLOCK) of rows first..., whose weights and targets are loaded.

    Meanwhile n_next rows of the next block are asked for. Returns whether all logits are finite.
    """
    load_weights_and_targets(
        problem.sample_weight, problem.targets, first, n_rows, block.weights, block.targets
    )
    find_rows(problem.X, first, n_rows, block.loaded, block.rows)
    leave_out(block.weights, problem.zeros, block.rows)
    logits(
        block.rows,
        n_rows,
        problem.n_features,
        problem.W_tiles,
        problem.b,
        block.X_T,
        Z_T,
        n_next,
    )
    return all_finite(Z_T)


@jit
def note_block(block: Block, count: int, finite: bool, sums: Array) -> None:
    """The losses of a block of rows and whether its logits are finite, in a row of the sums."""
    sums[sums.size - 2] += weighted_sum(block.losses[:count], block.weights)
    if not finite:
        sums[sums.size - 1] = 1


@jit
def chunk_gradient(i: int, problem: Problem, window: Window, partials: Partials) -> None:
    """The sums over the rows of the i-th chunk of a window that lie in it."""
    b, n_features, n_classes = problem.b, problem.n_features, problem.b.size
    c = window.first // window.size + i
    block = block_for(problem)
    Z_T = np.empty((n_classes, ROW_BLOCK), b.dtype)
    tail = np.empty(tail_size(n_classes, item_bytes(b)), b.dtype)
    G = Gradient(address_of(partials.G_T[c]), n_features, n_classes)
    half = ROW_BLOCK // 2  # of the next block, which logits ask for; the gradient asks for the rest
    start = max(c * window.size - window.first, 0)
    stop = min((c + 1) * window.size - window.first, problem.n_rows)
    for first in range(start, stop, ROW_BLOCK):
        count = min(ROW_BLOCK, stop - first)
        finite = logits_from(first, count, half, problem, block, Z_T)
        residuals(Z_T, block.targets, block.weights, problem.label_smoothing, block.losses)
        note_block(block, count, finite, partials.sums[c])
        rows = Table(address_of(block.rows), 0, count)
        ahead = Strided(block.rows[ROW_BLOCK + half], CACHE_LINE)
        add_gradient(b, rows, address_of(Z_T), G, address_of(tail), ahead)
        add_row_sums(Z_T, partials.sums[c])


@jit_callable
def loss_and_gradient_by_chunk(
    run: int,
    given: Any,  # as `prepared` takes it
    first: int,  # of `Window`
    size: int,
    scale: float,
    l2: float,
    G_T: Array,  # of `Partials`
    sums: Array,
    total: Array,
    grad_W: Array,  # (D, K), or empty to add to the sums alone
    grad_b: Array,  # (K,), likewise
) -> bool:
    """The sums of each chunk of rows; grad = scale * (the sum of theirs) + l2 W.

    Returns whether all logits and gradients are finite.
    """
    problem, window, partials = prepared(given), Window(first, size), Partials(G_T, sums, total)
    chunks = ceil_div(first + problem.n_rows, size) - first // size
    for_each(run, chunks, chunk_gradient, (problem, window, partials))
    for_each(run, grad_b.size, combine, (problem.W, scale, l2, partials, grad_W, grad_b))
    return is_finite(sums, grad_b)


@jit
def block_gradient(
    i: int, start: int, stop: int, problem: Problem, Z_T: Array, chunk: int, sums: Array
) -> None:
    """The residuals Z_T[i] (K, ROW_BLOCK) of block i of some rows, and their sums."""
    block = block_for(problem)
    first = start + i * ROW_BLOCK
    count = min(ROW_BLOCK, stop - first)
    finite = logits_from(first, count, ROW_BLOCK, problem, block, Z_T[i])
    keep_alive(block.loaded)
    residuals(Z_T[i], block.targets, block.weights, problem.label_smoothing, block.losses)
    note_block(block, count, finite, sums[chunk + i])
    add_row_sums(Z_T[i], sums[chunk + i])


@jit
def add_slab(slab: int, problem: Problem, start: int, n_rows: int, Z_T: Array, G_T: Array) -> None:
    """One slab's share of n_rows rows, with residuals Z_T (blocks, K, ROW_BLOCK), in G_T.

    A slab is a tile width of features by SLAB_TILES tiles of classes.
    """
    X, n_features = problem.X, problem.n_features
    n_classes, size = G_T.shape[0], item_bytes(G_T)
    n_tiles = class_tiles(n_classes)
    class_slabs = ceil_div(n_tiles, SLAB_TILES)
    width = tile_width(G_T)
    d = slab // class_slabs * width
    in_place = lies_ready(X, G_T) and d + width <= n_features
    columns = np.zeros((0 if in_place else n_rows, width), G_T.dtype)
    source = Strided(address_of(columns), TILE_BYTES)
    if in_place:
        source = Strided(X.address + start * X.row_stride + d * size, X.row_stride)
    else:
        load_rows(skip_columns(X, d), start, n_rows, min(width, n_features - d), G_T, source)
    rows = np.arange(n_rows) * source.stride + source.address
    for r in range(n_rows):
        if weight_of(problem.sample_weight, start + r) == 0:
            rows[r] = address_of(problem.zeros)
    B = Table(address_of(rows), 0, n_rows)
    first_tile = slab % class_slabs * SLAB_TILES
    for t in range(first_tile, min(first_tile + SLAB_TILES, n_tiles)):
        k = first_class(t, n_classes)
        A = Strided(address_of(Z_T) + k * ROW_BLOCK * size, n_classes * ROW_BLOCK * size)
        C = Strided(address_of(G_T) + (k * G_T.shape[1] + d) * size, G_T.shape[1] * size)
        height = first_class(t + 1, n_classes) - k
        # G_T[0] is one-dimensional, as elsewhere: no second version of the tile
        multiply_add(G_T[0], height, A, B, C, Strided(source.address, 0))
    keep_alive(columns)
    keep_alive(rows)


@jit
def end_leaf(k: int, G_T: Array, total: Array) -> None:
    """Class k of a leaf's gradient, added to the total; the next begins with zeros."""
    for d in range(total.shape[1]):
        total[k, d] += G_T[k, d]
        G_T[k, d] = 0


@jit_callable
def loss_and_gradient_by_slab(
    run: int,
    given: Any,
    first: int,
    size: int,  # rows of a leaf
    scale: float,
    l2: float,
    G_T: Array,
    sums: Array,  # of SLAB_ROWS // ROW_BLOCK chunks for each leaf: every so many blocks are one
    total: Array,
    grad_W: Array,  # (D, K)
    grad_b: Array,  # (K,)
) -> bool:
    """As `loss_and_gradient_by_chunk`, the gradient held once and owned by slabs of it."""
    problem = prepared(given)
    n_classes, n_features = problem.b.size, problem.n_features
    n_slabs = ceil_div(n_features, tile_width(problem.b)) * ceil_div(
        class_tiles(n_classes), SLAB_TILES
    )
    together = SLAB_ROWS // ROW_BLOCK
    Z_T = np.empty((together, n_classes, ROW_BLOCK), problem.b.dtype)
    start = 0
    while start < problem.n_rows:
        leaf = (first + start) // size
        left = (leaf + 1) * size - first - start
        rows = min(SLAB_ROWS, problem.n_rows - start, left)
        arguments = (start, start + rows, problem, Z_T, leaf * together, sums)
        for_each(run, ceil_div(rows, ROW_BLOCK), block_gradient, arguments)
        for_each(run, n_slabs, add_slab, (problem, start, rows, Z_T, G_T[0]))
        start += rows
        if rows == left and total.size > 0:
            for_each(run, n_classes, end_leaf, (G_T[0], total))
    partials = Partials(G_T, sums, total)
    for_each(run, grad_b.size, combine, (problem.W, scale, l2, partials, grad_W, grad_b))
    return is_finite(sums, grad_b)


@jit
def combine(
    k: int, W: Rows, scale: float, l2: float, partials: Partials, grad_W: Array, grad_b: Array
) -> None:
    """Class k of the gradient: its partial sums, added in float64 in the order of the chunks.

    Its bias gets a NaN if any of its weights does not have a finite one.
    """
    n_features = grad_W.shape[0]
    total_b = 0.0
    for c in range(partials.sums.shape[0]):
        total_b += partials.sums[c, k]
    grad_b[k] = scale * total_b
    total = np.zeros(n_features, np.float64)
    if partials.total.size > 0:
        for d in range(n_features):
            total[d] = partials.total[k, d]
    for c in range(partials.G_T.shape[0]):
        for d in range(n_features):
            total[d] += partials.G_T[c, k, d]
    finite = True
    for d in range(n_features):
        address = W.address + d * W.row_stride + k * W.column_stride
        grad_W[d, k] = scale * total[d] + l2 * load_item(W.item, address)
        finite &= math.isfinite(grad_W[d, k])
    if not finite:
        grad_b[k] = np.nan


@jit
def chunk_losses(c: int, problem: Problem, row_loss: Array, overflows: Array) -> None:
    """row_loss[n] = weight * J for the rows of chunk c."""
    block = block_for(problem)
    Z_T = np.empty((problem.b.size, ROW_BLOCK), problem.b.dtype)
    size = chunk_rows(problem.n_rows)
    stop = min((c + 1) * size, problem.n_rows)
    for first in range(c * size, stop, ROW_BLOCK):
        count = min(ROW_BLOCK, stop - first)
        overflows[c] |= not logits_from(first, count, ROW_BLOCK, problem, block, Z_T)
        for g in range(groups(Z_T, count)):
            t = lanes_of_targets(block.targets, g)
            J = row.cross_entropy(lanes(Z_T, g), t, problem.label_smoothing)
            store(J, address_of(block.losses) + g * VECTOR_BYTES)
        for r in range(count):
            row_loss[first + r] = block.weights[r] * np.float64(block.losses[r])


@jit_callable
def losses(
    run: int,
    given: Any,
    row_loss: Array,  # (N,)
) -> bool:
    """row_loss[n] = weight * J of row n. Returns whether all logits are finite."""
    overflows = np.zeros(n_chunks(row_loss.size), np.bool_)
    for_each(run, overflows.size, chunk_losses, (prepared(given), row_loss, overflows))
    return none_of(overflows)
