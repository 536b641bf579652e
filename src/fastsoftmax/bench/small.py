"""Calls on a few rows, as each library's users write them: what they cost beside the arithmetic.

Each function takes a side's name and the dtype, and returns what is timed and a function that makes
a number of its result, by which the sides can be compared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

import fastsoftmax as fs
from fastsoftmax.reference import baseline_loss_and_gradient, baseline_softmax

Array = npt.NDArray[Any]
Call = tuple[Callable[[], Any], Callable[[Any], float]]


def _problem(N: int, D: int, K: int, dtype: str) -> tuple[Array, ...]:
    """X, W, b, and labels y drawn from their probabilities."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, D))
    W, b = rng.standard_normal((D, K)), rng.standard_normal(K)
    y = (X @ W + b + rng.gumbel(size=(N, K))).argmax(axis=1)
    return X.astype(dtype), y, W.astype(dtype), b.astype(dtype)


def loss_and_gradient(side: str, dtype: str) -> Call:
    """The answer is the loss."""
    X, y, W, b = _problem(32, 20, 3, dtype)
    functions = {"fastsoftmax": fs.loss_and_gradient, "numpy": baseline_loss_and_gradient}
    one_pass: Any = functions[side]
    return lambda: one_pass(X, y, W, b), lambda result: float(result[0])


def predict_proba(side: str, dtype: str) -> Call:
    """The answer is the probability of the first class."""
    X, _, W, b = _problem(1, 20, 3, dtype)
    if side == "fastsoftmax":
        return lambda: fs.predict_proba(X, W, b), lambda P: float(P[0, 0])
    return lambda: baseline_softmax(X @ W + b), lambda P: float(P[0, 0])


def softmax(side: str, dtype: str) -> Call:
    """The answer is the first probability."""
    Z = (3 * np.random.default_rng(0).standard_normal((32, 20))).astype(dtype)
    if side == "scipy":
        from scipy.special import softmax

        return lambda: softmax(Z, axis=1), lambda P: float(P[0, 0])
    functions = {"fastsoftmax": fs.softmax, "numpy": baseline_softmax}
    row_function: Any = functions[side]
    return lambda: row_function(Z), lambda P: float(P[0, 0])


def fit(side: str, dtype: str) -> Call:
    """The answer is the mean loss of the model on what it was trained on."""
    X, y, *_ = _problem(100, 10, 3, dtype)

    def loss_of(model: Any) -> float:
        P = model.predict_proba(X)
        return float(-np.log(P[np.arange(len(y)), y]).mean())

    if side == "fastsoftmax":
        return lambda: fs.fit_sgd(X, y), lambda result: loss_of(result.model)
    from sklearn.linear_model import LogisticRegression

    return lambda: LogisticRegression().fit(X, y), loss_of


def partial_fit(side: str, dtype: str) -> Call:
    """A step of a stream that has begun; the answer is the accuracy on its rows."""
    X, y, *_ = _problem(32, 20, 3, dtype)
    if side == "fastsoftmax":
        from fastsoftmax.sklearn import SoftmaxClassifier

        classifier: Any = SoftmaxClassifier()
    else:
        from sklearn.linear_model import SGDClassifier

        classifier = SGDClassifier(loss="log_loss", random_state=0)
    classifier.partial_fit(X, y, classes=np.arange(3))
    return lambda: classifier.partial_fit(X, y), lambda model: float(model.score(X, y))


# {what is called: (its maker, its sides, this library first)}
CALLS: dict[str, tuple[Callable[[str, str], Call], tuple[str, ...]]] = {
    "loss_and_gradient 32x20x3": (loss_and_gradient, ("fastsoftmax", "numpy")),
    "predict_proba 1x20x3": (predict_proba, ("fastsoftmax", "numpy")),
    "softmax 32x20": (softmax, ("fastsoftmax", "numpy", "scipy")),
    "fit 100x10x3": (fit, ("fastsoftmax", "sklearn")),
    "partial_fit 32x20x3": (partial_fit, ("fastsoftmax", "sklearn")),
}
SIDES = ("fastsoftmax", "numpy", "scipy", "sklearn")
