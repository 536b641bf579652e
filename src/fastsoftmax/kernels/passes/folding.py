"""Sparse rows in fewer columns: those that one row alone has become one. See `solvers.folding`.

Each chunk of rows owns its entries, and the columns that a row of its alone has.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastsoftmax.kernels.compile.jit import jit, jit_borrowing, jit_callable
from fastsoftmax.kernels.compile.parallel import for_each
from fastsoftmax.kernels.tiles.sizes import chunk_rows, n_chunks
from fastsoftmax.kernels.vectors.memory import (
    Array,
    SparseRows,
    item_bytes,
    load_column,
    load_item,
    row_start,
)


@jit_borrowing
def count_chunk(
    c: int, X: SparseRows, weight: Array, numbers: Array, lengths: Array, alone: Array
) -> None:
    """The rows of chunk c, for `count_entries`."""
    size = chunk_rows(weight.size)
    for n in range(c * size, min((c + 1) * size, weight.size)):
        start, stop, count = row_start(X, n), row_start(X, n + 1), 0
        if weight[n] == 0:
            stop = start
        for e in range(start, stop):
            count += numbers[load_column(X, e)] >= 0
        lengths[n], alone[n] = count, count < stop - start


@jit_callable
def count_entries(
    run: int,
    given: Any,  # SparseRows
    weight: Array,  # (N,)
    numbers: Array,  # (D,), of the columns that stay, else -1
    lengths: Array,  # (N,)
    alone: Array,  # (N,)
) -> None:
    """Of each row with a weight, how many entries stay, and whether (1) there are others."""
    X = SparseRows(given[0], given[1], given[2], given[3])
    tasks = (X, weight, numbers, lengths, alone)
    for_each(run, n_chunks(weight.size), count_chunk, tasks)


@jit
def fold_chunk(
    c: int,
    X: SparseRows,
    weight: Array,
    first: int,
    numbers: Array,
    before: Array,
    indptr: Array,
    indices: Array,
    data: Array,
    shares: Array,
) -> None:
    """The rows of chunk c, for `fold_rows`."""
    size, bytes_each = chunk_rows(weight.size), item_bytes(X.values)
    last = min((c + 1) * size, weight.size)
    longest = 0
    for n in range(c * size, last):
        longest = max(longest, row_start(X, n + 1) - row_start(X, n))
    columns, x = np.empty(longest, np.int64), np.empty(longest, np.float64)
    for n in range(c * size, last):
        if weight[n] == 0:
            continue
        at, count = indptr[n], 0
        for e in range(row_start(X, n), row_start(X, n + 1)):
            d, value = load_column(X, e), np.float64(load_item(X.values, X.at + e * bytes_each))
            if numbers[d] >= 0:
                indices[at], data[at] = numbers[d], value
                at += 1
                continue
            j = count  # in the order of columns, so that the sum of squares has one
            while j > 0 and columns[j - 1] > d:
                columns[j], x[j] = columns[j - 1], x[j - 1]
                j -= 1
            columns[j], x[j] = d, value
            count += 1
        if count:
            square = 0.0
            for j in range(count):
                square += x[j] * x[j]
            indices[at], data[at] = first + before[n], np.sqrt(square)
            for j in range(count):
                shares[columns[j]] = x[j] / data[at] if square > 0 else 0.0
                numbers[columns[j]] = indices[at]


@jit_callable
def fold_rows(
    run: int,
    given: Any,  # SparseRows
    weight: Array,  # (N,)
    first: int,  # columns that stay; others follow
    numbers: Array,  # (D,), of the columns that stay, else -1: these are written
    before: Array,  # (N,), rows before that have others
    indptr: Array,  # (N + 1,)
    indices: Array,
    data: Array,
    shares: Array,  # (D,), written for these columns
) -> None:
    """Write the rows with one entry in place of those in columns that do not stay."""
    X = SparseRows(given[0], given[1], given[2], given[3])
    tasks = (X, weight, first, numbers, before, indptr, indices, data, shares)
    for_each(run, n_chunks(weight.size), fold_chunk, tasks)
