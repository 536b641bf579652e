"""Losses, gradients and predictions of the linear model, against plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special

import fastsoftmax as fs
from fastsoftmax import reference

EPS = np.finfo(np.float64).eps
PREDICTIONS = ["decision_function", "predict_proba", "predict_log_proba", "predict"]


def error(actual, truth, size=None):
    """The largest error, relative to `size`: by default, to the largest magnitude of the truth."""
    actual, truth = np.asarray(actual), np.asarray(truth)
    assert actual.shape == truth.shape
    size = np.abs(truth).max(initial=0) if size is None else size
    return np.abs(actual - truth).max(initial=0) / (size or 1)


def assert_as_accurate(actual, plain, truth):
    """float32 results: at most 1.5 times the error of plain float32 NumPy, plus 1e-7."""
    assert np.asarray(actual).dtype == np.float32
    assert error(actual, truth) <= 1.5 * error(plain, truth) + 1e-7


def assert_is_reference(p, *, b=True, tolerance=1e-14, **options):
    """loss_and_gradient and loss are the reference's, and agree with cross_entropy."""
    bias = p.b if b else None
    truth = reference.loss_and_gradient(p.X, p.targets, p.W, bias, **options)
    result = fs.loss_and_gradient(p.X, p.targets, p.W, bias, **options)
    for actual, true in zip(result[: 2 + b], truth[: 2 + b], strict=True):
        assert error(actual, true) <= tolerance
    assert b or result[2] is None
    np.testing.assert_allclose(fs.loss(p.X, p.targets, p.W, bias, **options), result[0], rtol=1e-14)
    l2 = options.pop("l2", 0.0)
    Z = fs.decision_function(p.X, p.W, bias)
    from_logits, dZ = fs.cross_entropy_and_gradient(Z, p.targets, **options)
    np.testing.assert_allclose(from_logits + l2 / 2 * (p.W**2).sum(), result[0], rtol=1e-14)
    assert error(p.X.T @ dZ + l2 * p.W, result[1]) <= tolerance


def logits(X, W, b):
    return X @ W + b


def predict_proba(X, W, b):
    return reference.softmax(X @ W + b)


def predict_log_proba(X, W, b):
    return reference.log_softmax(X @ W + b)


TWINS = {
    "decision_function": logits,
    "predict_proba": predict_proba,
    "predict_log_proba": predict_log_proba,
    "predict": lambda X, W, b: (X @ W + b).argmax(axis=1),
}

SHAPES = [
    (1, 0, 1),
    (1, 1, 1),
    (1, 3, 2),
    (2, 1, 3),
    (2, 17, 10),
    (63, 3, 33),
    (63, 64, 2),
    (64, 1, 2),
    (64, 64, 10),
    (64, 130, 1),
    (65, 0, 3),
    (65, 17, 33),
    (65, 130, 10),
    (130, 3, 3),
    (130, 64, 33),
    (130, 17, 1),
    (1000, 3, 10),
    (1000, 17, 3),
    (1000, 130, 33),
    (4200, 5, 2),  # more than one block of 64 rows in each of 64 chunks
]


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize(("N", "D", "K"), SHAPES)
def test_ragged_shapes(problem, N, D, K, soft):
    p = problem(N, D, K, soft=soft)
    assert_is_reference(p)
    assert_is_reference(
        p, sample_weight=p.weight, label_smoothing=0.1, l2=0.5, reduction="sum", tolerance=4e-14
    )


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("l2", [0.0, 0.7])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("b", [False, True])
@pytest.mark.parametrize("soft", [False, True])
def test_every_option(problem, soft, b, weighted, label_smoothing, l2, reduction):
    p = problem(11, 5, 4, soft=soft)
    options = {"label_smoothing": label_smoothing, "l2": l2, "reduction": reduction}
    options["sample_weight"] = p.weight if weighted else None
    assert_is_reference(p, b=b, **options)

    result = fs.loss_and_gradient(p.X, p.targets, p.W, p.b if b else None, **options)
    theta = np.append(p.W, p.b if b else [])
    gradient = np.append(result[1], result[2] if b else [])
    step = 1e-5

    def loss(theta):
        W, bias = theta[: p.W.size].reshape(p.W.shape), theta[p.W.size :]
        return fs.loss(p.X, p.targets, W, bias if b else None, **options)

    differences = [
        (loss(theta + e) - loss(theta - e)) / (2 * step) for e in step * np.eye(theta.size)
    ]
    assert error(gradient, np.array(differences)) <= 1e-9


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize(("weighted", "label_smoothing"), [(False, 0.0), (True, 0.1)])
def test_loss_of_each_row(problem, soft, weighted, label_smoothing):
    p = problem(130, 17, 10, soft=soft)
    weight = p.weight if weighted else None
    options = {"sample_weight": weight, "label_smoothing": label_smoothing, "reduction": "none"}
    losses = fs.loss(p.X, p.targets, p.W, p.b, **options)
    truth = reference.cross_entropy_and_gradient(p.X @ p.W + p.b, p.targets, **options)[0]
    assert losses.shape == (130,)
    assert error(losses, truth) <= 1e-14
    options["reduction"] = "sum"
    np.testing.assert_allclose(
        fs.loss(p.X, p.targets, p.W, p.b, **options), losses.sum(), rtol=1e-14
    )


# Gradients too large to be kept once per chunk of rows take another path: slabs of features.


@pytest.mark.parametrize(
    ("N", "D", "K", "soft"),
    [
        (700, 768, 300, False),
        (700, 768, 300, True),
        (1, 1400, 100, False),
        (513, 600, 257, False),
        (66, 33, 4200, True),
    ],
)
def test_large_gradients(problem, N, D, K, soft):
    p = problem(N, D, K, soft=soft)
    assert_is_reference(p, sample_weight=p.weight, label_smoothing=0.1, l2=0.01)


def test_on_both_sides_of_what_counts_as_large(problem):
    from fastsoftmax.kernels.tiles.sizes import partials_fit

    shapes = [(512, 64), (513, 64), (512, 65), (131072, 1), (131073, 1)]
    assert [partials_fit(130, D, K, 8) for D, K in shapes] == [True, False, False, True, False]
    assert partials_fit(1 << 15, 512, 256, 8)  # chunks long enough for the cost of many classes
    for D, K in shapes:
        assert_is_reference(problem(130, D, K))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_large_gradient_of_float32(problem, reduction):
    p = problem(1100, 768, 200, dtype=np.float32)
    options = {"reduction": reduction, "sample_weight": p.weight, "l2": 0.1}
    plain = reference.loss_and_gradient(*p[:4], **options)
    truth = reference.loss_and_gradient(*p.astype(np.float64)[:4], **options)
    ours = fs.loss_and_gradient(*p[:4], **options)
    for result in zip(ours, plain, truth, strict=True):
        assert_as_accurate(*result)


# float32


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize(
    ("N", "D", "K"), [(200_000, 4, 3), (130, 17, 10), (1000, 130, 33), (64, 3000, 2), (65, 1, 1)]
)
def test_float32_is_as_accurate_as_numpy(problem, N, D, K, soft):
    """The rule is held by the worst of a few draws: two numbers of one draw may be lucky.

    The gradient of b is a sum of residuals, each of which is rounded: whoever adds them up, and
    however, it may be off by 6e-8 of the sum of their magnitudes. It is that the error is held
    against, since the sum itself may nearly cancel: to a seventeenth in one of these draws.
    """
    draws = range(5) if N * D < 500_000 else range(1)
    for options in ({}, {"reduction": "sum", "label_smoothing": 0.1, "l2": 0.5}):
        errors = []
        for seed in draws:
            p = problem(N, D, K, soft=soft, dtype=np.float32, seed=seed)
            if options:
                options["sample_weight"] = p.weight
            plain = reference.loss_and_gradient(*p[:4], **options)
            double = p.astype(np.float64)
            truth = reference.loss_and_gradient(*double[:4], **options)
            ours = fs.loss_and_gradient(*p[:4], **options)
            assert {result.dtype for result in ours} == {np.dtype(np.float32)}
            ours, plain = (*ours, fs.loss(*p[:4], **options)), (*plain, plain[0])
            truth = (*truth, truth[0])
            of_logits = {name: options[name] for name in options if name != "l2"}
            Z = logits(double.X, double.W, double.b)
            _, dZ = reference.cross_entropy_and_gradient(Z, p.targets, **of_logits)
            sizes = None, None, np.abs(dZ).sum(axis=0).max(), None
            four = zip(ours, plain, truth, sizes, strict=True)
            errors.append([(error(o, t, size), error(q, t, size)) for o, q, t, size in four])
        worst_ours, worst_plain = np.max(errors, axis=0).T
        assert (worst_ours <= 1.5 * worst_plain + 1e-7).all(), (worst_ours, worst_plain)


@pytest.mark.parametrize(("N", "D", "K"), [(200_000, 4, 3), (1000, 130, 33), (65, 3000, 10)])
@pytest.mark.parametrize("name", PREDICTIONS[:3])
def test_float32_predictions_are_as_accurate_as_numpy(problem, name, N, D, K):
    p = problem(N, D, K, dtype=np.float32)
    double = p.astype(np.float64)
    plain, truth = TWINS[name](p.X, p.W, p.b), TWINS[name](double.X, double.W, double.b)
    assert_as_accurate(getattr(fs, name)(p.X, p.W, p.b), plain, truth)


def test_float32_gradient_of_rows_far_from_zero(problem):
    """Features with a large mean: sums of many residuals nearly cancel."""
    p = problem(100_000, 3, 2, dtype=np.float32)
    p = p._replace(X=p.X + np.float32(100), W=p.W / 100)
    plain = reference.loss_and_gradient(*p[:4])
    truth = reference.loss_and_gradient(*p.astype(np.float64)[:4])
    for result in zip(fs.loss_and_gradient(*p[:4]), plain, truth, strict=True):
        assert_as_accurate(*result)


# Properties


@pytest.mark.parametrize("soft", [False, True])
def test_the_gradient_sums_to_zero_over_the_classes(problem, soft):
    p = problem(130, 17, 10, soft=soft)
    if soft:
        p = p._replace(targets=reference.softmax(p.targets))  # s = 1
    for options in ({}, {"label_smoothing": 0.1, "sample_weight": p.weight}):
        _, grad_W, grad_b = fs.loss_and_gradient(*p[:4], **options)
        assert np.abs(grad_W.sum(axis=1)).max() <= 1e-15
        assert abs(grad_b.sum()) <= 1e-15
        assert np.abs(grad_W).max() > 0.01


def test_shift_invariance(problem):
    """A vector added to the weights of every class, and a number to every bias, changes nothing."""
    p = problem(130, 17, 10)
    shift = np.linspace(-3, 3, 17)[:, None]
    loss, grad_W, grad_b = fs.loss_and_gradient(p.X, p.targets, p.W, p.b)
    shifted = fs.loss_and_gradient(p.X, p.targets, p.W + shift, p.b - 50)
    assert error(shifted[0], loss) <= 1e-14
    assert error(shifted[1], grad_W) <= 1e-13
    assert error(shifted[2], grad_b) <= 1e-13
    P = fs.predict_proba(p.X, p.W, p.b)
    assert error(fs.predict_proba(p.X, p.W + shift, p.b - 50), P) <= 1e-13


def test_weights_are_repeated_rows(problem):
    p = problem(130, 17, 10)
    times = np.arange(130) % 4
    weighted = fs.loss_and_gradient(*p[:4], sample_weight=times)
    repeated = fs.loss_and_gradient(p.X.repeat(times, 0), p.targets.repeat(times), p.W, p.b)
    for result, truth in zip(weighted, repeated, strict=True):
        assert error(result, truth) <= 1e-14


def test_constant_weights_leave_the_mean(problem):
    p = problem(130, 17, 10)
    truth = fs.loss_and_gradient(*p[:4])
    for weight in (np.full(130, 2.0), np.broadcast_to(2.0, 130), np.full(130, 2, np.int8)):
        weighted = fs.loss_and_gradient(*p[:4], sample_weight=weight)
        for result, true in zip(weighted, truth, strict=True):
            assert error(result, true) <= 1e-15
        np.testing.assert_allclose(fs.loss(*p[:4], sample_weight=weight), truth[0], rtol=1e-15)


def test_intercepts_alone_reach_the_log_class_frequencies():
    frequencies = np.array([0.5, 0.2, 0.3])
    y = np.repeat([0, 1, 2], (50, 20, 30))
    b = np.zeros(3)
    for _ in range(200):
        _, _, grad_b = fs.loss_and_gradient(np.empty((100, 0)), y, np.empty((0, 3)), b)
        b -= 2 * grad_b
    assert error(b - b.mean(), np.log(frequencies) - np.log(frequencies).mean()) <= 1e-14
    loss = fs.loss(np.empty((100, 0)), y, np.empty((0, 3)), b)
    np.testing.assert_allclose(loss, -(frequencies * np.log(frequencies)).sum(), rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logits_of_ten_thousand(dtype):
    X = np.array([[1.0], [-1.0], [0.0]], dtype)
    W = np.array([[1e4, -1e4, 0.0]], dtype)
    loss, grad_W, grad_b = fs.loss_and_gradient(
        X, [1, 2, 0], W, np.zeros(3, dtype), reduction="sum"
    )
    np.testing.assert_allclose(loss, 2e4 + 1e4 + np.log(3), rtol=1e-7)
    np.testing.assert_array_equal(grad_W, [[1, -2, 1]])
    np.testing.assert_allclose(grad_b, [1 / 3, 1 / 3, -2 / 3], rtol=4e-7)
    np.testing.assert_allclose(
        fs.predict_proba(X, W), [[1, 0, 0], [0, 1, 0], [1 / 3] * 3], rtol=1e-7
    )
    np.testing.assert_allclose(
        fs.predict_log_proba(X, W), [[0, -2e4, -1e4], [-2e4, 0, -1e4], [-np.log(3)] * 3], rtol=1e-7
    )


def test_a_confident_row_keeps_its_relative_accuracy():
    W = np.array([[40.0, 0.0]])
    tail = np.exp(-40.0)
    loss, grad_W, _ = fs.loss_and_gradient([[1.0]], [0], W)
    np.testing.assert_allclose(loss, tail, rtol=4 * EPS)
    np.testing.assert_allclose(grad_W, [[-tail, tail]], rtol=4 * EPS)
    np.testing.assert_allclose(fs.loss([[1.0]], [0], W), tail, rtol=4 * EPS)
    np.testing.assert_allclose(fs.predict_log_proba([[1.0]], W), [[-tail, -40]], rtol=4 * EPS)


# No rows


@pytest.mark.parametrize(("D", "K"), [(0, 1), (3, 2), (768, 300)])
@pytest.mark.parametrize("soft", [False, True])
def test_no_rows(problem, D, K, soft):
    p = problem(0, D, K, soft=soft)
    loss, grad_W, grad_b = fs.loss_and_gradient(*p[:4], reduction="sum")
    assert loss == 0
    np.testing.assert_array_equal(grad_W, np.zeros((D, K)))
    np.testing.assert_array_equal(grad_b, np.zeros(K))
    assert fs.loss(*p[:4], reduction="sum") == 0
    assert fs.loss(*p[:4], reduction="none").shape == (0,)
    loss, grad_W, _ = fs.loss_and_gradient(*p[:4], reduction="sum", l2=0.5)
    np.testing.assert_allclose(loss, 0.25 * (p.W**2).sum(), rtol=1e-14)
    np.testing.assert_array_equal(grad_W, 0.5 * p.W)
    for function in (fs.loss, fs.loss_and_gradient):
        with pytest.raises(ValueError, match="reduction='mean' is undefined: there are no rows"):
            function(*p[:4])
    for name in PREDICTIONS:
        shape = getattr(fs, name)(p.X, p.W, p.b).shape
        assert shape == ((0,) if name == "predict" else (0, K))


def test_weights_that_sum_to_zero(problem):
    p = problem(5, 3, 2)
    for function in (fs.loss, fs.loss_and_gradient):
        with pytest.raises(ValueError, match="'mean' is undefined: sample_weight sums to zero"):
            function(*p[:4], sample_weight=np.zeros(5))
    loss, grad_W, grad_b = fs.loss_and_gradient(*p[:4], sample_weight=np.zeros(5), reduction="sum")
    assert loss == 0
    np.testing.assert_array_equal(grad_W, np.zeros((3, 2)))
    np.testing.assert_array_equal(grad_b, np.zeros(2))


# Predictions


@pytest.mark.parametrize(("N", "D", "K"), SHAPES)
def test_predictions_are_the_reference(problem, N, D, K):
    p = problem(N, D, K)
    for b in (p.b, None):
        for name in PREDICTIONS:
            truth = TWINS[name](p.X, p.W, 0 if b is None else b)
            result = getattr(fs, name)(p.X, p.W, b)
            assert result.dtype == (np.int64 if name == "predict" else np.float64)
            assert error(result, truth) <= (0 if name == "predict" else 1e-14)
    np.testing.assert_array_equal(
        fs.predict(p.X, p.W, p.b), fs.decision_function(p.X, p.W, p.b).argmax(axis=1)
    )


def test_predictions_agree_with_the_row_functions(problem):
    p = problem(130, 17, 10)
    Z = fs.decision_function(p.X, p.W, p.b)
    assert error(fs.predict_proba(p.X, p.W, p.b), scipy.special.softmax(Z, axis=1)) <= 1e-14
    assert error(fs.predict_log_proba(p.X, p.W, p.b), fs.log_softmax(Z)) <= 1e-14


def test_predict_takes_the_first_of_equal_classes():
    W = [[0.0, 1.0, 1.0, -1.0, 1.0]]
    np.testing.assert_array_equal(fs.predict([[1.0], [0.0], [-1.0]], W), [1, 0, 3])


@pytest.mark.parametrize("name", PREDICTIONS)
def test_out(problem, unchanged, name):
    function = getattr(fs, name)
    p = problem(130, 7, 7)
    with unchanged(*p):
        truth = function(p.X, p.W, p.b)
        wide = np.empty([2 * n for n in truth.shape], truth.dtype)
        for out in (
            np.empty_like(truth),
            np.empty_like(truth, order="F"),
            wide[(slice(None, None, 2),) * truth.ndim],
            wide[(slice(None, None, -2),) * truth.ndim],
        ):
            assert function(p.X, p.W, p.b, out=out) is out
            np.testing.assert_array_equal(out, truth)


@pytest.mark.parametrize("name", PREDICTIONS[:3])
def test_out_may_overlap_any_argument(problem, name):
    function = getattr(fs, name)
    p = problem(130, 7, 7)
    truth = function(p.X, p.W, p.b)
    X = p.X.copy()
    assert function(X, p.W, p.b, out=X) is X
    np.testing.assert_array_equal(X, truth)
    for shift in (1, 7, 64 * 7):
        for source, target in ((0, shift), (shift, 0)):
            memory = np.zeros(p.X.size + shift)
            X, out = (memory[s : s + p.X.size].reshape(p.X.shape) for s in (source, target))
            X[...] = p.X
            np.testing.assert_array_equal(function(X, p.W, p.b, out=out), truth)
    memory = np.zeros((130, 7))
    memory[60:67] = p.W
    memory[69] = p.b
    np.testing.assert_array_equal(function(p.X, memory[60:67], memory[69], out=memory), truth)


def test_predict_out_may_overlap_the_bytes_of_X(problem):
    p = problem(130, 7, 7)
    truth = fs.predict(p.X, p.W, p.b)
    X = p.X.copy()
    fs.predict(X, p.W, p.b, out=X.reshape(-1)[:130].view(np.int64))
    np.testing.assert_array_equal(X.reshape(-1)[:130].view(np.int64), truth)


# Errors

SAMPLES = np.arange(12.0).reshape(4, 3)
WEIGHTS = np.array([[0.5, -1.0], [1.0, 0.0], [0.0, 2.0]])


def with_value(array, cell, value):
    array = array.copy()
    array[cell] = value
    return array


MODEL_ERRORS = [
    ({"X": SAMPLES[0]}, ValueError, r"X must have shape \(n_samples, n_features\), got \(3,\)"),
    ({"X": SAMPLES[None]}, ValueError, r"X must have shape .* got \(1, 4, 3\)"),
    ({"X": SAMPLES[:, :2]}, ValueError, "X has 2 features, 3 were expected"),
    ({"X": np.empty((0, 2))}, ValueError, "X has 2 features, 3 were expected"),
    ({"X": SAMPLES.astype(object)}, TypeError, "X must hold real numbers, got dtype object"),
    ({"X": SAMPLES.astype(complex)}, TypeError, "X must hold real numbers, got dtype complex128"),
    ({"X": SAMPLES.astype(str)}, TypeError, "X must hold real numbers, got dtype <U"),
    ({"X": [[1.0, 2.0, 3.0], [1.0]]}, ValueError, "X is not an array of numbers"),
    ({"X": None}, TypeError, "X must hold real numbers, got dtype object"),
    ({"X": with_value(SAMPLES, (3, 1), np.nan)}, ValueError, r"X\[3, 1\] is nan; X must be fin"),
    ({"X": with_value(SAMPLES, (0, 2), np.inf)}, ValueError, r"X\[0, 2\] is inf; X must be fin"),
    ({"X": with_value(SAMPLES, (2, 0), -np.inf)}, ValueError, r"X\[2, 0\] is -inf; X must be"),
    ({"W": WEIGHTS[0]}, ValueError, r"W must have shape \(n_features, n_classes\), got \(2,\)"),
    ({"W": WEIGHTS[:, :0]}, ValueError, r"W must have shape .* got \(3, 0\)"),
    ({"W": WEIGHTS.astype(complex)}, TypeError, "W must hold real numbers, got dtype complex128"),
    ({"W": WEIGHTS.astype(object)}, TypeError, "W must hold real numbers, got dtype object"),
    ({"W": with_value(WEIGHTS, (1, 1), np.nan)}, ValueError, r"W\[1, 1\] is nan; W must be fin"),
    ({"W": with_value(WEIGHTS, (2, 0), np.inf)}, ValueError, r"W\[2, 0\] is inf; W must be fin"),
    ({"W": with_value(WEIGHTS, (2, 0), -np.inf)}, ValueError, r"W\[2, 0\] is -inf; W must be"),
    ({"b": [0.0]}, ValueError, r"b must have shape \(2,\), one per class of W, got \(1,\)"),
    ({"b": [[0.0, 0.0]]}, ValueError, r"b must have shape \(2,\).* got \(1, 2\)"),
    ({"b": 0.0}, ValueError, r"b must have shape \(2,\).* got \(\)"),
    ({"b": ["a", "b"]}, TypeError, "b must hold real numbers"),
    ({"b": [0.0, np.nan]}, ValueError, r"b\[1\] is nan; b must be finite"),
    ({"b": [-np.inf, 0.0]}, ValueError, r"b\[0\] is -inf; b must be finite"),
    ({"X": 1e200 * SAMPLES, "W": 1e200 * WEIGHTS}, ValueError, "the logits .*overflow float64"),
]


def call(name, unchanged, exception, message, **change):
    arguments = {"X": SAMPLES, "targets": np.array([0, 1, 1, 0]), "W": WEIGHTS, "b": np.zeros(2)}
    arguments |= change
    if name in PREDICTIONS:
        del arguments["targets"]
    inputs = [value for value in arguments.values() if isinstance(value, np.ndarray)]
    with unchanged(*inputs), pytest.raises(exception, match=message):
        getattr(fs, name)(**arguments)


@pytest.mark.parametrize(("change", "exception", "message"), MODEL_ERRORS)
@pytest.mark.parametrize("name", ["loss", "loss_and_gradient", *PREDICTIONS])
def test_errors_in_X_and_the_weights(name, change, exception, message, unchanged):
    call(name, unchanged, exception, message, **change)


def with_label(value):
    labels = np.arange(20) % 10
    labels[17] = value
    return labels


LOSS_ERRORS = [
    ({"targets": [0, 1, 2, 0]}, ValueError, r"^targets\[2\] = 2 is not in \[0, 2\)$"),
    ({"targets": [0, 1, 0, -1]}, ValueError, r"^targets\[3\] = -1 is not in \[0, 2\)$"),
    ({"targets": [0.0, 1.0, 0.0, 1.0]}, TypeError, "targets .* must be integer labels, got float"),
    ({"targets": ["a"] * 4}, TypeError, "targets must hold real numbers"),
    ({"targets": [0, 1]}, ValueError, r"targets must have shape \(4,\) or \(4, 2\), got \(2,\)"),
    ({"targets": np.ones((4, 3))}, ValueError, r"targets must have shape .* got \(4, 3\)"),
    ({"targets": np.ones((2, 4))}, ValueError, r"targets must have shape .* got \(2, 4\)"),
    ({"targets": -np.eye(4, 2)}, ValueError, r"targets\[0, 0\] = -1.0 must be finite and at lea"),
    ({"targets": np.full((4, 2), np.nan)}, ValueError, r"targets\[0, 0\] = nan must be finite"),
    ({"sample_weight": [1, 1, -1, 1]}, ValueError, r"sample_weight\[2\] = -1.0 must be finite"),
    ({"sample_weight": [1, np.nan, 1, 1]}, ValueError, r"sample_weight\[1\] = nan must be"),
    ({"sample_weight": [1, 1, 1, np.inf]}, ValueError, r"sample_weight\[3\] = inf must be"),
    ({"sample_weight": [1, 1]}, ValueError, r"sample_weight must have shape \(4,\), got \(2,\)"),
    ({"sample_weight": ["a"] * 4}, TypeError, "sample_weight must hold real numbers"),
    ({"label_smoothing": 1.5}, ValueError, r"label_smoothing must be in \[0, 1\] and finite"),
    ({"label_smoothing": True}, TypeError, "label_smoothing must be a number, got True"),
    ({"l2": -1.0}, ValueError, "l2 must be at least 0 and finite, got -1.0"),
    ({"l2": np.inf}, ValueError, "l2 must be at least 0 and finite, got inf"),
    ({"l2": "x"}, TypeError, "l2 must be a number, got 'x'"),
    ({"reduction": "max"}, ValueError, "reduction must be one of 'mean', 'sum'.* got 'max'"),
]


@pytest.mark.parametrize(("change", "exception", "message"), LOSS_ERRORS)
@pytest.mark.parametrize("name", ["loss", "loss_and_gradient"])
def test_errors_in_the_arguments_of_losses(name, change, exception, message, unchanged):
    call(name, unchanged, exception, message, **change)


@pytest.mark.parametrize("name", ["loss_and_gradient", "decision_function", "predict"])
def test_weights_that_lie_transposed_are_told(name, unchanged):
    turned = r"W has shape \(2, 3\), and is to be \(n_features, n_classes\); pass W.T$"
    W, b = np.ones((2, 3)), np.zeros(2)
    message = r"^b must have shape \(3,\), one per class of W, got \(2,\): " + turned
    call(name, unchanged, ValueError, message, W=W, b=b)
    message = "^X has 3 features, 2 were expected: " + turned
    call(name, unchanged, ValueError, message, W=W, b=None)
    row = r"X must have shape .*, got \(3,\)"
    call(name, unchanged, ValueError, row + r"; a single sample is a row, as X\[None\]$", X=W[0])
    # biases that fit say that it is X
    call(name, unchanged, ValueError, "^X has 3 features, 2 were expected$", W=W, b=np.zeros(3))
    call(name, unchanged, ValueError, r"^b must have .*, got \(7,\)$", W=W, b=np.zeros(7))


@pytest.mark.parametrize("name", ["loss", "loss_and_gradient"])
def test_a_label_out_of_range_is_named(name, unchanged):
    X, W, b = np.ones((20, 3)), np.ones((3, 10)), np.zeros(10)
    for label in (12, -3):
        message = rf"^targets\[17\] = {label} is not in \[0, 10\)$"
        call(name, unchanged, ValueError, message, X=X, W=W, b=b, targets=with_label(label))


def test_reduction_none_belongs_to_loss_alone():
    with pytest.raises(ValueError, match="reduction must be one of 'mean', 'sum', got 'none'"):
        fs.loss_and_gradient(SAMPLES, [0, 1, 1, 0], WEIGHTS, reduction="none")
    with pytest.raises(ValueError, match="l2 must be 0 with reduction='none'"):
        fs.loss(SAMPLES, [0, 1, 1, 0], WEIGHTS, reduction="none", l2=1.0)


OUT_ERRORS = [
    ([0.0] * 4, TypeError, "out must be a numpy.ndarray, got list"),
    (np.empty((4, 3)), ValueError, r"out must have shape \(4,.* got shape \(4, 3\)"),
    (np.empty((4, 2), np.float32), ValueError, "out must have .* got .* dtype float32"),
    (np.empty(4, np.int32), ValueError, "out must have .* got .* dtype int32"),
    (np.empty((4, 2), ">f8"), ValueError, "out must have .* dtype >f8"),
]


@pytest.mark.parametrize(("out", "exception", "message"), OUT_ERRORS)
@pytest.mark.parametrize("name", PREDICTIONS)
def test_errors_in_out(name, out, exception, message, unchanged):
    call(name, unchanged, exception, message, out=out)


@pytest.mark.parametrize("name", PREDICTIONS)
def test_read_only_out(name, unchanged):
    out = getattr(fs, name)(SAMPLES, WEIGHTS)
    out.flags.writeable = False
    call(name, unchanged, ValueError, "out is read-only", out=out)


@pytest.mark.parametrize(("row", "column"), [(0, 0), (63, 2), (64, 1), (4999, 16)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_cell_that_is_not_finite_is_named_wherever_it_is(problem, row, column, order):
    p = problem(5000, 17, 3)
    X = np.array(p.X, order=order)
    X[row, column] = np.nan
    message = rf"X\[{row}, {column}\] is nan"
    for name in ("loss", "loss_and_gradient"):
        with pytest.raises(ValueError, match=message):
            getattr(fs, name)(X, p.targets, p.W, p.b)
    for name in PREDICTIONS:
        with pytest.raises(ValueError, match=message):
            getattr(fs, name)(X, p.W, p.b)


def test_a_cell_that_is_not_finite_is_named_in_a_large_problem(problem):
    p = problem(700, 768, 300)
    X = p.X.copy()
    X[600, 700] = np.inf
    with pytest.raises(ValueError, match=r"X\[600, 700\] is inf"):
        fs.loss_and_gradient(X, p.targets, p.W, p.b)


@pytest.mark.parametrize(("D", "K"), [(17, 3), (768, 300)])
def test_a_logit_that_overflows_to_minus_infinity_says_so(problem, D, K):
    """Even in one of the first of many rows, and though the loss stays finite."""
    p = problem(1100, D, K)
    p.X[:, 0] = 0
    p.X[5, 0], p.W[0, (p.targets[5] + 1) % K] = 1e10, -1e300
    for function in (fs.loss, fs.loss_and_gradient):
        with pytest.raises(ValueError, match="the logits or their gradient overflow float64"):
            function(*p[:4])
    for name in PREDICTIONS:
        with pytest.raises(ValueError, match="the logits overflow float64"):
            getattr(fs, name)(p.X, p.W, p.b)
    p.X[5, 0] = 0
    assert np.isfinite(fs.loss(*p[:4]))


def test_overflow_says_so():
    tall = np.full((2, 1), 1e30, np.float32)
    wide = np.full((1, 2), 1e30, np.float32)
    with pytest.raises(ValueError, match="the logits overflow float32: scale the data"):
        fs.predict_proba(tall, wide)
    with pytest.raises(ValueError, match="the logits overflow float32: scale the data"):
        fs.predict_proba([[1e300]], np.ones((1, 2), np.float32))
    for function in (fs.loss, fs.loss_and_gradient):
        with pytest.raises(ValueError, match="overflow float32: scale the data"):
            function(tall, [0, 1], wide)
    with pytest.raises(ValueError, match="the logits or their gradient overflow float32"):
        fs.loss_and_gradient(np.full((4, 1), 3e38, np.float32), [0] * 4, 0 * wide, reduction="sum")


def test_a_bias_gradient_that_overflows_says_so():
    X, W, b = np.empty((2, 0), np.float32), np.empty((0, 3), np.float32), np.zeros(3, np.float32)
    with pytest.raises(ValueError, match="overflow float32"):
        fs.loss_and_gradient(X, [0, 0], W, b, sample_weight=[1e39, 1e39], reduction="sum")


@pytest.mark.parametrize("D", [17, 3000])
def test_gradient_out(problem, unchanged, D):
    p = problem(130, D, 50 if D == 3000 else 10)  # by slab, and by chunk
    truth = fs.loss_and_gradient(*p[:4])
    K = p.W.shape[1]
    for out in (
        (np.full((D, K), np.nan), np.full(K, np.nan)),
        [np.full((K, D), np.nan).T, np.full(2 * K, np.nan)[::2]],
        (np.full((D, K), np.nan), None),
    ):
        result = fs.loss_and_gradient(*p[:4], out=out)
        assert result[1] is out[0]
        assert result[2] is out[1] or out[1] is None
        for array, true in zip(result, truth, strict=True):
            np.testing.assert_array_equal(array, true)
    grad_W = np.empty((D, K))
    _, same, none = fs.loss_and_gradient(*p[:3], out=(grad_W, None))
    assert same is grad_W
    assert none is None


def test_errors_in_gradient_out(problem):
    p = problem(4, 3, 3)
    fresh, frozen = np.empty((3, 3)), np.empty((3, 3))
    frozen.flags.writeable = False
    for out, exception, message in (
        (fresh, TypeError, r"out must be \(grad_W, grad_b\), got ndarray"),
        ((fresh,), TypeError, r"out must be \(grad_W, grad_b\)"),
        (([[0.0]], None), TypeError, r"out\[0\] must be a numpy.ndarray, got list"),
        ((fresh, np.empty(2)), ValueError, r"out\[1\] must have shape \(3,\) .* got shape \(2,\)"),
        ((fresh, np.empty(3, np.float32)), ValueError, r"out\[1\] must have .* float32"),
        ((frozen, None), ValueError, r"out\[0\] is read-only"),
        ((p.W, None), ValueError, r"out\[0\] overlaps with W"),
        ((p.X[1:], None), ValueError, r"out\[0\] overlaps with X"),
        ((fresh, p.b), ValueError, r"out\[1\] overlaps with b"),
        ((fresh, fresh[1]), ValueError, r"out\[1\] overlaps with out\[0\]"),
    ):
        before = p.X.copy(), p.W.copy(), p.b.copy()
        with pytest.raises(exception, match=message):
            fs.loss_and_gradient(p.X, p.targets, p.W, p.b, out=out)
        for array, copy in zip((p.X, p.W, p.b), before, strict=True):
            np.testing.assert_array_equal(array, copy)
    with pytest.raises(TypeError, match=r"out\[1\] must be None, as b is"):
        fs.loss_and_gradient(p.X, p.targets, p.W, out=(fresh, np.empty(3)))
