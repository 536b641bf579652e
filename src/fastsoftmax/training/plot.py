"""Pictures of how training went (matplotlib, an extra)."""

from __future__ import annotations

from typing import Any


def axes(ax: Any = None) -> Any:
    """`ax`, or those of a new figure."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("a plot needs matplotlib: pip install 'fastsoftmax[plot]'") from None
    return Figure(figsize=(7, 4), layout="constrained").subplots() if ax is None else ax


def plot_history(history: dict[str, list[float]], ax: Any = None) -> Any:
    """Losses by epoch on `ax`, a new figure's by default; the accuracy on a second scale."""
    ax = axes(ax)
    from matplotlib.ticker import MaxNLocator

    epochs = range(1, len(history["loss"]) + 1)
    lines = ax.plot(epochs, history["loss"], label="training loss (running mean)")
    if "validation_loss" in history:
        lines += ax.plot(epochs, history["validation_loss"], label="validation loss")
        twin = ax.twinx()
        accuracy = history["validation_accuracy"]
        lines += twin.plot(epochs, accuracy, "k:", label="validation accuracy")
        twin.set_ylabel("accuracy")
    ax.set_xlabel("epoch")
    ax.set_ylabel("mean cross-entropy")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(lines, [line.get_label() for line in lines], frameon=False)
    return ax
