"""Sample weights: a mean does not depend on their scale."""

from __future__ import annotations

import numpy as np
import pytest

import fastsoftmax as fs

LONG = 700  # classes of rows that are read along their classes


def bits(results):
    """The bytes of arrays and numbers, in any nesting."""
    if isinstance(results, (tuple, list)):
        return [bits(result) for result in results]
    return np.asarray(results).tobytes()


def learnt(result):
    history = {key: value for key, value in result.history.items() if key != "seconds"}
    return bits([result.model.W, result.model.b]), history, result.learning_rate


@pytest.mark.parametrize("exponent", [-1074, -140, 130, 1010])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_mean_does_not_depend_on_the_scale_of_weights(problem, dtype, exponent):
    p = problem(130, 7, 5, dtype=dtype)
    weight = 1.0 + np.arange(130) % 4
    Z = np.random.default_rng(0).standard_normal((130, LONG)).astype(dtype)

    def everything(weight):
        options = {"sample_weight": weight}
        fit = fs.fit_sgd(p.X, p.targets, epochs=2, l2=0.1, batch_size=50, **options)
        return (
            bits(fs.loss_and_gradient(*p[:4], **options)),
            bits(fs.loss(*p[:4], **options)),
            bits([fs.cross_entropy(z, p.targets, **options) for z in (p.X, Z)]),
            bits([fs.cross_entropy_and_gradient(z, p.targets, **options) for z in (p.X, Z)]),
            learnt(fit),
            fit.model.score(p.X, p.targets, **options),
        )

    assert everything(np.ldexp(weight, exponent)) == everything(weight)
    ones = fs.loss_and_gradient(*p[:4], sample_weight=np.full(130, np.ldexp(1.0, exponent)))
    assert bits(ones) == bits(fs.loss_and_gradient(*p[:4]))


@pytest.mark.parametrize(("weight", "margin"), [(1e39, 40.0), (1e-44, -1e20)])
def test_a_sum_has_the_scale_of_the_weights_where_it_fits(weight, margin):
    """p - t is about exp(-40) at a margin of 40, and 1 at one of -1e20, where J is 1e20."""
    X = np.array([[margin], [margin / 2]])
    W = np.array([[1.0, 0.0]])
    options = {"sample_weight": [weight, weight / 2]}
    narrow, wide = (
        fs.loss_and_gradient(X, [0, 0], W.astype(dtype), reduction="sum", **options)
        for dtype in (np.float32, np.float64)
    )
    np.testing.assert_allclose(narrow[0], wide[0], rtol=1e-5)
    np.testing.assert_allclose(narrow[1], wide[1], rtol=1e-5)
    for reduction in ("sum", "none"):
        options["reduction"] = reduction
        truth = fs.loss(X, [0, 0], W, **options)
        actual = fs.loss(X, [0, 0], W.astype(np.float32), **options)
        assert actual.dtype == np.float32
        np.testing.assert_allclose(actual, truth, rtol=1e-5)


def test_weights_and_targets_beyond_the_type_say_so():
    X, W = np.ones((2, 1), np.float32), np.zeros((1, 2), np.float32)
    huge = {"sample_weight": [1.0, 1e39]}
    for function, reductions in ((fs.loss_and_gradient, ["sum"]), (fs.loss, ["sum", "none"])):
        for reduction in reductions:
            with pytest.raises(ValueError, match="overflow float32"):
                function(X, [0, 1], W, reduction=reduction, **huge)
    for function in (fs.cross_entropy, fs.cross_entropy_and_gradient):
        for reduction in ("sum", "none"):
            with pytest.raises(ValueError, match=r"sample_weight\[1\] = 1e\+39 does not fit float"):
                function(X, [0, 0], reduction=reduction, **huge)
    T = np.array([[1.0, 0.0], [0.0, 1e39]])
    message = r"\[1, 1\] = 1e\+39 does not fit float32"
    with pytest.raises(ValueError, match="targets" + message):
        fs.cross_entropy(np.zeros((2, 2), np.float32), T)
    with pytest.raises(ValueError, match="targets" + message):
        fs.loss(X, T, W)
    with pytest.raises(ValueError, match="y" + message):
        fs.fit_sgd(X, T)


def test_an_automatic_penalty_beyond_the_type_says_so():
    X = np.array([[-1.0], [1.0]], np.float32)
    tiny = np.array([1e-40, 1e-40])
    with pytest.raises(ValueError, match=r"l2='auto', .* is 5e\+39, which does not fit float32"):
        fs.fit_sgd(X, [0, 1], sample_weight=tiny)
    with pytest.raises(ValueError, match=r"l2 is 1e\+39, which does not fit float32"):
        fs.fit_sgd(X, [0, 1], l2=1e39)
    assert fs.fit_sgd(X.astype(float), [0, 1], sample_weight=tiny).history["loss"][-1] < 0.7
