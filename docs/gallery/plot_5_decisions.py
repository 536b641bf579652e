"""
Decisions, and what they cost
=============================

The most probable class is the best answer only if all mistakes cost the same. With a table of what
each decision is worth, `decide` takes the one of greatest expected utility. Here: which growth to
treat, which to look at more closely, and which to leave.
"""

# %%
# Two columns of real data
# ------------------------
# 569 growths of the breast, benign or malignant; two measurements, so that the plane can be drawn.
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from sklearn.datasets import load_breast_cancer

import fastsoftmax as fs

data = load_breast_cancer()
X = data.data[:, [20, 21]]  # worst radius, worst texture
y = np.where(data.target == 0, "malignant", "benign")
test = np.arange(len(X)) % 3 == 0
model = fs.fit(X[~test], y[~test], classes=["benign", "malignant"]).model
print(f"{model.score(X[test], y[test]):.1%} of the test rows get the right label")

# %%
# What a decision is worth
# ------------------------
# One row for each decision, one column for each truth. (Numbers made up for the example; those who
# know must set them.) A malignant growth that is left costs most; looking more closely costs a
# little, always.
decisions = ["leave", "look closer", "treat"]
utility = np.array(
    [
        # benign, malignant
        [0.0, -100.0],  # leave
        [-5.0, -10.0],  # look closer
        [-30.0, 0.0],  # treat
    ]
)
P = model.predict_proba(X[test])
chosen = fs.decide(P, utility)
truth = model.label_indices(y[test])
for j, name in enumerate(decisions):
    counts = np.bincount(truth[chosen == j], minlength=2)
    print(f"{name:12} {counts[0]:4} benign {counts[1]:4} malignant")

# %%
# What it brings
# --------------
# The mean utility on the test rows, against always taking the likelier label for the truth.
plain = np.where(P.argmax(axis=1) == 1, 2, 0)
print(f"by the likelier label  {utility[plain, truth].mean():6.2f}")
print(f"by expected utility    {utility[chosen, truth].mean():6.2f}")
print(f"knowing the truth      {utility.max(axis=0)[truth].mean():6.2f}")

# %%
# Where each decision is best
# ---------------------------
# Lines of equal probability are straight, and so are the borders between decisions.
grid = np.stack(
    np.meshgrid(
        np.linspace(X[:, 0].min() - 1, X[:, 0].max() + 1, 400),
        np.linspace(X[:, 1].min() - 1, X[:, 1].max() + 1, 400),
    ),
    axis=-1,
)
P_grid = model.predict_proba(grid.reshape(-1, 2))
regions = fs.decide(P_grid, utility).reshape(400, 400)
figure, axes = plt.subplots(figsize=(6.5, 4.5), layout="constrained")
colours = ListedColormap(["#cfe6cf", "#f5e6b8", "#f0c8c8"])
axes.pcolormesh(grid[..., 0], grid[..., 1], regions, cmap=colours, vmin=0, vmax=2, rasterized=True)
lines = axes.contour(
    grid[..., 0],
    grid[..., 1],
    P_grid[:, 1].reshape(400, 400),
    [0.05, 0.5, 0.95],
    colors="black",
    linewidths=0.6,
    linestyles=":",
)
axes.clabel(lines, fontsize=8)
for label, marker in [("benign", "o"), ("malignant", "^")]:
    axes.scatter(
        *X[test & (y == label)].T,
        s=14,
        marker=marker,
        label=label,
        edgecolor="white",
        linewidth=0.4,
    )
for j, name in enumerate(decisions):
    axes.scatter([], [], marker="s", s=60, color=colours(j), label=name)
axes.set(xlabel=data.feature_names[20], ylabel=data.feature_names[21])
axes.legend(fontsize=8, loc="upper right")

# %%
# The border in numbers
# ---------------------
# With two classes each decision has an interval of probabilities. They are where the lines of
# expected utility, straight in the probability, cross.
p = np.linspace(0, 1, 201)
expected = np.stack([1 - p, p], axis=1) @ utility.T
best = fs.decide(np.stack([1 - p, p], axis=1), utility)
figure, axes = plt.subplots(figsize=(6.5, 3), layout="constrained")
for j, name in enumerate(decisions):
    axes.plot(p, expected[:, j], label=name)
for border in p[1:][np.diff(best) != 0]:
    axes.axvline(border, color="grey", linewidth=0.8, linestyle=":")
    print(f"the decision changes at a probability of {border:.3f}")
axes.set(xlabel="probability of malignant", ylabel="expected utility", ylim=(-40, 2))
axes.legend()
plt.show()
