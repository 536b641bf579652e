"""The optimum of one problem, for rows of Dask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy.typing as npt

import fastsoftmax
from fastsoftmax.dask.table import Opened, opened
from fastsoftmax.model import SoftmaxModel
from fastsoftmax.solvers import FitProgress, FitResult
from fastsoftmax.training import data
from fastsoftmax.training.progress import Solving


def fit(
    X: Any,
    y: Any,
    *,
    client: Any = None,
    classes: npt.ArrayLike | None = None,
    sample_weight: Any = None,
    class_weight: Any = None,
    label_smoothing: float = 0.0,
    l2: float | Literal["auto"] = "auto",
    standardize: bool | Literal["auto"] = "auto",
    fit_intercept: bool = True,
    tol: float = 1e-4,
    max_passes: float = 1000,
    time_limit: float | None = None,
    init: SoftmaxModel | None = None,
    dtype: npt.DTypeLike | None = None,
    feature_names: Sequence[str] | None = None,
    callback: Callable[[FitProgress], Any] | None = None,
    progress: bool | Solving = False,
) -> FitResult:
    """Solve softmax regression on the rows of Dask's arrays or frames; see `fastsoftmax.fit`.

    The result has the same bits for any blocks and any number of workers and of their threads, also
    where workers join or are lost meanwhile; and those of `fastsoftmax.fit` on the same rows, where
    the workers' processors and versions are this process's.

    Parameters
    ----------
    X : dask.array.Array or dask.dataframe.DataFrame, (N, D)
        Samples in rows; blocks hold whole rows. They may be of unknown lengths, and empty, and are
        computed once. Sparse blocks, CSR as SciPy has them, are brought to this process, whose
        memory must hold them all, and solved for here.
    y : dask.array.Array or dask.dataframe.Series, (N,) or (N, K)
        Labels or soft targets, as in `fastsoftmax.fit`, in blocks of any lengths.
    client : distributed.Client, optional
        Whose workers compute. Default: Dask's own choice, the client that was made last; in a task,
        that of its worker. Without a client, all rows are brought to this process by the scheduler
        that Dask chooses, and solved for here.
    sample_weight : dask.array.Array or dask.dataframe.Series, (N,), optional
        Weights of at least 0.
    classes, class_weight, label_smoothing, l2, standardize, fit_intercept, tol, max_passes, \
time_limit, init, dtype, feature_names, callback, progress
        As in `fastsoftmax.fit`.

    Returns
    -------
    FitResult
        As of `fastsoftmax.fit`: nothing in it needs the cluster.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range, or X is cut by columns. What is wrong in
        a block is named by its number.
    TimeoutError
        If no worker runs for as long as `dask.config`'s "fastsoftmax.timeout" says; five minutes
        unless it is set.
    RuntimeError
        If the cluster gives up: its scheduler is lost, or a block was lost that cannot be computed
        again. (Of a task that kills several workers, one after another, Dask says so itself.)
    TrainingInterrupted
        A KeyboardInterrupt that carries the result so far; the tasks under way are cancelled.

    Warns
    -----
    UserWarning
        If workers differ in their processors' vectors or in versions: their results may differ in
        the last digits.

    Notes
    -----
    docs/dask.md says what is sent, and how threads are chosen; docs/scale.md what it costs.

    Examples
    --------
    >>> import dask.array
    >>> import fastsoftmax.dask
    >>> X = dask.array.from_array([[-2.0], [-1.0], [1.0], [2.0]], chunks=(3, 1))
    >>> y = dask.array.from_array(["no", "no", "yes", "yes"], chunks=2)
    >>> fastsoftmax.dask.fit(X, y).model.predict([[-3.0], [3.0]])
    array(['no', 'yes'], dtype='<U3')
    """
    classes = data.classes_of(classes, init)
    with opened(X, y, sample_weight, classes, dtype, client) as table:
        rows: Any = Opened(table.given(class_weight))
        return fastsoftmax.fit(
            rows,
            label_smoothing=label_smoothing,
            l2=l2,
            standardize=standardize,
            fit_intercept=fit_intercept,
            tol=tol,
            max_passes=max_passes,
            time_limit=time_limit,
            init=init,
            feature_names=feature_names,
            callback=callback,
            progress=progress,
        )
