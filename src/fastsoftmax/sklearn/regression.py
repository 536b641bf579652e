"""Softmax regression at its optimum, for those who come from LogisticRegression."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax import validation as check
from fastsoftmax.model import SoftmaxModel
from fastsoftmax.sklearn.common import of_classes, weights
from fastsoftmax.sklearn.solved import Solved, inverse_strength

Array = npt.NDArray[Any]


class SoftmaxRegression(Solved):
    """Softmax regression at its optimum, with the arguments of LogisticRegression.

    Minimises ``C * sum of cross-entropies + ||coef_||**2 / 2`` as scikit-learn's LogisticRegression
    does, and proves how near the minimum is.

    Parameters
    ----------
    C : float
        The inverse of the penalty's strength, above 0; ``np.inf`` for none.
    tol : float
        The relative gap to stop at: how far the objective may be above its optimum, as a share of
        it. (LogisticRegression's is the largest entry of a gradient.)
    fit_intercept : bool
    standardize : bool
        Penalise the coefficients of features scaled to variance 1, as a pipeline with a
        StandardScaler does; `coef_` is in the units of X all the same.
    class_weight : dict or "balanced", optional
        As in LogisticRegression. What a dict has for classes that `y` lacks is ignored, with a
        warning unless it has all that `y` has.
    label_smoothing : float in [0, 1]
        The share of each target that is moved to the uniform distribution.
    max_iter : int
        Passes over X, at most: 1 for a value with its gradient, half of one for logits alone. A
        last proof may add a few.
    warm_start : bool
        Let `fit` start from the last model, whose classes must be the same.
    penalty : "l2" or None
        None is ``C=np.inf``. Others are refused.
    l1_ratio, dual, solver, multi_class
        Accepted where they ask for what is done here: docs/sklearn.md has a table.
    verbose : int or bool
        Above 0, `fit` prints a line for each step.
    intercept_scaling, random_state, n_jobs
        Accepted and ignored.

    Attributes
    ----------
    classes_ : ndarray, (K,)
    coef_ : ndarray, (K, D), or (1, D) for two classes
        In the units of X. Read-only, like `intercept_`: both are made from `model_`.
    intercept_ : ndarray, (K,), or (1,) for two classes
        K of them sum to about zero.
    model_ : SoftmaxModel
        The model, which can be saved without pickle. Predictions come from it.
    objective_ : float
        The mean cross-entropy with the penalty: what is minimised, over C and the sum of weights.
    dual_gap_ : float
        How far `objective_` may be above its optimum, as a share of it: at most this. Infinite
        without a penalty.
    n_iter_ : ndarray of int32, (1,)
        The passes over X.
    n_features_in_ : int
    feature_names_in_ : ndarray, (D,)
        The columns' names, where X had such.

    Examples
    --------
    >>> from fastsoftmax.sklearn import SoftmaxRegression
    >>> X, y = [[-2.0], [-1.0], [1.0], [2.0]], ["no", "no", "yes", "yes"]
    >>> model = SoftmaxRegression().fit(X, y)
    >>> model.predict([[-3.0], [3.0]])
    array(['no', 'yes'], dtype='<U3')
    >>> bool(model.dual_gap_ <= 1e-4)
    True
    """

    n_iter_: Array

    def __init__(
        self,
        C: float = 1.0,
        *,
        tol: float = 1e-4,
        fit_intercept: bool = True,
        standardize: bool = False,
        class_weight: Any = None,
        label_smoothing: float = 0.0,
        max_iter: int = 1000,
        warm_start: bool = False,
        penalty: str | None = "l2",
        l1_ratio: float | None = None,
        dual: bool = False,
        intercept_scaling: float = 1.0,
        solver: str = "lbfgs",
        multi_class: str = "auto",
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.C = C
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.standardize = standardize
        self.class_weight = class_weight
        self.label_smoothing = label_smoothing
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.penalty = penalty
        self.l1_ratio = l1_ratio
        self.dual = dual
        self.intercept_scaling = intercept_scaling
        self.solver = solver
        self.multi_class = multi_class
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> SoftmaxRegression:
        """Solve for X (N, D), labels y (N,) and weights (N,).

        Raises
        ------
        TypeError, ValueError
            If an argument or a parameter has the wrong type, shape or range, asks for what is not
            done here, or there are fewer than two classes.
        TrainingInterrupted
            A KeyboardInterrupt that carries the result so far. Whatever is raised, the classifier
            stays as it was.

        Warns
        -----
        ConvergenceWarning
            If the relative gap is above `tol`.
        """
        return self._become(copy.copy(self)._fit(X, y, sample_weight))

    def _fit(self, X: Any, y: Any, sample_weight: Any) -> SoftmaxRegression:
        C, goes_on = self._strength(), self._goes_on()
        X, y, classes = self._samples(X, y, sample_weight, reset=not goes_on)
        init = self._init(classes)
        class_weight = of_classes(self.class_weight, classes)
        weight = weights(X, y, classes, sample_weight, class_weight)
        result = self._solve(X, y, classes, weight, C, init)
        self.n_iter_ = np.array([math.ceil(result.n_passes)], np.int32)
        return self

    def _strength(self) -> float:
        """The C that is asked for."""
        if self.l1_ratio not in (None, 0):
            raise ValueError(f"l1_ratio must be 0 or None: there is no l1, got {self.l1_ratio!r}")
        return math.inf if self.penalty is None else inverse_strength(self.C)

    def _goes_on(self) -> bool:
        return check.flag(self.warm_start, "warm_start") and hasattr(self, "model_")

    def _init(self, classes: Array) -> SoftmaxModel | None:
        """The model to go on from, if that is asked for."""
        if not self._goes_on():
            return None
        if not np.array_equal(classes, self.classes_):
            raise ValueError("warm_start needs the classes of the last fit")
        return self.model_
