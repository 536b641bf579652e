"""Residuals' X for one block of rows held in cache: by class and feature, G_T (K, padded D)."""

from __future__ import annotations

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
from fastsoftmax.kernels.vectors.memory import Array, item_bytes, load_address
from fastsoftmax.kernels.vectors.simd import address_of, load_first
from fastsoftmax.kernels.vectors.vector_ir import VECTOR_BYTES


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


@jit_borrowing
def add_product(
    item: Array,
    A: int,
    rows: int,
    n_terms: int,
    height: int,
    width: int,
    C: int,
    C_stride: int,
    lower: bool,
) -> None:
    """C (height, width) += A B, for A (height, ROW_BLOCK), of whose columns n_terms count.

    All are addresses, `rows` of a table of those of B's rows; C's are `C_stride` bytes apart, and
    `width` is a number of whole tiles. With `lower`, tiles above the diagonal are left as they are.
    """
    size = item_bytes(item)
    for d in range(0, width, tile_width(item)):
        for t in range(class_tiles(height)):
            k = first_class(t, height)
            if lower and first_class(t + 1, height) <= d:
                continue
            multiply_add(
                item,
                first_class(t + 1, height) - k,
                A + k * ROW_BLOCK * size,
                height * ROW_BLOCK * size,
                d * size,
                rows,
                C + k * C_stride + d * size,
                C_stride,
                n_terms,
                rows,
                0,
            )


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
