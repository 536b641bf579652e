"""Sparse rows without SciPy, whose arrays may lie, and be of a type, as SciPy would not have it."""

from __future__ import annotations

import numpy as np


class CSRRows:
    """What is read of SciPy's CSR arrays."""

    format = "csr"

    def __init__(self, shape, data, indices, indptr):
        self.shape, self.data, self.indices, self.indptr = shape, data, indices, indptr

    def tocsr(self):
        return self

    @classmethod
    def of(cls, array, order=None):
        """The entries of an array (N, D) that are not zero, each row's in the order of numbers."""
        rows, columns = np.nonzero(array)
        if order is not None:
            chosen = np.lexsort((order[rows, columns], rows))
            rows, columns = rows[chosen], columns[chosen]
        starts = np.searchsorted(rows, np.arange(len(array) + 1))
        return cls(array.shape, array[rows, columns], columns, starts)
