"""`fastsoftmax train --optimum`: the penalty chosen by cross-validation, and what was proved."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.table import Table

from fastsoftmax.cli.output import show
from fastsoftmax.solvers import FitResult
from fastsoftmax.solvers.folds import CrossValidation, cross_validate, stratified_folds

Array = npt.NDArray[Any]

_FACTORS = np.logspace(4, -4, 13)  # of the default penalty, 1 / rows


def choose_penalty(
    X: Array, y: Array, n_folds: int, seed: int, quiet: bool, **options: Any
) -> float:
    """The penalty with the lowest mean loss on held-out rows; unless quiet, prints all."""
    folds = stratified_folds(y, n_folds, seed)
    found = cross_validate(X, y, folds, l2s=_FACTORS / len(y), **options)
    if not quiet:
        _print_penalties(found)
    return found.l2s[found.best]


def _print_penalties(found: CrossValidation) -> None:
    table = Table(box=None)
    for name in ("l2", "held-out loss", "standard error", "accuracy"):
        table.add_column(name, justify="right")
    table.add_column()
    columns = found.l2s, found.mean_loss, found.standard_error, found.accuracies.mean(axis=0)
    ends = 0, len(found.l2s) - 1
    for i, (l2, mean, error, accuracy) in enumerate(zip(*columns, strict=True)):
        numbers = f"{l2:.3g}", f"{mean:.4f}", f"{error:.4f}", f"{accuracy:.4f}"
        chosen = "chosen, at an end" if i in ends else "chosen"
        table.add_row(*numbers, chosen if i == found.best else "")
    show(table)


def optimum_facts(result: FitResult, seconds: float) -> list[tuple[str, str]]:
    """What `train` prints of an optimum."""
    if math.isfinite(result.gap):
        gap = f"{result.gap:.1e} of the objective at most, proved"
    else:
        gap = "nothing was proved"
    return [
        ("objective", f"{result.objective:.6f}, the mean loss with the penalty"),
        ("gap", gap),
        ("stopped", result.stopped + ("" if result.converged else ", not converged")),
        ("solving", f"{result.n_passes:.1f} passes over the rows in {seconds:.2f} s"),
    ]
