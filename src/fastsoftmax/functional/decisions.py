"""Decisions of greatest expected utility, and logistic regression as two-way softmax."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax import validation as check
from fastsoftmax import views
from fastsoftmax.functional.predictions import predict
from fastsoftmax.kernels.passes import rowwise
from fastsoftmax.threads import launch

Array = npt.NDArray[Any]


def decide(P: npt.ArrayLike, utility: npt.ArrayLike) -> Any:
    """The decision that maximises expected utility under the probabilities `P`.

    Parameters
    ----------
    P : array_like, (N, K) or (K,)
        Probabilities of the classes.
    utility : array_like
        (K,): what class k is worth if it is the truth and is chosen (nothing otherwise); the
        decision is ``argmax_k P[n, k] * u[k]``. (decisions, K): ``U[j, k]`` is what decision j is
        worth where k is the truth; the decision is ``argmax_j sum_k U[j, k] * P[n, k]``. Computed
        in the type of `P`, but in float64 where that type cannot hold all utilities.

    Returns
    -------
    ndarray, (N,), int64, or a scalar for one row
        The first decision of those that are best.

    Raises
    ------
    TypeError, ValueError
        If an argument is not real, not finite, or of the wrong shape, or `P` has a negative entry,
        or a utility is beyond float64.

    Notes
    -----
    docs/math.md, "The decision of greatest expected utility".

    Examples
    --------
    >>> import fastsoftmax
    >>> int(fastsoftmax.decide([0.7, 0.3], [1.0, 5.0]))
    1
    """
    P = check.logits(P, "P")
    utility = check.real_array(utility, "utility")
    if P.ndim not in (1, 2) or P.shape[-1] == 0:
        raise ValueError(f"P must have shape (n_samples, n_classes) or (n_classes,), got {P.shape}")
    n_classes = P.shape[-1]
    if utility.ndim not in (1, 2) or utility.shape[-1] != n_classes or utility.size == 0:
        raise ValueError(
            f"utility must have shape ({n_classes},) or (n_decisions, {n_classes}), "
            f"got {utility.shape}"
        )
    utility = _in_compute_dtype(utility, P.dtype)
    rows = P if P.ndim == 2 else P[None]
    check.non_negative(rows, "P")
    if utility.ndim == 2:
        decisions = predict(rows, utility.T)
    else:
        decisions = np.empty(len(rows), np.int64)
        if len(rows):
            launch(rowwise.weighted_argmax, views.as_rows(rows), len(rows), utility, decisions)
    return decisions if P.ndim == 2 else decisions[0]


def _in_compute_dtype(utility: Array, narrow: np.dtype[Any]) -> Array:
    """In the type of `P` where that loses nothing, else in float64, which kernels then compute in.

    Rounded, 16777217 and 16777216 would be the same in float32, and the wrong decision the first.
    """
    with np.errstate(over="ignore"):  # what overflows is named below
        wide = np.array(utility, np.float64, order="C")
        if not np.isfinite(wide).all():
            check.raise_non_finite("the utilities", wide.dtype, utility=utility)
        rounded = wide.astype(narrow)
    return rounded if (rounded == wide).all() else wide


def binary_to_softmax(w: npt.ArrayLike, b: float = 0.0) -> tuple[Array, Array]:
    """Logistic regression as two-way softmax: class 1 keeps `w` and `b`, class 0 gets zeros.

    Parameters
    ----------
    w : array_like, (D,)
        Weights of ``P(y = 1) = 1 / (1 + exp(-(x'w + b)))``.
    b : float
        Its bias.

    Returns
    -------
    W : ndarray, (D, 2)
    b : ndarray, (2,)

    Raises
    ------
    TypeError, ValueError
        If an argument is not real or has the wrong shape.

    Notes
    -----
    docs/math.md, "Logistic regression is two-way softmax".

    Examples
    --------
    >>> import fastsoftmax
    >>> fastsoftmax.binary_to_softmax([3.0], 1.0)
    (array([[0., 3.]]), array([0., 1.]))
    """
    w = check.real_array(w, "w")
    w = w.astype(check.compute_dtype(w), copy=False)
    bias = check.real_array(b, "b")
    if w.ndim != 1 or bias.size != 1:
        raise ValueError(
            f"w must have shape (n_features,) and b be a scalar, got {w.shape} and {bias.shape}"
        )
    W = np.stack([np.zeros_like(w), w], axis=1)
    return W, np.array([0, bias.item()], w.dtype)


def softmax_to_binary(W: npt.ArrayLike, b: npt.ArrayLike | None = None) -> tuple[Array, Any]:
    """Two-way softmax as logistic regression: ``w = w_1 - w_0`` and ``b = b_1 - b_0``.

    Parameters
    ----------
    W : array_like, (D, 2)
    b : array_like, (2,), optional
        Zeros where it is None.

    Returns
    -------
    w : ndarray, (D,)
    b : scalar

    Raises
    ------
    TypeError, ValueError
        If an argument is not real or there are not two classes.

    Notes
    -----
    docs/math.md, "Logistic regression is two-way softmax".

    Examples
    --------
    >>> import fastsoftmax
    >>> w, b = fastsoftmax.softmax_to_binary([[1.0, 4.0]], [0.0, 1.0])
    >>> w, float(b)
    (array([3.]), 1.0)
    """
    W, bias = check.weights_and_bias(W, b)
    if W.shape[1] != 2:
        raise ValueError(f"W must have two classes, shape (n_features, 2), got {W.shape}")
    return W[:, 1] - W[:, 0], bias[1] - bias[0]
