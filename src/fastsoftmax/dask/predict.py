"""Predictions of a model for Dask's arrays and frames: lazy, a block at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt

from fastsoftmax import frames
from fastsoftmax import validation as check
from fastsoftmax.dask.blocks import blocks, is_frame
from fastsoftmax.dask.cluster import one_thread
from fastsoftmax.functional.predictions import weighted_predict
from fastsoftmax.labels import class_array, raise_unless_alike
from fastsoftmax.model import SoftmaxModel

Array = npt.NDArray[Any]


def predict(model: SoftmaxModel, X: Any) -> Any:
    """The most probable class of each row: an array (N,), or a series with the frame's index."""
    return _by_block(SoftmaxModel.predict, model, X, model.classes[:0])


def decide(model: SoftmaxModel, X: Any, utility: Any) -> Any:
    """The decision of greatest expected utility for each row; see `SoftmaxModel.decide`."""
    utility = np.asarray(utility)
    none = model.decide(np.empty((0, len(model.W)), model.W.dtype), utility)  # which checks it
    return _by_block(partial(_decided, utility), model, X, none)


def _decided(utility: Array, model: SoftmaxModel, X: Any) -> Array:
    return model.decide(X, utility)


def by_class(
    function: Callable[[SoftmaxModel, Any], Array], model: SoftmaxModel, X: Any, one: bool = False
) -> Any:
    """A number for each row and class: an array (N, K), or a frame with a column for each class.

    With `one`, a number for each row: an array (N,), or a series.
    """
    shape = (0,) if one else (0, len(model.classes))
    return _by_block(function, model, X, np.empty(shape, model.W.dtype))


def score(model: SoftmaxModel, X: Any, y: Any, sample_weight: Any = None) -> float:
    """The share (by weight) of the rows whose label is predicted."""
    given = [blocks(X, "X"), blocks(y, "y")]
    if sample_weight is not None:
        given.append(blocks(sample_weight, "sample_weight"))
    if len({len(column) for column in given}) > 1:
        counts = " and ".join(str(len(column)) for column in given)
        raise ValueError(f"X, y and the weights must be cut alike, got {counts} blocks")
    one = dask.delayed(model, traverse=False)
    parts = [dask.delayed(_right)(one, *rows) for rows in zip(*given, strict=True)]
    right, total = np.sum(dask.compute(*parts), axis=0)
    if total == 0:
        raise ValueError("there are no rows, or their weights sum to zero: nothing counts")
    return float(right / total)


def _right(model: SoftmaxModel, X: Any, y: Any, weight: Any = None) -> tuple[float, float]:
    """(the weight of the rows that are predicted right, that of all)."""
    labels = class_array(y, "y")
    if len(labels) == 0 and len(X) == 0:
        return 0.0, 0.0
    raise_unless_alike(labels, model.classes, "y", "the model's classes")
    frames.raise_unless_named(X, model.feature_names, "the model's")
    with one_thread():
        predicted = model.classes[weighted_predict(X, model.W, model.b, weight)]
    if predicted.shape != labels.shape:
        raise ValueError(f"blocks of X and y must have the same rows, got {X.shape} and {y.shape}")
    right = predicted == labels
    if weight is None:
        return float(right.sum()), float(len(right))
    weight = check.sample_weight(weight, len(right))
    return float((right * weight).sum()), float(weight.sum())


def _by_block(
    function: Callable[[SoftmaxModel, Any], Array], model: SoftmaxModel, X: Any, none: Array
) -> Any:
    """A function of blocks; `none` is what it gives for no rows."""
    one = dask.delayed(model, traverse=False)  # once in the graph, however many blocks
    if is_frame(X):
        frames.raise_unless_named(X._meta, model.feature_names, "the model's")
        meta = _like(none, X._meta.iloc[:0], model)
        return X.map_partitions(_of_frame, function, one, meta=meta)
    blocks(X, "X")  # which says what is wrong with it
    rest = {"chunks": (X.chunks[0], none.shape[1:])} if none.ndim == 2 else {"drop_axis": 1}
    return da.map_blocks(_of_array, X, function, one, dtype=none.dtype, meta=none, **rest)


def _of_array(block: Any, function: Callable[[SoftmaxModel, Any], Array], model: Any) -> Array:
    with one_thread():
        return function(model, block)


def _of_frame(part: Any, function: Callable[[SoftmaxModel, Any], Array], model: Any) -> Any:
    return _like(_of_array(part, function, model), part, model)


def _like(result: Array, part: Any, model: SoftmaxModel) -> Any:
    """A result as a series or a frame of pandas, with the index of the rows."""
    import pandas as pd  # which dask.dataframe needs

    if result.ndim == 1:
        return pd.Series(result, part.index)
    return pd.DataFrame(result, part.index, model.classes)
