"""
A linear probe, over a sweep of penalties
=========================================

What does a hidden layer know about classes that its network never saw? A linear model on its
outputs tells, if it is the optimum: `fit_path` solves for many penalties, each with a certificate.
With ``FASTSOFTMAX_DATA``, the embeddings of ``banking77_wl256.npz`` are probed instead.
"""

# %%
# Features of a network that stays as it is
# -----------------------------------------
# A small network learns to tell 0, 1, 2, 3 and 4 apart. Its hidden layer then reads 5, 6, 7, 8 and
# 9.
import os
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import fastsoftmax as fs


def hidden_layer():
    X, y = load_digits(return_X_y=True)
    X, low = X / 16, y < 5
    network = MLPClassifier(96, max_iter=60, learning_rate_init=0.01, random_state=0)
    with warnings.catch_warnings():  # 60 epochs are enough here
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(X[low], y[low])
    hidden = np.maximum(X[~low] @ network.coefs_[0] + network.intercepts_[0], 0)
    return hidden.astype(np.float32), y[~low]


file = Path(os.environ.get("FASTSOFTMAX_DATA", ".")) / "banking77_wl256.npz"
if file.exists():
    with np.load(file) as data:
        X, y = data["X"], data["y"]
else:
    X, y = hidden_layer()
X, X_test, y, y_test = train_test_split(X, y, test_size=0.4, random_state=0, stratify=y)
print(f"{X.shape[0]} rows of {X.shape[1]} features, {len(np.unique(y))} classes")

# %%
# The sweep
# ---------
# From the strongest penalty to the weakest, each solution from the last. The gap is how far a
# result may be above its optimum, as a share of it: proved, not guessed.
path = fs.fit_path(X, y, l2s=np.geomspace(1, 1e-6, 13), validation_data=(X_test, y_test))
print("     l2  objective      gap  passes  held-out loss  accuracy")
for l2, result, loss, accuracy in zip(
    path.l2s, path.results, path.validation_loss, path.validation_accuracy, strict=True
):
    print(f"{l2:7.0e}  {result.objective:9.5f}  {result.gap:.1e}  {result.n_passes:6.1f}", end="  ")
    print(f"{loss:13.4f}  {accuracy:8.1%}")

# %%
# The loss on rows held out has its least value between too much penalty and too little:
best = path.l2s[int(np.argmin(path.validation_loss))]
figure, axes = plt.subplots(figsize=(6.5, 3.2), layout="constrained")
axes.semilogx(path.l2s, [each.objective for each in path.results], ".-", label="objective")
axes.semilogx(path.l2s, path.validation_loss, ".-", label="loss on rows held out")
axes.axvline(best, color="grey", linewidth=0.8, linestyle=":")
axes.set(xlabel="penalty l2", ylabel="mean cross-entropy")
axes.legend()

# %%
# The certificate, as it closes
# -----------------------------
# A single solution, its objective above the bound that was proved, pass by pass.
result = fs.fit(X, y, l2=best, tol=1e-8)
print(f"the optimum is between {result.lower_bound:.9f} and {result.objective:.9f}")
above = np.array(result.history["objective"]) - result.lower_bound
figure, axes = plt.subplots(figsize=(6.5, 3), layout="constrained")
axes.semilogy(result.history["passes"], np.maximum(above, 1e-12), ".-")
axes.set(xlabel="passes over X", ylabel="objective less lower bound")
plt.show()
