"""The public ways to make a source."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy.typing as npt

from fastsoftmax.sources import memory as budget
from fastsoftmax.sources.batch import Reader
from fastsoftmax.sources.readers.arrow import ArrowReader
from fastsoftmax.sources.readers.callables import BatchReader
from fastsoftmax.sources.readers.npy import NpyReader, text_path
from fastsoftmax.sources.readers.parquet import ParquetReader
from fastsoftmax.sources.readers.tables import import_pyarrow
from fastsoftmax.sources.source import Source

Path = str | os.PathLike[str]


def parquet(
    paths: Path | Sequence[Path],
    *,
    label: str | None = None,
    features: Sequence[str] | None = None,
    weight: str | None = None,
    classes: npt.ArrayLike | None = None,
    memory: int | str = "512MB",
    cache: bool | int | str = True,
) -> Source:
    """Rows of Parquet files, in place of ``X, y``; needs the extra ``fastsoftmax[arrow]``.

    Parameters
    ----------
    paths : path, or sequence of paths
        Files in the order of their rows. A name with ``*``, ``?`` or ``[`` is a pattern: all files
        that it matches, sorted by name.
    label : str, optional
        The column of labels: strings, whole numbers, booleans, or a dictionary of such. Needed to
        train and to score, not to predict.
    features : sequence of str, optional
        The columns of features, in order: numbers or booleans; or lists, all of one length, which
        become as many features. Default: all but those of labels and weights. If they are of one
        type, X has it, else the type that holds them all.
    weight : str, optional
        The column of sample weights.
    classes : array_like, (K,), optional
        The classes, in order. Default: those found, sorted.
    memory : int or str
        The budget, in bytes or as "512MB" or "2GiB", for rows in memory and in the making.
    cache : bool, int or str
        What decoded rows may take in temporary files, of which later passes read: True for half of
        what is free there, False for nothing; each pass then reads the source. They lie, without
        names, in the folder that TMPDIR names: it should not be one in memory (tmpfs).

    Returns
    -------
    Source

    Raises
    ------
    ImportError
        If pyarrow is not installed.
    TypeError, ValueError
        If an argument has the wrong type or form. What is wrong with the files comes out when they
        are read: nulls, with their file, row and column; other columns or types half-way.

    Examples
    --------
    >>> from fastsoftmax import sources
    >>> sources.parquet("part-*.parquet", label="kind", memory="1GB")  # doctest: +SKIP
    Source(part-*.parquet)
    """
    import_pyarrow()
    return _source(ParquetReader(paths, _columns(label, features, weight)), memory, cache, classes)


def arrow(
    data: Any,
    *,
    label: str | None = None,
    features: Sequence[str] | None = None,
    weight: str | None = None,
    classes: npt.ArrayLike | None = None,
    memory: int | str = "512MB",
    cache: bool | int | str = True,
) -> Source:
    """Rows of Arrow data, in place of ``X, y``; needs the extra ``fastsoftmax[arrow]``.

    Parameters
    ----------
    data : pyarrow.Table, pyarrow.dataset.Dataset, object with ``__arrow_c_stream__``, or callable
        A callable starts a new pass each time: it returns one of these, a RecordBatchReader, or an
        iterable of record batches.
    label, features, weight, classes, memory, cache
        As in `parquet`.

    Returns
    -------
    Source

    Raises
    ------
    ImportError, TypeError, ValueError
        As `parquet`.

    Examples
    --------
    >>> from fastsoftmax import sources
    >>> sources.arrow(dataset, label="kind")  # doctest: +SKIP
    Source(arrow FileSystemDataset)
    """
    return _source(ArrowReader(data, _columns(label, features, weight)), memory, cache, classes)


def npy(
    X: Path,
    y: Path | None = None,
    weight: Path | None = None,
    *,
    classes: npt.ArrayLike | None = None,
    memory: int | str = "512MB",
    cache: bool | int | str = True,
) -> Source:
    """Rows of .npy files, in place of ``X, y``; read where they lie, without mapping them.

    Parameters
    ----------
    X : path
        An array (N, D) of real numbers, in either order; rows of Fortran order take longer.
    y : path, optional
        Labels (N,), strings or numbers, or soft targets (N, K). Needed to train and to score.
    weight : path, optional
        Sample weights (N,).
    classes, memory, cache
        As in `parquet`. The cache holds labels as numbers, and weights.

    Returns
    -------
    Source

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or form. What is wrong with the files comes out when they
        are read.

    Examples
    --------
    >>> from fastsoftmax import sources
    >>> sources.npy("X.npy", "y.npy")
    Source(X.npy)
    """
    paths = [None if p is None else text_path(p, n) for p, n in ((y, "y"), (weight, "weight"))]
    return _source(NpyReader(text_path(X, "X"), *paths), memory, cache, classes)


def batches(
    start: Callable[[], Iterable[Any]],
    *,
    classes: npt.ArrayLike | None = None,
    memory: int | str = "512MB",
    cache: bool | int | str = True,
) -> Source:
    """Rows that a function of yours gives in batches of any sizes, in place of ``X, y``.

    Parameters
    ----------
    start : callable
        ``start()`` begins a new pass and gives an iterable of ``(X, y)`` or ``(X, y,
        sample_weight)``, as `fastsoftmax.fit` takes them: the same rows in the same order each
        time. X may be CSR, in all batches or none; for `fastsoftmax.fit`, sparse rows must fit into
        half of the budget. To predict, X alone will do. Called, and gone through, in a thread that
        reads ahead.
    classes, memory, cache
        As in `parquet`. A batch is taken as it comes, beside the budget.

    Returns
    -------
    Source

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or form.

    Examples
    --------
    >>> from fastsoftmax import sources
    >>> def rows():
    ...     yield [[-2.0], [-1.0]], ["no", "no"]
    ...     yield [[1.0], [2.0]], ["yes", "yes"]
    >>> sources.batches(rows)
    Source(batches of rows)
    """
    if not callable(start):
        raise TypeError(
            f"batches takes a callable that starts a new pass each time, got "
            f"{type(start).__name__}; of a generator, give the function that makes it"
        )
    return _source(BatchReader(start), memory, cache, classes)


def _columns(label: Any, features: Any, weight: Any) -> tuple[Any, Any, Any]:
    """The names of columns, checked."""
    for value, name in ((label, "label"), (weight, "weight")):
        if value is not None and not isinstance(value, str):
            raise TypeError(f"{name} must be the name of a column, got {value!r}")
    if features is None:
        return label, None, weight
    if isinstance(features, str) or not all(isinstance(name, str) for name in features):
        raise TypeError(f"features must be a sequence of names of columns, got {features!r}")
    names = tuple(features)
    if not names or len(set(names)) < len(names):
        raise ValueError("features must name at least one column, all different")
    for value, name in ((label, "label"), (weight, "weight")):
        if value in names:
            raise ValueError(f"features has {value!r}, which is the column of the {name}")
    return label, names, weight


def _source(reader: Reader, memory: Any, cache: Any, classes: Any) -> Source:
    if not isinstance(cache, bool):
        cache = budget.parse(cache, "cache")
    return Source(reader, budget.parse(memory, "memory"), cache, classes)
