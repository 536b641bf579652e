"""Softmax regression by mini-batch SGD, with a stream of rows."""

from __future__ import annotations

import copy
import math
import warnings
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import _check_partial_fit_first_call, check_classification_targets

from fastsoftmax import validation as check
from fastsoftmax.model import SoftmaxModel
from fastsoftmax.sklearn.common import Classifier, is_verbose, of_classes, two_or_more, weights
from fastsoftmax.training import Epoch, fit_sgd
from fastsoftmax.training.loop import FAR_ABOVE
from fastsoftmax.training.sgd import MAX_EPOCHS, rate_and_schedule
from fastsoftmax.training.stream import Options, Stream

Array = npt.NDArray[Any]

# Of a stream, the mean loss of fewer rows may be that of an odd one.
_ENOUGH_ROWS = 100


class SoftmaxClassifier(Classifier):
    """Softmax regression by mini-batch SGD, for scikit-learn.

    Parameters
    ----------
    alpha : float or "auto"
        Penalty ``alpha / 2 * ||coef_||**2`` on the mean loss, as in scikit-learn's SGDClassifier;
        with `standardize`, on the coefficients of the scaled features. The intercept is not
        penalised. "auto" is 1 over the sum of the weights: LogisticRegression's ``C=1``. Two
        classes have one vector of coefficients, the difference of two of `fit_sgd`'s, so that its
        ``l2`` is ``2 * alpha`` there.
    batch_size : int
        Rows per step, at most.
    max_iter : int or "auto"
        Passes over the data in `fit`; "auto" as `epochs` of `fit_sgd`.
    learning_rate, schedule, momentum, nesterov, average, standardize, shuffle, label_smoothing
        As in `fastsoftmax.fit_sgd`. `partial_fit` takes no part in `schedule`, `average` and
        `shuffle`.
    class_weight : dict or "balanced", optional
        As in `fit_sgd`; but `fit` ignores what it has for classes that `y` lacks, as a fold may,
        with a warning unless it has all that `y` has.
    early_stopping : bool
        Hold out a share of the rows of each class, and stop when their loss no longer falls; the
        model is then that of the best pass.
    validation_fraction : float in (0, 1)
        That share.
    n_iter_no_change : int
        The passes without a lower loss after which to stop.
    warm_start : bool
        Let `fit` start from the last model, whose classes must be the same.
    random_state : int, RandomState instance or None
        Decides the order of the rows and which of them are held out.
    verbose : int or bool
        Above 0, `fit` prints a line for each pass.

    Attributes
    ----------
    classes_ : ndarray, (K,)
    coef_ : ndarray, (K, D), or (1, D) for two classes
        In the units of X.
    intercept_ : ndarray, (K,), or (1,) for two classes
    model_ : SoftmaxModel
        The model, which can be saved without pickle. Predictions come from it.
    n_iter_ : int
        Passes done by the last `fit`, and calls of `partial_fit` since.
    loss_curve_ : list of float
        The mean loss of each, without the penalty; see `SGDResult.history`.
    n_features_in_ : int
    feature_names_in_ : ndarray, (D,)
        The columns' names, where X had such.

    Notes
    -----
    docs/sklearn.md has what differs from scikit-learn's own classifiers, and how the weights and
    the momentum of `partial_fit` carry over when its running scales move.

    Examples
    --------
    >>> from fastsoftmax.sklearn import SoftmaxClassifier
    >>> X, y = [[-2.0], [-1.0], [1.0], [2.0]], ["no", "no", "yes", "yes"]
    >>> SoftmaxClassifier(random_state=0).fit(X, y).predict([[-3.0], [3.0]])
    array(['no', 'yes'], dtype='<U3')
    """

    n_iter_: int
    loss_curve_: list[float]
    _stream: Stream | None

    def __init__(
        self,
        *,
        alpha: Any = "auto",
        batch_size: int = 128,
        max_iter: int | Literal["auto"] = "auto",
        learning_rate: Any = "auto",
        schedule: str = "auto",
        momentum: float = 0.9,
        nesterov: bool = False,
        average: float = 0.0,
        standardize: bool | Literal["auto"] = "auto",
        shuffle: bool = True,
        class_weight: Any = None,
        label_smoothing: float = 0.0,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.alpha = alpha
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.momentum = momentum
        self.nesterov = nesterov
        self.average = average
        self.standardize = standardize
        self.shuffle = shuffle
        self.class_weight = class_weight
        self.label_smoothing = label_smoothing
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> SoftmaxClassifier:
        """Train on X (N, D), dense or sparse, labels y (N,) and weights (N,), as `fit_sgd` does.

        Raises
        ------
        TypeError, ValueError
            If an argument or a parameter has the wrong type, shape or range, or there are fewer
            than two classes.
        DivergenceError
            If the loss overflows or ends far above that of equal probabilities: a `learning_rate`
            too high for the data.
        TrainingInterrupted
            A KeyboardInterrupt that carries the result so far. Whatever is raised, the classifier
            stays as it was.

        Warns
        -----
        ConvergenceWarning
            If the loss still fell notably in the last of `max_iter` passes.
        """
        return self._become(copy.copy(self)._fit(X, y, sample_weight))

    def _fit(self, X: Any, y: Any, sample_weight: Any) -> SoftmaxClassifier:
        check.raise_if_masked(X=X, y=y, sample_weight=sample_weight)
        goes_on = check.flag(self.warm_start, "warm_start") and hasattr(self, "model_")
        epochs: Any = "auto"
        if not check.is_auto(self.max_iter, "max_iter", "an integer"):
            epochs = check.integer(self.max_iter, "max_iter", 1, MAX_EPOCHS)
        X, y = self._validated(X, y, reset=not goes_on)
        check_classification_targets(y)
        classes = two_or_more(np.unique(y))
        if goes_on and not np.array_equal(classes, self.classes_):
            raise ValueError("warm_start needs the classes of the last fit")
        class_weight = of_classes(self.class_weight, classes)
        weight = weights(X, y, classes, sample_weight, class_weight)
        random = check_random_state(self.random_state)
        held_out = patience = None
        if check.flag(self.early_stopping, "early_stopping"):
            patience = check.integer(self.n_iter_no_change, "n_iter_no_change", 1)
            (X, y, weight), held_out = self._hold_out(X, y, weight, random)
        l2, l2_of_sum = self._penalty(len(classes))
        l2 = l2 / check.weight_of_rows(weight) if l2_of_sum else l2
        dtype = check.precision_of(X)
        if l2 > float(np.finfo(dtype).max):
            raise ValueError(f"alpha={self.alpha!r} is {l2:g} here, which does not fit {dtype}")
        result = fit_sgd(
            X,
            y,
            classes=classes,
            sample_weight=weight,
            label_smoothing=self.label_smoothing,
            l2=l2,
            standardize=self.standardize,
            batch_size=self.batch_size,
            epochs=epochs,
            learning_rate=self.learning_rate,
            schedule=self.schedule,
            momentum=self.momentum,
            nesterov=self.nesterov,
            average=self.average,
            shuffle=self.shuffle,
            seed=int(random.randint(np.iinfo(np.int32).max)),
            init=self.model_ if goes_on else None,
            validation_data=held_out,
            patience=patience,
            feature_names=getattr(self, "feature_names_in_", None),
            callback=_show if is_verbose(self.verbose) else None,
        )
        if result.still_falling and result.stopped == "epochs":
            warnings.warn(
                f"the loss was still falling after {len(result.history['loss'])} passes over X: "
                "raise max_iter, or let SoftmaxRegression solve for the optimum",
                ConvergenceWarning,
                stacklevel=3,
            )
        self.classes_, self.model_ = classes, result.model
        self.loss_curve_ = result.history["loss"]
        self.n_iter_ = len(self.loss_curve_)
        self._stream = None
        return self

    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> SoftmaxClassifier:
        """Go on training with the rows of X (N, D), once and as they lie.

        Momentum, running feature scales and step size carry over from call to call. After a `fit`,
        a stream begins at its model.

        Parameters
        ----------
        X : array_like, (N, D)
        y : array_like, (N,)
        classes : array_like, (K,)
            All there will ever be; needed in the first call.
        sample_weight : array_like, (N,), optional
            Losses are divided by the mean weight of all rows so far.

        Raises
        ------
        TypeError, ValueError
            As `fit`; also with `early_stopping` or ``class_weight="balanced"``, which need all rows
            at once.
        DivergenceError
            If the loss overflows. Whatever is raised, the classifier stays as it was.

        Warns
        -----
        ConvergenceWarning
            If the loss of these rows, 100 at least, is more than ten times that of equal
            probabilities.
        """
        return self._become(copy.copy(self)._partial_fit(X, y, classes, sample_weight))

    def _partial_fit(self, X: Any, y: Any, classes: Any, sample_weight: Any) -> SoftmaxClassifier:
        check.raise_if_masked(X=X, y=y, sample_weight=sample_weight)
        if check.flag(self.early_stopping, "early_stopping"):
            raise ValueError("early_stopping needs all rows at once: use fit")
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight={self.class_weight!r} needs all rows at once: give partial_fit a "
                "dict, or sample_weight"
            )
        first = not hasattr(self, "model_")
        _check_partial_fit_first_call(self, classes)
        X, y = self._validated(X, y, reset=first)
        classes = two_or_more(self.classes_)
        weight = weights(X, y, classes, sample_weight, self.class_weight)
        stream, options = copy.copy(getattr(self, "_stream", None)), self._options()
        if stream is None:
            stream = Stream(self._blank(check.precision_of(X)) if first else self.model_, options)
        stream.use(options)
        loss = stream.feed(X, y, weight)
        equal = math.log(len(classes))
        if X.shape[0] >= _ENOUGH_ROWS and loss > FAR_ABOVE * equal:
            warnings.warn(
                f"the loss of these rows is {loss:.3g}, equal probabilities have {equal:.3g}: "
                "lower learning_rate, unless these rows are unlike those before",
                ConvergenceWarning,
                stacklevel=3,
            )
        self._stream, self.model_ = stream, stream.model
        self.loss_curve_ = [*getattr(self, "loss_curve_", []), loss]
        self.n_iter_ = len(self.loss_curve_)
        return self

    def _penalty(self, n_classes: int) -> tuple[float, bool]:
        """`alpha` as l2 of two or more vectors of coefficients; whether on the sum of losses."""
        # W = (-w, w) / 2 has half the squares of w = w_1 - w_0
        vectors = 2.0 if n_classes == 2 else 1.0
        if check.is_auto(self.alpha, "alpha"):
            return vectors, True
        return vectors * check.number(self.alpha, "alpha", 0), False

    def _hold_out(self, X: Array, y: Array, weight: Array, random: Any) -> list[list[Array]]:
        """[X, y, weight] to train on, and to measure progress on."""
        parts = train_test_split(
            X, y, weight, test_size=self.validation_fraction, stratify=y, random_state=random
        )
        return [parts[::2], parts[1::2]]

    def _options(self) -> Options:
        """The parameters that `partial_fit` goes by, checked."""
        l2, l2_of_sum = self._penalty(len(self.classes_))
        return Options(
            batch_size=check.integer(self.batch_size, "batch_size", 1),
            l2=l2,
            l2_of_sum=l2_of_sum,
            learning_rate=rate_and_schedule(self.learning_rate, self.schedule)[0],
            momentum=check.number(self.momentum, "momentum", 0, 1, below=True),
            nesterov=check.flag(self.nesterov, "nesterov"),
            standardize=self.standardize,
            label_smoothing=check.number(self.label_smoothing, "label_smoothing", 0, 1),
        )

    def _blank(self, dtype: npt.DTypeLike) -> SoftmaxModel:
        """Zero weights."""
        n_classes = len(self.classes_)
        W, b = np.zeros((self.n_features_in_, n_classes), dtype), np.zeros(n_classes, dtype)
        return SoftmaxModel(W, b, self.classes_, getattr(self, "feature_names_in_", None))


def _show(epoch: Epoch) -> None:
    line = f"epoch {epoch.epoch + 1}: loss {epoch.loss:.4f}"
    if epoch.validation_loss is not None:
        line += f", of the rows held out {epoch.validation_loss:.4f}"
    print(line, flush=True)
