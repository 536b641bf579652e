"""Time against the distance from the optimum: each side's own tolerance, swept, in turns."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fastsoftmax.bench.measure import PAUSE, Tell, head, installed
from fastsoftmax.bench.processes import TimeLimitError, Worker, workers
from fastsoftmax.bench.solvers import SOLVERS, WHEN_ASKED

TARGETS = {"1e-4": 1e-4, "1e-6": 1e-6}  # relative distances that times are told to
_LAST = min(TARGETS.values())
TOLERANCES = tuple(10 ** (-i / 2) for i in range(2, 21))  # loosest first: 0.1 to 1e-10
_OPTIMUM = 1e-10  # the relative gap to which the optimum is looked for

# newton-cholesky holds a matrix of the squared number of parameters; of so many it takes 1 GB.
_MOST_PARAMETERS = 11_000


@dataclass
class Run:
    """Solutions with one tolerance: all are alike but in their times."""

    tol: float
    objective: float
    count: float  # passes or iterations
    times: list[float] = field(default_factory=list)


@dataclass
class Side:
    """A side on one problem."""

    worker: Worker
    problem: tuple[Any, ...]  # as it is told of
    runs: list[Run] = field(default_factory=list)
    ended: str = ""  # why its sweep ended

    def prepare(self) -> None:
        self.worker.ask("problem", *self.problem)

    def solve(self, tol: float, limit: float | None = None) -> dict[str, Any] | None:
        """One solution; None where it failed or took longer: another process is there then."""
        try:
            answer: dict[str, Any] = self.worker.ask("solve", tol, limit=limit)
            return answer
        except ChildProcessError as error:
            self.ended = "seconds" if isinstance(error, TimeLimitError) else str(error)
            self.worker.restart()
            self.prepare()
            return None


def solver_sides() -> list[str]:
    """Those installed, this library first."""
    return installed(SOLVERS)


def usual(found: Sequence[str]) -> list[str]:
    """Those of them that are measured without being asked for."""
    return [side for side in found if side not in WHEN_ASKED]


def measure_optimum(
    problems: Sequence[str],
    sides: Sequence[str],
    threads: int,
    rounds: int,
    seconds: float,
    folder: Path | None = None,
    most_rows: int | None = None,
    tell: Tell = lambda text: None,
) -> dict[str, Any]:
    """Objectives and times of every side on every problem, as a dictionary fit for JSON.

    A side's first sweep through its tolerances takes `seconds` at most: a solution that goes on
    beyond them is ended with its process. Later rounds repeat what it has done by then.
    """
    rows = []
    with workers(sides, threads) as running:
        result = head("optimum", running, threads) | {"rounds": rounds, "seconds": seconds}
        for name in problems:
            tell(name)
            problem = name, None if folder is None else str(folder), most_rows
            rows.append(_measured(running, problem, rounds, seconds))
    return result | {"rows": rows}


def _measured(
    running: dict[str, Worker], problem: tuple[Any, ...], rounds: int, seconds: float
) -> dict[str, Any]:
    """A row: one problem."""
    facts = running["fastsoftmax"].ask("problem", *problem)
    best = running["fastsoftmax"].ask("optimum", _OPTIMUM, seconds)
    able = {name: worker for name, worker in running.items() if _is_able(name, facts["shape"])}
    taking_part = {name: Side(worker, problem) for name, worker in able.items()}
    for name, side in taking_part.items():
        side.prepare()
        if name == "fastsoftmax":
            side.solve(_LAST)  # compiles, however long that takes
        else:
            side.solve(TOLERANCES[0], seconds)
    for turn in range(rounds):
        for side in taking_part.values():
            time.sleep(PAUSE)
            if turn > 0:
                _repeat(side)
            elif not side.ended:
                _sweep(side, best["objective"], seconds)
    least = min(
        [best["objective"], *(run.objective for s in taking_part.values() for run in s.runs)]
    )
    found = {name: [_told(run, least) for run in side.runs] for name, side in taking_part.items()}
    return {
        **facts,
        "optimum": least,
        "lower_bound": best["lower_bound"],
        "runs": found,
        "ended": {name: side.ended for name, side in taking_part.items()},
        "seconds_to": {
            name: {target: _seconds_to(distance, runs) for target, distance in TARGETS.items()}
            for name, runs in found.items()
        },
    }


def _is_able(side: str, shape: Sequence[int]) -> bool:
    _, n_features, n_classes = shape
    return not side.endswith("newton-cholesky") or (n_features + 1) * n_classes <= _MOST_PARAMETERS


def _sweep(side: Side, optimum: float, seconds: float) -> None:
    """From the loosest tolerance to the last that the targets need, or the seconds allow."""
    for tol in TOLERANCES:
        answer = side.solve(tol, max(seconds, 0.0))
        if answer is None:
            if side.runs:
                side.solve(side.runs[0].tol)  # warms the new process up for the rounds to come
            return
        seconds -= answer["seconds"]
        side.runs.append(Run(tol, answer["objective"], answer["count"], [answer["seconds"]]))
        if answer["objective"] - optimum <= _LAST * optimum:
            side.ended = "reached"
            return
    side.ended = "tolerances"


def _repeat(side: Side) -> None:
    """The runs of the sweep once more."""
    for run in side.runs:
        answer = side.solve(run.tol)
        if answer is not None:
            run.times.append(answer["seconds"])


def _told(run: Run, optimum: float) -> dict[str, Any]:
    told = {"distance": (run.objective - optimum) / optimum, "seconds": min(run.times)}
    return asdict(run) | told


def _seconds_to(distance: float, runs: list[dict[str, Any]]) -> float | None:
    """Of the fastest run that came so near."""
    return min((run["seconds"] for run in runs if run["distance"] <= distance), default=None)
