"""How near `fit_sgd` comes, with its defaults, to the optimum of what it minimises: a table.

The optimum is L-BFGS's, run to convergence in float64 on the same standardised features with the
same penalty; for three classes and more it is scikit-learn's ``LogisticRegression(C=1)``. All on
a stratified three quarters of the rows, in means over the seeds; the rest tests. Then sets that are
made to be hard. Those of FILES are in the table if FASTSOFTMAX_DATA names the folder of their .npz.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from sklearn import datasets
from sklearn.model_selection import train_test_split

import fastsoftmax as fs

SMALL = ("iris", "wine", "breast_cancer", "digits")
FILES = ("letter", "mnist10k", "covtype_kaggle15k", "texture", "gas_drift", "banking77_wl256")
HARD = ("outliers", "common factor", "rare columns", "more columns than rows")


def hard(name):
    """(X, labels), whose best model is a softmax of X before it was made hard."""
    random = np.random.default_rng(0)
    N, D, K = {"rare columns": (20000, 2000, 4), "more columns than rows": (2000, 5000, 3)}.get(
        name, (20000, 30, 5)
    )
    X = random.standard_normal((N, D))
    if name == "rare columns":  # four words a row, by Zipf's law
        X[:] = 0
        for words in range(0, D, 500):
            X[np.arange(N), words + np.minimum(random.zipf(1.5, N), 500) - 1] = 1
    W = random.standard_normal((D, K)) * (1 if name == "rare columns" else 1.6 / np.sqrt(D))
    y = (X @ W + random.gumbel(size=(N, K))).argmax(axis=1)
    if name == "outliers":
        X[random.random(N) < 0.01] = -999
    if name == "common factor":
        X += 50 * random.standard_normal((N, 1))
    return X, y


def load(name):
    """(X, labels as numbers)."""
    if name in SMALL:
        return getattr(datasets, f"load_{name}")(return_X_y=True)
    if name in HARD:
        return hard(name)
    with np.load(Path(os.environ["FASTSOFTMAX_DATA"]) / f"{name}.npz") as archive:
        X, y = archive["X"].astype(np.float32), archive["y"]
    return X, np.unique(y, return_inverse=True)[1]


class Standardized:
    """The penalised mean loss of a model, in the features' means and standard deviations."""

    def __init__(self, X, y):
        self.mean, self.spread = X.mean(axis=0, dtype=np.float64), X.std(axis=0, dtype=np.float64)
        self.spread[self.spread == 0] = 1
        self.U, self.y, self.n_classes = self.features(X), y, int(y.max()) + 1

    def features(self, X):
        return (X - self.mean) / self.spread

    def __call__(self, V, c):
        """(objective, its gradients)."""
        return fs.loss_and_gradient(self.U, self.y, V, c, l2=1 / len(self.y))

    def of_model(self, model):
        """The objective of a model in the units of X."""
        W = model.W.astype(np.float64)
        return self(self.spread[:, None] * W, model.b + self.mean @ W)[0]

    def optimum(self):
        """(objective, V, c)."""
        K = self.n_classes

        def flat(theta):
            loss, grad_V, grad_c = self(theta[:-K].reshape(-1, K), theta[-K:])
            return loss, np.concatenate([grad_V.ravel(), grad_c])

        start = np.zeros((self.U.shape[1] + 1) * K)
        options = {"maxiter": 20_000, "maxfun": 30_000, "ftol": 1e-14, "gtol": 1e-7}
        found = minimize(flat, start, jac=True, method="L-BFGS-B", options=options)
        return found.fun, found.x[:-K].reshape(-1, K), found.x[-K:]


def measure(name, seed):
    """Objective, test accuracy and test loss of fit_sgd, each followed by the optimum's."""
    X, y = load(name)
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=0.25, random_state=seed, stratify=y
    )
    objective = Standardized(X_train, y_train)
    model = fs.fit_sgd(X_train, y_train).model
    least, V, c = objective.optimum()
    right = fs.predict(objective.features(X_test), V, c) == y_test
    losses = (
        fs.loss(X_test, y_test, model.W, model.b),
        fs.loss(objective.features(X_test), y_test, V, c),
    )
    accuracies = model.score(X_test, y_test), right.mean()
    return objective.of_model(model), least, *accuracies, *losses


def main():
    print("| data | N x D x K | splits | equal | objective | accuracy | test loss |")
    print("|---|---|---|---|---|---|---|")
    for name in SMALL + (FILES if "FASTSOFTMAX_DATA" in os.environ else ()) + HARD:
        X, y = load(name)
        K, n_splits = int(y.max()) + 1, 10 if name in SMALL else 1
        means = np.mean([measure(name, seed) for seed in range(n_splits)], axis=0)
        pairs = " | ".join(f"{a:.4f}, {b:.4f}" for a, b in means.reshape(-1, 2))
        size = " x ".join(map(str, (*X.shape, K)))
        print(f"| {name} | {size} | {n_splits} | {np.log(K):.4f} | {pairs} |", flush=True)


if __name__ == "__main__":
    main()
