"""The two limits of a machine, measured with the vectors that the kernels use."""

from __future__ import annotations

from fastsoftmax.kernels.compile.jit import jit, jit_callable
from fastsoftmax.kernels.compile.parallel import for_each
from fastsoftmax.kernels.tiles.sizes import A_GROUP
from fastsoftmax.kernels.tiles.tile import MAX_ROWS, TILE_BYTES, multiply_add
from fastsoftmax.kernels.vectors import simd
from fastsoftmax.kernels.vectors.memory import CACHE_LINE, Array, item_bytes
from fastsoftmax.kernels.vectors.simd import address_of
from fastsoftmax.kernels.vectors.vector_ir import VECTOR_BYTES


@jit
def read_piece(c: int, data: Array, sums: Array) -> None:
    """Piece c."""
    size = data.size // sums.size
    sums[c] = _sum_piece(data[c * size : (c + 1) * size])


@jit_callable
def read(run: int, data: Array, sums: Array) -> None:
    """Read all of data, a whole number of `sums.size` * 8 vectors."""
    for_each(run, sums.size, read_piece, (data, sums))


@jit
def _sum_piece(data: Array) -> float:
    """Eight running sums, so that reading is what takes the time."""
    a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = simd.splat(data, 0)
    address = address_of(data)
    for i in range(address, address + data.size * item_bytes(data), 8 * VECTOR_BYTES):
        a0 += simd.load(data, i)
        a1 += simd.load(data, i + VECTOR_BYTES)
        a2 += simd.load(data, i + 2 * VECTOR_BYTES)
        a3 += simd.load(data, i + 3 * VECTOR_BYTES)
        a4 += simd.load(data, i + 4 * VECTOR_BYTES)
        a5 += simd.load(data, i + 5 * VECTOR_BYTES)
        a6 += simd.load(data, i + 6 * VECTOR_BYTES)
        a7 += simd.load(data, i + 7 * VECTOR_BYTES)
    return simd.reduce_add(((a0 + a1) + (a2 + a3)) + ((a4 + a5) + (a6 + a7)))


@jit
def multiply_piece(c: int, A: Array, B: Array, rows: Array, repeats: int, C: Array) -> None:
    """One thread's share."""
    for _ in range(repeats):
        multiply_add(
            A,
            MAX_ROWS,
            address_of(A[c]),
            MAX_ROWS * A_GROUP * item_bytes(A),
            address_of(B[c]),
            address_of(rows),
            address_of(C[c]),
            TILE_BYTES,
            rows.size,
            address_of(B[c]),
            CACHE_LINE,
        )


@jit_callable
def multiply(run: int, A: Array, B: Array, rows: Array, repeats: int, C: Array) -> None:
    """C[c] += A[c]' B[c], `repeats` times, one c per thread: operands stay in cache.

    `rows` tells where in B[c] each row begins, in bytes.
    """
    for_each(run, C.shape[0], multiply_piece, (A, B, rows, repeats, C))
