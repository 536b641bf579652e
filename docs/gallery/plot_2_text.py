"""
Text, and its most telling words
================================

Which package does a line of documentation come from? TF-IDF makes sparse rows of it, and each
class gets a weight for each word. With ``FASTSOFTMAX_DATA``, the titles of ``stackoverflow20.csv``
instead.
"""

# %%
# The data
# --------
# The paragraphs of the docstrings of five packages, as labelled text: real, and on every machine
# that runs this.
import csv
import importlib
import inspect
import os
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from fastsoftmax.sklearn import SoftmaxRegression

MODULES = {
    "arrays": ["numpy", "numpy.linalg", "numpy.fft"],
    "statistics": ["scipy.stats", "statistics"],
    "learning": ["sklearn.linear_model", "sklearn.cluster", "sklearn.ensemble", "sklearn.svm"],
    "plots": ["matplotlib.axes", "matplotlib.figure", "matplotlib.patches", "matplotlib.lines"],
    "files": ["os", "os.path", "shutil", "pathlib", "tempfile", "zipfile", "io"],
}


def paragraphs(module):
    """Of the docstrings of all functions, classes and methods, the longer ones."""
    things = [thing for _, thing in inspect.getmembers(importlib.import_module(module))]
    things += [method for each in things if inspect.isclass(each) for method in vars(each).values()]
    for thing in things:
        if callable(thing):
            for paragraph in (inspect.getdoc(thing) or "").split("\n\n"):
                if len(paragraph.split()) >= 12:
                    yield " ".join(paragraph.split())


def stack_overflow(file):
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    return [row["text"] for row in rows], [row["label"] for row in rows]


file = Path(os.environ.get("FASTSOFTMAX_DATA", ".")) / "stackoverflow20.csv"
if file.exists():
    texts, labels = stack_overflow(file)
else:
    label_of = {}  # a text that two classes have is of the first
    for label, modules in MODULES.items():
        for module in modules:
            for text in paragraphs(module):
                label_of.setdefault(text, label)
    texts, labels = list(label_of), list(label_of.values())
train_texts, test_texts, y, y_test = train_test_split(
    texts, labels, test_size=0.25, random_state=0, stratify=labels
)
print(f"{len(texts)} texts of {len(set(labels))} classes, such as:\n{texts[0][:200]!r}")

# %%
# Words as columns
# ----------------
vectorizer = TfidfVectorizer(token_pattern=r"[a-z]{2,}", stop_words="english", sublinear_tf=True)
X = vectorizer.fit_transform(train_texts)
X_test = vectorizer.transform(test_texts)
print(f"X is {X.shape}, with {X.nnz / X.shape[0]:.0f} entries a row")

# %%
# The model
# ---------
# Sparse rows are taken as they are. LogisticRegression solves the same problem.
for estimator in (SoftmaxRegression(C=10), LogisticRegression(C=10, max_iter=1000)):
    estimator.fit(X[:50], y[:50])  # the first call loads what is compiled
    begin = time.perf_counter()
    estimator.fit(X, y)
    seconds = time.perf_counter() - begin
    name, score = type(estimator).__name__, estimator.score(X_test, y_test)
    print(f"{name:20} {seconds:6.2f} s, {score:.1%} right")

# %%
# The most telling words
# ----------------------
# The weights of a word sum to zero over the classes: a positive one speaks for its class, against
# the others.
model = SoftmaxRegression(C=10).fit(X, y)
words = vectorizer.get_feature_names_out()
shown = model.classes_[:6]
figure, panels = plt.subplots(2, 3, figsize=(8, 5.2), layout="constrained")
for axes, label, weights in zip(panels.flat, shown, model.coef_, strict=False):
    top = np.argsort(weights)[-10:]
    axes.barh(words[top], weights[top], color="#3f8ae0")
    axes.set_title(label)
    axes.tick_params(labelsize=8)
for axes in panels.flat[len(shown) :]:
    axes.set_visible(False)

# %%
# A text, word by word
# --------------------
# What each word of a text adds to the logit of the class that is predicted, less the mean over the
# classes.
n = next(n for n in range(len(test_texts)) if X_test[[n]].nnz > 10)
k = model.predict_proba(X_test[[n]])[0].argmax()
share = X_test[[n]].multiply(model.coef_[k] - model.coef_.mean(axis=0)).tocoo()
print(f"{test_texts[n][:300]!r}\nis of {y_test[n]}, and taken for {model.classes_[k]}")
for value, word in sorted(zip(share.data, words[share.col], strict=True), reverse=True)[:8]:
    print(f"{value:+.2f}  {word}")

# %%
# The seconds above are of one run on the machine that built this page, whatever else it did; the
# measured ones are with the :doc:`benchmarks </results>`.
plt.show()
