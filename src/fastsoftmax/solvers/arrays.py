"""Newton's work on arrays beside products with X: the same bits for any number of threads.

Never by NumPy's `@` and `dot`, whose BLAS may hang in a forked child.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax import views
from fastsoftmax.kernels.passes import newton
from fastsoftmax.kernels.passes.sparse import Sums
from fastsoftmax.kernels.tiles.sizes import PIECE, ceil_div, n_chunks, pays_to_share
from fastsoftmax.threads import launch
from fastsoftmax.training.samples import Samples

Array = npt.NDArray[Any]

# Numbers that are worth a second thread.
_SHARED = 2**16


def dot(u: Array, v: Array) -> float:
    """The sum of products of two contiguous arrays of one shape and type, in float64."""
    u, v = u.reshape(-1), v.reshape(-1)
    sums = np.empty(ceil_div(u.size, PIECE))
    launch(newton.dot, u, v, sums, parallel=u.size >= _SHARED)
    return float(sums.sum())


def combine(a: float, u: Array, c: float, v: Array) -> None:
    """v = a u + c v, for contiguous arrays of one shape and type."""
    factors = v.dtype.type(a), v.dtype.type(c)
    u, v = u.reshape(-1), v.reshape(-1)
    launch(newton.combine, factors[0], u, factors[1], v, parallel=u.size >= _SHARED)


def curve(P: Array, weight: Array, h: Array, b: Array, Z: Array, U: Array) -> tuple[Array, Array]:
    """U = what a change Z + b of logits (N, K) makes of weight * P.

    Returns the sums over the rows of U and of h times U, in float64.
    """
    sums = np.empty((n_chunks(len(P)), 2, P.shape[1]))
    launch(newton.curve, P, weight, h, b, Z, U, sums, parallel=pays_to_share(*P.shape))
    of_rows, of_h = sums.sum(axis=0)
    return of_rows, of_h


def residuals(
    samples: Samples, label_smoothing: float, Z: Array, b: Array, R: Array
) -> tuple[float, Array]:
    """(the mean loss at logits Z (N, K) + b, the sums (K,) of its gradient by them), which is R."""
    chunks, total = n_chunks(len(Z)), samples.total_weight
    sums = Sums(np.zeros(chunks), np.zeros((chunks, b.size)), np.zeros(0, np.bool_))
    launch(
        newton.residuals_of_logits,
        len(Z),
        tuple(views.as_rows(Z)),
        b,
        tuple(views.as_column(samples.weight)),
        tuple(views.target_rows(samples.targets)),
        label_smoothing,
        1 / total,
        tuple(views.as_rows(R)),
        sums,
        parallel=pays_to_share(*Z.shape),
    )
    return float(sums.loss.sum()) / total, sums.g_b.sum(axis=0)
