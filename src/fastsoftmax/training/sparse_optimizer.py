"""SGD's state on sparse rows, and runs of steps on it: what `optimizer` is for dense ones.

The kernel's weights are those of scaled features, and its rows are scaled ones: their entries alone
are multiplied (`scaled`), and centring happens in the weights. A batch reads and writes the weights
of its own features; those of the others are brought up to date when somebody asks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax import views
from fastsoftmax.csr import CSR
from fastsoftmax.kernels.passes.sgd_lazy import SparseState, bring_up_to_date
from fastsoftmax.kernels.passes.sgd_sparse import (
    SparseBatches,
    SparseScratch,
    sgd_steps_sparse,
    sparse_scratch,
)
from fastsoftmax.kernels.passes.sgd_update import Steps
from fastsoftmax.kernels.tiles.sizes import ROW_BLOCK, ceil_div
from fastsoftmax.kernels.vectors.memory import SparseRows
from fastsoftmax.threads import launch
from fastsoftmax.training.columns import Scaling
from fastsoftmax.training.optimizer import first_call, next_call
from fastsoftmax.training.samples import Samples

Array = npt.NDArray[Any]

# Steps of a period, by the number of features: ending one costs a step of each feature, and each
# step costs a product for each of those before it, a fifteenth of that.
_SHORTEST, _LONGEST = 16, 2048

_SHARED = 2**16  # weights that are worth a second thread


def scaled(X: CSR, scaling: Scaling) -> CSR:
    """X with its entries times the scales; itself without any."""
    if not scaling.centre.size:
        return X
    entries = slice(int(X.indptr[0]), int(X.indptr[-1]))
    indices = X.indices[entries]
    data = X.data[entries] * scaling.like(X).scale[indices]
    return replace(X, data=data, indices=indices, indptr=X.indptr - X.indptr[0])


def _up_to_date(state: SparseState) -> SparseState:
    """The same state, all its rows right."""
    if state.now[0]:
        launch(bring_up_to_date, state, parallel=state.Y.size > _SHARED)
    return state


def _at_rest(state: SparseState) -> SparseState:
    """The same state, up to date, its velocity zero."""
    _up_to_date(state)
    for array in (state.Y[:, 1], state.biases[1], state.shift[1]):
        array[:] = 0
    return state


class SparseOptimizer:
    """Weights, velocity and average of SGD; as `Optimizer`, for sparse rows that are `scaled`."""

    def __init__(
        self,
        W: Array,  # (D, K)
        b: Array,  # (K,)
        dtype: np.dtype[Any],
        *,
        batch_size: int,
        l2: float,
        momentum: float,
        nesterov: bool,
        label_smoothing: float,
        scaling: Scaling,
        n_entries: float = 0.0,  # of a row, about
        bias_step: float = 1.0,
    ) -> None:
        self.batch_size, self.l2, self.momentum = batch_size, l2, momentum
        self.nesterov, self.label_smoothing = nesterov, label_smoothing
        self.bias_step = bias_step
        n_features, n_classes = W.shape
        of_batch = batch_size * (n_entries + 1)
        self.flops = 8.0 * of_batch * n_classes
        self._per_call = first_call(self.flops)
        period = int(min(max((15 * n_features) ** 0.5, _SHORTEST), _LONGEST))
        products = np.zeros((7, period + 1))
        products[::3, 0] = 1
        products[3, 0], products[4, 0] = 0, 1
        self._state = SparseState(
            Y=np.zeros((n_features, 2, n_classes), dtype),
            last=np.zeros(n_features, np.int32),
            now=np.zeros(1, np.int64),
            products=products,
            centre=np.zeros(0),
            centring=np.zeros((3, n_classes)),
            shift=np.zeros((3, n_classes)),
            biases=np.zeros((3, n_classes)),
            b=np.zeros(n_classes, dtype),
            check=np.zeros(1),
        )
        self._room: tuple[CSR, SparseScratch] | None = None
        self._take(scaling)
        self.parameters = W, b

    @property
    def n_classes(self) -> int:
        return int(self._state.b.size)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._state.b.dtype

    def use(self, scaling: Scaling) -> None:
        """Go on with other scales; model and velocity stay, in the units of X."""
        parameters, velocity = self.parameters, self.velocity
        self._take(scaling)
        self.parameters, self.velocity = parameters, velocity

    def _take(self, scaling: Scaling) -> None:
        self.scaling = scaling
        self._state = self._state._replace(centre=scaling.centre * scaling.scale)

    def _up_to_date(self) -> SparseState:
        """The state with all its rows right."""
        return _up_to_date(self._state)

    def _shift(self, Y: Array) -> Array:
        """centre'Y of (D, K), in float64."""
        if not self._state.centre.size:
            return np.zeros(self.n_classes)
        shift: Array = np.einsum("d,dk->k", self._state.centre, Y)
        return shift

    def _original(self, row: int) -> Array:
        """Weights, velocity or average in the units of X, (D, K)."""
        Y = self._up_to_date().Y[:, row]
        return self.scaling.units[:, None] * Y if self.scaling.centre.size else Y.copy()

    def _set(self, row: int, pair: tuple[Array, Array]) -> None:
        """Weights or velocity, of a pair in the units of X."""
        W, b = pair
        state = self._up_to_date()
        state.Y[:, row] = W / self.scaling.units[:, None] if self.scaling.centre.size else W
        state.shift[row] = self._shift(state.Y[:, row])
        state.biases[row] = b + state.shift[row]

    @property
    def parameters(self) -> tuple[Array, Array]:
        W = self._original(0)
        return W, self._state.biases[0] - self._shift(self._state.Y[:, 0])

    @parameters.setter
    def parameters(self, pair: tuple[Array, Array]) -> None:
        self._set(0, pair)
        self._state.b[:] = pair[1]

    @property
    def velocity(self) -> tuple[Array, Array]:
        W = self._original(1)
        return W, self._state.biases[1] - self._shift(self._state.Y[:, 1])

    @velocity.setter
    def velocity(self, pair: tuple[Array, Array]) -> None:
        self._set(1, pair)

    @property
    def average(self) -> tuple[Array, Array]:
        """The mean of the iterates that had a share in it."""
        return self._original(2), self._state.biases[2].copy()

    def rest(self) -> None:
        """Forget the velocity."""
        _at_rest(self._state)

    def snapshot(self, *, at_rest: bool = False) -> list[Array]:
        """All that steps change, to `restore`; with `at_rest`, as if the velocity were zero.

        A copy as it is takes half as long as to bring rows up to date first.
        """
        return [np.array(at_rest), *(array.copy() for array in self._state)]

    def restore(self, snapshot: list[Array]) -> None:
        at_rest, *arrays = snapshot
        state = SparseState(*(array.copy() for array in arrays))
        self._state = _at_rest(state) if at_rest else state  # one store: no signal comes half-way

    def __copy__(self) -> SparseOptimizer:
        # with arrays of its own
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._state = SparseState(*(array.copy() for array in self._state))
        twin._room = None
        return twin

    def is_finite(self) -> bool:
        """Whether all weights and biases are."""
        state = self._state
        kept = state.check, state.products[:, 0], state.centring, state.b
        return all(bool(np.isfinite(array).all()) for array in kept)

    def run(
        self,
        samples: Samples,
        order: Array,
        rates: Array,
        shares: Array,
        between: Callable[[int], None] | None = None,
        *,
        epochs: int = 1,
        projections: Array | None = None,
    ) -> Array:
        """As `Optimizer.run`, without projections."""
        X, targets, weight, _ = samples
        if shares.any() and self._state.Y.shape[1] == 2:
            Y = self._up_to_date().Y
            self._state = self._state._replace(Y=np.concatenate([Y, np.zeros_like(Y[:, :1])], 1))
        epoch_rows = len(order) // epochs
        n_batches = epochs * ceil_div(epoch_rows, self.batch_size)
        losses = np.full(n_batches, np.nan)
        state, room = self._state, self._room_for(X, targets)
        batches = SparseBatches(
            X=SparseRows(*X.for_kernel()),
            targets=views.target_rows(targets),
            sample_weight=views.as_column(weight),
            order=order,
            epoch_rows=epoch_rows,
            batch_size=self.batch_size,
            first=0,
            label_smoothing=self.label_smoothing,
        )
        how = samples.weight_scale, self.l2, self.momentum, self.nesterov
        measure = self.bias_step, float(np.einsum("d,d->", state.centre, state.centre))
        done = 0
        while done < n_batches:
            part = slice(done, min(done + self._per_call, n_batches))
            batches = batches._replace(first=done)
            steps = Steps(rates[part], shares[part], *how)
            started = time.perf_counter()
            arguments = batches, steps, *measure, state, room, losses[part]
            launch(sgd_steps_sparse, *arguments, parallel=False)
            pace = (part.stop - part.start) / (time.perf_counter() - started)
            self._per_call = next_call(self._per_call, pace)
            done = part.stop
            if not np.isfinite(losses[done - 1]):
                break
            if between is not None and done < n_batches:
                between(done)
        return losses

    def _room_for(self, X: CSR, targets: Array) -> SparseScratch:
        """Room for any batch of these rows; that of the last run if they are the same."""
        if self._room is None or self._room[0] is not X:
            lengths = np.sort(np.diff(X.indptr))[::-1]
            n_slots = min(int(lengths[: self.batch_size].sum()), X.n_features)
            n_entries = int(lengths[:ROW_BLOCK].sum())
            rows = views.target_rows(targets)
            self._room = X, sparse_scratch(rows, self._state.b, n_slots, n_entries)
        return self._room[1]
