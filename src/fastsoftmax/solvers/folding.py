"""Sparse rows in fewer columns, with the same optimum: docs/math.md, "Columns of one row".

Columns without entries have no weights. Those that one row alone has meet its logits by one number
for each class, and a penalty keeps their weights in proportion to the row's entries: so one column
stands for all of them. In texts with pairs of words, three columns of four are such.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastsoftmax.csr import CSR
from fastsoftmax.kernels.passes.folding import count_entries, fold_rows
from fastsoftmax.threads import launch
from fastsoftmax.training.samples import Samples

Array = npt.NDArray[Any]

# The share of the columns that must go, and the sizes of entries whose squares hold every digit.
_WORTH = 0.125
_SIZES = 1e-100, 1e100

# Entries that are worth a second thread.
_SHARED = 2**16


class Folding(NamedTuple):
    """How weights of D columns follow from those of the columns that are solved for."""

    numbers: Array  # (D,), the column that stands for each
    shares: Array  # (D,), its entry over that one's; 0 for columns without entries
    size: int  # how many are solved for

    @property
    def n_features(self) -> int:
        return len(self.numbers)

    def fold(self, W: Array) -> Array:
        """The part of weights (D, K) that logits meet, (size, K)."""
        V = np.zeros((self.size, W.shape[1]))
        np.add.at(V, self.numbers, self.shares[:, None] * W)
        return V

    def unfold(self, V: Array) -> Array:
        """Weights (D, K) of those that were solved for (size, K)."""
        W = V[self.numbers]
        W *= self.shares.astype(V.dtype)[:, None]
        return W


def in_fewer_columns(samples: Samples) -> tuple[Samples, Folding | None]:
    """Samples of sparse rows, those of rows with a weight, in fewer columns, and how.

    The same samples where that is not worth while.
    """
    X, weight = samples.X, samples.weight
    indices, values = _entries(X, weight)
    counts = np.bincount(indices, minlength=X.n_features)
    alone = int(np.count_nonzero(counts == 1))
    gone = int(np.count_nonzero(counts == 0)) + alone - min(alone, len(X))
    worth = gone >= _WORTH * X.n_features and counts.any()
    if not worth or not _squares_keep_digits(values):
        return samples, None
    stays = counts > 1
    numbers = np.cumsum(stays, dtype=np.int32) - np.int32(1)
    first = int(numbers[-1]) + 1
    numbers[~stays] = -1
    shares = stays.astype(np.float64)
    lengths, others = np.empty((2, len(X)), np.int64)
    parallel = X.n_entries >= _SHARED
    launch(count_entries, X.for_kernel(), weight, numbers, lengths, others, parallel=parallel)
    indptr, before = np.zeros((2, len(X) + 1), np.int64)
    indptr[1:], before[1:] = np.cumsum(lengths + others), np.cumsum(others)
    size = first + int(before[-1])
    data, indices = np.empty(indptr[-1]), np.empty(indptr[-1], np.int32)
    written = numbers, before, indptr, indices, data, shares
    launch(fold_rows, X.for_kernel(), weight, first, *written, parallel=parallel)
    np.maximum(numbers, 0, out=numbers)  # whatever stands for columns without entries
    folded = CSR(data, indices, indptr, size, X.in_order)
    return samples._replace(X=folded), Folding(numbers, shares, size)


def _entries(X: CSR, weight: Array) -> tuple[Array, Array]:
    """(columns, values) of the entries in rows with a weight."""
    entries = slice(int(X.indptr[0]), int(X.indptr[-1]))
    indices, data = X.indices[entries], X.data[entries]
    if weight.all():
        return indices, data
    counts = weight[X.row_numbers()] > 0
    return indices[counts], data[counts]


def _squares_keep_digits(data: Array) -> bool:
    """Whether entries are finite, and their squares neither overflow nor vanish."""
    sizes = np.abs(data)
    least = float(sizes.min(initial=1, where=sizes > 0))
    return _SIZES[0] <= least and float(sizes.max(initial=0)) <= _SIZES[1]
