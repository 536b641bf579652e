"""SoftmaxRegression and SoftmaxRegressionCV: scikit-learn's checks, its tools, its classifiers."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    StratifiedKFold,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastsoftmax as fs
from fastsoftmax.sklearn import SoftmaxRegression, SoftmaxRegressionCV
from fastsoftmax.sklearn import cv as cv_module


@parametrize_with_checks([SoftmaxRegression(), SoftmaxRegressionCV(Cs=3, cv=3)])
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.fixture
def flowers(problem):
    """(X, y) of three classes with names, drawn from a softmax model."""
    p = problem(120, 5, 3)
    Z = p.X @ p.W + p.b + np.random.default_rng(1).gumbel(size=(120, 3))
    return 1 + 2 * p.X, np.array(["iris", "lily", "rose"])[Z.argmax(axis=1)]


@pytest.fixture
def two(flowers):
    X, y = flowers
    return X, y == "rose"


@pytest.fixture
def weight():
    return np.random.default_rng(0).integers(1, 4, 120) / 2


def assert_same_model(own, other, atol=1e-5):
    """Of K intercepts, one is free: scikit-learn's need not sum to zero."""
    assert own.coef_.shape == other.coef_.shape
    assert own.intercept_.shape == other.intercept_.shape
    np.testing.assert_allclose(own.coef_, other.coef_, rtol=0, atol=atol)
    intercepts = [
        b - b.mean() if len(b) > 1 else b for b in (own.intercept_, np.asarray(other.intercept_))
    ]
    np.testing.assert_allclose(*intercepts, rtol=0, atol=atol)


# Against LogisticRegression


@pytest.mark.parametrize("data", ["flowers", "two"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"C": 0.01, "class_weight": "balanced"},
        {"C": 100.0, "fit_intercept": False},
        {"C": np.inf},
    ],
    ids=str,
)
def test_the_optimum_is_that_of_logistic_regression(request, weight, data, options):
    X, y = request.getfixturevalue(data)
    own = SoftmaxRegression(tol=1e-10, **options).fit(X, y, weight)
    other = LogisticRegression(tol=1e-10, max_iter=10_000, **options).fit(X, y, weight)
    assert_same_model(own, other)
    np.testing.assert_allclose(own.predict_proba(X), other.predict_proba(X), rtol=0, atol=1e-6)
    assert own.decision_function(X).shape == other.decision_function(X).shape
    assert own.score(X, y) == other.score(X, y)


def test_the_objective_is_what_is_documented(two, weight):
    X, y = two
    model = SoftmaxRegression(0.1, tol=1e-6).fit(X, y, weight)
    loss = log_loss(y, model.predict_proba(X), sample_weight=weight)
    expected = loss + (model.coef_**2).sum() / (2 * 0.1 * weight.sum())
    assert model.objective_ == pytest.approx(expected, rel=1e-9)
    assert 0 <= model.dual_gap_ <= 1e-6
    assert model.n_iter_.shape == (1,)
    assert model.n_iter_[0] >= 2


def test_scaling_is_that_of_a_pipeline(flowers):
    X, y = flowers
    X = X * [0.1, 1.0, 1.0, 10.0, 10.0]
    other = make_pipeline(StandardScaler(), LogisticRegression(tol=1e-10)).fit(X, y)
    own = SoftmaxRegression(standardize=True, tol=1e-8).fit(X, y)
    P = other.predict_proba(X)
    np.testing.assert_allclose(own.predict_proba(X), P, rtol=0, atol=1e-6)


ACCEPTED = [
    {"penalty": "l2", "solver": "newton-cg", "random_state": 0, "n_jobs": -1, "verbose": 1},
    {"solver": "saga", "l1_ratio": 0.0, "multi_class": "multinomial", "dual": False},
    {"intercept_scaling": 2.0, "multi_class": "auto", "random_state": np.random.RandomState(0)},
    LogisticRegression(max_iter=500).get_params(),
]


@pytest.mark.parametrize("options", ACCEPTED, ids=range(len(ACCEPTED)))
def test_arguments_that_change_no_optimum_change_nothing(flowers, options):
    model = SoftmaxRegression(**options).fit(*flowers)
    np.testing.assert_array_equal(model.coef_, SoftmaxRegression().fit(*flowers).coef_)


def test_verbose_prints_lines(flowers, capsys):
    model = SoftmaxRegression(verbose=1).fit(*flowers)
    steps = capsys.readouterr().out.splitlines()
    line = rf"step {len(steps)}: objective (0\.\d+), gap about \de-\d\d"
    objective = re.fullmatch(line, steps[-1])[1]
    assert float(objective) == pytest.approx(model.objective_, rel=1e-5)
    search = SoftmaxRegressionCV([1e-3, 1.0], cv=2, verbose=True).fit(*flowers)
    first, second, *steps = capsys.readouterr().out.splitlines()
    least, most = sorted(search.scores_[1])
    assert first.startswith("fold 1 of 2: scores from -")
    assert second == f"fold 2 of 2: scores from {least:.4g} to {most:.4g}"
    assert steps[0].startswith("step 1: ")
    with pytest.raises(TypeError, match="verbose must be an integer, got 'much'"):
        SoftmaxRegression(verbose="much").fit(*flowers)


def test_no_penalty_has_three_names(two):
    models = [
        SoftmaxRegression(**options).fit(*two)
        for options in ({"penalty": None}, {"C": np.inf}, {"C": float("inf"), "penalty": "l2"})
    ]
    for model in models:
        assert model.dual_gap_ == np.inf
        np.testing.assert_array_equal(model.coef_, models[0].coef_)


@pytest.mark.parametrize(
    ("change", "exception", "message"),
    [
        ({"C": 0}, ValueError, "C must be above 0, got 0"),
        ({"C": -1.0}, ValueError, "C must be at least 0"),
        ({"C": [1.0, 2.0]}, TypeError, "C must be a number"),
        ({"C": "l2"}, TypeError, "C must be a number, got 'l2'; a penalty is named"),
        ({"C": 1e-310}, ValueError, "C=1e-310 is too small for float64"),
        ({"tol": -1.0}, ValueError, "tol must be at least 0"),
        ({"max_iter": 0}, ValueError, "max_iter must be at least 1"),
        ({"warm_start": 1}, TypeError, "warm_start must be True or False"),
        ({"fit_intercept": "yes"}, TypeError, "fit_intercept must be True or False"),
        ({"label_smoothing": 2.0}, ValueError, "label_smoothing must be in"),
        ({"penalty": "l1"}, ValueError, "penalty must be 'l2' or None, the only ones here"),
        ({"l1_ratio": 0.5}, ValueError, "l1_ratio must be 0 or None"),
        ({"solver": "liblinear"}, ValueError, "solver='liblinear' penalises the intercept"),
        ({"solver": "best"}, ValueError, "solver must be one of 'lbfgs'"),
        ({"dual": True}, ValueError, "dual=True belongs to solver='liblinear'"),
        ({"multi_class": "ovr"}, ValueError, "put the classifier into a OneVsRestClassifier"),
    ],
    ids=str,
)
def test_bad_parameters(flowers, change, exception, message):
    with pytest.raises(exception, match=message):
        SoftmaxRegression(**change).fit(*flowers)


# Convergence


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_iter": 2, "tol": 1e-9}, r"max_iter=2 passes over X with a relative gap of \d"),
        ({"max_iter": 2, "C": np.inf}, "with no proof of how near the optimum is"),
        ({"tol": 1e-13}, r"rounding hides .*\d, above tol=1e-13: raise tol$"),
    ],
    ids=str,
)
def test_what_does_not_converge_is_a_warning(flowers, options, message):
    with pytest.warns(ConvergenceWarning, match=message):
        SoftmaxRegression(**options).fit(*flowers)
    SoftmaxRegression().fit(*flowers)  # no warning, or it were an error


def test_without_a_penalty_separable_classes_have_no_optimum(flowers):
    X, _ = flowers
    with pytest.warns(ConvergenceWarning, match="no optimum without a penalty.* give a finite C"):
        SoftmaxRegression(np.inf).fit(X, X[:, 0] > 1)


def test_whatever_is_raised_nothing_is_learnt(flowers):
    X, y = flowers
    for model in (SoftmaxRegression(), SoftmaxRegressionCV(2, cv=2)):
        new = pickle.dumps(model)
        with pytest.raises(ConvergenceWarning):  # warnings are errors here
            model.set_params(max_iter=1, tol=1e-9).fit(X, y)
        model.set_params(max_iter=1000, tol=1e-4)
        assert pickle.dumps(model) == new
        learnt = pickle.dumps(model.fit(X, y))
        with pytest.raises(ValueError, match="NaN"):
            model.fit(np.full((2, 7), np.nan), [0, 1])
        with pytest.raises(TypeError, match="y has masked entries"):
            model.fit(X[:, :2], np.ma.array(np.arange(120) % 2, mask=np.arange(120) == 3))
        assert pickle.dumps(model) == learnt


# Data of all kinds


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames(flowers, library):
    frames = pytest.importorskip(library)
    X, y = flowers
    names = [f"size_{i}" for i in range(5)]
    frame = frames.DataFrame(dict(zip(names, X.T, strict=True)))
    for model in (SoftmaxRegression(), SoftmaxRegressionCV([0.1, 1.0], cv=3)):
        plain = clone(model).fit(X, y)
        model.fit(frame, frames.Series(y.tolist()))
        assert model.feature_names_in_.tolist() == names
        assert model.model_.feature_names == tuple(names)
        np.testing.assert_array_equal(model.coef_, plain.coef_)
        np.testing.assert_array_equal(model.predict(frame), plain.predict(X))
        with pytest.raises(ValueError, match="feature names should match"):
            model.predict(frame[names[::-1]])


@pytest.mark.parametrize(
    "classes",
    [["a", "b"], [True, False], [3, -1], np.array(["x", "yy"], object)],
    ids=["strings", "booleans", "integers", "objects"],
)
@pytest.mark.parametrize("make", [SoftmaxRegression, lambda: SoftmaxRegressionCV([0.1, 1], cv=2)])
def test_labels(two, classes, make):
    X, y = two
    labels = np.asarray(classes)[y.astype(int)]
    model = make().fit(X, labels)
    np.testing.assert_array_equal(model.classes_, np.unique(labels))
    assert model.predict(X).dtype == labels.dtype
    assert (model.predict(X) == labels).mean() > 0.7


@pytest.mark.parametrize("make", [SoftmaxRegression, lambda: SoftmaxRegressionCV([1, 10], cv=2)])
def test_float32_stays(flowers, make):
    X, y = flowers
    model = make().fit(X.astype(np.float32), y)
    assert model.coef_.dtype == model.intercept_.dtype == np.float32
    assert model.predict_proba(X.astype(np.float32)).dtype == np.float32
    np.testing.assert_allclose(model.coef_, make().fit(X, y).coef_, rtol=0, atol=0.05)


def test_weights_of_classes(flowers, weight):
    X, y = flowers
    factors = {"iris": 3.0, "rose": 0.5, "oak": 9.0, "lily": 1.0}
    by_class = SoftmaxRegression(tol=1e-8, class_weight=factors).fit(X, y, weight)
    rows = weight * np.array([factors[label] for label in y])
    assert_same_model(by_class, SoftmaxRegression(tol=1e-8).fit(X, y, rows), 1e-10)
    del factors["lily"]
    with pytest.warns(UserWarning, match="class_weight has 'oak', which y lacks"):
        SoftmaxRegression(class_weight=factors).fit(X, y)
    without = SoftmaxRegression(class_weight={"lily": 0.0}).fit(X, y)
    assert not without.predict_proba(X)[:, 1].any()


def test_warm_start(flowers):
    X, y = flowers
    model = SoftmaxRegression(warm_start=True).fit(X, y)
    first = model.n_iter_[0]
    again = model.fit(X, y)
    assert again.n_iter_[0] < first
    assert_same_model(again, SoftmaxRegression(tol=1e-10).fit(X, y), 0.05)
    with pytest.raises(ValueError, match="warm_start needs the classes of the last fit"):
        model.fit(X, np.where(y == "rose", "tulip", y))
    with pytest.raises(ValueError, match="expecting 5 features"):
        model.fit(X[:, :4], y)


# Inside scikit-learn's tools


def test_pipeline_search_and_decisions(flowers):
    X, y = flowers
    pipeline = make_pipeline(StandardScaler(), SoftmaxRegression())
    grid = {"softmaxregression__C": [1e-6, 1.0]}
    search = GridSearchCV(pipeline, grid, cv=3).fit(X, y)
    assert search.best_params_ == {"softmaxregression__C": 1.0}
    utility = [[1.0, 0.0, 0.0], [0.0, 2.0, 2.0]]
    model = search.best_estimator_
    expected = fs.decide(model.predict_proba(X), utility)
    np.testing.assert_array_equal(model.predict(X, utility=utility), expected)


def test_metadata_is_routed(flowers, weight):
    X, y = flowers
    groups, utility = np.arange(120) // 12, [9.0, 1.0, 1.0]
    with config_context(enable_metadata_routing=True):
        model = SoftmaxRegression().set_fit_request(sample_weight=True)
        model.set_predict_request(utility=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipeline = make_pipeline(scaler, model).fit(X, y, sample_weight=weight)
        plain = SoftmaxRegression().fit(StandardScaler().fit_transform(X), y, weight)
        np.testing.assert_array_equal(pipeline[-1].coef_, plain.coef_)
        decisions = pipeline.predict(X, utility=utility)
        scaled = pipeline[:-1].transform(X)
        np.testing.assert_array_equal(decisions, pipeline[-1].predict(scaled, utility))
        search = SoftmaxRegressionCV([0.1, 1.0], cv=GroupKFold(2))
        search.set_fit_request(groups=True, sample_weight=True)
        pipeline = make_pipeline(scaler, search)
        pipeline.fit(X, y, sample_weight=weight, groups=groups)
        expected = clone(search).fit(scaled, y, weight, groups)
        np.testing.assert_array_equal(pipeline[-1].scores_, expected.scores_)


# SoftmaxRegressionCV


@pytest.mark.parametrize("data", ["flowers", "two"])
def test_a_search_is_one_over_logistic_regression(request, data):
    X, y = request.getfixturevalue(data)
    Cs = [0.01, 1.0, 10.0]
    own = SoftmaxRegressionCV(Cs, cv=3, tol=1e-10).fit(X, y)
    single = LogisticRegression(tol=1e-9, max_iter=10_000)
    other = GridSearchCV(single, {"C": Cs}, cv=3, scoring="neg_log_loss").fit(X, y)
    scores = [other.cv_results_[f"split{fold}_test_score"] for fold in range(3)]
    np.testing.assert_allclose(own.scores_, scores, rtol=0, atol=1e-5)
    assert other.best_params_ == {"C": own.C_}
    assert_same_model(own, other.best_estimator_)
    assert own.score(X, y) == pytest.approx(other.score(X, y), abs=1e-5)


def half_right(classifier, X, y, sample_weight=None):
    return accuracy_score(y, classifier.predict(X), sample_weight=sample_weight) / 2


@pytest.mark.parametrize("scoring", ["neg_log_loss", "f1_macro", half_right, None])
def test_a_fold_is_a_fit_of_its_rows(flowers, weight, scoring):
    """With classes balanced among them, and each score that of a search over single fits."""
    X, y = flowers
    options = {"class_weight": "balanced", "tol": 1e-10, "standardize": True}
    folds = list(StratifiedKFold(3, shuffle=True, random_state=0).split(X, y))
    own = SoftmaxRegressionCV([10.0, 0.1], cv=folds, scoring=scoring, **options).fit(X, y, weight)
    np.testing.assert_array_equal(own.Cs_, [0.1, 10.0])
    scorer = own._scorer(np.unique(y))
    for at, C in enumerate(own.Cs_):
        for fold, (train, test) in enumerate(folds):
            model = SoftmaxRegression(C, **options).fit(X[train], y[train], weight[train])
            expected = scorer(model, X[test], y[test], sample_weight=weight[test])
            assert own.scores_[fold, at] == pytest.approx(expected, abs=1e-5)
    np.testing.assert_allclose(own.mean_scores_, own.scores_.mean(axis=0))
    error = own.scores_.std(axis=0, ddof=1) / np.sqrt(3)
    np.testing.assert_allclose(own.standard_errors_, error, atol=1e-15)
    refitted = SoftmaxRegression(own.C_, **options).fit(X, y, weight)
    np.testing.assert_array_equal(own.coef_, refitted.coef_)
    assert (own.objective_, own.dual_gap_) == (refitted.objective_, refitted.dual_gap_)


def test_all_folds_read_the_same_X_and_each_optimum_is_near_the_last(flowers, monkeypatch):
    X, y = flowers
    seen = []

    def spy(X, *arguments, **options):
        seen.append(X)
        return fs.fit_path(X, *arguments, **options)

    monkeypatch.setattr(cv_module, "fit_path", spy)
    Cs = np.geomspace(0.01, 1000, 8)
    model = SoftmaxRegressionCV(Cs, cv=4, tol=1e-6).fit(X, y)
    assert [np.shares_memory(X, each) for each in seen] == [True] * 4
    assert model.n_iter_.shape == (4, 8)
    singly = sum(SoftmaxRegression(C, tol=1e-6).fit(X, y).n_iter_[0] for C in Cs)
    assert model.n_iter_.sum() < 0.75 * 4 * singly


def test_folds_may_lack_a_class(flowers):
    """To train on or to be scored by; where it is not known, it costs every C the same."""
    X, y = flowers
    rare = np.where(np.arange(120) < 3, "tulip", y)
    folds = [(np.arange(3, 120), np.arange(60)), (np.arange(60), np.arange(60, 120))]
    model = SoftmaxRegressionCV([0.01, 0.1, 1.0], cv=folds, tol=1e-8).fit(X, rare)
    assert np.isfinite(model.scores_).all()
    assert model.predict_proba(X).shape == (120, 4)
    alone = SoftmaxRegressionCV(
        [0.01, 0.1, 1.0], cv=[(np.arange(57), np.arange(57))] * 2, tol=1e-8, refit=False
    )
    cost = -np.log(np.finfo(float).eps) * 3  # of what is scored, three rows
    scores = model.scores_[0] * 60 + cost
    train = X[3:], y[3:]
    for C, score in zip([0.01, 0.1, 1.0], scores, strict=True):
        single = SoftmaxRegression(C, tol=1e-8).fit(*train)
        expected = -log_loss(y[3:60], single.predict_proba(X[3:60]), normalize=False)
        assert score == pytest.approx(expected, rel=1e-4)
    one = alone.fit(X, np.where(np.arange(120) < 57, "a", "b"))  # one class alone
    np.testing.assert_allclose(one.scores_, 0, atol=1e-12)


def test_folds_of_all_kinds(flowers, weight):
    X, y = flowers
    rows = np.arange(120) % 2 == 0
    options = {"tol": 1e-8, "refit": False}
    masks = SoftmaxRegressionCV(2, cv=[(rows, ~rows)], **options).fit(X, y)
    numbers = [(np.flatnonzero(rows), np.flatnonzero(~rows))]
    np.testing.assert_array_equal(
        masks.scores_, SoftmaxRegressionCV(2, cv=numbers, **options).fit(X, y).scores_
    )
    with pytest.raises(NotFittedError):
        masks.predict(X)
    assert masks.classes_.tolist() == ["iris", "lily", "rose"]
    assert np.isnan(masks.standard_errors_).all()
    # a row that is named twice counts twice
    twice = [(np.repeat(np.arange(120), (2 * weight).astype(int)), np.flatnonzero(~rows))]
    named = SoftmaxRegressionCV([1.0], cv=twice, **options).fit(X, y)
    model = SoftmaxRegression(tol=1e-8).fit(X, y, 2 * weight)
    expected = -log_loss(y[~rows], model.predict_proba(X[~rows]))
    assert named.scores_[0, 0] == pytest.approx(expected, rel=1e-6)
    groups = np.arange(120) // 30
    grouped = SoftmaxRegressionCV(2, cv=GroupKFold(4), **options).fit(X, y, groups=groups)
    folds = list(GroupKFold(4).split(X, y, groups))
    np.testing.assert_array_equal(
        grouped.scores_, SoftmaxRegressionCV(2, cv=folds, **options).fit(X, y).scores_
    )


def given(scores):
    """A scorer that gives these, one after the other."""
    remaining = iter(np.ravel(scores).tolist())
    return lambda classifier, X, y: next(remaining)


@pytest.mark.parametrize(
    ("scores", "rule", "C"),
    [
        ([[1, 2, 3], [1, 4, 5]], "best", 10.0),
        ([[1, 4, 4], [1, 4, 4]], "best", 1.0),  # the smallest of equals
        ([[1, 3, 3], [1, 4, 6]], "one_standard_error", 1.0),  # 3.5 > 4.5 - 1.5
        ([[1, 2, 3], [1, 2, 3.5]], "one_standard_error", 10.0),
        ([[1, 3, 3], [9, 1, np.nan], [1, 4, 6]], "one_standard_error", 1.0),
        ([[0, -np.inf, 1], [0, 3, 1]], "best", 10.0),
    ],
)
def test_rules(flowers, scores, rule, C):
    model = SoftmaxRegressionCV(
        [10.0, 1.0, 0.1], cv=len(scores), scoring=given(scores), rule=rule, refit=False
    )
    model.fit(*flowers)
    assert model.C_ == C
    np.testing.assert_array_equal(model.scores_, scores)
    message = rf"refit=False: fit SoftmaxRegression\({C:g}\), or with refit=True"
    for call in (lambda: model.coef_, lambda: model.predict(flowers[0])):
        with pytest.raises(NotFittedError, match=message):
            call()


@pytest.mark.parametrize(
    ("change", "exception", "message"),
    [
        ({"Cs": 0}, ValueError, "Cs must be at least 1"),
        ({"Cs": []}, ValueError, r"Cs must have shape \(n_Cs,\), at least one, got \(0,\)"),
        ({"Cs": [1.0, 0.0]}, ValueError, r"Cs\[1\] must be above 0"),
        ({"rule": "worst"}, ValueError, "rule must be one of 'best', 'one_standard_error'"),
        ({"scoring": "beauty"}, ValueError, "beauty"),
        ({"scoring": given([[np.nan] * 4])}, ValueError, "needs scores of 1 folds .* got 0 of 2"),
        ({"scoring": lambda *_: "good"}, TypeError, "scoring must return a number, got 'good'"),
        ({"cv": [([], [0])]}, ValueError, "fold 0 of cv has no row to train on that counts"),
        ({"cv": [([7, 120], [0])]}, ValueError, r"fold 0 of cv trains on row 120, .* \[0, 120\)"),
        ({"cv": [([7, -1], [0])]}, ValueError, "fold 0 of cv trains on row -1"),
        (
            {"cv": [([0, 1], [2])], "rule": "one_standard_error"},
            ValueError,
            "rule='one_standard_error' needs scores of 2 folds or more, got 1 of 1",
        ),
        ({"refit": 1}, TypeError, "refit must be True or False"),
        ({"penalty": None}, ValueError, "penalty=None leaves no C to choose"),
        ({"l1_ratios": [0.0, 0.5]}, ValueError, "l1_ratios must be 0 or None"),
        ({"use_legacy_attributes": True}, ValueError, "use_legacy_attributes=True is not here"),
        ({"solver": "liblinear"}, ValueError, "solver='liblinear' penalises the intercept"),
    ],
)
def test_bad_parameters_of_a_search(flowers, change, exception, message):
    with pytest.raises(exception, match=message):
        SoftmaxRegressionCV(**{"Cs": 2, "cv": 2, **change}).fit(*flowers)


def test_a_search_that_does_not_converge_warns_once(flowers):
    search = SoftmaxRegressionCV(3, cv=2, max_iter=1, tol=1e-9, refit=False)
    with pytest.warns(ConvergenceWarning, match="of 6 solutions in the folds") as seen:
        search.fit(*flowers)
    assert len(seen) == 1


def test_a_search_within_a_search(flowers):
    X, y = flowers
    nested = cross_validate(SoftmaxRegressionCV(3, cv=2), X, y, cv=2, return_estimator=True)
    assert {model.C_ for model in nested["estimator"]} <= {1e-4, 1.0, 1e4}
    single = cross_val_score(SoftmaxRegression(), X, y, cv=2, scoring="neg_log_loss")
    np.testing.assert_allclose(nested["test_score"], single, rtol=0, atol=0.5)
