"""What was measured, as a Markdown table and a picture."""

from __future__ import annotations

from typing import Any

from fastsoftmax.bench import curves
from fastsoftmax.bench.limits import read_speed
from fastsoftmax.bench.provenance import told
from fastsoftmax.bench.types import size_of

_OURS = "fastsoftmax"
_WHAT = {
    "pass": "One pass (loss and gradient)",
    "epoch": "One epoch of SGD over shuffled rows in batches of {batch}",
    "small": "One small call",
    "sparse": "One pass (loss and gradient) over sparse rows",
    "optimum": "Seconds to a relative distance from the optimum of C times the sum of the losses "
    "plus half the squared weights",
}


def markdown(result: dict[str, Any]) -> str:
    """The table of what was measured, and a line on how."""
    rows = _rows_of(result)
    head = rows[0]
    lines = [_line(cells) for cells in (head, ["---"] * len(head), *rows[1:])]
    others = _others(result)
    text = f"{_WHAT[result['kind']].format(**result)}, in turns; {result['threads']} threads."
    if result["kind"] == "small":
        text += " The least and, in brackets, the median of many."
    elif result["kind"] == "optimum":
        text += (
            f" The least of {result['rounds']} rounds, by the fastest of each side's tolerances. "
            f"In brackets the least distance that {result['seconds']:g} s or the dtype allowed. "
            '"Times as fast" as the fastest solver of scikit-learn.'
        )
    else:
        text += " The least of many."
        if others:
            text += f' "Times as fast" as {" / ".join(others)}.'
    if result["kind"] == "epoch":
        text += ' "fastsoftmax" is fit_sgd with its defaults; all others are plain SGD.'
    return "\n".join([*lines, "", text, "", told(result["provenance"])]) + "\n"


def _rows_of(result: dict[str, Any]) -> list[list[str]]:
    """Head and rows, by what was measured."""
    if result["kind"] == "small":
        return _small_rows(result)
    if result["kind"] == "sparse":
        return _sparse_rows(result)
    return curves.rows(result) if result["kind"] == "optimum" else _rows(result)


def _rows(result: dict[str, Any]) -> list[list[str]]:
    """Head and rows: milliseconds, and our share of the machine's limit of a pass."""
    sides = result["sides"]
    head = ["N x D x K", "dtype", *(f"{side} ms" for side in sides), "times as fast"]
    rows = [[*head, "of the limit", "GFLOP/s", "GB/s"]]
    for row in result["rows"]:
        best = row["best"]
        rows.append(
            [
                _name(row),
                row["dtype"],
                *(f"{best[side] * 1e3:.2f}" for side in sides),
                " / ".join(f"{best[side] / best[_OURS]:.2f}" for side in _others(result)),
                f"{row['limit'] / best[_OURS]:.0%}",
                f"{row['limits']['flops'] / 1e9:.0f}",
                f"{read_speed(row['limits']) / 1e9:.0f}",
            ]
        )
    return rows


def _small_rows(result: dict[str, Any]) -> list[list[str]]:
    """Head and rows: microseconds."""
    sides = result["sides"]
    rows = [["call", "dtype", *(f"{side} µs" for side in sides)]]
    for row in result["rows"]:
        times = [
            f"{row['best'][side] * 1e6:.1f} ({row['median'][side] * 1e6:.1f})"
            if side in row["best"]
            else ""
            for side in sides
        ]
        rows.append([row["call"], row["dtype"], *times])
    return rows


def _sparse_rows(result: dict[str, Any]) -> list[list[str]]:
    """Head and rows: milliseconds."""
    sides = result["sides"]
    head = ["problem", "N x D x K", "entries a row", "dtype", *(f"{side} ms" for side in sides)]
    rows = [[*head, "times as fast"]]
    for row in result["rows"]:
        best = row["best"]
        times = [f"{best[side] * 1e3:.2f}" for side in sides]
        ratios = " / ".join(f"{best[side] / best[_OURS]:.2f}" for side in _others(result))
        entries = f"{row['entries'] / row['shape'][0]:.1f}"
        rows.append([row["problem"], _name(row), entries, row["dtype"], *times, ratios])
    return rows


def picture(result: dict[str, Any], path: str) -> None:
    """Bars of the speed-ups, and a roofline of what each shape reaches; not of small calls.

    Of optima, curves.
    """
    if result["kind"] == "optimum":
        curves.picture(result, path)
        return
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5), layout="constrained")
    bars, roof = figure.subplots(1, 2)
    _draw_bars(bars, result)
    _draw_roof(roof, result)
    figure.savefig(path, dpi=120)


def _draw_bars(axes: Any, result: dict[str, Any]) -> None:
    """How many times as fast as each other side."""
    rows = result["rows"]
    others = [side for side in result["sides"] if side != _OURS]
    for i, side in enumerate(others):
        width = 0.8 / len(others)
        ups = [row["best"][side] / row["best"][_OURS] for row in rows]
        places = [x + i * width for x in range(len(rows))]
        axes.bar(places, ups, width, align="edge", label=side)
    axes.axhline(1, color="black", linewidth=1)
    names = [f"{_name(row)}\n{row['dtype']}" for row in rows]
    axes.set_xticks([x + 0.4 for x in range(len(rows))], names, rotation=60, fontsize=7)
    axes.set_ylabel("times as fast")
    axes.set_title("fastsoftmax against the other sides")
    if others:
        axes.legend()


def _draw_roof(axes: Any, result: dict[str, Any]) -> None:
    """What each shape reaches, under its own limit (a dash) and the highest measured (a line)."""
    for i, dtype in enumerate(dict.fromkeys(row["dtype"] for row in result["rows"])):
        color, size = f"C{i}", size_of(dtype)
        rows = [row for row in result["rows"] if row["dtype"] == dtype]
        flops = max(row["limits"]["flops"] for row in rows)
        reading = max(read_speed(row["limits"]) for row in rows)
        intensity = [2.0**i for i in range(-1, 12)]
        top = [min(flops, reading * x) / 1e9 for x in intensity]
        axes.loglog(intensity, top, color=color, label=f"highest limit, {dtype}")
        for row in rows:
            N, D, K = row["shape"]
            work, x = 4 * N * D * K / 1e9, 4 * K / size
            axes.plot(x, work / row["best"][_OURS], "o", color=color)
            if "fastsoftmax plain" in row["best"]:
                axes.plot(x, work / row["best"]["fastsoftmax plain"], "o", color=color, mfc="none")
            axes.plot(x, work / row["limit"], "_", color=color)
            axes.annotate(f" K={K}", (x, work / row["best"][_OURS]), fontsize=7)
    if "fastsoftmax plain" in result["sides"]:
        axes.plot([], [], "o", color="black", mfc="none", label="fastsoftmax plain")
    axes.set_xlabel("operations per byte of X")
    axes.set_ylabel("GFLOP/s")
    axes.set_title("roofline")
    axes.legend()


def _others(result: dict[str, Any]) -> list[str]:
    """The sides of other libraries."""
    return [side for side in result["sides"] if not side.startswith(_OURS)]


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _name(row: dict[str, Any]) -> str:
    return "x".join(map(str, row["shape"]))
