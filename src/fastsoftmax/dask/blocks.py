"""Dask's arrays and frames a block at a time: runs of rows, one after another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask import delayed
from dask.base import is_dask_collection

from fastsoftmax import validation as check
from fastsoftmax.csr import is_sparse
from fastsoftmax.labels import class_array, numbers_of, raise_if_continuous

Array = npt.NDArray[Any]


def is_frame(value: Any) -> bool:
    """Whether it is a frame or a series of dask.dataframe, which need not be installed."""
    return is_dask_collection(value) and hasattr(value, "map_partitions")


def blocks(value: Any, name: str) -> list[Any]:
    """The blocks of a collection as delayed objects, in the order of its rows."""
    if is_frame(value):
        return list(value.to_delayed())
    if not isinstance(value, da.Array):
        kind = type(value).__name__
        raise TypeError(
            f"{name} must be an array or a frame of Dask, got {kind}; fastsoftmax.fit takes what "
            "is in memory, and dask.array.from_array makes an array of Dask of it"
        )
    if any(count > 1 for count in value.numblocks[1:]):
        raise ValueError(
            f"{name} is cut by columns, into {value.numblocks[1]} blocks of each row; blocks are "
            f"to hold whole rows, as those of {name}.rechunk({{1: -1}}) do"
        )
    return list(value.to_delayed().ravel())


class Labels(NamedTuple):
    """A block of labels."""

    values: Array  # (L,), all different
    numbers: Array  # (n,): which of them each row has


class About(NamedTuple):
    """What is asked of a block."""

    n_rows: int
    n_columns: int = 0
    dtype: Any = None
    sparse: bool = False
    values: Any = None  # of labels


class Column(NamedTuple):
    """One of X, y and sample_weight: its blocks, checked, and what is asked of each; delayed."""

    held: list[Any]
    about: list[Any]


def rows(value: Any, name: str) -> Column:
    """X, or soft targets."""
    return _column(value, name, _rows)


def labels(value: Any, name: str, classes: Array | None) -> Column:
    """Labels, which must be among the classes if these are given."""
    return _column(value, name, _labels, classes)


def weights(value: Any, name: str) -> Column:
    return _column(value, name, _weights)


def _column(value: Any, name: str, checked: Callable[..., Any], *options: Any) -> Column:
    held = [
        delayed(_of_block, pure=False)(checked, name, number, block, *options)
        for number, block in enumerate(blocks(value, name))
    ]
    return Column(held, [delayed(_about, pure=False)(block) for block in held])


def _of_block(checked: Callable[..., Any], name: str, number: int, *block: Any) -> Any:
    """A block, checked; errors say which it is."""
    try:
        return checked(name, *block)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"block {number} of {name}: {error}") from None


def _rows(name: str, block: Any) -> Any:
    """Rows as an array, or sparse as they come."""
    if is_sparse(block):
        return block
    array = check.real_array(block, name)
    if array.ndim != 2:
        raise ValueError(f"{name} must be two-dimensional, got shape {array.shape}")
    return array


def _labels(name: str, block: Any, classes: Array | None) -> Labels:
    array = class_array(block, name)
    if classes is None:
        raise_if_continuous(array)
        return Labels(*np.unique(array, return_inverse=True))
    return Labels(classes, numbers_of(array, classes, name) if len(array) else np.empty(0, int))


def _weights(name: str, block: Any) -> Array:
    array = check.real_array(block, name)
    if array.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional, got shape {array.shape}")
    return check.sample_weight(array, len(array))


def _about(block: Any) -> About:
    if isinstance(block, Labels):
        return About(len(block.numbers), values=block.values)
    n_columns = block.shape[1] if block.ndim == 2 else 0
    return About(int(block.shape[0]), int(n_columns), block.dtype, is_sparse(block))
