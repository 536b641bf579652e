"""The optima for many penalties, each from the last."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fastsoftmax import validation as check
from fastsoftmax.model import SoftmaxModel
from fastsoftmax.solvers.fit import Setup, prepare
from fastsoftmax.solvers.result import FitProgress, FitResult, PathResult
from fastsoftmax.solvers.solve import Solve
from fastsoftmax.sources import Source, SourceError
from fastsoftmax.training import data
from fastsoftmax.training.progress import Solving, solving
from fastsoftmax.training.result import raise_with
from fastsoftmax.training.sgd import penalty

Array = npt.NDArray[Any]


def fit_path(
    X: npt.ArrayLike | Source,
    y: npt.ArrayLike | None = None,
    *,
    l2s: npt.ArrayLike,
    validation_data: Any = None,
    classes: npt.ArrayLike | None = None,
    sample_weight: npt.ArrayLike | None = None,
    class_weight: Any = None,
    label_smoothing: float = 0.0,
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
) -> PathResult:
    """Solve for several penalties, the strongest first, each from the optimum of the last.

    The moments and the Gram matrix of X are computed once, and the Hessian of one solution is what
    the steps to the next begin with.

    Parameters
    ----------
    X, y, and what is not listed here
        As in `fit`; the limits are those of each penalty, and a callback that stops one stops all.
    l2s : array_like, (P,)
        The penalties, at least one, in any order.
    validation_data : (X, y) or (X, y, sample_weight), optional
        To measure the loss and the accuracy of each model on.

    Returns
    -------
    PathResult

    Raises
    ------
    TypeError, ValueError
        As `fit`.
    TrainingInterrupted
        A KeyboardInterrupt that carries the PathResult of the penalties done.

    Examples
    --------
    >>> import fastsoftmax
    >>> X, y = [[-2.0], [-1.0], [1.0], [2.0]], ["no", "no", "yes", "yes"]
    >>> path = fastsoftmax.fit_path(X, y, l2s=[0.01, 1.0])
    >>> path.l2s
    (1.0, 0.01)
    >>> path.results[0].objective > path.results[1].objective
    True
    """
    classes = data.classes_of(classes, init)
    penalties: list[float] = []
    results: list[FitResult] = []
    scores: list[tuple[float, float]] = []
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
            penalties += _penalties(l2s, setup)
            held_out = None
            if validation_data is not None:
                expected = setup.columns or setup.feature_names
                known = setup.n_features, setup.names, setup.dtype, expected
                held_out = data.validation(validation_data, *known)
            with solving(progress, setup.limits.tol) as tell:
                setup.limits.progress = tell
                _solve_all(setup, penalties, held_out, results, scores)
        return _gathered(penalties, results, scores)
    except (KeyboardInterrupt, SourceError) as error:
        if not penalties:
            raise
        raise_with(error, _gathered(penalties, results, scores))


def _solve_all(
    setup: Setup,
    penalties: list[float],
    held_out: data.Validation | None,
    results: list[FitResult],
    scores: list[tuple[float, float]],
) -> None:
    """One penalty after another, each from the last."""
    solve: Solve | None = None
    solved: list[tuple[float, Array]] = []  # the last two penalties, with their parameters
    for l2 in penalties:
        guess = _extrapolated(solved, l2)
        solve = setup.solve(l2, solve, guess)
        result = solve.run()
        solved = [*solved[-1:], (l2, solve.parameters)]
        if held_out is not None:
            scores.append(held_out.measure(result.model))
        results.append(result)
        if result.stopped == "callback":
            break


def _penalties(l2s: Any, setup: Setup) -> list[float]:
    """The penalties, checked, strongest first."""
    array = check.real_array(l2s, "l2s")
    if array.ndim != 1 or not array.size:
        raise ValueError(f"l2s must have shape (n_penalties,), at least one, got {array.shape}")
    numbers = [check.number(value, f"l2s[{i}]", 0) for i, value in enumerate(array.tolist())]
    return sorted((penalty(l2, 1.0, setup.dtype) for l2 in numbers), reverse=True)


def _extrapolated(solved: list[tuple[float, Array]], l2: float) -> Array | None:
    """Where the optimum goes on to from the last two, in the logarithm of the penalty."""
    if len(solved) < 2 or not l2 < solved[1][0] < solved[0][0]:
        return None
    (first, before), (second, last) = solved
    share = math.log(max(l2, np.finfo(np.float64).tiny) / second) / math.log(second / first)
    return last + min(share, 1.0) * (last - before)


def _gathered(
    penalties: list[float], results: list[FitResult], scores: list[tuple[float, float]]
) -> PathResult:
    done = len(results)  # a score may be one ahead
    losses, accuracies = zip(*scores[:done], strict=True) if scores[:done] else ((), ())
    return PathResult(tuple(penalties[:done]), tuple(results), losses, accuracies)
