"""`fastsoftmax bench`."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from fastsoftmax.cli.errors import UsageError
from fastsoftmax.cli.options import check_threads


def command(
    shapes: Annotated[
        list[str] | None,
        typer.Option(
            "--shape",
            help="Measure on so many rows, features and classes, such as 60000x784x10; may be "
            "given several times.",
        ),
    ] = None,
    dtypes: Annotated[
        list[str] | None,
        typer.Option(
            "--dtype",
            help="float32 and float64 by default; of X alone uint8,float16,bfloat16 and the like.",
        ),
    ] = None,
    peers: Annotated[
        list[str] | None,
        typer.Option(
            "--peer",
            help="Compare with this library; may be given several times. By default with all that "
            "are installed.",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(help="How many threads each side may use; by default 2, if there are."),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(help="How many turns each side takes; by default 7, or 3 with --optimum."),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(min=1, help="Measure an epoch of SGD in batches of so many rows."),
    ] = None,
    small: Annotated[
        bool, typer.Option("--small", help="Measure calls on a few rows in place of large ones.")
    ] = False,
    of_sparse: Annotated[
        bool, typer.Option("--sparse", help="Measure a pass over sparse rows.")
    ] = False,
    to_optimum: Annotated[
        bool, typer.Option("--optimum", help="Measure the time that solvers take to the optimum.")
    ] = False,
    problems: Annotated[
        list[str] | None,
        typer.Option(
            "--problem",
            help="With --optimum or --sparse: measure on this problem; may be given several times. "
            "By default on all.",
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--data",
            envvar="FASTSOFTMAX_DATA",
            help="With --optimum or --sparse: a folder with real sets, to be measured too.",
        ),
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="With --optimum or --sparse: take so many rows at most, for a quick check.",
        ),
    ] = None,
    seconds: Annotated[
        float,
        typer.Option(help="With --optimum: how many seconds one side may take for each problem."),
    ] = 30,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Write bench.md, bench.json and, but for --small and --sparse, bench.png into "
            "this folder.",
        ),
    ] = None,
) -> None:
    """Measure one pass (loss and gradient) of this library, NumPy, torch, JAX and scikit-learn.

    With --batch, an epoch of SGD: fit_sgd with its defaults, and plain SGD of this library, NumPy
    and torch. With --small, calls on a few rows, against NumPy, SciPy and scikit-learn. With
    --sparse, a pass over sparse rows, against SciPy, scikit-learn and torch. With --optimum, fit
    and scikit-learn's solvers, to within 1e-4 and 1e-6 of the optimum.

    Each side runs in a process of its own with the same data and threads, taking turns; the
    machine's limits are measured beside them.
    """
    from rich.console import Console

    from fastsoftmax.bench import measure, optimum, sparse, texts
    from fastsoftmax.bench import problems as to_solve

    if small and (shapes or batch is not None):
        raise UsageError("--small has sizes of its own: leave out --shape and --batch")
    if of_sparse and (shapes or small or to_optimum or batch is not None):
        raise UsageError(
            "--sparse has rows of its own: leave out --shape, --small, --batch and --optimum"
        )
    if to_optimum and (shapes or dtypes or small or batch is not None):
        raise UsageError(
            "--optimum has problems of its own: leave out --shape, --dtype, --small and --batch"
        )
    if not (to_optimum or of_sparse) and (problems or rows is not None):
        raise UsageError("--problem and --rows need --optimum or --sparse")
    if seconds <= 0:
        raise UsageError(f"--seconds must be above 0, got {seconds:g}")
    if (
        output is not None
        and not (small or of_sparse)
        and importlib.util.find_spec("matplotlib") is None
    ):
        raise ImportError("the picture needs matplotlib; pip install 'fastsoftmax[bench]'")
    asked = _dtypes(dtypes, small or of_sparse)
    threads = check_threads(threads)
    rounds = (3 if to_optimum else 7) if rounds is None else rounds
    if rounds < 1:
        raise UsageError(f"--rounds must be at least 1, got {rounds}")
    if output is not None and output.exists() and not output.is_dir():
        raise UsageError(f"{output} is no folder; --output must name one")
    status = Console(stderr=True)
    options: dict[str, Any] = {
        "threads": threads,
        "rounds": rounds,
        "tell": lambda text: status.print(f"measuring {text}", highlight=False),
    }
    if to_optimum:
        result = optimum.measure_optimum(
            _problems(problems, folder, to_solve.names),
            _solvers(peers),
            seconds=seconds,
            folder=folder,
            most_rows=rows,
            **options,
        )
        _tell(result, output)
        return
    options["dtypes"] = asked
    if of_sparse:
        there = _problems(problems, folder, texts.names)
        result = sparse.measure_sparse(
            there if problems else [name for name in there if name not in texts.WHEN_ASKED],
            sides=_sides(peers, sparse.sparse_sides()),
            folder=folder,
            most_rows=rows,
            **options,
        )
    elif small:
        result = measure.measure_small(sides=_sides(peers, measure.small_sides()), **options)
    else:
        sides = measure.pass_sides() if batch is None else measure.epoch_sides()
        defaults = measure.SHAPES if batch is None else measure.EPOCH_SHAPES
        result = measure.measure(
            [_shape(text) for text in shapes] if shapes else defaults,
            sides=_sides(peers, sides),
            batch=batch,
            **options,
        )
    _tell(result, output)


def _tell(result: dict[str, Any], output: Path | None) -> None:
    """Print the table, and write what there is."""
    from fastsoftmax.bench import report

    table = report.markdown(result)
    print(table)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        (output / "bench.md").write_text(table, encoding="utf-8")
        (output / "bench.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        if result["kind"] not in ("small", "sparse"):
            report.picture(result, str(output / "bench.png"))


def _dtypes(texts: list[str] | None, computed: bool) -> list[str]:
    """What was asked for, one at a time or with commas between; narrow types of X, too."""
    from fastsoftmax.bench.types import COMPUTED, DTYPES, dtype_of

    allowed = COMPUTED if computed else DTYPES
    asked = [name for text in texts or COMPUTED for name in text.split(",")]
    for name in asked:
        if name not in allowed:
            raise UsageError(f"--dtype must be one of {', '.join(allowed)}, got {name!r}")
        dtype_of(name)  # bfloat16 may be missing
    return asked


def _sides(peers: list[str] | None, installed: list[str]) -> list[str]:
    """This library's, and the others asked for."""
    from fastsoftmax.bench import measure

    unknown = set(peers or ()) - set(installed)
    if unknown:
        raise UsageError(f"--peer: {', '.join(sorted(unknown))} is unknown or not installed")
    ours = [side for side in installed if measure.module_of(side) == "fastsoftmax"]
    return [side for side in installed if peers is None or side in peers or side in ours]


def _solvers(peers: list[str] | None) -> list[str]:
    """Of those installed; some only where they are asked for."""
    from fastsoftmax.bench import optimum

    installed = optimum.solver_sides()
    return _sides(peers, optimum.usual(installed) if peers is None else installed)


def _problems(
    asked: list[str] | None, folder: Path | None, names: Callable[[Path | None], list[str]]
) -> list[str]:
    """Those asked for, if they are there."""
    if folder is not None and not folder.is_dir():
        raise UsageError(f"--data must name a folder, got {folder}")
    there = names(folder)
    for name in asked or ():
        if name not in there:
            raise UsageError(f"--problem must be one of {', '.join(there)}, got {name!r}")
    return there if asked is None else asked


def _shape(text: str) -> tuple[int, int, int]:
    try:
        N, D, K = (int(part) for part in text.split("x"))
    except ValueError:
        raise UsageError(f"--shape must be NxDxK, e.g. 60000x784x10, got {text!r}") from None
    if min(N, D, K) < 1:
        raise UsageError(f"--shape must have positive sizes, got {text!r}")
    return N, D, K
