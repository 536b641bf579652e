"""What the steps of `fit_sgd` train on and what takes them, for dense rows and for sparse ones."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastsoftmax import validation as check
from fastsoftmax.training.columns import Scaling
from fastsoftmax.training.curvature import (
    Curvature,
    Directions,
    curvature,
    no_directions,
    sparse_curvature,
)
from fastsoftmax.training.optimizer import Optimizer
from fastsoftmax.training.samples import RowsOfSteps, Samples
from fastsoftmax.training.sparse_optimizer import SparseOptimizer, scaled
from fastsoftmax.training.streamed import StreamedSamples
from fastsoftmax.training.visits import InMemory, InWindows

Array = npt.NDArray[Any]


class Task(NamedTuple):
    """What the steps train on, and what takes them."""

    samples: RowsOfSteps
    visited: InMemory | InWindows
    optimizer: Optimizer | SparseOptimizer
    rate: float
    columns: Array | None  # those of X that the weights belong to; None for all


def dense_steps(
    samples: Samples | StreamedSamples,
    W: Array,
    b: Array,
    dtype: np.dtype[Any],
    scaling: Scaling,
    rate: float | None,
    options: dict[str, Any],
    generator: np.random.Generator | None,
) -> Task:
    """Rows as they lie, and steps that are shortened along directions with the automatic rate."""
    directions = no_directions(samples.n_features)
    if rate is None:
        rate, directions = automatic_rate(samples, scaling, options["batch_size"], options["l2"])
    optimizer = Optimizer(W, b, dtype, scaling=scaling, directions=directions, **options)
    visited: InMemory | InWindows
    if isinstance(samples, Samples):
        projections = directions.project(samples.X, scaling, dtype)
        visited = InMemory(samples, projections, generator)
    else:
        visited = InWindows(
            samples,
            options["batch_size"],
            generator,
            lambda X: directions.project(X, scaling, dtype),
        )
    return Task(samples, visited, optimizer, rate, None)


def sparse_steps(
    samples: Samples | StreamedSamples,
    W: Array,
    b: Array,
    dtype: np.dtype[Any],
    scaling: Scaling,
    rate: float | None,
    options: dict[str, Any],
    generator: np.random.Generator | None,
) -> Task:
    """Rows of the columns that have entries or weights, numbered anew; the others stay zero.

    Rows that are not in memory are as they are.
    """
    samples.raise_if_non_finite()
    columns = None
    if isinstance(samples, Samples):
        X, columns = samples.X.without_empty_columns(W.any(axis=1))
        W = W[columns]
        if scaling.centre.size:
            scaling = Scaling(*(array[columns] for array in scaling))
        samples = samples._replace(X=scaled(X, scaling))
    bias_step = 1.0
    if rate is None:
        bend, bias_step = curvature_of_sparse_batches(samples, scaling, options["batch_size"])
        bend += options["l2"]
        rate = 1 / bend if bend > 0 else 1.0
    optimizer = SparseOptimizer(
        W,
        b,
        dtype,
        scaling=scaling,
        n_entries=samples.n_entries / samples.n_rows,
        bias_step=bias_step,
        **options,
    )
    visited: InMemory | InWindows
    if isinstance(samples, Samples):
        visited = InMemory(samples, None, generator)
    else:
        visited = InWindows(samples, options["batch_size"], generator)
    return Task(samples, visited, optimizer, rate, columns)


def automatic_rate(
    samples: RowsOfSteps, scaling: Scaling, batch_size: int, l2: float
) -> tuple[float, Directions]:
    """1 over the curvature of the mean loss of a batch, and where steps are shortened for it."""
    bend, directions = curvature_of_batches(samples, scaling, batch_size, shorten=True, l2=l2)
    bend += l2
    return (1 / bend if bend > 0 else 1.0), directions


def curvature_of_batches(
    samples: RowsOfSteps,
    scaling: Scaling,
    batch_size: int,
    *,
    shorten: bool = False,
    l2: float = 0.0,
) -> tuple[float, Directions]:
    """The curvature of the mean loss of a batch, without the penalty; as `curvature`.

    A batch of all rows has that of the whole, which no repeated row or equal weight changes.
    """
    estimate, directions = curvature(samples, scaling, shorten=shorten, l2=l2)
    return _of_batches(estimate, samples, batch_size), directions


def curvature_of_sparse_batches(
    samples: Samples | StreamedSamples, scaling: Scaling, batch_size: int
) -> tuple[float, float]:
    """(the curvature of the mean loss of a batch, what is left of a step of the biases).

    The rows are `scaled`.
    """
    centre = scaling.centre * scaling.scale
    estimate, bias_step = sparse_curvature(samples, centre)
    return _of_batches(estimate, samples, batch_size), bias_step


def _of_batches(estimate: Curvature, samples: RowsOfSteps, batch_size: int) -> float:
    whole = batch_size >= samples.n_rows
    bend = estimate.whole if whole else estimate.of_batches(batch_size)
    bend *= samples.total_target / samples.total_weight
    if not np.isfinite(bend):
        samples.raise_if_non_finite()
        check.raise_non_finite("the squares of X", samples.precision)
    return bend
