"""The penalty chosen by cross-validation: for each fold, a path of optima from strong to weak."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import check_scoring, log_loss, make_scorer
from sklearn.model_selection import check_cv

from fastsoftmax import validation as check
from fastsoftmax.sklearn.common import checked_weight, is_verbose, of_classes, weights
from fastsoftmax.sklearn.regression import SoftmaxRegression
from fastsoftmax.sklearn.solved import Solved, inverse_strength, l2_of
from fastsoftmax.solvers import fit_path
from fastsoftmax.training import data

Array = npt.NDArray[Any]


class SoftmaxRegressionCV(Solved):
    """Softmax regression whose C is chosen by cross-validation.

    X is read where it lies: rows outside a fold have a weight of zero. In each fold, the optimum
    for one C is where the next begins.

    Parameters
    ----------
    Cs : int or array_like, (P,)
        What to choose from; a number stands for so many from 1e-4 to 1e4, evenly in their
        logarithms.
    cv : int, splitter or iterable of (train, test), optional
        Folds: a number of stratified ones (None is 5), or as scikit-learn's GridSearchCV takes
        them. A row that is named twice to train on counts twice.
    scoring : str, callable or None
        The name of one of scikit-learn's scorers, or what is called as
        ``scoring(classifier, X, y)``, with ``sample_weight=`` where `fit` was given one, and
        returns a number, higher ones better. None is the accuracy.
    refit : bool
        Solve for the chosen C on all rows. False leaves the scores, and no model.
    rule : "best" or "one_standard_error"
        Choose the C of the best mean score, or the smallest whose mean score is no more than a
        standard error below it. Of equals, the smallest is taken.
    tol, fit_intercept, standardize, class_weight, label_smoothing, max_iter
        As in SoftmaxRegression; `max_iter` is for each C. Weights of classes are not for scores.
    penalty, l1_ratios, dual, solver, multi_class, use_legacy_attributes
        LogisticRegressionCV's, accepted where they ask for what is done here.
    verbose : int or bool
        Above 0, `fit` prints a line for each fold, and for each step of the last solution.
    intercept_scaling, random_state, n_jobs
        Accepted and ignored.

    Attributes
    ----------
    C_ : float
        The one chosen.
    Cs_ : ndarray, (P,)
        Those tried, in ascending order.
    scores_ : ndarray, (folds, P)
    mean_scores_, standard_errors_ : ndarray, (P,)
        Over the folds; those with a score that is NaN left out.
    n_iter_ : ndarray of int32, (folds, P)
        The passes over X.
    classes_, coef_, intercept_, model_, objective_, dual_gap_, n_features_in_, feature_names_in_
        Of the model for `C_`; see SoftmaxRegression.

    Notes
    -----
    A class that no row of a fold has to train on gets a probability of 0 there. The cost of that
    to a score is the same for each C.

    Examples
    --------
    >>> from fastsoftmax.sklearn import SoftmaxRegressionCV
    >>> X, y = [[-2.0], [-1.0], [1.0], [2.0]], ["no", "no", "yes", "yes"]
    >>> model = SoftmaxRegressionCV([0.01, 1.0], cv=2).fit(X, y)
    >>> model.C_, model.scores_.shape
    (1.0, (2, 2))
    """

    C_: float
    Cs_: Array
    scores_: Array
    mean_scores_: Array
    standard_errors_: Array
    n_iter_: Array

    def __init__(
        self,
        Cs: Any = 10,
        *,
        cv: Any = 5,
        scoring: Any = "neg_log_loss",
        refit: bool = True,
        rule: str = "best",
        tol: float = 1e-4,
        fit_intercept: bool = True,
        standardize: bool = False,
        class_weight: Any = None,
        label_smoothing: float = 0.0,
        max_iter: int = 1000,
        penalty: str | None = "l2",
        l1_ratios: Any = None,
        dual: bool = False,
        intercept_scaling: float = 1.0,
        solver: str = "lbfgs",
        multi_class: str = "auto",
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
        use_legacy_attributes: bool | str = False,
    ) -> None:
        self.Cs = Cs
        self.cv = cv
        self.scoring = scoring
        self.refit = refit
        self.rule = rule
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.standardize = standardize
        self.class_weight = class_weight
        self.label_smoothing = label_smoothing
        self.max_iter = max_iter
        self.penalty = penalty
        self.l1_ratios = l1_ratios
        self.dual = dual
        self.intercept_scaling = intercept_scaling
        self.solver = solver
        self.multi_class = multi_class
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.use_legacy_attributes = use_legacy_attributes

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None
    ) -> SoftmaxRegressionCV:
        """Choose C on X (N, D), labels y (N,) and weights (N,), and solve for it.

        `groups` (N,) is handed to the splitter. Weights count in the fits and in the scores.

        Raises
        ------
        TypeError, ValueError
            As `SoftmaxRegression.fit`; also if a fold has no row to train on, or no fold has a
            score.
        TrainingInterrupted
            A KeyboardInterrupt. Whatever is raised, the classifier stays as it was.

        Warns
        -----
        ConvergenceWarning
            If the relative gap of some solution is above `tol`.
        """
        return self._become(copy.copy(self)._fit(X, y, sample_weight, groups))

    def _fit(self, X: Any, y: Any, sample_weight: Any, groups: Any) -> SoftmaxRegressionCV:
        check.choice(self.rule, "rule", ("best", "one_standard_error"))
        refit = check.flag(self.refit, "refit")
        Cs = self._inverse_strengths()
        X, y, classes = self._samples(X, y, sample_weight, reset=True)
        sample_weight = None if sample_weight is None else checked_weight(sample_weight, X)
        class_weight = of_classes(self.class_weight, classes)
        folds = list(check_cv(self.cv, y, classifier=True).split(X, y, groups))
        self.classes_ = classes
        self._score_folds(X, y, classes, Cs, sample_weight, class_weight, folds)
        self._choose()
        if refit:
            weight = weights(X, y, classes, sample_weight, class_weight)
            self._solve(X, y, classes, weight, self.C_)
        elif hasattr(self, "model_"):
            del self.model_, self.objective_, self.dual_gap_  # of an earlier call
        return self

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The score of samples X (N, D), labels y (N,) and weights (N,), by `scoring`."""
        self._raise_unless_fitted()
        if self.scoring is None:
            return float(super().score(X, y, sample_weight))
        return _score(self._scorer(self.classes_), self, X, y, sample_weight)

    def _raise_unless_fitted(self) -> None:
        if hasattr(self, "C_") and not hasattr(self, "model_"):
            raise NotFittedError(
                "there is no model after a fit with refit=False: fit SoftmaxRegression"
                f"({self.C_:g}), or with refit=True"
            )
        super()._raise_unless_fitted()

    def _raise_unless_meant(self) -> None:
        super()._raise_unless_meant()
        if self.penalty is None:
            raise ValueError("penalty=None leaves no C to choose: use SoftmaxRegression")
        none = self.l1_ratios is None or isinstance(self.l1_ratios, str)
        if not none and np.any(check.real_array(self.l1_ratios, "l1_ratios") != 0):
            raise ValueError(f"l1_ratios must be 0 or None: there is no l1, got {self.l1_ratios!r}")
        if self.use_legacy_attributes is True:
            raise ValueError("use_legacy_attributes=True is not here: C_ is a number")

    def _inverse_strengths(self) -> Array:
        """Cs (P,), ascending."""
        if np.ndim(self.Cs) == 0:
            return np.logspace(-4, 4, check.integer(self.Cs, "Cs", 1))
        Cs = check.real_array(self.Cs, "Cs")
        if Cs.ndim != 1 or not Cs.size:
            raise ValueError(f"Cs must have shape (n_Cs,), at least one, got {Cs.shape}")
        return np.sort([inverse_strength(C, f"Cs[{i}]") for i, C in enumerate(Cs.tolist())])

    def _scorer(self, classes: Array) -> Any:
        if self.scoring == "neg_log_loss":  # whose rows may lack a class
            return make_scorer(
                log_loss, greater_is_better=False, response_method="predict_proba", labels=classes
            )
        return check_scoring(SoftmaxRegression(), scoring=self.scoring)

    def _score_folds(
        self,
        X: Array,
        y: Array,
        classes: Array,
        Cs: Array,
        sample_weight: Array | None,
        class_weight: Any,
        folds: list[tuple[Any, Any]],
    ) -> None:
        """`scores_` and `n_iter_`."""
        dtype = check.precision_of(X)
        numbers, _ = data.encode(y, X.shape[0], classes, dtype)
        scorer, options, every = self._scorer(classes), self._options(), np.arange(len(classes))
        judge = SoftmaxRegression()
        judge.classes_, judge.n_features_in_ = classes, X.shape[1]
        scores, n_iter = np.empty((2, len(folds), len(Cs)))
        gaps, verbose = [], is_verbose(self.verbose)
        for fold, (train, test) in enumerate(folds):
            weight = _weight_of_rows(train, X.shape[0], fold)
            if sample_weight is not None:
                weight *= sample_weight
            if not weight.any():
                raise ValueError(f"fold {fold} of cv has no row to train on that counts")
            if class_weight is not None:
                weight *= data.weight_by_class(class_weight, numbers, classes, weight)[numbers]
            total_weight = check.weight_of_rows(weight)
            l2s = [l2_of(C, len(classes), total_weight, dtype) for C in Cs]
            path = fit_path(X, numbers, classes=every, sample_weight=weight, l2s=l2s, **options)
            held_out = X[test], y[test], None if sample_weight is None else sample_weight[test]
            for at, result in enumerate(path.results):
                judge.model_ = result.model
                scores[fold, at] = _score(scorer, judge, *held_out)
                n_iter[fold, at] = math.ceil(result.n_passes)
                gaps += [] if result.converged else [result.gap]
            if verbose:
                worst, best = scores[fold].min(), scores[fold].max()
                span = f"scores from {worst:.4g} to {best:.4g}"
                print(f"fold {fold + 1} of {len(folds)}: {span}", flush=True)
        if gaps:
            warnings.warn(
                f"{len(gaps)} of {scores.size} solutions in the folds are not within tol="
                f"{self.tol:g}, but a relative gap of up to {max(gaps):.1e}: raise max_iter or "
                "tol, lower Cs, or scale the features",
                ConvergenceWarning,
                stacklevel=4,
            )
        self.Cs_, self.scores_, self.n_iter_ = Cs, scores, n_iter.astype(np.int32)

    def _choose(self) -> None:
        """`C_`, by the rule."""
        scores = self.scores_[~np.isnan(self.scores_).any(axis=1)]
        fewest = 2 if self.rule == "one_standard_error" else 1
        if len(scores) < fewest:
            raise ValueError(
                f"rule={self.rule!r} needs scores of {fewest} folds or more, got {len(scores)} of "
                f"{len(self.scores_)} without NaN"
            )
        self.mean_scores_ = scores.mean(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):  # of one fold
            deviation = np.sqrt(((scores - self.mean_scores_) ** 2).sum(axis=0) / (len(scores) - 1))
        self.standard_errors_ = deviation / math.sqrt(len(scores))
        chosen = int(self.mean_scores_.argmax())
        if self.rule == "one_standard_error":
            enough = self.mean_scores_[chosen] - self.standard_errors_[chosen]
            chosen = int((self.mean_scores_ >= enough).argmax())
        self.C_ = float(self.Cs_[chosen])


def _weight_of_rows(train: Any, n_rows: int, fold: int) -> Array:
    """How often each row (N,) is trained on, by the rows' numbers or a mask."""
    train = np.asarray(train)
    numbers = np.flatnonzero(train) if train.dtype == np.bool_ else train.astype(np.int64)
    odd = numbers[(numbers < 0) | (numbers >= n_rows)]
    if odd.size:
        raise ValueError(f"fold {fold} of cv trains on row {odd[0]}, which is not in [0, {n_rows})")
    return np.bincount(numbers, minlength=n_rows).astype(np.float64)


def _score(scorer: Callable[..., Any], classifier: Any, X: Any, y: Any, weight: Any) -> float:
    score = scorer(classifier, X, y, **({} if weight is None else {"sample_weight": weight}))
    if np.ndim(score) != 0 or isinstance(score, (str, dict)):
        raise TypeError(f"scoring must return a number, got {score!r}")
    return float(score)
