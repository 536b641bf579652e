"""What the columns of a table can be used as, found from their types and cells before training.

Numbers, true and false are numbers; texts are categories, if few of them differ; lists of numbers,
equally many in each row, are vectors. All else is refused by name, with a hint.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from fastsoftmax.cli.errors import DataError, listed
from fastsoftmax.cli.tables.cells import Place, shown, texts_of
from fastsoftmax.cli.tables.columns import Category, Vector, lists_of
from fastsoftmax.cli.tables.moments import Moments
from fastsoftmax.cli.tables.numbers import Number, matrix_of
from fastsoftmax.cli.tables.table import Table

Array = npt.NDArray[Any]

# A column of texts with more different ones than this, or with more than half of its rows
# different where they are more than the second, holds names or sentences, no categories.
_MOST_VALUES = 1000
_FEW_VALUES = 20

_DATE = r"^(\d{4}-\d\d?-\d\d?|\d\d?[./]\d\d?[./]\d{2,4})([T ].*)?$"


@dataclass
class _Odd:
    """Cells that are no numbers, of a column."""

    count: int = 0
    dates: int = 0
    first: DataError | None = None


@dataclass(frozen=True)
class Learnt:
    """How each column is used, in order; and whether all fit float32."""

    columns: list[Any]
    float32: bool
    n_rows: int


def learn(table: Table, names: list[str], categories: Collection[str] = ()) -> Learnt:
    """How to use the columns `names`; an error tells of all that cannot be used."""
    kinds = {name: _kind(table.types[name], name in categories) for name in names}
    refused = {name: kind for name, kind in kinds.items() if kind.startswith("holds")}
    moments, odd, n_rows = _look(table, kinds)
    for name, cells in odd.items():
        if cells.count <= moments[name].count:
            hint = f"--categories {name} takes all of them for names"
            raise DataError(f"{cells.first}, as most of the others are; {hint}")
        if cells.dates == cells.count:
            refused[name] = "holds dates"
        else:
            kinds[name] = "category"
            del moments[name]
    for name, found in moments.items():
        if not np.any(found.count) and name not in refused:
            refused[name] = "holds no values"
    values = _values(table, [name for name in names if kinds[name] == "category"])
    for name, texts in values.items():
        if not texts:
            refused.setdefault(name, "holds no values")
        elif name not in refused and _are_too_many(len(texts), n_rows, name in categories):
            shown = f"more than {_MOST_VALUES}" if len(texts) > _MOST_VALUES else len(texts)
            refused[name] = f"holds {shown} different texts in {n_rows} rows"
    if refused:
        raise _refusal(table, refused)
    columns: list[Any] = []
    for name in names:
        if kinds[name] == "category":
            columns.append(Category(name, tuple(values[name])))
        elif kinds[name] == "vector":
            columns.append(Vector(name, tuple(moments[name].mean.tolist())))
        else:
            columns.append(Number(name, float(moments[name].mean)))
    return Learnt(columns, all(found.fits_float32() for found in moments.values()), n_rows)


def _kind(dtype: pl.DataType, is_category: bool) -> str:
    """What a column of this type can be: "number", "category", "vector", or what it holds."""
    if dtype.is_temporal():
        return "holds times" if dtype in (pl.Time, pl.Duration) else "holds dates"
    if isinstance(dtype, (pl.List, pl.Array)):
        return "vector" if dtype.inner.is_numeric() else "holds lists of no numbers"
    if dtype == pl.Null:
        return "holds no values"
    if isinstance(dtype, (pl.Categorical, pl.Enum)):
        return "category"
    if not (dtype.is_numeric() or dtype in (pl.Boolean, pl.String)):
        return f"holds {_TOLD.get(type(dtype), str(dtype))}"
    return "category" if is_category else "number"


_TOLD = {pl.Binary: "bytes", pl.Struct: "records", pl.Object: "objects"}


def _look(table: Table, kinds: dict[str, str]) -> tuple[dict[str, Moments], dict[str, _Odd], int]:
    """(moments of numbers and of vectors, cells that are none, the number of rows), in one pass."""
    names = [name for name, kind in kinds.items() if kind == "number"]
    numbers, odd = Moments(), dict[str, _Odd]()
    vectors = {name: Moments() for name, kind in kinds.items() if kind == "vector"}
    if not names and not vectors:
        return vectors, odd, table.count_rows()
    n_rows = 0
    for first, batch in table.batches([*names, *vectors]):
        n_rows = first + batch.height
        values, others = matrix_of(batch.select(names)) if names else (None, {})
        with np.errstate(invalid="ignore", over="ignore"):  # infinite: refused when it is read
            if values is not None:
                numbers.add(values)
        for name, which in others.items():
            place = Place(table.name, name, first)
            _look_at(batch[name], which, place, odd.setdefault(name, _Odd()))
        for name, moments in vectors.items():
            _add_vectors(batch[name], moments, Place(table.name, name, first))
    return numbers.by_column(names) | vectors, odd, n_rows


def _look_at(cells: pl.Series, which: pl.Series, place: Place, odd: _Odd) -> None:
    """Count the cells that are no numbers."""
    odd.count += int(which.sum())
    odd.dates += int(cells.filter(which).str.strip_chars().str.contains(_DATE).sum())
    if odd.first is None:
        row = int(which.arg_true()[0])
        odd.first = place.error(row, shown(cells[row]), "is not a number")


def _add_vectors(cells: pl.Series, moments: Moments, place: Place) -> None:
    """Lists of as many numbers as the first has."""
    lists = lists_of(cells)
    there = lists.drop_nulls()
    if not len(there):
        return
    width = len(moments.mean) if np.any(moments.count) else len(there[0])
    for row in (lists.list.len() != width).arg_true().head(1):
        raise place.error(row, f"{len(lists[row])} numbers", f"should be {width}")
    moments.add(there.list.to_array(width).to_numpy().reshape(-1, width))


def _values(table: Table, names: list[str]) -> dict[str, list[str]]:
    """The different texts in each column, sorted; some more than the most that are of use."""
    found: dict[str, set[str]] = {name: set() for name in names}
    for _, batch in table.batches(names) if names else ():
        for name, values in found.items():
            if len(values) <= _MOST_VALUES:
                values.update(texts_of(batch[name]).drop_nulls().unique().to_list())
    return {name: sorted(values) for name, values in found.items()}


def _are_too_many(count: int, n_rows: int, wanted: bool) -> bool:
    """Of different texts, to be categories."""
    return count > _MOST_VALUES or (not wanted and count > _FEW_VALUES and 2 * count > n_rows)


_HINTS: list[tuple[str, Callable[[str], bool]]] = [
    ("--text, if they are sentences", lambda why: "texts" in why),
    ("columns of numbers made of them (the month, the hour), where they matter",
     lambda why: "dates" in why or "times" in why),
]  # fmt: skip


def _refusal(table: Table, refused: dict[str, str]) -> DataError:
    """All columns that cannot be used, and what to do."""
    told = [f"{name!r} {why}" for name, why in refused.items()]
    more = f", and {len(told) - 5} more such columns" if len(told) > 5 else ""
    hints = [hint for hint, fits in _HINTS if any(fits(why) for why in refused.values())]
    names = ",".join(refused) if len(refused) <= 8 else listed(list(refused))
    return DataError(
        f"{table.name}: column {', column '.join(told[:5])}{more}, which cannot be trained on: "
        f"leave out with --drop {names}" + "".join(f"; or use {hint}" for hint in hints)
    )
