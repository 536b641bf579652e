"""
Digits from scratch
===================

Softmax regression in a dozen lines: `loss_and_gradient` gives the slope, and the loop goes down it.
Then the same by `fit_sgd` and `fit`, and what was learnt, as pictures.
"""

# %%
# The data
# --------
# 1797 digits of 8 by 8 pixels, which scikit-learn ships. Every fourth is kept for testing.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import fastsoftmax as fs

X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
test = np.arange(len(X)) % 4 == 0
X, X_test, y, y_test = X[~test], X[test], y[~test], y[test]

# %%
# Gradient descent, by hand
# -------------------------
# ``W`` has a column for each class. One call reads ``X`` once, and gives the mean cross-entropy
# and its gradient by ``W`` and ``b``; `decision_function` and `predict` are as plain.
W = np.zeros((64, 10), np.float32)
b = np.zeros(10, np.float32)
losses = []
for _ in range(300):
    loss, grad_W, grad_b = fs.loss_and_gradient(X, y, W, b, l2=1e-3)
    W -= 0.5 * grad_W
    b -= 0.5 * grad_b
    losses.append(loss)
by_hand = np.mean(fs.predict(X_test, W, b) == y_test)
print(f"loss {losses[0]:.3f} → {losses[-1]:.3f}, {by_hand:.1%} of the test digits are right")

# %%
# The same objective, by the library
# ----------------------------------
# `fit_sgd` takes steps on mini-batches, at a rate it finds; `fit` goes to the optimum and proves
# it.
options = {"l2": 1e-3, "standardize": False}
trained = fs.fit_sgd(X, y, **options)
optimum = fs.fit(X, y, **options)
for name, model in [("fit_sgd", trained.model), ("fit", optimum.model)]:
    print(f"{name:8} {model.score(X_test, y_test):.1%}")
print(
    f"no objective is below {optimum.lower_bound:.5f}, and that of fit is {optimum.objective:.5f}"
)

# %%
# How far from the optimum each step by hand was:
objectives = np.array(losses) - optimum.lower_bound
figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
axes.semilogy(objectives, label="gradient descent, mean loss without the penalty")
axes.set(xlabel="steps", ylabel="above the lower bound")
axes.legend()

# %%
# What was learnt
# ---------------
# The weights of a class, one for each pixel: ink on red speaks for the digit, ink on blue against
# it.
figure, panels = plt.subplots(2, 5, figsize=(7, 3.2), layout="constrained")
# sphinx_gallery_thumbnail_number = 2
weights = optimum.model.W.T.reshape(10, 8, 8)
most = np.abs(weights).max()
for digit, axes in enumerate(panels.flat):
    axes.imshow(weights[digit], cmap="RdBu_r", vmin=-most, vmax=most)
    axes.set(title=digit, xticks=[], yticks=[])

# %%
# Where it is wrong
# -----------------
# The test digits whose label the model finds least likely, with what it takes them for.
P = optimum.model.predict_proba(X_test)
worst = np.argsort(P[np.arange(len(y_test)), y_test])[:8]
figure, panels = plt.subplots(1, 8, figsize=(7, 1.4), layout="constrained")
for n, axes in zip(worst, panels, strict=True):
    axes.imshow(X_test[n].reshape(8, 8), cmap="gray_r")
    axes.set(title=f"{y_test[n]} as {P[n].argmax()}", xticks=[], yticks=[])
plt.show()
