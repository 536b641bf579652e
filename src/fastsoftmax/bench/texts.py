"""Sparse rows: of made texts, of hashed ones, and of the titles of a file."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

N_CLASSES = 20
FILE = "stackoverflow20.csv"  # columns label and text


class Size(NamedTuple):
    n_rows: int
    n_features: int
    n_entries: int  # of a row, about
    hashed: bool = False


MADE: dict[str, Size] = {
    "titles": Size(20000, 11000, 8),
    "pairs": Size(20000, 86000, 15),
    "posts": Size(11314, 130000, 158),
    "hashed": Size(200000, 2**20, 30, hashed=True),
    "hashed million": Size(10**6, 2**20, 30, hashed=True),
}
WHEN_ASKED = ("hashed million",)  # W, its gradient and X take a gigabyte


def made(size: Size, seed: int = 0) -> Any:
    """X (N, D), float64 CSR of SciPy, its rows of length 1.

    Words come as often as one over their rank, and are weighted by TF-IDF; hashed ones are
    anywhere, and count 1 or -1.
    """
    from scipy.sparse import csr_array

    N, D, entries, hashed = size
    rng = np.random.default_rng(seed)
    if hashed:
        drawn = rng.integers(0, D, (N, entries), np.int32)
        values = rng.choice([-1.0, 1.0], drawn.size)
    else:
        # frequent words come twice in a row, and so some more are drawn
        ranks = D ** rng.random((N, entries + entries // 6))
        drawn = rng.permutation(D).astype(np.int32)[ranks.astype(np.int64) - 1]
        values = np.ones(drawn.size)
    starts = np.arange(N + 1) * drawn.shape[1]
    X = csr_array((values, drawn.ravel(), starts), shape=(N, D))
    X.sum_duplicates()
    if not hashed:
        X.data *= np.log((1 + N) / (1 + np.bincount(X.indices, minlength=D)))[X.indices] + 1
    lengths = np.sqrt(np.add.reduceat(X.data**2, X.indptr[:-1]))
    X.data /= np.repeat(np.where(lengths > 0, lengths, 1), np.diff(X.indptr))
    return X


def read(folder: Path) -> tuple[Any, Array]:
    """(TF-IDF of the titles in FILE, as scikit-learn's TfidfVectorizer makes it; their labels)."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    with open(folder / FILE, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    labels = np.unique([row["label"] for row in rows], return_inverse=True)[1]
    return TfidfVectorizer().fit_transform([row["text"] for row in rows]), labels


def names(folder: Path | None) -> list[str]:
    """What there is to measure passes on, with the titles where the folder has them."""
    there = folder is not None and (folder / FILE).is_file()
    return [*MADE, "stackoverflow20"] if there else list(MADE)


def arrays(name: str, folder: Path | None, most_rows: int | None, dtype: str) -> tuple[Any, ...]:
    """X, y, W, b of a pass."""
    if name in MADE:
        size = MADE[name]
        X = made(size._replace(n_rows=min(size.n_rows, most_rows or size.n_rows)))
    else:
        assert folder is not None
        X = read(folder)[0][:most_rows]
    N, D = X.shape
    rng = np.random.default_rng(1)
    W = rng.standard_normal((D, N_CLASSES)).astype(dtype)
    y, b = rng.integers(0, N_CLASSES, N), rng.standard_normal(N_CLASSES).astype(dtype)
    return X.astype(dtype), y, W, b
