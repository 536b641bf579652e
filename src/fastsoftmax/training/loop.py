"""The epochs of a training: steps, measurements, and what ends it early."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax import functional
from fastsoftmax.kernels.tiles.sizes import ceil_div
from fastsoftmax.model import SoftmaxModel
from fastsoftmax.training import schedules
from fastsoftmax.training.data import Validation
from fastsoftmax.training.optimizer import Optimizer
from fastsoftmax.training.progress import Progress
from fastsoftmax.training.result import DivergenceError, Epoch, History, SGDResult
from fastsoftmax.training.samples import RowsOfSteps
from fastsoftmax.training.sparse_optimizer import SparseOptimizer
from fastsoftmax.training.visits import InMemory, InWindows

Array = npt.NDArray[Any]

# With the automatic rate, an epoch that raises the loss by more than this share of that of equal
# probabilities is undone and repeated from rest at a quarter of the rate, at most so often. Where
# it began too high, the steps at the end of the epoch before did the harm: that is undone as well.
_RISE = 0.1
_BACK_OFF = 0.25
_MAX_BACK_OFFS = 30

# A training that ends so many times above the loss of equal probabilities (or of where it began,
# if that was more) has diverged. Labels of pure noise end at up to 1.1 times that at sensible rates
# and at 2 at three times such a rate; rates a thousand times too high at 10 to 1e30.
FAR_ABOVE = 10.0

# A last epoch that lowered the loss by more than this share of that of equal probabilities leaves
# something to gain. On fourteen sets, the last of `fit_sgd`'s automatic epochs did so by 0.002 at
# most; the second of two by 0.03 and more.
_FALL = 0.01

# Short epochs that nobody watches run together, up to so many operations and steps: about a
# millisecond.
_FLOPS_TOGETHER = 5e7
_STEPS_TOGETHER = 1000
_ROWS_TOGETHER = 100_000  # of all epochs, whose order is held


@dataclass
class Training:
    """A training under way; `run` does the epochs, `result` is right whenever a signal comes."""

    samples: RowsOfSteps
    visited: InMemory | InWindows  # the same rows, as the steps take them
    held_out: Validation | None
    optimizer: Optimizer | SparseOptimizer
    given: RowsOfSteps  # the same rows in the units of X, where `samples` has other ones
    make_model: Callable[[Array, Array], SoftmaxModel]  # from W, b in the units of X
    start: Callable[[], tuple[Array, Array]]  # W, b before the first epoch
    goes_on: bool  # from a model
    epochs: int
    rate: float
    backs_off: bool
    schedule: str
    averaged_epochs: int
    patience: int | None
    callback: Callable[[Epoch], Any] | None
    progress: Progress | None
    history: History = field(init=False)
    stopped: str = field(init=False, default="epochs")
    _best: tuple[float, tuple[Array, Array]] | None = field(init=False, default=None)  # with loss
    _before_last: tuple[list[Array], int] | None = field(init=False, default=None)
    _n_averaged: int = field(init=False, default=0)
    _drawn: deque[Any] = field(init=False, default_factory=deque)  # orders of epochs to come

    def __post_init__(self) -> None:
        keys = ["loss", "learning_rate", "seconds"]
        if self.held_out is not None:
            keys += ["validation_loss", "validation_accuracy"]
        self.history = {key: [] for key in keys}

    def run(self) -> None:
        """All epochs, or until patience or the callback end it."""
        epoch = 0
        while (epoch := epoch + self._together(epoch)) < self.epochs:
            started = time.perf_counter()
            loss, last_rate = self._epoch(epoch)
            self._record(loss, last_rate, time.perf_counter() - started)
            if self.progress is not None:
                self.progress(epoch, self.samples.n_rows, loss)
            if self.callback is not None and self.callback(self._told(epoch)):
                self.stopped = "callback"
                return
            if self.patience is not None and self._is_stale():
                self.stopped = "patience"
                return
            epoch += 1

    def _together(self, epoch: int) -> int:
        """How many epochs, from this one on, were done in one run; the bits are the same.

        None where somebody watches, where epochs are long, or after one that failed: that is undone
        with the others.
        """
        if not isinstance(self.visited, InMemory):
            return 0
        watched = self.callback or self.held_out or self.progress
        n_batches = self._n_batches()
        flops = (self.optimizer.flops + 1) * n_batches
        most = _FLOPS_TOGETHER / flops, _STEPS_TOGETHER / n_batches
        rows = _ROWS_TOGETHER / self.samples.n_rows
        count = int(min(self.epochs - epoch, *most, rows))
        if watched or self._drawn or count < 2:
            return 0
        started, before = time.perf_counter(), self._state()
        orders = self.visited.orders(count)
        rates = self.rate * self._factors(epoch, count)
        shares = self._shares(epoch, count)
        try:
            losses = self._steps(orders.ravel(), rates, shares, count)
        except KeyboardInterrupt:
            self._keep_if_finite(before)
            raise
        last = self._last_loss()
        rises = np.diff(losses, prepend=last) > _RISE * self._equal_loss()
        failed = not (np.isfinite(losses).all() and self.optimizer.is_finite())
        if failed or (self.backs_off and rises.any()):
            self._restore(before)
            self._drawn.extend(orders)
            return 0
        self._before_last = before
        self._n_averaged += int(np.count_nonzero(shares))
        seconds = (time.perf_counter() - started) / count
        last_rates = rates[n_batches - 1 :: n_batches]
        news = losses.tolist(), last_rates.tolist(), [seconds] * count
        for values, new in zip(self.history.values(), news, strict=True):
            values.extend(new)
        return count

    def result(self) -> SGDResult:
        """What was learnt by now, and nothing can be undone any more."""
        self._before_last = None
        done = min(map(len, self.history.values()))  # a signal may come while one is recorded
        history = {key: values[:done] for key, values in self.history.items()}
        parameters = self._parameters(done - 1) if self._best is None else self._best[1]
        model, falls = self.make_model(*parameters), self._still_falls(history["loss"])
        return SGDResult(model, history, float(self.rate), self.stopped, falls)

    def _still_falls(self, losses: list[float]) -> bool:
        """Whether the last epoch lowered the loss notably."""
        equal = self._equal_loss()
        earlier = [*([] if self.goes_on else [equal]), *losses[:-1]]
        return bool(losses and earlier) and min(earlier) - losses[-1] > _FALL * equal

    def raise_if_diverged(self, result: SGDResult) -> None:
        """Raise DivergenceError for a model that is far worse than equal probabilities.

        The pass that this takes is saved where no epoch was suspicious. The history lags behind by
        a step, which tells nothing where an epoch is one step; and the average, or the best epoch,
        may be well where others were not.
        """
        losses, equal = result.history["loss"], self._equal_loss()
        unseen = self._n_batches() == 1 and not self.backs_off
        if equal == 0 or not losses or not (unseen or max(losses) > 2 * equal):
            return
        loss = self._loss_at(result.model.W, result.model.b)
        if loss > FAR_ABOVE * equal and loss > FAR_ABOVE * self._loss_at(*self.start()):
            raise DivergenceError(len(losses) - 1, self.rate, result.model, loss, equal)

    def _loss_at(self, W: Array, b: Array) -> float:
        """The mean loss of weights and biases in the units of X, infinite where logits overflow."""
        smoothing, total = self.optimizer.label_smoothing, 0.0
        try:
            for _, (X, targets, weight, _total) in self.given.windows():
                how: Any = {"sample_weight": weight, "label_smoothing": smoothing}
                losses = functional.loss(X, targets, W, b, reduction="none", **how)
                total += float(losses.sum(dtype=np.float64))
        except ValueError:
            return math.inf
        return total / self.given.total_weight

    def _epoch(self, epoch: int) -> tuple[float, float]:
        """(mean loss, last rate) of an epoch; one that fails is undone, and backs off if it may."""
        before = self._state(at_rest=True)
        try:
            return self._attempts(epoch, before)
        except KeyboardInterrupt:
            self._keep_if_finite(before)
            raise

    def _keep_if_finite(self, before: tuple[list[Array], int]) -> None:
        """What was learnt by an interrupt counts, but for steps that overflowed."""
        if not self.optimizer.is_finite():
            self._restore(before)

    def _attempts(self, epoch: int, before: tuple[list[Array], int]) -> tuple[float, float]:
        """`_epoch`, from the state `before` it."""
        order = self._drawn.popleft() if self._drawn else self.visited.orders(1)[0]
        factors = self._factors(epoch, 1)
        limit = self._last_loss() + _RISE * self._equal_loss()
        for attempt in range(_MAX_BACK_OFFS):
            rates, shares = self.rate * factors, self._shares(epoch, 1)
            loss = float(self._steps(order, rates, shares, 1, self._tell(epoch))[0])
            finite = np.isfinite(loss) and self.optimizer.is_finite()
            if finite and not (self.backs_off and loss > limit):
                self._before_last = before if self.backs_off else None
                self._n_averaged += int(np.count_nonzero(shares))
                return loss, float(rates[-1])
            self._restore(before)
            if not finite:
                self.samples.raise_if_non_finite()
            if not self.backs_off:
                break
            if attempt == 0:
                start = self._loss_of(before, order)
                if not start <= limit and self._before_last is not None:
                    before = self._before_last
                    start = self._loss_of(before, order)
                limit = max(limit, start + _RISE * self._equal_loss())
            self.optimizer.rest()
            self.rate *= _BACK_OFF
        raise DivergenceError(epoch, self.rate, self.make_model(*self._parameters(epoch - 1)))

    def _steps(
        self,
        order: Any,  # of `visited`
        rates: Array,
        shares: Array,
        epochs: int,
        tell: Callable[[int], None] | None = None,
    ) -> Array:
        """One step for each rate; the mean loss of each epoch."""
        losses, done = np.full(len(rates), np.nan), 0
        size = self.optimizer.batch_size
        visits = self.visited.visits(order)
        with closing(visits):
            for samples, rows, projections in visits:
                n_batches = epochs * ceil_div(len(rows) // epochs, size)
                steps = slice(done, done + n_batches)
                told = None if tell is None else lambda n, done=done: tell(done + n)
                arguments = samples, rows, rates[steps], shares[steps], told
                losses[steps] = self.optimizer.run(
                    *arguments, epochs=epochs, projections=projections
                )
                done = steps.stop
                if not np.isfinite(losses[done - 1]):
                    break
        of_epochs: Array = losses.reshape(epochs, -1).sum(axis=1)
        return of_epochs / self.samples.total_weight

    def _n_batches(self) -> int:
        return ceil_div(self.samples.n_rows, self.optimizer.batch_size)

    def _factors(self, epoch: int, count: int) -> Array:
        """The schedule of the steps of so many epochs."""
        n = self._n_batches()
        return schedules.factors(self.schedule, epoch * n, (epoch + count) * n, self.epochs * n)

    def _last_loss(self) -> float:
        return self.history["loss"][-1] if self.history["loss"] else self._equal_loss()

    def _state(self, *, at_rest: bool = False) -> tuple[list[Array], int]:
        return self.optimizer.snapshot(at_rest=at_rest), self._n_averaged

    def _restore(self, state: tuple[list[Array], int]) -> None:
        snapshot, self._n_averaged = state
        self.optimizer.restore(snapshot)

    def _loss_of(self, state: tuple[list[Array], int], order: Any) -> float:
        """The mean loss in a state, which is then the present one."""
        self._restore(state)
        stand_still = np.zeros(self._n_batches())
        loss = self._steps(order, stand_still, stand_still, 1)
        self._restore(state)
        return float(loss[0])

    def _shares(self, epoch: int, count: int) -> Array:
        """The share of each iterate of so many epochs in the running average."""
        n_batches = self._n_batches()
        plain = min(max(self.epochs - self.averaged_epochs - epoch, 0), count) * n_batches
        averaged = self._n_averaged + np.arange(1, count * n_batches - plain + 1)
        return np.concatenate([np.zeros(plain), 1 / averaged])

    def _equal_loss(self) -> float:
        """The mean loss of equal probabilities."""
        share = self.samples.total_target / self.samples.total_weight
        return float(np.log(self.optimizer.n_classes) * share)

    def _tell(self, epoch: int) -> Callable[[int], None] | None:
        if self.progress is None:
            return None
        tell, rows = self.progress, self.optimizer.batch_size
        return lambda batches: tell(epoch, batches * rows, None)

    def _parameters(self, epoch: int) -> tuple[Array, Array]:
        """W and b in the units of X after an epoch, averaged where averaging has begun."""
        averaged = self.averaged_epochs and epoch >= self.epochs - self.averaged_epochs
        W, b = self.optimizer.average if averaged else self.optimizer.parameters
        dtype = self.optimizer.dtype
        return W.astype(dtype, copy=False), b.astype(dtype, copy=False)

    def _record(self, loss: float, rate: float, seconds: float) -> None:
        news = {"loss": loss, "learning_rate": rate, "seconds": seconds}
        if self.held_out is not None:
            parameters = self._parameters(len(self.history["loss"]))
            model = self.make_model(*parameters)
            held_out, accuracy = self.held_out.measure(model)
            news["validation_loss"], news["validation_accuracy"] = held_out, accuracy
            if self.patience is not None and (self._best is None or held_out < self._best[0]):
                self._best = held_out, parameters
        for key, value in news.items():
            self.history[key].append(value)

    def _best_epoch(self) -> int:
        return int(np.argmin(self.history["validation_loss"]))

    def _is_stale(self) -> bool:
        assert self.patience is not None
        return len(self.history["loss"]) - 1 - self._best_epoch() >= self.patience

    def _told(self, epoch: int) -> Epoch:
        last = {key: values[-1] for key, values in self.history.items()}
        parameters = self._parameters(epoch)
        return Epoch(
            epoch,
            last["loss"],
            last["learning_rate"],
            last["seconds"],
            last.get("validation_loss"),
            last.get("validation_accuracy"),
            lambda: self.make_model(*parameters),
        )
