"""
Are the probabilities right?
============================

Of all rows to which a model gives 0.8, eight in ten should have the label. This checks it, on rows
that the model has not seen, and shows what a penalty and label smoothing do to it.
"""

# %%
# Made data, whose probabilities are known
# ----------------------------------------
# Labels are drawn from a softmax model. So the right probabilities are known, and few rows for many
# features make overfitting easy.
import matplotlib.pyplot as plt
import numpy as np

import fastsoftmax as fs

rng = np.random.default_rng(0)
N, D, K = 400, 30, 3
true_W = rng.normal(size=(D, K)) * 0.4


def draw(n):
    X = rng.normal(size=(n, D))
    P = fs.predict_proba(X, true_W)
    labels = (P.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return X, np.minimum(labels, K - 1), P


X, y, _ = draw(N)
X_new, y_new, P_true = draw(20_000)

# %%
# Four models of the same rows
# ----------------------------
models = {
    "nearly no penalty": fs.fit(X, y, l2=1e-6).model,
    "chosen penalty": None,
    "strong penalty": fs.fit(X, y, l2=1.0).model,
    "labels smoothed by 0.2": fs.fit(X, y, l2=1e-6, label_smoothing=0.2).model,
}
X_val, y_val, _ = draw(400)
path = fs.fit_path(X, y, l2s=np.geomspace(1, 1e-5, 16), validation_data=(X_val, y_val))
models["chosen penalty"] = path.best().model

print(f"{'':24}accuracy  loss   mean distance of probabilities from the true ones")
rows = np.arange(len(y_new))
for name, model in models.items():
    P = model.predict_proba(X_new)
    loss = -np.log(P[rows, y_new]).mean()
    print(f"{name:24}{model.score(X_new, y_new):8.1%}  {loss:.3f}  {np.abs(P - P_true).mean():.3f}")
print(f"{'the truth':24}{'':8}  {-np.log(P_true[rows, y_new]).mean():.3f}")

# %%
# Said, and seen
# --------------
# Every probability of every class, in bins: how often the class was the label. On the diagonal, a
# model means what it says; below it on the right, it is too sure of itself, and above it too shy.


def reliability(P, labels, bins=12):
    said, seen = P.ravel(), (labels[:, None] == np.arange(K)).ravel()
    order = np.argsort(said)
    parts = np.array_split(order, bins)
    return [said[part].mean() for part in parts], [seen[part].mean() for part in parts]


figure, axes = plt.subplots(figsize=(5, 5), layout="constrained")
axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
for name, model in models.items():
    axes.plot(*reliability(model.predict_proba(X_new), y_new), ".-", label=name)
axes.set(
    xlabel="probability that the model said", ylabel="share that had the label", aspect="equal"
)
axes.legend()
plt.show()
