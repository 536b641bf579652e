"""Two promises about sample weights: a mean has no use for their scale, and zero is absence."""

from __future__ import annotations

import numpy as np
import pytest

import fastsoftmax as fs
from fastsoftmax.kernels import cross_entropy_gradient_row, cross_entropy_row
from fastsoftmax.training import DivergenceError
from fastsoftmax.training.stream import Options, Stream

ANYTHING = [np.nan, np.inf, -np.inf, -3.4e38, 1e38]

# the last has a gradient that is held once, in slabs: some read where rows lie, one not
SHAPES = [(130, 17, 10), (330, 150, 3), (600, 3005, 90)]
LONG = 700  # classes of rows that are read along their classes
LAYOUTS = {
    "in place": np.ascontiguousarray,
    "Fortran order": np.asfortranarray,
    "another type": lambda X: X.astype(np.float32),
}


def bits(results):
    """The bytes of arrays and numbers, in any nesting."""
    if isinstance(results, (tuple, list)):
        return [bits(result) for result in results]
    return np.asarray(results).tobytes()


def losses(X, targets, W, b, weight):
    """What every loss of the linear model gives, by reduction."""
    options = {"sample_weight": weight, "label_smoothing": 0.1}
    both = [
        fs.loss_and_gradient(X, targets, W, b, reduction=reduction, **options)
        for reduction in ("mean", "sum")
    ]
    alone = [
        fs.loss(X, targets, W, b, reduction=reduction, **options)
        for reduction in ("mean", "sum", "none")
    ]
    return both, alone


def losses_of_logits(Z, targets, weight):
    return [
        function(Z, targets, sample_weight=weight, label_smoothing=0.1, reduction=reduction)
        for function in (fs.cross_entropy, fs.cross_entropy_and_gradient)
        for reduction in ("mean", "sum", "none")
    ]


def learnt(result):
    history = {key: value for key, value in result.history.items() if key != "seconds"}
    return bits([result.model.W, result.model.b]), history, result.learning_rate


def filled(X, weight, values):
    """X with `values` in turn in the rows of weight zero."""
    X = X.copy()
    absent = np.flatnonzero(weight == 0)
    X[absent] = np.resize(np.asarray(values, X.dtype), (len(absent), 1))
    X[absent[::2], 1:] = 1  # a row may be bad in one place only
    return X


# Scale


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


# Absence


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize(("N", "D", "K"), SHAPES)
def test_rows_of_weight_zero_may_hold_anything(problem, N, D, K, layout):
    p = problem(N, D, K)
    p.weight[70 : 70 + 128] = 0  # whole blocks
    actual = losses(layout(filled(p.X, p.weight, ANYTHING)), *p[1:])
    assert bits(actual) == bits(losses(layout(filled(p.X, p.weight, [0])), *p[1:]))
    rows = p.weight > 0
    without = losses(p.X[rows], p.targets[rows], p.W, p.b, p.weight[rows])
    actual[1][2] = actual[1][2][rows]
    for ours, truth in zip((*actual[0], actual[1]), (*without[0], without[1]), strict=True):
        for a, b in zip(ours, truth, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13 * np.abs(b).max())


@pytest.mark.parametrize("K", [5, LONG])
@pytest.mark.parametrize("soft", [False, True])
def test_logits_of_weight_zero_may_hold_anything(problem, K, soft):
    p = problem(130, K, K, soft=soft)
    actual = losses_of_logits(filled(p.X, p.weight, ANYTHING), p.targets, p.weight)
    assert bits(actual) == bits(losses_of_logits(filled(p.X, p.weight, [0]), p.targets, p.weight))
    for _, dZ in actual[3:]:
        assert not dZ[p.weight == 0].any()


@pytest.mark.parametrize("K", [5, LONG])
def test_logits_without_target_weight_may_hold_anything(problem, K):
    """They add nothing to the sums, though their weight is part of what a mean is divided by."""
    p = problem(130, K, K, soft=True)
    s = p.targets.sum(axis=1)
    assert not s[3::7].any()
    weight = np.linspace(0.5, 1.5, 130)
    actual = losses_of_logits(filled(p.X, s, ANYTHING), p.targets, weight)
    assert bits(actual) == bits(losses_of_logits(filled(p.X, s, [0]), p.targets, weight))
    for _, dZ in actual[3:]:
        assert not dZ[s == 0].any()
    z, none, out = filled(p.X, s, ANYTHING)[3], np.zeros(K), np.ones(K)
    assert cross_entropy_row(z, none) == 0
    assert cross_entropy_gradient_row(z, none, out) == 0
    assert not out.any()


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("sizes", [(300, 150, 3), (300, 10, 3)], ids=["by slab", "by chunk"])
def test_training_is_as_if_rows_of_weight_zero_were_not_there(problem, sizes, standardize, layout):
    p = problem(*sizes)
    p.weight[64:128] = 0

    def fit(values):
        X = layout(filled(p.X, p.weight, values))
        options = {"standardize": standardize, "batch_size": 100, "epochs": 2, "average": 0.5}
        held_out = (X, p.targets, p.weight)
        result = fs.fit_sgd(
            X, p.targets, sample_weight=p.weight, validation_data=held_out, **options
        )
        return learnt(result), result.model.score(X, p.targets, sample_weight=p.weight)

    anything = fit(ANYTHING)
    assert anything == fit([0])
    assert anything[0][1]["loss"][1] < anything[0][1]["loss"][0] < 2


def test_the_automatic_rate_is_that_without_rows_of_weight_zero(problem):
    p = problem(2000, 6, 3)
    rows = p.weight > 0
    options = {"epochs": 0, "batch_size": 2000}
    actual = fs.fit_sgd(
        filled(p.X, p.weight, ANYTHING), p.targets, sample_weight=p.weight, **options
    )
    truth = fs.fit_sgd(p.X[rows], p.targets[rows], sample_weight=p.weight[rows], **options)
    assert actual.learning_rate == pytest.approx(truth.learning_rate, rel=1e-12)


def test_a_stream_is_as_if_rows_of_weight_zero_were_not_there(problem):
    p = problem(200, 6, 3)
    p.weight[100:150] = 0  # a batch

    def fed(values):
        stream = Stream(fs.SoftmaxModel(np.zeros((6, 3)), np.zeros(3), range(3)), Options(50))
        loss = stream.feed(filled(p.X, p.weight, values), p.targets, p.weight)
        return bits([loss, stream.model.W, stream.model.b])

    assert fed(ANYTHING) == fed([0])


def test_errors_name_a_cell_that_counts(problem):
    p = problem(130, 7, 5)
    X = filled(p.X, p.weight, ANYTHING)
    X[124, 3] = np.nan
    weighted = {"sample_weight": p.weight}
    model = fs.SoftmaxModel(p.W, p.b, range(5))
    held_out = (p.X, p.targets), (X, p.targets, p.weight)
    for call in (
        lambda: fs.loss(X, *p[1:4], **weighted),
        lambda: fs.loss_and_gradient(X, *p[1:4], **weighted),
        lambda: fs.fit_sgd(X, p.targets, standardize=False, **weighted),
        lambda: fs.fit_sgd(X, p.targets, learning_rate=0.1, **weighted),
        lambda: fs.fit_sgd(*held_out[0], validation_data=held_out[1]),
        lambda: Stream(model).feed(X, p.targets, p.weight),
        lambda: model.score(X, p.targets, **weighted),
    ):
        with pytest.raises(ValueError, match=r"X\[124, 3\] is nan"):
            call()
    X[124, 3] = 1
    with pytest.raises(DivergenceError):
        fs.fit_sgd(X, p.targets, standardize=False, l2=10, learning_rate=1e300, **weighted)
    with pytest.raises(ValueError, match=r"targets\[2\] = 5 is not in \[0, 5\)"):
        fs.loss(X, np.where(p.weight == 0, 5, 0), p.W, p.b, **weighted)
