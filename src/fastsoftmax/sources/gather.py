"""Sparse rows that come in parts, and that lie in files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastsoftmax.csr import CSR
from fastsoftmax.sources.rows import ArrayRows, Rows


def gathered(parts: Sequence[CSR]) -> CSR:
    """The rows of all parts, in arrays of their own."""
    lengths = np.concatenate([np.diff(part.indptr) for part in parts])
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    data = np.empty(indptr[-1], parts[0].dtype)
    indices = np.empty(indptr[-1], np.int32)
    first = 0
    for part in parts:
        entries = slice(int(part.indptr[0]), int(part.indptr[-1]))
        rows = slice(first, first + part.n_entries)
        data[rows], indices[rows] = part.data[entries], part.indices[entries]
        first = rows.stop
    in_order = all(part.in_order for part in parts)
    return CSR(data, indices, indptr, parts[0].n_features, in_order)


class SparseRows:
    """Entries one after another, and how many there are up to the end of each row."""

    def __init__(
        self, data: Rows, indices: Rows, ends: Rows, n_features: int, in_order: bool
    ) -> None:
        self._data, self._indices, self._ends = data, indices, ends
        self._n_features, self._in_order = n_features, in_order

    def part(self, first: int, stop: int) -> CSR:
        """The rows from `first` on, before `stop`."""
        indptr = np.zeros(stop - first + 1, np.int64)
        if first:
            self._ends.read(first - 1, indptr)
        else:
            self._ends.read(0, indptr[1:])
        start, count = int(indptr[0]), int(indptr[-1] - indptr[0])
        data = np.empty(count, self._data.dtype)
        indices = np.empty(count, self._indices.dtype)
        self._data.read(start, data)
        self._indices.read(start, indices)
        return CSR(data, indices, indptr - start, self._n_features, self._in_order)

    def resident(self) -> CSR | None:
        """All rows, where they are in memory."""
        data, indices, ends = self._data, self._indices, self._ends
        if not (
            isinstance(data, ArrayRows)
            and isinstance(indices, ArrayRows)
            and isinstance(ends, ArrayRows)
        ):
            return None
        indptr = np.concatenate([np.zeros(1, np.int64), ends.array])
        return CSR(data.array, indices.array, indptr, self._n_features, self._in_order)
