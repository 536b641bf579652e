"""What classifiers share: predictions of a model, weights, and learning all or nothing."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from fastsoftmax import functional
from fastsoftmax import validation as check
from fastsoftmax.labels import class_array, raise_unless_alike
from fastsoftmax.model import SoftmaxModel
from fastsoftmax.training import data

Array = npt.NDArray[Any]

# What is read where it lies: scikit-learn makes float64, the first, of anything else. Of bfloat16,
# which it takes for no type of NumPy's, it gets to see the bits.
_PAIRS = [np.dtype(code) for code in ("u2", "i2", "f2")]
_SWAPPED = [pair.newbyteorder() for pair in _PAIRS]
_DTYPES = [np.float64, np.float32, np.bool_, np.uint8, np.int8, *_PAIRS, *_SWAPPED]


class Classifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # untyped bases
    """A classifier whose predictions are those of its `model_`."""

    classes_: Array
    model_: SoftmaxModel

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def decision_function(self, X: Any) -> Array:
        """Logits (N, K); for two classes (N,), positive where the second is predicted."""
        Z = self._fitted(X, "decision_function")
        return Z[:, 1] - Z[:, 0] if len(self.classes_) == 2 else Z

    def predict(self, X: Any, utility: Any = None) -> Array:
        """The most probable class (N,) of each sample of X (N, D), or the most useful decision.

        Parameters
        ----------
        X : array_like, (N, D)
        utility : array_like, (K,) or (decisions, K), optional
            What a decision is worth in each class, in the order of `classes_`; the decision of
            greatest expected utility is taken. For (K,) the decisions are classes; for
            (decisions, K) they are row numbers. See `fastsoftmax.decide`.
        """
        if utility is None:
            numbers = self._fitted(X, "predict")  # first of all: it may say "not fitted"
            return self.classes_[numbers]
        decisions: Array = functional.decide(self.predict_proba(X), utility)
        return self.classes_[decisions] if np.ndim(utility) == 1 else decisions

    def predict_proba(self, X: Any) -> Array:
        """Probabilities (N, K) of samples X (N, D)."""
        return self._fitted(X, "predict_proba")

    def predict_log_proba(self, X: Any) -> Array:
        """Log-probabilities (N, K) of samples X (N, D)."""
        return self._fitted(X, "predict_log_proba")

    @property
    def coef_(self) -> Array:
        self._raise_unless_fitted()
        if len(self.model_.classes) == 2:
            return functional.softmax_to_binary(self.model_.W, self.model_.b)[0][None]
        return self.model_.W.T

    @property
    def intercept_(self) -> Array:
        self._raise_unless_fitted()
        if len(self.model_.classes) == 2:
            return np.atleast_1d(functional.softmax_to_binary(self.model_.W, self.model_.b)[1])
        return self.model_.b

    def _raise_unless_fitted(self) -> None:
        """Raise NotFittedError, an AttributeError too, where there is no model."""
        check_is_fitted(self, "model_")

    def _become(self, other: Self) -> Self:
        """Take up what a copy has learnt; all of it or, before this line, nothing."""
        self.__dict__ = other.__dict__  # one store: no signal can come half-way
        return self

    def _fitted(self, X: Any, function: str) -> Array:
        """A function of logits, of checked samples and the model."""
        self._raise_unless_fitted()
        check.raise_if_masked(X=X)
        X = self._validated(X, reset=False)
        result: Array = getattr(functional, function)(X, self.model_.W, self.model_.b)
        return result

    def _validated(self, X: Any, y: Any = "no_validation", *, reset: bool) -> Any:
        """X, or X and y, as scikit-learn checks them.

        Of what it would take as it is, only the columns are left to check: 13 us instead of 90.
        """
        if type(X) is np.ndarray and X.dtype.name == "bfloat16":
            bits = self._validated(X.view(np.uint16), y, reset=reset)
            if isinstance(y, str):
                return bits.view(X.dtype)
            return bits[0].view(X.dtype), bits[1]
        plain = check.is_finite_matrix(X) and (isinstance(y, str) or _is_plain(y, len(X)))
        return validate_data(
            self,
            X,
            y,
            accept_sparse="csr",
            dtype=_DTYPES,
            reset=reset,
            skip_check_array=plain,
        )


def _is_plain(y: Any, n_rows: int) -> bool:
    return type(y) is np.ndarray and y.shape == (n_rows,) and y.dtype.kind in "biuU"


def is_verbose(value: Any) -> bool:
    """Whether `verbose` asks for lines on standard output."""
    return value if isinstance(value, bool) else check.integer(value, "verbose", 0) > 0


def two_or_more(classes: Array) -> Array:
    if len(classes) < 2:
        raise ValueError(
            f"The number of classes has to be greater than one; got {len(classes)} class"
        )
    return classes


def checked_weight(sample_weight: Any, X: Array) -> Array:
    """Weights (N,) of the rows, as scikit-learn checks them."""
    weight: Array = _check_sample_weight(
        sample_weight, X, dtype=np.float64, ensure_non_negative=True
    )
    return weight


def weights(X: Array, y: Array, classes: Array, sample_weight: Any, class_weight: Any) -> Array:
    """Weights (N,) of the rows, those of their classes included."""
    if sample_weight is not None:
        sample_weight = checked_weight(sample_weight, X)
    weight = check.sample_weight(sample_weight, X.shape[0])
    if class_weight is None:
        return weight
    numbers, _ = data.encode(y, X.shape[0], classes, check.precision_of(X))
    factors = data.weight_by_class(class_weight, numbers, classes, weight)
    return weight * factors[numbers]


def of_classes(class_weight: Any, classes: Array) -> Any:
    """`class_weight` without the classes that these rows lack, as those of a fold may."""
    if not isinstance(class_weight, Mapping):
        return class_weight
    names = class_array(list(class_weight), "class_weight")
    raise_unless_alike(names, class_array(classes, "y"), "class_weight", "y")
    present = set(classes.tolist())
    absent = [label for label in class_weight if label not in present]
    for label in absent:
        check.number(class_weight[label], f"class_weight[{label!r}]", 0)
    if absent and not present <= class_weight.keys():  # it may be a slip of the pen
        warnings.warn(f"class_weight has {absent[0]!r}, which y lacks", UserWarning, stacklevel=4)
    return {label: value for label, value in class_weight.items() if label in present}
