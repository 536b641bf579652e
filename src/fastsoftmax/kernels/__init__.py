"""Compiled code: every `@njit` of the package, on numba and numpy alone.

The functions named here can be called from your own `@njit` code; docs/embedding.md shows how.
"""

from fastsoftmax.kernels.rows.embed import (
    cross_entropy_gradient_row,
    cross_entropy_gradient_rows,
    cross_entropy_row,
    cross_entropy_rows,
    log_softmax_row,
    log_softmax_rows,
    log_sum_exp_row,
    log_sum_exp_rows,
    softmax_row,
    softmax_rows,
)

__all__ = [
    "cross_entropy_gradient_row",
    "cross_entropy_gradient_rows",
    "cross_entropy_row",
    "cross_entropy_rows",
    "log_softmax_row",
    "log_softmax_rows",
    "log_sum_exp_row",
    "log_sum_exp_rows",
    "softmax_row",
    "softmax_rows",
]
