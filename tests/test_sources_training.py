"""`fit`, `fit_sgd` and models on sources: what they do with rows in memory."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

import fastsoftmax as fs
from fastsoftmax import sources

N, D, K = 20_000, 8, 3  # two leaves


def problem(dtype=np.float32, seed=0):
    r = np.random.default_rng(seed)
    X = r.standard_normal((N, D)).astype(dtype)
    y = (X @ r.standard_normal((D, K)) + r.gumbel(size=(N, K))).argmax(axis=1)
    return X, np.array(["a", "b", "c"])[y]


def source(*arrays, rows=1234, **options):
    """In batches of some rows, with a budget that holds a part of them."""

    def batches():
        for first in range(0, len(arrays[0]), rows):
            yield tuple(array[first : first + rows] for array in arrays)

    return sources.batches(batches, **{"memory": 1_200_000, "cache": True} | options)


@pytest.fixture(autouse=True)
def never_in_memory(monkeypatch):
    """And in short windows."""
    monkeypatch.setattr("fastsoftmax.sources.memory.kept", lambda memory: 0)
    monkeypatch.setattr("fastsoftmax.kernels.tiles.sizes._SLAB_MOST", 512)


def assert_same(a, b):
    assert a.objective == b.objective
    assert a.lower_bound == b.lower_bound
    assert a.n_passes == b.n_passes
    assert_same_model(a.model, b.model)


def assert_same_model(a, b):
    for one, other in ((a.W, b.W), (a.b, b.b), (a.classes, b.classes)):
        np.testing.assert_array_equal(one, other)


r = np.random.default_rng(1)
WEIGHTS, SOFT = r.random(N), r.random((N, K))


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ("labels", {}),
        ("labels", {"standardize": False, "class_weight": "balanced", "rows": 17}),
        ("weights", {"tol": 1e-7, "class_weight": {"a": 3.0}}),
        ("weights", {"cache": False, "label_smoothing": 0.1}),
        ("soft", {"fit_intercept": False}),
        ("labels", {"l2": 0.0, "cache": False}),
        ("labels", {"classes": ["c", "d", "a", "b"]}),
        ("narrow", {}),
    ],
)
def test_fit_has_the_bits_of_rows_in_memory(given, options):
    X, y = problem(np.float16 if given == "narrow" else np.float32)
    options = dict(options)
    read = {name: options.pop(name) for name in ("rows", "cache") if name in options}
    weights = {"sample_weight": WEIGHTS} if given == "weights" else {}
    if given == "soft":
        y = SOFT
    arrays = X, y, *weights.values()
    assert_same(fs.fit(X, y, **weights, **options), fs.fit(source(*arrays, **read), **options))


def test_a_path():
    X, y = problem()
    l2s = [1e-1, 1e-2]
    held_out = X[:100], y[:100]
    a = fs.fit_path(X, y, l2s=l2s, validation_data=held_out)
    b = fs.fit_path(source(X, y), l2s=l2s, validation_data=held_out)
    for one, other in zip(a.results, b.results, strict=True):
        assert_same(one, other)
    assert a.validation_loss == b.validation_loss


def test_a_value_that_is_not_finite_is_named_by_its_row_in_the_source():
    X, y = problem()
    X[17_000, 3] = np.inf
    for train in (fs.fit, fs.fit_sgd):
        with pytest.raises(ValueError, match=r"X\[17000, 3\] is inf"):
            train(source(X, y))
    with pytest.raises(ValueError, match=r"X\[17000, 3\] is inf"):
        fs.SoftmaxModel(np.zeros((D, K)), np.zeros(K), [0, 1, 2]).predict(source(X, y))


def test_sgd_within_the_budget_has_the_bits_of_rows_in_memory(monkeypatch):
    monkeypatch.undo()
    X, y = problem()
    options = {"epochs": 2, "seed": 3}
    assert_same_model(
        fs.fit_sgd(X, y, **options).model,
        fs.fit_sgd(source(X, y, memory="20MB"), **options).model,
    )


@pytest.mark.parametrize("cache", [True, False])
def test_sgd_on_windows_learns_what_it_does_in_memory(cache):
    """On rows that are sorted by class, where they can be read in any order."""
    X, y = problem()
    train, test = slice(0, 15_000), slice(15_000, N)
    order = np.argsort(y[train], kind="stable") if cache else np.arange(15_000)
    rows = X[train][order], y[train][order]
    expected = fs.fit_sgd(*rows).model.score(X[test], y[test])
    result = fs.fit_sgd(source(*rows, cache=cache, memory="1.2MB"))
    assert result.model.score(X[test], y[test]) > expected - 0.005


def test_windows_of_sgd_depend_on_seed_and_budget_alone():
    X, y = problem()
    options = {"epochs": 2, "sample_weight": None}
    models = [
        fs.fit_sgd(source(X, y, WEIGHTS, rows=rows, memory="1.5MB"), seed=seed, **options).model
        for rows, seed in ((100, 0), (7777, 0), (100, 1))
    ]
    assert_same_model(models[0], models[1])
    assert not np.array_equal(models[0].W, models[2].W)


def test_every_row_is_visited_once_in_an_epoch():
    """One step of a rate for each row of weight: on features that number the rows."""
    X = np.eye(64, dtype=np.float64)[np.arange(N) % 64]
    y = np.arange(N) % 2
    options = {"epochs": 1, "standardize": False, "l2": 0.0, "momentum": 0.0}
    options |= {"learning_rate": 1e-9, "batch_size": 100}
    a = fs.fit_sgd(X, y, **options).model
    b = fs.fit_sgd(source(X, y, memory="3MB"), **options).model
    np.testing.assert_allclose(a.W, b.W, rtol=1e-6)


def sparse_problem():
    """Rows of a few words each, sorted by class."""
    r = np.random.default_rng(4)
    n_words = 300
    words = r.integers(0, n_words, (N, 6))
    weights = r.standard_normal((n_words, K))
    y = np.argmax(weights[words].sum(axis=1) + r.gumbel(size=(N, K)), axis=1)
    order = np.argsort(y, kind="stable")
    indptr = np.arange(0, 6 * N + 1, 6)
    given = np.ones(6 * N, np.float32), words[order].ravel(), indptr  # unsorted, some twice
    return scipy.sparse.csr_array(given, (N, n_words)), np.array(["a", "b", "c"])[y[order]]


def sparse_source(X, y, **options):
    def batches():
        for first in range(0, N, 1234):
            yield X[first : first + 1234], y[first : first + 1234]

    return sources.batches(batches, **{"memory": 400_000} | options)


def test_sgd_on_windows_of_sparse_rows():
    X, y = sparse_problem()
    train, test = np.arange(N) % 4 > 0, np.arange(N) % 4 == 0
    expected = fs.fit_sgd(X[train], y[train]).model.score(X[test], y[test])
    twice = np.flatnonzero(train)[np.linspace(0, train.sum() - 1, N).astype(int)]
    result = fs.fit_sgd(sparse_source(X[twice], y[twice]))
    assert result.model.score(X[test], y[test]) > expected - 0.005
    assert result.model.W.shape == (300, K)
    model = fs.fit_sgd(sparse_source(X[twice], y[twice], cache=False), epochs=1).model
    assert model.score(sparse_source(X, y)) == model.score(X, y)


def test_sparse_rows_that_need_all_of_them_in_memory():
    X, y = sparse_problem()
    for train, options in ((fs.fit, {}), (fs.fit_sgd, {"standardize": True})):
        with pytest.raises(ValueError, match=r"sparse rows take about 1\.3MB.*memory='400KB'"):
            train(sparse_source(X, y), **options)
    X = X.copy()
    X.data[7 * 6] = np.nan
    with pytest.raises(ValueError, match=r"X\[7, \d+\] is nan"):
        fs.fit_sgd(sparse_source(X, y))


def test_predictions():
    X, y = problem()
    model = fs.fit_sgd(X[:500], y[:500], epochs=1).model
    rows = source(X, y, WEIGHTS)
    np.testing.assert_array_equal(model.predict(rows), model.predict(X))
    np.testing.assert_array_equal(model.predict_proba(rows), model.predict_proba(X))
    expected = model.score(X, y, sample_weight=WEIGHTS)
    np.testing.assert_allclose(model.score(rows), expected, rtol=1e-12)
    assert model.predict(source(X[:0], y[:0])).shape == (0,)


@pytest.mark.parametrize(("weight", "text"), [(0.0, "zero"), (1e308, "more than a float64")])
def test_weights_that_have_no_sum(weight, text):
    X, y = problem()
    with pytest.raises(ValueError, match=f"weights of the source sum to {text}"):
        fs.fit(source(X, y, np.full(N, weight)))


def test_the_score_of_npy_files(tmp_path):
    X, y = problem()
    model = fs.fit_sgd(X[:500], y[:500], epochs=1).model
    paths = [tmp_path / f"{name}.npy" for name in ("X", "y", "weight")]
    for path, array in zip(paths, (X, y, WEIGHTS), strict=True):
        np.save(path, array)
    expected = model.score(X, y, sample_weight=WEIGHTS)
    np.testing.assert_allclose(model.score(sources.npy(*paths, memory="1MB")), expected, rtol=1e-12)


def test_what_a_source_brings_may_not_be_given_too():
    X, y = problem()
    for name in ("y", "sample_weight"):
        with pytest.raises(TypeError, match=f"{name} must be None with a source"):
            fs.fit(source(X, y), **{name: np.ones(N)})
    with pytest.raises(TypeError, match="y must be given with X"):
        fs.fit(X)


@pytest.mark.parametrize("train", [fs.fit, fs.fit_sgd])
def test_a_source_that_fails_half_way_leaves_what_was_learnt(train):
    X, y = problem()
    left = [6]

    def batches():
        left[0] -= 1
        yield X[:9000], y[:9000]
        if left[0] < 0:
            raise OSError("the disk is gone")
        yield X[9000:], y[9000:]

    options = {"tol": 1e-9} if train is fs.fit else {"epochs": 50}
    with pytest.raises(sources.SourceError, match="the disk is gone") as caught:
        train(sources.batches(batches, memory=1_200_000, cache=False), **options)
    assert caught.value.result.model.classes.tolist() == ["a", "b", "c"]


def test_the_example_of_the_page(monkeypatch, capsys):
    monkeypatch.undo()
    page = Path(__file__).parents[1] / "docs" / "large-data.md"
    (example,) = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    exec(example, {})
    assert capsys.readouterr().out == "True True True\n"
