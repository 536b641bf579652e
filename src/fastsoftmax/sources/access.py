"""Two ways to the rows of a source after its first pass."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax.sources.errors import SourceChangedError
from fastsoftmax.sources.gather import gathered
from fastsoftmax.sources.rows import Rows
from fastsoftmax.sources.streamed import Run

Array = npt.NDArray[Any]


class RandomAccess:
    """Rows at an address each: those of an .npy file or of the cache."""

    random = True

    def __init__(
        self,
        X: Any,
        targets: Rows,
        weight: Rows | None,
        order: Array | None,
        begin: Callable[[], None],
        close: Callable[[], None],
    ) -> None:
        self._X, self._targets, self._weight = X, targets, weight  # X: Rows or SparseRows
        self._order = order  # of the numbers that labels were given as they appeared
        self.begin, self.close = begin, close

    def fill(self, runs: Sequence[Run], X: Any, targets: Array, weight: Array) -> None:
        start = 0
        for first, stop in runs:
            part = slice(start, start + stop - first)
            if isinstance(X, list):
                X.append(self._X.part(first, stop))
            elif X is not None:
                self._X.read(first, X[part])
            self._fill_targets(first, targets[part])
            if self._weight is not None:
                self._weight.read(first, weight[part])
            start = part.stop

    def _fill_targets(self, first: int, out: Array) -> None:
        if out.ndim == 2:
            self._targets.read(first, out)
            return
        numbers = np.empty(len(out), self._targets.dtype)
        self._targets.read(first, numbers)
        out[:] = numbers if self._order is None else self._order[numbers]

    def end(self) -> None:
        """Nothing is under way."""


Part = tuple[Any, Array, Array | None]  # X, targets, weight of consecutive rows


class InOrder:
    """Rows from a reader that is gone through from the start, in each pass."""

    random = False

    def __init__(
        self,
        parts: Callable[[], Generator[Part, None, None]],
        n_rows: int,
        close: Callable[[], None],
    ) -> None:
        self._parts, self._n_rows, self._close = parts, n_rows, close
        self._running: Generator[Part, None, None] | None = None
        self._part: Part | None = None
        self._first = 0  # the number of the first row of the part at hand

    def fill(self, runs: Sequence[Run], X: Any, targets: Array, weight: Array) -> None:
        start = 0
        for first, stop in runs:
            while first < stop:
                part = self._part_with(first)
                begin = first - self._first
                end = min(stop - self._first, len(part[0]))
                rows = slice(start, start + end - begin)
                for array, found in zip((X, targets, weight), part, strict=True):
                    if isinstance(array, list):
                        # a copy: what the user has may be filled anew
                        array.append(gathered([found[begin:end]]))
                    elif array is not None and found is not None:
                        array[rows] = found[begin:end]
                start, first = rows.stop, self._first + end
        if runs and runs[-1][1] == self._n_rows:
            self._finish()

    def _part_with(self, row: int) -> Part:
        """The part that holds a row, which is not before the one at hand."""
        if self._running is None:
            self._running, self._first = self._parts(), 0
        while self._part is None or row >= self._first + len(self._part[0]):
            if self._part is not None:
                self._first += len(self._part[0])
            self._part = next(self._running, None)
            if self._part is None:
                raise SourceChangedError(
                    f"the source has {self._first} rows, {self._n_rows} were in the first pass"
                )
        return self._part

    def _finish(self) -> None:
        """The last row was read: there are no more."""
        assert self._running is not None
        if self._part is not None:
            n_rows = self._first + len(self._part[0])
            n_rows += sum(len(part[0]) for part in self._running)
            if n_rows != self._n_rows:
                raise SourceChangedError(
                    f"the source has {n_rows} rows, {self._n_rows} were in the first pass"
                )

    def begin(self) -> None:
        self.end()

    def end(self) -> None:
        running, self._running, self._part = self._running, None, None
        if running is not None:
            running.close()

    def close(self) -> None:
        self.end()
        self._close()
