"""Rows to train on, and how sums over them are formed.

What training takes from the rows as a whole are sums over all of them. `add_to` hands the rows to
such sums in windows: all at once where they lie in memory, else some after others, in order. Sums
are formed by chunks and leaves (`kernels.tiles.sizes`), so that windows make no difference to them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from fastsoftmax import validation as check
from fastsoftmax.csr import CSR

Array = npt.NDArray[Any]


class Sums(Protocol):
    """Sums over rows."""

    def add(self, first: int, part: Samples) -> None:
        """Consecutive rows, the first of which has this number among all; they come in order."""

    def of_leaf(self, leaf: int) -> Sums:
        """The same sums, yet of no rows, for those of one leaf alone.

        Those attributes that are the same objects as before are all that this needs, and stay as
        they are.
        """

    def take(self, leaf: int, sums: Any) -> None:
        """What `of_leaf` has become; leaves come in order."""


class Rows(Protocol):
    """Rows to solve for, wherever they lie."""

    @property
    def n_rows(self) -> int: ...
    @property
    def n_features(self) -> int: ...
    @property
    def precision(self) -> np.dtype[Any]:
        """Of X, whose items may be narrow: float32 or float64."""

    @property
    def is_sparse(self) -> bool: ...
    @property
    def has_soft_targets(self) -> bool: ...
    @property
    def total_weight(self) -> float: ...
    def add_to(self, sums: Sums) -> None:
        """All rows, to sums over them."""

    def add_targets_to(self, sums: Sums) -> None:
        """Likewise, to sums that do not look at X, which need not be read then."""

    def take(self, rows: Array) -> Samples:
        """The rows of some numbers, which ascend."""

    def raise_if_non_finite(self) -> None:
        """Name the first cell of X that is not finite, in a row that counts."""

    def in_units(self) -> Any:
        """The same rows, their weights in units that fit float32."""

    def for_classes(self, chosen: Array) -> Any:
        """The same rows, with targets for some classes (K,) alone, numbered anew."""


class RowsOfSteps(Rows, Protocol):
    """Rows that the steps of SGD are taken on."""

    def spaced(self, count: int) -> Samples:
        """So many rows at most of those that count, evenly spaced."""

    def windows(self) -> Iterator[tuple[int, Samples]]:
        """All rows in order, in memory: (the number of the first, some consecutive ones)."""

    @property
    def total_target(self) -> float:
        """The weighted sum of all target weights: `total_weight` for labels."""


class Samples(NamedTuple):
    """Rows in memory."""

    X: Any  # (N, D), an array or CSR
    targets: Array  # (N,) int64 labels, or (N, K) weights
    weight: Array  # (N,) float64
    total_weight: float

    @property
    def n_rows(self) -> int:
        return len(self.X)

    @property
    def n_features(self) -> int:
        return int(self.X.shape[1])

    @property
    def precision(self) -> np.dtype[Any]:
        return check.precision_of(self.X)

    @property
    def is_sparse(self) -> bool:
        return isinstance(self.X, CSR)

    @property
    def n_entries(self) -> int:
        return int(self.X.n_entries)

    @property
    def has_soft_targets(self) -> bool:
        return self.targets.ndim == 2

    @property
    def weight_scale(self) -> float:
        """1 over the mean weight, so that weights have a mean of 1."""
        return len(self.X) / self.total_weight

    def add_to(self, sums: Sums) -> None:
        sums.add(0, self)

    def add_targets_to(self, sums: Sums) -> None:
        sums.add(0, self)

    def windows(self) -> Iterator[tuple[int, Samples]]:
        yield 0, self

    def spaced(self, count: int) -> Samples:
        if self.weight.all():
            return self.take(spaced(self.n_rows, count))
        rows = np.flatnonzero(self.weight)
        return self.take(rows[spaced(len(rows), count)])

    def take(self, rows: Any) -> Samples:
        return self._replace(X=self.X[rows], targets=self.targets[rows], weight=self.weight[rows])

    def raise_if_non_finite(self) -> None:
        check.raise_if_non_finite(self.weight, X=self.X)

    def canonical(self) -> Samples:
        """The same rows, sparse ones with their columns in order and each once."""
        return self._replace(X=self.X.canonical()) if isinstance(self.X, CSR) else self

    def in_units(self) -> Samples:
        weight, unit = check.scaled_weight(self.weight)
        return self._replace(weight=weight, total_weight=self.total_weight / unit)

    def for_classes(self, chosen: Array) -> Samples:
        """The same rows, with targets for some classes (K,) alone, numbered anew.

        A row of another class has a weight of zero, and any number will do.
        """
        targets = self.targets
        if targets.ndim == 2:
            return self._replace(targets=targets[:, chosen])
        return self._replace(targets=np.maximum(np.cumsum(chosen) - 1, 0)[targets])

    @property
    def total_target(self) -> float:
        if self.targets.ndim == 1:
            return self.total_weight
        return float(np.einsum("n,nk->", self.weight, self.targets))


def spaced(n_rows: int, n_read: int) -> Array:
    """The numbers of `n_read` rows of so many, or all, evenly spaced, the first and last too."""
    if n_read >= n_rows:
        return np.arange(n_rows)
    return np.linspace(0, n_rows - 1, n_read).astype(np.int64)
