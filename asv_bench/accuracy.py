"""How near `fit_sgd` comes, with its defaults, to the optimum of what it minimises: a table.

The optimum is L-BFGS's, run to convergence in float64 on the same standardised features with the
same penalty; for three classes and more it is scikit-learn's ``LogisticRegression(C=1)``. All on
a stratified three quarters of the rows, in means over `SEEDS`; the rest tests.
`letter` and `mnist10k` are in the table if FASTSOFTMAX_DATA names the folder of their .npz files.
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
LARGE = ("letter", "mnist10k")
SEEDS = {name: range(10) for name in SMALL} | {name: range(1) for name in LARGE}


def load(name):
    """(X, labels as numbers)."""
    if name in SMALL:
        return getattr(datasets, f"load_{name}")(return_X_y=True)
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
    """(objective and test accuracy of fit_sgd, of the optimum)."""
    X, y = load(name)
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=0.25, random_state=seed, stratify=y
    )
    objective = Standardized(X_train, y_train)
    model = fs.fit_sgd(X_train, y_train).model
    least, V, c = objective.optimum()
    right = fs.predict(objective.features(X_test), V, c) == y_test
    return objective.of_model(model), model.score(X_test, y_test), least, right.mean()


def main():
    print("| data | N x D x K | splits | equal | fit_sgd | optimum | accuracy | of the optimum |")
    print("|---|---|---|---|---|---|---|---|")
    for name in SMALL + (LARGE if "FASTSOFTMAX_DATA" in os.environ else ()):
        X, y = load(name)
        K = int(y.max()) + 1
        ours, accuracy, least, best = np.mean([measure(name, s) for s in SEEDS[name]], axis=0)
        print(
            f"| {name} | {len(X)} x {X.shape[1]} x {K} | {len(SEEDS[name])} | {np.log(K):.4f} "
            f"| {ours:.4f} | {least:.4f} | {accuracy:.4f} | {best:.4f} |"
        )


if __name__ == "__main__":
    main()
