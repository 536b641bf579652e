"""What the classifiers share that are solved to an optimum: arguments, C, and the solving."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.multiclass import check_classification_targets

from fastsoftmax import validation as check
from fastsoftmax.sklearn.common import Classifier, is_verbose, two_or_more
from fastsoftmax.solvers import FitResult, fit

Array = npt.NDArray[Any]

_SOLVERS = ("lbfgs", "newton-cg", "newton-cholesky", "sag", "saga")


class Solved(Classifier):
    """What a classifier shares that is solved for, and whose penalty is a C."""

    # Parameters
    tol: float
    fit_intercept: bool
    standardize: bool
    class_weight: Any
    label_smoothing: float
    max_iter: int
    verbose: int

    objective_: float
    dual_gap_: float

    def _samples(self, X: Any, y: Any, sample_weight: Any, *, reset: bool) -> tuple[Array, ...]:
        """(X, y, the classes), checked."""
        check.raise_if_masked(X=X, y=y, sample_weight=sample_weight)
        self._raise_unless_meant()
        X, y = self._validated(X, y, reset=reset)
        check_classification_targets(y)
        return X, y, two_or_more(np.unique(y))

    def _raise_unless_meant(self) -> None:
        """What LogisticRegression's arguments ask for is what is done here."""
        parameters = self.get_params(deep=False)
        penalty, solver = parameters["penalty"], parameters["solver"]
        if not (penalty is None or penalty in ("l2", "deprecated")):
            raise ValueError(f"penalty must be 'l2' or None, the only ones here, got {penalty!r}")
        if solver == "liblinear":
            raise ValueError(
                "solver='liblinear' penalises the intercept, which is not done here: leave it out"
            )
        check.choice(solver, "solver", _SOLVERS)
        if check.flag(parameters["dual"], "dual"):
            raise ValueError("dual=True belongs to solver='liblinear', which is not here")
        if parameters["multi_class"] == "ovr":
            raise ValueError(
                "multi_class='ovr' is a model for each class, which is not done here: put the "
                "classifier into a OneVsRestClassifier"
            )
        check.choice(
            parameters["multi_class"], "multi_class", ("deprecated", "auto", "multinomial")
        )

    def _options(self) -> dict[str, Any]:
        """What `fit` and `fit_path` are told."""
        return {
            "label_smoothing": self.label_smoothing,
            "standardize": self.standardize,
            "fit_intercept": self.fit_intercept,
            "tol": self.tol,
            "max_passes": check.integer(self.max_iter, "max_iter", 1),
        }

    def _solve(
        self, X: Array, y: Array, classes: Array, weight: Array, C: float, init: Any = None
    ) -> FitResult:
        """The optimum, learnt."""
        result = fit(
            X,
            y,
            classes=classes,
            sample_weight=weight,
            l2=l2_of(C, len(classes), check.weight_of_rows(weight), check.precision_of(X)),
            init=init,
            feature_names=getattr(self, "feature_names_in_", None),
            progress=self._progress(),
            **self._options(),
        )
        self._learn(classes, result, stacklevel=5)
        return result

    def _progress(self) -> Any:
        return _show if is_verbose(self.verbose) else False

    def _learn(self, classes: Array, result: FitResult, stacklevel: int) -> None:
        self.classes_, self.model_ = classes, result.model
        self.objective_, self.dual_gap_ = result.objective, result.gap
        if not result.converged:
            warnings.warn(self._excuse(result), ConvergenceWarning, stacklevel=stacklevel)

    def _excuse(self, result: FitResult) -> str:
        """Why the tolerance is not kept, and what to do."""
        if result.stopped == "separable":
            return (
                "there is no optimum without a penalty: ever larger coefficients separate the "
                "classes better; give a finite C"
            )
        gap = f"a relative gap of {result.gap:.1e}, above tol={self.tol:g}"
        if math.isinf(result.gap):
            gap = "no proof of how near the optimum is"
        if result.stopped == "max_passes":
            return (
                f"stopped after max_iter={self.max_iter} passes over X with {gap}: raise max_iter "
                "or tol, lower C, or scale the features"
            )
        better = "" if result.model.W.dtype == np.float64 else ", or give X in float64"
        return f"rounding hides what is left to gain, with {gap}: raise tol{better}"


def _show(step: int, objective: float, gap: float) -> None:
    print(f"step {step + 1}: objective {objective:.6g}, gap about {gap:.0e}", flush=True)


def inverse_strength(C: Any, name: str = "C") -> float:
    """A C, checked: above 0, infinity allowed."""
    if isinstance(C, str):
        raise TypeError(f"{name} must be a number, got {C!r}; a penalty is named, as penalty='l2'")
    none = np.ndim(C) == 0 and math.inf == C
    number = math.inf if none else check.number(C, name, 0)
    if number == 0:
        raise ValueError(f"{name} must be above 0, got {C!r}")
    return number


def l2_of(C: float, n_classes: int, total_weight: float, dtype: np.dtype[Any]) -> float:
    """The `l2` of `fit` on the mean loss that a C on the sum of losses is."""
    # W = (-w, w) / 2 has half the squares of w = w_1 - w_0
    vectors = 2.0 if n_classes == 2 else 1.0
    l2 = vectors / C / total_weight
    if l2 > float(np.finfo(dtype).max):
        raise ValueError(f"C={C:g} is too small for {dtype} and the sum of the weights")
    return l2
