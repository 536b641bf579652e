"""The two limits of a machine, measured with the vectors that the kernels use.

No way of reading memory is the fastest on every machine and at every hour, so that there are three;
each sums all of `data`, in `sums.size` pieces of a whole number of blocks.
"""

from __future__ import annotations

from fastsoftmax.kernels.compile.jit import jit, jit_callable
from fastsoftmax.kernels.compile.parallel import for_each
from fastsoftmax.kernels.tiles.sizes import A_GROUP
from fastsoftmax.kernels.tiles.tile import MAX_ROWS, TILE_BYTES, multiply_add
from fastsoftmax.kernels.vectors import simd
from fastsoftmax.kernels.vectors.memory import (
    CACHE_LINE,
    Array,
    Strided,
    Table,
    item_bytes,
    prefetch,
)
from fastsoftmax.kernels.vectors.simd import address_of
from fastsoftmax.kernels.vectors.vector_ir import VECTOR_BYTES

READ_BLOCK = 64 * VECTOR_BYTES  # of which a piece is a whole number


@jit_callable
def read(run: int, data: Array, sums: Array) -> None:
    """One place after another."""
    for_each(run, sums.size, read_piece, (data, sums))


@jit
def read_piece(c: int, data: Array, sums: Array) -> None:
    """Piece c."""
    size = data.size // sums.size * item_bytes(data)
    sums[c] = _sum(data, address_of(data) + c * size, size, VECTOR_BYTES, 8 * VECTOR_BYTES)


@jit_callable
def read_streams(run: int, data: Array, sums: Array) -> None:
    """Eight places of a piece at a time, an eighth of it apart."""
    for_each(run, sums.size, read_piece_streams, (data, sums))


@jit
def read_piece_streams(c: int, data: Array, sums: Array) -> None:
    """Piece c."""
    size = data.size // sums.size * item_bytes(data)
    sums[c] = _sum(data, address_of(data) + c * size, size, size // 8, VECTOR_BYTES)


@jit_callable
def read_ahead(run: int, data: Array, sums: Array, ahead: int) -> None:
    """One place after another, and what lies `ahead` bytes further on is asked for."""
    for_each(run, sums.size, read_piece_ahead, (data, sums, ahead))


@jit
def read_piece_ahead(c: int, data: Array, sums: Array, ahead: int) -> None:
    """Piece c."""
    size = data.size // sums.size * item_bytes(data)
    start = address_of(data) + c * size
    total = 0.0
    for block in range(start, start + size, READ_BLOCK):
        for line in range(block + ahead, block + ahead + READ_BLOCK, CACHE_LINE):
            prefetch(line)
        total += _sum(data, block, READ_BLOCK, VECTOR_BYTES, 8 * VECTOR_BYTES)
    sums[c] = total


@jit
def _sum(item: Array, start: int, size: int, apart: int, step: int) -> float:
    """Of `size` bytes, in eight running sums: reading is what takes the time.

    They begin `apart` bytes from each other and move on by `step`.
    """
    a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = simd.splat(item, 0)
    for i in range(start, start + size // (8 * VECTOR_BYTES) * step, step):
        a0 += simd.load(item, i)
        a1 += simd.load(item, i + apart)
        a2 += simd.load(item, i + 2 * apart)
        a3 += simd.load(item, i + 3 * apart)
        a4 += simd.load(item, i + 4 * apart)
        a5 += simd.load(item, i + 5 * apart)
        a6 += simd.load(item, i + 6 * apart)
        a7 += simd.load(item, i + 7 * apart)
    return simd.reduce_add(((a0 + a1) + (a2 + a3)) + ((a4 + a5) + (a6 + a7)))


@jit_callable
def multiply(run: int, A: Array, B: Array, rows: Array, repeats: int, C: Array) -> None:
    """C[c] += A[c]' B[c], `repeats` times, one c per thread: operands stay in cache.

    `rows` tells where in B[c] each row begins, in bytes.
    """
    for_each(run, C.shape[0], multiply_piece, (A, B, rows, repeats, C))


@jit
def multiply_piece(c: int, A: Array, B: Array, rows: Array, repeats: int, C: Array) -> None:
    """One thread's share."""
    left = Strided(address_of(A[c]), MAX_ROWS * A_GROUP * item_bytes(A))
    right = Table(address_of(rows), address_of(B[c]), rows.size)
    product = Strided(address_of(C[c]), TILE_BYTES)
    ahead = Strided(address_of(B[c]), CACHE_LINE)
    for _ in range(repeats):
        multiply_add(A, MAX_ROWS, left, right, product, ahead)
