"""How strongly the mean loss bends, and the few directions in which it bends most.

A step of 1 over the curvature is safe. Where features are correlated or some rows lie far out, a
few directions of the scaled features have nearly all of the curvature; steps are shortened along
these, so that they may be long in all others (docs/math.md, "Steep directions").
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastsoftmax import views
from fastsoftmax.kernels.passes.directions import leading_directions, project_rows
from fastsoftmax.kernels.tiles.packing import padded
from fastsoftmax.kernels.tiles.sizes import DIRECTIONS, pays_to_share
from fastsoftmax.threads import launch
from fastsoftmax.training.columns import Scaling
from fastsoftmax.training.samples import RowsOfSteps, Samples
from fastsoftmax.training.streamed import StreamedSamples

Array = npt.NDArray[Any]

# Rows of the sample that the curvature is read off: more where they are short, since rows far out
# may be few, and fewer where they are very long.
_FEW_ROWS, _MANY_ROWS = 512, 4096
_SHORT_SIZE, _LONG_SIZE = 130_000, 2_000_000
_ITERATIONS = 12

# Entries of a sample of sparse rows.
_SPARSE_ENTRIES = 2**15

# Numbers of a start that is kept for the next call.
_SHORT_START = 4096

# Of the largest second moment, what is no direction but rounding.
_NOTHING = 1e-10


class Directions(NamedTuple):
    """Where steps on scaled features are shortened: to 1 - shrink_j along q_j."""

    Q: Array  # (DIRECTIONS, D), orthonormal rows, or zeros
    shrink: Array  # (DIRECTIONS,), in [0, 1)
    level: float  # the curvature that is left

    @property
    def bias_step(self) -> float:
        """How much of a step of the biases is left, whose curvature is 1."""
        return min(self.level, 1.0)

    def project(self, X: Array, scaling: Scaling, dtype: np.dtype[Any]) -> Array:
        """u'q_j of each row, (N, DIRECTIONS); a single row of zeros, repeated, for none."""
        if not self.shrink.any():
            return np.broadcast_to(np.zeros(DIRECTIONS, dtype), (len(X), DIRECTIONS))
        n_features = X.shape[1]
        Q = np.zeros((DIRECTIONS, padded(n_features, dtype.itemsize)), dtype)
        Q[:, :n_features] = self.Q
        Y = np.empty((len(X), DIRECTIONS), dtype)
        arguments = views.as_rows(X), len(X), n_features, *scaling.like(X), Q, Y
        parallel = pays_to_share(len(X), DIRECTIONS, n_features)
        launch(project_rows, *arguments, parallel=parallel)
        return Y


def no_directions(n_features: int) -> Directions:
    """Steps as the gradient has them."""
    return Directions(np.zeros((DIRECTIONS, n_features)), np.zeros(DIRECTIONS), 1.0)


class Curvature(NamedTuple):
    """How strongly the mean loss bends along the steps, by a sample of rows: see `docs/math.md`."""

    whole: float  # half a bound of the largest eigenvalue of the mean of (u, 1)(u, 1)'
    single: float  # half the mean of |(u, 1)|**2

    def of_batches(self, batch_size: int) -> float:
        """What a step on the mean of `batch_size` rows has to reckon with."""
        return self.whole + self.single / batch_size


def curvature(
    samples: RowsOfSteps, scaling: Scaling, *, shorten: bool, l2: float = 0.0
) -> tuple[Curvature, Directions]:
    """Both from evenly spaced rows; with `shorten`, the curvature is that of shortened steps.

    The rows are taken from those of weights above zero.
    """
    n_features = samples.n_features
    width = n_features + 1
    n_read = min(_MANY_ROWS, max(_SHORT_SIZE // width, _FEW_ROWS), max(_LONG_SIZE // width, 16))
    sample = samples.spaced(n_read)
    a = sample.weight / sample.weight.sum()
    U = np.zeros((len(a), padded(max(n_features, 1), 8)))
    scaling.apply(sample.X, U[:, :n_features])
    directions = no_directions(n_features)
    square = float((a * np.einsum("nd,nd->n", U, U)).sum())
    if not square < 1e150:  # its square, below, would overflow
        return Curvature(0.5 * (square + 1), 0.5 * (square + 1)), directions
    Q, values = _leading(U, a, DIRECTIONS + 1 if shorten else 1)
    mean = np.einsum("n,nd->d", a, U)
    largest, mean_square = float(values[0]), float(np.einsum("d,d->", mean, mean))
    if shorten and largest > 0:
        directions = _steep(Q[:, :n_features], values, l2)
        largest = min(largest, directions.level)
        # of rows whose plain steps are the shortened ones: along q_j by the root of 1 - shrink_j
        along = np.einsum("jd,d->j", Q[:DIRECTIONS], mean)
        square -= float((directions.shrink * values[:DIRECTIONS]).sum())
        mean_square = max(mean_square - float((directions.shrink * along**2).sum()), 0)
    return _bend(square, largest, mean_square, directions.bias_step), directions


def sparse_curvature(samples: Samples | StreamedSamples, centre: Array) -> tuple[Curvature, float]:
    """(the curvature, what is left of a step of the biases) of scaled rows less `centre`.

    From evenly spaced rows of weights above zero, and products of pairs of these. Only steps of the
    biases are shortened, whose curvature of 1 is far above that of features that few rows have.
    """
    n_read = int(_SPARSE_ENTRIES * samples.n_rows / max(samples.n_entries, 1))
    sample = samples.spaced(min(max(n_read, _FEW_ROWS), _MANY_ROWS))
    X, a = sample.X, sample.weight / sample.weight.sum()
    root, x = np.sqrt(a), X.data.astype(np.float64)
    present, columns = np.unique(X.indices, return_inverse=True)
    numbers, n_rows = X.row_numbers(), len(X)
    along: Array = np.zeros(n_rows)  # u'centre
    constant = 0.0  # centre'centre
    if centre.size:
        along = np.bincount(numbers, x * centre[X.indices], n_rows)
        constant = float(np.einsum("d,d->", centre, centre))

    def products(z: Array) -> Array:
        """U U' z, of centred rows U."""
        q = np.bincount(columns, x * z[numbers], len(present))
        result = np.bincount(numbers, x * q[columns], n_rows)
        total = float(z.sum())
        centred: Array = (
            result - along * total + (constant * total - float(np.einsum("n,n->", along, z)))
        )
        return centred

    with np.errstate(over="ignore", invalid="ignore"):
        square = float((a * (np.bincount(numbers, x * x, n_rows) - 2 * along)).sum()) + constant
        if not square < 1e150:  # its square, below, would overflow
            return Curvature(0.5 * (square + 1), 0.5 * (square + 1)), 1.0
    z, largest = np.random.default_rng(0).standard_normal(n_rows), 0.0
    for _ in range(_ITERATIONS):
        length = float(np.sqrt(np.einsum("n,n->", z, z)))
        if length == 0:
            break
        z /= length
        new = root * products(root * z)
        largest = max(largest, float(np.einsum("n,n->", z, new)))
        z = new
    bias = min(largest, 1.0) if largest > 0 else 1.0
    return _bend(square, largest, float(np.einsum("n,n->", a, products(a))), bias), bias


def _bend(square: float, largest: float, mean_square: float, bias: float) -> Curvature:
    """Of the mean squares of rows, the largest of directions, and the square of the mean row."""
    single = 0.5 * (square + bias)
    whole = 0.25 * (largest + bias + math.sqrt((largest - bias) ** 2 + 4 * bias * mean_square))
    return Curvature(min(whole, single), single)


def _steep(Q: Array, values: Array, l2: float) -> Directions:
    """The directions above the next one's curvature, which steps along them are shortened to.

    At most half of all; those that have nothing beside the first are not counted. The penalty
    bends all directions alike, so that none need be shortened further.
    """
    n = min(DIRECTIONS, Q.shape[1] // 2, int((values > _NOTHING * values[0]).sum()) - 1)
    level = max(float(values[n]), 2 * l2)
    shrink = np.zeros(DIRECTIONS)
    shrink[:n] = 1 - level / np.maximum(values[:n], level)
    return Directions(np.where(shrink[:, None] > 0, Q[:DIRECTIONS], 0), shrink, level)


def _leading(U: Array, a: Array, n: int) -> tuple[Array, Array]:
    """(orthonormal directions (n, D) of U, the mean of (u'q)**2 of each), the largest first."""
    width = U.shape[1]
    Q = _somewhere_short(n, width).copy() if n * width <= _SHORT_START else _somewhere(n, width)
    Q[:, ~U.any(axis=0)] = 0
    products = np.empty_like(Q)
    launch(leading_directions, U, a, _ITERATIONS, products, Q, parallel=False)
    second_moment = np.einsum("id,jd->ij", Q, products)
    if n == 1:
        return Q, np.maximum(second_moment[0], 0)
    # the best within their span (Rayleigh and Ritz)
    values, mixture = np.linalg.eigh(second_moment)
    Q = np.einsum("ij,id->jd", mixture[:, ::-1], Q)
    return Q, np.maximum(values[::-1], 0)


def _somewhere(n: int, width: int) -> Array:
    """Directions to begin with, the same ones each time."""
    return np.random.default_rng(0).standard_normal((n, width))


# Seeding takes as long as all else on a few rows.
_somewhere_short = lru_cache(maxsize=8)(_somewhere)
