"""The arguments of training, checked and in the form that the kernels take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from fastsoftmax import frames, functional
from fastsoftmax import validation as check
from fastsoftmax.functional.predictions import weighted_predict
from fastsoftmax.labels import class_array, class_list, numbers_of, raise_if_continuous
from fastsoftmax.model import SoftmaxModel
from fastsoftmax.sources import Source
from fastsoftmax.sources.scan import scan
from fastsoftmax.sources.streamed import StreamedRows
from fastsoftmax.training.samples import Samples
from fastsoftmax.training.streamed import StreamedSamples

Array = npt.NDArray[Any]


class Given(NamedTuple):
    """What is to be trained on."""

    rows: Any  # `Rows`
    classes: Array  # (K,)
    dtype: np.dtype[Any]  # to compute in
    column_names: tuple[str, ...] | None  # of X


class Elsewhere(Protocol):
    """Rows that neither lie in memory nor are a `Source`, to be given in place of X and y."""

    def open_rows(
        self, classes: Any, class_weight: Any, dtype: Any
    ) -> AbstractContextManager[Given]: ...


@contextmanager
def opened(
    X: Any, y: Any, classes: Any, sample_weight: Any, class_weight: Any, dtype: Any
) -> Iterator[Given]:
    """The rows of X and y, or of a source in place of both; files are closed in the end."""
    if isinstance(X, Source) or hasattr(X, "open_rows"):
        for name, value in (("y", y), ("sample_weight", sample_weight)):
            if value is not None:
                raise TypeError(f"{name} must be None with a source, which has its own")
        if dtype is not None:
            dtype = check.compute_type(dtype, "dtype")
        if not isinstance(X, Source):
            with X.open_rows(classes, class_weight, dtype) as given:
                yield given
            return
        with scan(X, dtype=dtype, classes=classes) as rows:
            yield _of_source(rows, class_weight, dtype)
    else:
        if y is None:
            raise TypeError("y must be given with X, but for a source in place of both")
        found = samples(X, y, classes, sample_weight, class_weight, dtype)
        yield Given(*found, frames.column_names(X))


def _of_source(rows: StreamedRows, class_weight: Any, dtype: Any) -> Given:
    facts = rows.facts
    if dtype is None:
        dtype = check.precision_of(np.empty(0, facts.dtype))
    found = rows.resident()
    given: Any
    if found is not None:
        given = weighted(*found, facts.classes, class_weight, dtype)
    else:
        if facts.total_weight == 0:
            raise ValueError("the weights of the source sum to zero: nothing counts")
        if not np.isfinite(facts.total_weight):
            raise ValueError("the weights of the source sum to more than a float64 can hold")
        factors = None
        if class_weight is not None:
            if facts.class_weights is None:
                raise ValueError(NO_CLASS_WEIGHT)
            factors = class_factors(class_weight, facts.classes, facts.class_weights)
        given = StreamedSamples(rows, factors)
    return Given(given, facts.classes, dtype, facts.feature_names)


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
    return weighted(X, targets, weight, classes, class_weight, dtype), classes, dtype


def weighted(
    X: Any,
    targets: Array,
    weight: Array,
    classes: Array,
    class_weight: Any,
    dtype: np.dtype[Any],
) -> Samples:
    """Rows under their weights and those of their classes."""
    total = check.weight_of_rows(weight)
    if class_weight is not None:
        weight = weight * weight_by_class(class_weight, targets, classes, weight)[targets]
        total = check.weight_of_rows(weight, "sample_weight times class_weight")
    with np.errstate(over="ignore"):
        overflows = targets.ndim == 2 and not targets.sum() <= np.finfo(dtype).max
    if overflows:
        raise ValueError(f"the targets in y sum to more than a {dtype} can hold; scale them down")
    return Samples(X, targets, weight, total)


NO_CLASS_WEIGHT = "class_weight needs labels; with soft targets, use sample_weight"


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
        raise ValueError(NO_CLASS_WEIGHT)
    return class_factors(class_weight, classes, np.bincount(targets, weight, len(classes)))


def class_factors(class_weight: Any, classes: Array, sums: Array) -> Array:
    """As `weight_by_class`, of the sums (K,) of the weights of rows."""
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(f"class_weight must be 'balanced' or a dict, got {class_weight!r}")
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
    given: Any, columns: tuple[str, ...] | None, init: SoftmaxModel | None, n_features: int
) -> tuple[str, ...] | None:
    """The names for a model: those given, those of X's columns, or those of a model to go on from.

    Columns must have the names of the last.
    """
    if given is not None or init is None:
        return check.feature_names(columns if given is None else given, n_features)
    frames.raise_unless_equal(columns, init.feature_names, "those of init")
    return columns or init.feature_names


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


def classes_of(classes: Any, init: SoftmaxModel | None) -> Any:
    """Those listed, or those of a model to start from."""
    return model(init).classes if classes is None and init is not None else classes


def no_weights(n_features: int, n_classes: int) -> Array:
    """Zeros (D, K), of one number."""
    return np.broadcast_to(np.float64(0), (n_features, n_classes))


def starting_weights(init: Any, classes: Array, n_features: int) -> tuple[Array, Array]:
    """(W (D, K), b (K,)) of a model to go on from, its classes in our order; zeros for None."""
    if init is None:
        return no_weights(n_features, len(classes)), np.zeros(len(classes))
    init = model(init)
    if len(init.W) != n_features:
        raise ValueError(f"init has {len(init.W)} features, X has {n_features}")
    if len(init.classes) != len(classes):
        raise ValueError(f"init has {len(init.classes)} classes, the data {len(classes)}")
    places = numbers_of(classes, init.classes, "classes")
    return init.W[:, places], init.b[places]
