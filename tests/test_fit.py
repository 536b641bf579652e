"""`fit`: its options mean what they mean in `fit_sgd`, and it ends as it says."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest

import fastsoftmax as fs
from fastsoftmax import reference


def blobs(N=120, D=4, K=3, seed=0):
    """Rows of classes that overlap."""
    random = np.random.default_rng(seed)
    X = random.standard_normal((N, D))
    y = (X @ random.standard_normal((D, K)) + random.gumbel(size=(N, K))).argmax(axis=1)
    return X, y


X, Y = blobs()
WEIGHT = np.random.default_rng(1).uniform(0.5, 2, len(X))


def objective_of(model, X, targets, l2, standardize, intercept=True, **options):
    """What `fit_sgd` minimises, from the public loss and the model alone."""
    deviation = 1.0
    if standardize:
        weight = options.get("sample_weight")
        mean = np.average(X, axis=0, weights=weight)
        deviation = np.sqrt(np.average((X - mean) ** 2, axis=0, weights=weight))
    loss = fs.loss(X, targets, model.W.astype(float), model.b.astype(float), **options)
    return loss + 0.5 * l2 * ((model.W.T * deviation) ** 2).sum()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_optimum_is_that_of_scipy(dtype):
    optimize = pytest.importorskip("scipy.optimize")
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 5)).astype(dtype)
    y = rng.integers(0, 3, 60)

    def objective(parameters):
        W, b = parameters[:15].reshape(5, 3), parameters[15:]
        loss, grad_W, grad_b = fs.loss_and_gradient(X, y, W, b, l2=0.01)
        return loss, np.concatenate([grad_W.ravel(), grad_b])

    best = optimize.minimize(objective, np.zeros(18), jac=True, options={"gtol": 1e-10}).fun
    result = fs.fit(X, y, l2=0.01, standardize=False, tol=1e-6)
    assert result.converged
    assert result.stopped == "gap"
    assert result.lower_bound <= best * (1 + 1e-12)
    assert best * (1 - 1e-12) <= result.objective <= best * (1 + 1e-6)
    assert result.model.W.dtype == dtype


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("targets", ["labels", "weightless", "soft"])
def test_classes_that_no_target_asks_for_have_no_probability(targets, dtype):
    """Their biases have no optimum but minus infinity, and no proof is had on the way there."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 3)).astype(dtype)
    numbers, weight = rng.integers(0, 2, 40), np.ones(40)
    y = np.array([0, 3])[numbers]
    alone = fs.fit(X, y, l2=0.01)
    options = {"classes": [0, 1, 2, 3], "l2": 0.01}
    if targets == "weightless":
        X, y = np.vstack([X, np.full((2, 3), np.nan, dtype)]), np.append(y, [1, 2])
        weight = np.append(weight, [0, 0])
    elif targets == "soft":
        y = np.eye(4, dtype=dtype)[y]
    result = fs.fit(X, y, sample_weight=weight, **options)
    assert result.converged
    assert result.objective == pytest.approx(alone.objective, rel=1e-5)
    P = result.model.predict_proba(X[:40])
    assert P[:, 1:3].max() < 1e-15
    np.testing.assert_allclose(P[:, [0, 3]], alone.model.predict_proba(X[:40]), atol=1e-3)
    smoothed = fs.fit(X, y, sample_weight=weight, label_smoothing=0.1, **options)
    assert smoothed.model.predict_proba(X[:40]).min() > 0.01
    again = fs.fit(X, y, sample_weight=weight, init=smoothed.model, **options)
    assert again.objective == pytest.approx(alone.objective, rel=1e-4)


def test_weights_are_repeated_rows():
    """Step by step, far from the optimum too: when a factor is worth its cost is the same."""
    rng = np.random.default_rng(42)
    X, y, weight = rng.random((15, 30)), np.arange(15) % 3, rng.integers(0, 5, 15)
    options = {"l2": 0.1, "standardize": False}
    weighted = fs.fit(X, y, sample_weight=weight, **options)
    repeated = fs.fit(np.repeat(X, weight, axis=0), np.repeat(y, weight), **options)
    assert weighted.gap > 1e-9
    assert weighted.n_passes == repeated.n_passes
    np.testing.assert_allclose(weighted.model.W, repeated.model.W, rtol=0, atol=1e-10)


def test_a_path_begins_with_the_hessian_of_the_last_penalty():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2000, 12)) @ rng.standard_normal((12, 12))
    y = (X @ rng.standard_normal((12, 8)) + 3 * rng.gumbel(size=(2000, 8))).argmax(axis=1)
    path = fs.fit_path(X, y, l2s=[1e-3, 3e-4, 1e-4], tol=1e-6)
    single = fs.fit(X, y, l2=1e-4, tol=1e-6)
    assert path.results[-1].objective == pytest.approx(single.objective, rel=2e-6)
    assert path.results[-1].n_passes < 0.5 * single.n_passes


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("intercept", [True, False])
def test_the_objective_is_that_of_the_model(standardize, intercept):
    soft = np.random.default_rng(2).uniform(0, 2, (len(X), 3))
    for targets, weight, smoothing in ((Y, None, 0.0), (Y, WEIGHT, 0.1), (soft, WEIGHT, 0.2)):
        given = {"sample_weight": weight, "label_smoothing": smoothing}
        options = {"standardize": standardize, "fit_intercept": intercept, "l2": 0.02, "tol": 1e-9}
        result = fs.fit(3 * X + 1, targets, **given, **options)
        W = result.model
        own = objective_of(W, 3 * X + 1, targets, 0.02, standardize, **given)
        np.testing.assert_allclose(result.objective, own, rtol=1e-12)
        assert intercept or not result.model.b.any()
        # no model nearby is better
        for step in np.random.default_rng(3).standard_normal((8, *W.W.shape)):
            near = fs.SoftmaxModel(W.W + 1e-3 * step, W.b, W.classes)
            assert objective_of(near, 3 * X + 1, targets, 0.02, standardize, **given) > own


def test_sgd_comes_near_it_and_not_below():
    for options in ({}, {"class_weight": "balanced"}, {"label_smoothing": 0.1}, {"l2": 0.1}):
        result = fs.fit(X, Y, tol=1e-8, **options)
        near = fs.fit_sgd(X, Y, epochs=100, **options).model
        weight = None
        if "class_weight" in options:
            weight = (len(X) / (3 * np.bincount(Y)))[Y]
        smoothing = {"label_smoothing": options.get("label_smoothing", 0)}
        l2 = options.get("l2", 1 / len(X))
        value = objective_of(near, X, Y, l2, True, sample_weight=weight, **smoothing)
        assert result.lower_bound <= value <= result.objective * 1.01


def test_class_weight_multiplies_sample_weight():
    factors = {0: 2.0, 1: 0.5}
    result = fs.fit(X, Y, class_weight=factors, sample_weight=WEIGHT, tol=1e-10)
    twin = fs.fit(X, Y, sample_weight=WEIGHT * np.array([2, 0.5, 1])[Y], tol=1e-10)
    np.testing.assert_allclose(result.objective, twin.objective, rtol=1e-10)


def test_auto_penalty_is_one_over_the_sum_of_the_weights():
    result = fs.fit(X, Y, sample_weight=WEIGHT, tol=1e-10)
    twin = fs.fit(X, Y, sample_weight=WEIGHT, l2=1 / WEIGHT.sum(), tol=1e-10)
    assert result.objective == twin.objective


def test_init_saves_passes_and_may_have_another_order_of_classes():
    names = np.array(["a", "b", "c"])[Y]
    whole = fs.fit(X, names, tol=1e-6)
    model = whole.model
    order = [2, 0, 1]
    init = fs.SoftmaxModel(model.W[:, order], model.b[order], model.classes[order])
    for start in (model, init):
        again = fs.fit(X, names, tol=1e-6, init=start, classes=model.classes)
        assert again.n_passes <= 2 < whole.n_passes
        np.testing.assert_allclose(again.model.predict_proba(X), model.predict_proba(X), atol=1e-5)
    assert fs.fit(X, names, init=init).model.classes.tolist() == init.classes.tolist()


def test_feature_names_are_kept():
    assert fs.fit(X, Y, feature_names=list("abcd")).model.feature_names == tuple("abcd")


# Classes and features that have nothing to say


def test_a_class_without_rows_changes_nothing():
    """Its optimal bias is minus infinity: the others' optimum is found, and proved."""
    alone = fs.fit(X, Y, tol=1e-8)
    for far in (0.0, 1e4):
        result = fs.fit(X + far, np.array([1, 3, 4])[Y], classes=range(5), tol=1e-8)
        assert result.stopped == "gap"
        assert result.model.classes.tolist() == [0, 1, 2, 3, 4]
        np.testing.assert_allclose(result.objective, alone.objective, rtol=2e-8)
        P = result.model.predict_proba(np.vstack([X, 100 * X]) + far)
        assert P[:, [0, 2]].max() < 1e-19
        np.testing.assert_allclose(P[: len(X), [1, 3, 4]], alone.model.predict_proba(X), atol=1e-3)
        own = fs.loss(X + far, np.array([1, 3, 4])[Y], result.model.W, result.model.b)
        np.testing.assert_allclose(own, fs.loss(X, Y, alone.model.W, alone.model.b), rtol=1e-3)
    soft = np.zeros((len(X), 5))
    soft[np.arange(len(X)), np.array([1, 3, 4])[Y]] = 1
    assert fs.fit(X, soft, tol=1e-8).stopped == "gap"


def test_one_class_is_no_question():
    for y in (np.zeros(len(X), int), np.ones((len(X), 1))):
        result = fs.fit(X, y, classes=[7] if y.ndim == 2 else None)
        assert (result.objective, result.gap, result.converged) == (0, 0, True)
        assert not result.model.W.any()
    assert fs.fit(X, Y * 0, l2=0).objective == 0
    assert fs.fit(X, np.zeros((len(X), 3))).objective == 0


def test_a_constant_column_is_an_intercept_where_there_is_none():
    ones = np.hstack([X, np.ones((len(X), 1))])
    result = fs.fit(ones, Y, l2=0, fit_intercept=False, tol=1e-9)
    twin = fs.fit(X, Y, l2=0, tol=1e-9)
    np.testing.assert_allclose(result.objective, twin.objective, rtol=1e-8)
    assert not fs.fit(ones, Y).model.W[-1].any()


# No penalty


@pytest.mark.parametrize("seed", range(12))
def test_without_a_penalty_a_flat_loss_is_the_optimum(seed):
    """Also where columns depend on others, or lie far from zero."""
    X, y = blobs(seed=seed)
    if seed % 3 == 1:
        X = np.hstack([X, X[:, :2] + X[:, 2:]])
    elif seed % 3 == 2:
        X = X + 1e3
    tol = [1e-4, 1e-8][seed % 2]
    result = fs.fit(X, y, l2=0, tol=tol, standardize=seed % 4 < 2)
    weight = np.ones(len(X))
    U = reference.scaled_features(X, weight, True, True)
    best = reference.optimum(U, np.eye(3)[y], weight, np.zeros(U.shape[1]))
    assert (result.stopped, result.converged) == ("flat", True)
    assert best * (1 - 1e-12) <= result.objective <= best * (1 + 2 * tol)
    assert (result.lower_bound, result.gap) == (-np.inf, np.inf)
    assert result.n_passes < 60


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", ["wholly", "in part"])
def test_without_a_penalty_separable_rows_have_no_optimum(seed, kind):
    random = np.random.default_rng(seed)
    X, y = blobs(seed=seed)
    if kind == "wholly":
        y = (X @ random.standard_normal((4, 3))).argmax(axis=1)
    else:  # a column that only one class has, where others remain mixed
        X = np.hstack([X, np.where(y == 0, random.random(len(y)) < 0.5, 0)[:, None]])
    result = fs.fit(X, y, l2=0, tol=[1e-4, 1e-7][seed % 2], fit_intercept=seed % 3 > 0)
    assert (result.stopped, result.converged) == ("separable", False)
    assert result.n_passes < 200


def test_without_a_penalty_and_too_large_for_the_hessian(monkeypatch):
    from fastsoftmax.solvers import factors

    monkeypatch.setattr(factors, "_MOST_NUMBERS", 40)
    assert fs.fit(X, Y, l2=0, tol=1e-6).stopped == "flat"
    assert fs.fit(X, X[:, :3].argmax(axis=1), l2=0, tol=1e-6).stopped == "separable"


# Limits


def test_limits_end_it_with_an_honest_gap():
    best = fs.fit(X, Y, tol=1e-10).objective
    start = fs.fit(X, Y, max_passes=0)
    assert (start.stopped, start.converged, start.history["gap"]) == ("max_passes", False, [])
    assert not start.model.W.any()
    stopped = fs.fit(X, Y, tol=1e-10, max_passes=3)
    assert stopped.stopped == "max_passes"
    assert stopped.objective * (1 - stopped.gap) <= best <= stopped.objective
    assert fs.fit(X, Y, tol=1e-10, time_limit=0).stopped == "time_limit"
    told = []
    result = fs.fit(X, Y, tol=1e-10, callback=lambda p: told.append(p) or p.step == 1)
    assert (result.stopped, len(told), len(result.history["gap"])) == ("callback", 2, 2)
    assert result.lower_bound <= best <= result.objective


def test_callback_and_progress_see_each_step(capsys):
    told, shown = [], []
    result = fs.fit(
        X, Y, tol=1e-8, callback=told.append, progress=lambda *values: shown.append(values)
    )
    assert [p.objective for p in told] == result.history["objective"] == [s[1] for s in shown]
    assert [p.step for p in told] == [s[0] for s in shown] == list(range(len(told)))
    assert np.isnan(told[0].gap)
    assert told[0].model.W.any()
    for p, q in itertools.pairwise(told):
        assert q.objective <= p.objective * (1 + 1e-15)
        assert q.passes > p.passes
        assert q.seconds >= p.seconds
    assert fs.fit(X, Y, progress=True).converged
    captured = capsys.readouterr()
    assert captured.out == ""


def test_plots_draw_what_was_found():
    pytest.importorskip("matplotlib").use("agg")
    result = fs.fit(X, Y, tol=1e-8)
    assert len(result.plot().lines[0].get_ydata()) == len(result.history["gap"])
    assert fs.fit(X, Y, l2=0).plot().get_ylabel() == "objective"
    path = fs.fit_path(X, Y, l2s=[1, 0.1], validation_data=(X, Y))
    assert len(path.plot().lines) == 2


# X as it comes


def test_any_layout_of_X_is_read_as_it_lies(tmp_path, unchanged):
    expected = fs.fit(X, Y, tol=1e-8)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    wide = np.repeat(X, 2, axis=1)[:, ::2]
    for array in (mapped, np.asfortranarray(X), X[::-1].copy()[::-1], wide, X.tolist()):
        with unchanged(*([array] if isinstance(array, np.ndarray) else [])):
            result = fs.fit(array, Y, tol=1e-8)
        assert result.model.W.tobytes() == expected.model.W.tobytes()


def test_other_types_of_X():
    whole = np.round(4 * X)
    expected = fs.fit(whole, Y, tol=1e-6)
    for dtype in ("int8", "int64", "float16", "float32"):
        result = fs.fit(whole.astype(dtype), Y, tol=1e-6)
        assert result.model.W.dtype == ("float64" if dtype == "int64" else "float32")
        np.testing.assert_allclose(result.objective, expected.objective, rtol=2e-6)
    assert fs.fit(X.astype("float32"), Y, dtype="float64").model.W.dtype == "float64"
    assert fs.fit(X, Y, dtype="float32").model.W.dtype == "float32"


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("standardize", [True, False])
def test_a_cell_that_is_not_finite_is_named(bad, standardize):
    array = X.copy()
    array[5, 2] = bad
    for intercept in (True, False):
        with pytest.raises(ValueError, match=r"X\[5, 2\] is (nan|inf)"):
            fs.fit(array, Y, standardize=standardize, fit_intercept=intercept)
    weight = np.ones(len(X))
    weight[5] = 0
    assert fs.fit(array, Y, standardize=standardize, sample_weight=weight).converged


@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_units_of_columns_do_not_matter(scale):
    expected = fs.fit(X, Y, tol=1e-8)
    result = fs.fit(X * [1, scale, 1, 1 / scale], Y, tol=1e-8)
    assert result.stopped == "gap"
    np.testing.assert_allclose(result.objective, expected.objective, rtol=2e-8)


@pytest.mark.parametrize("l2", [1e8, 1e-12])
def test_extreme_penalties(l2):
    result = fs.fit(X, Y, l2=l2, tol=1e-7)
    assert result.stopped == "gap"
    assert result.n_passes < 40


def test_no_copy_of_X_and_no_probabilities_of_all_rows_are_held():
    N, D, K = 200_000, 10, 40
    random = np.random.default_rng(0)
    X = random.standard_normal((N, D), dtype=np.float32)
    y = random.integers(K, size=N)
    fs.fit(X[:500], y[:500], max_passes=3)  # what is made once
    tracemalloc.start()
    try:
        result = fs.fit(X, y, max_passes=6, l2=1e-4)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert result.n_passes >= 6
    assert peak < 0.4 * N * K * X.itemsize, peak / (N * K * X.itemsize)


def test_raw_sensors_far_from_one_scale(data_folder):
    path = data_folder / "gas_drift.npz"
    if not path.exists():
        pytest.skip("gas_drift.npz is not in the data folder")
    with np.load(path) as archive:
        X, y = archive["X"][::4], archive["y"][::4]
    for standardize in (True, False):
        result = fs.fit(X, y, standardize=standardize)
        assert result.stopped == "gap"
        assert result.n_passes < 1000
