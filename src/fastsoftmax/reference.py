"""Plain NumPy twins of the public functions: the oracle of the tests, the baseline of the
benchmarks. Obviously right before anything else; nothing here imports the package.

Notation as in docs/math.md: X (N, D), W (D, K), b (K,), Z = X W + b, P = softmax(Z), targets are
labels (N,) or rows of weights (N, K).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def logsumexp(Z: Array) -> Array:
    """log of the sum of exp over the last axis."""
    m = Z.max(axis=-1, keepdims=True)
    m = np.where(np.isfinite(m), m, np.zeros_like(m))
    with np.errstate(divide="ignore", over="ignore"):
        return (m + np.log(np.exp(Z - m).sum(axis=-1, keepdims=True)))[..., 0]


def softmax(Z: Array) -> Array:
    """exp(z) / sum of exp(z) over the last axis."""
    with np.errstate(invalid="ignore"):
        E = np.exp(Z - Z.max(axis=-1, keepdims=True))
    return E / E.sum(axis=-1, keepdims=True)


def log_softmax(Z: Array) -> Array:
    """z - logsumexp(z) over the last axis."""
    m = Z.max(axis=-1, keepdims=True)
    m = np.where(np.isfinite(m), m, np.zeros_like(m))
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        return (Z - m) - np.log(np.exp(Z - m).sum(axis=-1, keepdims=True))


def soft_targets(targets: Array, n_classes: int, label_smoothing: float, dtype: Any) -> Array:
    """T (N, K): one-hot rows for labels, then smoothed by (1 - eps) t + eps s / K."""
    T = np.eye(n_classes, dtype=dtype)[targets] if targets.ndim == 1 else targets.astype(dtype)
    s = T.sum(axis=1, keepdims=True)
    return (1 - label_smoothing) * T + label_smoothing * s / n_classes


def _row_losses(Z: Array, T: Array) -> Array:
    """s lse(z) - sum of t z, where 0 * (-inf) counts 0, and nothing else does where s is 0."""
    s = T.sum(axis=1)
    with np.errstate(invalid="ignore"):
        weighted = np.where(T > 0, T * Z, np.zeros_like(Z))
        return np.where(s > 0, s * logsumexp(Z) - weighted.sum(axis=1), np.zeros_like(s))


def cross_entropy_and_gradient(
    Z: Array,
    targets: Array,
    sample_weight: Array | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> tuple[Array, Array]:
    """The loss, and dJ/dZ = weight (s P - T); a row of weight zero counts nothing."""
    weight = np.ones(len(Z)) if sample_weight is None else sample_weight.astype(np.float64)
    if sample_weight is not None and reduction == "mean":  # which does not depend on their scale
        weight = weight / 2.0 ** np.floor(np.log2(weight.max()))
    weight = weight.astype(Z.dtype)
    T = soft_targets(targets, Z.shape[1], label_smoothing, Z.dtype)
    s = T.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        losses = np.where(weight > 0, weight * _row_losses(Z, T), np.zeros_like(weight))
        dZ = weight[:, None] * (s * softmax(Z) - T)
    dZ[(weight == 0) | (s[:, 0] == 0)] = 0
    if reduction == "none":
        return losses, dZ
    if reduction == "sum":
        return losses.sum(), dZ
    return losses.sum() / weight.sum(), dZ / weight.sum()


def loss_and_gradient(
    X: Array,
    targets: Array,
    W: Array,
    b: Array | None = None,
    sample_weight: Array | None = None,
    label_smoothing: float = 0.0,
    l2: float = 0.0,
    reduction: str = "mean",
) -> tuple[Array, Array, Array]:
    """The loss, dJ/dW = X' dJ/dZ + l2 W, and dJ/db, the column sums of dJ/dZ."""
    if sample_weight is not None:  # rows of weight zero may hold anything
        X = np.where(sample_weight[:, None] > 0, X, np.zeros_like(X))
    Z = X @ W if b is None else X @ W + b
    loss, dZ = cross_entropy_and_gradient(Z, targets, sample_weight, label_smoothing, reduction)
    return loss + l2 / 2 * (W**2).sum(), X.T @ dZ + l2 * W, dZ.sum(axis=0)


def baseline_softmax(Z: Array) -> Array:
    """Softmax over the last axis as NumPy users write it: in place where NumPy can."""
    P = Z - Z.max(axis=-1, keepdims=True)
    np.exp(P, out=P)
    P /= P.sum(axis=-1, keepdims=True)
    return P


def baseline_cross_entropy_and_gradient(Z: Array, y: Array) -> tuple[Any, Array]:
    """The mean loss of labels and its gradient, as NumPy users write it; Z stays as it is."""
    return _mean_loss_in_place(Z - Z.max(axis=1, keepdims=True), y)


def baseline_loss_and_gradient(X: Array, y: Array, W: Array, b: Array) -> tuple[Any, Array, Array]:
    """One full pass as NumPy users write it: labels, mean loss, in place where NumPy can."""
    Z = X @ W
    Z += b
    Z -= Z.max(axis=1, keepdims=True)
    loss, dZ = _mean_loss_in_place(Z, y)
    return loss, X.T @ dZ, dZ.sum(axis=0)


def _mean_loss_in_place(Z: Array, y: Array) -> tuple[Any, Array]:
    """The mean loss, and dJ/dZ in the place of Z, whose rows have the maximum 0."""
    rows = np.arange(len(y))
    z_y = Z[rows, y]
    np.exp(Z, out=Z)
    total = Z.sum(axis=1, keepdims=True)
    loss = (np.log(total[:, 0]) - z_y).mean(dtype=np.float64)
    Z /= total
    Z[rows, y] -= 1
    Z /= len(y)
    return loss, Z


def baseline_sgd_epoch(
    X: Array, y: Array, W: Array, b: Array, order: Array, batch_size: int, learning_rate: float
) -> float:
    """One epoch of plain SGD as NumPy users write it; W and b are stepped in place."""
    total = 0.0
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        loss, grad_W, grad_b = baseline_loss_and_gradient(X[batch], y[batch], W, b)
        total += float(loss) * len(batch)
        W -= learning_rate * grad_W
        b -= learning_rate * grad_b
    return total / len(order)


def softmax_jacobian(p: Array) -> Array:
    """diag(p) - p p' of one row."""
    return np.diag(p) - np.outer(p, p)


def decide(P: Array, utility: Array) -> Array:
    """argmax of the expected utilities."""
    expected = P * utility if utility.ndim == 1 else P @ utility.T
    return expected.argmax(axis=-1)


def scaled_features(
    X: Array, weight: Array, standardize: bool, intercept: bool, dtype: Any = np.float64
) -> Array:
    """What the parameters of `optimum` multiply: (N, D), and a column of ones with intercepts.

    Scales are rounded to `dtype`, as those of training are to that of X.
    """
    mean = np.average(X, axis=0, weights=weight)
    U = X - mean if intercept else X.copy()
    if standardize:
        deviation = np.sqrt(np.average((X - mean) ** 2, axis=0, weights=weight))
        constant = np.ptp(X, axis=0) == 0
        scale = (1 / np.where(constant, 1, deviation)).astype(dtype).astype(np.float64)
        U *= np.where(constant & intercept, 0, scale)
    return np.hstack([U, np.ones((len(U), 1))]) if intercept else U


def objective_and_proba(
    U: Array, T: Array, weight: Array, penalty: Array, parameters: Array
) -> tuple[float, Array]:
    """(the weighted cross-entropy and penalty, P (N, K)) of parameters (K, M) for U (N, M)."""
    Z = np.einsum("nm,km->nk", U, parameters)
    rows, best = np.arange(len(Z)), Z.argmax(axis=1)
    shifted = Z - Z.max(axis=1, keepdims=True)
    E = np.exp(shifted)
    E[rows, best] = 0
    rest = E.sum(axis=1)
    E[rows, best] = 1
    J = T.sum(axis=1) * np.log1p(rest) - (T * shifted).sum(axis=1)
    value = weight @ J + 0.5 * (penalty * parameters**2).sum()
    return float(value), E / (1 + rest)[:, None]


def optimum(U: Array, T: Array, weight: Array, penalty: Array, steps: int = 60) -> float:
    """The least objective, by Newton's method with the whole Hessian; penalty (M,) is by column."""
    K, M = T.shape[1], U.shape[1]
    weight = weight / weight.max()
    weight = weight / weight.sum()
    s = weight * T.sum(axis=1)
    parameters = np.zeros((K, M))
    value, P = objective_and_proba(U, T, weight, penalty, parameters)
    for _ in range(steps):
        residuals = s[:, None] * P - weight[:, None] * T
        gradient = (residuals.T @ U + penalty * parameters).ravel()
        factors = s[:, None, None] * (P[:, :, None] * np.eye(K) - P[:, :, None] * P[:, None, :])
        H = np.einsum("nkl,ni,nj->kilj", factors, U, U, optimize=True).reshape(K * M, K * M)
        H += np.diag(np.tile(penalty, K))
        scale = 1 / np.sqrt(np.maximum(H.diagonal(), 1e-300))
        scaled = scale[:, None] * H * scale
        step = scale * np.linalg.lstsq(scaled, scale * gradient, rcond=1e-15)[0]
        for halving in range(40):
            new = parameters - step.reshape(K, M) / 2**halving
            new_value, new_P = objective_and_proba(U, T, weight, penalty, new)
            if new_value <= value:
                break
        else:
            break
        parameters, value, P = new, new_value, new_P
        if not step @ gradient > 1e-28 * value:
            break
    return value
