"""What the linear model says of each row of X."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax import validation as check
from fastsoftmax import views
from fastsoftmax.csr import CSR
from fastsoftmax.functional.sparse import columns_of
from fastsoftmax.functional.sparse import predict as predict_sparse
from fastsoftmax.kernels.passes import predict as predictors
from fastsoftmax.kernels.passes import sparse as sparse_predictors
from fastsoftmax.kernels.products.block import zero_row
from fastsoftmax.kernels.tiles.packing import packed_features
from fastsoftmax.kernels.tiles.sizes import pays_to_share
from fastsoftmax.threads import launch

Array = npt.NDArray[Any]


def _run(
    function: str,
    X: Any,
    W: Any,
    b: Any,
    out: Any,
    labels: bool,
    sample_weight: Any = None,
) -> Array:
    """Run a function of logits; `out` is (N,) int64 for labels, else (N, K) of W's dtype.

    Rows of weight zero may hold anything.
    """
    W, bias = check.weights_and_bias(W, b)
    X = check.samples(X, W.shape[0], W.dtype, W.shape[1] if b is None else -1)
    shape: tuple[int, ...] = (len(X),) if labels else (len(X), W.shape[1])
    result = check.output(out, shape, np.int64 if labels else W.dtype)
    read = X.data if isinstance(X, CSR) else X
    overlaps = out is not None and np.may_share_memory(result, read)
    target = np.empty_like(result) if overlaps else result
    weight = check.sample_weight(sample_weight, len(X))
    rows = tuple(views.as_column(target) if labels else views.as_rows(target))
    if isinstance(X, CSR):
        columns = columns_of(X, weight, W.shape[1])
        kernel = getattr(sparse_predictors, function)
        finite = predict_sparse(kernel, columns, weight, W, bias, rows)
    else:
        finite = _run_dense(getattr(predictors, function), X, weight, W, bias, rows)
    if not finite:
        check.raise_non_finite("the logits", W.dtype, weight, X=X, W=W, b=bias)
    if target is not result:
        result[...] = target
    return result


def _run_dense(
    kernel: Callable[..., bool], X: Array, weight: Array, W: Array, b: Array, out: tuple[Any, ...]
) -> bool:
    """Of rows as they lie; whether all logits are finite."""
    problem = (
        tuple(views.as_rows(X)),
        tuple(views.as_column(weight)),
        len(X),
        tuple(views.as_rows(W)),
        len(W),
        np.empty(packed_features(len(W)) * W.shape[1], W.dtype),
        b,
        zero_row(len(W), W.dtype),
    )
    parallel = pays_to_share(len(X), W.shape[1], len(W))
    return bool(launch(kernel, problem, out, parallel=parallel))


def decision_function(
    X: npt.ArrayLike, W: npt.ArrayLike, b: npt.ArrayLike | None = None, *, out: Array | None = None
) -> Array:
    """Logits ``Z = X W + b``.

    Parameters
    ----------
    X : array_like or CSR, (N, D)
    W : array_like, (D, K)
        Its dtype, float32 or float64, is the type of the computation and the result.
    b : array_like, (K,), optional
    out : ndarray, (N, K), optional
        Where to write, in the dtype of `W`.

    Returns
    -------
    ndarray, (N, K)

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or shape, X, W or b hold a value that is not finite (the
        text names the cell), or the logits overflow.

    Examples
    --------
    >>> import fastsoftmax
    >>> fastsoftmax.decision_function([[2.0]], [[1.0, -1.0]], [0.5, 0.0])
    array([[ 2.5, -2. ]])
    """
    return _run("decision_function", X, W, b, out, labels=False)


def predict_proba(
    X: npt.ArrayLike, W: npt.ArrayLike, b: npt.ArrayLike | None = None, *, out: Array | None = None
) -> Array:
    """Probabilities ``P = softmax(X W + b)`` of each class; as `decision_function` otherwise.

    Examples
    --------
    >>> import fastsoftmax
    >>> fastsoftmax.predict_proba([[0.0]], [[1.0, -1.0]])
    array([[0.5, 0.5]])
    """
    return _run("predict_proba", X, W, b, out, labels=False)


def predict_log_proba(
    X: npt.ArrayLike, W: npt.ArrayLike, b: npt.ArrayLike | None = None, *, out: Array | None = None
) -> Array:
    """Log-probabilities of each class; as `decision_function` otherwise.

    Examples
    --------
    >>> import fastsoftmax
    >>> fastsoftmax.predict_log_proba([[50.0]], [[1.0, 0.0]])
    array([[-1.92874985e-22, -5.00000000e+01]])
    """
    return _run("predict_log_proba", X, W, b, out, labels=False)


def weighted_predict(X: Any, W: Array, b: Array, sample_weight: Any) -> Array:
    """As `predict`, for rows some of which may have weight zero: they get some class or other."""
    return _run("predict", X, W, b, None, labels=True, sample_weight=sample_weight)


def weighted_logits(X: Any, W: Array, b: Array, sample_weight: Any) -> Array:
    """As `decision_function`, for rows some of which may have weight zero: theirs are b."""
    return _run("decision_function", X, W, b, None, labels=False, sample_weight=sample_weight)


def weighted_proba(X: Any, W: Array, b: Array, sample_weight: Any) -> Array:
    """As `predict_proba`, for rows some of which may have weight zero: theirs are those of b."""
    return _run("predict_proba", X, W, b, None, labels=False, sample_weight=sample_weight)


def predict(
    X: npt.ArrayLike, W: npt.ArrayLike, b: npt.ArrayLike | None = None, *, out: Array | None = None
) -> Array:
    """The most probable class of each row, as an index; as `decision_function` otherwise.

    Returns
    -------
    ndarray, (N,), int64
        The first class with the largest logit. `out`, where given, has this shape and dtype.

    Examples
    --------
    >>> import fastsoftmax
    >>> fastsoftmax.predict([[2.0], [-2.0]], [[1.0, -1.0]])
    array([0, 1])
    """
    return _run("predict", X, W, b, out, labels=True)
