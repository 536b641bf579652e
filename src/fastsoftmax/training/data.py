"""The arguments of training, checked and in the form that the kernels take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastsoftmax import frames, functional
from fastsoftmax import validation as check
from fastsoftmax.functional.predictions import weighted_predict
from fastsoftmax.labels import class_array, class_list, numbers_of, raise_if_continuous
from fastsoftmax.model import SoftmaxModel
from fastsoftmax.training.samples import Samples

Array = npt.NDArray[Any]


def samples(
    X: Any,
    y: Any,
    classes: Any,
    sample_weight: Any,
    class_weight: Any,
    dtype: Any,
) -> tuple[Samples, Array, np.dtype[Any]]:
    """(checked rows, the classes, the type to compute in)."""
    X = check.rows_of(X)
    if len(X) == 0:
        raise ValueError(f"X must have at least one row, got shape {X.shape}")
    dtype = check.precision_of(X) if dtype is None else check.compute_type(dtype, "dtype")
    X = check.readable(X, dtype)
    targets, classes = encode(y, len(X), classes, dtype)
    weight = check.sample_weight(sample_weight, len(X))
    total = check.weight_of_rows(weight)
    if class_weight is not None:
        weight = weight * weight_by_class(class_weight, targets, classes, weight)[targets]
        total = check.weight_of_rows(weight, "sample_weight times class_weight")
    with np.errstate(over="ignore"):
        overflows = targets.ndim == 2 and not targets.sum() <= np.finfo(dtype).max
    if overflows:
        raise ValueError(f"the targets in y sum to more than a {dtype} can hold; scale them down")
    return Samples(X, targets, weight, total), classes, dtype


def encode(y: Any, n_rows: int, classes: Any, dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """(labels (N,) as numbers of classes or soft targets (N, K), the classes)."""
    if classes is not None:
        classes = class_list(classes)
    if np.ndim(y) == 2:
        if np.shape(y)[1] == 1 and (classes is None or len(classes) > 1):
            raise ValueError(
                f"y is a column, of shape {np.shape(y)}: labels have shape ({n_rows},), as its "
                "ravel() gives (of a frame, take the column), soft targets a column for each class"
            )
        array = check.real_array(y, "y")
        n_classes = array.shape[1] if classes is None else len(classes)
        if array.shape != (n_rows, n_classes) or n_classes == 0:
            raise ValueError(
                f"y must have shape ({n_rows},) or ({n_rows}, {n_classes}), got {array.shape}"
            )
        array = check.convertible(array, dtype)
        check.non_negative(array, "y", dtype)
        return array, np.arange(n_classes) if classes is None else classes
    labels = class_array(y, "y")
    if len(labels) != n_rows:
        raise ValueError(f"y must have one label per row of X, got {len(labels)} for {n_rows}")
    if classes is None:
        raise_if_continuous(labels)
        classes, numbers = np.unique(labels, return_inverse=True)
        return numbers.astype(np.int64, copy=False), classes
    return numbers_of(labels, classes, "y"), classes


def weight_by_class(class_weight: Any, targets: Array, classes: Array, weight: Array) -> Array:
    """The factor (K,) that the rows of each class get."""
    if targets.ndim == 2:
        raise ValueError("class_weight needs labels; with soft targets, use sample_weight")
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(f"class_weight must be 'balanced' or a dict, got {class_weight!r}")
        sums = np.bincount(targets, weight, len(classes))
        with np.errstate(divide="ignore"):
            return np.where(sums > 0, sums.sum() / (len(classes) * sums), 0.0)
    if not isinstance(class_weight, Mapping):
        kind = type(class_weight).__name__
        raise TypeError(f"class_weight must be 'balanced' or a dict, got {kind}")
    factors = np.ones(len(classes))
    names = {name: k for k, name in enumerate(classes.tolist())}
    for label, value in class_weight.items():
        if label not in names:
            raise ValueError(
                f"class_weight has {label!r}, which is not one of the classes; `classes` may name "
                "those that no row has"
            )
        factors[names[label]] = check.number(value, f"class_weight[{label!r}]", 0)
    return factors


def feature_names(
    given: Any, X: Any, init: SoftmaxModel | None, n_features: int
) -> tuple[str, ...] | None:
    """The names for a model: those given, those of X's columns, or those of a model to go on from.

    A frame must have the names of the last.
    """
    if given is not None or init is None:
        names = frames.column_names(X) if given is None else given
        return check.feature_names(names, n_features)
    frames.raise_unless_named(X, init.feature_names, "those of init")
    return frames.column_names(X) or init.feature_names


class Validation(NamedTuple):
    """Rows to measure the loss and the accuracy on after each epoch."""

    X: Any  # an array or CSR
    targets: Array
    weight: Array | None

    def measure(self, model: SoftmaxModel) -> tuple[float, float]:
        """(the mean cross-entropy of a model, its accuracy)."""
        X, targets, weight = self
        loss = functional.loss(X, targets, model.W, model.b, sample_weight=weight)
        predicted = weighted_predict(X, model.W, model.b, weight)
        right = predicted == (targets if targets.ndim == 1 else targets.argmax(axis=1))
        return float(loss), float(np.average(right, weights=weight))


def validation(
    value: Any,
    n_features: int,
    classes: Array,
    dtype: np.dtype[Any],
    names: tuple[str, ...] | None,
) -> Validation:
    """`validation_data` checked: (X, y) or (X, y, sample_weight), X with these columns."""
    if not isinstance(value, (tuple, list)) or len(value) not in (2, 3):
        raise TypeError("validation_data must be (X, y) or (X, y, sample_weight)")
    try:
        frames.raise_unless_named(value[0], names, "those trained on")
        X = check.samples(value[0], n_features, dtype)
        if len(X) == 0:
            raise ValueError("X must have at least one row")
        targets, _ = encode(value[1], len(X), classes, dtype)
        weight = None if len(value) == 2 else check.sample_weight(value[2], len(X))
        if weight is not None:
            check.weight_of_rows(weight)
        check.raise_if_non_finite(weight, X=X)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"validation_data: {error}") from None
    return Validation(X, targets, weight)


def model(value: Any) -> SoftmaxModel:
    """`init` checked."""
    if not isinstance(value, SoftmaxModel):
        raise TypeError(f"init must be a SoftmaxModel, got {type(value).__name__}")
    return value


def starting_weights(init: Any, classes: Array, n_features: int) -> tuple[Array, Array]:
    """(W (D, K), b (K,)) of a model to go on from, its classes in our order; zeros for None."""
    if init is None:
        zeros = np.broadcast_to(np.float64(0), (n_features, len(classes)))  # of one number
        return zeros, np.zeros(len(classes))
    init = model(init)
    if len(init.W) != n_features:
        raise ValueError(f"init has {len(init.W)} features, X has {n_features}")
    if len(init.classes) != len(classes):
        raise ValueError(f"init has {len(init.classes)} classes, the data {len(classes)}")
    places = numbers_of(classes, init.classes, "classes")
    return init.W[:, places], init.b[places]
