"""Functions of given logits, row by row."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax import validation as check
from fastsoftmax import views
from fastsoftmax.kernels.passes import rowwise
from fastsoftmax.kernels.tiles.sizes import pays_to_share
from fastsoftmax.threads import launch
from fastsoftmax.weights import sum_of

Array = npt.NDArray[Any]
Axis = int | Sequence[int]
Kernel = Callable[..., None]


def _axes(axis: Axis) -> tuple[int, ...]:
    """One axis or several as a tuple."""
    try:
        return tuple(map(operator.index, axis)) if np.iterable(axis) else (operator.index(axis),)
    except TypeError:
        raise TypeError(f"axis must be an integer or integers, got {axis!r}") from None


def _axes_last(Z: Array, axis: Axis) -> tuple[tuple[int, ...], int, int]:
    """(the order of axes that puts `axis` last, rows N, classes K)."""
    axes = tuple(a + Z.ndim if a < 0 else a for a in _axes(axis))
    if not axes or len(set(axes)) < len(axes) or not all(0 <= a < Z.ndim for a in axes):
        raise ValueError(f"axis={axis!r} does not fit Z of shape {Z.shape}")
    rest = tuple(a for a in range(Z.ndim) if a not in axes)
    shape = Z.shape
    return rest + axes, prod([shape[a] for a in rest]), prod([shape[a] for a in axes])


def _map_rows(short: Kernel, long: Kernel, Z: Any, axis: Axis, out: Any) -> Array:
    """Run a kernel that turns rows into rows of the same length."""
    Z = check.logits(Z)
    order, n_rows, n_classes = _axes_last(Z, axis)
    result = check.output(out, Z.shape, Z.dtype)
    if n_rows == 0:
        return result
    if n_classes == 0:
        raise ValueError(f"Z has no classes: its shape is {Z.shape} and axis={axis!r}")
    source = Z.transpose(order).reshape(n_rows, n_classes)
    target = result.transpose(order).reshape(n_rows, n_classes)
    is_view = np.may_share_memory(target, result)
    if not is_view or (out is not None and _collide(target, source, Z)):
        target = np.empty((n_rows, n_classes), Z.dtype)
        is_view = False
    kernel = short if rowwise.is_short(n_classes, Z.itemsize) else long
    arguments = views.as_rows(source), n_rows, n_classes, views.as_rows(target)
    launch(kernel, *arguments, parallel=pays_to_share(n_rows, n_classes))
    if not is_view:
        result.transpose(order)[...] = target.reshape(result.transpose(order).shape)
    return result


def _collide(target: Array, source: Array, Z: Array) -> bool:
    """Whether rows would be overwritten before they are read: in place they are not."""
    if not np.may_share_memory(target, Z):
        return False
    return bool(target.__array_interface__ != source.__array_interface__)


def softmax(Z: npt.ArrayLike, axis: Axis = -1, out: Array | None = None) -> Array:
    """Probabilities ``exp(z) / sum(exp(z))`` of each row of logits.

    Parameters
    ----------
    Z : array_like
        Logits of any shape. float32 and float64 keep their type, float16 becomes float32,
        everything else float64.
    axis : int or tuple of int
        The axis, or axes, along which probabilities sum to one.
    out : ndarray, optional
        Where to write: the shape and dtype of the result. It may be `Z` itself.

    Returns
    -------
    ndarray
        The shape of `Z`. ``-inf`` has probability 0; a row with NaN or ``+inf``, or of nothing
        but ``-inf``, is NaN, as in `scipy.special.softmax`.

    Raises
    ------
    TypeError, ValueError
        If `Z` is not real, `axis` does not fit, or `out` has another shape or dtype.

    Notes
    -----
    The largest logit of a row is subtracted first; docs/math.md, "A stable row".

    Examples
    --------
    >>> import fastsoftmax
    >>> fastsoftmax.softmax([0.0, 0.0, -float("inf")])
    array([0.5, 0.5, 0. ])
    """
    return _map_rows(rowwise.softmax_short, rowwise.softmax_long, Z, axis, out)


def log_softmax(Z: npt.ArrayLike, axis: Axis = -1, out: Array | None = None) -> Array:
    """Log-probabilities ``z - logsumexp(z)`` of each row of logits.

    Parameters, errors and special values are those of `softmax` and
    `scipy.special.log_softmax`. Where one class has nearly all the mass, its log-probability
    keeps its relative accuracy: it is ``-log1p`` of what the others have.

    Examples
    --------
    >>> import fastsoftmax
    >>> fastsoftmax.log_softmax([50.0, 0.0])
    array([-1.92874985e-22, -5.00000000e+01])
    """
    return _map_rows(rowwise.log_softmax_short, rowwise.log_softmax_long, Z, axis, out)


def logsumexp(Z: npt.ArrayLike, axis: Axis = -1, out: Array | None = None) -> Any:
    """``log(sum(exp(z)))`` of each row of logits, without overflow.

    Parameters
    ----------
    Z, axis
        As for `softmax`.
    out : ndarray, optional
        Where to write: the shape of `Z` without `axis`, and the dtype of the result.

    Returns
    -------
    ndarray or scalar
        ``-inf`` for a row that is empty or only ``-inf``, ``+inf`` for one with ``+inf``, NaN
        for one with NaN, as in `scipy.special.logsumexp`.

    Raises
    ------
    TypeError, ValueError
        As for `softmax`.

    Examples
    --------
    >>> import fastsoftmax
    >>> float(fastsoftmax.logsumexp([1000.0, 1000.0]))
    1000.6931471805599
    """
    Z = check.logits(Z)
    order, n_rows, n_classes = _axes_last(Z, axis)
    shape = tuple(Z.shape[a] for a in order[: Z.ndim - len(_axes(axis))])
    result = check.output(out, shape, Z.dtype)
    if n_classes == 0:
        result[...] = -np.inf
    elif n_rows:
        source = Z.transpose(order).reshape(n_rows, n_classes)
        target = np.empty((n_rows, 1), Z.dtype)
        short = rowwise.is_short(n_classes, Z.itemsize)
        kernel = rowwise.log_sum_exp_short if short else rowwise.log_sum_exp_long
        arguments = views.as_rows(source), n_rows, n_classes, views.as_rows(target)
        launch(kernel, *arguments, parallel=pays_to_share(n_rows, n_classes))
        result[...] = target.reshape(shape)
    return result if out is not None else result[()]


def _checked_loss_arguments(
    Z: Any, targets: Any, sample_weight: Any, label_smoothing: Any, reduction: Any
) -> tuple[Array, Array, Array, float, float]:
    """(Z (N, K), targets, weights (N,), label_smoothing, divisor) of the losses below.

    The weights of a mean are scaled. Others must fit the logits' type.
    """
    Z = check.logits(Z)
    if Z.ndim != 2 or Z.shape[1] == 0:
        raise ValueError(f"Z must have shape (n_samples, n_classes), got {Z.shape}")
    check.choice(reduction, "reduction", ("mean", "sum", "none"))
    weight = check.sample_weight(sample_weight, Z.shape[0])
    total = check.total_weight(weight, reduction)
    if reduction == "mean":
        weight, unit = check.scaled_weight(weight)
        total /= unit
    else:
        check.non_negative(weight, "sample_weight", Z.dtype)
    return (
        Z,
        check.targets(targets, Z.shape[0], Z.shape[1], Z.dtype),
        weight,
        check.number(label_smoothing, "label_smoothing", 0, 1),
        total,
    )


def _reduced(losses: Array, total: float, reduction: str, dtype: np.dtype[Any]) -> Any:
    """What is returned for the weighted loss of each row; infinite where that is beyond `dtype`."""
    if reduction != "none":
        return check.scalar(sum_of(losses) / total, dtype)
    with np.errstate(over="ignore"):
        return losses.astype(dtype)


def _problem(Z: Array, targets: Array, weight: Array, smoothing: float) -> rowwise.Problem:
    """Checked arguments as the kernels take them."""
    columns = views.target_rows(targets), views.as_column(weight)
    return rowwise.Problem(views.as_rows(Z), *columns, Z.shape[1], smoothing)


def cross_entropy(
    Z: npt.ArrayLike,
    targets: npt.ArrayLike,
    *,
    sample_weight: npt.ArrayLike | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Any:
    """Cross-entropy ``s * logsumexp(z) - sum_k t_k z_k`` of logits and targets.

    Parameters
    ----------
    Z : array_like, (N, K)
        Logits. float32 and float64 keep their type, float16 becomes float32, everything else
        float64.
    targets : array_like
        Integer labels (N,) in ``[0, K)``, or rows (N, K) of finite weights ``t >= 0``, which need
        not sum to one: ``s`` is their sum, 1 for a label.
    sample_weight : array_like, (N,), optional
        Finite weights of at least 0. A row of weight 0 is absent: its logits may hold anything,
        its target must be valid.
    label_smoothing : float in [0, 1]
        Targets become ``(1 - eps) * t + eps * s / K``.
    reduction : {"mean", "sum", "none"}
        "mean" divides the sum by the sum of the weights, N without any, whatever their scale;
        otherwise they must fit the logits' type.

    Returns
    -------
    scalar, or ndarray (N,) for "none"
        In the dtype of the logits; sums run in float64. A class with no weight counts nothing,
        even where its logit is ``-inf``, nor does a row all of whose classes have none, whatever
        its logits.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range, or a mean has nothing to divide by.

    Notes
    -----
    The formula is derived in docs/math.md, "The cross-entropy".

    Examples
    --------
    >>> import fastsoftmax
    >>> float(fastsoftmax.cross_entropy([[0.0, 0.0], [0.0, 0.0]], [0, 1]))
    0.6931471805599453
    """
    Z, targets, weight, smoothing, total = _checked_loss_arguments(
        Z, targets, sample_weight, label_smoothing, reduction
    )
    losses = np.empty(Z.shape[0], np.float64)
    if losses.size:
        short = rowwise.is_short(Z.shape[1], Z.itemsize)
        launch(
            rowwise.cross_entropy_short if short else rowwise.cross_entropy_long,
            _problem(Z, targets, weight, smoothing),
            losses,
            parallel=pays_to_share(*Z.shape),
        )
    return _reduced(losses, total, reduction, Z.dtype)


def cross_entropy_and_gradient(
    Z: npt.ArrayLike,
    targets: npt.ArrayLike,
    *,
    sample_weight: npt.ArrayLike | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> tuple[Any, Array]:
    """The cross-entropy and its gradient ``dJ/dZ = weight * (s * softmax(z) - t)``.

    Parameters and errors are those of `cross_entropy`.

    Returns
    -------
    loss : scalar, or ndarray (N,) for reduction="none"
    dZ : ndarray, (N, K)
        The gradient of the reduced loss; for "none", row n is that of ``loss[n]``.

    Notes
    -----
    Derived in docs/math.md, "The gradient with respect to the logits".

    Examples
    --------
    >>> import fastsoftmax
    >>> loss, dZ = fastsoftmax.cross_entropy_and_gradient([[0.0, 0.0]], [1])
    >>> dZ
    array([[ 0.5, -0.5]])
    """
    Z, targets, weight, smoothing, total = _checked_loss_arguments(
        Z, targets, sample_weight, label_smoothing, reduction
    )
    losses = np.empty(Z.shape[0], np.float64)
    dZ = np.empty(Z.shape, Z.dtype)
    if losses.size:
        short = rowwise.is_short(Z.shape[1], Z.itemsize)
        launch(
            rowwise.cross_entropy_gradient_short if short else rowwise.cross_entropy_gradient_long,
            _problem(Z, targets, weight, smoothing),
            1 / total,
            losses,
            views.as_rows(dZ),
            parallel=pays_to_share(*Z.shape),
        )
    return _reduced(losses, total, reduction, Z.dtype), dZ


def softmax_jacobian(P: npt.ArrayLike) -> Array:
    """The Jacobian ``diag(p) - p p'`` of softmax at the probabilities `P`.

    Parameters
    ----------
    P : array_like, (..., K)
        Probabilities, as `softmax` returns them.

    Returns
    -------
    ndarray, (..., K, K)
        ``[..., i, j]`` is the derivative of probability i by logit j.

    Raises
    ------
    TypeError, ValueError
        If `P` is not real or has no axis.

    Notes
    -----
    Derived in docs/math.md, "The Jacobian of softmax".

    Examples
    --------
    >>> import fastsoftmax
    >>> fastsoftmax.softmax_jacobian([0.5, 0.5])
    array([[ 0.25, -0.25],
           [-0.25,  0.25]])
    """
    P = check.logits(P, "P")
    if P.ndim == 0:
        raise ValueError("P must have at least one axis, got a scalar")
    J = -P[..., :, None] * P[..., None, :]
    diagonal = np.arange(P.shape[-1])
    J[..., diagonal, diagonal] += P
    return J


def softmax_jvp(P: npt.ArrayLike, V: npt.ArrayLike) -> Array:
    """``J v`` for the Jacobian of softmax at `P`, without forming it: ``p * (v - p'v)``.

    Parameters
    ----------
    P : array_like, (..., K)
        Probabilities, as `softmax` returns them.
    V : array_like, (..., K)
        Directions, one per row of `P`. J is symmetric, so that this is ``J' v`` too.

    Returns
    -------
    ndarray, (..., K)

    Raises
    ------
    TypeError, ValueError
        If an argument is not real or the shapes differ.

    Examples
    --------
    >>> import fastsoftmax
    >>> fastsoftmax.softmax_jvp([0.5, 0.5], [1.0, 0.0])
    array([ 0.25, -0.25])
    """
    P = check.logits(P, "P")
    V = check.logits(V, "V")
    if P.ndim == 0 or P.shape != V.shape:
        raise ValueError(f"P and V must have one shape (..., K), got {P.shape} and {V.shape}")
    return P * (V - np.einsum("...k,...k->...", P, V)[..., None])  # type: ignore[no-any-return]
