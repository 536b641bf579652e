"""A peer in its own process: `python -m fastsoftmax.bench.worker PEER THREADS`.

Reads one JSON list per line: ["version"], ["data", N, D, K, dtype, batch size or null], or ["run",
seconds]; answers with one JSON value per line. With a batch size runs are epochs, else passes.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax.bench.epochs import EPOCHS
from fastsoftmax.bench.peers import PEERS

_DISTRIBUTIONS = {"sklearn": "scikit-learn"}


def make_data(N: int, D: int, K: int, dtype: str) -> tuple[npt.NDArray[Any], ...]:
    """X, y, W, b from a fixed seed."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, D), dtype=np.float32).astype(dtype)
    y = rng.integers(0, K, N)
    W = (rng.standard_normal((D, K)) / np.sqrt(D)).astype(dtype)
    return X, y, W, rng.standard_normal(K).astype(dtype)


def _runner(
    peer: str, threads: int, N: int, D: int, K: int, dtype: str, batch: int | None
) -> Callable[[], tuple[float, float]]:
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
    run = None
    for line in sys.stdin:
        request = json.loads(line)
        answer: Any
        if request[0] == "version":
            answer = importlib.metadata.version(_DISTRIBUTIONS.get(peer, peer))
        elif request[0] == "data":
            run = None  # frees the last shape's data first
            run = _runner(peer, threads, *request[1:])
            answer = run()[0]
        else:
            assert run is not None
            times: list[float] = []
            while len(times) < 3 or sum(times) < request[1]:
                times.append(run()[1])
            answer = times
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
