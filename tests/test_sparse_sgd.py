"""`fit_sgd` and `partial_fit` on sparse rows: the steps of the dense ones, and what they learn."""

from __future__ import annotations

import copy
import csv
import pickle
import tracemalloc

import numpy as np
import pytest

import fastsoftmax as fs
from fastsoftmax.training import DivergenceError
from fastsoftmax.training.columns import no_scaling
from fastsoftmax.training.curvature import curvature, sparse_curvature
from fastsoftmax.training.samples import Samples
from fastsoftmax.training.sparse_optimizer import SparseOptimizer
from fastsoftmax.training.stream import Options, Stream

sp = pytest.importorskip("scipy.sparse")

N, D, K = 203, 60, 5
EXACT = {"learning_rate": 0.05, "batch_size": 20, "epochs": 9, "standardize": False}


def problem(n_rows=N, n_features=D, n_classes=K, dtype=np.float64, seed=0):
    """Rows with a full column, an empty one, one of a single entry, and a row without entries."""
    r = np.random.default_rng(seed)
    X = r.standard_normal((n_rows, n_features)) * (r.random((n_rows, n_features)) < 0.1)
    X[:, 3:4] = 1
    X[:, 4:6] = 0
    X[7:8, 5:6] = 2
    X[9:10] = 0
    y = np.arange(n_rows) % n_classes
    X[:, 6:7] += y[:, None] / n_classes
    return sp.csr_array(X.astype(dtype)), y


def assert_twins(sparse, dense, dtype=np.float64, factor=1.0):
    tolerance = factor * (1e-12 if dtype == np.float64 else 2e-5)
    for a, b in zip((sparse.W, sparse.b), (dense.W, dense.b), strict=True):
        assert a.dtype == dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(dense.W).max())


r = np.random.default_rng(7)
WEIGHT, SOFT = r.integers(0, 3, N) + np.eye(1, N)[0], r.random((N, K))
X_HELD, Y_HELD = problem(seed=3)
INIT = fs.SoftmaxModel(r.standard_normal((D, K)), r.standard_normal(K), range(K))


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"momentum": 0.0, "l2": 0.5, "schedule": "linear"},
        {"nesterov": True, "average": 0.5, "label_smoothing": 0.1},
        {"sample_weight": WEIGHT, "class_weight": "balanced", "average": 1.0, "l2": 0.1},
        {"soft": True, "shuffle": False, "batch_size": N},
        {"init": INIT, "l2": 0.3, "batch_size": 1, "epochs": 2},
        {"validation_data": (X_HELD, Y_HELD), "patience": 2, "average": 0.5},
    ],
    ids=lambda options: "-".join(options) or "defaults",
)
def test_the_steps_of_the_dense_rows(options, standardize):
    X, y = problem()
    options = {**EXACT, "standardize": standardize, **options}
    if options.pop("soft", False):
        y = SOFT
    sparse, dense = fs.fit_sgd(X, y, **options), fs.fit_sgd(X.toarray(), y, **options)
    assert_twins(sparse.model, dense.model, factor=10 if standardize else 1)
    for key in set(sparse.history) - {"seconds"}:
        np.testing.assert_allclose(sparse.history[key], dense.history[key], rtol=1e-11)


@pytest.mark.parametrize("n_classes", [1, 2, 16, 37])
def test_the_steps_of_the_dense_rows_in_float32(n_classes):
    X, y = problem(n_classes=n_classes, dtype=np.float32)
    for standardize in (False, True):
        options = {**EXACT, "standardize": standardize, "average": 0.3, "classes": range(n_classes)}
        models = [fs.fit_sgd(rows, y, **options).model for rows in (X, X.toarray())]
        assert_twins(*models, np.float32, factor=5)
    mixed = {**EXACT, "classes": range(n_classes)}
    for dtype in (np.float32, np.float64):  # which X is not
        rows = X.astype(np.float64 if dtype == np.float32 else np.float32)
        models = [fs.fit_sgd(rows, y, dtype=dtype, **mixed).model, fs.fit_sgd(X, y, **mixed).model]
        np.testing.assert_allclose(models[0].W, models[1].W, atol=1e-5)
        assert models[0].W.dtype == dtype


@pytest.mark.parametrize(("kind", "dtype"), [(np.int64, "f8"), (np.bool_, "f4"), (np.uint8, "f4")])
def test_counts_train_in_the_type_that_dense_ones_do(kind, dtype):
    X, y = problem()
    X = sp.csr_array(np.abs(X.toarray()).astype(kind))
    sparse, dense = (fs.fit_sgd(rows, y, **EXACT).model for rows in (X, X.toarray()))
    assert sparse.W.dtype == dense.W.dtype == dtype
    if dtype == "f8":
        assert_twins(sparse, dense)
    np.testing.assert_allclose(sparse.W, dense.W, atol=1e-5)


def test_same_bits_however_the_rows_came_about():
    X, y = problem(700, 300, 20, np.float32)

    def bits(X):
        result = fs.fit_sgd(X, y, epochs=3, average=0.5)
        losses = np.array(result.history["loss"])
        return result.model.W.tobytes() + result.model.b.tobytes() + losses.tobytes()

    with fs.num_threads(1):
        expected = bits(X)
    wide = X.copy()
    wide.indices, wide.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    order = np.concatenate(
        [np.arange(a, b)[::-1] for a, b in zip(X.indptr[:-1], X.indptr[1:], strict=True)]
    )
    backwards = sp.csr_array((X.data[order], X.indices[order], X.indptr), shape=X.shape)
    many = {"threads": X, "int64": wide, "matrix": sp.csr_matrix(X), "order": backwards}
    many["by columns"] = sp.csc_array(X)
    many["wider"] = sp.csr_array((X.data, X.indices, X.indptr), shape=(700, 1000))
    bits_of = {name: bits(rows) for name, rows in many.items() if name != "wider"}
    assert [name for name, other in bits_of.items() if other != expected] == []
    wider, plain = (fs.fit_sgd(rows, y, epochs=3).model.W for rows in (many["wider"], X))
    assert np.array_equal(wider[:300], plain)
    assert not wider[300:].any()


def test_entries_that_are_there_twice_add_up():
    X, y = problem()
    parts = np.repeat(X.data / 2, 2), np.repeat(X.indices, 2), X.indptr * 2
    twice = sp.csr_array(parts, shape=X.shape)
    for standardize in (False, True):
        options = {**EXACT, "standardize": standardize}
        assert_twins(*(fs.fit_sgd(rows, y, **options).model for rows in (twice, X)), factor=10)


def test_a_later_epoch_does_not_depend_on_when_rows_are_brought_up_to_date():
    X, y = problem()
    watched = fs.fit_sgd(X, y, **EXACT, callback=lambda epoch: epoch.model is None).model
    assert_twins(watched, fs.fit_sgd(X, y, **EXACT).model)


def test_an_automatic_rate_that_is_far_too_high_backs_off(monkeypatch):
    X, y = problem()
    usual = fs.fit_sgd(X, y)
    bend = fs.training.steps.curvature_of_sparse_batches
    monkeypatch.setattr(
        "fastsoftmax.training.steps.curvature_of_sparse_batches",
        lambda *arguments: (bend(*arguments)[0] / 1e4, bend(*arguments)[1]),
    )
    backed_off = fs.fit_sgd(X, y)
    assert backed_off.learning_rate < 100 * usual.learning_rate
    assert backed_off.history["loss"][-1] < 1.5 * usual.history["loss"][-1]


def test_a_rate_of_ones_own_that_is_too_high_diverges():
    X, y = problem(dtype=np.float32)
    with pytest.raises(DivergenceError) as seen:
        fs.fit_sgd(X * 1e3, y, learning_rate=1e36, epochs=3)
    assert seen.value.model.W.shape == (D, K)


def test_bad_entries_are_named_and_those_of_rows_without_weight_are_not_read():
    X, y = problem()
    X.data[X.indptr[50]] = np.nan
    column = X.indices[X.indptr[50]]
    for standardize in (False, True):
        with pytest.raises(ValueError, match=rf"X\[50, {column}\] is nan; X must be finite"):
            fs.fit_sgd(X, y, standardize=standardize)
    weight = np.ones(N)
    weight[50] = 0
    model = fs.fit_sgd(X, y, sample_weight=weight, **EXACT).model
    clean = X.copy()
    clean.data[X.indptr[50]] = 0
    assert_twins(model, fs.fit_sgd(clean, y, sample_weight=weight, **EXACT).model)


def test_formats_that_are_not_rows_are_refused():
    X, y = problem()
    with pytest.raises(TypeError, match=r"X is sparse, in the format coo: give X.tocsr\(\)"):
        fs.fit_sgd(X.tocoo(), y)
    with pytest.raises(TypeError, match="validation_data: X is sparse, in the format lil"):
        fs.fit_sgd(X, y, validation_data=(X.tolil(), y))


def test_by_default_dense_features_are_standardized_and_sparse_ones_are_not():
    X, y = problem()
    for rows, standardize in ((X, False), (X.toarray(), True)):
        models = [fs.fit_sgd(rows, y, epochs=2, standardize=s).model for s in ("auto", standardize)]
        assert np.array_equal(models[0].W, models[1].W)


def test_columns_that_weights_cannot_scale_are_refused():
    X, y = problem(dtype=np.float32)
    X.data[X.indices == 8] *= 1e-35
    with pytest.raises(ValueError, match=r"column 8 of X has a standard deviation of .* too small"):
        fs.fit_sgd(X, y, standardize=True)


def test_empty_rows_alone_teach_the_biases():
    y = np.array([0, 1, 1, 1])
    model = fs.fit_sgd(sp.csr_array((4, 3)), y, l2=0.0).model
    assert not model.W.any()
    np.testing.assert_allclose(model.predict_proba(np.zeros((1, 3))), [[0.25, 0.75]], atol=0.01)


@pytest.mark.parametrize("standardize", [False, True])
def test_curvature_of_a_sample_is_that_of_dense_rows(standardize):
    X, _ = problem()
    r = np.random.default_rng(1)
    rows, weight = fs.validation.rows_of(X), r.integers(0, 3, N).astype(float)
    centre = r.random(D) if standardize else np.zeros(0)
    dense = X.toarray() - (centre if standardize else 0)
    targets = np.zeros(len(dense))
    bend, bias_step = sparse_curvature(Samples(rows, targets, weight, weight.sum()), centre)
    samples = Samples(dense, targets, weight, weight.sum())
    expected, _ = curvature(samples, no_scaling(), shorten=False)
    assert bias_step == 1
    assert bend.single == pytest.approx(expected.single)
    assert bend.whole == pytest.approx(expected.whole, rel=0.02)  # both from a few iterations


def test_memory_goes_with_the_entries_and_the_model_however_many_columns():
    r = np.random.default_rng(0)
    n_features = 2**20
    X = sp.random_array((300, n_features), density=20 / n_features, rng=r, dtype=np.float32)
    X, y = X.tocsr(), r.integers(0, 4, 300)
    fs.fit_sgd(X, y, epochs=1)
    tracemalloc.start()
    try:
        model = fs.fit_sgd(X, y, epochs=60, average=0.5).model
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3.5 * model.W.nbytes


def test_a_copy_of_an_optimizer_has_arrays_of_its_own_and_a_snapshot_comes_back():
    X, y = problem()
    rows = fs.validation.rows_of(X)
    samples = Samples(rows, y, np.ones(N), float(N))
    optimizer = SparseOptimizer(
        np.zeros((D, K)),
        np.zeros(K),
        np.dtype(float),
        batch_size=20,
        l2=0.1,
        momentum=0.9,
        nesterov=False,
        label_smoothing=0.0,
        scaling=no_scaling(),
    )
    step = np.arange(N), np.full(11, 0.1), np.zeros(11)
    optimizer.run(samples, *step)
    twin, moving, resting = (
        copy.copy(optimizer),
        optimizer.snapshot(),
        optimizer.snapshot(at_rest=True),
    )
    W = optimizer.parameters[0]
    optimizer.run(samples, *step)
    after = optimizer.parameters[0]
    assert not np.array_equal(after, W)
    assert np.array_equal(twin.parameters[0], W)
    for state, velocity in ((moving, True), (resting, False)):
        optimizer.restore(state)
        assert np.array_equal(optimizer.parameters[0], W)
        assert optimizer.velocity[0].any() == velocity
    optimizer.restore(moving)
    optimizer.run(samples, *step)
    np.testing.assert_allclose(optimizer.parameters[0], after, atol=1e-14)


# Streams


@pytest.mark.parametrize("standardize", [False, True])
def test_a_stream_of_sparse_rows_takes_the_steps_of_the_dense_ones(standardize):
    X, y = problem()
    options = Options(learning_rate=0.05, l2=0.1, batch_size=16, standardize=standardize)
    blank = fs.SoftmaxModel(np.zeros((D, K)), np.zeros(K), range(K))
    sparse, dense, mixed = (Stream(blank, options) for _ in range(3))
    for i, start in enumerate(range(0, 200, 50)):
        rows = slice(start, start + 50)
        x = X[rows]
        losses = sparse.feed(x, y[rows]), dense.feed(x.toarray(), y[rows])
        assert losses[0] == pytest.approx(losses[1], rel=1e-11)
        mixed.feed(x if i % 2 else x.toarray(), y[rows])
        sparse = pickle.loads(pickle.dumps(sparse))
    assert_twins(sparse.model, dense.model, factor=10)
    assert_twins(mixed.model, dense.model, factor=10)


def test_a_stream_undoes_a_call_that_fails():
    X, y = problem()
    stream = Stream(fs.SoftmaxModel(np.zeros((D, K)), np.zeros(K), range(K)))
    stream.feed(X, y)
    before = stream.model.W
    with pytest.raises(ValueError, match="X has 61 features, 60 were expected"):
        stream.feed(sp.csr_array((2, D + 1)), y[:2])
    bad = X.copy()
    bad.data[5] = np.inf
    with pytest.raises(ValueError, match="X must be finite"):
        stream.feed(bad, y)
    assert np.array_equal(stream.model.W, before)


# The estimator


def titles(data_folder):
    """(texts, labels) to train on, and to test with."""
    pytest.importorskip("sklearn")
    path = data_folder / "stackoverflow20.csv"
    if not path.exists():
        pytest.skip(f"{path.name} is not in the data folder; FASTSOFTMAX_DATA can name the folder")
    with path.open(encoding="utf-8") as file:
        rows = [(row["text"], row["label"]) for row in csv.DictReader(file)]
    text, labels = (np.array(part) for part in zip(*rows, strict=True))
    test = np.random.default_rng(0).random(len(text)) < 0.2
    return text[~test], labels[~test], text[test], labels[test]


def test_titles_by_their_words(data_folder):
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
    from sklearn.pipeline import make_pipeline

    from fastsoftmax.sklearn import SoftmaxClassifier

    text, labels, test_text, test_labels = titles(data_folder)
    # at the optimum, that of LogisticRegression: 0.8705 and 0.8449
    for words, optimum in ((TfidfVectorizer(), 0.8705), (HashingVectorizer(), 0.8449)):
        pipeline = make_pipeline(words, SoftmaxClassifier(random_state=0)).fit(text, labels)
        assert pipeline.score(test_text, test_labels) > optimum - 0.005
    X = TfidfVectorizer(max_features=2000).fit_transform(text)
    stream = SoftmaxClassifier()
    for rows in np.array_split(np.random.default_rng(1).permutation(len(text)), 16):
        stream.partial_fit(X[rows], labels[rows], classes=np.unique(labels))
    assert stream.score(X, labels) > 0.75
    with pytest.raises(ValueError, match="X has 5 features"):
        stream.partial_fit(X[:5, :5], labels[:5])


def test_the_estimator_holds_out_sparse_rows_and_goes_on_with_them():
    pytest.importorskip("sklearn")
    from fastsoftmax.sklearn import SoftmaxClassifier

    X, y = problem()
    model = SoftmaxClassifier(early_stopping=True, warm_start=True, random_state=0).fit(X, y)
    model.fit(X.tocsc(), y, np.ones(N))
    assert model.coef_.shape == (K, D)
    assert type(model.coef_) is np.ndarray
    np.testing.assert_allclose(model.predict_proba(X), model.predict_proba(X.toarray()))
