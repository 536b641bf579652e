"""`fit`: the optimum and its proof."""

from __future__ import annotations

import numpy as np
import pytest

import fastsoftmax as fs


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_optimum_is_that_of_scipy(dtype):
    optimize = pytest.importorskip("scipy.optimize")
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 5)).astype(dtype)
    y = rng.integers(0, 3, 60)

    def objective(parameters):
        W, b = parameters[:15].reshape(5, 3), parameters[15:]
        loss, grad_W, grad_b = fs.loss_and_gradient(X, y, W, b, l2=0.01)
        return loss, np.concatenate([grad_W.ravel(), grad_b])

    best = optimize.minimize(objective, np.zeros(18), jac=True, options={"gtol": 1e-10}).fun
    result = fs.fit(X, y, l2=0.01, standardize=False, tol=1e-6)
    assert result.converged
    assert result.stopped == "gap"
    assert result.lower_bound <= best * (1 + 1e-12)
    assert best * (1 - 1e-12) <= result.objective <= best * (1 + 1e-6)
    assert result.model.W.dtype == dtype
