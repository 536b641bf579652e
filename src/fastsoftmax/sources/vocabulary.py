"""Labels as they stream by, as numbers of classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax.labels import class_array, class_list, raise_if_continuous, raise_unless_alike
from fastsoftmax.sources.batch import Batch, Coded
from fastsoftmax.sources.errors import SourceChangedError

Array = npt.NDArray[Any]


class Vocabulary:
    """The classes, numbered as they first appear, or as `classes` lists them.

    Once `sort` was called it is complete, and the numbers are those of sorted classes.
    """

    def __init__(self, classes: Any = None) -> None:
        self._listed = classes is not None
        self._complete = self._listed
        self._dtype: np.dtype[Any] | None = None
        self.order: Array | None = None  # of the numbers given before `sort`, where it moved some
        listed = class_list(classes) if self._listed else np.empty(0)
        self._numbers: dict[Any, int] = {value: k for k, value in enumerate(listed.tolist())}
        self.classes: Array = listed

    def __len__(self) -> int:
        return len(self._numbers)

    def numbers(self, batch: Batch) -> Array:
        """(n,) int32: which class each label of a batch names."""
        values, inverse = self._values(batch)
        self._check_type(values, batch)
        known = np.empty(len(values), np.int32)
        for i, value in enumerate(values.tolist()):
            number = self._numbers.get(value, -1)
            if number < 0:
                if self._complete:
                    raise self._unknown(value, batch, inverse, i)
                number = self._numbers[value] = len(self._numbers)
            known[i] = number
        return known[inverse]

    def _values(self, batch: Batch) -> tuple[Array, Array]:
        """(the labels that a batch has, which of these each row has)."""
        y = batch.y
        try:
            if isinstance(y, Coded):
                used = np.bincount(y.numbers, minlength=len(y.values)) > 0
                labels = class_array(y.values[used], "labels")
                inverse = (np.cumsum(used) - 1)[y.numbers]
            else:
                labels, inverse = np.unique(class_array(y, "labels"), return_inverse=True)
            if not self._listed:
                raise_if_continuous(labels)
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{batch.place}: {error}") from None
        return labels, inverse

    def _check_type(self, values: Array, batch: Batch) -> None:
        if self._listed:
            raise_unless_alike(values, self.classes, f"labels in {batch.place}", "classes")
        elif self._dtype is None:
            self._dtype = values.dtype
        elif _family(self._dtype) != _family(values.dtype):
            text = f"the labels in {batch.place} are {values.dtype}, those before {self._dtype}"
            raise (SourceChangedError if self._complete else TypeError)(text)
        elif not self._complete:
            self._dtype = np.promote_types(self._dtype, values.dtype)

    def _unknown(self, value: Any, batch: Batch, inverse: Array, i: int) -> ValueError:
        row = batch.row(int(np.flatnonzero(inverse == i)[0]))
        if self._listed:
            return ValueError(f"the label {value!r} in {row} is not one of the classes")
        return SourceChangedError(f"the label {value!r} in {row} was in no row of the first pass")

    def sort(self) -> None:
        """All labels were seen: number the classes in their order."""
        if self._complete:
            return
        self._complete = True
        found = np.array(list(self._numbers), self._dtype)
        by_value = np.argsort(found)
        self.classes = found[by_value]
        if (by_value != np.arange(len(found))).any():
            self.order = np.argsort(by_value)
        self._numbers = {value: k for k, value in enumerate(self.classes.tolist())}


def _family(dtype: np.dtype[Any]) -> str:
    """Types of labels that may follow one another."""
    return "i" if dtype.kind in "iu" else dtype.kind
