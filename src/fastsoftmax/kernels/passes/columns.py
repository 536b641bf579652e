"""Weighted means and variances of the columns of X, in one pass.

Sums run in float64 over differences to a row of the chunk itself, so that a mean far from zero
costs no accuracy. Each chunk owns its row of every output; docs/math.md, "Scaled features", says
how chunks combine.
"""

from __future__ import annotations

import numpy as np

from fastsoftmax.kernels.compile.jit import jit, jit_callable
from fastsoftmax.kernels.compile.parallel import for_each
from fastsoftmax.kernels.rows.targets import weight_of
from fastsoftmax.kernels.tiles.sizes import chunk_rows
from fastsoftmax.kernels.vectors.memory import (
    Array,
    Rows,
    item_bytes,
    keep_alive,
    load_item,
)
from fastsoftmax.kernels.vectors.simd import address_of
from fastsoftmax.kernels.vectors.widening import widened, widened_stride


@jit
def chunk_moments(
    c: int, X: Rows, sample_weight: Rows, n_rows: int, weight: Array, mean: Array, spread: Array
) -> None:
    """Chunk c's entry of the outputs of `column_moments`."""
    size = chunk_rows(n_rows)
    start, stop = c * size, min((c + 1) * size, n_rows)
    n_features = mean.shape[1]
    origin = np.empty(n_features, np.float64)
    first = np.zeros(n_features, np.float64)
    second = np.zeros(n_features, np.float64)
    while start < stop - 1 and weight_of(sample_weight, start) == 0:
        start += 1  # a row that does not count may lie anywhere
    row, stride = np.empty(n_features, X.item.dtype), widened_stride(X.item, X.column_stride)
    room = address_of(row)
    place = X.address + start * X.row_stride
    address = widened(X.item, place, X.column_stride, n_features, row, room)
    for d in range(n_features):
        origin[d] = load_item(X.item, address + d * stride)
    total = 0.0
    for n in range(start, stop):
        a = weight_of(sample_weight, n)
        if a > 0:
            total += a
            place = X.address + n * X.row_stride
            address = widened(X.item, place, X.column_stride, n_features, row, room)
            add_row(X.item, address, stride, a, origin, first, second)
    keep_alive(row)
    weight[c] = total
    if total > 0:
        for d in range(n_features):
            shift = first[d] / total
            mean[c, d] = origin[d] + shift
            spread[c, d] = max(second[d] - shift * first[d], 0.0)


@jit
def add_row(
    item: Array, address: int, stride: int, a: float, origin: Array, first: Array, second: Array
) -> None:
    """Add a * (x - origin) to `first` and a * (x - origin)**2 to `second`."""
    if stride == item_bytes(item):  # a constant
        for d in range(origin.size):
            x = load_item(item, address + d * item_bytes(item)) - origin[d]
            first[d] += a * x
            second[d] += a * x * x
    else:
        for d in range(origin.size):
            x = load_item(item, address + d * stride) - origin[d]
            first[d] += a * x
            second[d] += a * x * x


@jit_callable
def column_moments(
    run: int,
    X: Rows,
    sample_weight: Rows,
    n_rows: int,
    weight: Array,  # (C,)
    mean: Array,  # (C, D), zeros
    spread: Array,  # (C, D), zeros
) -> None:
    """Sum of weights a, weighted mean, and sum of a * (x - mean)**2 of each chunk of rows."""
    for_each(run, weight.size, chunk_moments, (X, sample_weight, n_rows, weight, mean, spread))
