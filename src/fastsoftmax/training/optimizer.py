"""SGD's state, and runs of steps on it: the layer between `fit_sgd` and the kernel.

Weights are those for scaled features where there is a scaling; `kernels.sgd.Steps` says what a
step is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax import validation as check
from fastsoftmax.kernels.passes.sgd import Batches, State, Steps, scratch_for, sgd_steps_by_chunk
from fastsoftmax.kernels.passes.sgd_by_slab import sgd_steps_by_slab, slabs_for
from fastsoftmax.kernels.tiles.packing import packed_features, packed_places, padded
from fastsoftmax.kernels.tiles.sizes import ROW_BLOCK, ceil_div, sgd_chunk_rows, sgd_slab_width
from fastsoftmax.threads import launch, threads_in_use
from fastsoftmax.training.columns import Scaling
from fastsoftmax.training.data import Samples

Array = npt.NDArray[Any]

# One compiled call ends after about this long, so that Ctrl-C and progress are seen to.
_SECONDS_PER_CALL = 0.1
_FIRST_CALL_FLOPS = 2e7

# Whether threads pay depends on the layer and on who else is running: so many calls, ever longer
# ones, take turns at first, and the way that was slower is tried again after so many.
_TRIALS = 8
_RETRY = 32

_CHANGED = ("W", "b", "velocity_W", "velocity_b", "average_W", "average_b")

# Places in the packed weights that are computed at once, and kept where these are all.
_PLACES = 1 << 18


class Optimizer:
    """Weights, velocity and average of (mini-batch) SGD with momentum."""

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
    ) -> None:
        self.batch_size, self.l2, self.momentum = batch_size, l2, momentum
        self.nesterov, self.label_smoothing = nesterov, label_smoothing
        n_features, n_classes = W.shape
        size = n_classes * packed_features(n_features)
        self._flops = 4.0 * batch_size * n_features * n_classes
        sizes = batch_size, n_features, n_classes, dtype.itemsize
        self._kernel: Callable[..., None] = sgd_steps_by_slab
        self._room_for: Callable[[Batches, State], Any] = slabs_for
        self._cut = sgd_slab_width(*sizes)
        n_partials, n_gradients = ceil_div(batch_size, ROW_BLOCK), 0
        if self._cut:
            self._n_tasks = ceil_div(n_features, self._cut)
        else:
            self._kernel, self._room_for = sgd_steps_by_chunk, scratch_for
            self._cut = sgd_chunk_rows(*sizes)
            self._n_tasks = n_partials = n_gradients = ceil_div(batch_size, self._cut)
        self._pace: dict[bool, float] = {}  # batches a second, in parallel and not
        self._calls = 0
        self._state = State(
            n_features,
            W=np.zeros(size, dtype),
            b=np.zeros(n_classes, dtype),
            velocity_W=np.zeros(size, dtype),
            velocity_b=np.zeros(n_classes, dtype),
            average_W=np.zeros(0, dtype),  # until `run` is given shares
            average_b=np.zeros(n_classes, dtype),
            partial_G_T=np.zeros(
                (n_gradients, n_classes, padded(n_features, dtype.itemsize)), dtype
            ),
            partial_g_b=np.zeros((n_partials, n_classes), dtype),
            partial_loss=np.zeros(n_partials),
        )
        self._places = list(self._blocks_of_places()) if W.size <= _PLACES else None
        self.parameters = W, b

    @property
    def n_classes(self) -> int:
        return int(self._state.b.size)

    def _blocks_of_places(self) -> Iterator[tuple[slice, Array]]:
        """(features, where in the packed weights theirs are), block by block."""
        n_features, n_classes = self._state.n_features, self.n_classes
        step = max(_PLACES // n_classes, 1)
        for first in range(0, n_features, step):
            last = min(first + step, n_features)
            yield slice(first, last), packed_places(first, last, n_features, n_classes)

    def _pair(self, name: str) -> tuple[Array, Array]:
        packed, b = (getattr(self._state, f"{name}{field}") for field in ("W", "b"))
        W = np.empty((self._state.n_features, self.n_classes), b.dtype)
        for rows, places in self._places or self._blocks_of_places():
            W[rows] = packed[places]
        return W, b.copy()

    def _set_pair(self, name: str, pair: tuple[Array, Array]) -> None:
        packed, W = getattr(self._state, f"{name}W"), pair[0]
        for rows, places in self._places or self._blocks_of_places():
            packed[places] = W[rows]
        getattr(self._state, f"{name}b")[:] = pair[1]

    @property
    def parameters(self) -> tuple[Array, Array]:
        """Copies of the weights (D, K) and biases (K,)."""
        return self._pair("")

    @parameters.setter
    def parameters(self, pair: tuple[Array, Array]) -> None:
        self._set_pair("", pair)

    @property
    def velocity(self) -> tuple[Array, Array]:
        """As `parameters`."""
        return self._pair("velocity_")

    @velocity.setter
    def velocity(self, pair: tuple[Array, Array]) -> None:
        self._set_pair("velocity_", pair)

    def rest(self) -> None:
        """Forget the velocity."""
        self._state.velocity_W[:] = 0
        self._state.velocity_b[:] = 0

    @property
    def average(self) -> tuple[Array, Array]:
        """The mean of the iterates that had a share in it; as `parameters`."""
        return self._pair("average_")

    def snapshot(self, *, at_rest: bool = False) -> list[Array]:
        """All that steps change, to `restore`; with `at_rest`, as if the velocity were zero."""
        nothing = np.empty(0, self._state.b.dtype)
        return [
            nothing if at_rest and "velocity" in field else getattr(self._state, field).copy()
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
        scaling: Scaling,
        order: Array,
        rates: Array,
        shares: Array,
        between: Callable[[int], None] | None = None,
    ) -> Array:
        """One step for each batch of `order`; the sum of weight * J of each, before its step.

        `rates` and `shares` have an entry for each batch. Ends early, with NaN for the batches
        not done, after one whose loss is not finite. `between` is told now and then how many
        batches are done.
        """
        X, targets, weight, _ = samples
        if shares.any() and not self._state.average_W.size:
            self._state = self._state._replace(average_W=np.zeros_like(self._state.W))
        n_batches = ceil_div(len(order), self.batch_size)
        losses = np.full(n_batches, np.nan)
        per_call = ceil_div(int(_FIRST_CALL_FLOPS), int(self._flops) + 1)
        rows = check.as_rows(X), check.target_rows(targets), check.as_column(weight)
        scale = scaling.like(X)
        done, room = 0, None
        while done < n_batches:
            part = slice(done, min(done + per_call, n_batches))
            visited = order[part.start * self.batch_size : part.stop * self.batch_size]
            batches = Batches(
                *rows, visited, self.batch_size, self._cut, *scale, self.label_smoothing
            )
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
            if room is None:
                room = self._room_for(batches, self._state)
            arguments = batches, steps, self._state, room, losses[part]
            launch(self._kernel, *arguments, parallel=parallel)
            pace = (part.stop - part.start) / (time.perf_counter() - started)
            # a busy neighbour can only slow a call down, so that the faster of the last ones counts
            self._pace[parallel] = max(pace, 0.8 * self._pace.get(parallel, 0))
            per_call = min(max(int(pace * _SECONDS_PER_CALL), 1), 2 * per_call)
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
