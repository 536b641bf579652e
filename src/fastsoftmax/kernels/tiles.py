"""The two matrix products of softmax regression, for one block of rows held in cache.

Weights and gradients are stored by class, W_T (K, D) and G_T (K, D): both inner loops then run
along the features, which is contiguous whatever K is.
"""

from __future__ import annotations

from fastsoftmax.kernels._jit import jit, jit_reassociate
from fastsoftmax.kernels.memory import Array


@jit_reassociate
def logits(X: Array, W_T: Array, b: Array, Z: Array) -> None:
    """Z (R, K) = X (R, D) W + b."""
    for r in range(X.shape[0]):
        for k in range(W_T.shape[0]):
            z = X.dtype.type(0)
            for d in range(X.shape[1]):
                z += X[r, d] * W_T[k, d]
            Z[r, k] = z + b[k]


@jit
def add_gradient(X: Array, residuals: Array, G_T: Array) -> None:
    """G_T (K, D) += residuals (R, K)' X (R, D).

    Four rows share one pass over G_T, which cuts its traffic by four.
    """
    n_rows = X.shape[0]
    for k in range(residuals.shape[1]):
        for r in range(0, n_rows - 3, 4):
            a0, a1 = residuals[r, k], residuals[r + 1, k]
            a2, a3 = residuals[r + 2, k], residuals[r + 3, k]
            for d in range(X.shape[1]):
                G_T[k, d] += (a0 * X[r, d] + a1 * X[r + 1, d]) + (
                    a2 * X[r + 2, d] + a3 * X[r + 3, d]
                )
        for r in range(n_rows - n_rows % 4, n_rows):
            for d in range(X.shape[1]):
                G_T[k, d] += residuals[r, k] * X[r, d]


@jit
def add_rows(residuals: Array, g_b: Array) -> None:
    """g_b (K,) += the column sums of residuals (R, K)."""
    for r in range(residuals.shape[0]):
        for k in range(residuals.shape[1]):
            g_b[k] += residuals[r, k]
