"""Decisions of greatest expected utility, and logistic regression as two-way softmax."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special

import fastsoftmax as fs
from fastsoftmax import reference

EPS = np.finfo(np.float64).eps


@pytest.mark.parametrize(
    ("N", "K", "decisions"), [(1, 1, 1), (65, 2, 5), (130, 3, 3), (700, 33, 9)]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_decide_is_the_reference(N, K, decisions, dtype):
    random = np.random.default_rng([N, K])
    P = random.dirichlet(np.ones(K), N).astype(dtype)
    vector = random.uniform(-1, 3, K).astype(dtype)
    matrix = random.uniform(-1, 3, (decisions, K)).astype(dtype)
    for utility in (vector, matrix):
        chosen = fs.decide(P, utility)
        assert chosen.dtype == np.int64
        np.testing.assert_array_equal(chosen, reference.decide(P, utility))
    chosen = fs.decide(P[0], matrix)
    assert isinstance(chosen, np.int64)
    assert chosen == reference.decide(P, matrix)[0]
    assert fs.decide(P[0], vector) == reference.decide(P, vector)[0]


def test_decide_with_a_cost_of_doubt():
    utility = [[1.0, -1.0], [-1.0, 1.0], [0.25, 0.25]]  # say 0, say 1, say nothing
    P = [[0.9, 0.1], [0.6, 0.4], [0.5, 0.5], [0.2, 0.8]]
    np.testing.assert_array_equal(fs.decide(P, utility), [0, 2, 2, 1])


def test_a_diagonal_matrix_decides_as_its_diagonal():
    P = np.random.default_rng(1).dirichlet(np.ones(7), 200)
    utility = np.linspace(0.5, 2, 7)
    np.testing.assert_array_equal(fs.decide(P, np.diag(utility)), fs.decide(P, utility))
    np.testing.assert_array_equal(fs.decide(P, np.ones(7)), P.argmax(axis=1))


def test_decide_takes_the_first_of_equal_decisions():
    assert fs.decide([0.25, 0.5, 0.25], [2.0, 1.0, 2.0]) == 0
    assert fs.decide([0.5, 0.5], [[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]) == 0
    assert fs.decide([[0, 1]], [[-1, -1], [-1, -1]])[0] == 0


def test_decide_for_nobody():
    assert fs.decide(np.empty((0, 3)), np.ones(3)).shape == (0,)
    assert fs.decide(np.empty((0, 3)), np.ones((2, 3))).shape == (0,)


P43 = np.full((4, 3), 1 / 3)
DECIDE_ERRORS = [
    (P43[None], np.ones(3), ValueError, r"P must have shape .* got \(1, 4, 3\)"),
    (0.5, np.ones(3), ValueError, r"P must have shape .* got \(\)"),
    (P43[:, :0], np.ones(0), ValueError, r"P must have shape .* got \(4, 0\)"),
    (P43.astype(object), np.ones(3), TypeError, "P must hold real numbers"),
    (P43.astype(str), np.ones(3), TypeError, "P must hold real numbers"),
    (-P43, np.ones(3), ValueError, r"P\[0, 0\] = -0.333.* must be finite and at least 0"),
    ([[1.0, np.nan, 0.0]], np.ones(3), ValueError, r"P\[0, 1\] = nan must be finite"),
    ([[1.0, np.nan, 0.0]], np.ones((2, 3)), ValueError, r"P\[0, 1\] = nan must be finite"),
    (
        P43,
        np.ones(2),
        ValueError,
        r"utility must have shape \(3,\) or \(n_decisions, 3\), got \(2,",
    ),
    (P43, np.ones((3, 2)), ValueError, r"utility must have shape .* got \(3, 2\)"),
    (P43, np.ones((0, 3)), ValueError, r"utility must have shape .* got \(0, 3\)"),
    (P43, 1.0, ValueError, r"utility must have shape .* got \(\)"),
    (P43, np.ones(3, complex), TypeError, "utility must hold real numbers"),
    (P43, [1.0, np.inf, 0.0], ValueError, r"utility\[1\] is inf; utility must be finite"),
    (P43, [[1.0, 0.0, np.nan]], ValueError, r"utility\[0, 2\] is nan; utility must be finite"),
]


@pytest.mark.parametrize(("P", "utility", "exception", "message"), DECIDE_ERRORS)
def test_decide_errors(P, utility, exception, message, unchanged):
    with unchanged(P, utility), pytest.raises(exception, match=message):
        fs.decide(P, utility)


@pytest.mark.parametrize(
    "utility",
    [[16777216, 16777217, 0], [1e300, 2e300, 0], [1e-50, 2e-50, 0], [1, 1 + 1e-12, 0]],
    ids=["integers", "huge", "tiny", "close"],
)
def test_utilities_that_float32_cannot_hold_are_not_rounded_to_it(utility):
    """P decides by its own values in float64, whatever its type."""
    random = np.random.default_rng(0)
    P = random.dirichlet(np.ones(3), 40).astype(np.float32)
    P[::2, 1] = P[::2, 0]  # equally probable: the greater utility decides, by a hair
    U = np.array([utility, utility[::-1], np.roll(utility, 1)], np.float64)
    truth = P.astype(np.float64)
    for layout in (P, np.asfortranarray(P)):
        np.testing.assert_array_equal(fs.decide(layout, utility), (truth * U[0]).argmax(axis=1))
        np.testing.assert_array_equal(fs.decide(layout, U), (truth @ U.T).argmax(axis=1))


@pytest.mark.skipif(np.finfo(np.longdouble).max == np.finfo(float).max, reason="no wider type")
def test_a_utility_beyond_float64_says_so():
    with pytest.raises(ValueError, match="the utilities overflow float64"):
        fs.decide(P43.astype(np.float32), np.array(["1e400", "0", "0"], np.longdouble))


def test_sparse_probabilities_are_a_type_error():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match="P is sparse"):
        fs.decide(sparse.csr_array(P43), np.ones(3))


# Logistic regression is two-way softmax.


@pytest.mark.parametrize("D", [0, 1, 17])
def test_binary_model_has_the_probabilities_of_logistic_regression(problem, D):
    p = problem(65, D, 1)
    w, bias = p.W[:, 0], p.b[0]
    W, b = fs.binary_to_softmax(w, bias)
    assert W.shape == (D, 2)
    assert b.shape == (2,)
    z = p.X @ w + bias
    P = fs.predict_proba(p.X, W, b)
    np.testing.assert_allclose(P[:, 1], scipy.special.expit(z), rtol=1e-14)
    np.testing.assert_allclose(P[:, 0], scipy.special.expit(-z), rtol=1e-14)
    y = np.arange(65) % 2
    loss, grad_W, _ = fs.loss_and_gradient(p.X, y, W, b)
    np.testing.assert_allclose(loss, np.logaddexp(0, np.where(y, -z, z)).mean(), rtol=1e-14)
    gradient = p.X.T @ (scipy.special.expit(z) - y) / 65
    np.testing.assert_allclose(grad_W, np.stack([-gradient, gradient], axis=1), atol=4 * EPS)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_binary_round_trip(dtype):
    w = np.linspace(-2, 3, 5, dtype=dtype)
    W, b = fs.binary_to_softmax(w, 0.75)
    assert W.dtype == b.dtype == dtype
    back, bias = fs.softmax_to_binary(W, b)
    np.testing.assert_array_equal(back, w)
    assert back.dtype == dtype
    assert bias == 0.75


def test_softmax_to_binary_keeps_the_probabilities(problem):
    p = problem(65, 17, 2)
    w, bias = fs.softmax_to_binary(p.W, p.b)
    np.testing.assert_allclose(
        scipy.special.expit(p.X @ w + bias), fs.predict_proba(p.X, p.W, p.b)[:, 1], rtol=1e-13
    )
    w, bias = fs.softmax_to_binary(p.W)
    np.testing.assert_array_equal(w, p.W[:, 1] - p.W[:, 0])
    assert bias == 0


def test_binary_models_are_copies():
    w = np.ones(3)
    W, _ = fs.binary_to_softmax(w)
    W[:] = 5
    assert (w == 1).all()


BINARY_ERRORS = [
    (fs.binary_to_softmax, ([[1.0]], 0.0), ValueError, r"w must have shape \(n_features,\)"),
    (fs.binary_to_softmax, (1.0, 0.0), ValueError, r"w must have shape \(n_features,\)"),
    (fs.binary_to_softmax, ([1.0], [0.0, 1.0]), ValueError, r"b be a scalar, got \(1,\) and \(2,"),
    (fs.binary_to_softmax, (["a"], 0.0), TypeError, "w must hold real numbers"),
    (fs.binary_to_softmax, ([1.0], "a"), TypeError, "b must hold real numbers"),
    (fs.binary_to_softmax, ([1.0], None), TypeError, "b must hold real numbers"),
    (fs.softmax_to_binary, (np.ones((2, 3)),), ValueError, r"W must have two classes.* \(2, 3\)"),
    (fs.softmax_to_binary, (np.ones(2),), ValueError, r"W must have shape .* got \(2,\)"),
    (fs.softmax_to_binary, (np.ones((2, 2)), [1.0]), ValueError, r"b must have shape \(2,\)"),
    (fs.softmax_to_binary, (np.ones((2, 2), complex),), TypeError, "W must hold real numbers"),
]


@pytest.mark.parametrize(("function", "arguments", "exception", "message"), BINARY_ERRORS)
def test_binary_errors(function, arguments, exception, message):
    with pytest.raises(exception, match=message):
        function(*arguments)
