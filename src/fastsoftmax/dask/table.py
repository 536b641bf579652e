"""X, y and the weights of Dask, read once: to a cluster's workers, or to this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import dask
import numpy as np
import numpy.typing as npt

from fastsoftmax import frames
from fastsoftmax import validation as check
from fastsoftmax.dask import blocks
from fastsoftmax.dask.blocks import About, Column
from fastsoftmax.dask.cluster import Cluster, connected
from fastsoftmax.dask.leaves import Form, Piece, part, pieces, starts
from fastsoftmax.dask.rows import DistributedSamples
from fastsoftmax.labels import class_list, raise_unless_alike
from fastsoftmax.training import data
from fastsoftmax.training.data import Given

Array = npt.NDArray[Any]


class Columns(NamedTuple):
    """X, y and the weights, if there are any, a block at a time; nothing is computed yet."""

    given: list[Column]
    classes: Array | None  # if they were listed
    soft: bool  # whether y has a target for each class
    names: tuple[str, ...] | None  # of X's columns

    @classmethod
    def of(cls, X: Any, y: Any, sample_weight: Any, classes: Any) -> Columns:
        listed = None if classes is None else class_list(classes)
        soft = getattr(y, "ndim", 1) == 2
        given = [
            blocks.rows(X, "X"),
            blocks.rows(y, "y") if soft else blocks.labels(y, "y", listed),
        ]
        if sample_weight is not None:
            given.append(blocks.weights(sample_weight, "sample_weight"))
        names = frames.column_names(X._meta) if blocks.is_frame(X) else None
        return cls(given, listed, soft, names)


class Facts(NamedTuple):
    """What blocks tell of all rows."""

    about: list[list[About]]  # of each column's blocks
    classes: Array
    soft: bool
    n_rows: int
    n_features: int
    dtype: np.dtype[Any]  # of X
    sparse: bool
    names: tuple[str, ...] | None  # of X's columns

    @classmethod
    def of(cls, columns: Columns, about: list[list[About]]) -> Facts:
        n_rows = sum(block.n_rows for block in about[0])
        for name, others in zip(("y", "sample_weight"), about[1:], strict=False):
            count = sum(block.n_rows for block in others)
            if count != n_rows:
                raise ValueError(
                    f"{name} must have one entry per row of X, got {count} for {n_rows}"
                )
        n_features, dtype = _width(about[0], "X")
        if n_rows == 0:
            raise ValueError(f"X must have at least one row, got shape {(0, n_features)}")
        sparse = {block.sparse for block in about[0] if block.n_rows}
        if len(sparse) > 1:
            raise TypeError("the blocks of X must be all dense or all sparse")
        classes = _classes(columns, about[1])
        of_X = n_rows, n_features, dtype, sparse.pop(), columns.names
        return cls(about, classes, columns.soft, *of_X)


def _width(about: Sequence[About], name: str) -> tuple[int, np.dtype[Any]]:
    """(the columns, the type that holds all) of blocks; those without rows do not count."""
    counted = [block for block in about if block.n_rows] or list(about[:1])
    widths = sorted({block.n_columns for block in counted})
    if len(widths) > 1:
        raise ValueError(f"the blocks of {name} must be of one width, got {widths} columns")
    return widths[0] if widths else 0, np.result_type(*(block.dtype for block in counted))


def _classes(columns: Columns, about: Sequence[About]) -> Array:
    if columns.soft:
        none = np.empty((0, _width(about, "y")[0]))
        return data.encode(none, 0, columns.classes, np.dtype(np.float64))[1]
    if columns.classes is not None:
        return columns.classes
    values = [block.values for block in about if block.n_rows]
    for some in values[1:]:
        raise_unless_alike(some, values[0], "a block of y", "another")
    return np.unique(np.concatenate(values))


class Table(Protocol):
    """Rows that were read."""

    facts: Facts

    def given(self, class_weight: Any) -> Given:
        """The rows under their weights and those of their classes; once."""


class Opened(NamedTuple):
    """What `fastsoftmax.fit` takes in place of X and y."""

    given: Given

    def open_rows(
        self, classes: Any, class_weight: Any, dtype: Any
    ) -> AbstractContextManager[Given]:
        """The rows, of which all of this has been said."""
        return nullcontext(self.given)


@contextmanager
def opened(
    X: Any, y: Any, sample_weight: Any, classes: Any, dtype: Any, client: Any
) -> Iterator[Table]:
    """The rows, until the end of the block.

    Sparse ones are brought to this process; so are all where there is no cluster.
    """
    columns = Columns.of(X, y, sample_weight, classes)
    with connected(client) as found:
        if found is None:
            computed = dask.compute(*(column.held + column.about for column in columns.given))
            halves = [(part[: len(part) // 2], part[len(part) // 2 :]) for part in computed]
            held, about = map(list, zip(*halves, strict=True))
            yield InMemory(Facts.of(columns, about), held, dtype)
            return
        cluster = Cluster(found)
        try:
            yield _read(cluster, columns, dtype)
        finally:
            cluster.close()


def _read(cluster: Cluster, columns: Columns, dtype: Any) -> Table:
    sizes = [len(column.held) for column in columns.given]
    futures = cluster.compute(
        [task for column in columns.given for task in column.held]
        + [task for column in columns.given for task in column.about]
    )
    held = _split(futures[: sum(sizes)], sizes)
    about = list(cluster.results(futures[sum(sizes) :]))
    facts = Facts.of(columns, _split(about, sizes))
    if facts.sparse:
        return InMemory(facts, [list(cluster.results(column, 8)) for column in held], dtype)
    return OnWorkers(facts, held, dtype, cluster)


def _split(values: list[Any], sizes: Sequence[int]) -> list[list[Any]]:
    ends = np.cumsum([0, *sizes])
    return [values[begin:end] for begin, end in pairwise(ends)]


def _blocks(cut: Sequence[Piece], column: Sequence[Any]) -> list[Any]:
    return [column[piece.block] for piece in cut]


class InMemory:
    """Rows in this process."""

    def __init__(self, facts: Facts, held: list[list[Any]], dtype: Any) -> None:
        self.facts, self._dtype = facts, dtype
        X, y, *weight = held
        del held
        self._X = _stacked(X, facts.sparse)
        if not facts.soft:
            y = [block.values[block.numbers] for block in y if len(block.numbers)]
        self._y = np.concatenate(y)
        self._weight = np.concatenate(weight[0]) if weight else None

    def given(self, class_weight: Any) -> Given:
        facts = self.facts
        found = self._X, self._y, facts.classes, self._weight, class_weight, self._dtype
        return Given(*data.samples(*found), facts.names)


def _stacked(X: list[Any], sparse: bool) -> Any:
    X = [block for block in X if block.shape[0]]
    if not sparse:
        return np.concatenate(X)
    from scipy.sparse import vstack  # whose arrays they are

    return vstack([block.tocsr() for block in X], format="csr")


class OnWorkers:
    """Rows on a cluster's workers."""

    def __init__(self, facts: Facts, held: list[list[Any]], dtype: Any, cluster: Cluster) -> None:
        self.facts, self._cluster = facts, cluster
        self._weighted = len(held) > 2
        self._precision = check.precision_of(np.empty((0, 0), facts.dtype))
        self._dtype = self._precision if dtype is None else check.compute_type(dtype, "dtype")
        form = Form(
            facts.dtype,
            self._dtype,
            None if facts.soft else facts.classes,
            _width(facts.about[1], "y")[1] if facts.soft else np.dtype(np.int64),
        )
        lengths = [[block.n_rows for block in column] for column in facts.about]
        self._starts = starts(facts.n_rows, cluster.n_threads)
        cuts = list(zip(*(pieces(column, self._starts) for column in lengths), strict=True))
        parts = [[_blocks(*pair) for pair in zip(cut, held, strict=True)] for cut in cuts]
        # the futures of blocks are dropped with `held`, and a block once its parts are there
        self._parts = cluster.hold("rows", part, [form] * len(cuts), cuts, parts)

    def given(self, class_weight: Any) -> Given:
        facts, n_rows = self.facts, self.facts.n_rows
        rows_of_parts, self._parts = self._parts, []
        of_all = n_rows, facts.n_features, self._precision, facts.soft, float(n_rows), 1.0
        rows = DistributedSamples(self._cluster, rows_of_parts, self._starts, *of_all)
        if self._weighted:
            rows = rows.weighted("sample_weight")
        if class_weight is not None:
            if facts.soft:
                raise ValueError(data.NO_CLASS_WEIGHT)
            sums = rows.class_weights(len(facts.classes))
            factors = data.class_factors(class_weight, facts.classes, sums)
            rows = rows.weighted("sample_weight times class_weight", factors)
        return Given(rows, facts.classes, self._dtype, facts.names)
