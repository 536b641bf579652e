"""What `fastsoftmax train` was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastsoftmax.cli.tables.files import read
from fastsoftmax.cli.tables.matrix import Matrix
from fastsoftmax.cli.tables.table import Table


@dataclass(frozen=True)
class Request:
    """The options, checked; `solver` are the arguments of `fit_sgd` or `fit`."""

    file: Path | None
    label: str | None
    output: Path | None
    features: list[str] | None
    drop: list[str] | None
    categories: list[str] | None
    text: list[str] | None
    missing: str
    separator: str | None
    header: bool
    many_classes: bool
    dtype: str
    test: Path | None
    test_fraction: float
    refit: bool
    as_json: bool
    plot: Path | None
    optimum: bool
    cv: int | None
    seed: int
    memory: int
    solver: dict[str, Any]

    def read(self, file: Path, first_index: int | None = None) -> Table | Matrix:
        return read(
            file,
            self.label,
            separator=self.separator,
            header=self.header,
            first_index=first_index,
        )
