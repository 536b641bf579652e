"""Labels and the classes that they name, checked."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax import frames
from fastsoftmax import validation as check

Array = npt.NDArray[Any]


def class_array(value: Any, name: str) -> Array:
    """Labels (N,) as an array of numbers or strings; objects that all are strings become such."""
    array = frames.as_array(value, name)
    if array.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional, got shape {array.shape}")
    check.raise_if_masked(**{name: value})
    if array.dtype.kind == "U" and isinstance(value, (list, tuple)):
        others = [label for label in value if not isinstance(label, str)]
        if others:  # NumPy would write them out
            raise TypeError(f"{name} must hold numbers or strings, not {others[0]!r} and strings")
    if array.dtype.kind == "O" and all(isinstance(label, str) for label in array):
        array = array.astype(np.str_)
    if array.dtype.kind not in "biufU":
        kind = frames.describe(array, name, str)
        raise TypeError(f"{name} must hold numbers or strings, {kind}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        check.raise_non_finite(name, array.dtype, **{name: array})
    return array


def raise_unless_alike(labels: Array, classes: Array, name: str, classes_name: str) -> None:
    """Labels and classes are both strings or both numbers, so that they can be equal."""
    if labels.size and (labels.dtype.kind == "U") != (classes.dtype.kind == "U"):
        raise TypeError(f"{name} and {classes_name} must both be numbers or both be strings")


def raise_if_continuous(labels: Array) -> None:
    """No label has decimals: such a number is a value to predict rather than a class."""
    if labels.dtype.kind == "f":
        odd = np.flatnonzero(labels != np.rint(labels))
        if odd.size:
            i = int(odd[0])
            raise ValueError(
                f"y[{i}] = {labels[i]} looks continuous: labels are strings or whole numbers; "
                "name the classes in `classes` if they have decimals"
            )


def class_list(classes: Any) -> Array:
    """Names of classes (K,), all different."""
    array = class_array(classes, "classes")
    if len(array) == 0 or len(set(array.tolist())) < len(array):
        raise ValueError("classes must name at least one class, all different")
    return array


def numbers_of(labels: Array, classes: Array, name: str) -> Array:
    """Which of the classes each label is; a ValueError names the first that is none."""
    raise_unless_alike(labels, classes, name, "classes")
    order = np.argsort(classes)
    places = np.searchsorted(classes, labels, sorter=order)
    numbers = order[np.minimum(places, len(classes) - 1)]
    unknown = np.flatnonzero(classes[numbers] != labels)
    if unknown.size:
        i = int(unknown[0])
        raise ValueError(f"{name}[{i}] = {labels[i]!r} is not one of the classes")
    return numbers.astype(np.int64, copy=False)
