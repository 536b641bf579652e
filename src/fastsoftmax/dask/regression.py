"""Softmax regression at its optimum as a classifier, for rows of Dask."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
from dask.base import is_dask_collection

import fastsoftmax
from fastsoftmax.dask.predict import by_class, decide, predict, score
from fastsoftmax.dask.table import Opened, opened
from fastsoftmax.model import SoftmaxModel
from fastsoftmax.sklearn import SoftmaxRegression as LocalRegression
from fastsoftmax.sklearn.common import of_classes, two_or_more
from fastsoftmax.sklearn.solved import l2_of


class SoftmaxRegression(LocalRegression):
    """`fastsoftmax.sklearn.SoftmaxRegression` for Dask's arrays and frames.

    Its parameters and attributes are the same, and so is what it learns, to the bit, where the
    workers' processors are this one's. Predictions for Dask's collections are lazy and keep their
    blocks, those for a frame its index too; anything else is predicted for here. It holds no
    client, and can be pickled anywhere.

    Examples
    --------
    >>> import dask.array
    >>> from fastsoftmax.dask import SoftmaxRegression
    >>> X = dask.array.from_array([[-2.0], [-1.0], [1.0], [2.0]], chunks=(3, 1))
    >>> y = dask.array.from_array(["no", "no", "yes", "yes"], chunks=2)
    >>> model = SoftmaxRegression().fit(X, y)
    >>> model.predict(X)  # doctest: +ELLIPSIS
    dask.array<..., shape=(4,), dtype=<U3, chunksize=(3,), chunktype=numpy.ndarray>
    >>> model.predict(X).compute()
    array(['no', 'no', 'yes', 'yes'], dtype='<U3')
    """

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, client: Any = None
    ) -> SoftmaxRegression:
        """Solve for X (N, D), labels y (N,) and weights (N,), as `fastsoftmax.dask.fit` does.

        Parameters
        ----------
        X, y, sample_weight
            Arrays, frames or series of Dask.
        client : distributed.Client, optional
            Whose workers compute; see `fastsoftmax.dask.fit`.

        Raises
        ------
        TypeError, ValueError, TimeoutError, RuntimeError, TrainingInterrupted
            As of `fastsoftmax.dask.fit` and of the estimator for arrays. Whatever is raised, the
            classifier stays as it was.

        Warns
        -----
        ConvergenceWarning
            If the relative gap is above `tol`.
        UserWarning
            If workers differ.
        """
        return self._become(copy.copy(self)._fit_blocks(X, y, sample_weight, client))

    def _fit_blocks(self, X: Any, y: Any, sample_weight: Any, client: Any) -> SoftmaxRegression:
        C = self._strength()
        self._raise_unless_meant()
        with opened(X, y, sample_weight, None, None, client) as table:
            if table.facts.soft:
                raise ValueError(f"y must be labels of shape (N,), got {y.ndim} dimensions")
            classes = two_or_more(table.facts.classes)
            init = self._init(classes)
            given = table.given(of_classes(self.class_weight, classes))
            rows: Any = given.rows
            source: Any = Opened(given)
            result = fastsoftmax.fit(
                source,
                l2=l2_of(C, len(classes), rows.total_weight, rows.precision),
                init=init,
                progress=self._progress(),
                **self._options(),
            )
        self.n_features_in_ = rows.n_features
        if given.column_names is not None:
            self.feature_names_in_ = np.array(given.column_names, object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        self._learn(classes, result, stacklevel=4)
        self.n_iter_ = np.array([math.ceil(result.n_passes)], np.int32)
        return self

    def to_local(self) -> LocalRegression:
        """A `fastsoftmax.sklearn.SoftmaxRegression` that has learnt the same."""
        local = LocalRegression()
        local.__dict__ = dict(self.__dict__)
        return local

    def decision_function(self, X: Any) -> Any:
        """Logits (N, K); for two classes (N,), positive where the second is predicted."""
        if not is_dask_collection(X):
            return super().decision_function(X)
        if len(self._fitted_model.classes) == 2:
            return by_class(_margins, self._fitted_model, X, one=True)
        return by_class(SoftmaxModel.decision_function, self._fitted_model, X)

    def predict(self, X: Any, utility: Any = None) -> Any:
        """The most probable class (N,) of each sample, or the most useful decision.

        For Dask's collections an array, or a series with the frame's index. `utility` is as in
        `fastsoftmax.sklearn.SoftmaxRegression`.
        """
        if not is_dask_collection(X):
            return super().predict(X, utility)
        if utility is None:
            return predict(self._fitted_model, X)
        return decide(self._fitted_model, X, utility)

    def predict_proba(self, X: Any) -> Any:
        """Probabilities (N, K); for Dask's collections an array, or a frame with a column each."""
        if not is_dask_collection(X):
            return super().predict_proba(X)
        return by_class(SoftmaxModel.predict_proba, self._fitted_model, X)

    def predict_log_proba(self, X: Any) -> Any:
        """Their logarithms, likewise."""
        if not is_dask_collection(X):
            return super().predict_log_proba(X)
        return by_class(SoftmaxModel.predict_log_proba, self._fitted_model, X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share (by weight) of samples whose label is predicted; computed at once.

        For Dask's collections, X, y and the weights must be in blocks of the same lengths.
        """
        if not is_dask_collection(X):
            return float(super().score(X, y, sample_weight))
        return score(self._fitted_model, X, y, sample_weight)

    @property
    def _fitted_model(self) -> SoftmaxModel:
        self._raise_unless_fitted()
        return self.model_


def _margins(model: SoftmaxModel, X: Any) -> Any:
    Z = model.decision_function(X)
    return Z[:, 1] - Z[:, 0]
