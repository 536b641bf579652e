"""The rows of a source after its first pass: windows of them, some of them, or all."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from fastsoftmax import validation as check
from fastsoftmax.sources import memory
from fastsoftmax.sources.ahead import read_ahead
from fastsoftmax.sources.errors import SourceError
from fastsoftmax.sources.gather import gathered

Array = npt.NDArray[Any]
Window = tuple[Any, Array, Array]  # X, targets, weight
Run = tuple[int, int]  # the numbers of the first row and of the one after the last

_LABELS = 2**16  # rows whose labels are read at once


class Facts(NamedTuple):
    """What the first pass found."""

    n_rows: int
    n_features: int
    dtype: np.dtype[Any]  # of X, as kernels read it
    sparse: bool
    feature_names: tuple[str, ...] | None
    classes: Array  # (K,), sorted, or as they were listed
    counts: Array | None  # (K,), rows of each class; None for soft targets
    class_weights: Array | None  # (K,), the sum of their weights
    target_shape: tuple[int, ...]  # of a row: () for labels, (K,) for soft targets
    target_dtype: np.dtype[Any]
    weighted: bool  # whether the source has weights
    total_weight: float
    largest_weight: float
    n_entries: int  # of sparse X


class Access(Protocol):
    """How rows are got at."""

    random: bool  # whether runs may be read in any order

    def fill(self, runs: Sequence[Run], X: Any, targets: Array, weight: Array) -> None:
        """The rows of `runs`, one run after another, into arrays of as many rows.

        For sparse X, its parts are appended to a list. Without X, it is not asked for. Unless
        `random`, rows are asked for in order.
        """
        ...

    def begin(self) -> None:
        """Begin a pass; called in the thread that reads."""
        ...

    def end(self) -> None:
        """End it; likewise."""
        ...

    def close(self) -> None: ...


class StreamedRows:
    """Rows of a source that were read once; a context manager that gives all back.

    Not for several threads at once, nor for two passes at a time.
    """

    def __init__(
        self, facts: Facts, access: Access, budget: int, resident: Window | None = None
    ) -> None:
        self.facts, self._access, self.memory, self._resident = facts, access, budget, resident

    def __enter__(self) -> StreamedRows:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files, and with them the cache."""
        self._access.close()
        self._resident = None

    def resident(self) -> Window | None:
        """(X, targets, weight) of all rows where they take at most half of the budget, else None.

        They stay in memory, and are the same arrays each time.
        """
        return self._resident

    @property
    def random(self) -> bool:
        """Whether `pieces` can be read: rows are in memory, in the cache or in an .npy file."""
        return self._access.random

    @property
    def row_bytes(self) -> int:
        """What a row takes in a window: features, target and weight."""
        facts = self.facts
        targets = int(np.prod(facts.target_shape)) * facts.target_dtype.itemsize
        X = facts.n_features * facts.dtype.itemsize
        if facts.sparse:  # on average
            X = -(-facts.n_entries * (facts.dtype.itemsize + 4) // facts.n_rows) + 8
        return X + targets + 8 * facts.weighted

    def window_rows(self, step: int) -> int:
        """The most rows that a window may have: a multiple of `step`.

        Raises
        ------
        ValueError
            If not even `step` rows fit.
        """
        return memory.window_rows(self.memory, self.row_bytes, step)

    def windows(
        self, bounds: Iterable[Run]
    ) -> Generator[tuple[int, Any, Array, Array], None, None]:
        """(first, X, targets, weight) of each pair (first, stop) of row numbers, which ascend.

        X (n, D) is in C order, or CSR. What is given is valid until the next window is asked for.
        Rows are read ahead by a thread that has ended when this generator has; close it
        (`contextlib.closing`) where it is left early.

        Raises
        ------
        SourceError, SourceChangedError
            If the source cannot be read any more, or other rows are found in it.
        """
        bounds = list(bounds)
        with closing(self._read([b] for b in bounds)) as windows:
            for (first, _), window in zip(bounds, windows, strict=True):
                yield first, *window

    def pieces(self, groups: Iterable[Sequence[Run]]) -> Generator[Window, None, None]:
        """(X, targets, weight) of each group of runs of rows, one run after another; `random` only.

        Otherwise as `windows`; runs may be in any order.
        """
        assert self.random
        yield from self._read(groups)

    def take(self, numbers: Any) -> Window:
        """(X, targets, weight) of the rows of these numbers, in their order, in new arrays."""
        numbers = np.asarray(numbers, np.int64)
        if self._resident is not None:
            X, targets, weight = self._resident
            return X[numbers], targets[numbers], weight[numbers]
        wanted, places = np.unique(numbers, return_inverse=True)
        breaks = np.flatnonzero(np.diff(wanted) != 1) + 1
        runs = [(int(part[0]), int(part[-1]) + 1) for part in np.split(wanted, breaks) if part.size]
        buffers = self._new_buffers(len(wanted))
        self._access.begin()
        try:
            fetched = self._filled(runs, *buffers)
        finally:
            self._access.end()
        if np.array_equal(places, np.arange(len(wanted))):
            return fetched
        X, targets, weight = fetched
        return X[places], targets[places], weight[places]

    def labels(self) -> Iterator[tuple[int, Array, Array]]:
        """(first, targets, weight) of all rows, some at a time, without reading X if it can be.

        They are new arrays each time.
        """
        n_rows = self.facts.n_rows
        rows = min(_LABELS, self.window_rows(1))
        self._access.begin()
        try:
            for first in range(0, n_rows, rows):
                run = first, min(first + rows, n_rows)
                _, *arrays = self._new_buffers(run[1] - first, features=False)
                _, targets, weight = self._filled([run], None, *arrays)
                yield first, targets, weight
        finally:
            self._access.end()

    def _read(self, groups: Iterable[Sequence[Run]]) -> Generator[Window, None, None]:
        groups, facts = list(groups), self.facts
        if self._resident is not None:
            yield from (self._of_resident(group) for group in groups)
            return
        sizes = [sum(stop - first for first, stop in group) for group in groups]
        buffers: list[Window] = []

        def read(i: int) -> Window:
            if len(buffers) < memory.BUFFERS:
                buffers.append(self._new_buffers(max(sizes)))
            if i == 0:
                self._access.begin()
            X, targets, weight = buffers[i % memory.BUFFERS]
            size = sizes[i]
            part = [] if facts.sparse else X[:size]
            return self._filled(groups[i], part, targets[:size], weight[:size])

        ahead = memory.BUFFERS - 1
        yield from read_ahead(read, range(len(groups)), ahead, self._access.end)

    def _of_resident(self, group: Sequence[Run]) -> Window:
        assert self._resident is not None
        if len(group) == 1:
            rows: Any = slice(*group[0])
        else:
            rows = np.concatenate([np.arange(*run) for run in group])
        X, targets, weight = self._resident
        return X[rows], targets[rows], weight[rows]

    def _filled(self, runs: Sequence[Run], X: Any, targets: Array, weight: Array) -> Window:
        """The rows of `runs`, in these arrays; sparse ones in place of a list."""
        try:
            self._access.fill(runs, X, targets, weight)
        except SourceError:
            raise
        except Exception as error:
            raise SourceError(f"the source could not be read: {error}") from error
        return gathered(X) if isinstance(X, list) else X, targets, weight

    def _new_buffers(self, n_rows: int, features: bool = True) -> Window:
        facts = self.facts
        X: Any = None
        if facts.sparse:
            X = []
        elif features:
            X = np.empty((n_rows, facts.n_features), facts.dtype)
        targets = np.empty((n_rows, *facts.target_shape), facts.target_dtype)
        weight = np.empty(n_rows) if facts.weighted else check.sample_weight(None, n_rows)
        return X, targets, weight
