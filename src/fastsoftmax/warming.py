"""Compilation ahead of time: a small call of everything."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax import functional
from fastsoftmax import validation as check
from fastsoftmax.csr import sparse_rows
from fastsoftmax.kernels.passes.rowwise import is_short
from fastsoftmax.kernels.tiles.sizes import MAX_PARTIAL_BYTES, MIN_SHARED_FLOPS
from fastsoftmax.solvers.fit import SMALL, fit
from fastsoftmax.solvers.objective import FEWEST_ROWS
from fastsoftmax.training import fit_sgd

_PREDICTIONS = (
    functional.decision_function,
    functional.predict_proba,
    functional.predict_log_proba,
    functional.predict,
)


def warmup(
    dtypes: Any = ("float32", "float64"), *, solvers: bool = False, sparse: bool = False
) -> None:
    """Compile, or load from the cache, the kernels that the functions and `fit_sgd` need.

    The first call of a function with a new combination of types compiles a kernel, for some
    seconds where the cache on disk has none. This does it now: in an image that is being built, or
    before workers are forked.

    Parameters
    ----------
    dtypes : a dtype or sequence of them
        float32, float64 or both: the types of `X`, of `W`, of logits and of soft targets. Those
        of a call are taken to be one type, as they usually are. X of one or two bytes a number has
        the kernels of float32.
    solvers : bool
        Also those of `fit` and `fit_path`, which take some seconds more.
    sparse : bool
        Also those of functions of sparse X and of `fit_sgd`, and with `solvers` of `fit` on it.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type.

    Examples
    --------
    >>> import fastsoftmax
    >>> fastsoftmax.warmup("float64")
    """
    several = isinstance(dtypes, (list, tuple, set, frozenset))
    solvers = check.flag(solvers, "solvers")
    sparse = check.flag(sparse, "sparse")
    for value in dtypes if several else (dtypes,):
        dtype = check.compute_type(value, "dtypes")
        _warm(dtype)
        if solvers:
            _warm_solvers(dtype)
        if sparse:
            _warm_sparse(dtype, solvers)


def _warm(dtype: np.dtype[Any]) -> None:
    """One call of each kernel in a type."""
    n_long = 2
    while is_short(n_long, dtype.itemsize):
        n_long *= 2
    X, W, b = np.eye(3, dtype=dtype), np.zeros((3, 2), dtype), np.zeros(2, dtype)
    n_repeats = MIN_SHARED_FLOPS // (4 * X.size * W.shape[1]) + 1
    y, soft = np.array([0, 1, 0]), np.full((3, 2), 0.5, dtype)
    for targets in (y, soft):
        for n_classes in (2, n_long):
            Z = np.zeros((3, n_classes), dtype)
            t: npt.ArrayLike = targets if targets is y else np.ones_like(Z)
            functional.cross_entropy(Z, t)
            functional.cross_entropy_and_gradient(Z, t)
        functional.loss(X, targets, W, b)
        functional.loss_and_gradient(X, targets, W, b)
        for repeats in (1, n_repeats):  # a batch is cut by features, and by rows
            for standardize in (True, False):
                fit_sgd(
                    np.tile(X, (repeats, 1)),
                    np.concatenate([targets] * repeats),
                    classes=[0, 1],
                    epochs=1,
                    batch_size=3 * repeats,
                    learning_rate=0.1,
                    standardize=standardize,
                )
    for n_classes in (2, n_long):
        Z = np.zeros((3, n_classes), dtype)
        for rows in (functional.softmax, functional.log_softmax, functional.logsumexp):
            rows(Z)
    if dtype == np.float32:  # narrow X needs no more than what widens it
        functional.predict(X.astype(np.uint8), W, b)
    for prediction in _PREDICTIONS:
        prediction(X, W, b)
    for utility in (b, np.full(2, 0.1), np.full((1, 2), 0.1)):  # which float32 cannot hold
        functional.decide(soft, utility)
    _warm_slabs(dtype, X, y)


def _warm_slabs(dtype: np.dtype[Any], X: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> None:
    """The gradient of more classes than a partial one is kept for."""
    W = np.zeros((3, MAX_PARTIAL_BYTES // (3 * dtype.itemsize) + 1), dtype)
    functional.loss_and_gradient(X, y, W)


def _warm_solvers(dtype: np.dtype[Any]) -> None:
    """The products of features, elimination, and passes in float64 over rows of the type."""
    X = np.array([[0, 1], [1, 1], [1, 0], [0, 0], [2, 1], [1, 2]], dtype)
    y = np.array([0, 1, 2, 0, 1, 2])
    many = FEWEST_ROWS // len(X) + 1  # matrices of few rows are made in float64
    for repeats in (1, many):
        rows, labels = np.tile(X, (repeats, 1)), np.tile(y, repeats)
        for targets in (labels, np.eye(3, dtype=dtype)[labels]):
            fit(rows, targets, tol=1e-10)
    fit(X, y[::-1] % 2, l2=0)
    for narrow in (np.float32, np.float64):
        functional.predict_proba(X, np.zeros((2, 3), narrow))


def _warm_sparse(dtype: np.dtype[Any], solvers: bool) -> None:
    """One call of each kernel of sparse rows, with a solution in either span."""
    for n_rows, n_features in ((FEWEST_ROWS + 1, 2), (3, SMALL)):
        X = _diagonal(n_rows, n_features, dtype)
        W, b = np.zeros((n_features, 3), dtype), np.zeros(3, dtype)
        y = np.arange(n_rows) % 3
        for targets in (y, np.eye(3, dtype=dtype)[y]):
            functional.loss(X, targets, W, b)
            functional.loss_and_gradient(X, targets, W, b)
            for standardize in (True, False):
                fit_sgd(X, targets, epochs=1, learning_rate=0.1, standardize=standardize)
                if solvers:
                    fit(X, targets, standardize=standardize)
        for prediction in _PREDICTIONS:
            prediction(X, W, b)
    if solvers:
        functional.softmax(np.zeros((2, 3)))  # for the Hessian of the biases of few rows


def _diagonal(n_rows: int, n_features: int, dtype: np.dtype[Any]) -> Any:
    """Rows of one entry each."""
    parts = {"indices": np.arange(n_rows) % n_features, "indptr": np.arange(n_rows + 1)}
    shape = n_rows, n_features
    given = SimpleNamespace(format="csr", shape=shape, data=np.ones(n_rows, dtype), **parts)
    return sparse_rows(given, "X")
