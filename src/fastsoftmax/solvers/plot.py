"""Pictures of solutions (matplotlib, an extra)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastsoftmax.training.plot import axes


def plot_gap(history: dict[str, list[float]], lower_bound: float, ax: Any = None) -> Any:
    """How far the objective was above the bound, as a share of it, by passes over X."""
    ax = axes(ax)
    objective = np.array(history["objective"])
    if np.isfinite(lower_bound) and lower_bound > 0:
        ax.semilogy(history["passes"], np.maximum(objective / lower_bound - 1, 1e-16))
        ax.set_ylabel("relative distance from the lower bound")
    else:
        ax.plot(history["passes"], objective)
        ax.set_ylabel("objective")
    ax.set_xlabel("passes over X")
    return ax


def plot_path(l2s: Sequence[float], series: dict[str, Sequence[float]], ax: Any = None) -> Any:
    """Lines by penalty."""
    ax = axes(ax)
    for label, values in series.items():
        ax.semilogx(l2s, values, ".-", label=label)
    ax.set_xlabel("l2")
    ax.set_ylabel("mean cross-entropy")
    ax.legend(frameon=False)
    return ax
