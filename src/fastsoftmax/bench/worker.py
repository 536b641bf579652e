"""A side in its own process: `python -m fastsoftmax.bench.worker SIDE THREADS`.

Reads one JSON list per line and answers each with a line [answer, error], of which one is null:

- ["provenance", modules]
- ["data", N, D, K, dtype, batch size or null]: prepares passes, or with a batch size epochs; a loss
- ["call", name, dtype]: prepares a small call; its answer
- ["sparse", name, folder or null, most rows or null, dtype]: prepares passes over sparse rows;
  {"loss", "shape", "entries"}
- ["problem", name, folder or null, most rows or null]: prepares a problem to solve; its facts
- ["optimum", gap, seconds]: of that problem, as near as the gap or the seconds allow
- ["solve", tolerance]: the seconds of a solution of it, the objective reached, and what was counted
- ["run", seconds]: the seconds of each run of what was prepared
- ["limits", seconds]: those of the machine for the X that was prepared
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax.bench import problems, texts
from fastsoftmax.bench.epochs import EPOCHS
from fastsoftmax.bench.limits import limits
from fastsoftmax.bench.peers import PEERS
from fastsoftmax.bench.provenance import provenance
from fastsoftmax.bench.small import CALLS
from fastsoftmax.bench.solvers import SOLVERS
from fastsoftmax.bench.sparse import SPARSE
from fastsoftmax.bench.types import computed_in, values
from fastsoftmax.solvers import fit
from fastsoftmax.threads import set_num_threads

Array = npt.NDArray[Any]
Run = Callable[[], tuple[Any, float]]  # (result, seconds)


def make_data(N: int, D: int, K: int, dtype: str) -> tuple[Array, ...]:
    """X, y, W, b from a fixed seed: logits are of about the size of 1."""
    rng, compute = np.random.default_rng(0), computed_in(dtype)
    X = values(rng, N, D, dtype)
    y = rng.integers(0, K, N)
    W = (rng.standard_normal((D, K)) / np.sqrt(D)).astype(compute)
    return X, y, W, rng.standard_normal(K).astype(compute)


class Side:
    """What the process has prepared."""

    def __init__(self, name: str, threads: int) -> None:
        self.name = name
        self.threads = threads
        self.run: Run | None = None
        self.X: Array | None = None
        self.to_solve: problems.Problem | None = None

    def data(self, N: int, D: int, K: int, dtype: str, batch: int | None) -> float:
        self.run = self.X = None  # frees the last shape's data first
        data = make_data(N, D, K, dtype)
        if batch is None:
            self.run = timed(PEERS[self.name](*data, self.threads))
        else:
            self.run = EPOCHS[self.name](*data, self.threads, batch)
        if self.name == "fastsoftmax":
            self.X = data[0]
        return float(self.run()[0])

    def call(self, name: str, dtype: str) -> float:
        self.run = self.X = None
        set_num_threads(self.threads)
        call, answer = CALLS[name][0](self.name, dtype)
        self.run = timed(call)
        return answer(self.run()[0])

    def sparse(
        self, name: str, folder: str | None, most_rows: int | None, dtype: str
    ) -> dict[str, Any]:
        self.run = self.X = None
        path = None if folder is None else Path(folder)
        X, y, W, b = texts.arrays(name, path, most_rows, dtype)
        self.run = timed(SPARSE[self.name](X, y, W, b, self.threads))
        shape = [*X.shape, W.shape[1]]
        return {"loss": float(self.run()[0]), "shape": shape, "entries": int(X.nnz)}

    def problem(self, name: str, folder: str | None, most_rows: int | None) -> dict[str, Any]:
        self.run = self.X = None
        path = None if folder is None else Path(folder)
        self.to_solve = problems.load(name, path, most_rows)
        X, y, C = self.to_solve
        shape = [*X.shape, int(y.max()) + 1]
        return {"problem": name, "shape": shape, "dtype": str(X.dtype), "C": C}

    def solve(self, tol: float) -> dict[str, float]:
        assert self.to_solve is not None
        solver, problem = SOLVERS[self.name], self.to_solve
        started = time.perf_counter()
        W, b, count = solver(problem, tol, self.threads)
        seconds = time.perf_counter() - started
        reached = problems.objective(problem, W, b)
        return {"seconds": seconds, "objective": reached, "count": count}

    def optimum(self, gap: float, seconds: float) -> dict[str, float]:
        assert self.to_solve is not None
        X, y, C = self.to_solve
        set_num_threads(self.threads)
        options: dict[str, Any] = {"standardize": False, "dtype": np.float64, "tol": gap}
        unit = C * len(y)
        result = fit(X, y, l2=1 / unit, time_limit=seconds, max_passes=1e9, **options)
        reached = problems.objective(self.to_solve, result.model.W, result.model.b)
        return {"objective": reached, "lower_bound": unit * result.lower_bound}

    def times(self, seconds: float) -> list[float]:
        """Of runs that take so long together."""
        assert self.run is not None
        times: list[float] = []
        total = 0.0
        while len(times) < 3 or total < seconds:
            times.append(self.run()[1])
            total += times[-1]
        return times

    def limits(self, seconds: float) -> dict[str, float]:
        assert self.X is not None
        return limits(self.X, self.threads, seconds)


def timed(call: Callable[[], Any]) -> Run:
    """The call with its seconds."""

    def run() -> tuple[Any, float]:
        started = time.perf_counter()
        result = call()
        return result, time.perf_counter() - started

    return run


def main() -> None:
    """Answer requests until the input ends."""
    side = Side(sys.argv[1], int(sys.argv[2]))
    answers: dict[str, Callable[..., Any]] = {
        "provenance": provenance,
        "data": side.data,
        "call": side.call,
        "sparse": side.sparse,
        "problem": side.problem,
        "optimum": side.optimum,
        "solve": side.solve,
        "run": side.times,
        "limits": side.limits,
    }
    output = sys.stdout
    sys.stdout = sys.stderr  # whatever a library prints must not mix with the answers
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks; it kills
    for line in sys.stdin:
        request, *arguments = json.loads(line)
        answer: Any = None
        error = None
        try:
            answer = answers[request](*arguments)
        except Exception as problem:
            error = str(problem) or type(problem).__name__
        print(json.dumps([answer, error]), file=output, flush=True)


if __name__ == "__main__":
    main()
