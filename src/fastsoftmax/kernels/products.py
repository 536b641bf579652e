"""The two matrix products of softmax regression, for one block of rows held in cache.

A block's logits lie by class, Z_T (K, ROW_BLOCK): a vector then holds one class of several rows,
so the numerics of a row need no work across lanes and K needs no padding. Classes come in tiles
of at most MAX_ROWS, of nearly equal size. The weights are packed as the register tile reads them:
tile by tile, within it by groups of A_GROUP features, in each the rows (class, feature of group).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastsoftmax.kernels import simd
from fastsoftmax.kernels._jit import jit, jit_also, jit_inline
from fastsoftmax.kernels.blocks import (
    A_GROUP,
    FEATURE_BLOCK,
    FEATURES_PER_CLASS,
    ROW_BLOCK,
    ceil_div,
)
from fastsoftmax.kernels.dots import DOT_ROWS, MAX_CLASSES, add_dots
from fastsoftmax.kernels.memory import (
    CACHE_LINE,
    Array,
    Rows,
    item_bytes,
    load_address,
    load_item,
)
from fastsoftmax.kernels.simd import address_of, load_first
from fastsoftmax.kernels.tile import MAX_ROWS, TILE_BYTES, multiply_add
from fastsoftmax.kernels.transpose import PIECE_BYTES, transpose_rows
from fastsoftmax.kernels.vector_ir import VECTOR_BYTES

# A table of rows that lie one tile width apart.
TILE_ROWS = np.arange(max(FEATURE_BLOCK, ROW_BLOCK), dtype=np.int64) * TILE_BYTES


@jit_also
def class_tiles(n_classes: int) -> int:
    """The number of tiles."""
    return ceil_div(n_classes, MAX_ROWS)


@jit_also
def first_class(t: Any, n_classes: int) -> Any:
    """The first class of tile t."""
    return t * n_classes // class_tiles(n_classes)


@jit_also
def tile_of(k: Any, n_classes: int) -> Any:
    """The tile that class k is in."""
    n_tiles = class_tiles(n_classes)
    return ((k + 1) * n_tiles - 1) // n_classes


@jit
def tile_width(item: Array) -> int:
    """Features of a tile of the gradient."""
    return TILE_BYTES // item_bytes(item)


@jit_also
def padded(n: int, itemsize: int) -> int:
    """n items, rounded up to whole tile widths."""
    return ceil_div(n * itemsize, TILE_BYTES) * TILE_BYTES // itemsize


@jit_also
def packed_features(n_features: int) -> int:
    """Features of packed weights: whole groups, as the tile takes them."""
    return ceil_div(n_features, A_GROUP) * A_GROUP


@jit_also
def packed_tile(first: Any, height: Any, d: Any, n_features: int) -> Any:
    """Where the packed weights of `height` classes from `first` on begin, from feature d on.

    The classes are those of one tile, and d begins a group of features.
    """
    return first * packed_features(n_features) + d * height


@jit_also
def packed_row(k: Any, d: Any, n_features: int, n_classes: int) -> Any:
    """Where in the packed weights those of class k begin, for the group of features from d on.

    Python may pass arrays of k and d.
    """
    t = tile_of(k, n_classes)
    first = first_class(t, n_classes)
    height = first_class(t + 1, n_classes) - first
    return packed_tile(first, height, d, n_features) + (k - first) * A_GROUP


@jit
def pack_weights(W: Rows, n_features: int, n_classes: int, W_tiles: Array) -> None:
    """W_tiles = W (D, K), packed; zeros beyond the last feature."""
    for k in range(n_classes):
        for d in range(0, packed_features(n_features), A_GROUP):
            start = packed_row(k, d, n_features, n_classes)
            address = W.address + d * W.row_stride + k * W.column_stride
            for i in range(A_GROUP):
                if d + i < n_features:
                    W_tiles[start + i] = load_item(W.item, address + i * W.row_stride)
                else:
                    W_tiles[start + i] = 0


def packed_places(n_features: int, n_classes: int) -> Array:
    """Where in the packed weights W[d, k] is, (D, K)."""
    d, k = np.arange(n_features)[:, None], np.arange(n_classes)
    start: Array = packed_row(k, d // A_GROUP * A_GROUP, n_features, n_classes)
    return start + d % A_GROUP


@jit_also
def as_dots(n_features: int, n_classes: int) -> bool:
    """Whether logits over so many features are dot products, or rows are transposed for them."""
    return n_features >= FEATURES_PER_CLASS * n_classes


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


@jit_inline
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
    if as_dots(stop - start, n_classes):
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
                add_dots(
                    item,
                    until - i,
                    A + i * A_GROUP * size,
                    height * A_GROUP * size,
                    rows + r * 8,
                    start * size,
                    stop - start,
                    Z_T + ((first + i) * ROW_BLOCK + r) * size,
                    ROW_BLOCK * size,
                    next_rows + asked * 8,
                    VECTOR_BYTES if asks else 0,
                )
                if asks:
                    asked += DOT_ROWS


@jit_inline
def add_gradient(
    item: Array,
    rows: int,
    n_rows: int,
    n_features: int,
    n_classes: int,
    Z_T: int,
    tail: int,
    G_T: int,
    ahead: int,
    ahead_step: int,
) -> None:
    """G_T (K, padded D) += residuals' X, for the residuals Z_T (K, ROW_BLOCK) of n_rows rows.

    All are addresses, `rows` of a table of them. `tail`, of `tail_size`, is scratch for the last
    features. The tiles ask for lines from `ahead` on, which moves on by `ahead_step`.
    """
    size = item_bytes(item)
    width = tile_width(item)
    G_stride = padded(n_features, size) * size
    for d in range(0, n_features, width):
        B, B_rows, C, C_stride = d * size, rows, G_T + d * size, G_stride
        if d + width > n_features:
            B, B_rows = last_columns(item, rows, n_rows, n_features, tail, address_of(TILE_ROWS))
            C, C_stride = tail + ROW_BLOCK * TILE_BYTES, TILE_BYTES
            for at in range(C, C + n_classes * C_stride, VECTOR_BYTES):
                simd.store(simd.splat(item, 0), at)
        for t in range(class_tiles(n_classes)):
            k = first_class(t, n_classes)
            multiply_add(
                item,
                first_class(t + 1, n_classes) - k,
                Z_T + k * ROW_BLOCK * size,
                n_classes * ROW_BLOCK * size,
                B,
                B_rows,
                C + k * C_stride,
                C_stride,
                n_rows,
                ahead,
                ahead_step,
            )
        if d + width > n_features:
            skipped = skipped_columns(item, n_features)
            for k in range(n_classes):
                for j in range(0, n_features - d, VECTOR_BYTES // size):
                    count = min(n_features - d - j, VECTOR_BYTES // size)
                    place = C + k * C_stride + (skipped + j) * size
                    g = load_first(item, place, count, item.dtype.type(0))
                    place = G_T + k * G_stride + (d + j) * size
                    simd.store(simd.load(item, place) + g, place)
        ahead += n_rows * ahead_step


@jit_also
def tail_size(n_classes: int, itemsize: int) -> int:
    """Items of the scratch for the last features, of one block and their gradient."""
    return (ROW_BLOCK + n_classes) * TILE_BYTES // itemsize


@jit_inline
def skipped_columns(like: Array, n_features: int) -> int:
    """How many columns of `last_columns` come before the last tile width begins."""
    width = tile_width(like)
    return (width - n_features % width) % width if n_features >= width else 0


@jit_inline
def last_columns(
    item: Array, rows: int, n_rows: int, n_features: int, tail: int, tail_rows: int
) -> tuple[int, int]:
    """(B, B_rows), as the tile takes them, of columns up to the last, where no whole tile is left.

    They are the last tile width, some of which a tile before has seen; where there are not so many,
    all of them, copied to `tail` and filled up with zeros. A masked read of a row's end would wait
    for the line behind it, which nobody asked for. `tail_rows` is a table as TILE_ROWS, of n_rows.
    """
    size = item_bytes(item)
    width, lanes = tile_width(item), VECTOR_BYTES // size
    if n_features >= width:
        return (n_features - width) * size, rows
    for r in range(n_rows):
        for j in range(0, width, lanes):
            count = min(max(n_features - j, 0), lanes)
            source = load_address(rows, r) + j * size
            v = load_first(item, source, count, item.dtype.type(0))
            simd.store(v, tail + (r * width + j) * size)
    return tail, tail_rows
