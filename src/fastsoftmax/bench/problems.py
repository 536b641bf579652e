"""Problems to solve to the optimum: C times the sum of the losses plus half the squared weights.

Biases are not penalised. Those of MADE come from a fixed seed, and digits with scikit-learn; those
of FILES are real sets, read from a folder, as are the titles of `texts`. All have three classes or
more: with two, scikit-learn has one vector of weights, and another objective.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastsoftmax.bench import texts

Array = npt.NDArray[Any]

_ROWS = 8192  # whose logits are held at once


class Problem(NamedTuple):
    X: Any  # (N, D), float32 or float64: an array in C order, or CSR of SciPy
    y: Array  # (N,), from 0
    C: float


def objective(problem: Problem, W: Array, b: Array) -> float:
    """In float64 whatever the types: what every side is judged by."""
    X, y, C = problem
    W, b = W.astype(np.float64), b.astype(np.float64)
    total = 0.0
    for first in range(0, len(y), _ROWS):
        rows = slice(first, first + _ROWS)
        Z = X[rows].astype(np.float64) @ W + b
        Z -= Z[np.arange(len(Z)), y[rows]][:, None]
        top = Z.max(axis=1)
        total += float((top + np.log(np.exp(Z - top[:, None]).sum(axis=1))).sum())
    return C * total + 0.5 * float((W**2).sum())


def _labelled(rng: np.random.Generator, X: Array, n_classes: int) -> Array:
    """Labels drawn from a softmax of X, with logits of standard deviation 2."""
    Z = X @ rng.standard_normal((X.shape[1], n_classes))
    return np.asarray((2 * Z / Z.std() + rng.gumbel(size=Z.shape)).argmax(axis=1))


def _tabular() -> Problem:
    """Standardised columns, a third of whose variance they share."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20000, 50)) + rng.standard_normal((20000, 1)) / np.sqrt(2)
    return Problem(_standardised(X), _labelled(rng, X, 5), 1.0)


def _embeddings() -> Problem:
    """Rows of length 1 around a mean for each class, in float32."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 20, 10000)
    X = rng.standard_normal((20, 384))[y] + 4 * rng.standard_normal((10000, 384))
    X /= np.sqrt((X**2).sum(axis=1, keepdims=True))
    return Problem(X.astype(np.float32), y, 10.0)


def _raw() -> Problem:
    """Columns in units from 0.01 to 100, their means some standard deviations from zero."""
    rng = np.random.default_rng(0)
    U = rng.standard_normal((10000, 30))
    return Problem((U + rng.normal(0, 3, 30)) * np.logspace(-2, 2, 30), _labelled(rng, U, 6), 1.0)


def _digits() -> Problem:
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return Problem(X, y, 1.0)


def _text() -> Problem:
    """TF-IDF of made titles."""
    X = texts.made(texts.Size(5000, 11000, 8))
    return Problem(X, _labelled(np.random.default_rng(0), X, texts.N_CLASSES), 10.0)


MADE: dict[str, Callable[[], Problem]] = {
    "digits": _digits,
    "tabular": _tabular,
    "embeddings": _embeddings,
    "raw": _raw,
    "text": _text,
}


def _divided(X: Array) -> Array:
    return X.astype(np.float32) / np.float32(255)


def _standardised(X: Array) -> Array:
    """Columns of mean 0 and variance 1 (constant ones of 0); integers become float64."""
    dtype = X.dtype if X.dtype.kind == "f" else np.dtype(np.float64)
    X = X.astype(np.float64) - X.mean(axis=0, dtype=np.float64)
    spread = X.std(axis=0)
    return (X / np.where(spread > 0, spread, 1)).astype(dtype)


def _as_float64(X: Array) -> Array:
    return X.astype(np.float64)


def _as_it_is(X: Array) -> Array:
    return X


FILES: dict[str, tuple[Callable[[Array], Array], float]] = {
    "mnist10k": (_divided, 1.0),
    "letter": (_as_float64, 1.0),
    "covtype_kaggle15k": (_standardised, 1.0),
    "texture": (_standardised, 1.0),
    "gas_drift": (_standardised, 1.0),
    "banking77_wl256": (_as_it_is, 10.0),
}


def names(folder: Path | None) -> list[str]:
    """The problems there are, with the real sets that the folder holds."""
    found = [name for name in FILES if folder is not None and (folder / f"{name}.npz").is_file()]
    return [*MADE, *found, *texts.names(folder)[len(texts.MADE) :]]


def load(name: str, folder: Path | None, most_rows: int | None = None) -> Problem:
    """A problem, or the first rows of it."""
    if name in MADE:
        problem = MADE[name]()
    elif name not in FILES:
        assert folder is not None
        problem = Problem(*texts.read(folder), 10.0)
    else:
        assert folder is not None
        prepared, C = FILES[name]
        with np.load(folder / f"{name}.npz", allow_pickle=False) as archive:
            problem = Problem(prepared(archive["X"]), archive["y"], C)
    X, labels, C = problem
    y = np.unique(labels[:most_rows], return_inverse=True)[1]
    X = X[:most_rows]
    return Problem(np.ascontiguousarray(X) if isinstance(X, np.ndarray) else X, y, C)
