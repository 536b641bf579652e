"""Mini-batch SGD, against a few lines of NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest

import fastsoftmax as fs
from fastsoftmax import reference, training

N = 130


def numpy_sgd(X, labels, *, batch_size, epochs, learning_rate, momentum=0.0, l2=0.0, seed=0):
    """(W, b, mean loss of each epoch), as fit_sgd documents its steps."""
    counts = np.bincount(labels)
    W, b = np.zeros((X.shape[1], len(counts))), np.log(counts / len(X))
    velocity_W, velocity_b = np.zeros_like(W), np.zeros_like(b)
    random = np.random.default_rng(seed)
    losses = []
    for _ in range(epochs):
        order = random.permutation(len(X))
        total = 0.0
        for start in range(0, len(X), batch_size):
            batch = order[start : start + batch_size]
            loss, grad_W, grad_b = reference.loss_and_gradient(X[batch], labels[batch], W, b)
            total += loss * len(batch)
            velocity_W = momentum * velocity_W + grad_W + l2 * W
            velocity_b = momentum * velocity_b + grad_b
            W, b = W - learning_rate * velocity_W, b - learning_rate * velocity_b
        losses.append(total / len(X))
    return W, b, losses


def assert_same_bits(result, other):
    for array, twin in ((result.model.W, other.model.W), (result.model.b, other.model.b)):
        assert array.dtype == twin.dtype
        assert array.tobytes() == twin.tobytes()
    assert result.history["loss"] == other.history["loss"]


@pytest.mark.parametrize("batch_size", [1, 7, 64, 65, 128, N, N + 1, 10 * N])
@pytest.mark.parametrize(("momentum", "l2"), [(0.0, 0.0), (0.9, 0.0), (0.0, 0.3), (0.9, 0.3)])
def test_an_epoch_is_that_of_numpy(problem, batch_size, momentum, l2):
    p = problem(N, 17, 3)
    options = {
        "batch_size": batch_size,
        "epochs": 1,
        "learning_rate": 0.1,
        "momentum": momentum,
        "l2": l2,
        "seed": 3,
    }
    W, b, losses = numpy_sgd(p.X, p.targets, **options)
    result = fs.fit_sgd(p.X, p.targets, **options)
    np.testing.assert_allclose(result.model.W, W, rtol=0, atol=1e-13)
    np.testing.assert_allclose(result.model.b, b, rtol=0, atol=1e-13)
    np.testing.assert_allclose(result.history["loss"], losses, rtol=1e-13)
    assert result.learning_rate == 0.1


@pytest.mark.parametrize(("D", "K"), [(0, 3), (1, 2), (3, 10), (64, 33)])
def test_several_epochs_are_those_of_numpy(problem, D, K):
    p = problem(1000, D, K)
    options = {"batch_size": 33, "epochs": 3, "learning_rate": 0.05, "momentum": 0.5, "l2": 0.01}
    W, b, losses = numpy_sgd(p.X, p.targets, **options)
    result = fs.fit_sgd(p.X, p.targets, **options)
    np.testing.assert_allclose(result.model.W, W, rtol=0, atol=1e-12)
    np.testing.assert_allclose(result.model.b, b, rtol=0, atol=1e-12)
    np.testing.assert_allclose(result.history["loss"], losses, rtol=1e-12)
    assert len(result.history["seconds"]) == 3


def test_a_large_gradient_in_a_large_batch(problem):
    """Too large for one partial gradient per 64 rows of a batch."""
    p = problem(600, 1000, 500)
    options = {"batch_size": 600, "epochs": 1, "learning_rate": 0.1}
    labels = np.unique(p.targets, return_inverse=True)[1]
    W, b, _ = numpy_sgd(p.X, labels, **options)
    result = fs.fit_sgd(p.X, p.targets, **options)
    np.testing.assert_allclose(result.model.W, W, rtol=0, atol=1e-13)
    np.testing.assert_allclose(result.model.b, b, rtol=0, atol=1e-13)


def test_float32_is_as_accurate_as_numpy(problem):
    p = problem(2000, 17, 3, dtype=np.float32)
    counts = np.bincount(p.targets)
    truth_W, truth_b, (truth_loss,) = numpy_sgd(
        p.X.astype(np.float64), p.targets, batch_size=50, epochs=1, learning_rate=0.1
    )
    W, b = np.zeros((17, 3), np.float32), np.log(counts / 2000).astype(np.float32)
    order = np.random.default_rng(0).permutation(2000)
    loss = reference.baseline_sgd_epoch(p.X, p.targets, W, b, order, 50, np.float32(0.1))
    assert W.dtype == np.float32
    result = fs.fit_sgd(p.X, p.targets, batch_size=50, epochs=1, learning_rate=0.1)
    assert result.model.W.dtype == result.model.b.dtype == np.float32
    for actual, plain, truth in (
        (result.model.W, W, truth_W),
        (result.model.b, b, truth_b),
        (result.history["loss"][0], loss, truth_loss),
    ):
        scale = np.abs(truth).max()
        assert np.abs(actual - truth).max() <= 1.5 * np.abs(plain - truth).max() + 1e-7 * scale


# Optima and starting points


@pytest.mark.parametrize("X", [np.empty((100, 0)), np.zeros((100, 4))])
def test_intercepts_alone_are_the_log_class_frequencies(X):
    y = np.repeat([0, 1, 2], (50, 20, 30))
    result = fs.fit_sgd(X, y, batch_size=100, epochs=50, momentum=0.9)
    np.testing.assert_allclose(result.model.b, np.log([0.5, 0.2, 0.3]), rtol=1e-13)
    assert not result.model.W.any()
    entropy = -(0.5 * np.log(0.5) + 0.2 * np.log(0.2) + 0.3 * np.log(0.3))
    np.testing.assert_allclose(result.history["loss"], [entropy] * 50, rtol=1e-14)


def test_full_batches_reach_the_optimum(problem):
    """Where the gradient of the penalised loss is zero."""
    p = problem(N, 5, 3)
    model = fs.fit_sgd(p.X, p.targets, batch_size=N, epochs=2000, momentum=0.8, l2=0.1).model
    _, grad_W, grad_b = fs.loss_and_gradient(p.X, p.targets, model.W, model.b, l2=0.1)
    assert np.abs(model.W).max() > 0.01
    assert np.abs(grad_W).max() <= 1e-14
    assert np.abs(grad_b).max() <= 1e-14


def test_no_epochs_give_the_starting_weights():
    result = fs.fit_sgd(np.ones((4, 2)), [5, 5, 5, 7], epochs=0)
    np.testing.assert_array_equal(result.model.W, np.zeros((2, 2)))
    np.testing.assert_allclose(result.model.b, np.log([0.75, 0.25]), rtol=1e-15)
    assert result.history == {"loss": [], "seconds": []}


def test_a_rate_of_zero_leaves_the_starting_weights(problem):
    p = problem(N, 17, 3)
    model = fs.fit_sgd(p.X, p.targets, learning_rate=0, epochs=2).model
    assert not model.W.any()
    np.testing.assert_allclose(model.b, np.log(np.bincount(p.targets) / N), rtol=1e-15)


def test_one_class():
    result = fs.fit_sgd([[1.0], [2.0]], ["a", "a"], epochs=2)
    np.testing.assert_array_equal(result.model.predict([[0.0]]), ["a"])
    assert result.history["loss"] == [0, 0]


@pytest.mark.parametrize("l2", [0.0, 2.0])
def test_the_rate_chosen_is_one_over_the_curvature_bound(problem, l2):
    p = problem(5000, 17, 3)
    result = fs.fit_sgd(p.X, p.targets, l2=l2, epochs=0)
    bound = ((p.X**2).sum(axis=1) + 1).mean() / 2 + l2
    np.testing.assert_allclose(result.learning_rate, 1 / bound, rtol=1e-13)


def test_the_rate_chosen_is_safe():
    """A full-batch step at this rate never raises the loss, however the features are scaled."""
    random = np.random.default_rng(0)
    X = random.standard_normal((N, 5)) * [1e-3, 1, 30, 1e3, 1e5] + [0, 5, 0, 1e4, 0]
    losses = fs.fit_sgd(X, np.arange(N) % 4, batch_size=N, epochs=30).history["loss"]
    assert (np.diff(losses) <= 0).all()
    assert losses[-1] < losses[0]


# Same bits


@pytest.mark.parametrize("batch_size", [7, 64, 128])
def test_the_cut_into_calls_does_not_change_a_bit(problem, monkeypatch, batch_size):
    p = problem(1000, 17, 3)
    calls = []
    launch = training.launch
    monkeypatch.setattr(training, "launch", lambda *args: calls.append(1) or launch(*args))
    results = []
    for seconds, flops in ((1e-9, 1), (1e9, 1), (1e9, 1e18)):
        monkeypatch.setattr(training, "_SECONDS_PER_CALL", seconds)
        monkeypatch.setattr(training, "_FIRST_CALL_FLOPS", flops)
        results.append(
            fs.fit_sgd(p.X, p.targets, batch_size=batch_size, epochs=2, momentum=0.9, l2=0.1)
        )
        results[-1].history["calls"] = len(calls)
        calls.clear()
    batches = -(-1000 // batch_size)
    assert results[0].history["calls"] == 2 * batches
    assert 2 < results[1].history["calls"] < 2 * batches
    assert results[2].history["calls"] == 2
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
        [2.5, -1.0, 1e300],
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
    monkeypatch.setattr(training, "_SECONDS_PER_CALL", 1e-9)
    monkeypatch.setattr(training, "_FIRST_CALL_FLOPS", 1)
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
        (0, 60, None),
        (0, 120, None),
        (0, 130, first),
        (1, 60, None),
        (1, 120, None),
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
    ({"X": X43.astype(object)}, TypeError, "X must hold real numbers, got dtype object"),
    ({"X": X43.astype(complex)}, TypeError, "X must hold real numbers, got dtype complex128"),
    ({"X": X43.astype(str)}, TypeError, "X must hold real numbers, got dtype <U"),
    ({"X": np.ma.array(X43, mask=X43 > 5)}, TypeError, "X has masked entries"),
    ({"X": NAN}, ValueError, r"X\[2, 1\] is nan; X must be finite"),
    ({"X": INFINITE}, ValueError, r"X\[3, 0\] is inf; X must be finite"),
    ({"X": NAN, "learning_rate": 0.1}, ValueError, r"X\[2, 1\] is nan; X must be finite"),
    ({"X": INFINITE, "learning_rate": 0.1}, ValueError, r"X\[3, 0\] is inf; X must be finite"),
    ({"X": X43 * 1e200}, ValueError, "squares of X overflow float64"),
    ({"X": np.empty((0, 3)), "y": []}, ValueError, "one label per row of X, at least one: 0 for 0"),
    ({"y": [0, 1, 1]}, ValueError, "y must have one label per row of X, at least one: 3 for 4"),
    ({"y": [[0]] * 4}, ValueError, r"y must be one-dimensional, got shape \(4, 1\)"),
    ({"y": 1}, ValueError, r"y must be one-dimensional, got shape \(\)"),
    ({"y": [0, None, 1, 0]}, TypeError, "y must hold numbers or strings, got dtype object"),
    ({"y": [b"a", b"b", b"a", b"b"]}, TypeError, r"y must hold numbers or strings, got dtype \|S1"),
    ({"y": [0j, 1, 1, 0]}, TypeError, "y must hold numbers or strings, got dtype complex128"),
    ({"y": [0, 1, np.nan, 0]}, ValueError, r"y\[2\] is nan; y must be finite"),
    ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
    ({"batch_size": 2.0}, TypeError, "batch_size must be an integer, got 2.0"),
    ({"batch_size": True}, TypeError, "batch_size must be an integer, got True"),
    ({"epochs": -1}, ValueError, "epochs must be at least 0, got -1"),
    ({"epochs": "3"}, TypeError, "epochs must be an integer, got '3'"),
    ({"learning_rate": -0.1}, ValueError, "learning_rate must be at least 0 and finite, got -0.1"),
    ({"learning_rate": np.nan}, ValueError, "learning_rate must be at least 0 and finite"),
    ({"learning_rate": "fast"}, TypeError, "learning_rate must be a number, got 'fast'"),
    ({"momentum": 1.0}, ValueError, "momentum must be below 1"),
    ({"momentum": -0.1}, ValueError, r"momentum must be in \[0, 1\]"),
    ({"momentum": "x"}, TypeError, "momentum must be a number, got 'x'"),
    ({"l2": -1e-9}, ValueError, "l2 must be at least 0 and finite"),
    ({"l2": np.inf}, ValueError, "l2 must be at least 0 and finite"),
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


def test_sparse_X_is_a_type_error():
    sparse = pytest.importorskip("scipy.sparse")
    for X in (sparse.csr_array(X43), sparse.coo_matrix(X43)):
        with pytest.raises(TypeError, match="X is sparse; a dense array is needed"):
            fs.fit_sgd(X, Y4)


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
        assert model.W.dtype == (np.float64 if pixels is X else np.float32)
        accuracy.append(model.score(*test))
    assert min(accuracy) > 0.89


def test_letter(data):
    train, test = split(*data("letter"), 4000)
    model = fs.fit_sgd(*train, epochs=5, momentum=0.9).model
    np.testing.assert_array_equal(model.classes, list("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
    assert model.score(*test) > 0.6
