"""One pass over sparse rows (mean loss, its gradient by W and b), as each library's users write it.

As in `peers`, each maker returns a function that runs one pass and returns the loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax.bench import measure
from fastsoftmax.bench.measure import Tell, best_and_median, head, installed, take_turns
from fastsoftmax.bench.peers import Pass, fastsoftmax, sklearn
from fastsoftmax.bench.processes import workers

Array = npt.NDArray[Any]


def prepared(X: Any, y: Array, W: Array, b: Array, threads: int) -> Pass:
    """On rows that were sorted before, as for many passes."""
    import fastsoftmax as fs

    rows: Any = fs.prepared(X)
    return fastsoftmax(rows, y, W, b, threads)


def scipy(X: Any, y: Array, W: Array, b: Array, threads: int) -> Pass:
    """With NumPy; SciPy's products take one thread."""
    rows = np.arange(len(y))

    def run() -> float:
        Z = X @ W
        Z += b
        Z -= Z.max(axis=1, keepdims=True)
        of_label = Z[rows, y]
        np.exp(Z, out=Z)
        sums = Z.sum(axis=1, keepdims=True)
        loss = float((np.log(sums[:, 0]) - of_label).mean())
        Z /= sums
        Z[rows, y] -= 1
        Z /= len(y)
        _gradient = X.T @ Z, Z.sum(axis=0)
        return loss

    return run


def torch(X: Any, y: Array, W: Array, b: Array, threads: int) -> Pass:
    """X and its transpose as CSR: autograd alone would transpose in each pass."""
    import warnings

    import torch

    torch.set_num_threads(threads)

    def tensor(rows: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that CSR is in beta
            parts = (torch.from_numpy(part) for part in (rows.indptr, rows.indices, rows.data))
            return torch.sparse_csr_tensor(*parts, size=rows.shape)

    rows, columns, labels = tensor(X), tensor(X.T.tocsr()), torch.from_numpy(y)
    weights, biases = torch.from_numpy(W), torch.from_numpy(b)

    def run() -> float:
        Z = (rows @ weights + biases).requires_grad_()
        loss = torch.nn.functional.cross_entropy(Z, labels)
        loss.backward()
        _gradient = columns @ Z.grad, Z.grad.sum(dim=0)
        return float(loss.detach())

    return run


SPARSE: dict[str, Callable[..., Pass]] = {
    "fastsoftmax": fastsoftmax,
    "fastsoftmax prepared": prepared,
    "scipy": scipy,
    "sklearn": sklearn,
    "torch": torch,
}


def sparse_sides() -> list[str]:
    """Sides of a pass over sparse rows, this library first."""
    return installed(SPARSE)


def measure_sparse(
    problems: Sequence[str],
    dtypes: Sequence[str],
    sides: Sequence[str],
    threads: int,
    rounds: int,
    folder: Path | None = None,
    most_rows: int | None = None,
    tell: Tell = lambda text: None,
) -> dict[str, Any]:
    """Times of one pass of every side on each problem, in turns, as `measure` gives them."""
    place = None if folder is None else str(folder)
    rows = []
    with workers(sides, threads) as running:
        result = head("sparse", running, threads)
        for dtype in dtypes:
            for name in problems:
                tell(f"{name} {dtype}")
                asked = "sparse", name, place, most_rows, dtype
                found = {side: worker.ask(*asked) for side, worker in running.items()}
                times: dict[str, list[float]] = {side: [] for side in running}
                for _ in range(rounds):
                    take_turns(running, times, measure.TURN)
                facts = {key: found["fastsoftmax"][key] for key in ("shape", "entries")}
                losses = {side: answer["loss"] for side, answer in found.items()}
                row = {"problem": name, "dtype": dtype, **facts, "losses": losses}
                rows.append(row | best_and_median(times))
    return result | {"rows": rows}
