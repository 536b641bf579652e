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
    keep_alive,
    load_column,
    load_item,
    row_start,
)
from fastsoftmax.kernels.vectors.simd import (
    address_of,
    load_first,
    reduce_add,
    splat,
    store_first,
)
from fastsoftmax.kernels.vectors.vector_ir import VECTOR_BYTES

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


class Finish(NamedTuple):
    """What the gradient becomes after the last slab: G - centre shift' + l2 W."""

    centre: Array  # (D,), or (0,) for none, in G's type
    shift: Array  # (K,), likewise
    l2: float
    W: Array  # (D, K)


@jit
def add_bucket(
    j: int,
    buckets: Buckets,
    R: Strided,
    together: int,
    is_first: bool,
    is_last: bool,
    finish: Finish,
    G: Array,
    overflows: Array,
) -> None:
    """The columns of bucket j: G (D, K) += X' R, so many chunks summed up together."""
    n_features, n_classes = G.shape
    first = min(buckets.bounds[j] * COLUMN_GROUP, n_features)
    stop = min(buckets.bounds[j + 1] * COLUMN_GROUP, n_features)
    size, stride = (stop - first) * n_classes * item_bytes(G), n_classes * item_bytes(G)
    mine = address_of(G) + first * stride
    if is_first:
        clear(G, mine, size)
    n_chunks = buckets.starts.shape[0]
    sums = np.empty((stop - first if together < n_chunks else 0, n_classes), G.dtype)
    to = mine if together >= n_chunks else address_of(sums)
    for c in range(0, n_chunks, together):
        if together < n_chunks:
            clear(G, to, size)
        add_chunks(
            j, c, min(c + together, n_chunks), buckets, R, Strided(to - first * stride, stride), G
        )
        if together < n_chunks:
            add(G, to, mine, size)
    keep_alive(sums)
    if is_last:
        overflows[j] = not finished(first, stop, finish, G)


@jit_borrowing
def add_chunks(
    j: int, first: int, stop: int, buckets: Buckets, R: Strided, G: Strided, item: Array
) -> None:
    """G += X' R for the columns of bucket j and the rows of some chunks."""
    at, pairs = address_of(buckets.values), address_of(buckets.pairs)
    for c in range(first, stop):
        start, end = buckets.starts[c, j], buckets.starts[c, j + 1]
        entries = Entries(buckets.values, at, pairs + ROW_AT, pairs + COLUMN_AT, start, end)
        add_entries(item, entries, item.shape[1], R, G)


@jit_borrowing
def clear(item: Array, a: int, size: int) -> None:
    """a = 0, for `size` bytes."""
    zero = splat(item, 0)
    for at in range(0, size, VECTOR_BYTES):
        store_first(zero, a + at, (size - at) // item_bytes(item))


@jit_borrowing
def add(item: Array, a: int, b: int, size: int) -> None:
    """b += a, likewise."""
    zero = item.dtype.type(0)
    for at in range(0, size, VECTOR_BYTES):
        count = (size - at) // item_bytes(item)
        total = load_first(item, a + at, count, zero) + load_first(item, b + at, count, zero)
        store_first(total, b + at, count)


@jit_borrowing
def finished(first: int, stop: int, finish: Finish, G: Array) -> bool:
    """Finish rows first to stop of G; whether they are finite."""
    n_classes, size = G.shape[1], item_bytes(G)
    lanes, l2 = VECTOR_BYTES // size, G.dtype.type(finish.l2)
    for d in range(first, stop if finish.centre.size else first):
        centre, row = finish.centre[d], address_of(G) + d * n_classes * size
        for k in range(0, n_classes, lanes):
            count = n_classes - k
            shift = load_first(G, address_of(finish.shift) + k * size, count, G.dtype.type(0))
            g = load_first(G, row + k * size, count, G.dtype.type(0))
            store_first(g - shift * centre, row + k * size, count)
    total = splat(G, 0)
    start, end = first * n_classes * size, stop * n_classes * size
    for at in range(start, end, VECTOR_BYTES):
        count = (end - at) // size
        g = load_first(G, address_of(G) + at, count, G.dtype.type(0))
        if l2 != 0:
            g += load_first(G, address_of(finish.W) + at, count, G.dtype.type(0)) * l2
            store_first(g, address_of(G) + at, count)
        total += g * 0
    return reduce_add(total) == 0


@jit_callable
def add_columns(
    run: int,
    buckets: Buckets,
    R: Any,  # of `Strided`
    together: int,  # chunks whose entries are added up one by one; then their sums are
    is_first: bool,  # G is zero before this slab
    is_last: bool,
    finish: Finish,
    overflows: Array,  # (B,)
    G: Array,  # (D, K)
) -> None:
    """G += X' R for a slab of rows; `overflows` says of which buckets it is not finite."""
    residuals = Strided(R[0], R[1])
    tasks = (buckets, residuals, together, is_first, is_last, finish, G, overflows)
    for_each(run, overflows.size, add_bucket, tasks)


@jit
def bucket_moments(
    j: int, buckets: Buckets, weight: Array, first: int, about: bool, sums: Array
) -> None:
    """The columns of bucket j, for `add_moments`."""
    for c in range(buckets.starts.shape[0]):
        last = buckets.starts[c, j + 1] - 1
        x = 0.0
        for e in range(buckets.starts[c, j], last + 1):
            pair = buckets.pairs[e]
            x += buckets.values[e]
            if e < last and buckets.pairs[e + 1] == pair:
                continue  # what is there twice adds up
            d, a = pair & 0xFFFFFFFF, weight[first + (pair >> 32)]
            if about:
                sums[2, d] += a * (x - sums[1, d]) ** 2
            elif a > 0:
                sums[0, d] += a
                sums[1, d] += a * x
            x = 0.0


@jit_callable
def add_moments(
    run: int, buckets: Buckets, weight: Array, first: int, about: bool, sums: Array
) -> None:
    """For the entries of each column: sums[0] += weight, sums[1] += weight * x.

    With `about`, sums[2] += weight * (x - sums[1])**2 instead.
    """
    tasks = (buckets, weight, first, about, sums)
    for_each(run, buckets.bounds.size - 1, bucket_moments, tasks)
