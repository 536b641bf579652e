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


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("targets", ["labels", "weightless", "soft"])
def test_classes_that_no_target_asks_for_have_no_probability(targets, dtype):
    """Their biases have no optimum but minus infinity, and no proof is had on the way there."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 3)).astype(dtype)
    numbers, weight = rng.integers(0, 2, 40), np.ones(40)
    y = np.array([0, 3])[numbers]
    alone = fs.fit(X, y, l2=0.01)
    options = {"classes": [0, 1, 2, 3], "l2": 0.01}
    if targets == "weightless":
        X, y = np.vstack([X, np.full((2, 3), np.nan, dtype)]), np.append(y, [1, 2])
        weight = np.append(weight, [0, 0])
    elif targets == "soft":
        y = np.eye(4, dtype=dtype)[y]
    result = fs.fit(X, y, sample_weight=weight, **options)
    assert result.converged
    assert result.objective == pytest.approx(alone.objective, rel=1e-5)
    P = result.model.predict_proba(X[:40])
    assert P[:, 1:3].max() < 1e-15
    np.testing.assert_allclose(P[:, [0, 3]], alone.model.predict_proba(X[:40]), atol=1e-3)
    smoothed = fs.fit(X, y, sample_weight=weight, label_smoothing=0.1, **options)
    assert smoothed.model.predict_proba(X[:40]).min() > 0.01
    again = fs.fit(X, y, sample_weight=weight, init=smoothed.model, **options)
    assert again.objective == pytest.approx(alone.objective, rel=1e-4)


def test_weights_are_repeated_rows():
    """Step by step, far from the optimum too: when a factor is worth its cost is the same."""
    rng = np.random.default_rng(42)
    X, y, weight = rng.random((15, 30)), np.arange(15) % 3, rng.integers(0, 5, 15)
    options = {"l2": 0.1, "standardize": False}
    weighted = fs.fit(X, y, sample_weight=weight, **options)
    repeated = fs.fit(np.repeat(X, weight, axis=0), np.repeat(y, weight), **options)
    assert weighted.gap > 1e-9
    assert weighted.n_passes == repeated.n_passes
    np.testing.assert_allclose(weighted.model.W, repeated.model.W, rtol=0, atol=1e-10)


def test_a_path_begins_with_the_hessian_of_the_last_penalty():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2000, 12)) @ rng.standard_normal((12, 12))
    y = (X @ rng.standard_normal((12, 8)) + 3 * rng.gumbel(size=(2000, 8))).argmax(axis=1)
    path = fs.fit_path(X, y, l2s=[1e-3, 3e-4, 1e-4], tol=1e-6)
    single = fs.fit(X, y, l2=1e-4, tol=1e-6)
    assert path.results[-1].objective == pytest.approx(single.objective, rel=2e-6)
    assert path.results[-1].n_passes < 0.5 * single.n_passes
