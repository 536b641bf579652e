"""One epoch of SGD over shuffled rows as each library's users write it.

Each maker takes the data and returns a function of nothing that trains one epoch and returns its
mean loss and its seconds: the order of the rows counts, copies of the weights and what a library
does before its first step do not. All but this library's defaults are plain SGD with a fixed rate
from the weights given.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax.bench.peers import torch_rows

Array = npt.NDArray[Any]
EpochRun = Callable[[], tuple[float, float]]

RATE = 0.01


def fastsoftmax(X: Array, y: Array, W: Array, b: Array, threads: int, batch: int) -> EpochRun:
    """`fit_sgd` with its defaults: scaled features, a penalty, momentum, a rate of its own."""
    return _fitted(X, y, threads, batch_size=batch)


def fastsoftmax_plain(X: Array, y: Array, W: Array, b: Array, threads: int, batch: int) -> EpochRun:
    """The steps of the others, by `fit_sgd`."""
    import fastsoftmax as fs

    return _fitted(
        X,
        y,
        threads,
        batch_size=batch,
        init=fs.SoftmaxModel(W, b, np.arange(W.shape[1])),
        momentum=0.0,
        l2=0.0,
        standardize=False,
        learning_rate=RATE,
    )


def _fitted(X: Array, y: Array, threads: int, **options: Any) -> EpochRun:
    import fastsoftmax as fs

    fs.set_num_threads(threads)

    def run() -> tuple[float, float]:
        # two epochs, the second of them timed, as a loop that goes on would be; epochs that are
        # told to a callback run, and are timed, one by one
        history = fs.fit_sgd(X, y, epochs=2, callback=lambda epoch: False, **options).history
        return history["loss"][0], history["seconds"][1]

    return run


def numpy(X: Array, y: Array, W: Array, b: Array, threads: int, batch: int) -> EpochRun:
    from fastsoftmax.reference import baseline_sgd_epoch

    rng = np.random.default_rng(0)

    def run() -> tuple[float, float]:
        W_, b_ = W.copy(), b.copy()
        started = time.perf_counter()
        order = rng.permutation(len(X))
        loss = baseline_sgd_epoch(X, y, W_, b_, order, batch, W.dtype.type(RATE))
        return float(loss), time.perf_counter() - started

    return run


def torch(X: Array, y: Array, W: Array, b: Array, threads: int, batch: int) -> EpochRun:
    import torch

    torch.set_num_threads(threads)
    X_, y_ = torch_rows(X), torch.from_numpy(y)

    def run() -> tuple[float, float]:
        W_ = torch.from_numpy(W.copy()).requires_grad_()
        b_ = torch.from_numpy(b.copy()).requires_grad_()
        optimizer = torch.optim.SGD([W_, b_], lr=RATE)
        total = torch.zeros(())
        started = time.perf_counter()
        order = torch.randperm(len(X_))
        for start in range(0, len(X_), batch):
            rows = order[start : start + batch]
            Z = torch.addmm(b_, X_[rows].to(W_.dtype), W_)
            loss = torch.nn.functional.cross_entropy(Z, y_[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(rows)
        return float(total) / len(X_), time.perf_counter() - started

    return run


EPOCHS: dict[str, Callable[..., EpochRun]] = {
    "fastsoftmax": fastsoftmax,
    "fastsoftmax plain": fastsoftmax_plain,
    "numpy": numpy,
    "torch": torch,
}
