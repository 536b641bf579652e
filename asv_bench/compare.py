"""What changes for those who come from LogisticRegression: a table of times and accuracies.

Each estimator is called as its users call it, with its defaults, on columns that a StandardScaler
has scaled (a LogisticRegression that is not told to go on stops too soon: max_iter=1000). A
stratified three quarters of the rows train, the rest tests. A cell has the least time of `fit` in
turns, the test accuracy, and how far the objective is above its optimum, as a share of it. Sets as
in accuracy.py.
"""

from __future__ import annotations

import os
import time
import warnings

import numpy as np
from accuracy import FILES, SMALL, load
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import fastsoftmax as fs
from fastsoftmax.bench import provenance
from fastsoftmax.sklearn import SoftmaxClassifier, SoftmaxRegression

ROUNDS = 3
SECONDS = 20  # after so many, no further round

SIDES = {
    "LogisticRegression()": lambda: LogisticRegression(max_iter=1000),
    'LogisticRegression(solver="newton-cg")': lambda: LogisticRegression(
        solver="newton-cg", max_iter=1000
    ),
    "SoftmaxRegression()": SoftmaxRegression,
    "SoftmaxClassifier()": lambda: SoftmaxClassifier(random_state=0),
}


def objective(estimator, X, y):
    """The sum of the cross-entropies plus ||coef_||^2 / 2, in float64; of one vector for two."""
    coef = estimator.coef_.astype(np.float64)
    W, b = coef.T, estimator.intercept_.astype(np.float64)
    if len(W.T) == 1:
        W, b = np.c_[0 * W, W], np.append(0 * b, b)
    return fs.loss(X.astype(np.float64), y, W, b, reduction="sum") + 0.5 * (coef**2).sum()


def measure(X, y):
    """(seconds, test accuracy, relative distance from the optimum) of each side."""
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.25, random_state=0, stratify=y)
    scaler = StandardScaler().fit(X)
    X, X_test = scaler.transform(X), scaler.transform(X_test)
    best = objective(
        SoftmaxRegression(tol=1e-8).fit(X.astype(np.float64), y), X, y
    )  # compiles, too
    SoftmaxRegression().fit(X, y)
    SoftmaxClassifier(max_iter=2).fit(X, y)
    seconds, fitted, started = {name: [] for name in SIDES}, {}, time.perf_counter()
    for turn in range(ROUNDS):
        for name, make in SIDES.items():
            begun = time.perf_counter()
            fitted[name] = make().fit(X, y)
            seconds[name].append(time.perf_counter() - begun)
        if turn == 0 and time.perf_counter() - started > SECONDS:
            break
    least = min(best, *(objective(estimator, X, y) for estimator in fitted.values()))
    return {
        name: (
            min(seconds[name]),
            estimator.score(X_test, y_test),
            objective(estimator, X, y) / least - 1,
        )
        for name, estimator in fitted.items()
    }


def main():
    warnings.simplefilter("ignore", ConvergenceWarning)
    print("| data | N x D x K |", " | ".join(f"`{name}`" for name in SIDES), "|")
    print("|---" * (2 + len(SIDES)) + "|")
    for name in SMALL + (FILES if "FASTSOFTMAX_DATA" in os.environ else ()):
        X, y = load(name)
        size = " x ".join(map(str, (*X.shape, int(y.max()) + 1)))
        cells = (
            f"{seconds:.3g} s, {accuracy:.4f}, {distance:.0e}"
            for seconds, accuracy, distance in measure(X, y).values()
        )
        print(f"| {name} | {size} |", " | ".join(cells), "|", flush=True)
    print("\n" + provenance.told(provenance.provenance(["fastsoftmax", "sklearn", "scipy"])))


if __name__ == "__main__":
    main()
