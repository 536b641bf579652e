"""Measuring: sides take turns, and the machine's two limits with them."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from fastsoftmax.bench.epochs import EPOCHS
from fastsoftmax.bench.limits import limit_seconds
from fastsoftmax.bench.peers import PEERS
from fastsoftmax.bench.processes import Worker, workers
from fastsoftmax.bench.small import CALLS, SIDES

Shape = tuple[int, int, int]
Tell = Callable[[str], None]

EPOCH_SHAPES: tuple[Shape, ...] = (
    (60000, 784, 10),
    (581012, 54, 7),
    (60000, 1024, 20),
    (50000, 768, 100),
)
SHAPES: tuple[Shape, ...] = (
    (60000, 784, 10),
    (581012, 54, 7),
    (200000, 384, 2),
    (60000, 1024, 20),
    (50000, 768, 100),
    (20000, 768, 1000),
)
TURN = 0.25  # seconds: a turn of a few passes ends before clocks and caches have settled
_SMALL_TURN = 0.05
PAUSE = 0.05  # seconds: threads of the last side that still spin go to sleep


def module_of(side: str) -> str:
    """What a side needs installed; "fastsoftmax plain" is one of this library's."""
    return side.partition(" ")[0]


def installed(sides: Iterable[str]) -> list[str]:
    """Those that can be imported here."""
    return [side for side in sides if importlib.util.find_spec(module_of(side)) is not None]


def pass_sides() -> list[str]:
    """Sides of a pass, this library first."""
    return installed(PEERS)


def epoch_sides() -> list[str]:
    """Sides of an epoch of SGD, this library's two first."""
    return installed(EPOCHS)


def small_sides() -> list[str]:
    """Sides of the small calls, this library first."""
    return installed(SIDES)


def measure(
    shapes: Sequence[Shape],
    dtypes: Sequence[str],
    sides: Sequence[str],
    threads: int,
    rounds: int,
    batch: int | None = None,
    tell: Tell = lambda text: None,
) -> dict[str, Any]:
    """Times of one pass of every side, or of an epoch in batches, in turns; losses beside them.

    Returns a dictionary fit for JSON: where and with what it was measured, and one entry per row
    with the limits that were measured in its turns.
    """
    rows = []
    with workers(sides, threads) as running:
        result = head("pass" if batch is None else "epoch", running, threads) | {"batch": batch}
        for dtype in dtypes:
            for shape in shapes:
                tell(f"{'x'.join(map(str, shape))} {dtype}")
                losses = {s: w.ask("data", *shape, dtype, batch) for s, w in running.items()}
                limits: list[dict[str, float]] = []
                times: dict[str, list[float]] = {side: [] for side in running}
                for _ in range(rounds):
                    take_turns(running, times, TURN)
                    time.sleep(PAUSE)
                    limits.append(running["fastsoftmax"].ask("limits", TURN))
                limit = {kind: max(turn[kind] for turn in limits) for kind in limits[0]}
                row: dict[str, Any] = {"shape": list(shape), "dtype": dtype, "losses": losses}
                row |= {"limits": limit, "limit": limit_seconds(shape, dtype, limit)}
                rows.append(row | best_and_median(times))
    return result | {"rows": rows}


def measure_small(
    dtypes: Sequence[str],
    sides: Sequence[str],
    threads: int,
    rounds: int,
    tell: Tell = lambda text: None,
) -> dict[str, Any]:
    """Times of small calls, in turns, as `measure` gives them; the sides' answers beside them."""
    rows = []
    with workers(sides, threads) as running:
        result = head("small", running, threads)
        for dtype in dtypes:
            for call, (_, able) in CALLS.items():
                tell(f"{call} {dtype}")
                here = {side: running[side] for side in able if side in running}
                answers = {s: worker.ask("call", call, dtype) for s, worker in here.items()}
                times: dict[str, list[float]] = {side: [] for side in here}
                for _ in range(rounds):
                    take_turns(here, times, _SMALL_TURN)
                row = {"call": call, "dtype": dtype, "answers": answers}
                rows.append(row | best_and_median(times))
    return result | {"rows": rows}


def head(kind: str, running: dict[str, Worker], threads: int) -> dict[str, Any]:
    """Of a result: what was measured, where, with what and when."""
    modules = sorted({module_of(side) for side in running})
    return {
        "kind": kind,
        "provenance": running["fastsoftmax"].ask("provenance", modules),
        "threads": threads,
        "sides": list(running),
    }


def take_turns(running: dict[str, Worker], times: dict[str, list[float]], seconds: float) -> None:
    """Each side runs for so long; its times are added to those it has."""
    for side, worker in running.items():
        time.sleep(PAUSE)
        times[side] += worker.ask("run", seconds)


def best_and_median(times: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    return {
        "best": {side: min(t) for side, t in times.items()},
        "median": {side: float(np.median(t)) for side, t in times.items()},
    }
