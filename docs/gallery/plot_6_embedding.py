"""
Your own compiled pipeline
==========================

`fastsoftmax.kernels` can be called from code that you compile with Numba. Here the logits are not
linear at all: each class has a few prototypes, and a row's logit is minus its squared distance to
the nearest. The softmax, the loss and the residuals are one fused call inside the loop.
"""

# %%
# The loop
# --------
# One row at a time: distances, the fused row function, and the step; nothing is allocated in the
# loop. `cross_entropy_gradient_row` writes ``softmax(z) - t`` into its last argument and returns
# the loss.
import time

import matplotlib.pyplot as plt
import numba
import numpy as np
from sklearn.datasets import load_digits

from fastsoftmax import kernels


@numba.njit
def logits_of(x, prototypes, z, nearest):
    """z (K,) = minus the squared distance to the nearest prototype of each class."""
    K, M, D = prototypes.shape
    for k in range(K):
        z[k] = -np.inf
        for m in range(M):
            distance = np.float32(0)
            for i in range(D):
                distance += (x[i] - prototypes[k, m, i]) ** 2
            if -distance > z[k]:
                z[k], nearest[k] = -distance, m


@numba.njit
def train(X, labels, prototypes, order, rate, z, residual, nearest):
    """One epoch; the mean loss. dJ/dprototype = residual · 2 (x - prototype)."""
    total = 0.0
    for n in order:
        x = X[n]
        logits_of(x, prototypes, z, nearest)
        total += kernels.cross_entropy_gradient_row(z, labels[n], residual)
        for k in range(len(prototypes)):
            prototype = prototypes[k, nearest[k]]
            for i in range(len(x)):
                prototype[i] -= rate * residual[k] * 2 * (x[i] - prototype[i])
    return total / len(order)


@numba.njit(parallel=True)
def probabilities(X, prototypes, out):
    """A softmax for each row, in parallel; the scratch of a row is its own."""
    for n in numba.prange(len(X)):
        nearest = np.empty(len(prototypes), np.int64)
        logits_of(X[n], prototypes, out[n], nearest)
        kernels.softmax_row(out[n], out[n])  # the result may take the logits' place


# %%
# Training
# --------
X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
test = np.arange(len(X)) % 4 == 0
K, M = 10, 3
rng = np.random.default_rng(0)
prototypes = np.stack([X[~test][y[~test] == k][:M] for k in range(K)])
z, residual = np.empty(K, np.float32), np.empty(K, np.float32)
nearest = np.empty(K, np.int64)
begin = time.perf_counter()
for epoch in range(25):
    order = rng.permutation(np.flatnonzero(~test))
    loss = train(X, y, prototypes, order, np.float32(0.02), z, residual, nearest)
    if epoch in (0, 4, 24):
        print(f"epoch {epoch:2}: loss {loss:.4f}")
print(f"{time.perf_counter() - begin:.1f} s, compiling included")
P = np.empty((test.sum(), K), np.float32)
probabilities(X[test], prototypes, P)
print(f"{np.mean(P.argmax(axis=1) == y[test]):.1%} of the test digits are right")

# %%
# The prototypes
# --------------
# They began as real digits, and moved away from those of other classes.
figure, panels = plt.subplots(M, K, figsize=(7, 2.3), layout="constrained")
for (m, k), axes in np.ndenumerate(panels):
    axes.imshow(prototypes[k, m].reshape(8, 8), cmap="gray_r")
    axes.set(xticks=[], yticks=[])
plt.show()
