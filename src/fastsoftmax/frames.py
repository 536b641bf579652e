"""Columns and frames of pandas, polars and their like as arrays; none of these is imported.

NumPy makes an array of objects of a frame that has booleans beside numbers, or columns of nullable
or Arrow types (before pandas 3), at many times the memory.
"""

from __future__ import annotations

import numbers
import reprlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_NUMBERS = (numbers.Real, np.bool_)
_LISTED = 5


def as_array(value: Any, name: str) -> Array:
    """`value` as an array; of a frame or column, in a type that holds all its numbers."""
    if _has_several_types(value):
        return _stacked(value, name)
    array = np.asarray(value)
    if array.dtype == object and array.ndim == 1 and hasattr(value, "to_numpy"):
        entries = array.tolist()
        if entries and all(isinstance(entry, _NUMBERS) for entry in entries):
            return np.array(entries)
    return array


def column_names(value: Any) -> tuple[str, ...] | None:
    """The names of a frame's columns, if all are strings; None for anything else."""
    names = getattr(value, "column_names", None)  # pyarrow's, whose `columns` are the columns
    if names is None:
        names = getattr(value, "columns", None)
    if names is None or not np.iterable(names) or getattr(value, "ndim", 2) != 2:
        return None
    names = tuple(names)
    return names if names and all(isinstance(name, str) for name in names) else None


def raise_unless_named(value: Any, names: tuple[str, ...] | None, whose: str) -> None:
    """A frame has these columns in this order. What has no names is taken as it is."""
    if names is not None:
        raise_unless_equal(column_names(value), names, whose)


def raise_unless_equal(
    found: tuple[str, ...] | None, names: tuple[str, ...] | None, whose: str
) -> None:
    """As `raise_unless_named`, of the names of columns."""
    if names is None or found is None or found == names:
        return
    known, given = set(names), set(found)
    unexpected = [name for name in found if name not in known]
    missing = [name for name in names if name not in given]
    what = [f"unexpected are {_listed(unexpected)}"] if unexpected else []
    what += [f"missing are {_listed(missing)}"] if missing else []
    what = what or [f"the order is to be {_listed(names)}"]
    raise ValueError(f"the columns of X are not {whose}: {'; '.join(what)}")


def _listed(names: Sequence[str]) -> str:
    """Some of many names."""
    shown = ", ".join(map(repr, names[:_LISTED]))
    return shown + f" and {len(names) - _LISTED} more" * (len(names) > _LISTED)


def describe(array: Array, name: str, *others: type) -> str:
    """The dtype of an array that should hold numbers (or `others`), and which entry is none."""
    text = f"got dtype {array.dtype}"
    if array.dtype == object:
        for cell, entry in np.ndenumerate(array):
            if not isinstance(entry, (*_NUMBERS, *others)):
                place = f"{name}{[int(i) for i in cell]}" if cell else name
                return f"{text}: {place} is {reprlib.repr(entry)}"
    return text


def _has_several_types(value: Any) -> bool:
    """Whether it is a pandas frame whose columns NumPy need not find a common type for."""
    if not (hasattr(value, "iloc") and hasattr(value, "items") and getattr(value, "ndim", 0) == 2):
        return False
    types = set(value.dtypes)
    return any(not isinstance(type_, np.dtype) or type_.kind not in "iuf" for type_ in types)


def _stacked(frame: Any, name: str) -> Array:
    """(N, D) of the columns of a frame, in the type that holds them all."""
    columns = []
    for label, column in frame.items():
        array = as_array(column, name)
        if array.dtype.kind not in "biuf":
            own = f"column {label!r} of {name}"
            raise TypeError(f"{own} must hold real numbers, {describe(array, own)}")
        columns.append(array)
    stacked = np.empty((len(frame), len(columns)), np.result_type(*columns), order="F")
    for d, array in enumerate(columns):
        stacked[:, d] = array
    return stacked
