"""A trained model: weights, biases and what the classes are called."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax import frames, functional
from fastsoftmax import validation as check
from fastsoftmax.files import atomic_write
from fastsoftmax.functional.predictions import weighted_predict
from fastsoftmax.labels import class_array, raise_unless_alike
from fastsoftmax.sources import Source
from fastsoftmax.sources.source import blocks

Array = npt.NDArray[Any]
Rows = npt.ArrayLike | Source

FORMAT = "fastsoftmax.SoftmaxModel"
FORMAT_VERSION = 1


@dataclass(frozen=True, eq=False)
class SoftmaxModel:
    """A softmax regression model; immutable, its arrays are read-only copies.

    Parameters
    ----------
    W : array_like, (D, K)
        Weights, float32 or float64.
    b : array_like, (K,)
        Biases.
    classes : array_like, (K,)
        What each class is called: numbers or strings, all different.
    feature_names : sequence of str, (D,), optional
        The columns that the model was trained on, in the order of W's rows. A frame to predict for
        must have them, in this order; arrays, which have no names, are taken as they are.

    Raises
    ------
    TypeError, ValueError
        If shapes do not fit together, a weight is not finite, or classes repeat.

    Examples
    --------
    >>> import fastsoftmax
    >>> model = fastsoftmax.SoftmaxModel([[1.0, -1.0]], [0.0, 0.0], ["up", "down"])
    >>> model
    SoftmaxModel(1 feature, 2 classes, float64)
    >>> model.predict([[2.0], [-2.0]])
    array(['up', 'down'], dtype='<U4')
    """

    W: Array
    b: Array
    classes: Array
    feature_names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        W, b = check.weights_and_bias(self.W, self.b)
        if not (np.isfinite(W).all() and np.isfinite(b).all()):
            check.raise_non_finite("the weights", W.dtype, W=W, b=b)
        classes = class_array(self.classes, "classes")
        if classes.shape != b.shape:
            raise ValueError(f"classes must have shape {b.shape}, got {classes.shape}")
        if len(set(classes.tolist())) < len(classes):
            raise ValueError("classes must all be different")
        names = check.feature_names(self.feature_names, len(W))
        for field, array in (("W", W), ("b", b), ("classes", classes)):
            own = np.array(array, order="C")
            own.flags.writeable = False
            object.__setattr__(self, field, own)
        object.__setattr__(self, "feature_names", names)

    def __reduce__(self) -> tuple[type[SoftmaxModel], tuple[Any, ...]]:
        # through the constructor, so that a copy's arrays are read-only too
        return SoftmaxModel, (self.W, self.b, self.classes, self.feature_names)

    def __repr__(self) -> str:
        n_features, n_classes = self.W.shape
        features = "1 feature" if n_features == 1 else f"{n_features} features"
        classes = "1 class" if n_classes == 1 else f"{n_classes} classes"
        return f"SoftmaxModel({features}, {classes}, {self.W.dtype})"

    def decision_function(self, X: Rows, *, out: Array | None = None) -> Array:
        """Logits (N, K) of samples X (N, D); see `fastsoftmax.decision_function`."""
        return self._of_rows(functional.decision_function, X, out)

    def predict_proba(self, X: Rows, *, out: Array | None = None) -> Array:
        """Probabilities (N, K); see `fastsoftmax.predict_proba`."""
        return self._of_rows(functional.predict_proba, X, out)

    def predict_log_proba(self, X: Rows, *, out: Array | None = None) -> Array:
        """Log-probabilities (N, K); see `fastsoftmax.predict_log_proba`."""
        return self._of_rows(functional.predict_log_proba, X, out)

    def predict(self, X: Rows) -> Array:
        """The most probable class (N,) of each sample, as one of `classes`."""
        return self.classes[self._of_rows(functional.predict, X)]

    def decide(self, X: Rows, utility: npt.ArrayLike) -> Array:
        """The decision of greatest expected utility for each sample of X (N, D).

        With a `utility` (K,) the decisions are classes, and one of `classes` is returned for each
        sample; with (decisions, K) they are row indices of it. See `fastsoftmax.decide`.
        """
        decisions: Array = functional.decide(self.predict_proba(X), utility)
        return self.classes[decisions] if np.ndim(utility) == 1 else decisions

    def score(
        self,
        X: Rows,
        y: npt.ArrayLike | None = None,
        *,
        sample_weight: npt.ArrayLike | None = None,
    ) -> float:
        """The share (by weight) of samples X (N, D) whose label y (N,) is predicted.

        Samples of weight zero may hold anything. A source has its own labels and weights.
        """
        if isinstance(X, Source):
            return self._score_of(X, y, sample_weight)
        labels = class_array(y, "y")
        predicted = self.classes[weighted_predict(self._named(X), self.W, self.b, sample_weight)]
        if labels.shape != predicted.shape:
            raise ValueError(f"y must have one label per row of X, got shape {labels.shape}")
        raise_unless_alike(labels, self.classes, "y", "the model's classes")
        right = predicted == labels
        weight = check.sample_weight(sample_weight, right.size)
        return float((right * weight).sum() / check.weight_of_rows(weight))

    def _score_of(self, source: Source, y: Any, sample_weight: Any) -> float:
        if y is not None or sample_weight is not None:
            raise TypeError("y and sample_weight must be None with a source, which has its own")
        right = total = 0.0
        for _, batch in blocks(source, self.W.dtype, labels=True, names=self.feature_names):
            if batch.weight is not None and not batch.weight.any():
                continue
            weight = check.sample_weight(batch.weight, len(batch.X))
            part = float(weight.sum())
            right += part * self.score(batch.X, batch.labels(), sample_weight=weight)
            total += part
        if total == 0:
            raise ValueError("the weights of the source sum to zero: nothing counts")
        return right / total

    def _of_rows(self, function: Callable[..., Array], X: Rows, out: Array | None = None) -> Array:
        """A function of X and the weights; of a source, of one batch of rows after another."""
        if not isinstance(X, Source):
            how = {} if out is None else {"out": out}
            return function(self._named(X), self.W, self.b, **how)
        if out is not None:
            raise TypeError("out must be None with a source, whose rows are not counted yet")
        results = [function(self.W[:0].T[:0], self.W[:0], self.b)]  # in case there are no rows
        for first, batch in blocks(X, self.W.dtype, names=self.feature_names):
            try:
                results.append(function(batch.X, self.W, self.b))
            except ValueError:
                check.raise_for_cell("X", batch.X, None, first)
                raise
        return np.concatenate(results)

    def _named(self, X: Any) -> Any:
        """X itself, whose columns have the model's names, where both have names."""
        frames.raise_unless_named(X, self.feature_names, "the model's")
        return X

    def label_indices(self, y: npt.ArrayLike, name: str = "y") -> Array:
        """The index (N,) in `classes` of each label, as the functions of `fastsoftmax` take them.

        Raises ValueError for a label that the model does not know.
        """
        labels = class_array(y, name)
        order = np.argsort(self.classes)
        position = np.searchsorted(self.classes, labels, sorter=order)
        index: Array = order[np.minimum(position, order.size - 1)]
        unknown = np.flatnonzero(self.classes[index] != labels)
        if unknown.size:
            n = int(unknown[0])
            raise ValueError(f"{name}[{n}] = {labels[n]!r} is not one of the model's classes")
        return index

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to `path` as `.npz`, without pickle.

        The file is complete or not there at all: it takes its name only when all is written.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        write_model(path, self, {})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SoftmaxModel:
        """Read a model that `save` wrote. Nothing in the file is ever executed.

        Raises
        ------
        OSError
            If the file cannot be read.
        ValueError
            If it is not a model file, is damaged, or comes from a later format version.
        """
        return read_model(path, cls)[0]


def write_model(
    path: str | os.PathLike[str], model: SoftmaxModel, others: Mapping[str, Array]
) -> None:
    """`SoftmaxModel.save`, with other arrays beside those of the model."""
    arrays: dict[str, Any] = {
        "format": np.array(FORMAT),
        "format_version": np.array(FORMAT_VERSION),
        "W": model.W,
        "b": model.b,
        "classes": model.classes,
        **others,
    }
    if model.feature_names is not None:
        arrays["feature_names"] = np.array(model.feature_names, dtype=np.str_)
    with atomic_write(Path(path)) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)


def read_model(
    path: str | os.PathLike[str], kind: type[SoftmaxModel] = SoftmaxModel
) -> tuple[SoftmaxModel, dict[str, Array]]:
    """`SoftmaxModel.load`, and the arrays in the file that are none of the model's."""
    not_a_model = f"{os.fspath(path)!r} is not a fastsoftmax model file"
    with open(path, "rb") as file:
        try:
            if file.read(2) != b"PK":  # NumPy would say how to unpickle it
                raise ValueError("it is no .npz archive")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            if not all(isinstance(array, np.ndarray) for array in arrays.values()):
                raise ValueError("a member is no array")  # NumPy gives its bytes
        except Exception as error:  # a damaged archive fails in many ways
            raise ValueError(f"{not_a_model}: {error}") from None
    if str(arrays.get("format")) != FORMAT:
        raise ValueError(not_a_model)
    version = arrays.get("format_version")
    if version is None or version.shape != () or version.dtype.kind not in "iu":
        raise ValueError(f"{not_a_model}: it has no format version")
    if not 1 <= version <= FORMAT_VERSION:
        raise ValueError(
            f"{os.fspath(path)!r} has format version {version}; this fastsoftmax reads "
            f"1 to {FORMAT_VERSION}"
        )
    missing = {"W", "b", "classes"} - arrays.keys()
    if missing:
        raise ValueError(f"{not_a_model}: it lacks {', '.join(sorted(missing))}")
    names = arrays.pop("feature_names", None)
    W, b, classes = (arrays.pop(name) for name in ("W", "b", "classes"))
    try:
        return kind(W, b, classes, None if names is None else tuple(names)), arrays
    except (TypeError, ValueError) as error:
        raise ValueError(f"{not_a_model}: {error}") from None
