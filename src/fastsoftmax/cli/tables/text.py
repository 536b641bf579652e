"""Documents as features: TF-IDF, as scikit-learn computes it, of the terms known from training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastsoftmax.cli.errors import DataError
from fastsoftmax.cli.tables.cells import texts_of

if TYPE_CHECKING:
    import polars as pl

    from fastsoftmax.cli.tables.table import Table

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Text:
    """A feature for each term: how often a document has it, against how many documents do.

    Attributes
    ----------
    name : str
    terms : tuple of str
    idf : tuple of float
        The weight of each term: the logarithm of the inverse share of documents that have it.
    """

    name: str
    terms: tuple[str, ...]
    idf: tuple[float, ...]

    @property
    def features(self) -> list[str]:
        return [f"{self.name}:{term}" for term in self.terms]

    @property
    def width(self) -> int:
        return len(self.terms)

    def encode(self, column: pl.Series) -> tuple[Any, Array | None]:
        """(the features (N, terms), sparse; which rows lack a text, None for none)."""
        texts = texts_of(column)
        missing: Array = texts.is_null().to_numpy()
        X = self._vectorizer.transform(texts.fill_null("").to_list())
        return X, missing if missing.any() else None

    @cached_property
    def _vectorizer(self) -> Any:
        vectorizer = _sklearn_text().TfidfVectorizer(vocabulary=self.terms)
        vectorizer.idf_ = np.array(self.idf)
        return vectorizer


def learn_text(table: Table, name: str) -> Text:
    """The terms of a column of documents, sorted."""
    vectorizer = _sklearn_text().TfidfVectorizer()
    try:
        vectorizer.fit(_documents(table, name))
    except ValueError:  # no terms
        raise DataError(f"{table.name}: column {name!r} holds no words of two letters") from None
    terms = vectorizer.get_feature_names_out()
    return Text(name, tuple(terms.tolist()), tuple(vectorizer.idf_.tolist()))


def _documents(table: Table, name: str) -> Iterator[str]:
    for _, batch in table.batches([name]):
        yield from texts_of(batch[name]).drop_nulls()


def _sklearn_text() -> Any:
    from sklearn.feature_extraction import text

    return text
