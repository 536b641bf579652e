"""Solvers of one objective, as each library's users call them.

Each takes a problem, a tolerance of its own kind and the threads, and returns weights (D, K),
biases (K,) and what it counts: passes or iterations. Nothing but the tolerance ends them: who asks
ends the process where it takes too long.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax.bench.problems import Problem

Array = npt.NDArray[Any]
Solution = tuple[Array, Array, float]

_MANY = 10_000_000


def fastsoftmax(problem: Problem, tol: float, threads: int) -> Solution:
    import fastsoftmax as fs

    fs.set_num_threads(threads)
    X, y, C = problem
    l2 = 1 / (C * len(y))
    result = fs.fit(X, y, l2=l2, standardize=False, tol=tol, max_passes=_MANY)
    return result.model.W, result.model.b, result.n_passes


def sklearn(solver: str, problem: Problem, tol: float, threads: int) -> Solution:
    from sklearn.linear_model import LogisticRegression

    return _fitted(LogisticRegression(C=problem.C, solver=solver, tol=tol, max_iter=_MANY), problem)


def sklearnex(problem: Problem, tol: float, threads: int) -> Solution:
    import daal4py
    from sklearnex.linear_model import LogisticRegression

    daal4py.daalinit(threads)
    model = LogisticRegression(C=problem.C, solver="lbfgs", tol=tol, max_iter=_MANY)
    return _fitted(model, problem)


def _fitted(model: Any, problem: Problem) -> Solution:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what could not be reached; the distance tells
        model.fit(problem.X, problem.y)
    return model.coef_.T, model.intercept_, float(np.max(model.n_iter_))


def cyanure(problem: Problem, tol: float, threads: int) -> Solution:
    from cyanure.estimators import Classifier

    model = Classifier(
        loss="multiclass-logistic",
        penalty="l2",
        lambda_1=1 / (problem.C * len(problem.y)),
        tol=tol,
        max_iter=_MANY,
        n_threads=threads,
        verbose=False,
        random_state=0,
    )
    model.fit(problem.X, problem.y)
    W, b = np.asarray(model.coef_), np.ravel(model.intercept_)
    return W if W.shape == (problem.X.shape[1], b.size) else W.T, b, float(np.max(model.n_iter_))


SOLVERS: dict[str, Callable[[Problem, float, int], Solution]] = {
    "fastsoftmax": fastsoftmax,
    "sklearn lbfgs": partial(sklearn, "lbfgs"),
    "sklearn newton-cg": partial(sklearn, "newton-cg"),
    "sklearn newton-cholesky": partial(sklearn, "newton-cholesky"),
    "sklearn saga": partial(sklearn, "saga"),
    "sklearnex lbfgs": sklearnex,
    "cyanure": cyanure,
}
WHEN_ASKED = ("sklearn saga",)  # far slower than the others on all of the problems
