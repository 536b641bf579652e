"""Functions of given logits, against plain NumPy, SciPy and mpmath."""

from __future__ import annotations

from itertools import product

import mpmath
import numpy as np
import pytest
import scipy.special

import fastsoftmax as fs
from fastsoftmax import reference

INF = np.inf
EPS = np.finfo(np.float64).eps
ROW_FUNCTIONS = ["softmax", "log_softmax", "logsumexp"]
DTYPES = [np.float32, np.float64]


def error(actual, truth):
    """The largest error, relative to the largest magnitude of the truth."""
    actual, truth = np.asarray(actual), np.asarray(truth)
    assert actual.shape == truth.shape
    return np.abs(actual - truth).max() / np.abs(truth).max()


def assert_as_accurate(actual, plain, truth):
    """float32 results: at most 1.5 times the error of plain float32 NumPy, plus 1e-7."""
    assert np.asarray(actual).dtype == np.float32
    assert error(actual, truth) <= 1.5 * error(plain, truth) + 1e-7


def random_logits(*shape, dtype=np.float64, scale=3.0, seed=0):
    Z = scale * np.random.default_rng(seed).standard_normal(shape)
    return Z.astype(np.float32).astype(dtype)


SHAPES = [(1, 1), (5, 1), (1, 2), (5, 3), (63, 10), (65, 33), (1000, 10), (3, 5000), (3, 4, 5)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ROW_FUNCTIONS)
def test_row_functions_are_the_reference(name, shape):
    Z = random_logits(*shape)
    result = getattr(fs, name)(Z)
    assert result.dtype == np.float64
    np.testing.assert_allclose(result, getattr(reference, name)(Z), rtol=1e-14, atol=2 * EPS)


@pytest.mark.parametrize("shape", [(200_000, 3), (1000, 10), (3, 50_000)])
@pytest.mark.parametrize("name", ROW_FUNCTIONS)
def test_float32_row_functions_are_as_accurate_as_numpy(name, shape):
    Z = random_logits(*shape, dtype=np.float32)
    twin = getattr(reference, name)
    assert_as_accurate(getattr(fs, name)(Z), twin(Z), twin(Z.astype(np.float64)))


@pytest.mark.parametrize("axis", [0, 2, -1, -3, (0,), (1, 3), (2, 0), (-1, -2), (0, 1, 2, 3)])
@pytest.mark.parametrize("name", ROW_FUNCTIONS)
def test_axes_are_those_of_scipy(name, axis):
    Z = random_logits(2, 3, 4, 5)
    truth = getattr(scipy.special, name)(Z, axis=axis)
    np.testing.assert_allclose(getattr(fs, name)(Z, axis=axis), truth, rtol=1e-13, atol=2 * EPS)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ROW_FUNCTIONS)
@pytest.mark.parametrize("length", [1, 2, 3])
def test_special_values_are_those_of_scipy(name, length, dtype):
    values = [np.nan, INF, -INF, 0.0, 1.5, -2.0]
    Z = np.array(list(product(values, repeat=length)), dtype)
    with np.errstate(all="ignore"):
        truth = getattr(scipy.special, name)(Z, axis=-1)
    result = getattr(fs, name)(Z)
    assert result.dtype == dtype
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(result, truth, rtol=2 * eps, atol=eps)  # NaN equals NaN


def test_special_values_far_from_the_start_of_a_long_row():
    Z = np.zeros((6, 1003))
    Z[:, 1001] = [np.nan, INF, -INF, 0, 0, 0]
    Z[4] = -INF
    Z[5, 500] = np.nan
    with np.errstate(all="ignore"):
        for name in ROW_FUNCTIONS:
            truth = getattr(scipy.special, name)(Z, axis=-1)
            np.testing.assert_allclose(getattr(fs, name)(Z), truth, rtol=1e-14)


@pytest.mark.parametrize(
    ("Z", "dtype"),
    [
        ([[1, 2], [0, -3]], np.float64),
        (np.array([[1, 2], [0, 3]], np.uint8), np.float64),
        (np.array([[True, False]]), np.float64),
        (np.array([[1, 2], [0, -3]], np.float16), np.float32),
        (np.array([[1, 2], [0, -3]], np.float32), np.float32),
        (np.array([[1.5, 2], [0, -3]], np.longdouble), np.float64),
        (np.array([[1.5, 2], [0, -3]], ">f8"), np.float64),
        (np.array([[1.5, 2], [0, -3]], ">f4"), np.float32),
        (np.array([[1.5, 2], [0, -3]], ">f2"), np.float32),
    ],
)
@pytest.mark.parametrize("name", ROW_FUNCTIONS)
def test_types_of_logits(name, Z, dtype):
    result = getattr(fs, name)(Z)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, getattr(fs, name)(np.array(Z, dtype)))


def test_one_row_gives_numpy_scalars():
    assert isinstance(fs.logsumexp([0.0, 1.0]), np.float64)
    assert isinstance(fs.logsumexp(np.float32([0, 1])), np.float32)
    assert isinstance(fs.cross_entropy([[0.0, 1.0]], [0]), np.float64)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_out(name, unchanged):
    function = getattr(fs, name)
    Z = random_logits(7, 9, 4)
    wide = np.full((7, 18, 4), 8.0)
    for axis, out in product(
        (-1, 1, (0, 1)),
        (np.empty_like(Z), np.empty_like(Z, order="F"), wide[:, ::2], wide[::-1, 1::2, ::-1]),
    ):
        truth = function(Z, axis=axis)
        with unchanged(Z):
            assert function(Z, axis=axis, out=out) is out
        np.testing.assert_array_equal(out, truth)


def test_out_leaves_what_lies_between_its_items():
    wide = np.full((6, 8), 8.0)
    fs.softmax(random_logits(3, 4), out=wide[::2, ::2])
    assert (wide[1::2] == 8).all()
    assert (wide[:, 1::2] == 8).all()


@pytest.mark.parametrize("axis", [-1, 0, 1, (0, 2)])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_out_may_be_Z_or_overlap_it(name, axis):
    function = getattr(fs, name)
    shape = (7, 1000, 5)  # several blocks of rows
    size = 35_000
    memory = random_logits(2 * size)
    truth = function(memory[:size].reshape(shape), axis=axis)
    Z = memory[:size].reshape(shape).copy()
    assert function(Z, axis=axis, out=Z) is Z
    np.testing.assert_array_equal(Z, truth)
    Z = memory[:size].reshape(shape).copy()
    function(Z, axis=axis, out=Z[::-1, ::-1, ::-1])
    np.testing.assert_array_equal(Z[::-1, ::-1, ::-1], truth)
    for shift in (1, 5, 5000):
        for source, target in ((0, shift), (shift, 0)):
            own = memory.copy()
            own[source : source + size] = memory[:size]
            Z, out = (own[start : start + size].reshape(shape) for start in (source, target))
            function(Z, axis=axis, out=out)
            np.testing.assert_array_equal(out, truth)


def test_logsumexp_out():
    Z = random_logits(4, 6, 3)
    for axis in (-1, 1, (0, 2)):
        truth = fs.logsumexp(Z, axis=axis)
        wide = np.empty(2 * truth.size).reshape(*truth.shape[:-1], -1)
        for out in (np.empty_like(truth), wide[..., ::-2]):
            assert fs.logsumexp(Z, axis=axis, out=out) is out
            np.testing.assert_array_equal(out, truth)
    truth = fs.logsumexp(Z)
    own = Z.copy()
    fs.logsumexp(own, out=own[:, :, 0])
    np.testing.assert_array_equal(own[:, :, 0], truth)
    scalar = np.empty(())
    assert fs.logsumexp(Z, axis=(0, 1, 2), out=scalar) is scalar
    assert scalar == fs.logsumexp(Z.ravel())


def test_empty_logits():
    for name in ("softmax", "log_softmax"):
        for shape in ((0, 3), (0, 0), (2, 0, 3)):
            assert getattr(fs, name)(np.empty(shape)).shape == shape
        with pytest.raises(ValueError, match=r"Z has no classes: its shape is \(3, 0\)"):
            getattr(fs, name)(np.empty((3, 0)))
    assert fs.logsumexp(np.empty((0, 3))).shape == (0,)
    np.testing.assert_array_equal(fs.logsumexp(np.empty((3, 0))), [-INF] * 3)
    np.testing.assert_array_equal(
        fs.logsumexp(np.empty((3, 0))), scipy.special.logsumexp(np.empty((3, 0)), axis=-1)
    )
    assert fs.softmax_jacobian(np.empty((0, 3))).shape == (0, 3, 3)
    assert fs.softmax_jvp(np.empty((0, 3)), np.empty((0, 3))).shape == (0, 3)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1e4, 1e30])
def test_huge_logits(scale, dtype):
    Z = np.array([[scale, -scale, 0], [-scale, -scale, -scale], [scale, scale, -scale]], dtype)
    np.testing.assert_allclose(fs.softmax(Z), [[1, 0, 0], [1 / 3] * 3, [0.5, 0.5, 0]], rtol=1e-7)
    log_2 = np.log(2)
    log_P = [[0, -2 * scale, -scale], [-np.log(3)] * 3, [-log_2, -log_2, -2 * scale - log_2]]
    np.testing.assert_allclose(fs.log_softmax(Z), log_P, rtol=2e-7)
    np.testing.assert_allclose(fs.logsumexp(Z), Z.max(axis=1) + np.log([1, 3, 2]), rtol=1e-7)
    loss, dZ = fs.cross_entropy_and_gradient(Z, [1, 0, 2], reduction="none")
    np.testing.assert_allclose(loss, [2 * scale, np.log(3), 2 * scale + log_2], rtol=2e-7)
    np.testing.assert_allclose(dZ, [[1, -1, 0], [-2 / 3, 1 / 3, 1 / 3], [0.5, 0.5, -1]], rtol=2e-7)


def test_shift_invariance():
    Z = np.round(random_logits(65, 7) * 8) / 8  # so that the shift is exact
    y = np.arange(65) % 7
    for shift in (-4096.0, 1024.0):
        for name in ("softmax", "log_softmax"):
            function = getattr(fs, name)
            np.testing.assert_allclose(function(Z + shift), function(Z), rtol=1e-15)
        np.testing.assert_allclose(fs.logsumexp(Z + shift), fs.logsumexp(Z) + shift, rtol=4e-16)
        loss, dZ = fs.cross_entropy_and_gradient(Z, y)
        shifted_loss, shifted_dZ = fs.cross_entropy_and_gradient(Z + shift, y)
        np.testing.assert_allclose(shifted_loss, loss, rtol=1e-15)
        np.testing.assert_allclose(shifted_dZ, dZ, rtol=1e-15)


# Relative accuracy where one class has nearly all the mass, which z - logsumexp(z) loses.


def exact_row(z):
    """(log-probabilities, probabilities less one) of a row, to 50 digits."""
    with mpmath.workdps(50):
        exponentials = [mpmath.exp(mpmath.mpf(float(value))) for value in z]
        total = mpmath.fsum(exponentials)
        log_p = [mpmath.log(e / total) if e else -mpmath.inf for e in exponentials]
        rest = [e / total - 1 for e in exponentials]
    return np.array(log_p, np.float64), np.array(rest, np.float64)


CONFIDENT_ROWS = [
    [gap, 0.0, -1.0, *tail] for gap in (5.0, 17.0, 40.0, 80.0) for tail in ([], [gap - 0.5], [2.0])
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("z", CONFIDENT_ROWS)
def test_confident_rows_keep_their_relative_accuracy(z, dtype):
    z = np.array(z, dtype)
    log_p, rest = exact_row(z)
    rtol = 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(fs.log_softmax(z), log_p, rtol=rtol)
    loss, dZ = fs.cross_entropy_and_gradient(z[None], [0], reduction="none")
    np.testing.assert_allclose(loss, -log_p[:1], rtol=rtol)
    np.testing.assert_allclose(fs.cross_entropy(z[None], [0]), -log_p[0], rtol=rtol)
    np.testing.assert_allclose(dZ[0, 0], rest[0], rtol=rtol)


def test_the_plain_formula_loses_that_accuracy():
    assert reference.log_softmax(np.array([40.0, 0.0]))[0] == 0
    np.testing.assert_allclose(fs.log_softmax([40.0, 0.0])[0], -np.exp(-40.0), rtol=4 * EPS)


# Losses of logits and targets.


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize(("N", "K"), [(1, 1), (2, 2), (65, 3), (130, 33), (1000, 10), (3, 700)])
def test_cross_entropy_is_the_reference(problem, N, K, soft, weighted, label_smoothing, reduction):
    p = problem(N, 0, K, soft=soft)
    Z = random_logits(N, K, seed=N + K)
    options = {
        "sample_weight": p.weight if weighted else None,
        "label_smoothing": label_smoothing,
        "reduction": reduction,
    }
    truth, true_dZ = reference.cross_entropy_and_gradient(Z, p.targets, **options)
    loss, dZ = fs.cross_entropy_and_gradient(Z, p.targets, **options)
    scale = 1.0 if reduction == "mean" else N
    np.testing.assert_allclose(loss, truth, rtol=1e-14, atol=16 * EPS * scale)
    np.testing.assert_allclose(dZ, true_dZ, rtol=1e-13, atol=16 * EPS * np.abs(true_dZ).max())
    np.testing.assert_allclose(fs.cross_entropy(Z, p.targets, **options), loss, rtol=4 * EPS)
    assert np.abs(dZ.sum(axis=1)).max() <= 4 * EPS * K * np.abs(true_dZ).max()


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize(("N", "K"), [(200_000, 3), (1000, 33), (5, 50_000)])
def test_float32_cross_entropy_is_as_accurate_as_numpy(problem, N, K, soft):
    p = problem(N, 0, K, soft=soft, dtype=np.float32)
    Z = random_logits(N, K, dtype=np.float32)
    if soft:
        T = p.targets
    else:
        T = np.zeros((N, K), np.float32)  # the reference would form the identity of K x K
        T[np.arange(N), p.targets] = 1
    for label_smoothing, reduction in ((0.0, "mean"), (0.1, "none")):
        options = {
            "sample_weight": p.weight,
            "label_smoothing": label_smoothing,
            "reduction": reduction,
        }
        plain = reference.cross_entropy_and_gradient(Z, T, **options)
        truth = reference.cross_entropy_and_gradient(Z.astype(float), T.astype(float), **options)
        ours = fs.cross_entropy_and_gradient(Z, p.targets, **options)
        for result in zip(ours, plain, truth, strict=True):
            assert_as_accurate(*result)
        assert_as_accurate(fs.cross_entropy(Z, p.targets, **options), plain[0], truth[0])


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("soft", [False, True])
def test_special_values_in_cross_entropy(soft, label_smoothing):
    values = [np.nan, INF, -INF, 0.0, 1.5]
    Z = np.array(list(product(values, repeat=3)))
    labels = np.arange(len(Z)) % 3
    targets = np.eye(3)[labels] * [0.5, 1.0, 2.0] if soft else labels
    if soft:
        targets[::4] = 0
    with np.errstate(all="ignore"):
        truth = reference.cross_entropy_and_gradient(Z, targets, None, label_smoothing, "none")
    loss, dZ = fs.cross_entropy_and_gradient(
        Z, targets, label_smoothing=label_smoothing, reduction="none"
    )
    np.testing.assert_allclose(loss, truth[0], rtol=1e-15, atol=EPS)
    np.testing.assert_allclose(dZ, truth[1], rtol=1e-15, atol=EPS)
    alone = fs.cross_entropy(Z, targets, label_smoothing=label_smoothing, reduction="none")
    np.testing.assert_allclose(alone, loss, rtol=1e-15)


def test_minus_infinity_without_target_weight_costs_nothing():
    Z = [[0.0, 0.0, -INF], [-INF, 3.0, 3.0]]
    log_2 = np.log(2)
    np.testing.assert_allclose(fs.cross_entropy(Z, [0, 1]), log_2, rtol=EPS)
    np.testing.assert_array_equal(fs.cross_entropy(Z, [2, 0], reduction="none"), [INF, INF])
    np.testing.assert_allclose(
        fs.cross_entropy(Z, [[0.5, 0.5, 0], [0, 3, 0]], reduction="none"), [log_2, 3 * log_2]
    )
    loss, dZ = fs.cross_entropy_and_gradient(Z, [0, 1], reduction="sum")
    np.testing.assert_allclose(loss, 2 * log_2, rtol=EPS)
    np.testing.assert_array_equal(dZ, [[-0.5, 0.5, 0], [0, -0.5, 0.5]])


def test_label_smoothing_of_one_is_a_uniform_target():
    Z = random_logits(65, 5)
    uniform = np.full((65, 5), 0.2)
    smooth = fs.cross_entropy_and_gradient(Z, np.arange(65) % 5, label_smoothing=1)
    for result, truth in zip(smooth, fs.cross_entropy_and_gradient(Z, uniform), strict=True):
        np.testing.assert_allclose(result, truth, rtol=1e-13, atol=EPS)


def test_constant_weights_leave_the_mean():
    Z, y = random_logits(65, 5), np.arange(65) % 5
    loss, dZ = fs.cross_entropy_and_gradient(Z, y)
    for weight in (np.full(65, 2.0), np.broadcast_to(2.0, 65), np.full(65, 2), [2] * 65):
        weighted_loss, weighted_dZ = fs.cross_entropy_and_gradient(Z, y, sample_weight=weight)
        np.testing.assert_allclose(weighted_loss, loss, rtol=1e-15)
        np.testing.assert_allclose(weighted_dZ, dZ, rtol=1e-15)
        np.testing.assert_allclose(fs.cross_entropy(Z, y, sample_weight=weight), loss, rtol=1e-15)


def test_integer_weights_are_repeated_rows():
    Z, y = random_logits(65, 5), np.arange(65) % 5
    times = np.arange(65) % 4
    loss = fs.cross_entropy(Z, y, sample_weight=times)
    repeated = fs.cross_entropy(Z.repeat(times, axis=0), y.repeat(times))
    np.testing.assert_allclose(loss, repeated, rtol=1e-14)


def test_cross_entropy_of_no_rows():
    Z = np.empty((0, 3))
    for y in (np.empty(0, np.int64), np.empty((0, 3))):
        loss, dZ = fs.cross_entropy_and_gradient(Z, y, reduction="sum")
        assert loss == 0
        assert dZ.shape == (0, 3)
        assert fs.cross_entropy(Z, y, reduction="sum") == 0
        assert fs.cross_entropy(Z, y, reduction="none").shape == (0,)
        for function in (fs.cross_entropy, fs.cross_entropy_and_gradient):
            with pytest.raises(ValueError, match="reduction='mean' is undefined: there are no ro"):
                function(Z, y)
    for function in (fs.cross_entropy, fs.cross_entropy_and_gradient):
        with pytest.raises(ValueError, match="'mean' is undefined: sample_weight sums to zero"):
            function([[0.0, 1.0]], [0], sample_weight=[0])
    loss, dZ = fs.cross_entropy_and_gradient([[0.0, 1.0]], [0], sample_weight=[0], reduction="sum")
    assert loss == 0
    np.testing.assert_array_equal(dZ, [[0, 0]])


# Jacobian.


@pytest.mark.parametrize("shape", [(1,), (4,), (5, 3), (2, 3, 33)])
def test_jacobian_and_its_product(shape):
    P = reference.softmax(random_logits(*shape))
    V = random_logits(*shape, seed=1)
    J = fs.softmax_jacobian(P)
    assert J.shape == (*shape, shape[-1])
    truth = np.apply_along_axis(reference.softmax_jacobian, -1, P)
    np.testing.assert_allclose(J, truth, rtol=4 * EPS)
    product = np.einsum("...ij,...j->...i", truth, V)
    np.testing.assert_allclose(fs.softmax_jvp(P, V), product, atol=16 * EPS, rtol=0)
    assert np.abs(J.sum(axis=-1)).max() <= 4 * EPS


def test_jacobian_keeps_float32():
    P = np.array([0.25, 0.75], np.float32)
    for result in (fs.softmax_jacobian(P), fs.softmax_jvp(P, P)):
        assert result.dtype == np.float32
    np.testing.assert_array_equal(fs.softmax_jacobian(P), [[0.1875, -0.1875], [-0.1875, 0.1875]])
    np.testing.assert_array_equal(fs.softmax_jvp(P, [1.0, 0.0]), [0.1875, -0.1875])


# Errors.

Z23 = np.array([[0.0, 1.0, 2.0], [1.0, 0.0, 0.5]])
READ_ONLY = np.zeros((2, 3))
READ_ONLY.flags.writeable = False

ROW_ERRORS = [
    ({"Z": np.array([[1j, 2]])}, TypeError, "Z must hold real numbers, got dtype complex128"),
    ({"Z": [["a", "b"]]}, TypeError, "Z must hold real numbers, got dtype <U1"),
    ({"Z": np.array([[1.0, None]])}, TypeError, "Z must hold real numbers, got dtype object"),
    ({"Z": np.array(["2020"], "M8[Y]")}, TypeError, "Z must hold real numbers, got dtype dat"),
    ({"Z": [[1.0, 2.0], [3.0]]}, ValueError, "Z is not an array of numbers"),
    ({"Z": np.ma.array(Z23, mask=Z23 > 1)}, TypeError, "Z has masked entries"),
    ({"Z": 1.0}, ValueError, r"axis=-1 does not fit Z of shape \(\)"),
    ({"axis": 2}, ValueError, r"axis=2 does not fit Z of shape \(2, 3\)"),
    ({"axis": -3}, ValueError, r"axis=-3 does not fit Z of shape \(2, 3\)"),
    ({"axis": ()}, ValueError, r"axis=\(\) does not fit"),
    ({"axis": (0, -2)}, ValueError, r"axis=\(0, -2\) does not fit"),
    ({"axis": None}, TypeError, "axis must be an integer or integers, got None"),
    ({"axis": 0.5}, TypeError, "axis must be an integer or integers, got 0.5"),
    ({"axis": (0.5,)}, TypeError, r"axis must be an integer or integers, got \(0.5,\)"),
    ({"axis": "x"}, TypeError, "axis must be an integer or integers, got 'x'"),
    ({"out": [[0.0] * 3] * 2}, TypeError, "out must be a numpy.ndarray, got list"),
    ({"out": np.empty((3, 3))}, ValueError, r"out must have shape .* got shape \(3, 3\)"),
    ({"out": np.empty((2, 3), np.float32)}, ValueError, "out must .* dtype float64, .* float32"),
    ({"out": np.empty((2, 3), ">f8")}, ValueError, "out must .* dtype float64, got .* dtype >f8"),
]


@pytest.mark.parametrize(("change", "exception", "message"), ROW_ERRORS)
@pytest.mark.parametrize("name", ROW_FUNCTIONS)
def test_row_function_errors(name, change, exception, message, unchanged):
    arguments = {"Z": Z23} | change
    with unchanged(Z23), pytest.raises(exception, match=message):
        getattr(fs, name)(arguments.pop("Z"), **arguments)


def test_read_only_out():
    with pytest.raises(ValueError, match="out is read-only"):
        fs.softmax(Z23, out=READ_ONLY)
    with pytest.raises(ValueError, match="out is read-only"):
        fs.logsumexp(Z23, out=READ_ONLY[:, 0])


def test_sparse_logits_are_a_type_error():
    sparse = pytest.importorskip("scipy.sparse")
    for matrix in (sparse.csr_array(Z23), sparse.coo_matrix(Z23)):
        for name in (*ROW_FUNCTIONS, "softmax_jacobian"):
            with pytest.raises(TypeError, match=r"[ZP] is sparse; a dense array is needed"):
                getattr(fs, name)(matrix)


TWELVE = np.arange(20) % 10
TWELVE[17] = 12
LOSS_ERRORS = [
    ({"Z": np.zeros(3)}, ValueError, r"Z must have shape \(n_samples, n_classes\), got \(3,\)"),
    ({"Z": np.zeros((2, 0))}, ValueError, r"Z must have shape .* got \(2, 0\)"),
    ({"Z": np.zeros((2, 3), complex)}, TypeError, "Z must hold real numbers"),
    (
        {"Z": np.zeros((20, 10)), "targets": TWELVE},
        ValueError,
        r"^targets\[17\] = 12 is not in \[0, 10\)$",
    ),
    ({"targets": [0, 3]}, ValueError, r"^targets\[1\] = 3 is not in \[0, 3\)$"),
    ({"targets": [-1, 0]}, ValueError, r"^targets\[0\] = -1 is not in \[0, 3\)$"),
    ({"targets": np.array([0, 2**63], np.uint64)}, ValueError, r"targets\[1\] = 9223372036854775"),
    ({"targets": [0.0, 1.0]}, TypeError, "targets .* must be integer labels, got float64"),
    ({"targets": ["a", "b"]}, TypeError, "targets must hold real numbers"),
    ({"targets": [0, None]}, TypeError, "targets must hold real numbers"),
    ({"targets": [0, 1, 2]}, ValueError, r"targets must have shape \(2,\) or \(2, 3\), got \(3,"),
    ({"targets": np.ones((2, 2))}, ValueError, r"targets must have shape .* got \(2, 2\)"),
    ({"targets": np.ones((3, 2))}, ValueError, r"targets must have shape .* got \(3, 2\)"),
    ({"targets": 1}, ValueError, r"targets must have shape .* got \(\)"),
    (
        {"targets": [[1, 0, 0], [0, 1, -2]]},
        ValueError,
        r"targets\[1, 2\] = -2.0 must be finite and at least 0",
    ),
    ({"targets": [[1, 0, 0], [np.nan, 1, 1]]}, ValueError, r"targets\[1, 0\] = nan must be fin"),
    ({"targets": [[1, INF, 0], [0, 1, 1]]}, ValueError, r"targets\[0, 1\] = inf must be finite"),
    ({"sample_weight": [1, -1]}, ValueError, r"sample_weight\[1\] = -1.0 must be finite and at"),
    ({"sample_weight": [np.nan, 1]}, ValueError, r"sample_weight\[0\] = nan must be finite"),
    ({"sample_weight": [1, INF]}, ValueError, r"sample_weight\[1\] = inf must be finite"),
    ({"sample_weight": [1, 1, 1]}, ValueError, r"sample_weight must have shape \(2,\), got \(3,"),
    ({"sample_weight": 1.0}, ValueError, r"sample_weight must have shape \(2,\), got \(\)"),
    ({"sample_weight": [1j, 1]}, TypeError, "sample_weight must hold real numbers"),
    ({"label_smoothing": -0.1}, ValueError, r"label_smoothing must be in \[0, 1\]"),
    ({"label_smoothing": 1.1}, ValueError, r"label_smoothing must be in \[0, 1\]"),
    ({"label_smoothing": np.nan}, ValueError, r"label_smoothing must be in \[0, 1\]"),
    ({"label_smoothing": "0.1"}, TypeError, "label_smoothing must be a number, got '0.1'"),
    ({"label_smoothing": None}, TypeError, "label_smoothing must be a number, got NoneType"),
    ({"label_smoothing": [0.1]}, TypeError, "label_smoothing must be a number"),
    ({"reduction": "avg"}, ValueError, "reduction must be one of 'mean', 'sum', 'none', got 'avg'"),
    ({"reduction": None}, ValueError, "reduction must be one of .* got None"),
]


@pytest.mark.parametrize(("change", "exception", "message"), LOSS_ERRORS)
@pytest.mark.parametrize("name", ["cross_entropy", "cross_entropy_and_gradient"])
def test_cross_entropy_errors(name, change, exception, message, unchanged):
    arguments = {"Z": Z23, "targets": np.array([0, 1])} | change
    inputs = [value for value in arguments.values() if isinstance(value, np.ndarray)]
    with unchanged(*inputs), pytest.raises(exception, match=message):
        getattr(fs, name)(arguments.pop("Z"), arguments.pop("targets"), **arguments)


def test_sparse_targets_are_a_type_error():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match=r"targets is sparse; a dense array is needed, as targets"):
        fs.cross_entropy(Z23, sparse.csr_array(Z23))


def test_jacobian_errors():
    with pytest.raises(ValueError, match="P must have at least one axis, got a scalar"):
        fs.softmax_jacobian(0.5)
    with pytest.raises(TypeError, match="P must hold real numbers"):
        fs.softmax_jacobian([0.5j])
    with pytest.raises(TypeError, match="V must hold real numbers"):
        fs.softmax_jvp([0.5, 0.5], ["a", "b"])
    for P, V in (([0.5, 0.5], [1.0]), ([[0.5, 0.5]], [1.0, 0.0]), (0.5, 0.5)):
        with pytest.raises(ValueError, match=r"P and V must have one shape \(..., K\)"):
            fs.softmax_jvp(P, V)
