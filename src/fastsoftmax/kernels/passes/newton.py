"""What Newton's method on sparse rows does beside products with them: see `solvers.newton`.

Arrays of N x K logits, and of D x K weights, are read and written as few times as can be. Writes:
each chunk of rows, or piece of an array, owns its own, and its entry of the sums.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastsoftmax.kernels.compile.jit import jit, jit_borrowing, jit_callable
from fastsoftmax.kernels.compile.parallel import for_each
from fastsoftmax.kernels.passes.sparse import Sums
from fastsoftmax.kernels.products.block import (
    add_row_sums,
    load_block,
    load_weights_and_targets,
    logits_scratch,
    residuals,
    store_block,
    targets_scratch,
    weighted_sum,
)
from fastsoftmax.kernels.tiles.sizes import PIECE, ROW_BLOCK, ceil_div, chunk_rows, n_chunks
from fastsoftmax.kernels.vectors.memory import Array, Rows, item_bytes
from fastsoftmax.kernels.vectors.simd import address_of, load, reduce_add, splat, store, widen
from fastsoftmax.kernels.vectors.vector_ir import VECTOR_BYTES


@jit
def chunk_of_logits(
    c: int,
    n_rows: int,
    Z: Rows,
    b: Array,
    weight: Rows,
    targets: Rows,
    label_smoothing: float,
    scale: float,
    R: Rows,
    sums: Sums,
) -> None:
    """The rows of chunk c, for `residuals_of_logits`."""
    Z_T, block = logits_scratch(b.size, b), targets_scratch(targets, b.size, b)
    weights, scaled = np.empty(ROW_BLOCK, np.float64), np.empty(ROW_BLOCK, np.float64)
    losses, size = np.empty(ROW_BLOCK, b.dtype), chunk_rows(n_rows)
    for first in range(c * size, min((c + 1) * size, n_rows), ROW_BLOCK):
        count = min(ROW_BLOCK, n_rows - first)
        load_block(Z, first, count, Z_T)
        for k in range(b.size):
            for r in range(ROW_BLOCK):
                Z_T[k, r] += b[k]
        load_weights_and_targets(weight, targets, first, count, weights, block)
        for r in range(ROW_BLOCK):
            scaled[r] = scale * weights[r]
        residuals(Z_T, block, scaled, label_smoothing, losses)
        sums.loss[c] += weighted_sum(losses[:count], weights)
        add_row_sums(Z_T, sums.g_b[c])
        store_block(Z_T, first, count, R)


@jit_callable
def residuals_of_logits(
    run: int,
    n_rows: int,
    Z: Any,  # (N, K), but for the biases
    b: Array,  # (K,)
    weight: Any,  # (N, 1)
    targets: Any,
    label_smoothing: float,
    scale: float,
    R: Any,  # (N, K)
    sums: Sums,  # zeros
) -> None:
    """R = scale * weight * (s P - T) of the rows of Z + b, with their sums."""
    views = Rows(Z[0], Z[1], Z[2], Z[3]), Rows(R[0], R[1], R[2], R[3])
    a = Rows(weight[0], weight[1], weight[2], weight[3])
    t = Rows(targets[0], targets[1], targets[2], targets[3])
    tasks = (n_rows, views[0], b, a, t, label_smoothing, scale, views[1], sums)
    for_each(run, n_chunks(n_rows), chunk_of_logits, tasks)


@jit
def curve_chunk(
    c: int, P: Array, weight: Array, h: Array, b: Array, Z: Array, U: Array, sums: Array
) -> None:
    """The rows of chunk c, for `curve`."""
    size, n_classes = chunk_rows(P.shape[0]), b.size
    total = np.zeros((2, n_classes), U.dtype)
    for n in range(c * size, min((c + 1) * size, P.shape[0])):
        mean = P.dtype.type(0)
        for k in range(n_classes):
            mean += P[n, k] * (Z[n, k] + b[k])
        a, f = weight[n], h[n]
        for k in range(n_classes):
            u = a * P[n, k] * (Z[n, k] + b[k] - mean)
            U[n, k] = u
            total[0, k] += u
            total[1, k] += f * u
    for i in range(2):
        for k in range(n_classes):
            sums[c, i, k] = total[i, k]


@jit_callable
def curve(
    run: int, P: Array, weight: Array, h: Array, b: Array, Z: Array, U: Array, sums: Array
) -> None:
    """U (N, K) = what a change Z + b of logits makes of weight * P.

    sums (C, 2, K) = for each chunk of rows, the sums of U and of h times U.
    """
    for_each(run, n_chunks(P.shape[0]), curve_chunk, (P, weight, h, b, Z, U, sums))


@jit_borrowing
def combine_piece(i: int, a: float, u: Array, c: float, v: Array) -> None:
    """Piece i, for `combine`."""
    first, stop = i * PIECE, min((i + 1) * PIECE, v.size)
    size = item_bytes(v)
    lanes = VECTOR_BYTES // size
    whole = first + (stop - first) // lanes * lanes
    for at in range(first * size, whole * size, VECTOR_BYTES):
        x, y = load(u, address_of(u) + at), load(v, address_of(v) + at)
        store(x * a + y * c, address_of(v) + at)
    for j in range(whole, stop):
        v[j] = a * u[j] + c * v[j]


@jit_callable
def combine(run: int, a: float, u: Array, c: float, v: Array) -> None:
    """v = a u + c v, of any length."""
    for_each(run, ceil_div(v.size, PIECE), combine_piece, (a, u, c, v))


@jit_borrowing
def dot_piece(i: int, u: Array, v: Array, sums: Array) -> None:
    """Piece i, for `dot`."""
    first, stop = i * PIECE, min((i + 1) * PIECE, u.size)
    lanes = VECTOR_BYTES // item_bytes(u)
    total = widen(splat(u, 0))
    whole = first + (stop - first) // lanes * lanes
    for j in range(first, whole, lanes):
        x = load(u, address_of(u) + j * item_bytes(u))
        total += widen(x) * widen(load(v, address_of(v) + j * item_bytes(v)))
    sums[i] = reduce_add(total)
    for j in range(whole, stop):
        sums[i] += np.float64(u[j]) * np.float64(v[j])


@jit_callable
def dot(run: int, u: Array, v: Array, sums: Array) -> None:
    """The sums of u v, in float64, of each piece."""
    for_each(run, sums.size, dot_piece, (u, v, sums))
