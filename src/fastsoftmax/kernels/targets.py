"""Targets and weights of a row; the one place that tells labels from soft targets.

By the type of their items: `Rows` (N, 1) of an integer type hold one label per row, (N, K) of a
floating type a weight per row and class. A one-hot row is never formed.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import overload

from fastsoftmax.kernels._jit import jit
from fastsoftmax.kernels.memory import Rows, load_item


def target(targets: Rows, n: int, k: int) -> float:
    """t_nk: for a label, 1 at the label and 0 elsewhere."""
    raise NotImplementedError("compiled code only")


def _label_target(targets: Rows, n: int, k: int) -> float:
    return 1.0 if load_item(targets.item, targets.address + n * targets.row_stride) == k else 0.0


def _soft_target(targets: Rows, n: int, k: int) -> float:
    address = targets.address + n * targets.row_stride + k * targets.column_stride
    return float(load_item(targets.item, address))


@overload(target)
def _choose_target(targets: Rows, n: int, k: int) -> Any:
    item: Any = targets[0]  # the Numba type of the tuple's first member
    return _label_target if isinstance(item.dtype, types.Integer) else _soft_target


@jit
def weight_of(sample_weight: Rows, n: int) -> float:
    """The weight of row n of sample_weight (N, 1); a stride of zero serves for 'all alike'."""
    return load_item(sample_weight.item, sample_weight.address + n * sample_weight.row_stride)
