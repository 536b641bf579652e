"""Sparse rows with their entries sorted into buckets of columns, and X' times rows of residuals.

A bucket is a range of columns whose weights and gradient stay in cache, and one task owns it. Each
chunk of rows sorts its entries by bucket; within one they lie by rows, those of a row by column. So
logits are summed up in the order of the columns, however the caller's entries lie, and gradients in
that of the rows, whatever the buckets and the number of threads. Never: a gradient for each thread,
a sorted copy of whole columns, an atomic addition.
Writes: each chunk of rows owns its entries, each bucket its columns.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np

from fastsoftmax.kernels.compile.jit import jit, jit_borrowing, jit_callable
from fastsoftmax.kernels.compile.parallel import for_each
from fastsoftmax.kernels.products.entries import Entries, add_entries
from fastsoftmax.kernels.rows.targets import weight_of
from fastsoftmax.kernels.tiles.sizes import COLUMN_GROUP, chunk_rows, n_chunks
from fastsoftmax.kernels.vectors.memory import (
    Array,
    Rows,
    SparseRows,
    Strided,
    item_bytes,
    load_column,
    load_item,
    row_start,
)
from fastsoftmax.kernels.vectors.simd import address_of

# Where in a pair the row and the column lie.
ROW_AT, COLUMN_AT = (4, 0) if sys.byteorder == "little" else (0, 4)


class Buckets(NamedTuple):
    """The entries of a slab of rows: those of C chunks, each by B buckets."""

    bounds: Array  # (B + 1,), groups of columns
    starts: Array  # (C, B + 1), entries
    pairs: Array  # (entries,), int64: 2**32 times the row within the slab, and the column
    values: Array  # (entries,)


@jit
def sort_chunk(
    c: int,
    X: SparseRows,
    sample_weight: Rows,
    first: int,
    n_rows: int,
    bucket_of: Array,
    buckets: Buckets,
) -> None:
    """The entries of chunk c; those of rows without weight are zero."""
    size, bytes_each = chunk_rows(n_rows), item_bytes(X.values)
    last = min((c + 1) * size, n_rows)
    start, stop = row_start(X, first + c * size), row_start(X, first + last)
    starts, pairs, values = buckets.starts[c], buckets.pairs, buckets.values
    for j in range(starts.size):
        starts[j] = 0
    for e in range(start, stop):
        starts[bucket_of[load_column(X, e) // COLUMN_GROUP] + 1] += 1
    places = np.empty(starts.size, np.int64)  # where the next entry of a bucket goes
    total = start - row_start(X, first)
    for j in range(starts.size):
        total += starts[j]
        starts[j] = places[j] = total
    for r in range(c * size, last):
        counts = weight_of(sample_weight, first + r) != 0
        for e in range(row_start(X, first + r), row_start(X, first + r + 1)):
            d = load_column(X, e)
            j = bucket_of[d // COLUMN_GROUP]
            place = places[j]
            places[j] = place + 1
            pairs[place] = r << 32 | d
            values[place] = load_item(X.values, X.at + e * bytes_each) if counts else 0


@jit_borrowing
def order_chunk(c: int, buckets: Buckets) -> None:
    """Within each bucket of chunk c, the entries of a row by column."""
    pairs, values = buckets.pairs, buckets.values
    for j in range(buckets.starts.shape[1] - 1):
        begin = buckets.starts[c, j]
        for e in range(begin + 1, buckets.starts[c, j + 1]):
            if pairs[e] < pairs[e - 1]:
                place, pair, x = e, pairs[e], values[e]
                while place > begin and pairs[place - 1] > pair:
                    pairs[place], values[place] = pairs[place - 1], values[place - 1]
                    place -= 1
                pairs[place], values[place] = pair, x


@jit_callable
def sort_entries(
    run: int,
    given: Any,  # SparseRows
    weights: Any,  # (N, 1)
    first: int,
    n_rows: int,
    in_order: bool,  # whether columns rise within rows
    bucket_of: Array,  # (groups of columns,)
    buckets: Buckets,  # starts, pairs and values are written
) -> None:
    """Sort the entries of the rows from `first` on into buckets."""
    X = SparseRows(given[0], given[1], given[2], given[3])
    sample_weight = Rows(weights[0], weights[1], weights[2], weights[3])
    tasks = (X, sample_weight, first, n_rows, bucket_of, buckets)
    for_each(run, n_chunks(n_rows), sort_chunk, tasks)
    if not in_order:
        for_each(run, n_chunks(n_rows), order_chunk, (buckets,))


class Slab(NamedTuple):
    """A slab's residuals, and how the gradient begins and ends with it."""

    R: Strided  # (rows, K)
    is_first: bool  # the gradient is zero before it
    is_last: bool  # and scale * gradient + l2 W after it
    scale: float
    l2: float
    W: Array  # (D, K)


@jit_borrowing
def add_bucket(j: int, buckets: Buckets, slab: Slab, G: Array, overflows: Array) -> None:
    """The columns of bucket j: G (D, K) += X' R."""
    n_features, n_classes = G.shape
    first = min(buckets.bounds[j] * COLUMN_GROUP, n_features)
    stop = min(buckets.bounds[j + 1] * COLUMN_GROUP, n_features)
    if slab.is_first:
        for d in range(first, stop):
            for k in range(n_classes):
                G[d, k] = 0
    at, pairs = address_of(buckets.values), address_of(buckets.pairs)
    rows_of_G = Strided(address_of(G), n_classes * item_bytes(G))
    for c in range(buckets.starts.shape[0]):
        start, end = buckets.starts[c, j], buckets.starts[c, j + 1]
        entries = Entries(buckets.values, at, pairs + ROW_AT, pairs + COLUMN_AT, start, end)
        add_entries(G, entries, n_classes, slab.R, rows_of_G)
    if slab.is_last:
        total = G.dtype.type(0)
        for d in range(first, stop):
            for k in range(n_classes):
                G[d, k] *= slab.scale
                total += G[d, k] * 0
        for d in range(first, stop if slab.l2 != 0 else first):
            for k in range(n_classes):
                G[d, k] += slab.l2 * slab.W[d, k]
                total += G[d, k] * 0
        overflows[j] = total != 0


@jit_callable
def add_columns(
    run: int,
    buckets: Buckets,
    R: Any,  # of `Strided`
    is_first: bool,
    is_last: bool,
    scale: float,
    l2: float,
    W: Array,
    overflows: Array,  # (B,)
    G: Array,  # (D, K)
) -> None:
    """G += X' R for a slab of rows; `overflows` says of which buckets it is not finite."""
    slab = Slab(Strided(R[0], R[1]), is_first, is_last, scale, l2, W)
    for_each(run, overflows.size, add_bucket, (buckets, slab, G, overflows))


@jit
def bucket_moments(
    j: int, buckets: Buckets, weight: Array, first: int, about: bool, sums: Array
) -> None:
    """The columns of bucket j, for `add_moments`."""
    for c in range(buckets.starts.shape[0]):
        for e in range(buckets.starts[c, j], buckets.starts[c, j + 1]):
            pair, x = buckets.pairs[e], np.float64(buckets.values[e])
            d, a = pair & 0xFFFFFFFF, weight[first + (pair >> 32)]
            if about:
                sums[2, d] += a * (x - sums[1, d]) ** 2
            elif a > 0:
                sums[0, d] += a
                sums[1, d] += a * x


@jit_callable
def add_moments(
    run: int, buckets: Buckets, weight: Array, first: int, about: bool, sums: Array
) -> None:
    """For the entries of each column: sums[0] += weight, sums[1] += weight * x.

    With `about`, sums[2] += weight * (x - sums[1])**2 instead.
    """
    tasks = (buckets, weight, first, about, sums)
    for_each(run, buckets.bounds.size - 1, bucket_moments, tasks)
