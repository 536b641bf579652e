"""What readers give: some consecutive rows."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from fastsoftmax.csr import CSR
from fastsoftmax.sources.rows import Rows

Array = npt.NDArray[Any]


class Coded(NamedTuple):
    """Labels as numbers of a few values."""

    numbers: Array  # (n,), integers
    values: Array  # numbers or strings


class Batch(NamedTuple):
    """Consecutive rows of a source, as its reader finds them."""

    X: Array | CSR  # (n, D)
    y: Array | Coded | None  # labels (n,) or soft targets (n, K)
    weight: Array | None  # (n,)
    place: str  # what they are part of: a file, or which batch
    first: int  # the number of their first row there
    names: tuple[str, ...] | None = None  # of the features, where `blocks` gives it

    def labels(self) -> Array:
        """y, where it is labels."""
        y = self.y
        found: Array = y.values[y.numbers] if isinstance(y, Coded) else np.asarray(y)
        return found

    def row(self, i: int) -> str:
        """Row `i` of the batch, for an error's text."""
        return f"row {self.first + i} of {self.place}"


class Reading(Protocol):
    """Rows being read for one call of `fit` or its like; `batches` begins a pass over them."""

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """Known once a batch was read."""
        ...

    def batches(self, memory: int, *, labels: bool) -> Generator[Batch, None, None]:
        """All rows in order, in batches that take a small part of `memory` bytes.

        With `labels` also their labels and weights. Where `on_disk` gives rows, and with labels, X
        is not read: it has the right shape and type, and nothing in it.
        """
        ...

    def on_disk(self) -> Rows | None:
        """X where it lies in a file row by row, that no cache need repeat."""
        ...

    def check(self) -> None:
        """Raise SourceChangedError if files are seen to have changed."""
        ...

    def close(self) -> None:
        """Close what is open."""
        ...


class Reader(Protocol):
    """Where rows come from."""

    def open(self) -> Reading:
        """Begin to read: files are looked for, and may not change from then on."""
        ...

    def describe(self) -> str:
        """The source in a few words."""
        ...


def weight_of(batch: Batch) -> Array:
    """The weights of a batch that has some, as float64."""
    assert batch.weight is not None
    weight = batch.weight.astype(np.float64, copy=False)
    bad = np.flatnonzero(~((weight >= 0) & (weight < np.inf)))
    if bad.size:
        i = int(bad[0])
        raise ValueError(
            f"the weight in {batch.row(i)} is {weight[i]}; it must be finite and at least 0"
        )
    return weight
