"""Rows held out to test on."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_BLOCK = 1 << 16  # rows that are moved at once


def held_out(y: Array, fraction: float, seed: int) -> Array:
    """Which rows (N,) to test on: that share of each class, but for one row that trains."""
    numbers, counts = np.unique(y, return_inverse=True, return_counts=True)[1:]
    order = np.random.default_rng(seed).permutation(len(y))
    order = order[np.argsort(numbers[order], kind="stable")]  # by class, in random order within
    first = np.zeros(len(y), bool)
    first[np.cumsum(counts) - counts] = True
    rest = order[~first]
    n_test = min(round(fraction * len(y)), len(rest))
    test = np.zeros(len(y), bool)
    steps = np.floor(np.arange(len(rest) + 1) * (n_test / max(len(rest), 1)) + 0.5)
    test[rest[np.diff(steps) > 0]] = True
    return test


def put_last(X: Any, y: Array, test: Array) -> tuple[Any, Array]:
    """(X, y) with the rows of `test` last, each part in its order.

    In the memory of X itself where that may be written to: it may be most of what there is.
    """
    order = np.concatenate([np.flatnonzero(~test), np.flatnonzero(test)])
    y = y[order]
    if not (isinstance(X, np.ndarray) and X.flags.writeable and X.flags.owndata):
        return X[order], y
    last = X[test]
    end = 0
    for start in range(0, len(X), _BLOCK):
        kept = X[start : start + _BLOCK][~test[start : start + _BLOCK]]
        X[end : end + len(kept)] = kept
        end += len(kept)
    X[end:] = last
    return X, y
