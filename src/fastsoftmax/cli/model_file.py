"""A model, and how the columns of tables become its features, in one .npz without pickle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fastsoftmax.cli.errors import UsageError
from fastsoftmax.cli.tables.recipe import Recipe, of_names
from fastsoftmax.model import SoftmaxModel, read_model, write_model

_COLUMNS = "columns"  # the array with the recipe: JSON in UTF-8


@dataclass(frozen=True)
class Saved:
    """What a model file holds; a file that `SoftmaxModel.save` wrote has no recipe."""

    model: SoftmaxModel
    recipe: Recipe | None = None

    @property
    def first_index(self) -> int | None:
        return None if self.recipe is None else self.recipe.first_index

    def recipe_for(self, columns: list[str]) -> Recipe:
        """How to read a table with these columns."""
        if self.recipe is not None and self.recipe.columns:
            return self.recipe
        return of_names(self.model.feature_names or columns)


def save(path: Path, model: SoftmaxModel, recipe: Recipe | None) -> None:
    """Write both; `SoftmaxModel.load` reads the model."""
    others = {}
    if recipe is not None:
        others[_COLUMNS] = np.frombuffer(recipe.to_json().encode(), np.uint8)
    write_model(path, model, others)


def load(path: Path) -> Saved:
    """Read what `save` or `SoftmaxModel.save` wrote."""
    if not path.is_file():
        raise UsageError(f"{path}: there is no such model file; fastsoftmax train -o writes one")
    model, others = read_model(path)
    text = others.get(_COLUMNS)
    if text is None:
        return Saved(model)
    try:
        recipe = Recipe.from_json(text.astype(np.uint8).tobytes().decode())
        if recipe.columns and recipe.width != len(model.W):
            raise ValueError(f"{recipe.width} features for {len(model.W)} weights")
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is damaged: {error}") from None
    return Saved(model, recipe)
