"""X W + b for one block of rows held in cache.

A block's logits lie by class, Z_T (K, ROW_BLOCK): a vector then holds one class of several rows,
so the numerics of a row need no work across lanes and K needs no padding. With few classes they are
dot products along the features; with more, rows are transposed for the register tile.
"""

from __future__ import annotations

import numpy as np

from fastsoftmax.kernels.compile.jit import jit_also, jit_borrowing, jit_inline
from fastsoftmax.kernels.tiles.dots import DOT_ROWS, DOT_VECTORS, MAX_CLASSES, add_dots
from fastsoftmax.kernels.tiles.packing import TILE_ROWS, class_tiles, first_class, packed_tile
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
from fastsoftmax.kernels.vectors.memory import CACHE_LINE, Array, item_bytes, load_address
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
    table = address_of(rows)
    add_logits(
        b,
        table,
        n_rows,
        0,
        n_features,
        n_features,
        n_classes,
        address_of(W_tiles),
        address_of(X_T),
        address_of(Z_T),
        table + ROW_BLOCK * 8,
        n_next,
    )


@jit_borrowing
def add_logits(
    item: Array,
    rows: int,
    n_rows: int,
    start: int,
    stop: int,
    n_features: int,
    n_classes: int,
    W_tiles: int,
    X_T: int,
    Z_T: int,
    next_rows: int,
    n_next: int,
) -> None:
    """Z_T (K, ROW_BLOCK) += the share of the features [start, stop), as if b were zero.

    start is a multiple of A_GROUP. All are addresses; `rows` of a table of rows which goes on, to a
    multiple of DOT_ROWS, with some that can be read. Meanwhile n_next rows are asked for, of
    the table at `next_rows`; transposing, they are taken to lie one after another.
    """
    if as_dots(stop - start, n_classes, item_bytes(item)):
        dots(
            item,
            rows,
            n_rows,
            start,
            stop,
            n_features,
            n_classes,
            W_tiles,
            Z_T,
            next_rows,
            n_next,
        )
        return
    size = item_bytes(item)
    panel_rows = TILE_BYTES // size
    lanes = VECTOR_BYTES // size
    ahead, ahead_step = load_address(next_rows, 0), CACHE_LINE if n_next else 0
    for d in range(start, stop, FEATURE_BLOCK):
        width = min(FEATURE_BLOCK, stop - d)
        for p in range(ceil_div(n_rows, panel_rows)):
            for half in range(0, panel_rows, lanes):
                r = p * panel_rows + half
                transpose_rows(
                    item,
                    rows + r * 8,
                    d * size,
                    max(min(n_rows - r, lanes), 0),
                    width,
                    X_T + half * size,
                    panel_rows * size,  # a literal would have a type, so a version, of its own
                )
            for t in range(class_tiles(n_classes)):
                k = first_class(t, n_classes)
                height = first_class(t + 1, n_classes) - k
                multiply_add(
                    item,
                    height,
                    W_tiles + packed_tile(k, height, d, n_features) * size,
                    height * A_GROUP * size,
                    X_T,
                    address_of(TILE_ROWS),
                    Z_T + (k * ROW_BLOCK + p * panel_rows) * size,
                    ROW_BLOCK * size,
                    width,
                    ahead + (p * n_features + d) * ahead_step,
                    ahead_step,
                )


@jit_inline
def dots(
    item: Array,
    rows: int,
    n_rows: int,
    start: int,
    stop: int,
    n_features: int,
    n_classes: int,
    W_tiles: int,
    Z_T: int,
    next_rows: int,
    n_next: int,
) -> None:
    """`add_logits` by dot products: DOT_ROWS rows are read at once, as they lie."""
    size = item_bytes(item)
    span = DOT_VECTORS * VECTOR_BYTES // size
    asked = 0
    for t in range(class_tiles(n_classes)):
        first = first_class(t, n_classes)
        height = first_class(t + 1, n_classes) - first
        A = W_tiles + packed_tile(first, height, start, n_features) * size
        parts = ceil_div(height, MAX_CLASSES)
        for part in range(parts):
            i = part * height // parts
            until = (part + 1) * height // parts
            due = n_next * (first + until) // n_classes  # asked for evenly, whatever the classes
            for r in range(0, n_rows, DOT_ROWS):
                asks = asked < due
                for d in range(start, stop, span):
                    add_dots(
                        item,
                        until - i,
                        A + (i * A_GROUP + (d - start) * height) * size,
                        height * A_GROUP * size,
                        rows + r * 8,
                        d * size,
                        min(span, stop - d),
                        Z_T + ((first + i) * ROW_BLOCK + r) * size,
                        ROW_BLOCK * size,
                        next_rows + asked * 8,
                        VECTOR_BYTES if asks else 0,
                    )
                if asks:
                    asked += DOT_ROWS
