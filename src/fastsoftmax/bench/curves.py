"""What `measure_optimum` found, as rows of a table and as curves."""

from __future__ import annotations

from typing import Any

_FLOOR = 1e-12  # distances below it are rounding


def rows(result: dict[str, Any]) -> list[list[str]]:
    """Head and rows: seconds to each distance; in brackets the least one, if that is above it."""
    sides = result["sides"]
    head = ["problem", "N x D x K", "dtype", "C", "distance", *(f"{side} s" for side in sides)]
    lines = [
        [
            row["problem"],
            "x".join(map(str, row["shape"])),
            row["dtype"],
            f"{row['C']:g}",
            target,
            *(_cell(row, side, target) for side in sides),
            _times_as_fast(row, target),
        ]
        for row in result["rows"]
        for target in row["seconds_to"]["fastsoftmax"]
    ]
    return [[*head, "times as fast"], *lines]


def _cell(row: dict[str, Any], side: str, target: str) -> str:
    if side not in row["runs"]:
        return ""
    seconds = row["seconds_to"][side][target]
    if seconds is not None:
        return f"{seconds:.3g}"
    nearest = min((run["distance"] for run in row["runs"][side]), default=None)
    return "(none)" if nearest is None else f"({nearest:.0e})"


def _times_as_fast(row: dict[str, Any], target: str) -> str:
    """As the fastest of scikit-learn's own solvers."""
    ours = row["seconds_to"]["fastsoftmax"][target]
    theirs = [
        seconds[target]
        for side, seconds in row["seconds_to"].items()
        if side.startswith("sklearn ") and seconds[target] is not None
    ]
    return f"{min(theirs) / ours:.2f}" if theirs and ours is not None else ""


def picture(result: dict[str, Any], path: str) -> None:
    """The distance from the optimum against the time, a panel for each problem."""
    from matplotlib.figure import Figure

    found = result["rows"]
    columns = min(len(found), 3)
    lines = -(-len(found) // columns)
    figure = Figure(figsize=(5 * columns, 3.6 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, row in zip(panels, found, strict=False):
        for i, side in enumerate(result["sides"]):
            runs = row["runs"].get(side, [])
            seconds = [run["seconds"] for run in runs]
            distances = [max(run["distance"], _FLOOR) for run in runs]
            width = 2.5 if side == "fastsoftmax" else 1
            axes.plot(seconds, distances, ".-", color=f"C{i}", linewidth=width, label=side)
        axes.set_xscale("log")
        axes.set_yscale("log")
        for target in row["seconds_to"]["fastsoftmax"]:
            axes.axhline(float(target), color="black", linewidth=0.5, linestyle=":")
        axes.set_title(f"{row['problem']} {'x'.join(map(str, row['shape']))} {row['dtype']}")
        axes.set_xlabel("seconds")
        axes.set_ylabel("relative distance")
    for axes in panels[len(found) :]:
        axes.set_visible(False)
    panels[0].legend(fontsize=7)
    figure.savefig(path, dpi=120)
