"""The formulas of docs/math.md, section by section, against the public functions.

Derivatives are held twice: against the formula, written out independently, and against central
differences in float64, of fourth order: with a step of 1e-3 they err by some 1e-12, from what the
order leaves out and from rounding, for functions and derivatives near 1, and by 1e-10 at most here.
"""

import importlib
import math
import re
from itertools import pairwise, product
from pathlib import Path

import mpmath
import numpy as np
import pytest
from csr_rows import CSRRows
from numpy.testing import assert_allclose, assert_array_equal

import fastsoftmax as fs
from fastsoftmax.solvers.folding import in_fewer_columns
from fastsoftmax.training.columns import Moments, moments
from fastsoftmax.training.samples import Samples

DOCUMENT = Path(__file__).parents[1] / "docs" / "math.md"

DIFFERENCES = {"rtol": 0, "atol": 1e-10}
ROUNDING = {"rtol": 1e-13, "atol": 1e-14}


@pytest.fixture(autouse=True)
def one_thread():
    """Thousands of tiny calls: where cores are busy, each would wait for a second thread."""
    with fs.num_threads(1):
        yield


def differences(f, x, step=1e-3):
    """Central differences of fourth order of f at x: shape f(x).shape + x.shape."""
    x = np.array(x, np.float64)
    slopes = []
    for cell in np.ndindex(x.shape):
        h = np.zeros_like(x)
        h[cell] = step
        near = np.asarray(f(x + h)) - np.asarray(f(x - h))
        far = np.asarray(f(x + 2 * h)) - np.asarray(f(x - 2 * h))
        slopes.append((8 * near - far) / (12 * step))
    slopes = np.stack(slopes, axis=-1)
    return slopes.reshape(slopes.shape[:-1] + x.shape)


def softmax_in_loops(z):
    """Of one row, by the definition."""
    total = sum(math.exp(z_k) for z_k in z)
    return np.array([math.exp(z_k) / total for z_k in z])


def logits_in_loops(X, W, b):
    (N, D), K = X.shape, W.shape[1]
    Z = [[sum(X[n, i] * W[i, k] for i in range(D)) + b[k] for k in range(K)] for n in range(N)]
    return np.array(Z)


def one_hot(labels, K):
    return np.array([[1.0 if k == label else 0.0 for k in range(K)] for label in labels])


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def data(N, D, K, seed=0):
    """(X, labels, soft targets whose rows do not sum to one, W, b, sample weights)"""
    rng = np.random.default_rng([seed, N, D, K])
    T = rng.uniform(0.1, 1.5, (N, K))
    T[::3, 0] = 0  # some classes have no weight
    return (
        rng.normal(size=(N, D)),
        rng.integers(K, size=N),
        T,
        rng.normal(size=(D, K)),
        rng.normal(size=K),
        rng.uniform(0.5, 2, N),
    )


# The document itself


def sections():
    text = DOCUMENT.read_text(encoding="utf-8")
    title_and_body = re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    return {title: body.strip() for title, body in title_and_body if title != "Sources"}


def test_each_section_names_the_functions_and_tests_that_hold_it():
    held = sections()
    assert len(held) == 19
    named = []
    for title, body in held.items():
        line = re.fullmatch(r"Held by: (.+) · test: (.+)", body.splitlines()[-1])
        assert line, title
        functions, tests = (re.findall(r"`([^`]+)`", part) for part in line.groups())
        assert functions, title
        assert [name for name in functions if not callable(getattr(fs, name, None))] == []
        assert tests, title
        named += tests
    own = {
        name for name, value in globals().items() if name.startswith("test_") and callable(value)
    }
    own -= {name for name in own if name.endswith(("hold_it", "exist"))}
    assert sorted(named) == sorted(f"tests/test_math.py::{name}" for name in own)


def test_sections_that_docstrings_refer_to_exist():
    docs = " ".join(getattr(fs, name).__doc__ or "" for name in fs.__all__)
    titles = re.findall(r'docs/math\.md,\s+"([^"]+)"', docs)
    assert len(titles) >= 5
    assert [title for title in titles if " ".join(title.split()) not in sections()] == []


# Notation


def test_notation_in_loops():
    X, labels, T, W, b, _ = data(5, 3, 4)
    Z = logits_in_loops(X, W, b)
    P = np.array([softmax_in_loops(z) for z in Z])
    assert_allclose(fs.decision_function(X, W, b), Z, **ROUNDING)
    assert_allclose(fs.predict_proba(X, W, b), P, **ROUNDING)
    assert_allclose(fs.predict_log_proba(X, W, b), np.log(P), **ROUNDING)
    for targets, rows in ((labels, one_hot(labels, 4)), (T, T)):
        J = [
            sum(t) * math.log(sum(math.exp(z_k) for z_k in z)) - sum(t * z)
            for z, t in zip(Z, rows, strict=True)
        ]
        assert_allclose(fs.loss(X, targets, W, b, reduction="none"), J, **ROUNDING)
        assert_allclose(fs.loss(X, targets, W, b, reduction="sum"), sum(J), **ROUNDING)


# Softmax maps to a probability vector


@pytest.mark.parametrize("K", [1, 2, 3, 10, 1001])
def test_softmax_is_a_probability_vector(K):
    Z = 5 * np.random.default_rng(K).normal(size=(50, K))
    P = fs.softmax(Z)
    assert (P > 0).all()
    assert (P <= 1).all()
    # each of the K terms is rounded, and their sum too
    assert_allclose(P.sum(axis=1), 1, rtol=0, atol=K * np.finfo(float).eps)
    assert_allclose(P, [softmax_in_loops(z) for z in Z], rtol=1e-13, atol=0)
    assert_array_equal(np.argsort(P, axis=1), np.argsort(Z, axis=1))


def test_softmax_is_invariant_to_shifts():
    # integers: adding 4096 is exact, and so are the differences that alone matter
    Z = np.random.default_rng(0).integers(-30, 30, (40, 7)).astype(float)
    for c in (4096.0, -4096.0):
        assert_array_equal(fs.softmax(Z + c), fs.softmax(Z))
        assert_array_equal(fs.log_softmax(Z + c), fs.log_softmax(Z))
        assert_allclose(fs.logsumexp(Z + c), fs.logsumexp(Z) + c, **ROUNDING)
    P = fs.softmax(Z)
    assert_allclose(P[:, 1:] / P[:, :1], np.exp(Z[:, 1:] - Z[:, :1]), rtol=1e-13, atol=0)


# A stable row

EXTREME_ROWS = [
    [50.0, 0.0, -3.0],
    [0.0, 37.5, 1.25],
    [-700.0, 0.0, -1.0],
    [700.0, 0.0, 699.0],
    [1e4, 1e4 - 40, 1e4 - 41],
    [0.1, 0.2, 0.3],
    [3.0, 3.0, -50.0],
    [2.0],
]


def exactly(z):
    """(softmax, log-softmax, log-sum-exp) of one row by their definitions, in 400 digits."""
    with mpmath.workdps(400):
        E = [mpmath.exp(mpmath.mpf(z_k)) for z_k in z]
        p = [e / mpmath.fsum(E) for e in E]
        return (
            np.array([float(p_k) for p_k in p]),
            np.array([float(mpmath.log(p_k)) for p_k in p]),
            float(mpmath.log(mpmath.fsum(E))),
        )


@pytest.mark.parametrize("z", EXTREME_ROWS, ids=str)
def test_stable_row_keeps_relative_accuracy(z):
    p, log_p, lse = exactly(z)
    # the rounding of z_k - m, 700 * 2**-53 = 8e-14 at the most, is the relative error of its exp
    assert_allclose(fs.softmax(z), p, rtol=1e-13, atol=0)
    assert_allclose(fs.log_softmax(z), log_p, rtol=1e-14, atol=0)
    assert_allclose(fs.logsumexp(z), lse, rtol=1e-15, atol=0)


def test_residual_and_loss_where_one_class_has_nearly_all_the_mass():
    z, j = np.array([0.0, 50.0, -3.0]), 1
    _, log_p, lse = exactly(z)
    assert z[j] - lse == 0  # what the plain formulas give: nothing is left
    assert fs.softmax(z)[j] - 1 == 0
    with mpmath.workdps(60):
        q = mpmath.exp(-50) + mpmath.exp(-53)
        share = float(q / (1 + q))
    loss, dZ = fs.cross_entropy_and_gradient([z], [j])
    assert_allclose(loss, -log_p[j], rtol=1e-14, atol=0)
    assert_allclose(dZ[0], [fs.softmax(z)[0], -share, fs.softmax(z)[2]], rtol=1e-14, atol=0)
    # any sum of targets, here 3, and the kernel that reads X
    loss, dZ = fs.cross_entropy_and_gradient([z], [[0.0, 3.0, 0.0]])
    assert_allclose([loss, dZ[0, j]], [-3 * log_p[j], -3 * share], rtol=1e-14, atol=0)
    loss, _, grad_b = fs.loss_and_gradient([[1.0]], [j], [z], np.zeros(3))
    assert_allclose([loss, grad_b[j]], [-log_p[j], -share], rtol=1e-14, atol=0)


def test_stable_row_does_not_overflow():
    assert_array_equal(fs.softmax([1e4, -1e4]), [1, 0])
    assert_array_equal(fs.log_softmax([1e4, -1e4]), [0, -2e4])
    assert_array_equal(fs.softmax([1e308, 1e308]), [0.5, 0.5])
    assert fs.logsumexp([1e4, -1e4]) == 1e4
    assert_allclose(fs.logsumexp([-1e4, -1e4]), -1e4 + math.log(2), rtol=1e-15, atol=0)
    assert fs.cross_entropy([[1e4, -1e4]], [1]) == 2e4
    assert_array_equal(fs.cross_entropy_and_gradient([[1e4, -1e4]], [1])[1], [[1, -1]])


def test_special_values():
    inf, nan = math.inf, math.nan
    assert_array_equal(fs.softmax([0, -inf, 0]), [0.5, 0, 0.5])
    assert_allclose(fs.log_softmax([0, -inf, 0]), [-math.log(2), -inf, -math.log(2)], rtol=1e-15)
    assert_allclose(fs.logsumexp([0, -inf, 0]), math.log(2), rtol=1e-15)
    assert_array_equal(fs.softmax([-inf, -inf]), [nan, nan])
    assert fs.logsumexp([-inf, -inf]) == -inf
    assert_array_equal(fs.softmax([inf, 0]), [nan, nan])
    assert_array_equal(fs.log_softmax([inf, 0]), [nan, -inf])
    assert fs.logsumexp([inf, 0]) == inf
    for z in ([nan, 0], [0, nan], [inf, nan], [nan, -inf]):
        assert_array_equal(fs.softmax(z), [nan, nan])
        assert_array_equal(fs.log_softmax(z), [nan, nan])
        assert math.isnan(fs.logsumexp(z))


# The Jacobian of softmax


@pytest.mark.parametrize("K", [1, 2, 3, 6])
def test_jacobian_by_central_differences(K):
    z = np.random.default_rng(K).normal(size=K)
    G = fs.softmax_jacobian(fs.softmax(z))
    assert G.shape == (K, K)
    assert_allclose(G, differences(fs.softmax, z), **DIFFERENCES)
    assert_array_equal(G, G.T)
    assert_allclose(G.sum(axis=1), np.zeros(K), rtol=0, atol=1e-15)


def test_jacobian_case_by_case():
    P = np.array([softmax_in_loops(z) for z in np.random.default_rng(0).normal(size=(3, 4))])
    G = fs.softmax_jacobian(P)
    assert G.shape == (3, 4, 4)
    for n, i, j in product(range(3), range(4), range(4)):
        expected = P[n, i] * (1 - P[n, i]) if i == j else -P[n, i] * P[n, j]
        assert G[n, i, j] == pytest.approx(expected, rel=1e-14, abs=0)


def test_jvp_needs_no_matrix():
    rng = np.random.default_rng(0)
    Z, V = rng.normal(size=(2, 3, 5)), rng.normal(size=(2, 3, 5))
    P = fs.softmax(Z)
    GV = np.array([[fs.softmax_jacobian(P[a, n]) @ V[a, n] for n in range(3)] for a in range(2)])
    assert_allclose(fs.softmax_jvp(P, V), GV, rtol=0, atol=1e-15)
    along_V = differences(lambda h: fs.softmax(Z + h * V), 0.0)
    assert_allclose(fs.softmax_jvp(P, V), along_V, **DIFFERENCES)


# The cross-entropy


def test_cross_entropy_is_minus_the_sum_of_t_log_p():
    _, labels, T, _, _, _ = data(6, 1, 4)
    Z = np.random.default_rng(1).normal(size=(6, 4))
    log_P = np.array([[math.log(p) for p in softmax_in_loops(z)] for z in Z])
    for_labels = [-log_P[n, labels[n]] for n in range(6)]
    for_rows = [-sum(T[n, k] * log_P[n, k] for k in range(4)) for n in range(6)]
    assert abs(T.sum(axis=1) - 1).min() > 0.05
    for targets, J in ((labels, for_labels), (one_hot(labels, 4), for_labels), (T, for_rows)):
        assert_allclose(fs.cross_entropy(Z, targets, reduction="none"), J, **ROUNDING)
        # Z is X W with W the identity
        assert_allclose(fs.loss(Z, targets, np.eye(4), reduction="none"), J, **ROUNDING)


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.7, 1.0])
def test_label_smoothing_mixes_two_losses(epsilon):
    _, labels, T, _, _, _ = data(6, 1, 4)
    Z = np.random.default_rng(2).normal(size=(6, 4))
    for targets, rows in ((labels, one_hot(labels, 4)), (T, T)):
        s = rows.sum(axis=1)
        smoothed = (1 - epsilon) * rows + epsilon * s[:, None] / 4
        assert_allclose(smoothed.sum(axis=1), s, **ROUNDING)
        uniform = -np.log([softmax_in_loops(z) for z in Z]).sum(axis=1)
        plain = fs.cross_entropy(Z, targets, reduction="none")
        J = fs.cross_entropy(Z, targets, label_smoothing=epsilon, reduction="none")
        assert_allclose(J, (1 - epsilon) * plain + epsilon * s / 4 * uniform, **ROUNDING)
        assert_allclose(J, fs.cross_entropy(Z, smoothed, reduction="none"), **ROUNDING)


def test_classes_without_weight_count_nothing():
    Z = [[0.0, 0.0, -math.inf]]
    for targets in ([0], [[1.0, 0.0, 0.0]], [[0.25, 0.75, 0.0]]):
        loss, dZ = fs.cross_entropy_and_gradient(Z, targets)
        assert loss == pytest.approx(math.log(2), rel=1e-15)
        assert dZ[0, 2] == 0
    assert fs.cross_entropy(Z, [2]) == math.inf
    assert fs.cross_entropy(Z, [[1.0, 0.0, 1e-9]]) == math.inf
    assert fs.cross_entropy(Z, [0], label_smoothing=0.1) == math.inf
    loss, dZ = fs.cross_entropy_and_gradient([[1.0, 2.0]], [[0.0, 0.0]])
    assert loss == 0
    assert_array_equal(dZ, [[0, 0]])


REDUCE = {
    "none": lambda losses, a: losses,
    "sum": lambda losses, a: losses.sum(),
    "mean": lambda losses, a: losses.sum() / a.sum(),
}


def test_sample_weights_and_reductions():
    _, labels, T, _, _, a = data(6, 1, 4)
    Z = np.random.default_rng(3).normal(size=(6, 4))
    for targets in (labels, T):
        J = fs.cross_entropy(Z, targets, reduction="none")
        weighted = {r: fs.cross_entropy(Z, targets, sample_weight=a, reduction=r) for r in REDUCE}
        for reduction, reduce in REDUCE.items():
            assert_allclose(weighted[reduction], reduce(a * J, a), **ROUNDING)
            by_X = fs.loss(Z, targets, np.eye(4), sample_weight=a, reduction=reduction)
            assert_allclose(by_X, weighted[reduction], **ROUNDING)
        assert_allclose(fs.cross_entropy(Z, targets), J.sum() / 6, **ROUNDING)
        times = np.array([0, 1, 2, 3, 1, 4])  # an integer weight repeats the row
        repeated = fs.cross_entropy(np.repeat(Z, times, axis=0), np.repeat(targets, times, axis=0))
        assert_allclose(fs.cross_entropy(Z, targets, sample_weight=times), repeated, **ROUNDING)
        tiny = fs.cross_entropy(Z, targets, sample_weight=a * 2.0**-1000)
        assert tiny == weighted["mean"]
        assert times[0] == 0  # a weight of zero leaves the row out
        Z_0 = np.concatenate([np.full((1, 4), np.nan), Z[1:]])
        assert_allclose(fs.cross_entropy(Z_0, targets, sample_weight=times), repeated, **ROUNDING)
    assert_allclose(fs.cross_entropy(Z, 2 * T), 2 * fs.cross_entropy(Z, T), **ROUNDING)


# The gradient with respect to the logits


def test_logit_gradient_by_the_chain_rule():
    _, labels, T, _, _, _ = data(6, 1, 4)
    Z = np.random.default_rng(4).normal(size=(6, 4))
    rows = one_hot(labels, 4)
    for targets, t in ((labels, rows), (rows, rows), (T, T)):
        _, dZ = fs.cross_entropy_and_gradient(Z, targets, reduction="sum")
        for n in range(6):
            y = softmax_in_loops(Z[n])
            G = differences(softmax_in_loops, Z[n])
            assert_allclose(dZ[n], G.T @ (-t[n] / y), **DIFFERENCES)
            assert_allclose(dZ[n], fs.softmax_jvp(y, -t[n] / y), **ROUNDING)
            assert_allclose(dZ[n], t[n].sum() * y - t[n], **ROUNDING)
    Y = np.array([softmax_in_loops(z) for z in Z])
    assert_allclose(fs.cross_entropy_and_gradient(Z, labels)[1], (Y - rows) / 6, **ROUNDING)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("epsilon", [0.0, 0.2])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_logit_gradient_by_central_differences(reduction, epsilon, soft, weighted):
    _, labels, T, _, _, a = data(4, 1, 3)
    Z = np.random.default_rng(5).normal(size=(4, 3))
    arguments = {
        "targets": T if soft else labels,
        "sample_weight": a if weighted else None,
        "label_smoothing": epsilon,
        "reduction": reduction,
    }
    loss, dZ = fs.cross_entropy_and_gradient(Z, **arguments)
    assert_allclose(loss, fs.cross_entropy(Z, **arguments), **ROUNDING)
    slopes = differences(lambda Z: fs.cross_entropy(Z, **arguments), Z)
    if reduction == "none":  # row n of dZ is the gradient of loss n, which sees no other row
        assert slopes.shape == (4, 4, 3)
        assert_array_equal(slopes[~np.eye(4, dtype=bool)], np.zeros((12, 3)))
        slopes = slopes[np.arange(4), np.arange(4)]
    assert_allclose(dZ, slopes, **DIFFERENCES)
    assert abs(dZ).max() > 0.05


def test_residuals_of_a_row_sum_to_zero():
    _, labels, T, _, _, a = data(50, 1, 7)
    Z = 3 * np.random.default_rng(6).normal(size=(50, 7))
    for targets, epsilon in product((labels, T), (0.0, 0.3)):
        _, dZ = fs.cross_entropy_and_gradient(
            Z, targets, sample_weight=a, label_smoothing=epsilon, reduction="sum"
        )
        assert abs(dZ).max() > 0.5
        assert_allclose(dZ.sum(axis=1), np.zeros(50), rtol=0, atol=1e-14)


# One sample: weights and bias


def test_one_sample_in_loops():
    X, labels, T, W, b, _ = data(1, 3, 4)
    (y,) = fs.predict_proba(X, W, b)
    (hot,) = one_hot(labels, 4)
    for targets, t, s in ((labels, hot, 1), (T, T[0], T[0].sum())):
        _, grad_W, grad_b = fs.loss_and_gradient(X, targets, W, b)
        for k, i in product(range(4), range(3)):
            assert grad_W[i, k] == pytest.approx((s * y[k] - t[k]) * X[0, i], rel=1e-13)
        for k in range(4):
            assert grad_b[k] == pytest.approx(s * y[k] - t[k], rel=1e-13)
        by_W = differences(lambda W, targets=targets: fs.loss(X, targets, W, b), W)
        by_b = differences(lambda b, targets=targets: fs.loss(X, targets, W, b), b)
        assert_allclose(grad_W, by_W, **DIFFERENCES)
        assert_allclose(grad_b, by_b, **DIFFERENCES)
        # a bias is the weight of a feature that is always 1
        _, both, _ = fs.loss_and_gradient(
            np.column_stack([X, [1.0]]), targets, np.vstack([W, b]), None
        )
        assert_allclose(both, np.vstack([grad_W, grad_b]), **ROUNDING)


# M samples


@pytest.mark.parametrize("soft", [False, True])
def test_m_samples_are_the_sum_of_single_samples(soft):
    M = 9
    X, labels, T, W, b, a = data(M, 3, 4)
    targets = T if soft else labels
    singles = [fs.loss_and_gradient(X[n : n + 1], targets[n : n + 1], W, b) for n in range(M)]
    for weight, total in ((None, M), (a, a.sum())):
        factor = np.ones(M) if weight is None else weight
        sums = [sum(factor[n] * singles[n][part] for n in range(M)) for part in range(3)]
        arguments = (X, targets, W, b)
        summed = fs.loss_and_gradient(*arguments, sample_weight=weight, reduction="sum")
        mean = fs.loss_and_gradient(*arguments, sample_weight=weight)
        for part in range(3):
            assert_allclose(summed[part], sums[part], **ROUNDING)
            assert_allclose(mean[part], sums[part] / total, **ROUNDING)


# The matrix form


@pytest.mark.parametrize(("N", "D", "K"), [(1, 1, 1), (7, 3, 4), (130, 17, 11), (300, 5, 2)])
@pytest.mark.parametrize("soft", [False, True])
def test_matrix_form(N, D, K, soft):
    X, labels, T, W, b, a = data(N, D, K)
    rows = T if soft else one_hot(labels, K)
    Z = X @ W + b
    E = np.exp(Z)
    R = rows.sum(axis=1)[:, None] * E / E.sum(axis=1, keepdims=True) - rows
    arguments = (X, T if soft else labels, W, b)
    _, grad_W, grad_b = fs.loss_and_gradient(*arguments, reduction="sum")
    assert grad_W.shape == (D, K)
    assert grad_b.shape == (K,)
    # sums of N terms of both signs: the error is relative to the terms
    close = {"rtol": 1e-13, "atol": N * 1e-15}
    assert_allclose(grad_W, X.T @ R, **close)
    assert_allclose(grad_b, R.sum(axis=0), **close)
    assert_allclose(grad_W.sum(axis=1), np.zeros(D), rtol=0, atol=N * 1e-14)
    assert_allclose(grad_b.sum(), 0, rtol=0, atol=N * 1e-14)
    loss, grad_W, grad_b = fs.loss_and_gradient(*arguments, sample_weight=a, l2=0.3)
    J = rows.sum(axis=1) * np.log(E.sum(axis=1)) - (rows * Z).sum(axis=1)
    assert_allclose(loss, a @ J / a.sum() + 0.15 * (W**2).sum(), **ROUNDING)
    assert_allclose(grad_W, X.T @ (a[:, None] * R) / a.sum() + 0.3 * W, **ROUNDING)
    assert_allclose(grad_b, R.T @ a / a.sum(), **ROUNDING)


def test_blocks_of_rows_give_the_same_sum():
    N = 1000
    X, _, T, W, b, a = data(N, 6, 5)
    cuts = [0, 1, 64, 500, 501, N]
    whole = fs.loss_and_gradient(X, T, W, b, sample_weight=a, reduction="sum")
    blocks = [
        fs.loss_and_gradient(X[i:j], T[i:j], W, b, sample_weight=a[i:j], reduction="sum")
        for i, j in pairwise(cuts)
    ]
    for part in range(3):
        # sums of 1000 terms of both signs, rounded in another order
        assert_allclose(sum(block[part] for block in blocks), whole[part], rtol=1e-13, atol=1e-12)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("epsilon", [0.0, 0.2])
@pytest.mark.parametrize("l2", [0.0, 0.5])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_every_weight_by_central_differences(soft, weighted, epsilon, l2, reduction):
    X, labels, T, W, b, a = data(5, 3, 4)
    arguments = {
        "sample_weight": a if weighted else None,
        "label_smoothing": epsilon,
        "l2": l2,
        "reduction": reduction,
    }
    targets = T if soft else labels
    loss, grad_W, grad_b = fs.loss_and_gradient(X, targets, W, b, **arguments)
    assert_allclose(loss, fs.loss(X, targets, W, b, **arguments), **ROUNDING)
    by_W = differences(lambda W: fs.loss(X, targets, W, b, **arguments), W)
    by_b = differences(lambda b: fs.loss(X, targets, W, b, **arguments), b)
    assert_allclose(grad_W, by_W, **DIFFERENCES)
    assert_allclose(grad_b, by_b, **DIFFERENCES)
    _, grad_W, nothing = fs.loss_and_gradient(X, targets, W, **arguments)
    assert nothing is None
    by_W = differences(lambda W: fs.loss(X, targets, W, **arguments), W)
    assert_allclose(grad_W, by_W, **DIFFERENCES)
    assert abs(grad_W).max() > 0.05


# The likelihood view


def log_likelihood(X, labels, W, b):
    """The log of the product of the probabilities of the labels."""
    P = [softmax_in_loops(z) for z in logits_in_loops(X, W, b)]
    return math.log(math.prod(P[n][label] for n, label in enumerate(labels)))


def test_a_step_of_ascent_raises_the_likelihood():
    X, labels, _, W, b, _ = data(8, 3, 4)
    before = log_likelihood(X, labels, W, b)
    loss, grad_W, grad_b = fs.loss_and_gradient(X, labels, W, b, reduction="sum")
    assert_allclose(-loss, before, **ROUNDING)
    residual = one_hot(labels, 4) - fs.predict_proba(X, W, b)
    up_W, up_b = X.T @ residual, residual.sum(axis=0)
    assert_allclose(up_W, -grad_W, **ROUNDING)
    assert_allclose(up_b, -grad_b, **ROUNDING)
    square = (up_W**2).sum() + (up_b**2).sum()
    assert square > 1
    rate = 1e-4
    after = log_likelihood(X, labels, W + rate * up_W, b + rate * up_b)
    assert after > before
    # the next term of the Taylor series is the curvature times rate**2
    assert_allclose((after - before) / (rate * square), 1, rtol=0, atol=2e-3)
    assert log_likelihood(X, labels, W - rate * up_W, b - rate * up_b) < before
    slope = differences(lambda h: log_likelihood(X, labels, W + h * up_W, b + h * up_b), 0.0, 1e-4)
    assert_allclose(slope, square, rtol=1e-9, atol=0)


def test_intercepts_alone_fit_the_class_frequencies():
    labels = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 2])
    counts = np.array([3, 2, 5])
    X, W = np.zeros((10, 0)), np.zeros((0, 3))
    loss, _, grad_b = fs.loss_and_gradient(X, labels, W, np.log(counts), reduction="sum")
    assert_allclose(grad_b, np.zeros(3), rtol=0, atol=1e-14)
    assert_allclose(loss, -sum(c * math.log(c / 10) for c in (3, 2, 5)), **ROUNDING)
    P = fs.predict_proba(X, W, np.log(counts))
    assert_allclose(P.sum(axis=0), counts, **ROUNDING)


# Logistic regression is two-way softmax


def test_logistic_regression_as_two_way_softmax():
    rng = np.random.default_rng(7)
    X, labels, w, b = rng.normal(size=(20, 3)), rng.integers(2, size=20), rng.normal(size=3), 0.4
    z = X @ w + b
    W, biases = fs.binary_to_softmax(w, b)
    assert_array_equal(W, np.column_stack([np.zeros(3), w]))
    assert_array_equal(biases, [0, b])
    P = fs.predict_proba(X, W, biases)
    assert_allclose(P, np.column_stack([sigmoid(-z), sigmoid(z)]), **ROUNDING)
    mirrored = fs.predict_proba(X, W[:, ::-1], biases[::-1])  # the first class keeps w
    assert_allclose(mirrored, np.column_stack([sigmoid(z), sigmoid(-z)]), **ROUNDING)
    log_loss = -labels * np.log(sigmoid(z)) - (1 - labels) * np.log(1 - sigmoid(z))
    loss, grad_W, grad_b = fs.loss_and_gradient(X, labels, W, biases, reduction="sum")
    assert_allclose(loss, log_loss.sum(), **ROUNDING)
    grad_w = X.T @ (sigmoid(z) - labels)
    assert_allclose(grad_W, np.column_stack([-grad_w, grad_w]), **ROUNDING)
    assert_allclose(grad_b[1], (sigmoid(z) - labels).sum(), **ROUNDING)
    assert len(set(labels)) == 2


def test_two_way_softmax_as_logistic_regression():
    X, _, _, W, b, _ = data(20, 3, 2)
    w, bias = fs.softmax_to_binary(W, b)
    assert_array_equal(w, W[:, 1] - W[:, 0])
    assert bias == b[1] - b[0]
    assert_allclose(fs.predict_proba(X, W, b)[:, 1], sigmoid(X @ w + bias), **ROUNDING)
    back_w, back_b = fs.softmax_to_binary(*fs.binary_to_softmax(w, bias))
    assert_array_equal(back_w, w)
    assert back_b == bias


def test_one_weight_vector_is_redundant():
    X, labels, _, W, b, _ = data(20, 3, 5)
    c = np.random.default_rng(8).normal(size=(3, 1))
    loss, grad_W, grad_b = fs.loss_and_gradient(X, labels, W, b)
    moved = fs.loss_and_gradient(X, labels, W + c, b - 2.5)
    assert_allclose(moved[0], loss, **ROUNDING)
    assert_allclose(moved[1], grad_W, **ROUNDING)
    assert_allclose(moved[2], grad_b, **ROUNDING)
    P = fs.predict_proba(X, W, b)
    assert_allclose(fs.predict_proba(X, W + c, b - 2.5), P, **ROUNDING)
    # one class may have zeros
    assert_allclose(fs.predict_proba(X, W - W[:, :1], b - b[0]), P, **ROUNDING)
    assert abs(fs.predict_proba(X, W + c * [1, 0, 0, 0, 0], b) - P).max() > 0.05


def test_penalty_of_the_smallest_representative():
    rng = np.random.default_rng(9)
    X, labels, w = rng.normal(size=(20, 3)), rng.integers(2, size=20), rng.normal(size=3)
    half = np.column_stack([-w / 2, w / 2])
    z = X @ w
    log_loss = (-labels * np.log(sigmoid(z)) - (1 - labels) * np.log(1 - sigmoid(z))).mean()
    loss = fs.loss(X, labels, half, l2=0.8)
    assert_allclose(loss, log_loss + 0.4 / 2 * (w**2).sum(), **ROUNDING)
    for c in 0.01 * rng.normal(size=(10, 3, 1)):
        assert fs.loss(X, labels, half + c, l2=0.8) > loss


# The decision of greatest expected utility


def decide_in_loops(P, U):
    decisions = []
    for p in P:
        worth = [sum(u * p_k for u, p_k in zip(row, p, strict=True)) for row in U]
        assert sorted(worth)[-1] - sorted(worth)[-2] > 1e-9  # no tie for rounding to break
        decisions.append(worth.index(max(worth)))
    return decisions


def test_decide_in_loops():
    rng = np.random.default_rng(10)
    P = fs.softmax(2 * rng.normal(size=(40, 4)))
    U, u = np.eye(3, 4) + 0.3 * rng.normal(size=(3, 4)), rng.uniform(0.2, 3, 4)
    by_matrix = decide_in_loops(P, U)
    assert set(by_matrix) == {0, 1, 2}
    assert_array_equal(fs.decide(P, U), by_matrix)
    by_vector = decide_in_loops(P, np.diag(u))
    assert set(by_vector) == {0, 1, 2, 3}
    assert_array_equal(fs.decide(P, u), by_vector)
    assert_array_equal(fs.decide(P, np.diag(u)), by_vector)
    assert (np.array(by_vector) != P.argmax(axis=1)).any()
    assert fs.decide(P[0], u) == by_vector[0]
    # worked by hand: 0.7 * 1 < 0.3 * 5; treat (0.6 * 1 - 0.4 * 2) or not (0)
    assert fs.decide([0.7, 0.3], [1.0, 5.0]) == 1
    assert fs.decide([0.6, 0.4], [[1.0, -2.0], [0.0, 0.0]]) == 1


def test_zero_one_utility_takes_the_most_probable_class():
    X, _, _, W, _, _ = data(60, 3, 4)
    b = np.array([0.25, -0.25, 0.5, 0.0])
    P = fs.predict_proba(X, W, b)
    most_probable = [max(range(4), key=lambda k, p=p: p[k]) for p in P]
    assert set(most_probable) == {0, 1, 2, 3}
    assert_array_equal(fs.decide(P, np.ones(4)), most_probable)
    assert_array_equal(fs.decide(P, np.eye(4)), most_probable)
    assert_array_equal(fs.predict(X, W, b), most_probable)
    assert_array_equal(fs.predict_log_proba(X, W, b).argmax(axis=1), most_probable)
    assert_array_equal(fs.decision_function(X, W, b).argmax(axis=1), most_probable)
    ties = [[0.25, 0.375, 0.375], [0.5, 0.5, 0.0]]
    assert_array_equal(fs.decide(ties, np.ones(3)), [1, 0])
    assert_array_equal(fs.decide(ties, np.eye(3)), [1, 0])
    assert_array_equal(fs.predict(ties, np.eye(3)), [1, 0])


def test_what_leaves_a_decision_unchanged():
    rng = np.random.default_rng(11)
    P = fs.softmax(2 * rng.normal(size=(40, 4)))
    U, u = np.eye(3, 4) + 0.3 * rng.normal(size=(3, 4)), rng.uniform(0.2, 3, 4)
    c = rng.normal(size=4)
    decisions = decide_in_loops(P, U)
    assert set(decisions) == {0, 1, 2}
    assert_array_equal(fs.decide(P, 7.5 * U), decisions)
    assert_array_equal(fs.decide(P, U + c), decisions)
    assert (fs.decide(P, U + c[:3, None]) != decisions).any()  # by decision: it does matter
    assert_array_equal(fs.decide(P, 7.5 * u), decide_in_loops(P, np.diag(u)))
    assert fs.decide([0.7, 0.3], np.array([1.0, 5.0]) + 100) == 0  # and 1 without the 100


# Scaled features


def test_scaled_features_are_folded_into_the_weights():
    X, labels, _, _, _, a = data(40, 3, 4)
    X = X * [0.01, 5, 100] + [1, -30, 1000]
    mean = np.average(X, axis=0, weights=a)
    scale = 1 / np.sqrt(np.average((X - mean) ** 2, axis=0, weights=a))
    U = (X - mean) * scale
    options = {"sample_weight": a, "learning_rate": 0.3, "batch_size": 7, "epochs": 5}
    model = fs.fit_sgd(X, labels, **options).model
    by_hand = fs.fit_sgd(U, labels, standardize=False, **options).model
    V, c = by_hand.W, by_hand.b
    W = scale[:, None] * V
    assert_allclose(fs.decision_function(U, V, c), X @ W + (c - mean @ W), rtol=0, atol=1e-10)
    assert_allclose(model.W / scale[:, None], V, rtol=0, atol=1e-11)
    assert_allclose(model.b, c - mean @ W, rtol=0, atol=1e-9)
    # and the way back: none of it is lost where a training goes on
    again = fs.fit_sgd(X, labels, init=model, epochs=0).model
    assert_allclose(again.W, model.W, rtol=1e-14)
    assert_allclose(again.b, model.b, rtol=0, atol=1e-13 * np.abs(mean @ W).max())


def test_penalty_on_the_scaled_weights_has_no_units():
    X, labels, *_ = data(40, 3, 4)
    metres, millimetres = (
        fs.fit_sgd(X * unit, labels, l2=0.5, learning_rate=0.1).model for unit in (1, 1000)
    )
    assert_allclose(1000 * millimetres.W, metres.W, rtol=1e-11)
    as_they_are = [
        fs.fit_sgd(X * unit, labels, l2=0.5, learning_rate=0.1, standardize=False).model
        for unit in (1, 2)
    ]
    assert abs(2 * as_they_are[1].W - as_they_are[0].W).max() > 0.01


def test_moments_of_parts_combine():
    X, _, _, _, _, a = data(50, 3, 2)
    parts = []
    for rows in (slice(0, 7), slice(7, 30), slice(30, 50)):
        mean = np.average(X[rows], axis=0, weights=a[rows])
        spread = (a[rows, None] * (X[rows] - mean) ** 2).sum(axis=0)
        parts.append(Moments(a[rows].sum(), mean, spread))
    whole = parts[0].merged(parts[1]).merged(parts[2])
    mean = (a[:, None] * X).sum(axis=0) / a.sum()
    assert_allclose(whole.weight, a.sum(), rtol=1e-14)
    assert_allclose(whole.mean, mean, **ROUNDING)
    assert_allclose(whole.spread, (a[:, None] * (X - mean) ** 2).sum(axis=0), rtol=1e-13)
    nothing = Moments(0.0, np.zeros(3), np.zeros(3))
    for merged in (nothing.merged(whole), whole.merged(nothing)):
        assert_array_equal(merged.mean, whole.mean)
        assert_array_equal(merged.spread, whole.spread)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("origin", [0.0, 1e4, 1e6])
def test_moments_keep_their_accuracy_far_from_zero(origin, dtype):
    """20 000 rows: many chunks."""
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(20_000, 3)) + origin).astype(dtype)
    a = rng.uniform(0, 2, 20_000)
    found = moments(Samples(X, np.zeros(20_000, np.int64), a, a.sum()))
    shifted = X.astype(np.float64) - origin  # exact enough: |x - origin| is about 1
    mean = (a[:, None] * shifted).sum(axis=0) / a.sum()
    assert_allclose(found.weight, a.sum(), rtol=1e-12)
    assert_allclose(found.mean, origin + mean, rtol=1e-14, atol=1e-14)
    assert_allclose(found.spread, (a[:, None] * (shifted - mean) ** 2).sum(axis=0), rtol=1e-10)
    naive = (a[:, None] * X.astype(np.float64) ** 2).sum(axis=0) - a.sum() * found.mean**2
    if origin == 1e6:  # what the formula spares us
        assert abs(naive / found.spread - 1).max() > 1e-6


# How far a step may go


def test_hessian_by_the_logits():
    z = np.random.default_rng(12).normal(size=5)
    G = fs.softmax_jacobian(fs.softmax(z))
    for t in ([0.0, 1.0, 0.0, 0.0, 0.0], [0.5, 1.0, 0.0, 2.0, 0.25]):
        hessian = differences(lambda z, t=t: fs.cross_entropy_and_gradient([z], [t])[1][0], z)
        assert_allclose(hessian, sum(t) * G, **DIFFERENCES)
    v = np.random.default_rng(13).normal(size=5)
    p = fs.softmax(z)
    variance = sum(p * v**2) - sum(p * v) ** 2
    assert_allclose(v @ G @ v, variance, **ROUNDING)
    assert_allclose(v @ fs.softmax_jvp(p, v), variance, **ROUNDING)


@pytest.mark.parametrize("K", [1, 2, 3, 8])
def test_jacobian_is_bounded_by_one_half(K):
    # scales from nearly uniform to nearly certain
    scale = np.logspace(-2, 1.5, 200)[:, None]
    P = fs.softmax(scale * np.random.default_rng(K).normal(size=(200, K)))
    G = fs.softmax_jacobian(P)
    assert np.linalg.eigvalsh(G).min() > -1e-15
    assert np.linalg.eigvalsh(G).max() < 0.5 + 1e-15
    bound = (np.eye(K) - np.ones((K, K)) / K) / 2
    assert np.linalg.eigvalsh(bound - G).min() > -1e-15
    if K > 1:  # attained where two classes share all the mass
        p = np.zeros(K)
        p[:2] = 0.5
        assert_allclose(np.linalg.eigvalsh(fs.softmax_jacobian(p)).max(), 0.5, rtol=1e-14)
        largest = differences(fs.softmax, np.where(p > 0, 0.0, -800.0))
        assert_allclose(np.linalg.eigvalsh(largest).max(), 0.5, **DIFFERENCES)


def flat_gradient(theta, X, targets, K, **arguments):
    """The gradient by theta, (D + 1) K numbers: the rows of W, then b."""
    W, b = theta[:-K].reshape(-1, K), theta[-K:]
    _, grad_W, grad_b = fs.loss_and_gradient(X, targets, W, b, **arguments)
    return np.concatenate([grad_W.ravel(), grad_b])


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_curvature_by_the_weights(soft, scale):
    X, labels, T, W, b, a = data(12, 2, 3)
    W, b = scale * W, scale * b
    targets = T if soft else labels
    s = T.sum(axis=1) if soft else np.ones(12)
    theta = np.concatenate([W.ravel(), b])
    X1 = np.column_stack([X, np.ones(12)])
    P = fs.predict_proba(X, W, b)
    for l2 in (0.0, 0.7):
        arguments = {"sample_weight": a, "l2": l2}
        hessian = differences(
            lambda theta, kw=arguments: flat_gradient(theta, X, targets, 3, **kw), theta
        )
        formula = sum(
            a[n] * s[n] * np.kron(np.outer(X1[n], X1[n]), fs.softmax_jacobian(P[n]))
            for n in range(12)
        ) / a.sum() + l2 * np.diag([1.0] * 6 + [0.0] * 3)
        assert_allclose(hessian, formula, **DIFFERENCES)
        curvature = np.linalg.eigvalsh((hessian + hessian.T) / 2).max()
        C = (X1.T * (a * s)) @ X1 / a.sum()
        by_eigenvalue = np.linalg.eigvalsh(C).max() / 2 + l2
        by_trace = (a * s * ((X**2).sum(axis=1) + 1)).sum() / a.sum() / 2 + l2
        assert 0.1 < curvature < by_eigenvalue < by_trace


def test_a_step_of_one_over_the_bound_descends():
    for seed in range(20):
        X, labels, _, W, b, _ = data(15, 3, 4, seed)
        L = ((X**2).sum(axis=1) + 1).mean() / 2 + 0.1
        loss, grad_W, grad_b = fs.loss_and_gradient(X, labels, W, b, l2=0.1)
        square = (grad_W**2).sum() + (grad_b**2).sum()
        assert square > 0.01
        after = fs.loss(X, labels, W - grad_W / L, b - grad_b / L, l2=0.1)
        assert after <= loss - square / (2 * L)


def test_mean_square_of_a_batchs_curvature():
    """Over all batches of two rows out of five, each as probable as the others."""
    X, *_ = data(5, 3, 2)
    X1 = np.column_stack([X, np.ones(5)])
    squares = [np.outer(x, x) for x in X1]
    mean_square = (
        sum(
            np.linalg.matrix_power((squares[i] + squares[j]) / 2, 2)
            for i, j in product(range(5), repeat=2)
        )
        / 25
    )
    C = sum(squares) / 5
    of_long_rows = sum((x @ x) * np.outer(x, x) for x in X1) / 5
    assert_allclose(mean_square, C @ C / 2 + of_long_rows / 2, **ROUNDING)


def curvature_of_batches(U, a, batch_size, l2=0.0):
    """Of steps shortened along the steeper two of four directions, to the curvature of the next."""
    values, Q = np.linalg.eigh((U.T * a) @ U / a.sum())
    level = max(values[1], 2 * l2)
    for value, q in zip(values[2:], Q.T[2:], strict=True):
        U = U - max(1 - np.sqrt(level / value), 0) * np.outer(U @ q, q)
    one = np.sqrt(min(level, 1))
    C, mean = (U.T * a) @ U / a.sum(), one * a @ U / a.sum()
    bound = np.array([[np.linalg.eigvalsh(C).max(), np.sqrt(mean @ mean)], [0, one**2]])
    whole = np.linalg.eigvalsh(bound, UPLO="U").max() / 2
    U1 = np.column_stack([U, np.full(len(U), one)])
    assert whole >= np.linalg.eigvalsh((U1.T * a) @ U1 / a.sum()).max() / 2 - 1e-12
    return whole if batch_size >= len(U) else whole + (np.trace(C) + one**2) / 2 / batch_size


@pytest.mark.parametrize("batch_size", [1, 9, 90])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("standardize", [False, True])
def test_auto_learning_rate_is_one_over_the_curvature_of_batches(batch_size, weighted, standardize):
    X, labels, T, _, _, a = data(90, 4, 3)
    X[:, 1:] = X[:, :1] + 0.3 * X[:, 1:]  # one direction rules, and twelve iterations find it
    X = 3 * X + 2
    a = a if weighted else np.ones(90)
    U = X
    if standardize:
        mean = np.average(X, axis=0, weights=a)
        U = (X - mean) / np.sqrt(np.average((X - mean) ** 2, axis=0, weights=a))
    options = {"sample_weight": a, "batch_size": batch_size, "standardize": standardize}
    for l2 in (0.6, 0.0):
        bend = curvature_of_batches(U, a, batch_size, l2)
        result = fs.fit_sgd(X, labels, epochs=0, l2=l2, **options)
        assert result.learning_rate == pytest.approx(1 / (bend + l2), rel=1e-9)
    bend *= (a * T.sum(axis=1)).sum() / a.sum()
    result = fs.fit_sgd(X, T, epochs=0, l2=0, **options)
    assert result.learning_rate == pytest.approx(1 / bend, rel=1e-9)


def test_auto_learning_rate_reads_evenly_spaced_rows():
    X, labels, *_ = data(20000, 4, 3)
    X = 5 + X * [1, 0.1, 0.01, 0.001]  # each direction far above the next
    rows = np.linspace(0, 19999, 4096).astype(int)
    assert (rows[0], rows[-1]) == (0, 19999)
    options = {"epochs": 0, "l2": 0, "standardize": False}
    rate = fs.fit_sgd(X, labels, **options).learning_rate
    bend = curvature_of_batches(X[rows], np.ones(4096), 128)
    assert rate == pytest.approx(1 / bend, rel=1e-9)
    others = np.delete(np.arange(20000), rows)
    X[others] *= 10
    assert fs.fit_sgd(X, labels, **options).learning_rate == rate


def test_auto_learning_rate_backs_off_by_quarters():
    X, labels, *_ = data(20000, 4, 3)
    rows = np.linspace(0, 19999, 4096).astype(int)
    others = np.delete(np.arange(20000), rows)
    X[others] *= 100  # what the estimate does not see
    options = {"l2": 0, "standardize": False, "batch_size": 20000}
    start = fs.fit_sgd(X, labels, epochs=0, **options).learning_rate
    result = fs.fit_sgd(X, labels, epochs=8, **options)
    quarters = math.log(start / result.learning_rate, 4)
    assert quarters == pytest.approx(round(quarters), abs=1e-9)
    assert 3 <= quarters <= 8
    losses = np.array([math.log(3), *result.history["loss"]])
    assert (np.diff(losses) <= 0.1 * math.log(3)).all()
    with pytest.raises(fs.DivergenceError, match="it ended at a loss of"):
        fs.fit_sgd(X, labels, epochs=8, learning_rate=start, schedule="one_cycle", **options)


# The Hessian


def whole_hessian(X, T, V, c, weight, l2):
    """(K (D + 1), K (D + 1)), by loops over blocks, weights of a class side by side."""
    U = np.hstack([X, np.ones((len(X), 1))])
    P, s, K, M = fs.predict_proba(X, V, c), T.sum(axis=1), T.shape[1], X.shape[1] + 1
    H = np.zeros((K, M, K, M))
    for k, l in product(range(K), range(K)):  # noqa: E741
        factor = weight * s * P[:, k] * ((k == l) - P[:, l]) / weight.sum()
        H[k, :, l, :] = (U * factor[:, None]).T @ U
        H[k, :, l, :] += (k == l) * l2 * np.diag([*np.ones(M - 1), 0])
    return H.reshape(K * M, K * M)


def test_hessian_by_the_weights():
    X, _, T, V, c, weight = data(9, 3, 4)

    def gradient(parameters):
        V, c = parameters[:, :-1].T, parameters[:, -1]
        _, grad_V, grad_c = fs.loss_and_gradient(X, T, V, c, sample_weight=weight, l2=0.3)
        return np.hstack([grad_V.T, grad_c[:, None]])

    parameters = np.hstack([V.T, c[:, None]])
    H = whole_hessian(X, T, V, c, weight, 0.3)
    assert_allclose(differences(gradient, parameters).reshape(H.shape), H, **DIFFERENCES)
    U, P = np.hstack([X, np.ones((9, 1))]), fs.predict_proba(X, V, c)
    C = np.hstack([P, np.ones((9, 1))])
    rows = (C[:, :, None] * U[:, None, :]).reshape(9, -1)
    factor = weight * T.sum(axis=1) / weight.sum()
    M = ((rows * factor[:, None]).T @ rows).reshape(5, 4, 5, 4)
    for k, l in product(range(4), range(4)):  # noqa: E741
        block = (k == l) * (M[k, :, 4] + 0.3 * np.diag([1, 1, 1, 0])) - M[k, :, l]
        assert_allclose(H.reshape(4, 4, 4, 4)[k, :, l], block, **ROUNDING)


def test_what_all_classes_share_has_no_curvature():
    X, _, T, V, c, weight = data(9, 3, 4)
    H = whole_hessian(X, T, V, c, weight, 0.0)
    shared = np.tile(np.arange(1.0, 5.0), 4)
    assert_allclose(H @ shared, 0, atol=1e-14)
    start = fs.SoftmaxModel(V + 7, c + 7, np.arange(4))
    for model in (None, start):
        result = fs.fit(X, T, sample_weight=weight, l2=0.1, init=model, tol=1e-8)
        assert_allclose(result.model.W.sum(axis=1), 0, atol=1e-13)
        assert_allclose(result.model.b.sum(), 0, atol=1e-12)


def test_hessian_of_equal_probabilities_is_the_gram_matrix():
    X, _, T, V, c, weight = data(9, 3, 4)
    H = whole_hessian(X, T, 0 * V, 0 * c, weight, 0.0)
    U = np.hstack([X, np.ones((9, 1))])
    factor = weight * T.sum(axis=1) / weight.sum()
    gram = (U * factor[:, None]).T @ U
    centring = np.eye(4) - 1 / 4
    assert_allclose(H, np.kron(centring / 4, gram), **ROUNDING)
    bound = np.kron(centring / 2, gram) - whole_hessian(X, T, V, c, weight, 0.0)
    assert np.linalg.eigvalsh(bound).min() > -1e-14


# A certificate


def dual(X, T, Q, weight, l2):
    """(D(Q), g) by the formula."""
    s = T.sum(axis=1)
    a = weight / weight.sum()
    R = (s[:, None] * Q - T) * a[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        h = -np.where(Q > 0, Q * np.log(Q), 0).sum(axis=1)
    return a @ (s * h) - np.sum((X.T @ R) ** 2) / (2 * l2), R.sum(axis=0)


def test_any_rows_of_probabilities_bound_the_objective():
    X, _, T, _, _, weight = data(9, 3, 4)
    best = fs.fit(
        X, T, sample_weight=weight, l2=0.2, standardize=False, fit_intercept=False, tol=1e-12
    )
    for seed in range(50):
        Q = np.random.default_rng(seed).dirichlet(np.full(4, 0.5), 9)
        bound, _ = dual(X, T, Q, weight, 0.2)
        assert bound <= best.objective
    Q = best.model.predict_proba(X)  # and those of the optimum attain it
    assert_allclose(dual(X, T, Q, weight, 0.2)[0], best.objective, rtol=1e-10)


def test_the_gap_is_the_square_of_the_gradient():
    X, _, T, V, c, weight = data(9, 3, 4)
    loss, G, g = fs.loss_and_gradient(X, T, V, c, sample_weight=weight)
    P = fs.predict_proba(X, V, c)
    bound, sums = dual(X, T, P, weight, 0.2)
    assert_allclose(sums, g, **ROUNDING)
    entropy = loss - np.sum(V * G) - c @ g
    assert_allclose(bound, entropy - np.sum(G**2) / 0.4, rtol=1e-12)
    gap = loss + 0.1 * np.sum(V**2) - bound
    assert_allclose(gap, np.sum((G + 0.2 * V) ** 2) / 0.4 + c @ g, rtol=1e-12)


def test_mixing_with_a_prior_makes_a_bound_of_any_point():
    X, _, T, V, c, weight = data(9, 3, 4)
    X = X - weight @ X / weight.sum()
    shares = weight @ T / weight.sum()
    best = fs.fit(X, T, sample_weight=weight, l2=0.2, standardize=False, tol=1e-12).objective
    for factor in (0.0, 0.1, 1.0):
        P = fs.predict_proba(X, factor * V, c)
        _, g = dual(X, T, P, weight, 0.2)
        e = np.max(np.maximum(g, 0) / (shares + g))
        prior = (shares - (1 - e) * (shares + g)) / e
        assert prior.min() > -1e-15
        assert_allclose(prior.sum(), shares.sum(), rtol=1e-13)
        Q = (1 - e) * P + e * prior / shares.sum()
        bound, sums = dual(X, T, Q, weight, 0.2)
        assert_allclose(sums, 0, atol=1e-15)
        assert bound <= best
        loss, G, g = fs.loss_and_gradient(X, T, factor * V, c, sample_weight=weight)
        s = T.sum(axis=1)
        d = np.sqrt(2 * (weight @ s**2) * (weight @ np.sum(X**2, axis=1))) / weight.sum()
        norm = (1 - e) * np.sqrt(np.sum(G**2)) + e * d
        entropy = loss - factor * np.sum(V * G) - c @ g
        assert (1 - e) * entropy - norm**2 / 0.4 <= bound


def test_what_rounding_may_take_is_taken_off():
    """Bounds of points that lie at the optimum up to rounding, in longer arithmetic."""
    with mpmath.workdps(50):
        for seed in range(5):
            X, labels, _, _, _, weight = data(7, 2, 3, seed)
            labels[:3] = range(3)
            options = {"sample_weight": weight, "l2": 1e-3, "standardize": False}
            result = fs.fit(X, labels, tol=1e-15, **options)
            a = [mpmath.mpf(w) / mpmath.fsum(weight.tolist()) for w in weight.tolist()]
            objective = mpmath.mpf(1e-3) / 2 * mpmath.fsum(w**2 for w in result.model.W.ravel())
            for x, label, share in zip(X.tolist(), labels, a, strict=True):
                z = [
                    mpmath.fsum([mpmath.mpf(x[i]) * w for i, w in enumerate(column)]) + b
                    for column, b in zip(
                        result.model.W.T.tolist(), result.model.b.tolist(), strict=True
                    )
                ]
                objective += share * (mpmath.log(mpmath.fsum(map(mpmath.exp, z))) - z[label])
            assert result.lower_bound < objective
            assert abs(result.objective - objective) < 1e-14
            assert 0 < result.gap < 1e-11


# Where hand derivations slip


def sparse_rows(N, D, K):
    """(sparse X, the same centred and scaled, the means, the scales, labels)"""
    rng = np.random.default_rng([N, D, K])
    X = rng.random((N, D)) * (rng.random((N, D)) < 0.4)
    X[0] = 1
    m, s = X.mean(axis=0), 1 / X.std(axis=0)
    return CSRRows.of(X), (X - m) * s, m, s, np.arange(N) % K


def test_sparse_rows_are_centred_without_being_filled_in():
    X, U, m, s, y = sparse_rows(40, 7, 3)
    V, c = np.random.default_rng(1).normal(size=(7, 3)), np.arange(3.0)
    W = s[:, None] * V
    assert_allclose(fs.decision_function(X, W, c - m @ W), U @ V + c, **ROUNDING)
    _, grad_W, grad_b = fs.loss_and_gradient(X, y, W, c - m @ W)
    _, grad_V, grad_c = fs.loss_and_gradient(U, y, V, c)
    assert_allclose(s[:, None] * (grad_W - np.outer(m, grad_b)), grad_V, **ROUNDING)
    assert_allclose(grad_b, grad_c, **ROUNDING)


def test_weights_of_a_solution_lie_in_the_span_of_its_rows(monkeypatch):
    monkeypatch.setattr(importlib.import_module("fastsoftmax.solvers.fit"), "SMALL", 0)
    X, U, _, s, y = sparse_rows(12, 30, 3)
    U = U / s  # centred alone
    V_0 = np.random.default_rng(2).normal(size=(30, 3))
    start = fs.SoftmaxModel(V_0, np.zeros(3), range(3))
    V_0 = V_0 - V_0.mean(axis=1, keepdims=True)

    def distance(W, span):
        return np.abs(W - span @ np.linalg.lstsq(span, W, rcond=None)[0]).max()

    for init, rows in ((None, U), (start, np.vstack([U, V_0.T]))):
        result = fs.fit(X, y, l2=0.1, init=init, max_passes=8)
        assert distance(result.model.W, rows.T) < 1e-6
        assert np.abs(result.model.W).max() > 0.01
    assert distance(result.model.W, U.T) > 1e-3  # stopped before the start is forgotten
    A, B = np.random.default_rng(3).normal(size=(2, 12, 3))
    V = U.T @ B + 0.7 * V_0
    by_logits = (A * (U @ V)).sum() + 0.3 * (V_0 * V).sum()
    assert_allclose(((U.T @ A + 0.3 * V_0) * V).sum(), by_logits, **ROUNDING)


def test_one_column_stands_for_those_of_one_row():
    r = np.random.default_rng(0)
    X = np.zeros((12, 40))
    X[:, :3] = r.random((12, 3)) * (r.random((12, 3)) < 0.7)
    X[np.arange(36) // 3, np.arange(3, 39)] = r.standard_normal(36)  # and the last has no entry
    y = r.integers(0, 3, 12)
    samples = Samples(fs.validation.rows_of(CSRRows.of(X)), y, np.ones(12), 12.0)
    samples, folding = in_fewer_columns(samples)
    XQ, Q = samples.X.dense(), folding.unfold(np.eye(folding.size))
    assert folding.size == 3 + 12
    assert_allclose(Q.T @ Q, np.eye(folding.size), **ROUNDING)
    assert_allclose(XQ, X @ Q, **ROUNDING)
    assert_allclose(XQ @ Q.T, X, **ROUNDING)
    W = r.standard_normal((40, 3))
    assert_allclose(folding.fold(W), Q.T @ W, **ROUNDING)
    V = folding.fold(W)
    assert fs.loss(XQ, y, V, l2=0.1) < fs.loss(X, y, W, l2=0.1)
    assert_allclose(fs.loss(XQ, y, V, l2=0.1), fs.loss(X, y, Q @ V, l2=0.1), **ROUNDING)


def test_slip_of_the_sign():
    y, t = np.array([0.2, 0.5, 0.3]), np.array([0.0, 1.0, 0.0])
    by_y = differences(lambda y: -sum(t * np.log(y)), y)
    assert_allclose(by_y, -t / y, **DIFFERENCES)
    z = np.log(y)
    _, dZ = fs.cross_entropy_and_gradient([z], [1])
    assert_allclose(dZ[0], fs.softmax_jacobian(y) @ (-t / y), **ROUNDING)
    assert fs.cross_entropy([z - 0.1 * dZ[0]], [1]) < fs.cross_entropy([z], [1])
    slipped = fs.softmax_jacobian(y) @ (t / y)
    assert fs.cross_entropy([z - 0.1 * slipped], [1]) > fs.cross_entropy([z], [1])


def test_slip_of_the_off_diagonal():
    z, label = np.array([0.3, -0.4, 1.1]), 1
    y, t = softmax_in_loops(z), np.array([0.0, 1.0, 0.0])
    _, dZ = fs.cross_entropy_and_gradient([z], [label])
    diagonal_only = np.diag(fs.softmax_jacobian(y)) * (-t / y)
    assert_allclose(diagonal_only, -t * (1 - y), **ROUNDING)
    assert_allclose(diagonal_only[label], dZ[0, label], **ROUNDING)
    assert_array_equal(diagonal_only[[0, 2]], [0, 0])
    assert_allclose(dZ[0, [0, 2]], y[[0, 2]], **ROUNDING)
    # -y_i^2 in the place of -y_i y_j, which leaves y_i with the index of the label
    slipped = np.where(np.eye(3), y * (1 - y), -(y[:, None] ** 2))
    assert_allclose((slipped.T @ (-t / y))[[0, 2]], [y[label], y[label]], **ROUNDING)
    assert abs(dZ[0, [0, 2]] - y[label]).min() > 0.1


def test_slip_of_the_bias():
    X, labels, _, W, b, _ = data(8, 3, 4)
    R = fs.predict_proba(X, W, b) - one_hot(labels, 4)
    _, _, summed = fs.loss_and_gradient(X, labels, W, b, reduction="sum")
    _, _, mean = fs.loss_and_gradient(X, labels, W, b)
    assert summed.shape == (4,)
    assert_allclose(summed, [sum(R[n, k] for n in range(8)) for k in range(4)], **ROUNDING)
    assert_allclose(mean, summed / 8, **ROUNDING)
    by_b = differences(lambda b: fs.loss(X, labels, W, b, reduction="sum"), b)
    assert_allclose(summed, by_b, **DIFFERENCES)
    # eight times the same sample has eight times its gradient, no more one sample's
    _, _, one = fs.loss_and_gradient(X[:1], labels[:1], W, b, reduction="sum")
    _, _, eight = fs.loss_and_gradient(
        np.repeat(X[:1], 8, axis=0), np.repeat(labels[:1], 8), W, b, reduction="sum"
    )
    assert_allclose(eight, 8 * one, **ROUNDING)
    assert abs(one).max() > 0.1


def test_slip_of_the_sum_of_targets():
    z, t = np.array([0.3, -0.4, 1.1]), np.array([0.5, 2.0, 0.25])
    y, s = softmax_in_loops(z), 2.75
    by_z = differences(lambda z: fs.cross_entropy([z], [t]), z)
    _, dZ = fs.cross_entropy_and_gradient([z], [t])
    assert_allclose(dZ[0], s * y - t, **ROUNDING)
    assert_allclose(by_z, s * y - t, **DIFFERENCES)
    assert abs(y - t - by_z).max() > 0.5
    assert_allclose((y - t).sum(), 1 - s, **ROUNDING)
    # what y - t is the gradient of: a shift changes it
    other = differences(lambda z: fs.logsumexp(z) - sum(t * z), z)
    assert_allclose(other, y - t, **DIFFERENCES)
    assert_allclose(
        fs.logsumexp(z + 2) - t @ (z + 2), fs.logsumexp(z) - t @ z + 2 * (1 - s), **ROUNDING
    )
    assert_allclose(fs.cross_entropy([z + 2], [t]), fs.cross_entropy([z], [t]), **ROUNDING)
