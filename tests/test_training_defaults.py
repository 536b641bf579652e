"""The defaults of fit_sgd need no tuning: hard data, and the accuracy of converged regression."""

from __future__ import annotations

import numpy as np
import pytest

import fastsoftmax as fs

N, D, K = 600, 6, 3


def classes_of(logits, random):
    return (logits + random.gumbel(size=logits.shape)).argmax(axis=1)


@pytest.fixture
def plain():
    """(X, y) with features of spread 1 around 0; the best model is right in about 84 of 100."""
    random = np.random.default_rng(0)
    X = random.standard_normal((N, D))
    return X, classes_of(2 * X @ random.standard_normal((D, K)), random)


def fit(X, y, **options):
    """The model, which is finite and better than equal probabilities unless there is nothing."""
    result = fs.fit_sgd(X, y, **options)
    model, losses = result.model, result.history["loss"]
    assert np.isfinite(model.W).all()
    assert np.isfinite(model.b).all()
    assert losses[-1] <= losses[0]
    targets = model.label_indices(y)
    equal = np.log(len(model.classes))
    loss = fs.loss(X, targets, model.W, model.b, sample_weight=options.get("sample_weight"))
    assert loss < equal or equal == 0
    return model


def as_good_a_fit(X, y, plain, **options):
    """Whether the accuracy is within a point of that on the data before it was made hard."""
    return abs(fit(X, y, **options).score(X, y) - fit(*plain).score(*plain)) < 0.01


# Features


SCALES = [1e-8, 1e8, 1.0, 1.0, 1e3, 1e-3]
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@DTYPES
def test_columns_of_any_scale(plain, dtype):
    X, y = plain
    assert as_good_a_fit((X * SCALES).astype(dtype), y, plain)
    scaled = fit((X * SCALES).astype(dtype), y)
    W = np.array(SCALES)[:, None] * scaled.W
    largest = np.abs(scaled.W).max() * 1e-8
    np.testing.assert_allclose(W, fit(*plain).W, rtol=0, atol=1e-4 * largest)


@pytest.mark.parametrize(
    ("scale", "dtype"),
    [(1e-30, np.float32), (1e30, np.float32), (1e-150, np.float64), (1e150, np.float64)],
)
def test_all_columns_of_an_extreme_scale(plain, scale, dtype):
    X, y = plain
    assert as_good_a_fit((X * scale).astype(dtype), y, plain)


@DTYPES
def test_constant_columns(plain, dtype):
    X, y = plain
    constant = np.column_stack([np.full(N, value) for value in (0.0, 0.1, -7.0, 1e8)])
    model = fit(np.hstack([X, constant]).astype(dtype), y)
    assert model.score(np.hstack([X, constant]), y) == fit(*plain).score(*plain)
    assert not model.W[D:].any()


@DTYPES
def test_a_first_row_without_weight_may_lie_anywhere(plain, dtype):
    X, y = plain
    far = np.vstack([np.full(X.shape[1], 1e15), X]).astype(dtype)
    weight = np.ones(len(far))
    weight[0] = 0
    model = fs.fit_sgd(far, np.append(y[:1], y), sample_weight=weight).model
    assert model.score(X, y) >= fit(*plain).score(*plain) - 0.01


@DTYPES
def test_columns_that_are_there_more_than_once(plain, dtype):
    X, y = plain
    model = fit(np.hstack([X, X, X]).astype(dtype), y)
    assert as_good_a_fit(np.hstack([X, X, X]).astype(dtype), y, plain)
    np.testing.assert_allclose(model.W[:D], model.W[D : 2 * D], rtol=0, atol=1e-5)
    np.testing.assert_allclose(model.W[:D], model.W[2 * D :], rtol=0, atol=1e-5)


@DTYPES
@pytest.mark.parametrize("mean", [1e4, 1e6])
def test_a_mean_far_beyond_the_spread(plain, mean, dtype):
    X, y = plain
    far = (X + mean).astype(dtype)
    centred = far.astype(np.float64) - mean  # the rounding of float32 that both have
    score, centred_score = fit(far, y).score(far, y), fit(centred, y).score(centred, y)
    assert abs(score - centred_score) < 0.01
    assert score > 0.82


@pytest.mark.parametrize("power", [1, 3])
@DTYPES
def test_heavy_tails(power, dtype):
    """Cauchy features and their cubes: one row holds nearly all of the variance of a column."""
    random = np.random.default_rng(1)
    X = random.standard_cauchy((N, D))
    y = classes_of(2 * np.arcsinh(X) @ random.standard_normal((D, K)), random)
    model = fit((X**power).astype(dtype), y)
    if power == 1:
        assert model.score(X, y) > 0.6


@DTYPES
def test_one_row_beyond_all_others(plain, dtype):
    X, y = plain
    far = np.vstack([X, np.full((1, D), 1e12)]).astype(dtype)
    fit(far, np.append(y, 0))


def test_a_rare_class():
    """1 in 10 000, and features that tell it."""
    random = np.random.default_rng(0)
    X, y = random.standard_normal((20_000, 5)), np.zeros(20_000, int)
    rare = [123, 17_001]
    y[rare] = 1
    X[rare] += 4
    model = fit(X, y)
    frequency = model.predict_proba(X)[:, 1].mean()
    assert 0.5e-4 < frequency < 2e-4
    assert model.predict_proba(X)[rare, 1].min() > 0.1
    assert (fit(X, y, class_weight="balanced").predict(X)[rare] == 1).all()


def test_a_class_of_one_row_among_noise():
    random = np.random.default_rng(0)
    X, y = random.standard_normal((10_000, 5)), np.zeros(10_000, int)
    y[0] = 1
    model = fit(X, y)
    assert fs.loss(X, y, model.W, model.b) < 0.01


def test_sparse_features():
    """Two in a thousand are 1, the rest 0."""
    random = np.random.default_rng(0)
    fit((random.random((1000, 30)) < 0.002).astype(float), random.integers(3, size=1000))


def test_weights_over_six_orders(plain):
    X, y = plain
    weight = 10.0 ** np.random.default_rng(0).uniform(-3, 3, N)
    model = fit(X, y, sample_weight=weight)
    assert np.average(model.predict(X) == y, weights=weight) > 0.8


# What cannot be trained on


def test_a_variance_beyond_float64_is_named(plain):
    X, y = plain
    for column in (0, 4):
        far = X.copy()
        far[:, column] *= 1e200
        with pytest.raises(ValueError, match=f"column {column} of X has a variance beyond float64"):
            fs.fit_sgd(far, y)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("cell", [(0, 0), (3, 2), (N - 1, D - 1)])
@DTYPES
def test_a_cell_that_is_not_finite_is_named(plain, value, cell, dtype):
    X, y = plain[0].astype(dtype), plain[1]
    X[cell] = value
    for options in ({}, {"standardize": False}, {"learning_rate": 0.1}):
        with pytest.raises(ValueError, match=rf"X\[{cell[0]}, {cell[1]}\] is {value}; X must be"):
            fs.fit_sgd(X, y, **options)


# Shapes


def test_one_row(plain):
    X, y = plain
    model = fit(X[:1], y[:1])
    assert model.predict(X[:3]).tolist() == [y[0]] * 3


@DTYPES
def test_two_rows(plain, dtype):
    X = plain[0][:2].astype(dtype)
    assert fit(X, ["a", "b"]).predict(X).tolist() == ["a", "b"]


def test_two_rows_that_are_one():
    """Nothing to learn: equal probabilities, to the last bit."""
    result = fs.fit_sgd([[1.0, 2.0]] * 2, [0, 1])
    np.testing.assert_array_equal(result.model.predict_proba([[1.0, 2.0]]), [[0.5, 0.5]])


def test_no_features():
    y = np.repeat([0, 1], [30, 10])
    model = fit(np.empty((40, 0)), y)
    np.testing.assert_allclose(model.predict_proba(np.empty((1, 0))), [[0.75, 0.25]], atol=0.03)


def test_one_class(plain):
    model = fit(plain[0], np.full(N, 7))
    assert model.predict(plain[0][:2]).tolist() == [7, 7]


@DTYPES
def test_more_features_than_rows(dtype):
    random = np.random.default_rng(0)
    X, y = random.standard_normal((50, 1000)).astype(dtype), random.integers(3, size=50)
    assert fit(X, y).score(X, y) == 1


@pytest.mark.parametrize("batch_size", [1, 8, 32, 10**6])
def test_batches_of_any_size(plain, batch_size):
    assert as_good_a_fit(*plain, plain, batch_size=batch_size)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.99])
def test_any_momentum(plain, momentum):
    assert as_good_a_fit(*plain, plain, momentum=momentum)


# Accuracy


@pytest.mark.parametrize(
    "name",
    ["iris", "wine", "breast_cancer", pytest.param("digits", marks=pytest.mark.exhaustive)],
)
@DTYPES
def test_small_data_to_half_a_point_of_converged_regression(name, dtype):
    datasets = pytest.importorskip("sklearn.datasets")
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    X = X.astype(dtype)
    ours, converged = [], []
    for seed in range(10):
        X_train, X_test, y_train, y_test = train_test_split(
            X, y, test_size=0.25, random_state=seed, stratify=y
        )
        logistic = LogisticRegression(C=1, max_iter=2000)
        pipeline = make_pipeline(StandardScaler(), logistic).fit(X_train, y_train)
        converged.append(pipeline.score(X_test, y_test))
        ours.append(fs.fit_sgd(X_train, y_train).model.score(X_test, y_test))
    assert np.mean(ours) > np.mean(converged) - 0.005


def hard(name):
    """(X, y, accuracy of the optimum) on which plain steps of one rate learn little."""
    random = np.random.default_rng(0)
    X = random.standard_normal((8000, 20))
    y = classes_of(X @ random.standard_normal((20, 5)) / 2, random)
    if name == "outliers":
        X[random.random(8000) < 0.01] = -999
    else:
        X += 50 * random.standard_normal((8000, 1))
    return X, y


# the accuracy on the same rows of L-BFGS, run to convergence on the standardised features
@pytest.mark.parametrize(("name", "optimum"), [("outliers", 0.5435), ("a common factor", 0.595)])
def test_one_direction_far_above_all_others(name, optimum):
    X, y = hard(name)
    assert fs.fit_sgd(X, y).model.score(X, y) > optimum - 0.005


# LogisticRegression(C=1) of scikit-learn, converged on standardised features, on the same split
@pytest.mark.parametrize(
    ("name", "converged"),
    [
        ("letter", 0.7704),
        ("mnist10k", 0.8988),
        ("covtype_kaggle15k", 0.6987),
        ("texture", 0.9956),
        ("gas_drift", 0.9904),
        ("banking77_wl256", 0.8991),
    ],
)
def test_real_data_to_half_a_point_of_converged_regression(data, name, converged):
    selection = pytest.importorskip("sklearn.model_selection")
    X, y = data(name)
    X_train, X_test, y_train, y_test = selection.train_test_split(
        X.astype(np.float32), y, test_size=0.25, random_state=0, stratify=y
    )
    for seed in range(2):
        model = fs.fit_sgd(X_train, y_train, seed=seed).model
        assert model.score(X_test, y_test) >= converged - 0.005
