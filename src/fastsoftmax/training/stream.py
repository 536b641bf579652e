"""SGD on a stream: rows come a call at a time, and the state of the steps stays between calls.

Each batch first moves the running moments of the features, and with them the scaling; the weights
and the velocity then change their coordinates, not their meaning.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastsoftmax import validation as check
from fastsoftmax.csr import CSR
from fastsoftmax.model import SoftmaxModel
from fastsoftmax.training import data
from fastsoftmax.training.columns import (
    Moments,
    Scaling,
    moments,
    no_scaling,
    raise_if_out_of_scale,
    standard_scaling,
    standardizes,
)
from fastsoftmax.training.optimizer import Optimizer
from fastsoftmax.training.result import DivergenceError
from fastsoftmax.training.samples import Samples
from fastsoftmax.training.sgd import even_batches
from fastsoftmax.training.sparse_optimizer import SparseOptimizer, scaled
from fastsoftmax.training.steps import curvature_of_batches, curvature_of_sparse_batches

Array = npt.NDArray[Any]


class Options(NamedTuple):
    """How a stream is learnt from; the names and meanings are those of `fit_sgd`."""

    batch_size: int = 128
    l2: float = 0.0
    l2_of_sum: bool = False  # l2 is divided by the weight of the rows so far: of the losses' sum
    learning_rate: float | None = None  # None: 1 over the largest curvature so far
    momentum: float = 0.9
    nesterov: bool = False
    standardize: bool | str = "auto"  # as `standardizes` takes it
    label_smoothing: float = 0.0


class Stream:
    """A training whose rows come a call at a time.

    `feed` visits the rows of a call as they lie, in batches as `fit_sgd` cuts an epoch's. Momentum,
    scales and rate carry over from one call to the next. Losses are divided by the mean weight of
    the rows so far.

    Parameters
    ----------
    model : SoftmaxModel
        To start from. Its dtype is the one computed in.
    options : Options

    Notes
    -----
    The scaled features u = (x - m) * s have weights V and biases c, in the units of X W = s V and
    b = c - m W (docs/math.md, "Scaled features"). Where (m, s) moves to (m', s'), V' = W / s' and
    c' = b + m' W. The velocity is a difference of two parameters and is mapped by the same lines.

    Examples
    --------
    >>> import fastsoftmax
    >>> from fastsoftmax.training.stream import Options, Stream
    >>> stream = Stream(fastsoftmax.SoftmaxModel([[0.0, 0.0]], [0.0, 0.0], ["no", "yes"]))
    >>> loss = stream.feed([[-1.0], [1.0]], ["no", "yes"])
    >>> stream.model.predict([[-3.0], [3.0]])
    array(['no', 'yes'], dtype='<U3')
    """

    def __init__(self, model: SoftmaxModel, options: Options | None = None) -> None:
        n_features = len(model.W)
        self.dtype = model.W.dtype
        self.classes, self.feature_names = model.classes, model.feature_names
        self.options = Options() if options is None else options
        self.calls = 0
        self.rows = 0
        self.weight = 0.0
        self.scaling = no_scaling()
        self._bend = 0.0  # the largest curvature so far
        self._sparse = False  # whether the last rows were
        self._moments = Moments(0.0, np.zeros(n_features), np.zeros(n_features))
        self._optimizer = self._new_optimizer(1, model.W, model.b)

    @property
    def model(self) -> SoftmaxModel:
        """As it is now, in the units of X."""
        W, b = self._optimizer.parameters
        W, b = W.astype(self.dtype, copy=False), b.astype(self.dtype, copy=False)
        return SoftmaxModel(W, b, self.classes, self.feature_names)

    def use(self, options: Options) -> None:
        """Go on with other options; weights, momentum and scales stay."""
        if options != self.options:
            self.options = options
            self._renew_optimizer(1)  # another one: a copy of this stream keeps the old

    def feed(
        self, X: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
    ) -> float:
        """One step for each batch of X (N, D); the weighted mean loss, each before its step.

        Raises
        ------
        TypeError, ValueError
            As `fit_sgd`.
        DivergenceError
            If the loss overflows. Whatever is raised, the whole call is undone.
        """
        samples, _, _ = data.samples(X, y, self.classes, sample_weight, None, None)
        check.samples(samples.X, len(self._moments.mean), self.dtype)
        check.raise_if_non_finite(samples.weight, X=samples.X)
        after = copy.copy(self)
        loss = after._epoch(samples.canonical())
        if loss is None:
            raise DivergenceError(self.calls, after._rate(), self.model)
        self.__dict__ = after.__dict__  # one store: no signal can come half-way
        return loss

    def __copy__(self) -> Stream:
        # shares its arrays, which calls replace and never change
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin

    def __getstate__(self) -> dict[str, Any]:
        """Arrays by feature and class, and numbers: nothing that another version lays out anew."""
        return {
            "classes": self.classes,
            "feature_names": self.feature_names,
            "options": self.options._asdict(),
            "calls": self.calls,
            "rows": self.rows,
            "weight": self.weight,
            "centre": self.scaling.centre,
            "scale": self.scaling.scale,
            "curvature": self._bend,
            "moments": (self._moments.weight, self._moments.mean, self._moments.spread),
            "batch_size": self._optimizer.batch_size,
            "parameters": self._optimizer.parameters,
            "velocity": self._optimizer.velocity,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        try:
            self._set(**state)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"this is no state of a stream that this fastsoftmax can go on from: {error}"
            ) from error

    def _set(
        self,
        *,
        classes: Any,
        feature_names: Any,
        options: dict[str, Any],
        calls: int,
        rows: int,
        weight: float,
        centre: Any,
        scale: Any,
        curvature: float,
        moments: Any,
        batch_size: int,
        parameters: Any,
        velocity: Any,
    ) -> None:
        """Take up a state, all of whose shapes are checked: kernels do not."""
        W, b = parameters
        model = SoftmaxModel(W, b, classes, feature_names)  # it checks
        Stream.__init__(self, model, Options(**options))
        self.calls, self.rows = check.integer(calls, "calls", 0), check.integer(rows, "rows", 0)
        self.weight = check.number(weight, "weight", 0)
        self._bend = check.number(curvature, "curvature", 0)
        n_features = len(model.W)
        size = n_features if np.size(centre) else 0
        self.scaling = Scaling(_vector(centre, "centre", size), _vector(scale, "scale", size))
        mean, spread = (_vector(array, "moments", n_features) for array in moments[1:])
        self._moments = Moments(check.number(moments[0], "moments", 0), mean, spread)
        self._renew_optimizer(check.integer(batch_size, "batch_size", 1))
        W, b = check.weights_and_bias(*velocity)
        if W.shape != model.W.shape:
            raise ValueError(f"velocity must have shape {model.W.shape}, got {W.shape}")
        self._optimizer.velocity = W, b

    def _epoch(self, samples: Samples) -> float | None:
        """One step for each batch; the mean loss, or None where it overflows."""
        X, targets, weight, total_weight = samples
        standardize = standardizes(self.options.standardize, sparse=isinstance(X, CSR))
        batch_size = even_batches(len(X), self.options.batch_size)
        # The largest batch decides how each is cut into chunks, so that the last may be smaller,
        # as in an epoch of `fit_sgd`, and have the same bits.
        sparse = isinstance(X, CSR)
        if batch_size > self._optimizer.batch_size or sparse != self._sparse:
            self._sparse = sparse
            self._renew_optimizer(max(batch_size, self._optimizer.batch_size))
        else:
            self._optimizer = copy.copy(self._optimizer)
        loss = 0.0
        for start in range(0, len(X), batch_size):
            rows = slice(start, start + batch_size)
            loss += self._step(X[rows], targets[rows], weight[rows], standardize)
            if not (np.isfinite(loss) and self._optimizer.is_finite()):
                return None
        self.calls += 1
        return loss / total_weight

    def _step(self, X: Any, targets: Array, weight: Array, standardize: bool) -> float:
        """The sum of weight * loss of a batch, before its step."""
        batch_weight = check.total_weight(weight, "mean") if weight.any() else 0.0
        self.rows += len(X)
        self.weight += batch_weight
        if self.weight == 0:
            return 0.0
        if standardize:
            batch = Samples(X, targets, weight, batch_weight)
            self._moments = self._moments.merged(moments(batch))
            raise_if_out_of_scale(self._moments, batch, self.dtype)
        self._rescale(standardize, check.precision_of(X))
        if isinstance(X, CSR):
            X = scaled(X, self.scaling)
        # with this total, the step divides by the mean weight of all rows so far
        samples = Samples(X, targets, weight, len(X) * (self.weight / self.rows))
        if self.options.learning_rate is None and batch_weight > 0:
            own = samples._replace(total_weight=batch_weight)
            measure = curvature_of_sparse_batches if self._sparse else curvature_of_batches
            bend, _ = measure(own, self.scaling, len(X))
            self._bend = max(self._bend, bend * batch_weight / samples.total_weight)
        self._optimizer.l2 = self._l2()
        if isinstance(self._optimizer, SparseOptimizer):
            self._optimizer.bias_step = self._bias_step()
        order, rates, shares = np.arange(len(X)), np.array([self._rate()]), np.zeros(1)
        return float(self._optimizer.run(samples, order, rates, shares)[0])

    def _l2(self) -> float:
        return self.options.l2 / (self.weight if self.options.l2_of_sum else 1)

    def _rate(self) -> float:
        if self.options.learning_rate is not None:
            return self.options.learning_rate
        return 1 / (self._bend + self._l2()) if self._bend > 0 else 0.0

    def _bias_step(self) -> float:
        """What is left of a step of the biases, whose curvature is 1: that of the weights."""
        if self.options.learning_rate is not None or self._bend == 0:
            return 1.0
        return min(self._bend, 1.0)

    def _rescale(self, standardize: bool, dtype: np.dtype[Any]) -> None:
        """Take up the scales of the moments; model and velocity stay, in the units of X."""
        new = no_scaling()
        if standardize:
            new = standard_scaling(self._moments, dtype)
        if self.scaling.centre.size or new.centre.size:
            self._optimizer.use(new)
            self.scaling = new

    def _renew_optimizer(self, batch_size: int) -> None:
        old = self._optimizer
        self._optimizer = self._new_optimizer(batch_size, *old.parameters)
        self._optimizer.velocity = old.velocity

    def _new_optimizer(self, batch_size: int, W: Array, b: Array) -> Optimizer | SparseOptimizer:
        options = self.options
        kind = SparseOptimizer if self._sparse else Optimizer
        return kind(
            W,
            b,
            self.dtype,
            batch_size=batch_size,
            l2=options.l2,
            momentum=options.momentum,
            nesterov=options.nesterov,
            label_smoothing=options.label_smoothing,
            scaling=self.scaling,
        )


def _vector(value: Any, name: str, size: int) -> Array:
    array = np.array(value, np.float64)
    if array.shape != (size,):
        raise ValueError(f"{name} must have shape ({size},), got {array.shape}")
    return array
