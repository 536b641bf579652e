"""Weighted means and variances of the columns of X, in one pass.

Sums run in float64 over differences to a row of the chunk itself, so that a mean far from zero
costs no accuracy. Rows come in windows, as in `fused`. Each chunk owns its row of every output;
docs/math.md, "Scaled features", says how chunks combine.
"""

from __future__ import annotations

import numpy as np

from fastsoftmax.kernels.compile.jit import jit, jit_callable
from fastsoftmax.kernels.compile.parallel import for_each
from fastsoftmax.kernels.rows.targets import weight_of
from fastsoftmax.kernels.tiles.sizes import ceil_div
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
    i: int,
    X: Rows,
    sample_weight: Rows,
    n_rows: int,
    first: int,
    size: int,
    weight: Array,
    sums: Array,
) -> None:
    """Add the rows of the i-th chunk of a window that lie in it to `weight` and `sums`."""
    c = first // size + i
    start, stop = max(c * size - first, 0), min((c + 1) * size - first, n_rows)
    n_features = sums.shape[2]
    origin, differences, squares = sums[0, c], sums[1, c], sums[2, c]
    row, stride = np.empty(n_features, X.item.dtype), widened_stride(X.item, X.column_stride)
    room = address_of(row)
    for n in range(start, stop):
        a = weight_of(sample_weight, n)
        if a > 0:  # a row that does not count may lie anywhere
            place = X.address + n * X.row_stride
            address = widened(X.item, place, X.column_stride, n_features, row, room)
            if weight[c] == 0:
                for d in range(n_features):
                    origin[d] = load_item(X.item, address + d * stride)
            weight[c] += a
            add_row(X.item, address, stride, a, origin, differences, squares)
    keep_alive(row)


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
    first: int,  # number of the first row among all
    size: int,  # rows of a chunk
    weight: Array,  # (C,), zeros at first
    sums: Array,  # (3, C, D), likewise
) -> None:
    """Add a window of rows to the sums of each chunk.

    These are the sum of weights a, and the first row that counts, x0, the sum of a * (x - x0), and
    that of a * (x - x0)**2.
    """
    chunks = ceil_div(first + n_rows, size) - first // size
    arguments = (X, sample_weight, n_rows, first, size, weight, sums)
    for_each(run, chunks, chunk_moments, arguments)
