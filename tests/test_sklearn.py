"""SoftmaxClassifier: scikit-learn's own checks, its tools around it, and its own classifiers."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn import datasets
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastsoftmax as fs
from fastsoftmax.sklearn import SoftmaxClassifier, SoftmaxRegression, SoftmaxRegressionCV


@parametrize_with_checks(
    [SoftmaxClassifier(), SoftmaxClassifier(standardize=False, nesterov=True, average=0.5)]
)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.fixture
def flowers(problem):
    """(X, y) of three classes with names, drawn from a softmax model."""
    p = problem(600, 5, 3)
    Z = p.X @ p.W + p.b + np.random.default_rng(1).gumbel(size=(600, 3))
    return 10 + 3 * p.X, np.array(["iris", "lily", "rose"])[Z.argmax(axis=1)]


@pytest.fixture
def two(flowers):
    X, y = flowers
    return X, np.where(y == "rose", "rose", "other")


def optimum(**options):
    """An estimator that goes all the way there."""
    return SoftmaxClassifier(
        batch_size=10**6, max_iter=400, momentum=0.9, schedule="constant", **options
    )


# Against scikit-learn


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("C", [1.0, 0.01])
@pytest.mark.parametrize("data", ["flowers", "two"])
def test_the_optimum_is_that_of_logistic_regression(request, data, C, weighted):
    X, y = request.getfixturevalue(data)
    X = StandardScaler().fit_transform(X)
    weight = np.random.default_rng(0).uniform(0.5, 2, len(X)) if weighted else np.ones(len(X))
    alpha = "auto" if C == 1 else 1 / (C * weight.sum())
    own = optimum(alpha=alpha, standardize=False).fit(X, y, weight)
    other = LogisticRegression(C=C, tol=1e-10, max_iter=1000).fit(X, y, weight)
    assert own.coef_.shape == other.coef_.shape
    assert own.intercept_.shape == other.intercept_.shape
    np.testing.assert_allclose(own.coef_, other.coef_, rtol=0, atol=1e-6)
    # of K biases, one is free: scikit-learn's need not sum to zero
    bias, other_bias = own.intercept_, other.intercept_
    if len(bias) > 1:
        bias, other_bias = bias - bias.mean(), other_bias - other_bias.mean()
    np.testing.assert_allclose(bias, other_bias, rtol=0, atol=1e-6)
    np.testing.assert_allclose(own.predict_proba(X), other.predict_proba(X), rtol=0, atol=1e-6)
    assert own.score(X, y) == other.score(X, y)


def test_scaling_is_that_of_a_pipeline(flowers):
    X, y = flowers
    X = X * [1e-3, 1.0, 1.0, 10.0, 1e4]
    other = make_pipeline(StandardScaler(), LogisticRegression(tol=1e-10)).fit(X, y)
    P = optimum().fit(X, y).predict_proba(X)
    np.testing.assert_allclose(P, other.predict_proba(X), rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore:the loss was still falling")
def test_the_parameters_are_those_of_fit_sgd(flowers):
    X, y = flowers
    options = {
        "batch_size": 50,
        "learning_rate": 0.2,
        "schedule": "linear",
        "momentum": 0.5,
        "nesterov": True,
        "average": 0.5,
        "shuffle": False,
        "label_smoothing": 0.1,
        "class_weight": {"iris": 2.0},
    }
    own = SoftmaxClassifier(alpha=0.01, max_iter=3, **options).fit(X, y)
    result = fs.fit_sgd(X, y, l2=0.01, epochs=3, **options)
    assert own.model_.W.tobytes() == result.model.W.tobytes()
    assert own.loss_curve_ == result.history["loss"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_two_classes_have_one_vector(two, dtype):
    X, y = two
    X = X.astype(dtype)
    model = SoftmaxClassifier(random_state=0).fit(X, y)
    w, b = fs.softmax_to_binary(model.model_.W, model.model_.b)
    assert model.coef_.dtype == model.intercept_.dtype == model.predict_proba(X).dtype == dtype
    np.testing.assert_array_equal(model.coef_, w[None])
    np.testing.assert_array_equal(model.intercept_, [b])
    decision = model.decision_function(X)
    tolerance = 1e-4 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(decision, X @ w + b, rtol=0, atol=tolerance)
    np.testing.assert_array_equal(model.predict(X), model.classes_[(decision > 0).astype(int)])
    P = 1 / (1 + np.exp(-decision.astype(np.float64)))
    np.testing.assert_allclose(model.predict_proba(X)[:, 1], P, rtol=1e-5, atol=0)
    log_P = model.predict_log_proba(X)
    np.testing.assert_allclose(np.exp(log_P), model.predict_proba(X), rtol=1e-5)


def test_many_classes_have_a_vector_each(flowers):
    X, y = flowers
    model = SoftmaxClassifier(random_state=0).fit(X, y)
    assert model.coef_.shape == (3, 5)
    Z = X @ model.coef_.T + model.intercept_
    np.testing.assert_allclose(model.decision_function(X), Z, rtol=0, atol=1e-10)
    np.testing.assert_array_equal(model.predict(X), model.classes_[Z.argmax(axis=1)])


# Inside scikit-learn's tools


def test_pipeline_and_search(flowers):
    X, y = flowers
    pipeline = make_pipeline(StandardScaler(), SoftmaxClassifier(max_iter=5, random_state=0))
    grid = {"softmaxclassifier__alpha": [1e-4, 10.0]}
    search = GridSearchCV(pipeline, grid, n_jobs=2, cv=3).fit(X, y)
    assert search.best_params_ == {"softmaxclassifier__alpha": 1e-4}
    assert search.score(X, y) > 0.6
    utility = [[1.0, 0.0, 0.0], [0.0, 2.0, 2.0]]
    model = search.best_estimator_
    expected = fs.decide(model.predict_proba(X), utility)
    np.testing.assert_array_equal(model.predict(X, utility=utility), expected)


def test_cross_validation(flowers):
    X, y = flowers
    for scoring in ("accuracy", "neg_log_loss"):
        scores = cross_val_score(SoftmaxClassifier(), X, y, cv=3, scoring=scoring)
        others = cross_val_score(LogisticRegression(max_iter=1000), X, y, cv=3, scoring=scoring)
        np.testing.assert_allclose(scores, others, rtol=0, atol=0.05)


@pytest.mark.parametrize("data", ["flowers", "two"])
def test_calibration(request, data):
    X, y = request.getfixturevalue(data)
    model = CalibratedClassifierCV(SoftmaxClassifier(max_iter=5), cv=3).fit(X, y)
    assert model.score(X, y) > 0.6
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1)


def test_clone_and_pickle(flowers):
    X, y = flowers
    model = SoftmaxClassifier(alpha=0.1, random_state=3).partial_fit(X, y, np.unique(y))
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    with pytest.raises(NotFittedError):
        copy.predict(X)
    twin = pickle.loads(pickle.dumps(model))
    for each in (model, twin):
        each.partial_fit(X, y)
    np.testing.assert_array_equal(twin.coef_, model.coef_)


# Data of all kinds


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames(flowers, library):
    frames = pytest.importorskip(library)
    X, y = flowers
    names = [f"size_{i}" for i in range(5)]
    frame = frames.DataFrame(dict(zip(names, X.T, strict=True)))
    labels = frames.Series(y.tolist())
    model = SoftmaxClassifier(random_state=0).fit(frame, labels)
    assert model.feature_names_in_.tolist() == names
    assert model.model_.feature_names == tuple(names)
    plain = SoftmaxClassifier(random_state=0).fit(X, y)
    np.testing.assert_array_equal(model.coef_, plain.coef_)
    np.testing.assert_array_equal(model.predict(frame), plain.predict(X))
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[names[::-1]])
    model.partial_fit(frame, labels)
    assert model.n_iter_ == 101


@pytest.mark.parametrize("dtype", ["f4", "f8", ">f4"])
def test_arrays_that_are_not_checked_again_are_checked_by_us(flowers, dtype):
    X, y = flowers[0].astype(dtype), np.unique(flowers[1], return_inverse=True)[1]
    model = SoftmaxClassifier(random_state=0).fit(X, y)
    for good in (X, np.full_like(X, np.finfo(dtype).max / 3)):  # whose sum overflows
        assert np.isin(model.predict(good), y).all()
    bad = X.copy()
    bad[3, 1] = np.nan
    wrong = {
        "contains NaN": (bad, y),
        "features": (X[:, :3], y),
        "2D": (X[0], y),
        "0 sample": (X[:0], y[:0]),
        "inconsistent numbers": (X, y[1:]),
        "1d array": (X, np.c_[y, y]),
        "Unknown label type|not one of the classes": (X, y + 0.5),
    }
    for text, (X_wrong, y_wrong) in wrong.items():
        for method in (model.fit, model.partial_fit):
            if (method, text) != (model.fit, "features"):
                with pytest.raises(ValueError, match=text):
                    method(X_wrong, y_wrong)


@pytest.mark.parametrize(
    "classes",
    [["a", "b", "c"], [3, -1, 7], [5.0, 2.0, 1.0], np.array(["x", "yy", "zzz"], object)],
    ids=["strings", "integers", "floats", "objects"],
)
def test_labels(flowers, classes):
    X, y = flowers
    labels = np.asarray(classes)[np.unique(y, return_inverse=True)[1]]
    model = SoftmaxClassifier(random_state=0).fit(X, labels)
    np.testing.assert_array_equal(model.classes_, np.unique(labels))
    assert model.predict(X).dtype == labels.dtype
    assert model.score(X, labels) > 0.6


@pytest.mark.filterwarnings("ignore:the loss was still falling")
def test_weights_of_classes(flowers):
    X, y = flowers
    factors = {"iris": 3.0, "rose": 0.5}
    weight = np.array([factors.get(label, 1.0) for label in y])
    options = {"max_iter": 5, "random_state": 0}
    by_class = SoftmaxClassifier(class_weight=factors, **options).fit(X, y)
    by_row = SoftmaxClassifier(**options).fit(X, y, weight)
    np.testing.assert_allclose(by_class.coef_, by_row.coef_, rtol=1e-12)
    by_class, by_row = (
        SoftmaxClassifier(class_weight=factors).partial_fit(X, y, np.unique(y)),
        SoftmaxClassifier().partial_fit(X, y, np.unique(y), weight),
    )
    np.testing.assert_allclose(by_class.coef_, by_row.coef_, rtol=1e-12)
    balanced = SoftmaxClassifier(class_weight="balanced", **options).fit(X, y)
    counts = {label: 600 / (3 * (y == label).sum()) for label in np.unique(y)}
    twin = SoftmaxClassifier(class_weight=counts, **options).fit(X, y)
    np.testing.assert_allclose(balanced.coef_, twin.coef_, rtol=1e-10)


def test_classes_that_a_fold_lacks():
    X = np.random.default_rng(0).normal(size=(40, 3))
    y = np.array(["a"] * 19 + ["b"] * 19 + ["rare"] * 2)
    every = {"a": 1.0, "b": 2.0, "rare": 3.0}
    folds = [(np.arange(38), np.arange(38)), (np.arange(40), np.arange(40))]
    scores = cross_val_score(SoftmaxClassifier(class_weight=every), X, y, cv=folds)
    assert np.isfinite(scores).all()
    others = {"max_iter": 3, "random_state": 0}
    model = SoftmaxClassifier(class_weight=every, **others).fit(X[:38], y[:38])
    twin = SoftmaxClassifier(class_weight={"a": 1.0, "b": 2.0}, **others).fit(X[:38], y[:38])
    np.testing.assert_array_equal(model.coef_, twin.coef_)
    model.set_params(class_weight={"b": 2.0, "rare": 3.0})  # it may be misspelt
    with pytest.warns(UserWarning, match="class_weight has 'rare', which y lacks"):
        model.fit(X[:38], y[:38])
    np.testing.assert_array_equal(model.coef_, twin.coef_)
    with pytest.raises(ValueError, match="class_weight has 'rare'"):  # all classes are named there
        SoftmaxClassifier(class_weight=every).partial_fit(X[:38], y[:38], ["a", "b"])


def test_a_column_of_labels_is_a_warning(flowers):
    X, y = flowers
    with pytest.warns(DataConversionWarning, match="column-vector y"):
        model = SoftmaxClassifier(random_state=0).fit(X, y[:, None])
    np.testing.assert_array_equal(model.classes_, np.unique(y))


@pytest.mark.filterwarnings("ignore:the loss was still falling")
@pytest.mark.parametrize("name", ["X", "y", "sample_weight"])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_masked_entries_are_refused(two, name, method):
    X, y = two
    arguments = {"X": X, "y": (y == "rose").astype(int), "sample_weight": np.ones(600)}
    masked = np.ma.array(arguments[name], mask=np.zeros(arguments[name].shape, bool))
    masked.mask.flat[3] = True
    model = SoftmaxClassifier(max_iter=1)
    classes = {"classes": [0, 1]} if method == "partial_fit" else {}
    with pytest.raises(TypeError, match=f"{name} has masked entries"):
        getattr(model, method)(**arguments | {name: masked}, **classes)
    model.fit(X, y)
    if name == "X":
        with pytest.raises(TypeError, match="X has masked entries"):
            model.predict(masked)


# Fitting on


def test_warm_start(flowers):
    X, y = flowers
    model = SoftmaxClassifier(warm_start=True, max_iter=10, random_state=0).fit(X, y)
    first = model.loss_curve_
    model.fit(X, y)
    assert model.n_iter_ == len(model.loss_curve_) == 10
    assert model.loss_curve_[0] < first[0] - 0.1
    start = model.coef_.copy()
    model.set_params(learning_rate=0.0).fit(X, y)
    np.testing.assert_allclose(model.coef_, start, rtol=1e-12)
    with pytest.raises(ValueError, match="warm_start needs the classes of the last fit"):
        model.fit(X, np.where(y == "rose", "tulip", y))
    with pytest.raises(ValueError, match="expecting 5 features"):
        model.fit(X[:, :4], y)


def test_early_stopping(flowers):
    X, y = flowers
    options = {"max_iter": 200, "n_iter_no_change": 3, "random_state": 0}
    model = SoftmaxClassifier(early_stopping=True, **options).fit(X, y)
    assert 3 < model.n_iter_ < 200
    assert len(model.loss_curve_) == model.n_iter_
    assert model.score(X, y) > 0.6
    model.set_params(n_iter_no_change=200).fit(X, y)
    assert model.n_iter_ == 200


@pytest.mark.filterwarnings("ignore:the loss was still falling")
@pytest.mark.parametrize("random_state", [0, None, np.random.RandomState(0)])
def test_random_state(flowers, random_state):
    X, y = flowers
    models = [SoftmaxClassifier(random_state=random_state, max_iter=2).fit(X, y) for _ in range(2)]
    assert np.array_equal(models[0].coef_, models[1].coef_) == (random_state == 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("data", ["flowers", "two"])
def test_a_stream_has_the_bits_of_fit_sgd(request, data, dtype):
    X, y = request.getfixturevalue(data)
    X = X.astype(dtype)
    options = {"batch_size": 100, "learning_rate": 0.001, "standardize": False}
    l2 = 0.02 if data == "two" else 0.01  # two vectors of half the squares
    classes = np.unique(y)
    result = fs.fit_sgd(X, y, classes=classes, l2=l2, epochs=2, shuffle=False, **options)
    model = SoftmaxClassifier(alpha=0.01, **options)
    for _ in range(2):
        for start in range(0, 600, 100):
            model.partial_fit(X[start : start + 100], y[start : start + 100], classes)
    assert model.model_.W.dtype == dtype
    assert model.model_.W.tobytes() == result.model.W.tobytes()
    assert model.model_.b.tobytes() == result.model.b.tobytes()
    assert model.n_iter_ == len(model.loss_curve_) == 12


def test_a_stream_goes_on_from_a_fit(flowers):
    X, y = flowers
    model = SoftmaxClassifier(random_state=0).fit(X, y)
    start = model.coef_.copy()
    model.set_params(learning_rate=0.0).partial_fit(X[:10], y[:10])
    np.testing.assert_allclose(model.coef_, start, rtol=1e-12)
    assert model.n_iter_ == 101
    assert model.fit(X, y).n_iter_ == 100


def test_a_loss_far_above_that_of_equal_probabilities_is_told(flowers):
    X, y = flowers
    with pytest.raises(fs.DivergenceError, match="it ended at a loss of"):
        SoftmaxClassifier(learning_rate=1e6, standardize=False, max_iter=3).fit(X, y)
    stream = SoftmaxClassifier(learning_rate=100.0, standardize=False)
    stream.partial_fit(X[:50], y[:50], classes=np.unique(y))
    with pytest.warns(ConvergenceWarning, match=r"equal probabilities have 1\.1: lower learn"):
        stream.partial_fit(X, y)
    stream.partial_fit(X[:99], y[:99])  # too few rows to tell
    assert stream.loss_curve_[-1] > 11


def test_stopping_short_is_told(flowers):
    X, y = flowers
    with pytest.warns(ConvergenceWarning, match="still falling after 2 passes over X: raise max"):
        model = SoftmaxClassifier(max_iter=2, random_state=0).fit(X, y)
    # one epoch more of a model has none before it to compare with; 100 fall no more; nor does noise
    model.set_params(warm_start=True, max_iter=1).fit(X, y)
    SoftmaxClassifier().fit(X, y)
    noise = np.random.default_rng(0).integers(3, size=len(y))
    for options in ({}, {"learning_rate": 3.0}):
        SoftmaxClassifier(max_iter=10, random_state=0, **options).fit(X, noise)
    with pytest.warns(ConvergenceWarning, match="still falling after 2 passes"):
        SoftmaxClassifier(max_iter=2).fit(*datasets.load_digits(return_X_y=True))


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "digits"])
def test_the_defaults_do_not_stop_short(name):
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    for options in ({}, {"early_stopping": True}, {"class_weight": "balanced", "batch_size": 10}):
        SoftmaxClassifier(random_state=0, **options).fit(X, y)


def test_verbose_prints_a_line_for_each_pass(flowers, capsys):
    X, y = flowers
    options = {"random_state": 0, "max_iter": 7, "early_stopping": True}
    silent = SoftmaxClassifier(**options).fit(X, y)
    assert capsys.readouterr() == ("", "")
    model = SoftmaxClassifier(verbose=1, **options).fit(X, y)
    assert model.coef_.tobytes() == silent.coef_.tobytes()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == model.n_iter_
    loss = f"{model.loss_curve_[-1]:.4f}"
    pattern = rf"epoch {len(lines)}: loss {loss}, of the rows held out \d\.\d{{4}}"
    assert re.fullmatch(pattern, lines[-1])
    SoftmaxClassifier(verbose=True, random_state=0).fit(X, y)
    assert capsys.readouterr().out.startswith("epoch 1: loss 0.9975\nepoch 2: ")


def test_what_a_stream_cannot_do(flowers):
    X, y = flowers
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        SoftmaxClassifier().partial_fit(X, y)
    with pytest.raises(ValueError, match="early_stopping needs all rows at once"):
        SoftmaxClassifier(early_stopping=True).partial_fit(X, y, np.unique(y))
    with pytest.raises(ValueError, match="class_weight='balanced' needs all rows at once"):
        SoftmaxClassifier(class_weight="balanced").partial_fit(X, y, np.unique(y))
    model = SoftmaxClassifier().partial_fit(X, y, ["iris", "lily", "rose", "tulip"])
    assert model.predict_proba(X).shape == (600, 4)
    with pytest.raises(ValueError, match="is not one of the classes"):
        model.partial_fit(X, np.full(600, "oak"))
    before = model.coef_
    with pytest.raises(fs.DivergenceError):
        model.set_params(learning_rate=1e307).partial_fit(X, y)
    np.testing.assert_array_equal(model.coef_, before)


# Decisions, and errors


def test_decisions(flowers):
    X, y = flowers
    model = SoftmaxClassifier(random_state=0).fit(X, y)
    np.testing.assert_array_equal(model.predict(X, utility=[1.0, 1.0, 1.0]), model.predict(X))
    costly = model.predict(X, utility=[100.0, 1.0, 1.0])
    assert (costly == "iris").sum() > (model.predict(X) == "iris").sum()
    np.testing.assert_array_equal(costly, model.model_.decide(X, [100.0, 1.0, 1.0]))
    utility = np.array([[1.0, 0.0, -3.0], [0.2, 0.2, 0.2]])
    expected = (model.predict_proba(X) @ utility.T).argmax(axis=1)
    np.testing.assert_array_equal(model.predict(X, utility), expected)


@pytest.mark.parametrize(
    ("change", "exception", "message"),
    [
        ({"alpha": -1.0}, ValueError, "alpha must be at least 0"),
        ({"alpha": "some"}, ValueError, "alpha must be 'auto' or a number, got 'some'"),
        (
            {"alpha": 1e308},
            ValueError,
            r"alpha=1e\+308 is 1e\+308 here, which does not fit float32",
        ),
        ({"learning_rate": "optimal"}, ValueError, "learning_rate must be 'auto' or a number, got"),
        ({"max_iter": "many"}, ValueError, "max_iter must be 'auto' or an integer, got 'many'"),
        ({"max_iter": 0}, ValueError, "max_iter must be at least 1"),
        ({"verbose": -1}, ValueError, "verbose must be at least 0"),
        ({"batch_size": 1.5}, TypeError, "batch_size must be an integer"),
        ({"early_stopping": 1}, TypeError, "early_stopping must be True or False"),
        ({"warm_start": "no"}, TypeError, "warm_start must be True or False"),
        ({"max_iter": 10**400}, ValueError, "max_iter must be at most 2147483647"),
        ({"class_weight": {0: 2.0}}, TypeError, "class_weight and y must both be numbers or both"),
        ({"class_weight": {"oak": -2.0}}, ValueError, r"class_weight\['oak'\] must be at least 0"),
        ({"early_stopping": True, "n_iter_no_change": 0}, ValueError, "n_iter_no_change must be"),
        ({"early_stopping": True, "validation_fraction": 2.0}, ValueError, "test_size"),
    ],
)
def test_bad_parameters(flowers, change, exception, message):
    X, y = flowers
    X = X.astype(np.float32) if "float32" in message else X
    with pytest.raises(exception, match=message):
        SoftmaxClassifier(**change).fit(X, y)


@pytest.mark.parametrize("make", [SoftmaxClassifier, SoftmaxRegression, SoftmaxRegressionCV])
def test_there_are_no_coefficients_before_a_fit(make):
    for name in ("coef_", "intercept_"):
        with pytest.raises(
            NotFittedError, match=f"This {make.__name__} instance is not fitted yet"
        ):
            getattr(make(), name)
        assert not hasattr(make(), name)


def test_without_scikit_learn_the_error_names_the_extra():
    program = (
        "import sys\nsys.modules['sklearn'] = None\n"
        "try:\n    import fastsoftmax.sklearn\nexcept ImportError as error:\n    print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ
    )
    assert "pip install 'fastsoftmax[sklearn]'" in done.stdout


def run_examples(page):
    """The names that a page of the docs leaves behind."""
    text, names = (Path(__file__).parents[1] / "docs" / page).read_text("utf-8"), {}
    for example in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(example, names)
    return names


def test_examples_for_those_who_come_from_logistic_regression(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = run_examples("from-logistic-regression.md")
    out = capsys.readouterr().out.splitlines()
    gap, passes = out[2].split(maxsplit=1)
    accuracy, apart, (stream, fitted) = float(out[0]), float(out[4]), map(float, out[5].split())
    assert min(accuracy, stream, fitted) > 0.95
    assert float(out[1]) < 1e-5
    assert float(gap) <= 1e-4
    assert passes == str(names["quick"].n_iter_)
    assert float(out[3]) == 1
    assert apart < 0.01
    assert out[6] == "True"


def test_examples_in_the_notes_run_as_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = run_examples("sklearn.md")
    assert capsys.readouterr().out.startswith("[0.9")
    assert (tmp_path / "model.npz").exists()
    assert names["model"].score(names["X"], names["y"]) > 0.95
