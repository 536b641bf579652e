"""Measuring: peers take turns, the machine's two limits are measured beside them."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import numpy as np

from fastsoftmax.bench.epochs import EPOCHS
from fastsoftmax.bench.limits import limit_seconds, limits
from fastsoftmax.bench.peers import PEERS

Shape = tuple[int, int, int]

EPOCH_SHAPES: tuple[Shape, ...] = (
    (60000, 784, 10),
    (581012, 54, 7),
    (60000, 1024, 20),
    (50000, 768, 100),
)
SHAPES: tuple[Shape, ...] = (
    (60000, 784, 10),
    (581012, 54, 7),
    (200000, 384, 2),
    (60000, 1024, 20),
    (50000, 768, 100),
    (20000, 768, 1000),
)
_TURN = 0.25  # seconds: a turn of a few passes ends before clocks and caches have settled
_PAUSE = 0.05  # seconds: threads of the last peer that still spin go to sleep


class Worker:
    """A peer's process."""

    def __init__(self, peer: str, threads: int) -> None:
        self.peer = peer
        counts = ("OMP", "MKL", "OPENBLAS", "NUMBA")
        environment = os.environ | {f"{name}_NUM_THREADS": str(threads) for name in counts}
        environment["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=" + str(threads > 1).lower()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fastsoftmax.bench.worker", peer, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def ask(self, *request: Any) -> Any:
        """Send a request and wait for its answer.

        A ChildProcessError says what went wrong there.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            print(json.dumps(request), file=self.process.stdin, flush=True)
        except BrokenPipeError:  # that no answer comes is told below
            with suppress(BrokenPipeError):
                self.process.stdin.close()
        line = self.process.stdout.readline()
        if not line:
            raise ChildProcessError(f"the process of {self.peer} ended early, maybe without memory")
        answer, error = json.loads(line)
        if error is not None:
            raise ChildProcessError(f"{self.peer}: {error}")
        return answer


@contextmanager
def workers(peers: Sequence[str], threads: int) -> Iterator[dict[str, Worker]]:
    """A process for each peer, ended with the block."""
    with ExitStack() as stack:
        started = {}
        for peer in peers:
            started[peer] = Worker(peer, threads)
            stack.enter_context(started[peer].process)  # waits, and closes the pipes
            stack.callback(started[peer].process.kill)
        yield started


def installed_peers(epochs: bool) -> list[str]:
    """The peers that can be imported here, this library first."""
    return [
        peer for peer in (EPOCHS if epochs else PEERS) if importlib.util.find_spec(peer) is not None
    ]


def measure(
    shapes: Sequence[Shape],
    dtypes: Sequence[str],
    peers: Sequence[str],
    threads: int,
    rounds: int,
    batch: int | None = None,
    tell: Any = lambda text: None,
) -> dict[str, Any]:
    """Times of one pass of every peer, or of an epoch in batches, in turns; losses beside them.

    Returns a dictionary fit for JSON: the machine, versions, limits, and one entry per row.
    """
    result: dict[str, Any] = {
        "machine": platform.processor() or platform.machine(),
        "threads": threads,
        "batch": batch,
        "python": platform.python_version(),
        "limits": {dtype: limits(threads, dtype) for dtype in dtypes},
        "rows": [],
    }
    with workers(peers, threads) as running:
        result["versions"] = {peer: worker.ask("version") for peer, worker in running.items()}
        for dtype in dtypes:
            for shape in shapes:
                tell(f"{'x'.join(map(str, shape))} {dtype}")
                losses = {p: w.ask("data", *shape, dtype, batch) for p, w in running.items()}
                times: dict[str, list[float]] = {peer: [] for peer in peers}
                for _ in range(rounds):
                    for peer, worker in running.items():
                        time.sleep(_PAUSE)
                        times[peer] += worker.ask("run", _TURN)
                limit = limit_seconds(shape, dtype, result["limits"][dtype])
                row = {"shape": list(shape), "dtype": dtype, "limit": limit, "losses": losses}
                row["best"] = {peer: min(t) for peer, t in times.items()}
                row["median"] = {peer: float(np.median(t)) for peer, t in times.items()}
                result["rows"].append(row)
    return result
