"""What a round on Dask's workers costs: seconds, tasks and bytes, for docs/scale.md.

    python asv_bench/scale.py                 # rounds with 1, 2 and 4 workers, and 1,000 blocks
    python asv_bench/scale.py --rows 60000    # smaller, to try it

A round is a pass of `fit`: the loss and its gradient. Workers are processes of one thread on this
machine. The local pass beside it takes as many threads as there are workers, if it may.
"""

from __future__ import annotations

import argparse
import pickle
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dask.array as da
import numba
import numpy as np
from distributed import Client, LocalCluster

import fastsoftmax
from fastsoftmax.bench.provenance import provenance, told
from fastsoftmax.dask.table import opened
from fastsoftmax.kernels.tiles.sizes import n_leaves
from fastsoftmax.solvers.sums import LossSums

SHAPES = [(2_000_000, 64, 10), (400_000, 768, 100)]
ROUNDS = 5


@contextmanager
def rows_of(client: Client, n_rows: int, D: int, blocks: int) -> Iterator[Any]:
    """Random rows of a cluster, as `fit` sums over them."""
    random = da.random.default_rng(0)
    X = random.normal(size=(n_rows, D), chunks=(-(-n_rows // blocks), D)).astype(np.float32)
    y = (X[:, 0] > 0).astype(np.int64)
    with opened(X, y, None, [0, 1], None, client) as table:
        yield table.given(None).rows


def least_seconds(work: Any) -> float:
    """Of several calls, the first of which compiles."""
    times = []
    for _ in range(ROUNDS + 1):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def round_of(rows: Any, D: int, K: int) -> float:
    """Seconds of a pass over rows, wherever they lie."""
    W, b = np.zeros((D, K), np.float32), np.zeros(K, np.float32)
    grad_W, grad_b = np.empty_like(W), np.empty_like(b)

    def one() -> None:
        sums = LossSums(rows, W, b, 0.0)
        rows.add_to(sums)
        sums.loss(grad_W, grad_b)

    return least_seconds(one)


def local(n_rows: int, D: int, K: int, threads: int) -> float:
    X = np.random.default_rng(0).normal(size=(n_rows, D)).astype(np.float32)
    y, W = (X[:, 0] > 0).astype(np.int64), np.zeros((D, K), np.float32)
    with fastsoftmax.num_threads(min(threads, numba.config.NUMBA_NUM_THREADS)):
        return least_seconds(lambda: fastsoftmax.loss_and_gradient(X, y, W))


def bytes_of(rows: Any, D: int, K: int) -> tuple[float, float]:
    """Megabytes of (W, once to each worker; the sums of all leaves, back)."""
    W, b = np.zeros((D, K), np.float32), np.zeros(K, np.float32)
    back = len(pickle.dumps(LossSums(rows, W, b, 0.0).of_leaf(0)._sums)) * n_leaves(rows.n_rows)
    return W.nbytes / 1e6, back / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, help="of each problem, in place of its own")
    asked = parser.parse_args()
    print(told(provenance(["dask", "distributed"])), "\n")
    print("| rows x features x classes | workers | tasks | MB out, back | round s | local pass s |")
    print("| --- | --- | --- | --- | --- | --- |")
    for n_workers in (1, 2, 4):
        options = {"threads_per_worker": 1, "dashboard_address": ":0"}
        with LocalCluster(n_workers=n_workers, **options) as cluster, Client(cluster) as client:
            for n_rows, D, K in SHAPES:
                n = asked.rows or n_rows
                with rows_of(client, n, D, blocks=20) as rows:
                    out, back = bytes_of(rows, D, K)
                    took, tasks = round_of(rows, D, K), len(rows.parts)
                beside = local(n, D, K, n_workers)
                cells = f"{n_workers} | {tasks} | {out:.2f}, {back:.1f}"
                print(f"| {n}x{D}x{K} | {cells} | {took:.3f} | {beside:.3f} |", flush=True)
    print("\n| blocks | seconds to read and cut them | round s |\n| --- | --- | --- |")
    with LocalCluster(n_workers=2, **options) as cluster, Client(cluster) as client:
        for blocks in (1, 100, 1000):
            start = time.perf_counter()
            with rows_of(client, asked.rows or 1_100_000, 4, blocks) as rows:
                first = next(rows.cluster.run("wait", len, rows.parts[:1]))
                read = time.perf_counter() - start
                print(f"| {blocks} | {read:.2f} | {round_of(rows, 4, 2):.3f} |", flush=True)
                assert first > 0


if __name__ == "__main__":
    main()
