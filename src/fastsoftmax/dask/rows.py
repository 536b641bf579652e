"""The rows of a cluster's workers, as `fit` asks for them: by sums over their leaves.

Their weights are summed as `fastsoftmax.weights` does it, in blocks of all rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax import validation as check
from fastsoftmax.dask.cluster import Cluster, size_of
from fastsoftmax.kernels.tiles.sizes import ceil_div, leaf_rows, n_leaves
from fastsoftmax.training.samples import Samples, Sums
from fastsoftmax.weights import BLOCK, add_by_class, rounded_once, sum_of, sums_of_blocks

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class DistributedSamples:
    """Rows of which each part is the result of a task; see `training.samples.Rows`."""

    cluster: Cluster
    parts: Sequence[Any]  # futures of `Samples`, of some leaves each
    starts: Sequence[int]  # the first row of each
    n_rows: int
    n_features: int
    precision: np.dtype[Any]
    has_soft_targets: bool
    total_weight: float
    largest_weight: float

    is_sparse = False

    def add_to(self, sums: Sums) -> None:
        empty = sums.of_leaf(0)
        kept = _kept(empty, sums)
        made = {name: value for name, value in vars(empty).items() if name not in kept}
        of_all = [self.n_rows] * len(self.parts)
        changes = self._of_parts(
            "sum",
            _added,
            self.starts,
            of_all,
            shared=(type(sums), kept),
            result_bytes=size_of(made) * ceil_div(n_leaves(self.n_rows), len(self.parts)),
        )
        leaf = 0
        for of_part in changes:
            for changed in of_part:
                sums.take(leaf, _sums(type(sums), {**kept, **changed}))
                leaf += 1

    def add_targets_to(self, sums: Sums) -> None:
        self.add_to(sums)

    def take(self, rows: Array) -> Samples:
        wanted = np.split(rows, np.searchsorted(rows, self.starts[1:]))
        local = [of_part - first for of_part, first in zip(wanted, self.starts, strict=True)]
        parts = list(self._of_parts("take", _taken, local))
        X, targets, weight = (np.concatenate([part[i] for part in parts]) for i in range(3))
        return Samples(X, targets, weight, self.total_weight)

    def raise_if_non_finite(self) -> None:
        cells = self._of_parts("look", _non_finite, self.starts)
        for cell in cells:
            if cell is not None:
                place, value = cell
                raise ValueError(f"X{place} is {value}; X must be finite")

    def in_units(self) -> DistributedSamples:
        _, unit = check.scaled_weight(np.array([self.largest_weight]))
        if unit == 1:
            return self
        total, largest = self.total_weight / unit, self.largest_weight / unit
        rows = self._mapped(_divided, unit)
        return replace(rows, total_weight=total, largest_weight=largest)

    def for_classes(self, chosen: Array) -> DistributedSamples:
        return self._mapped(_for_classes, chosen)

    def class_weights(self, n_classes: int) -> Array:
        """(K,): the weights of each class, added one after another, as if no part ended."""
        sums = np.zeros(n_classes)
        for part in self.parts:
            sums = self.cluster.hold("classes", _with_classes, [part], [sums])[0]
        return next(self.cluster.results([sums]))

    def weighted(self, name: str, factors: Array | None = None) -> DistributedSamples:
        """With the sums of the weights; before, multiplied by a factor (K,) for each class."""
        rows = self if factors is None else self._mapped(_multiplied, factors)
        largest, rest, sums = 0.0, np.empty(0), []
        for most, head, of_blocks, tail in rows._of_parts("weigh", _weighed, rows.starts):
            largest = max(largest, most)
            sums += [sum_of(np.concatenate([rest, head])), *of_blocks]
            rest = tail
        total = rounded_once([*sums, sum_of(rest)])
        if total == 0:
            raise ValueError(f"{name} sums to zero: nothing counts")
        if math.isinf(total):
            raise ValueError(f"{name} sums to more than a float64 can hold")
        return replace(rows, largest_weight=largest, total_weight=total)

    def _of_parts(
        self, name: str, function: Callable[..., Any], *arguments: Sequence[Any], **options: Any
    ) -> Iterator[Any]:
        return self.cluster.run(name, function, *arguments, self.parts, **options)

    def _mapped(self, function: Callable[..., Samples], argument: Any) -> DistributedSamples:
        """Other rows, which share X; these are given back as soon as those are there."""
        parts = self.cluster.hold("rows", function, self.parts, [argument] * len(self.parts))
        return replace(self, parts=parts)


def _sums(kind: type[Any], attributes: dict[str, Any]) -> Any:
    """Sums with some of their attributes."""
    sums = object.__new__(kind)
    vars(sums).update(attributes)
    return sums


def _kept(sums: Any, others: Any) -> dict[str, Any]:
    """The attributes that are the same objects in both."""
    before = vars(others)
    return {name: value for name, value in vars(sums).items() if value is before.get(name, sums)}


# What the tasks do. `part` are the rows of one.


def _added(
    shared: tuple[type[Any], dict[str, Any]], first: int, n_rows: int, part: Samples
) -> list[dict[str, Any]]:
    """What adding rows changes in the sums of each of their leaves."""
    empty, size = _sums(*shared), leaf_rows(n_rows)
    changes = []
    for at in range(0, part.n_rows, size):
        sums = empty.of_leaf((first + at) // size)
        sums.add(first + at, part.take(slice(at, at + size)))
        kept = _kept(sums, empty)
        changes.append({name: value for name, value in vars(sums).items() if name not in kept})
    return changes


def _taken(rows: Array, part: Samples) -> Samples:
    return part.take(rows)


def _non_finite(first: int, part: Samples) -> tuple[list[int], Any] | None:
    """The first cell of X that is not finite, by the number of its row among all, and its value."""
    cell = check.first_non_finite(part.X, part.weight)
    return None if cell is None else ([first + cell[0], cell[1]], part.X[cell])


def _with_classes(part: Samples, sums: Array) -> Array:
    return add_by_class(sums, part.targets, part.weight)


def _divided(part: Samples, unit: float) -> Samples:
    with np.errstate(under="ignore"):
        return part._replace(weight=part.weight / unit)


def _multiplied(part: Samples, factors: Array) -> Samples:
    return part._replace(weight=part.weight * factors[part.targets])


def _for_classes(part: Samples, chosen: Array) -> Samples:
    return part.for_classes(chosen)


def _weighed(first: int, part: Samples) -> tuple[float, Array, list[float], Array]:
    """(the largest weight, those before the first block of all rows, sums of blocks, the rest)."""
    begin = min(-first % BLOCK, part.n_rows)
    end = begin + (part.n_rows - begin) // BLOCK * BLOCK
    weight = part.weight
    sums = sums_of_blocks(weight[begin:end]).tolist()
    return float(weight.max()), weight[:begin].copy(), sums, weight[end:].copy()
