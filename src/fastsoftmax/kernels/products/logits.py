"""X W + b for one block of rows held in cache.

A block's logits lie by class, Z_T (K, ROW_BLOCK): a vector then holds one class of several rows,
so the numerics of a row need no work across lanes and K needs no padding. With few classes they are
dot products along the features; with more, rows are transposed for the register tile.
"""

from __future__ import annotations

import numpy as np

from fastsoftmax.kernels.compile.jit import jit_also, jit_borrowing, jit_inline
from fastsoftmax.kernels.tiles.dots import DOT_ROWS, DOT_VECTORS, MAX_CLASSES, add_dots
from fastsoftmax.kernels.tiles.packing import (
    TILE_ROWS,
    Weights,
    class_tiles,
    first_class,
    tile_weights,
)
from fastsoftmax.kernels.tiles.sizes import (
    A_GROUP,
    DOT_CLASSES,
    DOT_ROW_BYTES,
    FEATURE_BLOCK,
    FEATURES_PER_CLASS,
    ROW_BLOCK,
    ceil_div,
)
from fastsoftmax.kernels.tiles.tile import TILE_BYTES, multiply_add
from fastsoftmax.kernels.tiles.transpose import PIECE_BYTES, transpose_rows
from fastsoftmax.kernels.vectors import simd
from fastsoftmax.kernels.vectors.memory import (
    ADDRESS_BYTES,
    CACHE_LINE,
    Array,
    Strided,
    Table,
    item_bytes,
    load_address,
    skip_bytes,
    skip_rows,
)
from fastsoftmax.kernels.vectors.simd import address_of
from fastsoftmax.kernels.vectors.vector_ir import VECTOR_BYTES


@jit_also
def as_dots(n_features: int, n_classes: int, itemsize: int) -> bool:
    """Whether logits over so many features are dot products, or rows are transposed for them."""
    again = n_features * itemsize <= DOT_ROW_BYTES and n_classes <= DOT_CLASSES
    return n_features >= FEATURES_PER_CLASS * n_classes and (again or n_classes <= MAX_CLASSES)


@jit_also
def transposed_size(n_features: int, itemsize: int) -> int:
    """Items of a tile width of transposed rows, FEATURE_BLOCK features at a time."""
    spare = PIECE_BYTES // itemsize  # a transposition writes whole pieces of features
    return (min(n_features, FEATURE_BLOCK) + spare) * TILE_BYTES // itemsize


@jit_inline
def transposed_scratch(n_features: int, like: Array) -> Array:
    """Room for the transposed rows."""
    return np.empty(transposed_size(n_features, item_bytes(like)), like.dtype)


@jit_inline
def logits(
    rows: Array,
    n_rows: int,
    n_features: int,
    W_tiles: Array,
    b: Array,
    X_T: Array,
    Z_T: Array,
    n_next: int,
) -> None:
    """Z_T (K, ROW_BLOCK) = (X W + b)' for the n_rows contiguous rows whose addresses are `rows`.

    `rows` (2 * ROW_BLOCK,) is from `find_rows`. Columns of Z_T beyond n_rows are b, or the logits
    of the last row. X_T, from `transposed_scratch`, is scratch. The rest as in `add_logits`.
    """
    n_classes = b.size
    for k in range(n_classes):
        bias = simd.splat(b, b[k])
        start = address_of(Z_T) + k * ROW_BLOCK * item_bytes(b)
        for place in range(start, start + ROW_BLOCK * item_bytes(b), VECTOR_BYTES):
            simd.store(bias, place)
    block = Table(address_of(rows), 0, n_rows)
    following = Table(address_of(rows) + ROW_BLOCK * ADDRESS_BYTES, 0, n_next)
    W = Weights(address_of(W_tiles), n_features, n_classes)
    add_logits(b, block, following, 0, n_features, W, address_of(X_T), address_of(Z_T))


@jit_borrowing
def add_logits(
    item: Array,
    rows: Table,
    following: Table,
    start: int,
    stop: int,
    W: Weights,
    X_T: int,
    Z_T: int,
) -> None:
    """Z_T (K, ROW_BLOCK) += the share of the features [start, stop), as if b were zero.

    start is a multiple of A_GROUP. X_T and Z_T are addresses. The table of the rows goes on, to a
    multiple of DOT_ROWS, with some that can be read. Meanwhile those `following` are asked for, as
    far as the tiles have steps; transposing, they are taken to lie one after another.
    """
    if as_dots(stop - start, W.n_classes, item_bytes(item)):
        dots(item, rows, following, start, stop, W, Z_T)
        return
    size = item_bytes(item)
    panel_rows = TILE_BYTES // size
    line = load_address(following.addresses, 0)
    last_line = line + following.n * W.n_features * size
    for d in range(start, stop, FEATURE_BLOCK):
        width = min(FEATURE_BLOCK, stop - d)
        for p in range(ceil_div(rows.n, panel_rows)):
            for half in range(0, panel_rows, VECTOR_BYTES // size):
                part = skip_rows(rows, p * panel_rows + half)
                target = Strided(X_T + half * size, panel_rows * size)
                transpose_rows(item, skip_bytes(part, d * size), width, target)
            B = Table(address_of(TILE_ROWS), X_T, width)
            for t in range(class_tiles(W.n_classes)):
                k = first_class(t, W.n_classes)
                height = first_class(t + 1, W.n_classes) - k
                C = Strided(Z_T + (k * ROW_BLOCK + p * panel_rows) * size, ROW_BLOCK * size)
                ahead = Strided(line, CACHE_LINE if line < last_line else 0)
                multiply_add(item, height, tile_weights(item, W, k, height, d), B, C, ahead)
                line += width * CACHE_LINE


@jit_inline
def dots(
    item: Array, rows: Table, following: Table, start: int, stop: int, W: Weights, Z_T: int
) -> None:
    """`add_logits` by dot products: DOT_ROWS rows are read at once, as they lie."""
    size = item_bytes(item)
    span = DOT_VECTORS * VECTOR_BYTES // size
    asked = 0
    for t in range(class_tiles(W.n_classes)):
        first = first_class(t, W.n_classes)
        height = first_class(t + 1, W.n_classes) - first
        A = tile_weights(item, W, first, height, start)
        parts = ceil_div(height, MAX_CLASSES)
        for part in range(parts):
            i = part * height // parts
            until = (part + 1) * height // parts
            due = following.n * (first + until) // W.n_classes  # evenly, whatever the classes
            for r in range(0, rows.n, DOT_ROWS):
                asks = asked < due
                wanted = skip_rows(following, asked).addresses
                for d in range(start, stop, span):
                    add_dots(
                        item,
                        until - i,
                        Strided(A.address + (i * A_GROUP + (d - start) * height) * size, A.stride),
                        skip_bytes(skip_rows(rows, r), d * size),
                        min(span, stop - d),
                        Strided(Z_T + ((first + i) * ROW_BLOCK + r) * size, ROW_BLOCK * size),
                        Strided(wanted, VECTOR_BYTES if asks else 0),
                    )
                if asks:
                    asked += DOT_ROWS
