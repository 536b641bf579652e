"""SGD on a stream: the bits of fit_sgd, scales that move, and calls that are undone."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import fastsoftmax as fs
from fastsoftmax.training.columns import moments, standard_scaling
from fastsoftmax.training.samples import Samples
from fastsoftmax.training.stream import Options, Stream


def blank(D, K, dtype=np.float64):
    return fs.SoftmaxModel(np.zeros((D, K), dtype), np.zeros(K, dtype), np.arange(K))


def samples(X, weight):
    return Samples(X, np.zeros(len(X), np.int64), weight, weight.sum())


def assert_same_bits(model, other):
    for array, twin in ((model.W, other.W), (model.b, other.b)):
        assert array.dtype == twin.dtype
        assert array.tobytes() == twin.tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
@pytest.mark.parametrize(
    ("N", "batch_size"), [(256, 64), (150, 50), (260, 260), (259, 130), (7, 1)]
)
@pytest.mark.parametrize("epochs", [1, 2])
def test_fixed_batches_have_the_bits_of_fit_sgd(
    problem, dtype, momentum, nesterov, N, batch_size, epochs
):
    p = problem(N, 13, 5, dtype=dtype)
    options = {"batch_size": batch_size, "learning_rate": 0.1, "l2": 0.01, "momentum": momentum}
    options |= {"nesterov": nesterov, "standardize": False}
    result = fs.fit_sgd(
        p.X, p.targets, classes=np.arange(5), epochs=epochs, shuffle=False, **options
    )
    stream = Stream(blank(13, 5, dtype), Options(**options))
    for _ in range(epochs):
        for start in range(0, N, batch_size):
            rows = slice(start, start + batch_size)
            stream.feed(p.X[rows], p.targets[rows])
    assert_same_bits(stream.model, result.model)


@pytest.mark.parametrize("D", [13, 3000])
@pytest.mark.parametrize("N", [40, 64, 65, 129, 300])
def test_a_call_is_an_epoch(problem, N, D):
    p = problem(N, D, 5)
    options = {"batch_size": 64, "learning_rate": 0.01, "l2": 0.01, "standardize": False}
    result = fs.fit_sgd(p.X, p.targets, classes=np.arange(5), epochs=2, shuffle=False, **options)
    stream = Stream(blank(D, 5), Options(**options))
    losses = [stream.feed(p.X, p.targets) for _ in range(2)]
    assert_same_bits(stream.model, result.model)
    np.testing.assert_allclose(losses, result.history["loss"], rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_where_calls_are_cut_between_batches_does_not_matter(problem, dtype):
    p = problem(256, 6, 3, dtype=dtype)
    whole, parts = (Stream(blank(6, 3, dtype), Options(batch_size=32)) for _ in range(2))
    whole.feed(p.X, p.targets)
    for rows in (slice(32), slice(32, 128), slice(128, 256)):
        parts.feed(p.X[rows], p.targets[rows])
    assert_same_bits(whole.model, parts.model)


# Scales


def test_the_scales_are_those_of_all_rows_so_far(problem):
    p = problem(300, 6, 3)
    X = 5 + 3 * p.X
    stream = Stream(blank(6, 3))
    for rows in (slice(100), slice(100, 101), slice(101, 300)):
        stream.feed(X[rows], p.targets[rows], p.weight[rows])
    expected = standard_scaling(moments(samples(X, p.weight)), X.dtype)
    np.testing.assert_allclose(stream.scaling.centre, expected.centre, rtol=1e-12)
    np.testing.assert_allclose(stream.scaling.scale, expected.scale, rtol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_moving_scales_leave_the_model_where_it_is(problem, weighted):
    """At a rate of zero, batches far from the first move the scales and nothing else."""
    p = problem(200, 6, 3)
    stream = Stream(blank(6, 3), Options(learning_rate=0.5, momentum=0.9))
    stream.feed(p.X, p.targets)
    before = stream.model
    stream.use(Options(learning_rate=0.0, momentum=0.9))
    stream.feed(1000 + 50 * p.X, p.targets, p.weight if weighted else None)
    assert stream.scaling.centre.min() > 100
    np.testing.assert_allclose(stream.model.W, before.W, rtol=1e-12)
    P = before.predict_proba(p.X)
    np.testing.assert_allclose(stream.model.predict_proba(p.X), P, rtol=1e-10)


def test_moving_scales_leave_the_velocity_where_it_is(problem):
    """Rows of no weight have no gradient: the next step is momentum's, in the units of X."""
    p = problem(100, 6, 3)
    options = Options(batch_size=100, learning_rate=0.5, momentum=0.9)
    stream = Stream(blank(6, 3), options)
    stream.feed(p.X, p.targets)
    first = stream.model  # from zero: the step is the weights themselves
    stream._moments = moments(samples(7 + 3 * p.X, np.ones(100)))  # what the next batch brings
    weight = np.zeros(100)
    weight[0] = 1e-300
    stream.feed(p.X, p.targets, weight)
    np.testing.assert_allclose(stream.scaling.scale, 1 / (3 * p.X.std(axis=0)), rtol=1e-12)
    np.testing.assert_allclose(stream.model.W, 1.9 * first.W, rtol=1e-12)
    np.testing.assert_allclose(stream.model.b, 1.9 * first.b, rtol=1e-10)


# Rate, weights and options


def test_the_automatic_rate_never_rises(problem):
    p = problem(300, 6, 3)
    stream = Stream(blank(6, 3), Options(standardize=False, batch_size=100))
    rates = []
    for scale in (1.0, 10.0, 1.0):
        stream.feed(scale * p.X, p.targets)
        rates.append(stream._rate())
    assert rates[0] > 50 * rates[1]
    assert rates[1] == rates[2]


def test_the_automatic_rate_learns(problem):
    p = problem(3000, 6, 3)
    labels = (p.X @ p.W + p.b).argmax(axis=1)
    stream = Stream(blank(6, 3))
    losses = [stream.feed(1000 + 0.01 * p.X, labels) for _ in range(3)]
    assert losses[2] < 0.3
    assert stream.model.score(1000 + 0.01 * p.X, labels) > 0.9


def test_equal_weights_are_no_weights(problem):
    p = problem(256, 6, 3)
    plain, weighted = (Stream(blank(6, 3), Options(l2=0.1)) for _ in range(2))
    for rows in (slice(100), slice(100, 256)):
        plain.feed(p.X[rows], p.targets[rows])
        weighted.feed(p.X[rows], p.targets[rows], np.full(len(p.X[rows]), 7.0))
    np.testing.assert_allclose(weighted.model.W, plain.model.W, rtol=0, atol=1e-13)


def test_a_penalty_on_the_sum_of_losses_fades(problem):
    p = problem(100, 6, 3)
    summed = Stream(blank(6, 3), Options(l2=1.0, l2_of_sum=True))
    fixed = Stream(blank(6, 3), Options(l2=0.01))
    for stream in (summed, fixed):
        stream.feed(p.X, p.targets)
    assert_same_bits(summed.model, fixed.model)
    fixed.use(Options(l2=0.005))
    for stream in (summed, fixed):
        stream.feed(p.X, p.targets)
    np.testing.assert_allclose(summed.model.W, fixed.model.W, rtol=1e-2)


def test_other_options_keep_the_momentum(problem):
    p = problem(100, 6, 3)
    options = Options(learning_rate=0.1, standardize=False)
    stream, twin = Stream(blank(6, 3), options), Stream(blank(6, 3), options)
    for each in (stream, twin):
        each.feed(p.X, p.targets)
    stream.use(options._replace(label_smoothing=0.5))
    stream.use(options)
    for each in (stream, twin):
        each.feed(p.X, p.targets)
    assert_same_bits(stream.model, twin.model)


def test_rows_without_weight_before_any_other_teach_nothing(problem):
    p = problem(64, 6, 3)
    weight = np.r_[np.zeros(32), np.ones(32)]
    stream = Stream(blank(6, 3), Options(batch_size=32))
    stream.feed(p.X, p.targets, weight)
    assert np.isfinite(stream.model.W).all()
    with pytest.raises(ValueError, match="sums to zero"):
        stream.feed(p.X, p.targets, np.zeros(64))


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_copies_go_on_alike(problem, twin):
    p = problem(200, 6, 3)
    stream = Stream(blank(6, 3))
    stream.feed(p.X[:100], p.targets[:100])
    other = twin(stream)
    for each in (stream, other):
        each.feed(p.X[100:], p.targets[100:])
    assert_same_bits(stream.model, other.model)


# Pickles


def trained(problem, rows=100, **options):
    p = problem(200, 6, 3)
    stream = Stream(blank(6, 3), Options(batch_size=50, **options))
    stream.feed(p.X[:rows], p.targets[:rows])
    return stream, p


def test_a_pickle_holds_weights_by_feature_and_class(problem):
    """Whatever the layout that kernels take, which another version may change."""
    stream, _ = trained(problem)
    W, b = stream.__getstate__()["parameters"]
    np.testing.assert_array_equal(W, stream.model.W)
    np.testing.assert_array_equal(b, stream.model.b)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"velocity": (np.zeros((6, 4)), np.zeros(4))}, "velocity must have shape"),
        ({"velocity": (np.zeros((1, 3)), np.zeros(3))}, "velocity must have shape"),
        ({"parameters": (np.zeros((6, 4)), np.zeros(4))}, r"classes must have shape \(4,\)"),
        ({"parameters": (np.full((6, 3), np.nan), np.zeros(3))}, r"W\[0, 0\] is nan"),
        ({"centre": np.zeros(5)}, r"centre must have shape \(6,\), got \(5,\)"),
        ({"scale": np.zeros(0)}, r"scale must have shape \(6,\), got \(0,\)"),
        ({"moments": (1.0, np.zeros(6), np.zeros(2))}, r"moments must have shape \(6,\)"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"rows": -1}, "rows must be at least 0"),
        ({"options": {"batch_size": 4, "unheard_of": 1}}, "unheard_of"),
        ({"unheard_of": 1}, "unheard_of"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_damaged_state_is_refused(problem, change, message):
    state = trained(problem)[0].__getstate__() | change
    with pytest.raises(ValueError, match=f"can go on from: .*{message}"):
        Stream.__new__(Stream).__setstate__(state)


# Errors undo the call


def test_divergence_undoes_the_call(problem):
    p = problem(200, 6, 3)
    stream = Stream(blank(6, 3), Options(learning_rate=0.1, standardize=False))
    stream.feed(p.X, p.targets)
    before = copy.deepcopy(stream)
    stream.use(stream.options._replace(learning_rate=1e307))
    with pytest.raises(fs.DivergenceError, match=r"in epoch 1 with learning_rate=1e\+307") as error:
        stream.feed(p.X, p.targets)
    assert_same_bits(error.value.model, before.model)
    stream.use(before.options)
    for each in (stream, before):
        each.feed(p.X, p.targets)
    assert_same_bits(stream.model, before.model)


def test_bad_rows_undo_the_call(problem):
    p = problem(200, 6, 3)
    stream = Stream(blank(6, 3), Options(batch_size=50))
    stream.feed(p.X, p.targets)
    before = stream.model
    X = p.X.copy()
    X[170, 2] = np.nan
    with pytest.raises(ValueError, match=r"X\[170, 2\] is nan"):
        stream.feed(X, p.targets)
    X[170, 2] = 1e200
    with pytest.raises(ValueError, match="column 2 of X has a variance beyond float64"):
        stream.feed(X, p.targets)
    X[:] = p.X * np.where(np.arange(6) == 4, 1e-170, 1)
    with pytest.raises(ValueError, match="column 4 of X has a standard deviation"):
        Stream(blank(6, 3)).feed(X, p.targets)
    assert_same_bits(stream.model, before)
    assert (stream.rows, stream.calls) == (200, 1)
    with pytest.raises(ValueError, match="is not one of the classes"):
        stream.feed(p.X, p.targets + 1)
