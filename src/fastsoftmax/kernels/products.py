"""The two matrix products of softmax regression, for one block of rows held in cache.

A block's logits lie by class, Z_T (K, ROW_BLOCK): a vector then holds one class of several rows,
so the numerics of a row need no work across lanes and K needs no padding. Classes come in tiles
of at most MAX_ROWS, of nearly equal size. The weights are packed as the register tile reads them:
tile by tile, within it by groups of A_GROUP features, in each the rows (class, feature of group).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastsoftmax.kernels._jit import jit, jit_also, jit_inline
from fastsoftmax.kernels.blocks import FEATURE_BLOCK, ROW_BLOCK, ceil_div
from fastsoftmax.kernels.memory import CACHE_LINE, Array, Rows, item_bytes, load_item
from fastsoftmax.kernels.simd import address_of, load_first, store
from fastsoftmax.kernels.tile import A_GROUP, MAX_ROWS, TILE_BYTES, multiply_add
from fastsoftmax.kernels.transpose import transpose_rows
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
def packed_row(k: Any, d: Any, n_features: int, n_classes: int) -> Any:
    """Where in the packed weights those of class k begin, for the group of features from d on.

    Python may pass arrays of k and d.
    """
    t = tile_of(k, n_classes)
    first = first_class(t, n_classes)
    height = first_class(t + 1, n_classes) - first
    return first * packed_features(n_features) + d * height + (k - first) * A_GROUP


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


@jit_inline
def transposed_size(n_features: int, like: Array) -> int:
    """Items of `transposed_scratch`."""
    spare = VECTOR_BYTES // item_bytes(like)  # a transposition writes whole vectors of features
    return (min(n_features, FEATURE_BLOCK) + spare) * ROW_BLOCK


@jit_inline
def transposed_scratch(n_features: int, like: Array) -> Array:
    """Room for the transposed rows of a block, FEATURE_BLOCK features at a time."""
    return np.empty(transposed_size(n_features, like), like.dtype)


@jit_inline
def logits(
    rows: Array,
    n_rows: int,
    n_features: int,
    W_tiles: Array,
    b: Array,
    X_T: Array,
    Z_T: Array,
    ahead: int,
    ahead_step: int,
) -> None:
    """Z_T (K, ROW_BLOCK) = (X W + b)' for the n_rows contiguous rows whose addresses are `rows`.

    Columns of Z_T beyond n_rows are b. X_T, from `transposed_scratch`, is scratch. `ahead` and
    `ahead_step` are the tile's: a block asks for the first half of the next one here, for the
    second half in `add_gradient`.
    """
    size = item_bytes(b)
    panel_rows = TILE_BYTES // size
    lanes = VECTOR_BYTES // size
    n_classes = b.size
    for k in range(n_classes):
        for r in range(ROW_BLOCK):
            Z_T[k, r] = b[k]
    for d in range(0, n_features, FEATURE_BLOCK):
        width = min(FEATURE_BLOCK, n_features - d)
        panels = ceil_div(n_rows, panel_rows)
        panel_bytes = width * TILE_BYTES
        for p in range(panels):
            for half in range(0, panel_rows, lanes):
                r = p * panel_rows + half
                transpose_rows(
                    b,
                    address_of(rows) + r * 8,
                    d * size,
                    max(min(n_rows - r, lanes), 0),
                    width,
                    address_of(X_T) + p * panel_bytes + half * size,
                    panel_rows * size,  # a literal would have a type, so a version, of its own
                )
        for t in range(class_tiles(n_classes)):
            k = first_class(t, n_classes)
            height = first_class(t + 1, n_classes) - k
            A = address_of(W_tiles) + (k * packed_features(n_features) + d * height) * size
            for p in range(panels):
                multiply_add(
                    b,
                    height,
                    A,
                    address_of(X_T) + p * panel_bytes,
                    address_of(TILE_ROWS),
                    address_of(Z_T) + (k * ROW_BLOCK + p * panel_rows) * size,
                    ROW_BLOCK * size,
                    width,
                    ahead + (p * n_features + d) * ahead_step,
                    ahead_step,
                )


@jit_inline
def add_gradient(
    rows: Array,
    n_rows: int,
    n_features: int,
    Z_T: Array,
    tail: Array,
    G_T: Array,
    ahead: int,
    ahead_step: int,
) -> None:
    """G_T (K, padded D) += residuals' X, for the residuals Z_T (K, ROW_BLOCK) of n_rows rows.

    `tail` (ROW_BLOCK * tile width,) is scratch, for the last features; the rest as in `logits`.
    """
    width = tile_width(Z_T)
    ahead += ROW_BLOCK * n_features * item_bytes(Z_T) // 2 // CACHE_LINE * ahead_step
    for d in range(0, n_features, width):
        B, B_rows = d * item_bytes(Z_T), address_of(rows)
        if d + width > n_features:
            copy_columns(Z_T, rows, d, n_rows, n_features - d, tail)
            B, B_rows = address_of(tail), address_of(TILE_ROWS)
        for t in range(class_tiles(Z_T.shape[0])):
            add_gradient_tile(B, B_rows, n_rows, d, t, Z_T, G_T, ahead, ahead_step)
        ahead += n_rows * ahead_step


@jit_inline
def add_gradient_tile(
    B: int,
    B_rows: int,
    n_rows: int,
    d: int,
    t: int,
    Z_T: Array,
    G_T: Array,
    ahead: int,
    ahead_step: int,
) -> None:
    """The share of class tile t and one tile width of features from d on; B, ... as the tile's."""
    size = item_bytes(Z_T)
    n_classes = Z_T.shape[0]
    k = first_class(t, n_classes)
    multiply_add(
        Z_T[0],  # one-dimensional, as in `logits`: no second version of the tile
        first_class(t + 1, n_classes) - k,
        address_of(Z_T) + k * ROW_BLOCK * size,
        B,
        B_rows,
        address_of(G_T) + (k * G_T.shape[1] + d) * size,
        G_T.shape[1] * size,
        n_rows,
        ahead,
        ahead_step,
    )


@jit_inline
def copy_columns(
    item: Array, rows: Array, d: int, n_rows: int, n_columns: int, target: Array
) -> None:
    """target (n_rows, tile width) = columns d... of the rows, zeros beyond n_columns."""
    size = item_bytes(item)
    width, lanes = TILE_BYTES // size, VECTOR_BYTES // size
    for r in range(n_rows):
        for j in range(0, width, lanes):
            count = min(max(n_columns - j, 0), lanes)
            v = load_first(item, rows[r] + (d + j) * size, count, item.dtype.type(0))
            store(v, address_of(target) + (r * width + j) * size)
