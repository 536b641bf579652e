"""Training by mini-batch stochastic gradient descent."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from fastsoftmax import validation as check
from fastsoftmax.kernels.blocks import ROW_BLOCK, ceil_div
from fastsoftmax.kernels.products import packed_features, padded, unpack_weights
from fastsoftmax.kernels.sgd import Batches, SGDState, sgd_steps
from fastsoftmax.model import SoftmaxModel, class_array
from fastsoftmax.threads import launch

Array = npt.NDArray[Any]

# One compiled call ends after about this long, so that Ctrl-C and progress are seen to.
_SECONDS_PER_CALL = 0.1
_FIRST_CALL_FLOPS = 2e7

# All partial gradients of a batch together take no more than this.
_MAX_PARTIAL_BYTES = 32 * 1024 * 1024


class Progress(Protocol):
    """What `fit_sgd` tells of its progress."""

    def __call__(self, epoch: int, rows: int, loss: float | None) -> None:
        """`rows` of the epoch are done; `loss` is its mean once all are."""


@dataclass(frozen=True)
class SGDResult:
    """What training gave.

    Attributes
    ----------
    model : SoftmaxModel
    history : dict of str to list of float
        One entry per epoch. "loss": the mean cross-entropy of the epoch's batches, each as it was
        before its step, without the penalty. "seconds": how long the epoch took.
    learning_rate : float
        The rate that was used.
    """

    model: SoftmaxModel
    history: dict[str, list[float]] = field(default_factory=dict)
    learning_rate: float = 0.0


def fit_sgd(
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    batch_size: int = 128,
    epochs: int = 30,
    learning_rate: float | Literal["auto"] = "auto",
    momentum: float = 0.0,
    l2: float = 0.0,
    seed: int = 0,
    feature_names: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> SGDResult:
    """Train softmax regression by mini-batch SGD.

    Each epoch visits the rows in a new random order; each batch takes one step
    ``v = momentum * v + (gradient of its mean loss + l2 * W)``, ``W = W - learning_rate * v``, and
    likewise for b without ``l2``. Weights start at zero, the biases at the log frequencies of the
    classes.

    Parameters
    ----------
    X : array_like, (N, D)
        Samples in rows. float32 and float64 are read where they lie, in any strides, never
        copied; other real types are converted once. float32 and float16 train in float32,
        everything else in float64.
    y : array_like, (N,)
        Labels: numbers or strings. The classes are ``np.unique(y)``.
    batch_size : int
        Rows per step; the last batch of an epoch may be smaller.
    epochs : int
        Passes over the data; 0 returns the starting weights.
    learning_rate : float or "auto"
        The step size. "auto" is 1 over a bound on the curvature of the mean loss: half the mean
        of ``||x||**2 + 1``, plus `l2`.
    momentum : float in [0, 1)
        The share of the last step that goes into the next.
    l2 : float
        Penalty ``l2 / 2 * ||W||**2`` on the mean loss; b is not penalised.
    seed : int
        Seeds the order of the rows. The same seed and data give the same bits, whatever the
        number of threads.
    feature_names : sequence of str, (D,), optional
        Kept in the model.
    progress : callable, optional
        Called a few times a second as ``progress(epoch, rows, loss)``.

    Returns
    -------
    SGDResult

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range; if X holds a value that is not finite
        (the text names the cell).
    FloatingPointError
        If the loss overflows: the learning rate is too high for the data. The text names the
        epoch and the rate.

    Notes
    -----
    The gradient is that of docs/math.md, "The matrix form", for the rows of a batch; the curvature
    bound is its section "How far a step may go".

    Examples
    --------
    >>> import fastsoftmax
    >>> result = fastsoftmax.fit_sgd([[-2.0], [-1.0], [1.0], [2.0]], ["no", "no", "yes", "yes"])
    >>> result.model.predict([[-3.0], [3.0]])
    array(['no', 'yes'], dtype='<U3')
    """
    X = check.real_array(X, "X")
    if X.ndim != 2:
        raise ValueError(f"X must have shape (n_samples, n_features), got {X.shape}")
    dtype = check.compute_dtype(X)
    X = check.convertible(X, dtype)
    n_rows, n_features = X.shape
    y = class_array(y, "y")
    if len(y) != n_rows or n_rows == 0:
        raise ValueError(f"y must have one label per row of X, at least one: {len(y)} for {n_rows}")
    classes, labels, counts = np.unique(y, return_inverse=True, return_counts=True)
    labels = labels.astype(np.int64, copy=False)
    n_classes = len(classes)
    batch_size = min(check.integer(batch_size, "batch_size", 1), n_rows)
    epochs = check.integer(epochs, "epochs", 0)
    momentum = check.number(momentum, "momentum", 0, 1)
    if momentum == 1:
        raise ValueError("momentum must be below 1")
    l2 = check.number(l2, "l2", 0)
    generator = np.random.default_rng(check.integer(seed, "seed", 0))
    if learning_rate == "auto":
        learning_rate = _safe_learning_rate(X, l2)
    else:
        learning_rate = check.number(learning_rate, "learning_rate", 0)

    if feature_names is not None:
        feature_names = tuple(map(str, feature_names))
        if len(feature_names) != n_features:
            raise ValueError(
                f"feature_names must hold {n_features} names, got {len(feature_names)}"
            )

    state = _initial_state(np.log(counts / n_rows), n_features, batch_size, dtype)
    history: dict[str, list[float]] = {"loss": [], "seconds": []}
    rows, targets = check.as_rows(X), check.as_column(labels)
    batches_per_call = ceil_div(int(_FIRST_CALL_FLOPS), 4 * batch_size * n_features * n_classes + 1)
    batch_loss = np.empty(ceil_div(n_rows, batch_size))
    for epoch in range(epochs):
        started = time.perf_counter()
        order = generator.permutation(n_rows)
        done = 0
        while done < batch_loss.size:
            part = slice(done, min(done + batches_per_call, batch_loss.size))
            call_started = time.perf_counter()
            launch(
                sgd_steps,
                Batches(
                    rows,
                    targets,
                    order[part.start * batch_size : part.stop * batch_size],
                    batch_size,
                ),
                learning_rate,
                momentum,
                l2,
                state,
                batch_loss[part],
            )
            pace = (part.stop - part.start) / (time.perf_counter() - call_started)
            batches_per_call = min(max(int(pace * _SECONDS_PER_CALL), 1), 2 * batches_per_call)
            done = part.stop
            if not np.isfinite(batch_loss[part.stop - 1]):
                _raise_diverged(X, epoch, learning_rate)
            if progress is not None and done < batch_loss.size:
                progress(epoch, done * batch_size, None)
        history["loss"].append(float(batch_loss.sum() / n_rows))
        history["seconds"].append(time.perf_counter() - started)
        if progress is not None:
            progress(epoch, n_rows, history["loss"][-1])
    if not (np.isfinite(state.W_tiles).all() and np.isfinite(state.b).all()):
        _raise_diverged(X, epochs - 1, learning_rate)
    W = np.empty((n_features, n_classes), dtype)
    unpack_weights(state.W_tiles, W)
    model = SoftmaxModel(W, state.b, classes, feature_names)
    return SGDResult(model, history, float(learning_rate))


def _initial_state(
    log_frequencies: Array, n_features: int, batch_size: int, dtype: np.dtype[Any]
) -> SGDState:
    """Weights of zero, biases of the log class frequencies, and room for the partials."""
    n_classes = len(log_frequencies)
    gradient_bytes = n_classes * n_features * dtype.itemsize + 1
    n_chunks = min(ceil_div(batch_size, ROW_BLOCK), max(_MAX_PARTIAL_BYTES // gradient_bytes, 1))
    return SGDState(
        n_features=n_features,
        W_tiles=np.zeros(n_classes * packed_features(n_features), dtype),
        b=log_frequencies.astype(dtype),
        velocity_W=np.zeros(n_classes * packed_features(n_features), dtype),
        velocity_b=np.zeros(n_classes, dtype),
        partial_G_T=np.empty((n_chunks, n_classes, padded(n_features, dtype.itemsize)), dtype),
        partial_g_b=np.empty((n_chunks, n_classes), dtype),
        partial_loss=np.empty(n_chunks),
    )


def _safe_learning_rate(X: Array, l2: float) -> float:
    """1 / (mean of (||x||^2 + 1) / 2 + l2), from a pass over X in blocks."""
    total = 0.0
    for first in range(0, len(X), 256):
        block = np.array(X[first : first + 256], np.float64, order="C")  # one order of summation
        total += float(np.vdot(block, block))
    if not np.isfinite(total):
        check.raise_non_finite("the squares of X", X.dtype, X=X)
    return 1 / (0.5 * (total / len(X) + 1) + l2)


def _raise_diverged(X: Array, epoch: int, learning_rate: float) -> None:
    """The loss is not finite: because X is not, or because the steps were too long."""
    try:
        check.raise_non_finite("", X.dtype, X=X)
    except ValueError as error:
        if "must be finite" in str(error):
            raise
    raise FloatingPointError(
        f"training diverged in epoch {epoch} with learning_rate={learning_rate:g}; "
        "a lower rate or scaled features will help"
    )
