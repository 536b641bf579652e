"""A peer in its own process: `python -m fastsoftmax.bench.worker PEER THREADS`.

Reads one JSON list per line: ["version"], ["data", N, D, K, dtype, batch size or null], or ["run",
seconds]; answers each with a line [answer, error], of which one is null. With a batch size runs are
epochs, else passes.
"""

from __future__ import annotations

import importlib.metadata
import json
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax.bench.epochs import EPOCHS
from fastsoftmax.bench.peers import PEERS

Run = Callable[[], tuple[float, float]]  # (loss, seconds)

_DISTRIBUTIONS = {"sklearn": "scikit-learn"}


def make_data(N: int, D: int, K: int, dtype: str) -> tuple[npt.NDArray[Any], ...]:
    """X, y, W, b from a fixed seed."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, D), dtype=np.float32).astype(dtype)
    y = rng.integers(0, K, N)
    W = (rng.standard_normal((D, K)) / np.sqrt(D)).astype(dtype)
    return X, y, W, rng.standard_normal(K).astype(dtype)


def _runner(peer: str, threads: int, N: int, D: int, K: int, dtype: str, batch: int | None) -> Run:
    """What gives (loss, seconds) of an epoch or a pass."""
    data = make_data(N, D, K, dtype)
    if batch is not None:
        return EPOCHS[peer](*data, threads, batch)
    one_pass = PEERS[peer](*data, threads)

    def timed() -> tuple[float, float]:
        started = time.perf_counter()
        loss = one_pass()
        return loss, time.perf_counter() - started

    return timed


def main() -> None:
    """Answer requests until the input ends."""
    peer, threads = sys.argv[1], int(sys.argv[2])
    answers = sys.stdout
    sys.stdout = sys.stderr  # whatever a library prints must not mix with the answers
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks; it kills
    run: Run | None = None
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        answer: Any = None
        error = None
        try:
            if name == "version":
                answer = importlib.metadata.version(_DISTRIBUTIONS.get(peer, peer))
            elif name == "data":
                run = None  # frees the last shape's data first
                run = _runner(peer, threads, *arguments)
                answer = run()[0]
            else:
                assert run is not None
                answer = _times(run, *arguments)
        except Exception as problem:
            error = str(problem) or type(problem).__name__
        print(json.dumps([answer, error]), file=answers, flush=True)


def _times(run: Run, seconds: float) -> list[float]:
    """Of runs that take so long together."""
    times: list[float] = []
    while len(times) < 3 or sum(times) < seconds:
        times.append(run()[1])
    return times


if __name__ == "__main__":
    main()
