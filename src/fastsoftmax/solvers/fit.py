"""The optimum of one problem."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fastsoftmax import validation as check
from fastsoftmax.csr import CSR
from fastsoftmax.functional.sparse import Columns
from fastsoftmax.model import SoftmaxModel
from fastsoftmax.solvers.factors import Factors, Shared
from fastsoftmax.solvers.folding import Folding, in_fewer_columns
from fastsoftmax.solvers.lbfgs import LBFGS
from fastsoftmax.solvers.newton import NewtonCG
from fastsoftmax.solvers.objective import FEWEST_ROWS, Objective
from fastsoftmax.solvers.result import FitProgress, FitResult
from fastsoftmax.solvers.solve import Limits, Solve
from fastsoftmax.solvers.sums import TargetSums, targets_of
from fastsoftmax.sources import Source, SourceError
from fastsoftmax.training import data
from fastsoftmax.training.columns import (
    Moments,
    Scaling,
    moments,
    raise_if_out_of_scale,
    standard_scaling,
    standardizes,
)
from fastsoftmax.training.progress import Solving, solving
from fastsoftmax.training.result import raise_with
from fastsoftmax.training.sgd import penalty
from fastsoftmax.training.streamed import StreamedSamples

Array = npt.NDArray[Any]

# The bias of a class that no target asks for: its optimum is minus infinity. The other logits have
# a mean of 0, so that the largest is no less, and exp(-1000) is 0 in float64.
_NEVER = -1000.0

# Sparse rows with so few cells, zeros included, are solved for as dense ones.
SMALL = 2**13


def fit(
    X: npt.ArrayLike | Source,
    y: npt.ArrayLike | None = None,
    *,
    classes: npt.ArrayLike | None = None,
    sample_weight: npt.ArrayLike | None = None,
    class_weight: Any = None,
    label_smoothing: float = 0.0,
    l2: float | Literal["auto"] = "auto",
    standardize: bool | Literal["auto"] = "auto",
    fit_intercept: bool = True,
    tol: float = 1e-4,
    max_passes: float = 1000,
    time_limit: float | None = None,
    init: SoftmaxModel | None = None,
    dtype: npt.DTypeLike | None = None,
    feature_names: Sequence[str] | None = None,
    callback: Callable[[FitProgress], Any] | None = None,
    progress: bool | Solving = False,
) -> FitResult:
    """Solve softmax regression, and prove how near the optimum is.

    Minimises what `fit_sgd` minimises, the mean cross-entropy plus ``l2 / 2 * ||W||**2``, and stops
    when the objective is above a lower bound on its optimum by at most `tol` times itself.

    Parameters
    ----------
    X : array_like, CSR or Source, (N, D)
        Samples in rows. float32, float64 and numbers of one or two bytes (bool, uint8, int8,
        uint16, int16, float16, bfloat16) are read where they lie, in any strides, never copied or
        changed; other real types are converted once. Of SciPy's sparse arrays and matrices CSR is
        taken, and CSC converted; a copy sorted by columns is kept meanwhile. A source
        (`fastsoftmax.sources`) takes the place of `X` and `y` and brings its weights: its rows are
        read again for each pass, within its budget of memory, and give the bits of rows in memory.
    y : array_like, (N,) or (N, K)
        Labels, strings or whole numbers (any that `classes` lists); or soft targets, rows of
        finite weights of at least 0.
    classes, sample_weight, class_weight, label_smoothing, l2, standardize, feature_names
        As in `fit_sgd`; ``standardize="auto"`` scales dense features and leaves sparse ones. With
        ``l2=0`` there may be no optimum, and there is no proof. A class that no target asks for has
        a probability of 0, but with smoothed labels or without biases.
    fit_intercept : bool
        False keeps the biases at zero; features are then not centred.
    tol : float
        The relative gap to stop at: ``(objective - lower bound) / objective``.
    max_passes : float
        Stop after so many passes over X; a last proof may add a few.
    time_limit : float, optional
        Stop after so many seconds; likewise.
    init : SoftmaxModel, optional
        To start from; with the same features and classes. Default: zeros.
    dtype : float32 or float64, optional
        Of the steps and of the model. Default: float64 for float64 X and wider integers, else
        float32.
        What is proved is computed in float64 either way, and so are steps that float32 is too
        coarse for.
    callback : callable, optional
        Called as ``callback(progress)`` with a `FitProgress` after each step; a true result stops.
    progress : bool or callable
        True shows a bar (the extra ``fastsoftmax[cli]``). A callable is told of each step, as
        ``progress(step, objective, gap)``; this gap is an estimate.

    Returns
    -------
    FitResult

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range; if X holds a value that is not finite
        (the text names the cell) or, with `standardize`, a column whose variance is beyond float64
        or whose standard deviation is beyond what weights in `dtype` can make up for.
    TrainingInterrupted
        A KeyboardInterrupt that carries the result so far.

    Notes
    -----
    L-BFGS on centred features, its first matrix the inverse of the Gram matrix or of the Hessian;
    for sparse X, Newton's method with conjugate gradients: docs/optimum.md. The bound is that of
    docs/math.md, "A certificate". The same bits come out for any number of threads.

    Examples
    --------
    >>> import fastsoftmax
    >>> result = fastsoftmax.fit([[-2.0], [-1.0], [1.0], [2.0]], ["no", "no", "yes", "yes"])
    >>> result.converged, result.gap <= 1e-4
    (True, True)
    >>> result.model.predict([[-3.0], [3.0]])
    array(['no', 'yes'], dtype='<U3')
    """
    classes = data.classes_of(classes, init)
    solve: Solve | None = None
    try:
        with data.opened(X, y, classes, sample_weight, class_weight, dtype) as given:
            setup = prepare(
                given,
                label_smoothing=label_smoothing,
                standardize=standardize,
                fit_intercept=fit_intercept,
                tol=tol,
                max_passes=max_passes,
                time_limit=time_limit,
                init=init,
                feature_names=feature_names,
                callback=callback,
            )
            factor = penalty(l2, setup.total_weight, setup.dtype)
            with solving(progress, setup.limits.tol) as tell:
                setup.limits.progress = tell
                solve = setup.solve(factor)
                return solve.run()
    except (KeyboardInterrupt, SourceError) as error:
        if solve is None or not solve.has_begun:
            raise
        raise_with(error, solve.result())


@dataclass
class Setup:
    """Checked arguments, and what solutions for all penalties share."""

    samples: Any  # with targets for the classes to solve for
    total_weight: float  # in the caller's units
    names: Array  # of all classes
    solved: Array  # which of them some target asks for, (K,) bool
    feature_names: tuple[str, ...] | None
    columns: tuple[str, ...] | None  # of X, where it is a frame
    dtype: np.dtype[Any]
    scaling: Scaling
    moments: Moments
    label_smoothing: float
    intercept: bool
    limits: Limits
    first: tuple[Array, Array]  # W, b to start from
    targets: TargetSums
    entries: Columns | None  # of sparse rows
    folding: Folding | None  # of their columns
    shared: Shared = field(default_factory=Shared)

    @property
    def n_features(self) -> int:
        """Those of X."""
        return self.samples.n_features if self.folding is None else self.folding.n_features

    def solve(self, l2: float, last: Solve | None = None, guess: Array | None = None) -> Solve:
        """The solution for a penalty, yet to be run.

        It begins at the first weights; or at the last solution or a guess, whichever is better.
        """
        objective = Objective(
            self.samples,
            int(np.count_nonzero(self.solved)),
            self.scaling,
            self.moments,
            l2=l2,
            label_smoothing=self.label_smoothing,
            intercept=self.intercept,
            targets=self.targets,
            columns=self.entries,
        )
        steps: LBFGS | NewtonCG
        if self.entries is None:
            steps = LBFGS(objective, Factors(objective, self.shared))
        else:
            steps = NewtonCG(objective, self.limits.tol)
        common = self.dtype, self.limits, self.make_model
        if last is None:
            start = objective.from_model(*self.first)
            start = start - start.mean(axis=0)  # what all classes share is only penalised
            return Solve(objective, steps, start, *common)
        if isinstance(steps, LBFGS) and isinstance(last.steps, LBFGS):
            steps.go_on_from(last.steps)
        at_start = last.loss + objective.penalty(last.parameters)
        return Solve(objective, steps, last.parameters, *common, guess, at_start)

    def make_model(self, W: Array, b: Array) -> SoftmaxModel:
        """Of the weights of the columns and classes that were solved for."""
        if self.folding is not None:
            W = self.folding.unfold(W)
        if not self.solved.all():
            V, c = W, b
            W = np.zeros((len(V), len(self.names)), V.dtype)
            b = np.full(len(self.names), _NEVER, c.dtype)
            W[:, self.solved], b[self.solved] = V, c
        return SoftmaxModel(W, b, self.names, self.feature_names)


def prepare(
    given: data.Given,
    *,
    label_smoothing: Any,
    standardize: Any,
    fit_intercept: Any,
    tol: Any,
    max_passes: Any,
    time_limit: Any,
    init: Any,
    feature_names: Any,
    callback: Any,
) -> Setup:
    """The arguments of `fit`, checked."""
    samples, names, compute_dtype, columns = given
    if isinstance(samples, StreamedSamples):
        samples.raise_for_sparse("fit")
    total_weight, samples = samples.total_weight, samples.in_units()
    n_features = samples.n_features
    intercept = check.flag(fit_intercept, "fit_intercept")
    limits = Limits(
        check.number(tol, "tol", 0),
        check.number(max_passes, "max_passes", 0),
        math.inf if time_limit is None else check.number(time_limit, "time_limit", 0),
        check.callback(callback),
    )
    label_smoothing = check.number(label_smoothing, "label_smoothing", 0, 1)
    solved = np.ones(len(names), np.bool_)
    targets = targets_of(samples, len(names))
    W, b = data.starting_weights(init, names, n_features)
    if intercept and not label_smoothing:
        samples, solved = asked_for(samples, targets)
        if not solved.all():
            W, b, targets = W[:, solved], b[solved], targets_of(samples, int(solved.sum()))
    standardize = standardizes(standardize, sparse=samples.is_sparse)
    entries, folding = None, None
    if samples.is_sparse:
        samples = samples._replace(X=small_as_dense(samples.X))
    if samples.is_sparse and not standardize:
        samples, folding = in_fewer_columns(samples)
        if folding is not None:
            W = data.no_weights(folding.size, W.shape[1]) if init is None else folding.fold(W)
    if samples.is_sparse:
        entries = Columns(samples.X, samples.weight, int(np.count_nonzero(solved)), keep=True)
    spread = moments(samples, entries)
    scaling = coordinates(samples, spread, compute_dtype, standardize, intercept)
    return Setup(
        samples,
        total_weight,
        names,
        solved,
        data.feature_names(feature_names, columns, init, n_features),
        columns,
        compute_dtype,
        scaling,
        spread,
        label_smoothing,
        intercept,
        limits,
        (W, b),
        targets,
        entries,
        folding,
    )


def small_as_dense(X: CSR) -> Any:
    """X (N, D), dense where it is small.

    Steps on it are exact, so that weights give the model of repeated rows, and take less time.
    """
    small = len(X) <= FEWEST_ROWS and len(X) * X.shape[1] <= SMALL
    return X.dense() if small else X


def asked_for(samples: Any, targets: TargetSums) -> tuple[Any, Array]:
    """(the rows with targets for some classes alone, which of all): those with a target weight.

    No biases are the best where another class is solved for: ever lower ones are better.
    """
    solved = targets.of_class > 0
    if solved.all() or not solved.any():
        return samples, np.ones_like(solved)
    return samples.for_classes(solved), solved


def coordinates(
    samples: Any,
    spread: Moments,
    dtype: np.dtype[Any],
    standardize: bool,
    intercept: bool,
) -> Scaling:
    """How features are centred and scaled, by their moments.

    Without `standardize` they are centred all the same, which moves the biases alone. Without
    biases they are not centred, and constant features are as they are.
    """
    precision = samples.precision
    if standardize:
        raise_if_out_of_scale(spread, samples, dtype)
        scaling = standard_scaling(spread, precision)
    else:
        centre = spread.mean.astype(precision).astype(np.float64)
        scaling = Scaling(centre, np.ones_like(centre))
    if not intercept:
        scaling = Scaling(np.zeros_like(scaling.centre), scaling.units)
    return scaling
