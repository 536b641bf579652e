"""Mini-batch SGD, against a few lines of NumPy in float64."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import fastsoftmax as fs
from fastsoftmax import reference
from fastsoftmax.kernels.tiles.sizes import sgd_slab_width
from fastsoftmax.training import optimizer
from fastsoftmax.training.optimizer import Optimizer
from fastsoftmax.training.visits import orders

N = 130
PLAIN = {"learning_rate": 0.1, "l2": 0.0, "momentum": 0.0, "standardize": False}
SCHEDULES = {
    "constant": lambda *_: 1.0,
    "linear": lambda done, _: 1 - done,
    "cosine": lambda done, _: (1 + np.cos(np.pi * done)) / 2,
    "one_cycle": lambda done, step: min(10 * (done + step), 1) * (1 + np.cos(np.pi * done)) / 2,
}


def shortening(U, a, l2):
    """What steps of V are multiplied by, and those of c: the steepest directions become alike."""
    values, Q = np.linalg.eigh((U.T * a) @ U / a.sum())
    values, Q = values[::-1], Q[:, ::-1]
    n = min(4, len(values) // 2)
    level = max(values[n], 2 * l2)
    P = np.eye(len(values))
    for j in range(n):
        P -= max(1 - level / values[j], 0) * np.outer(Q[:, j], Q[:, j])
    return P, min(level, 1)


def numpy_sgd(
    X,
    targets,
    *,
    batch_size,
    epochs,
    learning_rate,
    momentum=0.9,
    nesterov=False,
    l2=0.0,
    sample_weight=None,
    label_smoothing=0.0,
    schedule="constant",
    average=0.0,
    standardize=True,
    shorten=False,
    seed=0,
):
    """(W, b, mean loss of each epoch) in the dtype of X, as fit_sgd documents its steps."""
    a = np.ones(len(X)) if sample_weight is None else sample_weight
    centre, scale = np.zeros(X.shape[1], X.dtype), np.ones(X.shape[1], X.dtype)
    if standardize:
        centre = np.average(X, axis=0, weights=a).astype(X.dtype)
        variance = np.average((X - centre) ** 2, axis=0, weights=a)
        scale = (1 / np.sqrt(np.where(variance > 0, variance, 1))).astype(X.dtype)
    U = (X - centre) * scale
    P, P_c = shortening(U, a, l2) if shorten else (None, 1)
    n_classes = targets.max() + 1 if targets.ndim == 1 else targets.shape[1]
    V, c = np.zeros((X.shape[1], n_classes), X.dtype), np.zeros(n_classes, X.dtype)
    velocity_V, velocity_c = np.zeros_like(V), np.zeros_like(c)
    random = np.random.default_rng(seed)
    n_batches = -(-len(X) // batch_size)
    size = -(-len(X) // n_batches)
    losses, tail = [], []
    for epoch in range(epochs):
        order = random.permutation(len(X))
        total = 0.0
        for i in range(n_batches):
            rows = order[i * size : (i + 1) * size]
            loss, g_V, g_c = reference.loss_and_gradient(
                U[rows], targets[rows], V, c, a[rows], label_smoothing, reduction="sum"
            )
            total += loss
            share = X.dtype.type(len(X) / a.sum() / len(rows))
            g_V, g_c = share * g_V + l2 * V, share * g_c
            g_V, g_c = P @ g_V if shorten else g_V, P_c * g_c
            velocity_V, velocity_c = momentum * velocity_V + g_V, momentum * velocity_c + g_c
            if nesterov:
                step_V, step_c = g_V + momentum * velocity_V, g_c + momentum * velocity_c
            else:
                step_V, step_c = velocity_V, velocity_c
            done = (epoch * n_batches + i) / (epochs * n_batches)
            rate = learning_rate * SCHEDULES[schedule](done, 1 / (epochs * n_batches))
            V, c = V - X.dtype.type(rate) * step_V, c - X.dtype.type(rate) * step_c
            if epoch >= epochs - np.ceil(average * epochs):
                tail.append((V, c))
        losses.append(total / a.sum())
    if tail:
        V, c = (np.mean(part, axis=0) for part in zip(*tail, strict=True))
    W = scale[:, None] * V
    return W, c - centre @ W, losses


def assert_is_that_of_numpy(X, targets, *, tolerance=1e-13, **options):
    W, b, losses = numpy_sgd(X, targets, **options)
    result = fs.fit_sgd(X, targets, **options)
    np.testing.assert_allclose(result.model.W, W, rtol=0, atol=tolerance)
    np.testing.assert_allclose(result.model.b, b, rtol=0, atol=tolerance)
    np.testing.assert_allclose(result.history["loss"], losses, rtol=tolerance)
    assert result.learning_rate == options["learning_rate"]


def assert_same_bits(result, other):
    for array, twin in ((result.model.W, other.model.W), (result.model.b, other.model.b)):
        assert array.dtype == twin.dtype
        assert array.tobytes() == twin.tobytes()
    assert result.history["loss"] == other.history["loss"]


@pytest.mark.parametrize("batch_size", [1, 7, 64, 65, 128, N, N + 1, 10 * N])
@pytest.mark.parametrize(("momentum", "l2"), [(0.0, 0.0), (0.9, 0.0), (0.0, 0.3), (0.9, 0.3)])
@pytest.mark.parametrize("standardize", [False, True])
def test_an_epoch_is_that_of_numpy(problem, batch_size, momentum, l2, standardize):
    p = problem(N, 17, 3)
    options = {"learning_rate": 0.1, "momentum": momentum, "l2": l2, "standardize": standardize}
    assert_is_that_of_numpy(p.X, p.targets, batch_size=batch_size, epochs=1, seed=3, **options)


@pytest.mark.parametrize(("D", "K"), [(0, 3), (1, 2), (3, 10), (64, 33)])
def test_several_epochs_are_those_of_numpy(problem, D, K):
    p = problem(1000, D, K)
    options = {"batch_size": 33, "epochs": 3, "learning_rate": 0.05, "momentum": 0.5, "l2": 0.01}
    assert_is_that_of_numpy(p.X, p.targets, tolerance=1e-12, **options)


OPTIONS = {
    "nesterov": {"nesterov": True, "momentum": 0.8},
    "weights": {"sample_weight": True},
    "smoothing": {"label_smoothing": 0.2},
    "linear": {"schedule": "linear"},
    "cosine": {"schedule": "cosine"},
    "average of one epoch": {"average": 0.1},
    "average of two": {"average": 0.34},
    "average of all": {"average": 1.0},
}
OPTIONS["all"] = {key: value for one in OPTIONS.values() for key, value in one.items()}


@pytest.mark.parametrize("batch_size", [10, 150])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("change", OPTIONS.values(), ids=OPTIONS)
def test_every_option_is_that_of_numpy(problem, change, standardize, soft, batch_size):
    """Features far from zero and of different spread, so that scaling has something to do."""
    p = problem(300, 9, 4, soft=soft)
    X = p.X * np.linspace(0.5, 2, 9) + np.linspace(-3, 3, 9) * standardize
    options = {"epochs": 4, "learning_rate": 0.05, "l2": 0.02, "standardize": standardize} | change
    if "sample_weight" in options:
        options["sample_weight"] = p.weight
    assert_is_that_of_numpy(X, p.targets, tolerance=1e-12, batch_size=batch_size, **options)


@pytest.mark.parametrize("far", [0, 1000])
def test_centring_on_load_and_in_the_weights_are_that_of_numpy(problem, far):
    p = problem(300, 70, 4)
    X = p.X * np.linspace(0.5, 2, 70) + far
    options = {"batch_size": 50, "epochs": 2, "learning_rate": 0.05, "l2": 0.02, "nesterov": True}
    assert_is_that_of_numpy(X, p.targets, tolerance=1e-12 * max(far, 1), average=0.5, **options)


# One direction has nearly all of the curvature; of the last, four, each far above the next.
STEEP = {
    "a factor of all features": (lambda X: X + 3 * X[:, :1], {}),
    "outliers": (lambda X: np.where(np.arange(len(X))[:, None] % 50, X, -99.0), {"nesterov": True}),
    "units": (lambda X: X * 5.0 ** np.arange(-3, 4), {"standardize": False}),
}


@pytest.mark.parametrize("batch_size", [50, 300])
@pytest.mark.parametrize(("change", "options"), STEEP.values(), ids=STEEP)
def test_steps_of_the_automatic_rate_are_shortened_where_it_is_steep(
    problem, change, options, batch_size
):
    p = problem(300, 7, 4)
    X, weight = change(p.X), p.weight + 0.5
    options = options | {"batch_size": batch_size, "epochs": 3, "sample_weight": weight, "l2": 0.1}
    result = fs.fit_sgd(X, p.targets, **options)
    try:
        plain = fs.fit_sgd(X, p.targets, **options, learning_rate=result.learning_rate).model
    except fs.DivergenceError as error:
        plain = error.model
    rate = {"learning_rate": result.learning_rate, "schedule": "one_cycle"}
    W, b, losses = numpy_sgd(X, p.targets, shorten=True, **options, **rate)
    scale = np.abs(W).max(axis=1, keepdims=True)
    np.testing.assert_allclose(result.model.W / scale, W / scale, rtol=0, atol=1e-8)
    np.testing.assert_allclose(result.model.b, b, rtol=0, atol=1e-8)
    np.testing.assert_allclose(result.history["loss"], losses, rtol=1e-8)
    assert np.abs(plain.W / scale - W / scale).max() > 0.1


@pytest.mark.parametrize("n_rows", [1, 1000, 1001])
def test_orders_drawn_together_are_those_drawn_one_by_one(n_rows):
    random, alone = np.random.default_rng(5), np.random.default_rng(5)
    for count in (1, 3, 1):
        expected = [alone.permutation(n_rows) for _ in range(count)]
        np.testing.assert_array_equal(orders(n_rows, count, random), expected)
    np.testing.assert_array_equal(orders(n_rows, 2, None), [np.arange(n_rows)] * 2)


# how a batch is cut: (N, D, K), rows of a batch, tasks by slabs of features (0: by rows)
CUTS = {
    "one slab": ((300, 150, 3), 20, 1),
    "two slabs, the second narrower than a tile": ((300, 130, 17), 64, 2),
    "two slabs, transposed": ((300, 150, 30), 100, 2),
    "five slabs, batches of five blocks": ((700, 300, 150), 300, 5),
    "too few features for slabs": ((300, 40, 50), 100, 0),
    "too large for slabs, chunks of two blocks": ((4000, 100, 2), 3000, 0),
    "a large gradient in a large batch": ((600, 1000, 500), 600, 0),
}


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize(("sizes", "batch_size", "slabs"), CUTS.values(), ids=CUTS)
def test_however_a_batch_is_cut(problem, monkeypatch, sizes, batch_size, slabs, standardize):
    p = problem(*sizes)
    labels = np.unique(p.targets, return_inverse=True)[1]
    n_classes = int(labels.max()) + 1
    width = sgd_slab_width(batch_size, sizes[1], n_classes, 8)
    assert (-(-sizes[1] // width) if width else 0) == slabs
    options = {"batch_size": batch_size, "epochs": 1, "learning_rate": 0.1}
    options |= {"standardize": standardize, "l2": 0.01, "momentum": 0.5}
    assert_is_that_of_numpy(p.X, labels, tolerance=1e-12, **options)
    results = []
    for threads in (1, 2):
        monkeypatch.setattr(Optimizer, "_in_parallel", lambda self, t=threads: t > 1)
        with fs.num_threads(threads):
            results.append(fs.fit_sgd(p.X, labels, **options))
    assert_same_bits(*results)


@pytest.mark.parametrize("standardize", [False, True])
def test_float32_is_as_accurate_as_numpy(problem, standardize):
    p = problem(2000, 17, 3, dtype=np.float32)
    options = {"batch_size": 50, "epochs": 1, "learning_rate": 0.1, "standardize": standardize}
    options["momentum"] = 0.0
    truth = numpy_sgd(p.X.astype(np.float64), p.targets, **options)
    plain = numpy_sgd(p.X, p.targets, **options)
    if not standardize:  # as people write it, in place
        W, b = np.zeros((17, 3), np.float32), np.zeros(3, np.float32)
        order = np.random.default_rng(0).permutation(2000)
        rate = np.float32(0.1)
        plain = W, b, [reference.baseline_sgd_epoch(p.X, p.targets, W, b, order, 50, rate)]
    assert plain[0].dtype == np.float32
    result = fs.fit_sgd(p.X, p.targets, l2=0, **options)
    assert result.model.W.dtype == result.model.b.dtype == np.float32
    actual = result.model.W, result.model.b, result.history["loss"]
    for ours, numpys, exact in zip(actual, plain, truth, strict=True):
        scale = np.abs(exact).max()
        error, allowed = (np.abs(np.subtract(part, exact)).max() for part in (ours, numpys))
        assert error <= 1.5 * allowed + 1e-7 * scale


# Optima and starting points


@pytest.mark.parametrize("X", [np.empty((100, 0)), np.zeros((100, 4)), np.full((100, 2), 0.1)])
@pytest.mark.parametrize("average", [0.0, 0.1])
def test_intercepts_alone_are_the_log_class_frequencies(X, average):
    y = np.repeat([0, 1, 2], (50, 20, 30))
    result = fs.fit_sgd(X, y, batch_size=100, epochs=400, schedule="constant", average=average)
    model = result.model
    np.testing.assert_allclose(model.predict_proba(X[:1]), [[0.5, 0.2, 0.3]], rtol=1e-9)
    np.testing.assert_allclose(model.b - model.b.mean(), model.b, rtol=0, atol=1e-12)
    assert not model.W.any()
    entropy = -(0.5 * np.log(0.5) + 0.2 * np.log(0.2) + 0.3 * np.log(0.3))
    assert result.history["loss"][0] == pytest.approx(np.log(3), rel=1e-15)
    assert result.history["loss"][-1] == pytest.approx(entropy, rel=1e-12)


@pytest.mark.parametrize("nesterov", [False, True])
def test_full_batches_reach_the_optimum(problem, nesterov):
    """Where the gradient of the penalised loss is zero."""
    p = problem(N, 5, 3)
    options = {"batch_size": N, "epochs": 2000, "momentum": 0.8, "l2": 0.1}
    options |= {"standardize": False, "schedule": "constant", "nesterov": nesterov}
    model = fs.fit_sgd(p.X, p.targets, **options).model
    _, grad_W, grad_b = fs.loss_and_gradient(p.X, p.targets, model.W, model.b, l2=0.1)
    assert np.abs(model.W).max() > 0.01
    assert np.abs(grad_W).max() <= 1e-14
    assert np.abs(grad_b).max() <= 1e-14


def test_the_penalty_is_on_the_weights_of_the_scaled_features(problem):
    """Other units of the features give the same model of them."""
    p = problem(N, 5, 3)
    units, origin = np.array([1e-6, 0.1, 1, 50, 1e6]), np.array([0, 1, -5, 20, -1e6])
    options = {"batch_size": N, "epochs": 800, "l2": 0.1, "schedule": "constant"}
    model = fs.fit_sgd(p.X * units + origin, p.targets, **options).model
    scale = p.X.std(axis=0)
    U = (p.X - p.X.mean(axis=0)) / scale
    V = (units * scale)[:, None] * model.W
    c = model.b + (units * p.X.mean(axis=0) + origin) @ model.W
    _, grad_V, grad_c = fs.loss_and_gradient(U, p.targets, V, c, l2=0.1)
    assert np.abs(V).max() > 0.01
    assert np.abs(grad_V).max() <= 1e-9
    assert np.abs(grad_c).max() <= 1e-9


def test_the_automatic_penalty_is_one_over_the_sum_of_the_weights(problem):
    p = problem(N, 5, 3)
    for weight, total in ((None, N), (p.weight, p.weight.sum())):
        options = {"sample_weight": weight, "learning_rate": 0.1, "epochs": 3}
        automatic = fs.fit_sgd(p.X, p.targets, **options)
        assert_same_bits(automatic, fs.fit_sgd(p.X, p.targets, l2=1 / total, **options))
        other = fs.fit_sgd(p.X, p.targets, l2=2 / total, **options)
        assert np.abs(automatic.model.W - other.model.W).max() > 1e-5


def test_no_epochs_give_the_starting_weights():
    result = fs.fit_sgd(np.ones((4, 2)), [5, 5, 5, 7], epochs=0)
    np.testing.assert_array_equal(result.model.W, np.zeros((2, 2)))
    np.testing.assert_array_equal(result.model.b, np.zeros(2))
    assert result.history == {"loss": [], "learning_rate": [], "seconds": []}
    assert result.stopped == "epochs"


def test_a_rate_of_zero_leaves_the_starting_weights(problem):
    p = problem(N, 17, 3)
    result = fs.fit_sgd(p.X, p.targets, learning_rate=0, epochs=2)
    assert not result.model.W.any()
    assert not result.model.b.any()
    np.testing.assert_allclose(result.history["loss"], [np.log(3)] * 2, rtol=1e-14)


def test_one_class():
    result = fs.fit_sgd([[1.0], [2.0]], ["a", "a"], epochs=2)
    np.testing.assert_array_equal(result.model.predict([[0.0]]), ["a"])
    assert result.history["loss"] == [0, 0]


# The automatic rate


def test_the_rate_chosen_is_safe():
    """Full-batch descent at this rate never raises the loss, however the features are scaled."""
    random = np.random.default_rng(0)
    X = random.standard_normal((N, 5)) * [1e-3, 1, 30, 1e3, 1e5] + [0, 5, 0, 1e4, 0]
    for standardize in (False, True):
        options = {"batch_size": N, "momentum": 0, "l2": 0, "standardize": standardize}
        losses = fs.fit_sgd(X, np.arange(N) % 4, **options).history["loss"]
        assert (np.diff(losses) <= 1e-15).all()
        assert losses[-1] < losses[0]


def rare_giants():
    """Rows a thousand times as long as all those that the curvature is read off."""
    random = np.random.default_rng(0)
    X, y = random.standard_normal((2000, 3)), random.integers(2, size=2000)
    X[1::40] *= 1000
    return X, y


def test_the_rate_backs_off_where_the_loss_rises():
    X, y = rare_giants()
    fixed = {"l2": 0, "standardize": False, "momentum": 0.9, "epochs": 10, "schedule": "cosine"}
    # the rate that the rows looked at alone would give
    ordinary = np.delete(X, np.s_[1::40], axis=0)
    rate = fs.fit_sgd(ordinary, np.delete(y, np.s_[1::40]), **(fixed | {"epochs": 0})).learning_rate
    result = fs.fit_sgd(X, y, **fixed)
    assert result.learning_rate < rate / 3
    assert result.history["loss"][-1] < np.log(2) * 1.1
    assert max(result.history["loss"]) < np.log(2) * 1.1
    with pytest.raises(fs.DivergenceError, match="it ended at a loss of"):
        fs.fit_sgd(X, y, learning_rate=rate, **fixed)


@pytest.mark.parametrize("n_rows", [127, 128, 129, 130, 133, 257, 258])
@pytest.mark.parametrize("batch_size", [16, 128])
def test_a_few_rows_more_than_a_batch_do_no_harm(n_rows, batch_size):
    """Noise: the loss ends below that of equal probabilities, and near the least there is."""
    random = np.random.default_rng(n_rows)
    X, y = random.standard_normal((n_rows, 17)), random.integers(3, size=n_rows)
    model = fs.fit_sgd(X, y, batch_size=batch_size).model
    best = fs.fit_sgd(X, y, batch_size=n_rows, epochs=1000).model
    least, loss = (fs.loss(X, y, m.W, m.b) for m in (best, model))
    assert least < 0.98 * np.log(3)
    assert loss < least + 0.06


def test_an_epoch_that_starts_high_is_no_divergence():
    """What the last step of the epoch before did, no rate can undo."""
    random = np.random.default_rng(0)
    X, y = random.standard_normal((129, 17)), random.integers(3, size=129)
    for seed in range(5):
        losses = fs.fit_sgd(X, y, batch_size=2, l2=0, seed=seed).history["loss"]
        assert np.isfinite(losses).all()
        assert losses[-1] < losses[0]


# Same bits


@pytest.mark.parametrize("batch_size", [7, 64, 128])
def test_the_cut_into_calls_does_not_change_a_bit(problem, monkeypatch, batch_size):
    p = problem(1000, 17, 3)
    calls = []
    launch = optimizer.launch

    def counted(*arguments, **options):
        calls.append(1)
        launch(*arguments, **options)

    monkeypatch.setattr(optimizer, "launch", counted)
    results = []
    for seconds, flops, callback in (
        (1e-9, 1, None),
        (1e9, 1, None),
        (1e9, 1e18, None),
        (1e9, 1e18, lambda epoch: None),  # who wants to see each epoch
        (1e9, 1, lambda epoch: None),
    ):
        monkeypatch.setattr(optimizer, "_SECONDS_PER_CALL", seconds)
        monkeypatch.setattr(optimizer, "_FIRST_CALL_FLOPS", flops)
        options = {"batch_size": batch_size, "epochs": 2, "learning_rate": 0.1}
        results.append(fs.fit_sgd(p.X, p.targets, callback=callback, **options))
        results[-1].history["calls"] = len(calls)
        calls.clear()
    batches = -(-1000 // batch_size)
    assert results[0].history["calls"] == 2 * batches
    assert 2 < results[1].history["calls"] < 2 * batches
    assert results[2].history["calls"] == 1
    assert results[3].history["calls"] == 2
    # twice as long each, and from one epoch to the next no shorter
    assert results[4].history["calls"] == batches.bit_length() + 1
    for result in results[1:]:
        assert_same_bits(result, results[0])


def test_the_seed_alone_decides(problem):
    p = problem(1000, 17, 3)
    first, again, other = (
        fs.fit_sgd(p.X, p.targets, batch_size=10, epochs=2, seed=seed) for seed in (5, 5, 6)
    )
    assert_same_bits(again, first)
    assert first.model.W.tobytes() != other.model.W.tobytes()
    assert first.history["loss"] != other.history["loss"]
    default, zero = fs.fit_sgd(p.X, p.targets), fs.fit_sgd(p.X, p.targets, seed=np.int64(0))
    assert_same_bits(default, zero)


def test_inputs_are_unchanged(problem, unchanged):
    p = problem(N, 17, 3)
    with unchanged(p.X, p.targets):
        fs.fit_sgd(p.X, p.targets, epochs=2)


# Labels


@pytest.mark.parametrize(
    "names",
    [
        ["b", "c", "a"],
        [2**40, -5, 0],
        np.array([200, 3, 77], np.uint8),
        [2.0, -1.0, 1e300],
        [True, False],
        np.array(["bb", "a", "c"], object),
    ],
)
def test_labels_of_any_kind(problem, names):
    p = problem(N, 17, len(names))
    names = np.array(names)
    y = names[(p.X @ p.W).argmax(axis=1)]
    classes, indices = np.unique(y, return_inverse=True)
    if names.dtype == object:
        classes = classes.astype(str)
    result = fs.fit_sgd(p.X, y, epochs=10)
    assert_same_bits(result, fs.fit_sgd(p.X, indices, epochs=10))
    np.testing.assert_array_equal(result.model.classes, classes)
    assert result.model.classes.dtype == classes.dtype
    assert result.model.score(p.X, y) > 0.8
    assert_same_bits(fs.fit_sgd(p.X.tolist(), y.tolist(), epochs=10), result)


def test_feature_names_are_kept():
    model = fs.fit_sgd(np.eye(2), [0, 1], feature_names=["a", "b"], epochs=1).model
    assert model.feature_names == ("a", "b")
    assert fs.fit_sgd(np.eye(2), [0, 1], epochs=1).model.feature_names is None


# Progress


def test_progress_is_told(problem, monkeypatch):
    monkeypatch.setattr(optimizer, "_SECONDS_PER_CALL", 1e-9)
    monkeypatch.setattr(optimizer, "_FIRST_CALL_FLOPS", 1)
    p = problem(N, 17, 3)
    told = []
    result = fs.fit_sgd(
        p.X,
        p.targets,
        batch_size=60,
        epochs=2,
        progress=lambda epoch, rows, loss: told.append((epoch, rows, loss)),
    )
    first, second = result.history["loss"]
    assert told == [
        (0, 44, None),
        (0, 88, None),
        (0, 130, first),
        (1, 44, None),
        (1, 88, None),
        (1, 130, second),
    ]
    assert second < first


def test_what_progress_raises_ends_the_training(problem):
    def stop(epoch, rows, loss):
        told.append(epoch)
        raise KeyboardInterrupt

    told = []
    p = problem(N, 17, 3)
    with pytest.raises(KeyboardInterrupt):
        fs.fit_sgd(p.X, p.targets, progress=stop)
    assert told == [0]


# Errors


@pytest.mark.parametrize(
    ("dtype", "learning_rate"), [(np.float32, 1e38), (np.float64, 1e307), (np.float64, 1.5e308)]
)
def test_divergence_names_the_epoch_and_the_rate(problem, dtype, learning_rate):
    p = problem(N, 17, 3, dtype=dtype)
    message = rf"diverged in epoch 0 with learning_rate={learning_rate:g}".replace("+", r"\+")
    with pytest.raises(FloatingPointError, match=message):
        fs.fit_sgd(100 * p.X, p.targets, learning_rate=learning_rate, batch_size=10)


def test_divergence_in_a_later_epoch():
    """The penalty alone drives W apart, ten thousandfold in each step."""
    X, y = np.array([[1], [1], [2], [1]], np.float32), [0, 0, 0, 1]
    with pytest.raises(FloatingPointError, match=r"diverged in epoch [1-9]\d* with learning_rate"):
        fs.fit_sgd(X, y, learning_rate=1.0, l2=1e4, batch_size=4, epochs=30)


def test_divergence_of_the_biases_alone():
    for seed in range(6):  # in some orders of the rows, the last step alone overflows
        with pytest.raises(FloatingPointError, match=r"diverged in epoch 0 .*=1e\+39"):
            fs.fit_sgd(
                np.zeros((3, 0), np.float32),
                [0, 1, 1],
                learning_rate=1e39,
                batch_size=2,
                epochs=1,
                seed=seed,
            )


X43, Y4 = np.arange(12.0).reshape(4, 3), [0, 1, 1, 0]
NAN, INFINITE = X43.copy(), X43.copy()
NAN[2, 1], INFINITE[3, 0] = np.nan, np.inf

FIT_ERRORS = [
    ({"X": X43[0]}, ValueError, r"X must have shape \(n_samples, n_features\), got \(3,\)"),
    ({"X": X43[None]}, ValueError, r"X must have shape .* got \(1, 4, 3\)"),
    ({"X": [[0, 1, 2], [0, None, 1]]}, TypeError, r"got dtype object: X\[1, 1\] is None"),
    ({"X": X43.astype(object)}, TypeError, "X must hold real numbers, got dtype object"),
    ({"X": X43.astype(complex)}, TypeError, "X must hold real numbers, got dtype complex128"),
    ({"X": X43.astype(str)}, TypeError, "X must hold real numbers, got dtype <U"),
    ({"X": np.ma.array(X43, mask=X43 > 5)}, TypeError, "X has masked entries"),
    ({"X": NAN}, ValueError, r"X\[2, 1\] is nan; X must be finite"),
    ({"X": INFINITE}, ValueError, r"X\[3, 0\] is inf; X must be finite"),
    ({"X": NAN, "learning_rate": 0.1}, ValueError, r"X\[2, 1\] is nan; X must be finite"),
    ({"X": INFINITE, "learning_rate": 0.1}, ValueError, r"X\[3, 0\] is inf; X must be finite"),
    ({"X": X43 * 1e200}, ValueError, "column 0 of X has a variance beyond float64"),
    ({"X": X43 * [1, 1e180, 1]}, ValueError, "column 1 of X has a variance beyond float64"),
    ({"X": X43 * 1e200, "standardize": False}, ValueError, "squares of X overflow float64"),
    (
        {"X": np.empty((0, 3)), "y": []},
        ValueError,
        r"X must have at least one row, got shape \(0, 3\)",
    ),
    ({"y": [0, 1, 1]}, ValueError, "y must have one label per row of X, got 3 for 4"),
    ({"y": [[0, 1]] * 3}, ValueError, r"y must have shape \(4,\) or \(4, 2\), got \(3, 2\)"),
    ({"y": np.empty((4, 0))}, ValueError, r"y must have shape \(4,\) or \(4, 0\), got \(4, 0\)"),
    ({"y": [[0, 1], [1, 0], [1, 0], [-1, 0]]}, ValueError, r"y\[3, 0\] = -1"),
    ({"y": [["a", "b"]] * 4}, TypeError, "y must hold real numbers, got dtype <U1"),
    ({"y": [[0], [1], [1], [0]]}, ValueError, r"y is a column, of shape \(4, 1\): labels have"),
    ({"y": [["a"]] * 4}, ValueError, r"y is a column, of shape \(4, 1\)"),
    ({"y": [[1.0]] * 4, "classes": [0, 1]}, ValueError, r"y is a column, of shape \(4, 1\)"),
    ({"y": [0.5, 1.0, 2.0, 3.0]}, ValueError, r"y\[0\] = 0.5 looks continuous"),
    ({"y": np.ma.array(Y4, mask=[0, 0, 1, 0])}, TypeError, "y has masked entries"),
    ({"y": ["a", "b", np.nan, "a"]}, TypeError, "y must hold numbers or strings, not nan and stri"),
    ({"y": ["1", 1, 1, "2"]}, TypeError, "y must hold numbers or strings, not 1 and strings"),
    ({"y": np.full((4, 2), 1e308)}, ValueError, "targets in y sum to more than a float64 can hold"),
    (
        {"y": np.full((4, 2), 1e38), "X": X43.astype(np.float32)},
        ValueError,
        "targets in y sum to more than a float32 can hold",
    ),
    ({"X": X43 * [1, 1, 1e-170]}, ValueError, "column 2 of X has a standard deviation that is too"),
    (
        {"X": (X43 * [1, 1e-38, 1]).astype(np.float32)},
        ValueError,
        "column 1 of X has a standard deviation of 3.4e-38 that is too small for weights in float",
    ),
    (
        {"X": X43 * [1, 1, 1e40], "dtype": np.float32},
        ValueError,
        "column 2 .* of 3.4e.40 that is too large for weights in float32",
    ),
    ({"y": 1}, ValueError, r"y must be one-dimensional, got shape \(\)"),
    ({"y": [0, None, 1, 0]}, TypeError, r"y must hold .*, got dtype object: y\[1\] is None"),
    ({"y": [b"a", b"b", b"a", b"b"]}, TypeError, r"y must hold numbers or strings, got dtype \|S1"),
    ({"y": [0j, 1, 1, 0]}, TypeError, "y must hold numbers or strings, got dtype complex128"),
    ({"y": [0, 1, np.nan, 0]}, ValueError, r"y\[2\] is nan; y must be finite"),
    ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
    ({"batch_size": 2.0}, TypeError, "batch_size must be an integer, got 2.0"),
    ({"batch_size": True}, TypeError, "batch_size must be an integer, got True"),
    ({"epochs": -1}, ValueError, "epochs must be at least 0, got -1"),
    ({"epochs": 10**400}, ValueError, "epochs must be at most 2147483647, got an integer of 1329"),
    ({"epochs": -(10**5000)}, ValueError, "epochs must be at least 0, got an integer of"),
    ({"l2": 10**400}, ValueError, "l2 must be a number that a float64 can hold"),
    ({"epochs": "3"}, ValueError, "epochs must be 'auto' or an integer, got '3'"),
    ({"learning_rate": -0.1}, ValueError, "learning_rate must be at least 0 and finite, got -0.1"),
    ({"learning_rate": np.nan}, ValueError, "learning_rate must be at least 0 and finite"),
    ({"learning_rate": "fast"}, ValueError, "learning_rate must be 'auto' or a number, got 'fast'"),
    ({"learning_rate": None}, ValueError, "learning_rate must be 'auto' or a number, got None"),
    ({"learning_rate": "cosine"}, ValueError, "number: 'cosine' is a schedule, .* schedule='cosi"),
    ({"learning_rate": [0.1]}, TypeError, r"learning_rate must be a number, got \[0.1\]"),
    ({"momentum": 1.0}, ValueError, r"momentum must be in \[0, 1\) and finite, got 1.0"),
    ({"momentum": -0.1}, ValueError, r"momentum must be in \[0, 1\) and finite, got -0.1"),
    ({"momentum": "x"}, TypeError, "momentum must be a number, got 'x'"),
    ({"l2": -1e-9}, ValueError, "l2 must be at least 0 and finite"),
    ({"l2": np.inf}, ValueError, "l2 must be at least 0 and finite"),
    ({"l2": "some"}, ValueError, "l2 must be 'auto' or a number, got 'some'"),
    ({"label_smoothing": 1.1}, ValueError, r"label_smoothing must be in \[0, 1\]"),
    ({"average": -0.1}, ValueError, r"average must be in \[0, 1\]"),
    ({"average": True}, TypeError, "average must be a number, got True"),
    ({"schedule": "step"}, ValueError, "schedule must be one of 'auto', 'constant', 'linear', "),
    ({"standardize": 1}, TypeError, "standardize must be True or False, got 1"),
    ({"shuffle": "no"}, TypeError, "shuffle must be True or False, got 'no'"),
    ({"nesterov": None}, TypeError, "nesterov must be True or False, got None"),
    ({"sample_weight": [1, 1]}, ValueError, r"sample_weight must have shape \(4,\), got \(2,\)"),
    ({"sample_weight": [1, 1, -1, 1]}, ValueError, r"sample_weight\[2\] = -1.0 must be finite"),
    ({"sample_weight": [0] * 4}, ValueError, "^sample_weight sums to zero"),
    ({"dtype": np.float16}, ValueError, "dtype must be float32 or float64"),
    ({"dtype": "number"}, ValueError, "dtype must be float32 or float64, got 'number'"),
    ({"patience": 0, "validation_data": (X43, Y4)}, ValueError, "patience must be at least 1"),
    ({"patience": 2}, ValueError, "patience needs validation_data"),
    ({"validation_data": X43}, TypeError, r"validation_data must be \(X, y\) or \(X, y, sample"),
    ({"validation_data": (X43[:, :2], Y4)}, ValueError, "validation_data: X has 2 features, 3 wer"),
    ({"validation_data": (X43[:0], [])}, ValueError, "validation_data: X must have at least one r"),
    ({"validation_data": (X43, [0, 1, 2, 0])}, ValueError, r"validation_data: y\[2\] = .*2.* is n"),
    ({"validation_data": (NAN, Y4)}, ValueError, r"validation_data: X\[2, 1\] is nan; X must be"),
    ({"validation_data": (X43, [0, 1, np.nan, 0])}, ValueError, r"validation_data: y\[2\] is nan"),
    ({"validation_data": (X43, [[0]] * 4)}, ValueError, "validation_data: y is a column"),
    (
        {"validation_data": (X43, Y4, [0] * 4)},
        ValueError,
        "validation_data: sample_weight sums to z",
    ),
    (
        {"validation_data": (X43, Y4, [1] * 3)},
        ValueError,
        "validation_data: sample_weight must have",
    ),
    ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
    ({"seed": None}, TypeError, "seed must be an integer, got None"),
    ({"seed": np.array([1, 2])}, TypeError, "seed must be an integer"),
    ({"feature_names": ["a", "b"]}, ValueError, "feature_names must hold 3 names, got 2"),
]


@pytest.mark.parametrize(("change", "exception", "message"), FIT_ERRORS)
def test_errors(change, exception, message, unchanged):
    told = []
    arguments = {"X": X43, "y": Y4, "progress": lambda *news: told.append(news)} | change
    with unchanged(arguments["X"]), pytest.raises(exception, match=message):
        fs.fit_sgd(**arguments)
    assert told == []  # nothing was trained before the check


def test_integers_of_any_size_where_they_have_a_meaning():
    plain = fs.fit_sgd(X43, Y4, batch_size=4, epochs=2)
    huge = fs.fit_sgd(X43, Y4, batch_size=10**400, epochs=2)
    assert_same_bits(plain, huge)
    fs.fit_sgd(X43, Y4, seed=10**400, patience=10**400, validation_data=(X43, Y4), epochs=2)


def test_decimals_may_name_classes_that_are_listed():
    model = fs.fit_sgd(X43, [0.5, 1.5, 1.5, 0.5], classes=[0.5, 1.5], epochs=1).model
    assert model.classes.tolist() == [0.5, 1.5]


def test_one_class_may_have_a_column_of_weights():
    assert fs.fit_sgd(X43, np.ones((4, 1)), classes=["all"], epochs=1).model.W.shape == (3, 1)


def test_constant_columns_of_any_size_are_no_error():
    X = np.c_[X43, np.full((4, 4), [0.0, 1e-200, 0.1, 1e100])]
    fs.fit_sgd(X, Y4, epochs=1)


# Data


def split(X, y, n_test):
    """Shuffled (X, y) to train on and to test on."""
    order = np.random.default_rng(0).permutation(len(y))
    test, train = order[:n_test], order[n_test:]
    return (X[train], y[train]), (X[test], y[test])


def test_digits():
    datasets = pytest.importorskip("sklearn.datasets")
    train, test = split(*datasets.load_digits(return_X_y=True), 500)
    model = fs.fit_sgd(*train, learning_rate=0.003, batch_size=32, momentum=0.9).model
    assert model.score(*test) > 0.95


def test_mnist(data):
    X, y = data("mnist10k")
    accuracy = []
    for pixels in (X, X / np.float32(255)):
        train, test = split(pixels, y, 2000)
        model = fs.fit_sgd(*train, epochs=3, momentum=0.9).model
        assert model.W.dtype == np.float32
        accuracy.append(model.score(*test))
    assert min(accuracy) > 0.89


def test_letter(data):
    train, test = split(*data("letter"), 4000)
    model = fs.fit_sgd(*train, epochs=5, momentum=0.9).model
    np.testing.assert_array_equal(model.classes, list("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
    assert model.score(*test) > 0.6


@pytest.mark.parametrize(("options", "most"), [({}, 6), ({"average": 0.5}, 7)])
def test_the_memory_of_many_weights(options, most):
    """The weights, their velocity, two snapshots to back off to, and the model at the end."""
    D, K = 1500, 400
    X = np.random.default_rng(0).standard_normal((16, D), dtype=np.float32)

    def fit():
        y = np.arange(16)
        return fs.fit_sgd(X, y, classes=np.arange(K), epochs=3, batch_size=8, **options)

    fit()  # compiles
    tracemalloc.start()
    try:
        result = fit()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < most * result.model.W.nbytes
