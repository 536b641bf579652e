"""`fit_path`: each optimum is that of `fit`."""

from __future__ import annotations

import numpy as np
import pytest

import fastsoftmax as fs

random = np.random.default_rng(0)
X = random.standard_normal((120, 4)) + 3
Y = (X @ random.standard_normal((4, 3)) + random.gumbel(size=(120, 3))).argmax(axis=1)
L2S = [0.01, 10.0, 1e-4, 0.3]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_result_is_that_of_fit(dtype):
    path = fs.fit_path(X.astype(dtype), Y, l2s=L2S, tol=1e-6)
    assert path.l2s == (10.0, 0.3, 0.01, 1e-4)
    for l2, result in zip(path.l2s, path.results, strict=True):
        alone = fs.fit(X.astype(dtype), Y, l2=l2, tol=1e-6)
        assert (result.stopped, result.model.W.dtype) == ("gap", dtype)
        assert result.lower_bound <= alone.objective
        assert alone.lower_bound <= result.objective
        np.testing.assert_allclose(
            result.model.predict_proba(X), alone.model.predict_proba(X), atol=5e-3
        )
    # the first begins at zero as `fit` does
    first = fs.fit(X.astype(dtype), Y, l2=10.0, tol=1e-6)
    assert path.results[0].model.W.tobytes() == first.model.W.tobytes()
    assert (path.validation_loss, path.validation_accuracy) == ((), ())
    with pytest.raises(ValueError, match="validation_data"):
        path.best()


def test_warm_starts_save_passes():
    l2s = np.geomspace(1, 1e-3, 10)
    path = fs.fit_path(X, Y, l2s=l2s, tol=1e-8)
    alone = [fs.fit(X, Y, l2=l2, tol=1e-8).n_passes for l2 in l2s]
    assert sum(result.n_passes for result in path.results) < sum(alone)


def test_no_penalty_may_be_the_last():
    path = fs.fit_path(X, Y, l2s=[0.0, 0.1], tol=1e-8)
    assert path.l2s == (0.1, 0.0)
    assert [result.stopped for result in path.results] == ["gap", "flat"]
    np.testing.assert_allclose(
        path.results[1].objective, fs.fit(X, Y, l2=0, tol=1e-8).objective, rtol=1e-7
    )


def test_scores_are_those_of_the_models():
    weight = np.linspace(0, 1, 40)
    held_out = (X[:40], Y[:40], weight)
    path = fs.fit_path(X[40:], Y[40:], l2s=L2S, validation_data=held_out, classes=[2, 0, 1, 9])
    for loss, accuracy, result in zip(
        path.validation_loss, path.validation_accuracy, path.results, strict=True
    ):
        model = result.model
        assert model.classes.tolist() == [2, 0, 1, 9]
        labels = model.label_indices(Y[:40])
        np.testing.assert_allclose(
            loss, fs.loss(X[:40], labels, model.W, model.b, sample_weight=weight), rtol=1e-12
        )
        right = model.predict(X[:40]) == Y[:40]
        np.testing.assert_allclose(accuracy, np.average(right, weights=weight), rtol=1e-12)
    best = path.results[int(np.argmin(path.validation_loss))]
    assert path.best() is best


def test_a_callback_ends_all():
    path = fs.fit_path(X, Y, l2s=L2S, tol=1e-8, callback=lambda progress: True)
    assert (path.l2s, path.results[0].stopped) == ((10.0,), "callback")


@pytest.mark.parametrize("l2s", [[], 1.0, [[1.0]], [-1.0], [np.nan], ["a"], None, [1e300 * 1e300]])
def test_penalties_are_checked(l2s):
    with pytest.raises((TypeError, ValueError), match="l2s"):
        fs.fit_path(X, Y, l2s=l2s)
