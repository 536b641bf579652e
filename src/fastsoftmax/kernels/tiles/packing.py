"""How weights and sums lie for the register tile.

Classes come in tiles of at most MAX_ROWS, of nearly equal size. The weights are packed as the tile
reads them: tile by tile, within it by groups of A_GROUP features, in each the rows (class, feature
of group).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from fastsoftmax.kernels.compile.jit import jit, jit_also
from fastsoftmax.kernels.tiles.sizes import A_GROUP, FEATURE_BLOCK, ROW_BLOCK, ceil_div
from fastsoftmax.kernels.tiles.tile import MAX_ROWS, TILE_BYTES
from fastsoftmax.kernels.vectors.memory import Array, Rows, Strided, item_bytes, load_item

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


class Weights(NamedTuple):
    """W (D, K), packed."""

    address: int
    n_features: int
    n_classes: int


@jit_also
def tile_weights(item: Array, W: Weights, first: int, height: int, d: int) -> Strided:
    """Those of `height` classes from `first` on, from feature d on, as in `packed_tile`."""
    size = item_bytes(item)
    return Strided(
        W.address + packed_tile(first, height, d, W.n_features) * size, height * A_GROUP * size
    )


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


def unpacked(W_tiles: Array, n_features: int, n_classes: int) -> Array:
    """W (D, K) of packed weights, a new array."""
    W = np.empty((n_features, n_classes), W_tiles.dtype)
    for classes, tile in _tiles(W_tiles, n_features, n_classes):
        W[:, classes] = tile.swapaxes(1, 2).reshape(-1, tile.shape[1])[:n_features]
    return W


def packed(W: Array, W_tiles: Array) -> None:
    """W_tiles = W (D, K), packed, but for what is beyond the last feature."""
    n_features, n_classes = W.shape
    whole = n_features // A_GROUP
    for classes, tile in _tiles(W_tiles, n_features, n_classes):
        rows, height = W[:, classes], tile.shape[1]
        tile[:whole] = rows[: whole * A_GROUP].reshape(whole, A_GROUP, height).swapaxes(1, 2)
        if n_features % A_GROUP:
            tile[whole, :, : n_features % A_GROUP] = rows[whole * A_GROUP :].T


def _tiles(W_tiles: Array, n_features: int, n_classes: int) -> Iterator[tuple[slice, Array]]:
    """The classes of each tile, and its packed weights (groups, classes, A_GROUP)."""
    size = packed_features(n_features)
    for t in range(class_tiles(n_classes)):
        classes = slice(first_class(t, n_classes), first_class(t + 1, n_classes))
        part = W_tiles[classes.start * size : classes.stop * size]
        height = classes.stop - classes.start
        yield classes, part.reshape(size // A_GROUP, height, A_GROUP)
