"""Rows of a source, as training takes them: read again for each sum over them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax import validation as check
from fastsoftmax.kernels.tiles.sizes import leaf_rows, window_step
from fastsoftmax.sources import memory
from fastsoftmax.sources.streamed import StreamedRows
from fastsoftmax.training.samples import Samples, Sums, spaced
from fastsoftmax.weights import WeightSum

Array = npt.NDArray[Any]


class StreamedSamples:
    """Rows of a source; `Rows`. Sparse ones have their columns in order, each once."""

    def __init__(self, rows: StreamedRows, factors: Array | None = None) -> None:
        """`factors` (K,): what weights of each class are multiplied by."""
        facts = rows.facts
        self.source = rows
        self.n_rows, self.n_features = facts.n_rows, facts.n_features
        self.n_classes = len(facts.classes)
        self.is_sparse, self.n_entries = facts.sparse, facts.n_entries
        self.precision = check.precision_of(np.empty(0, facts.dtype))
        self.has_soft_targets = bool(facts.target_shape)
        self._factors, self._unit = factors, 1.0
        self._chosen: Array | None = None  # which classes have targets
        self.total_weight, self._largest_weight = facts.total_weight, facts.largest_weight
        if factors is not None:
            sums = WeightSum()
            for _, weight in self._weights():
                sums.add(weight)
            self.total_weight, self._largest_weight = sums.total, sums.largest

    def in_units(self) -> StreamedSamples:
        twin = copy.copy(self)
        twin._unit = check.scaled_weight(np.array([self._largest_weight]))[1]
        twin.total_weight = self.total_weight / twin._unit
        return twin

    def for_classes(self, chosen: Array) -> StreamedSamples:
        twin = copy.copy(self)
        twin._chosen, twin.n_classes = chosen, int(np.count_nonzero(chosen))
        return twin

    def part(self, X: Any, targets: Array, weight: Array) -> Samples:
        """Some rows, their weights in units and their targets for the chosen classes."""
        if self._factors is not None:
            weight = weight * self._factors[targets]
        if self._unit != 1:
            weight = weight / self._unit
        part = Samples(X, targets, weight, self.total_weight).canonical()
        return part if self._chosen is None else part.for_classes(self._chosen)

    def canonical(self) -> StreamedSamples:
        return self

    def raise_for_sparse(self, what: str) -> None:
        """Sparse rows that are not in memory are refused for what needs them there."""
        if self.is_sparse:
            source = self.source
            size = memory.shown(self.n_rows * source.row_bytes)
            raise ValueError(
                f"the sparse rows take about {size}, more than half of "
                f"memory={memory.shown(source.memory)!r}, and {what} needs all of them: give more, "
                "or use fit_sgd without standardize=True"
            )

    def add_to(self, sums: Sums) -> None:
        for first, part in self.windows():
            sums.add(first, part)

    def add_targets_to(self, sums: Sums) -> None:
        if self.has_soft_targets:  # whose sums are cut where windows are
            self.add_to(sums)
            return
        for first, targets, weight in self.source.labels():
            sums.add(first, self.part(None, targets, weight))

    def windows(self) -> Iterator[tuple[int, Samples]]:
        """All rows, in order: (the number of the first, as many as the budget allows)."""
        with closing(self.source.windows(self._bounds())) as windows:
            for first, *window in windows:
                yield first, self.part(*window)

    def _bounds(self) -> Iterator[tuple[int, int]]:
        """The first and the last row but one of windows, which begin where sums may be cut."""
        leaf, step = leaf_rows(self.n_rows), window_step(self.n_features, self.n_classes)
        most = self.source.window_rows(min(step, self.n_rows))
        if most >= leaf:
            most = most // leaf * leaf
            starts = np.arange(0, self.n_rows, most)
        else:
            most = max(most // step, 1) * step
            starts = np.concatenate(
                [np.arange(first, first + leaf, most) for first in range(0, self.n_rows, leaf)]
            )
            starts = starts[starts < self.n_rows]
        stops = np.append(starts[1:], self.n_rows)
        return zip(starts.tolist(), stops.tolist(), strict=True)

    def take(self, rows: Array) -> Samples:
        return self.part(*self.source.take(rows))

    def spaced(self, count: int) -> Samples:
        if not self._may_lack_rows:
            return self.take(spaced(self.n_rows, count))
        total = sum(int(np.count_nonzero(weight)) for _, weight in self._weights())
        wanted, rows, seen = spaced(total, count), [], 0
        for first, weight in self._weights():
            counted = np.flatnonzero(weight) + first
            here = wanted[(wanted >= seen) & (wanted < seen + len(counted))] - seen
            rows.append(counted[here])
            seen += len(counted)
        return self.take(np.concatenate(rows))

    @property
    def _may_lack_rows(self) -> bool:
        """Whether some rows may have a weight of zero."""
        no_class = self._factors is not None and not self._factors.all()
        return self.source.facts.weighted or no_class

    def _weights(self) -> Iterator[tuple[int, Array]]:
        for first, targets, weight in self.source.labels():
            yield first, weight if self._factors is None else weight * self._factors[targets]

    @property
    def total_target(self) -> float:
        if not self.has_soft_targets:
            return float(self.total_weight)
        sums = (np.einsum("n,nk->", weight, targets) for _, targets, weight in self.source.labels())
        return float(sum(sums)) / self._unit

    def raise_if_non_finite(self) -> None:
        for first, part in self.windows():
            check.raise_for_cell("X", part.X, part.weight, first)
