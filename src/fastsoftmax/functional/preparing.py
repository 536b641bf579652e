"""Sparse rows for many calls."""

from __future__ import annotations

from typing import Any

from fastsoftmax import validation as check
from fastsoftmax.csr import PreparedRows, is_sparse, sparse_rows


def prepared(X: Any) -> PreparedRows:
    """Sparse rows, checked, that keep what a call does to read them, for many calls.

    A pass over sparse rows spends from a quarter to over half of its time on checking their columns
    and sorting their entries (docs/benchmarks.md). Where a function is called again and again on
    the same rows, give it these instead.

    Parameters
    ----------
    X : CSR, (N, D)
        SciPy's sparse array or matrix; CSC is converted. It must not change as long as the
        result is used, which may share its memory.

    Returns
    -------
    PreparedRows
        What functions, training and models take in place of `X`, with the same results. It has a
        `shape` and a `dtype`. The first call with some number of classes sorts the entries, which
        are kept then: 12 bytes each in float32, 16 in float64. Rows with a weight of zero among
        them are sorted for each call.

    Raises
    ------
    TypeError, ValueError
        If `X` is not sparse, or wrong, as all functions find it.

    Examples
    --------
    >>> import fastsoftmax, numpy as np, scipy.sparse as sp
    >>> X = fastsoftmax.prepared(sp.csr_array(np.eye(3)))
    >>> W = np.zeros((3, 3))
    >>> for _ in range(10):
    ...     _, grad_W, _ = fastsoftmax.loss_and_gradient(X, [0, 1, 2], W)
    ...     W -= grad_W
    >>> fastsoftmax.predict(X, W)
    array([0, 1, 2])
    """
    if isinstance(X, PreparedRows):
        return X
    if not is_sparse(X):
        raise TypeError(f"X must be sparse, got {type(X).__name__}: dense rows need no preparation")
    rows = sparse_rows(X, "X")
    return PreparedRows.of(check.convertible(rows, check.compute_dtype(rows)))
