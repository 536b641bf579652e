"""Random shapes, layouts, types and options against the plain NumPy of fastsoftmax.reference."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from csr_rows import CSRRows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastsoftmax as fs
from fastsoftmax import reference

settings.register_profile(
    "fastsoftmax",
    max_examples=60,
    deadline=None,  # the first calls compile
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
COMMON = settings.get_profile("fastsoftmax")

FLOATS = ["f4", "f8"]
CONVERTED = ["f2", ">f4", ">f8", "i1", "u2", "i8", "?"]
NARROW = ["f2", ">f2", "u1", ">i2", "?"]  # of which kernels read X where it lies


def strided(array, kind):
    """The same values in another layout; the room between them holds NaN, or ones."""
    filler = np.nan if array.dtype.kind == "f" else 1
    if kind == "F":
        return np.asfortranarray(array)
    if kind == "steps":
        wide = np.full([2 * n + 1 for n in array.shape], filler, array.dtype)
        view = wide[tuple(slice(1, None, 2) for _ in array.shape)]
    elif kind == "backwards":
        wide = np.full([n + 2 for n in array.shape], filler, array.dtype)
        view = wide[tuple(slice(n, 0, -1) for n in array.shape)]
    elif kind == "unaligned":
        raw = np.zeros(array.nbytes + 1, np.uint8)
        view = raw[1:].view(array.dtype).reshape(array.shape)
    elif kind == "read only":
        view = array.copy()
    else:
        return array
    view[...] = array
    view.flags.writeable = kind != "read only"
    return view


LAYOUTS = st.sampled_from(["C", "F", "steps", "backwards", "unaligned", "read only"])
SIZES = st.one_of(st.integers(1, 9), st.integers(1, 70), st.sampled_from([16, 17, 64, 65, 128]))
ROWS = st.one_of(st.integers(1, 5), st.integers(1, 300))
MAGNITUDES = st.sampled_from([0.0, 1e-3, 1.0, 30.0])


def numbers(random, shape, dtype, magnitude=1.0):
    """Values of a dtype: floats of about this magnitude, or small integers."""
    if np.dtype(dtype).kind == "f":
        return (magnitude * random.standard_normal(shape)).astype(dtype)
    return random.integers(0, 2 if dtype == "?" else 9, shape).astype(dtype)


def close(got, want, dtype, scale=1.0):
    """Within what `dtype` allows of values that were summed from some of this scale."""
    got = np.asarray(got)
    assert got.dtype == dtype
    assert got.shape == np.shape(want)
    tolerance = 3e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * max(scale, 1e-3))


@st.composite
def problems(draw, mixed=False):
    """Arguments of a loss, in `given`, and in float64 for the reference, in `exact`.

    Unless `mixed`, all that kernels get has the type of W: others compile kernels of their own.
    """
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    N, D, K = draw(ROWS), draw(SIZES), draw(SIZES)
    dtype = np.dtype(draw(st.sampled_from(FLOATS)))
    floats = FLOATS if mixed else [dtype.str]
    x_type = draw(st.sampled_from(floats + CONVERTED + NARROW))
    X = numbers(random, (N, D), x_type, draw(MAGNITUDES))
    W = numbers(random, (D, K), dtype, draw(MAGNITUDES) / np.sqrt(D))
    b = numbers(random, K, dtype)
    if draw(st.booleans()):
        targets = random.integers(K, size=N).astype(draw(st.sampled_from(["i1", "u4", "i8"])))
    else:
        targets = numbers(random, (N, K), draw(st.sampled_from([*floats, "i1"])))
        targets = np.abs(targets)
    options = {"label_smoothing": draw(st.sampled_from([0.0, 0.1, 1.0]))}
    if draw(st.booleans()):
        options["sample_weight"] = strided(random.uniform(0.1, 2, N), draw(LAYOUTS))
    given = [strided(array, draw(LAYOUTS)) for array in (X, targets, W)]
    exact = [array.astype(np.float64) if array is not targets else targets for array in (X, W, b)]
    return dtype, given, b, targets, exact, options


def spread(logits):
    """The size of the logits, on which rounding depends."""
    return 1 + np.abs(logits).max(initial=0)


def largest(targets):
    """The largest weight of a class; 1 for labels."""
    return max(float(targets.max()), 1.0) if targets.ndim == 2 else 1.0


LOSSES = st.sampled_from(["mean", "sum"]), st.sampled_from([0.0, 0.3])
LAYOUTS_OF_OUT = st.sampled_from(["C", "F", "steps", "backwards", "unaligned"])


@given(problems(), *LOSSES)
@settings(COMMON)
def test_losses_of_x(problem, reduction, l2):
    check_losses(problem, reduction, l2)


@pytest.mark.exhaustive
@given(problems(mixed=True), *LOSSES)
@settings(COMMON)
def test_losses_of_x_in_mixed_types(problem, reduction, l2):
    check_losses(problem, reduction, l2)


def check_losses(problem, reduction, l2):
    dtype, (X, targets, W), b, plain, exact, options = problem
    options = {**options, "reduction": reduction, "l2": l2}
    before = [array.tobytes() for array in (*parts_of(X), targets, W, b)]
    loss, grad_W, grad_b = reference.loss_and_gradient(
        exact[0], plain, exact[1], exact[2], **options
    )
    size = (1 if reduction == "mean" else len(exact[0])) * largest(plain)
    scale = size * spread(np.abs(exact[0]) @ np.abs(exact[1])) * max(W.shape[1], 1)
    got = fs.loss_and_gradient(X, targets, W, b, **options)
    close(got[0], loss, dtype, scale)
    close(got[1], grad_W, dtype, scale * (1 + np.abs(exact[0]).max()))
    close(got[2], grad_b, dtype, scale)
    close(fs.loss(X, targets, W, b, **options), loss, dtype, scale)
    assert [array.tobytes() for array in (*parts_of(X), targets, W, b)] == before


def parts_of(X):
    """The arrays of X, dense or sparse."""
    return (X,) if isinstance(X, np.ndarray) else (X.data, X.indices, X.indptr)


@given(problems(), LAYOUTS_OF_OUT)
@settings(COMMON)
def test_predictions(problem, out_layout):
    check_predictions(problem, out_layout)


@pytest.mark.exhaustive
@given(problems(mixed=True), LAYOUTS_OF_OUT)
@settings(COMMON)
def test_predictions_in_mixed_types(problem, out_layout):
    check_predictions(problem, out_layout)


def check_predictions(problem, out_layout):
    dtype, (X, _, W), b, _, exact, _ = problem
    Z = exact[0] @ exact[1] + exact[2]
    scale = spread(np.abs(exact[0]) @ np.abs(exact[1]))
    twins = {
        fs.decision_function: Z,
        fs.predict_proba: reference.softmax(Z),
        fs.predict_log_proba: reference.log_softmax(Z),
    }
    for function, twin in twins.items():
        out = strided(np.zeros(Z.shape, dtype), out_layout)
        assert function(X, W, b, out=out) is out
        close(out, twin, dtype, scale)
        close(function(X, W, b), twin, dtype, scale)
    best = fs.predict(X, W, b, out=strided(np.zeros(len(Z), np.int64), out_layout))
    tolerance = (1e-4 if dtype == np.float32 else 1e-11) * scale
    assert (Z[np.arange(len(Z)), best] >= Z.max(axis=1) - tolerance).all()


@st.composite
def sparse_problems(draw):
    """A problem of `problems`, most of X zero; (X as sparse rows, the problem)."""
    problem = draw(problems())
    _, (X, *_), *_ = problem
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    X = np.array(X)
    X[random.random(X.shape) > draw(st.sampled_from([0.0, 0.02, 0.3, 1.0]))] = 0
    problem[4][0][...] = X  # the same in float64
    rows, columns = np.nonzero(X if draw(st.booleans()) else np.ones(X.shape))
    data = X[rows, columns]
    data = data.astype(np.float32) if data.dtype == np.float16 else data  # whose halves round
    if draw(st.booleans()):  # each entry in two parts, whose sum it is
        rows, columns = np.tile(rows, 2), np.tile(columns, 2)
        data = np.concatenate([data / 2, data / 2])
    in_order = draw(st.booleans())
    order = np.lexsort((columns if in_order else random.random(rows.size), rows))
    starts = np.searchsorted(rows[order], np.arange(len(X) + 1))
    index, more = draw(st.sampled_from(["i4", "i8", "u4", ">i4"])), draw(st.integers(0, 2))
    parts = data[order], columns[order].astype(index), starts.astype(index)
    parts = *(np.append(part, np.full(more, 99, part.dtype)) for part in parts[:2]), parts[2]
    return CSRRows(X.shape, *(strided(part, draw(LAYOUTS)) for part in parts)), problem


@given(sparse_problems(), *LOSSES)
@settings(COMMON)
def test_losses_of_sparse_x(case, reduction, l2):
    rows, (dtype, (_, *others), *rest) = case
    check_losses((dtype, [rows, *others], *rest), reduction, l2)


@given(sparse_problems(), LAYOUTS_OF_OUT)
@settings(COMMON)
def test_predictions_of_sparse_x(case, out_layout):
    rows, (dtype, (_, *others), *rest) = case
    check_predictions((dtype, [rows, *others], *rest), out_layout)


@st.composite
def logits(draw):
    """Logits of any shape and layout, with special values, and an axis of them."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = draw(st.lists(st.one_of(st.integers(1, 6), st.integers(1, 40)), min_size=1, max_size=4))
    Z = numbers(random, shape, draw(st.sampled_from(FLOATS + CONVERTED)), draw(MAGNITUDES))
    if Z.dtype.kind == "f" and draw(st.booleans()):
        special = random.choice([-np.inf, -np.inf, np.inf, np.nan], Z.shape)
        Z = np.where(random.random(Z.shape) < 0.1, special, Z).astype(Z.dtype)
    axes = draw(st.permutations(range(len(shape))))[: draw(st.integers(1, len(shape)))]
    axis = axes[0] if len(axes) == 1 else tuple(axes)
    return strided(Z, draw(LAYOUTS)), axis


@given(logits(), LAYOUTS_OF_OUT)
@settings(COMMON)
def test_row_functions_as_scipys(case, out_layout):
    special = pytest.importorskip("scipy.special")
    Z, axis = case
    before = Z.tobytes()
    narrow = Z.dtype.kind == "f" and Z.dtype.itemsize <= 4
    dtype = np.dtype("f4" if narrow else "f8")
    exact = Z.astype(np.float64)
    with np.errstate(all="ignore"):
        twins = {
            fs.softmax: special.softmax(exact, axis),
            fs.log_softmax: special.log_softmax(exact, axis),
            fs.logsumexp: special.logsumexp(exact, axis),
        }
    finite = exact[np.isfinite(exact)]
    for function, twin in twins.items():
        got = function(Z, axis)
        close(got, twin, dtype, spread(finite))
        if np.ndim(twin):
            out = strided(np.zeros(np.shape(twin), dtype), out_layout)
            assert function(Z, axis, out=out) is out
            assert out.tobytes() == got.tobytes()
    assert Z.tobytes() == before


@given(problems(mixed=True), st.sampled_from(["mean", "sum", "none"]))
@settings(COMMON)
def test_cross_entropies(problem, reduction):
    _, (X, targets, _), _, plain, exact, options = problem
    random = np.random.default_rng(X.shape[1])
    K = exact[2].size
    Z = random.standard_normal((len(X), K)).astype(X.dtype if X.dtype.kind == "f" else "f8")
    Z = strided(Z, "steps" if K % 2 else "C")
    dtype = np.dtype("f4" if Z.dtype.itemsize <= 4 else "f8")
    options = {**options, "reduction": reduction}
    loss, dZ = reference.cross_entropy_and_gradient(Z.astype(float), plain, **options)
    scale = (len(X) if reduction == "sum" else 1) * K * largest(plain)
    close(fs.cross_entropy(Z, targets, **options), loss, dtype, scale)
    got = fs.cross_entropy_and_gradient(Z, targets, **options)
    close(got[0], loss, dtype, scale)
    close(got[1], dZ, dtype, scale)


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.lists(st.one_of(st.integers(), st.floats(), st.text(max_size=2)), max_size=4),
    st.lists(st.lists(st.floats(width=32), max_size=3), max_size=3),
    st.builds(
        np.zeros,
        st.lists(st.integers(0, 3), max_size=3).map(tuple),
        st.sampled_from(["f2", "f4", "f8", "f16", "i1", "u8", "c8", "O", "U2", "M8[s]", "V3", "?"]),
    ),
)
FUNCTIONS = [
    (fs.softmax, 3),
    (fs.log_softmax, 3),
    (fs.logsumexp, 3),
    (fs.cross_entropy, 2),
    (fs.cross_entropy_and_gradient, 2),
    (fs.softmax_jacobian, 1),
    (fs.softmax_jvp, 2),
    (fs.loss, 4),
    (fs.loss_and_gradient, 4),
    (fs.decision_function, 3),
    (fs.predict_proba, 3),
    (fs.predict_log_proba, 3),
    (fs.predict, 3),
    (fs.decide, 2),
    (fs.binary_to_softmax, 2),
    (fs.softmax_to_binary, 2),
    (fs.SoftmaxModel, 4),
]


@pytest.mark.filterwarnings("ignore")  # NumPy's, on what it makes of such values
@pytest.mark.parametrize(
    ("function", "n_arguments"), FUNCTIONS, ids=lambda v: getattr(v, "__name__", "")
)
@given(st.data())
@settings(COMMON, max_examples=40)
def test_nonsense_is_an_error_of_ours_or_right(function, n_arguments, data):
    arguments = [data.draw(ANYTHING) for _ in range(n_arguments)]
    with suppress(TypeError, ValueError):  # anything else fails the test
        function(*arguments)
