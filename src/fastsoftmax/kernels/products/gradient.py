"""Residuals' X for one block of rows held in cache: by class and feature, G_T (K, padded D)."""

from __future__ import annotations

from typing import NamedTuple

from fastsoftmax.kernels.compile.jit import jit_also, jit_borrowing, jit_inline
from fastsoftmax.kernels.tiles.packing import (
    TILE_ROWS,
    class_tiles,
    first_class,
    padded,
    tile_width,
)
from fastsoftmax.kernels.tiles.sizes import ROW_BLOCK
from fastsoftmax.kernels.tiles.tile import TILE_BYTES, multiply_add
from fastsoftmax.kernels.vectors import simd
from fastsoftmax.kernels.vectors.memory import (
    Array,
    Strided,
    Table,
    item_bytes,
    load_address,
    skip_bytes,
)
from fastsoftmax.kernels.vectors.simd import address_of, load_first
from fastsoftmax.kernels.vectors.vector_ir import VECTOR_BYTES


class Gradient(NamedTuple):
    """G_T (K, padded D)."""

    address: int
    n_features: int
    n_classes: int


@jit_inline
def add_gradient(
    item: Array, rows: Table, Z_T: int, G: Gradient, tail: int, ahead: Strided
) -> None:
    """G += residuals' X, for the residuals Z_T (K, ROW_BLOCK) of the rows.

    Z_T and `tail` are addresses; `tail`, of `tail_size`, is scratch for the last features. The
    tiles ask for the lines `ahead`.
    """
    size, width = item_bytes(item), tile_width(item)
    n_features, n_classes = G.n_features, G.n_classes
    G_stride = padded(n_features, size) * size
    next_line = ahead.address
    for d in range(0, n_features, width):
        B, C = skip_bytes(rows, d * size), Strided(G.address + d * size, G_stride)
        if d + width > n_features:
            B = last_columns(item, rows, n_features, tail, address_of(TILE_ROWS))
            C = cleared_tail(item, tail, n_classes)
        lines = Strided(next_line, ahead.stride)
        for t in range(class_tiles(n_classes)):
            k = first_class(t, n_classes)
            height = first_class(t + 1, n_classes) - k
            A = Strided(Z_T + k * ROW_BLOCK * size, n_classes * ROW_BLOCK * size)
            multiply_add(item, height, A, B, Strided(C.address + k * C.stride, C.stride), lines)
        if d + width > n_features:
            add_tail(item, C, G, d)
        next_line += rows.n * ahead.stride


@jit_inline
def cleared_tail(item: Array, tail: int, n_classes: int) -> Strided:
    """Where in `tail` the gradient of the last columns is summed up, zeros."""
    C = Strided(tail + ROW_BLOCK * TILE_BYTES, TILE_BYTES)
    for at in range(C.address, C.address + n_classes * C.stride, VECTOR_BYTES):
        simd.store(simd.splat(item, 0), at)
    return C


@jit_inline
def add_tail(item: Array, C: Strided, G: Gradient, d: int) -> None:
    """G from feature d on += what was summed up for `last_columns`."""
    size, lanes = item_bytes(item), VECTOR_BYTES // item_bytes(item)
    G_stride = padded(G.n_features, size) * size
    skipped = skipped_columns(item, G.n_features)
    for k in range(G.n_classes):
        for j in range(0, G.n_features - d, lanes):
            count = min(G.n_features - d - j, lanes)
            source = C.address + k * C.stride + (skipped + j) * size
            g = load_first(item, source, count, item.dtype.type(0))
            place = G.address + k * G_stride + (d + j) * size
            simd.store(simd.load(item, place) + g, place)


@jit_borrowing
def add_product(
    item: Array, A: int, B: Table, height: int, width: int, C: Strided, lower: bool
) -> None:
    """C (height, width) += A B, for A (height, ROW_BLOCK), of whose columns B.n count.

    A is an address, `width` a number of whole tiles. With `lower`, tiles above the diagonal are
    left as they are.
    """
    size = item_bytes(item)
    for d in range(0, width, tile_width(item)):
        columns = skip_bytes(B, d * size)
        for t in range(class_tiles(height)):
            k = first_class(t, height)
            if lower and first_class(t + 1, height) <= d:
                continue
            left = Strided(A + k * ROW_BLOCK * size, height * ROW_BLOCK * size)
            to = Strided(C.address + k * C.stride + d * size, C.stride)
            ahead = Strided(B.addresses, 0)
            multiply_add(item, first_class(t + 1, height) - k, left, columns, to, ahead)


@jit_also
def tail_size(n_classes: int, itemsize: int) -> int:
    """Items of the scratch for the last features, of one block and their gradient."""
    return (ROW_BLOCK + n_classes) * TILE_BYTES // itemsize


@jit_inline
def skipped_columns(like: Array, n_features: int) -> int:
    """How many columns of `last_columns` come before the last tile width begins."""
    width = tile_width(like)
    return (width - n_features % width) % width if n_features >= width else 0


@jit_borrowing
def last_columns(item: Array, rows: Table, n_features: int, tail: int, tail_rows: int) -> Table:
    """The columns of the rows up to the last, as the tile takes them, where no whole tile is left.

    They are the last tile width, some of which a tile before has seen; where there are not so many,
    all of them, copied to `tail` and filled up with zeros. A masked read of a row's end would wait
    for the line behind it, which nobody asked for. `tail_rows` is a table as TILE_ROWS, of rows.n.
    """
    size = item_bytes(item)
    width, lanes = tile_width(item), VECTOR_BYTES // size
    if n_features >= width:
        return skip_bytes(rows, (n_features - width) * size)
    for r in range(rows.n):
        for j in range(0, width, lanes):
            count = min(max(n_features - j, 0), lanes)
            source = load_address(rows.addresses, r) + rows.offset + j * size
            v = load_first(item, source, count, item.dtype.type(0))
            simd.store(v, tail + (r * width + j) * size)
    return Table(tail_rows, tail, rows.n)
