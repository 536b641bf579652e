"""SGD's state, and runs of steps on it: the layer between `fit_sgd` and the kernel.

`kernels.passes.sgd_update` says what a step is. Where rows are centred and scaled as they are
loaded, the kernel's weights are those of the scaled features; else they are those of X.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax import views
from fastsoftmax.kernels.passes.sgd import Batches, scratch_for, sgd_steps_by_chunk
from fastsoftmax.kernels.passes.sgd_by_slab import sgd_steps_by_slab, slabs_for
from fastsoftmax.kernels.passes.sgd_update import Frame, State, Steps
from fastsoftmax.kernels.tiles.packing import packed, packed_features, padded, unpacked
from fastsoftmax.kernels.tiles.sizes import (
    DIRECTIONS,
    ROW_BLOCK,
    ceil_div,
    sgd_chunk_rows,
    sgd_slab_width,
)
from fastsoftmax.kernels.vectors.vector_ir import VECTOR_BYTES
from fastsoftmax.threads import launch, threads_in_use
from fastsoftmax.training.columns import Scaling, no_scaling
from fastsoftmax.training.curvature import Directions, no_directions
from fastsoftmax.training.samples import Samples

Array = npt.NDArray[Any]

# One compiled call ends after about this long, so that Ctrl-C and progress are seen to.
_SECONDS_PER_CALL = 0.1
_FIRST_CALL_FLOPS = 2e7

# Whether threads pay depends on the layer and on who else is running: so many calls, ever longer
# ones, take turns at first, and the way that was slower is tried again after so many.
_TRIALS = 8
_RETRY = 32


def first_call(flops: float) -> int:
    """Batches of the first compiled call, of batches of so many operations."""
    return ceil_div(int(_FIRST_CALL_FLOPS), int(flops) + 1)


def next_call(last: int, pace: float) -> int:
    """Batches of the call after one of `last`, at a pace of so many a second."""
    return min(max(int(pace * _SECONDS_PER_CALL), 1), 2 * last)


_VELOCITY = ("velocity_W", "velocity_c", "velocity_along")
_CHANGED = ("W", "b", "c", "along", *_VELOCITY, "average_W", "average_b")


class Optimizer:
    """Weights, velocity and average of (mini-batch) SGD with momentum.

    `parameters`, `velocity` and `average` are pairs of arrays (D, K) and (K,) in the units of X.
    """

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
        directions: Directions | None = None,
    ) -> None:
        self.batch_size, self.l2, self.momentum = batch_size, l2, momentum
        self.nesterov, self.label_smoothing = nesterov, label_smoothing
        n_features, n_classes = W.shape
        size = n_classes * packed_features(n_features)
        self.flops = 4.0 * batch_size * n_features * n_classes
        sizes = batch_size, n_features, n_classes, dtype.itemsize
        self._kernel: Callable[..., None] = sgd_steps_by_slab
        self._room_for: Callable[[Batches, State], Any] = slabs_for
        self._cut = sgd_slab_width(*sizes)
        n_partials, n_gradients = ceil_div(batch_size, ROW_BLOCK), 0
        n_shifts = 1
        if self._cut:
            self._n_tasks = n_shifts = ceil_div(n_features, self._cut)
        else:
            self._kernel, self._room_for = sgd_steps_by_chunk, scratch_for
            self._cut = sgd_chunk_rows(*sizes)
            self._n_tasks = n_partials = n_gradients = ceil_div(batch_size, self._cut)
        self._per_call = first_call(self.flops)
        self._pace: dict[bool, float] = {}  # batches a second, in parallel and not
        self._calls = 0
        lanes = VECTOR_BYTES // dtype.itemsize
        self._state = State(
            n_features,
            W=np.zeros(size, dtype),
            b=np.zeros(n_classes, dtype),
            c=np.zeros(n_classes, dtype),
            velocity_W=np.zeros(size, dtype),
            velocity_c=np.zeros(n_classes, dtype),
            average_W=np.zeros(0, dtype),  # until `run` is given shares
            average_b=np.zeros(n_classes, dtype),
            along=np.zeros((DIRECTIONS, n_classes)),
            velocity_along=np.zeros((DIRECTIONS, n_classes)),
            bend=np.zeros((1 + DIRECTIONS, n_classes), dtype),
            shift=np.zeros((n_shifts, n_classes, lanes), dtype),
            partial_G_T=np.zeros(
                (n_gradients, n_classes, padded(n_features, dtype.itemsize)), dtype
            ),
            partial_g=np.zeros((n_partials, 1 + DIRECTIONS, n_classes), dtype),
            partial_loss=np.zeros(n_partials),
        )
        self._zeros = np.broadcast_to(np.zeros(DIRECTIONS, dtype), (1, DIRECTIONS))
        self._set_frame(scaling, directions, self._centres_in_weights(scaling))
        self.parameters = W, b

    @property
    def n_classes(self) -> int:
        return int(self._state.b.size)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._state.W.dtype

    # What the steps are measured by

    def use(self, scaling: Scaling) -> None:
        """Go on with other scales and no directions; model and velocity stay, in the units of X."""
        in_weights = self._centres_in_weights(scaling)
        if self._in_weights and in_weights:
            self._recentre(scaling)
            return
        parameters, velocity = self.parameters, self.velocity
        self._set_frame(scaling, None, in_weights)
        self.parameters, self.velocity = parameters, velocity

    def _recentre(self, scaling: Scaling) -> None:
        """`use` where the kernel's weights are those of X, before and after: these stay."""
        state, shape = self._state, (self._state.n_features, self.n_classes)
        V, before, after = unpacked(state.velocity_W, *shape), self.scaling.centre, scaling.centre
        velocity_b = state.velocity_c - np.einsum("d,dk->k", before, V)
        state.velocity_c[:] = velocity_b + np.einsum("d,dk->k", after, V)
        state.c[:] = state.b + np.einsum("d,dk->k", after, unpacked(state.W, *shape))
        state.along[:] = state.velocity_along[:] = 0
        self._set_frame(scaling, None, True)

    def _centres_in_weights(self, scaling: Scaling) -> bool:
        return bool(scaling.centre.size) and not scaling.on_load(self.dtype)

    def _set_frame(self, scaling: Scaling, directions: Directions | None, in_weights: bool) -> None:
        n_features, dtype = self._state.n_features, self.dtype
        self.scaling, self._in_weights = scaling, in_weights
        self.directions = no_directions(n_features) if directions is None else directions
        along = np.zeros((1 + DIRECTIONS, packed_features(n_features)), dtype)
        squared_scale, mean = np.ones_like(along[0]), np.zeros_like(along[0])
        if directions is not None:
            along[1:, :n_features] = directions.Q
        if self._in_weights:
            centre, scale = scaling
            mean[:n_features] = centre
            squared_scale[:n_features] = scale**2
            along[0, :n_features] = scale**2 * centre
            if directions is not None:
                along[1:, :n_features] *= scale
        self._frame = Frame(
            along,
            squared_scale,
            mean,
            self.directions.shrink,
            self.directions.bias_step,
            views.as_rows(self._zeros),
        )

    def _to_kernel(self, W: Array, b: Array) -> tuple[Array, Array, Array]:
        """(W and c as the kernel has them, V'q_j) of a pair in the units of X."""
        Q, c = self.directions.Q, b
        if self._in_weights:
            Q, c = Q / self.scaling.units, b + np.einsum("d,dk->k", self.scaling.centre, W)
        elif self.scaling.centre.size:
            W, c = self.scaling.to_scaled(W, b)
        return W, c, np.einsum("jd,dk->jk", Q, W)

    def _from_kernel(self, W: Array, b: Array) -> tuple[Array, Array]:
        W = unpacked(W, self._state.n_features, self.n_classes)
        if self.scaling.centre.size and not self._in_weights:
            return self.scaling.to_original(W, b)
        return W, b.copy()

    @property
    def parameters(self) -> tuple[Array, Array]:
        return self._from_kernel(self._state.W, self._state.b)

    @parameters.setter
    def parameters(self, pair: tuple[Array, Array]) -> None:
        state = self._state
        W, state.c[:], state.along[:] = self._to_kernel(*pair)
        state.b[:] = pair[1] if self._in_weights else state.c
        packed(W, state.W)

    @property
    def velocity(self) -> tuple[Array, Array]:
        state = self._state
        W = unpacked(state.velocity_W, state.n_features, self.n_classes)
        if self._in_weights:
            return W, state.velocity_c - np.einsum("d,dk->k", self.scaling.centre, W)
        return self.scaling.to_original(W, state.velocity_c)

    @velocity.setter
    def velocity(self, pair: tuple[Array, Array]) -> None:
        state = self._state
        W, state.velocity_c[:], state.velocity_along[:] = self._to_kernel(*pair)
        packed(W, state.velocity_W)

    @property
    def average(self) -> tuple[Array, Array]:
        """The mean of the iterates that had a share in it."""
        return self._from_kernel(self._state.average_W, self._state.average_b)

    def rest(self) -> None:
        """Forget the velocity."""
        for field in _VELOCITY:
            getattr(self._state, field)[:] = 0

    def snapshot(self, *, at_rest: bool = False) -> list[Array]:
        """All that steps change, to `restore`; with `at_rest`, as if the velocity were zero."""
        nothing = np.empty(0, self.dtype)
        return [
            nothing if at_rest and field in _VELOCITY else getattr(self._state, field).copy()
            for field in _CHANGED
        ]

    def restore(self, snapshot: list[Array]) -> None:
        fields: dict[str, Any] = {
            field: saved.copy() if saved.size else np.zeros_like(getattr(self._state, field))
            for field, saved in zip(_CHANGED, snapshot, strict=True)
        }
        self._state = self._state._replace(**fields)  # one store: no signal can come half-way

    def __copy__(self) -> Optimizer:
        # with arrays of its own
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        n_features, *arrays = self._state
        twin._state = State(n_features, *(array.copy() for array in arrays))
        return twin

    def is_finite(self) -> bool:
        """Whether all weights and biases are."""
        return all(bool(np.isfinite(array).all()) for array in (self._state.W, self._state.b))

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
        """One step for each batch of the epochs that `order` visits; the sum of weight * J of each.

        Sums are as they were before the step. `rates` and `shares` have an entry for each batch.
        Ends early, with NaN for the batches not done, after one whose loss is not finite. `between`
        is told now and then how many batches are done. `projections` are those of `directions`.
        """
        X, targets, weight, _ = samples
        if shares.any() and not self._state.average_W.size:
            self._state = self._state._replace(average_W=np.zeros_like(self._state.W))
        epoch_rows = len(order) // epochs
        n_batches = epochs * ceil_div(epoch_rows, self.batch_size)
        losses = np.full(n_batches, np.nan)
        on_load = no_scaling() if self._in_weights else self.scaling
        centre, scale = on_load.like(X)
        batches = Batches(
            X=views.as_rows(X),
            targets=views.target_rows(targets),
            sample_weight=views.as_column(weight),
            order=order,
            epoch_rows=epoch_rows,
            batch_size=self.batch_size,
            first=0,
            cut=self._cut,
            centre=centre,
            scale=scale,
            label_smoothing=self.label_smoothing,
        )
        room = self._room_for(batches, self._state)
        frame = self._frame
        if projections is not None:
            frame = frame._replace(projections=views.as_rows(projections))
        done = 0
        while done < n_batches:
            part = slice(done, min(done + self._per_call, n_batches))
            batches = batches._replace(first=done)
            steps = Steps(
                rates[part],
                shares[part],
                samples.weight_scale,
                self.l2,
                self.momentum,
                self.nesterov,
            )
            parallel = self._in_parallel()
            started = time.perf_counter()
            arguments = batches, steps, frame, self._state, room, losses[part]
            launch(self._kernel, *arguments, parallel=parallel)
            pace = (part.stop - part.start) / (time.perf_counter() - started)
            # a busy neighbour can only slow a call down, so that the faster of the last ones counts
            self._pace[parallel] = max(pace, 0.8 * self._pace.get(parallel, 0))
            self._per_call = next_call(self._per_call, pace)
            done = part.stop
            if not np.isfinite(losses[done - 1]):
                break
            if between is not None and done < n_batches:
                between(done)
        return losses

    def _in_parallel(self) -> bool:
        """Whether the next call uses threads: the faster way, the bits being the same."""
        if self._n_tasks == 1 or threads_in_use() == 1:
            return False
        self._calls += 1
        if self._calls <= _TRIALS:  # serially first: that call may compile
            return self._calls % 2 == 0
        faster = self._pace[True] > self._pace[False]
        return not faster if self._calls % _RETRY == 0 else faster
