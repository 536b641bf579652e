"""Sparse rows that come in parts, as one."""

from __future__ import annotations

import numpy as np

from fastsoftmax.csr import CSR


def gathered(parts: list[CSR]) -> CSR:
    """The rows of all parts, which are freed one by one."""
    n_features, in_order = parts[0].n_features, all(part.in_order for part in parts)
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
    parts.clear()
    return CSR(data, indices, indptr, n_features, in_order)
