"""`fit_sgd` on text, with its defaults, beside SGDClassifier and the optimum: a table.

The titles of ``stackoverflow20.csv``, in the folder that FASTSOFTMAX_DATA names: a fifth, drawn at
random, tests. Seconds are the least of some turns. SGDClassifier fits a hinge for each class
against the rest; the optimum is that of what `fit_sgd` minimises. In the last columns, `fit_sgd`
with options.
"""

from __future__ import annotations

import csv
import os
import time
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import SGDClassifier

import fastsoftmax as fs
from fastsoftmax.bench import provenance

ROUNDS = 5

VECTORIZERS = {
    "TF-IDF of words": TfidfVectorizer(sublinear_tf=True),
    "and of pairs of words": TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2)),
    "hashed into 2^20 columns": HashingVectorizer(),
    "the same, counts": HashingVectorizer(norm=None, alternate_sign=False),
}


def least_seconds(*calls):
    """(the last result, the least of the seconds) of each call, taken in turns."""
    results, seconds = [None] * len(calls), [np.inf] * len(calls)
    for _ in range(ROUNDS):
        for i, call in enumerate(calls):
            started = time.perf_counter()
            results[i] = call()
            seconds[i] = min(seconds[i], time.perf_counter() - started)
    return list(zip(results, seconds, strict=True))


def main():
    path = Path(os.environ["FASTSOFTMAX_DATA"]) / "stackoverflow20.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    texts, y = [row["text"] for row in rows], np.array([row["label"] for row in rows])
    order = np.random.default_rng(0).permutation(len(y))
    test, train = np.split(order, [len(y) // 5])
    print("| features | columns with entries | `fit_sgd` | `SGDClassifier` | optimum ", end="")
    print("| `standardize=True` | `l2=1e-5` |")
    print("|---|---|---|---|---|---|---|")
    for name, vectorizer in VECTORIZERS.items():
        vectorizer.fit([texts[i] for i in train])
        X, X_test = (vectorizer.transform([texts[i] for i in part]) for part in (train, test))
        fs.fit_sgd(X, y[train], epochs=1)  # compiled
        (ours, seconds), (theirs, their_seconds) = least_seconds(
            lambda X=X: fs.fit_sgd(X, y[train]).model,
            lambda X=X: SGDClassifier(random_state=0).fit(X, y[train]),
        )
        others = (
            fs.fit(X, y[train]),
            fs.fit_sgd(X, y[train], standardize=True),
            fs.fit_sgd(X, y[train], l2=1e-5),
        )
        scores = " | ".join(f"{result.model.score(X_test, y[test]):.1%}" for result in others)
        print(f"| {name} | {len(np.unique(X.indices)):,} ", end="")
        print(f"| {seconds:.3f} s, {ours.score(X_test, y[test]):.1%} ", end="")
        print(f"| {their_seconds:.3f} s, {theirs.score(X_test, y[test]):.1%} | {scores} |")
    print("\n" + provenance.told(provenance.provenance(["fastsoftmax", "sklearn", "scipy"])))


if __name__ == "__main__":
    main()
