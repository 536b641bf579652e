"""What was measured, as a Markdown table and a picture."""

from __future__ import annotations

from typing import Any


def markdown(result: dict[str, Any]) -> str:
    """A table: milliseconds of a pass or epoch, and our share of the machine's limit of a pass."""
    peers = list(result["versions"])
    others = [peer for peer in peers if peer != "fastsoftmax"]
    head = ["N x D x K", "dtype", *(f"{p} ms" for p in peers), "times as fast", "of the limit"]
    lines = [_line(head), _line(["---"] * len(head))]
    for row in result["rows"]:
        best = row["best"]
        lines.append(
            _line(
                [
                    _name(row),
                    row["dtype"],
                    *(f"{best[p] * 1e3:.2f}" for p in peers),
                    " / ".join(f"{best[p] / best['fastsoftmax']:.2f}" for p in others),
                    f"{row['limit'] / best['fastsoftmax']:.0%}",
                ]
            )
        )
    limits = "; ".join(
        f"{dtype}: {limit['flops'] / 1e9:.0f} GFLOP/s, {limit['bytes'] / 1e9:.0f} GB/s"
        for dtype, limit in result["limits"].items()
    )
    versions = ", ".join(f"{peer} {version}" for peer, version in result["versions"].items())
    lines += [
        "",
        f"{_what(result)}, the least of many runs in turns; {result['threads']} "
        f"threads on {result['machine']}, Python {result['python']}; {versions}. "
        f'"Times as fast" as {" / ".join(others)}. Limits measured: {limits}.',
    ]
    return "\n".join(lines) + "\n"


def picture(result: dict[str, Any], path: str) -> None:
    """Bars of the speed-ups, and a roofline of what each shape reaches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5), layout="constrained")
    bars, roof = figure.subplots(1, 2)
    rows = result["rows"]
    others = [peer for peer in result["versions"] if peer != "fastsoftmax"]
    for i, peer in enumerate(others):
        width = 0.8 / len(others)
        ups = [row["best"][peer] / row["best"]["fastsoftmax"] for row in rows]
        bars.bar([x + i * width for x in range(len(rows))], ups, width, align="edge", label=peer)
    bars.axhline(1, color="black", linewidth=1)
    names = [f"{_name(row)}\n{row['dtype']}" for row in rows]
    bars.set_xticks([x + 0.4 for x in range(len(rows))], names, rotation=60, fontsize=7)
    bars.set_ylabel("times as fast")
    bars.set_title("fastsoftmax against its peers")
    bars.legend()

    for color, (dtype, limit) in zip(("C0", "C1"), result["limits"].items(), strict=False):
        intensity = [2.0**i for i in range(-1, 12)]
        top = [min(limit["flops"], limit["bytes"] * x) / 1e9 for x in intensity]
        roof.loglog(intensity, top, color=color, label=f"limit, {dtype}")
        for row in rows:
            if row["dtype"] == dtype:
                N, D, K = row["shape"]
                size = 4 if dtype == "float32" else 8
                speed = 4 * N * D * K / row["best"]["fastsoftmax"] / 1e9
                roof.plot(4 * K / size, speed, "o", color=color)
                roof.annotate(f" K={K}", (4 * K / size, speed), fontsize=7)
    roof.set_xlabel("operations per byte of X")
    roof.set_ylabel("GFLOP/s")
    roof.set_title("roofline")
    roof.legend()
    figure.savefig(path, dpi=120)


def _what(result: dict[str, Any]) -> str:
    batch = result.get("batch")
    if batch is None:
        return "One pass (loss and gradient)"
    return f"One epoch of plain SGD over shuffled rows in batches of {batch}"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _name(row: dict[str, Any]) -> str:
    return "x".join(map(str, row["shape"]))
