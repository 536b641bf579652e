"""SoftmaxRegression and SoftmaxRegressionCV on sparse rows: as on the same rows dense."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastsoftmax as fs
from fastsoftmax.sklearn import SoftmaxRegression, SoftmaxRegressionCV

sp = pytest.importorskip("scipy.sparse")

WORDS = {
    "sea": "boat wave salt tide fish",
    "hill": "rock tree goat path snow",
    "town": "road shop bus noise park",
}
METHODS = ("decision_function", "predict_proba", "predict_log_proba", "predict")


@pytest.fixture
def texts():
    """(posts, what they are about)."""
    r = np.random.default_rng(0)
    y = np.resize(list(WORDS), 240)
    everything = " ".join(WORDS.values()).split()
    posts = [
        " ".join([*r.choice(WORDS[about].split(), 3), *r.choice(everything, 5)]) for about in y
    ]
    return posts, y


@pytest.fixture
def counts(texts):
    """Rows of counts (N, D), int64, and their labels."""
    posts, y = texts
    columns = {word: d for d, word in enumerate(" ".join(WORDS.values()).split())}
    X = np.zeros((len(posts), len(columns)), np.int64)
    for n, post in enumerate(posts):
        for word in post.split():
            X[n, columns[word]] += 1
    return sp.csr_array(X), y


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.uint8, np.bool_])
def test_as_on_dense_rows(counts, dtype):
    X, y = counts
    X = X.astype(dtype)
    weight = 1.0 + np.arange(len(y)) % 3
    options = {"class_weight": "balanced", "tol": 1e-8 if dtype in (np.float64, np.int64) else 1e-6}
    sparse = SoftmaxRegression(**options).fit(X, y, weight)
    dense = SoftmaxRegression(**options).fit(X.toarray(), y, weight)
    assert type(sparse.coef_) is np.ndarray
    assert sparse.coef_.dtype == dense.coef_.dtype
    assert not sparse.model_.feature_names
    np.testing.assert_allclose(sparse.coef_, dense.coef_, atol=2e-3)
    for method in METHODS[:3]:
        of_sparse, of_dense = getattr(sparse, method)(X), getattr(sparse, method)(X.toarray())
        np.testing.assert_allclose(of_sparse, of_dense, atol=2e-6)
    assert sparse.score(X, y) == dense.score(X.toarray(), y)


@pytest.mark.parametrize("kind", [sp.csr_matrix, sp.csc_array, sp.coo_matrix, sp.lil_array])
def test_every_format_is_read(counts, kind):
    X, y = counts
    model = SoftmaxRegression().fit(X, y)
    assert np.array_equal(SoftmaxRegression().fit(kind(X), y).coef_, model.coef_)
    assert np.array_equal(model.predict_proba(kind(X)), model.predict_proba(X))


def test_two_classes_and_a_start(counts):
    X, y = counts
    sea = y == "sea"
    model = SoftmaxRegression(C=0.1, warm_start=True, tol=1e-7).fit(X, sea)
    theirs = LogisticRegression(C=0.1, tol=1e-8, max_iter=1000).fit(X, sea)
    assert model.coef_.shape == (1, X.shape[1])
    np.testing.assert_allclose(model.coef_, theirs.coef_, atol=1e-3)
    assert model.decision_function(X).shape == (len(y),)
    passes = int(model.n_iter_[0])
    assert model.fit(X, sea).n_iter_[0] < passes


def test_standardize_is_a_pipeline_that_only_scales(counts):
    """Centring moves the biases alone, so that StandardScaler(with_mean=False) gives the same."""
    X, y = counts
    own = SoftmaxRegression(standardize=True, tol=1e-8).fit(X, y)
    scaled = make_pipeline(StandardScaler(with_mean=False), SoftmaxRegression(tol=1e-8)).fit(X, y)
    np.testing.assert_allclose(own.predict_proba(X), scaled.predict_proba(X), atol=1e-3)
    plain = SoftmaxRegression(tol=1e-8).fit(X, y)
    assert np.abs(own.predict_proba(X) - plain.predict_proba(X)).max() > 1e-2


def test_text_in_a_pipeline(texts):
    posts, y = texts
    model = make_pipeline(TfidfVectorizer(dtype=np.float32), SoftmaxRegression(C=10)).fit(posts, y)
    assert model[-1].model_.W.dtype == np.float32
    assert model.score(posts, y) > 0.6
    names = model[0].get_feature_names_out()
    top = names[model[-1].coef_[list(model.classes_).index("hill")].argsort()[-5:]]
    assert set(top) == set(WORDS["hill"].split())


def test_hashed_text_of_a_million_columns(texts):
    posts, y = texts
    hashing = HashingVectorizer(n_features=2**20)
    model = make_pipeline(hashing, SoftmaxRegression()).fit(posts, y)
    assert model[-1].coef_.shape == (3, 2**20)
    theirs = make_pipeline(hashing, LogisticRegression()).fit(posts, y)
    np.testing.assert_allclose(model.predict_proba(posts), theirs.predict_proba(posts), atol=5e-3)


def test_cross_validation(counts):
    X, y = counts
    weight = 1.0 + np.arange(len(y)) % 2
    options = {"Cs": [0.01, 1.0], "cv": 3, "tol": 1e-7, "class_weight": "balanced"}
    sparse = SoftmaxRegressionCV(**options).fit(X, y, weight)
    dense = SoftmaxRegressionCV(**options).fit(X.toarray(), y, weight)
    np.testing.assert_allclose(sparse.scores_, dense.scores_, atol=1e-4)
    assert sparse.C_ == dense.C_
    assert np.array_equal(sparse.predict(X), dense.predict(X))
    alone = SoftmaxRegression(sparse.C_, tol=1e-7, class_weight="balanced").fit(X, y, weight)
    assert np.array_equal(sparse.coef_, alone.coef_)


def test_what_is_wrong_is_named(counts):
    X, y = counts
    model = SoftmaxRegression().fit(X, y)
    with pytest.raises(ValueError, match="X has 14 features, but SoftmaxRegression is expecting"):
        model.predict(X[:, :-1])
    broken = X.astype(float)
    broken.data[3] = np.nan
    for call in (lambda: model.fit(broken, y), lambda: model.predict(broken)):
        with pytest.raises(ValueError, match="NaN"):
            call()
    broken = X.astype(float)
    broken.indices[3] = 99
    with pytest.raises(ValueError, match=r"X.indices\[3\] = 99, in row 0, is not in \[0, 15\)"):
        model.predict(broken)
    assert model.fit(X, y).score(X, y) > 0.6  # it stayed as it was, and still works
    with pytest.raises(NotFittedError):
        SoftmaxRegression().predict(X)


def test_no_warnings_and_the_functions_agree(counts):
    X, y = counts
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = SoftmaxRegression().fit(X, y)
    W, b = model.model_.W, model.model_.b
    assert np.array_equal(model.predict_proba(X), fs.predict_proba(X, W, b))
    assert np.array_equal(model.predict(X, utility=np.eye(3)), model.predict_proba(X).argmax(1))
