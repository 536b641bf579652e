"""The options of fit_sgd around its steps: classes, weights, starts, ends, and what is told."""

from __future__ import annotations

import pickle
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import fastsoftmax as fs
from fastsoftmax.training import DivergenceError, Epoch, TrainingInterrupted, optimizer


@pytest.fixture
def noisy():
    """(X, y) and as much to validate on; three classes that overlap."""
    random = np.random.default_rng(0)
    X, W = random.standard_normal((400, 5)), random.standard_normal((5, 3))
    y = (X @ W + 2 * random.gumbel(size=(400, 3))).argmax(axis=1)
    return (X[:200], y[:200]), (X[200:], y[200:])


def assert_same_bits(result, other):
    assert result.model.W.tobytes() == other.model.W.tobytes()
    assert result.model.b.tobytes() == other.model.b.tobytes()
    assert result.history["loss"] == other.history["loss"]


# Classes and weights


def test_classes_set_the_order_of_the_columns(noisy):
    (X, y), _ = noisy
    names = np.array(["a", "b", "c"])
    sorted_, given = (
        fs.fit_sgd(X, names[y], classes=classes).model for classes in (None, ["c", "a", "b"])
    )
    assert given.classes.tolist() == ["c", "a", "b"]
    np.testing.assert_allclose(given.W, sorted_.W[:, [2, 0, 1]], rtol=0, atol=1e-12)
    np.testing.assert_allclose(given.b, sorted_.b[[2, 0, 1]], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(given.predict(X), sorted_.predict(X))


def test_a_class_may_have_no_rows(noisy):
    (X, y), _ = noisy
    model = fs.fit_sgd(X, y, classes=[0, 1, 2, 9]).model
    assert model.W.shape == (5, 4)
    assert model.predict_proba(X)[:, 3].max() < 0.02
    assert model.predict_proba(X)[:, 3].min() > 0


def test_soft_targets_name_their_classes(noisy):
    (X, y), _ = noisy
    hard = fs.fit_sgd(X, y)
    soft = fs.fit_sgd(X, np.eye(3)[y], classes=["x", "y", "z"])
    assert soft.model.classes.tolist() == ["x", "y", "z"]
    assert fs.fit_sgd(X, np.eye(3)[y]).model.classes.tolist() == [0, 1, 2]
    np.testing.assert_allclose(soft.model.W, hard.model.W, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("y", "classes", "exception", "message"),
    [
        ([0, 1, 2], [0, 1], ValueError, r"y\[2\] = .*2.* is not one of the classes"),
        (["a", "b", "a"], ["b", "c"], ValueError, r"y\[0\] = .*'a'.* is not one of the classes"),
        ([0, 1, 0], ["0", "1"], TypeError, "y and classes must both be numbers or both be strings"),
        ([0, 1, 0], [0, 1, 1], ValueError, "classes must name at least one class, all different"),
        ([0, 1, 0], [], ValueError, "classes must name at least one class, all different"),
        ([0, 1, 0], [[0, 1]], ValueError, "classes must be one-dimensional"),
        (np.eye(3), [0, 1], ValueError, r"y must have shape \(3,\) or \(3, 2\), got \(3, 3\)"),
    ],
)
def test_errors_of_classes(y, classes, exception, message):
    with pytest.raises(exception, match=message):
        fs.fit_sgd(np.eye(3), y, classes=classes)


def test_class_weight_multiplies_the_weights_of_rows(noisy):
    (X, y), _ = noisy
    factors = np.array([0.5, 1.0, 3.0])
    weight = np.linspace(0.5, 2, len(y))
    named = {0: 0.5, 2: 3.0}  # 1 for those not named
    for own in (None, weight):
        result = fs.fit_sgd(X, y, class_weight=named, sample_weight=own)
        by_rows = fs.fit_sgd(X, y, sample_weight=factors[y] * (1 if own is None else own))
        assert_same_bits(result, by_rows)
    assert_same_bits(
        fs.fit_sgd(X, y, class_weight={}), fs.fit_sgd(X, y, sample_weight=np.ones(200))
    )
    strings = fs.fit_sgd(X, np.array(["a", "b", "c"])[y], class_weight={"a": 0.5, "c": 3.0})
    assert_same_bits(strings, fs.fit_sgd(X, y, class_weight=named))


def test_balanced_classes_weigh_the_same(noisy):
    (X, _), _ = noisy
    y = np.repeat([0, 1, 2], (150, 40, 10))
    result = fs.fit_sgd(X, y, class_weight="balanced", epochs=5)
    by_hand = {0: 200 / (3 * 150), 1: 200 / (3 * 40), 2: 200 / (3 * 10)}
    twin = fs.fit_sgd(X, y, class_weight=by_hand, epochs=5)
    np.testing.assert_allclose(result.model.W, twin.model.W, rtol=1e-12)
    shares = fs.fit_sgd(
        X, y, class_weight="balanced", l2=1e6, epochs=400, batch_size=200, schedule="constant"
    ).model.predict_proba(X)
    np.testing.assert_allclose(shares, 1 / 3, atol=1e-4)


@pytest.mark.parametrize(
    ("class_weight", "exception", "message"),
    [
        ("equal", ValueError, "class_weight must be 'balanced' or a dict, got 'equal'"),
        ([1, 2, 3], TypeError, "class_weight must be 'balanced' or a dict, got list"),
        ({5: 1.0}, ValueError, "class_weight has 5, which is not one of the classes"),
        ({1: -1.0}, ValueError, r"class_weight\[1\] must be at least 0 and finite, got -1.0"),
        ({1: "much"}, TypeError, r"class_weight\[1\] must be a number, got 'much'"),
        ({0: 0, 1: 0, 2: 0}, ValueError, "^sample_weight times class_weight sums to zero"),
    ],
)
def test_errors_of_class_weight(noisy, class_weight, exception, message):
    (X, y), _ = noisy
    with pytest.raises(exception, match=message):
        fs.fit_sgd(X, y, class_weight=class_weight)


def test_class_weight_needs_labels(noisy):
    (X, y), _ = noisy
    with pytest.raises(ValueError, match="class_weight needs labels; with soft targets, use"):
        fs.fit_sgd(X, np.eye(3)[y], class_weight="balanced")


TYPES = [(X, dtype) for X in ("f4", "f8", "f2", "i2") for dtype in (None, np.float32, "float64")]
MIXED = {("f4", "float64"), ("f2", "float64"), ("f8", np.float32), ("i2", np.float32)}


@pytest.mark.parametrize(
    ("X_dtype", "dtype"),
    [
        pytest.param(*pair, marks=[pytest.mark.exhaustive] if pair in MIXED else [])
        for pair in TYPES  # mixed ones compile kernels of their own
    ],
)
def test_dtype(noisy, X_dtype, dtype):
    (X, y), _ = noisy
    X = (8 * X).astype(X_dtype)
    model = fs.fit_sgd(X, y, dtype=dtype).model
    narrow = X_dtype in ("f4", "f2", "i2")
    assert model.W.dtype == (dtype or (np.float32 if narrow else np.float64))
    assert model.b.dtype == model.W.dtype
    exact = fs.fit_sgd(X.astype(np.float64), y).model
    np.testing.assert_allclose(model.W, exact.W, rtol=0, atol=1e-5 * np.abs(exact.W).max())


def test_without_shuffle_rows_are_visited_as_they_lie(noisy):
    (X, y), _ = noisy
    order = np.random.default_rng(4).permutation(200)
    options = {"epochs": 1, "learning_rate": 0.1, "standardize": False, "batch_size": 40}
    result = fs.fit_sgd(X[order], y[order], shuffle=False, **options)
    assert_same_bits(result, fs.fit_sgd(X, y, seed=4, **options))
    assert_same_bits(result, fs.fit_sgd(X[order], y[order], shuffle=False, seed=1, **options))


# Going on from a model


@pytest.mark.parametrize("standardize", [False, True])
def test_going_on_equals_not_having_stopped(noisy, standardize):
    (X, y), _ = noisy
    options = {"learning_rate": 0.2, "momentum": 0, "batch_size": 50, "shuffle": False}
    options["standardize"] = standardize
    X = X + 2
    whole = fs.fit_sgd(X, y, epochs=7, **options)
    first = fs.fit_sgd(X, y, epochs=3, **options)
    second = fs.fit_sgd(X, y, epochs=4, init=first.model, **options)
    np.testing.assert_allclose(second.model.W, whole.model.W, rtol=0, atol=1e-13)
    np.testing.assert_allclose(second.model.b, whole.model.b, rtol=0, atol=1e-13)
    losses = first.history["loss"] + second.history["loss"]
    np.testing.assert_allclose(losses, whole.history["loss"], rtol=1e-13)


def test_the_classes_of_init_are_mapped(noisy):
    (X, y), _ = noisy
    names = np.array(["a", "b", "c"])[y]
    init = fs.fit_sgd(X, names, epochs=2).model
    order = [2, 0, 1]
    turned = fs.SoftmaxModel(init.W[:, order], init.b[order], init.classes[order])
    start = fs.fit_sgd(X, names, classes=["b", "c", "a"], init=turned, epochs=0).model
    assert start.classes.tolist() == ["b", "c", "a"]
    np.testing.assert_allclose(start.W, init.W[:, [1, 2, 0]], rtol=1e-14)
    np.testing.assert_allclose(start.b, init.b[[1, 2, 0]], rtol=0, atol=1e-14)
    # without `classes`, those of init: a part of the data need not have them all
    some = names != "c"
    assert fs.fit_sgd(X[some], names[some], init=turned, epochs=1).model.classes.tolist() == [
        "c",
        "a",
        "b",
    ]


def model_of(n_features, classes):
    return fs.SoftmaxModel(np.zeros((n_features, len(classes))), np.zeros(len(classes)), classes)


@pytest.mark.parametrize(
    ("options", "exception", "message"),
    [
        ({"init": model_of(4, [0, 1, 2])}, ValueError, "init has 4 features, X has 5"),
        ({"init": model_of(5, [0, 1])}, ValueError, r"y\[\d+\] = .*2.* is not one of the classes"),
        (
            {"init": model_of(5, [0, 1]), "classes": [0, 1, 2]},
            ValueError,
            "init has 2 classes, the data 3",
        ),
        (
            {"init": model_of(5, [0, 1, 7]), "classes": [0, 1, 2]},
            ValueError,
            r"classes\[2\] = .*2.* is not one of the classes",
        ),
        ({"init": model_of(5, ["a", "b", "c"])}, TypeError, "must both be numbers or both be"),
        ({"init": np.zeros((5, 3))}, TypeError, "init must be a SoftmaxModel, got ndarray"),
    ],
)
def test_errors_of_init(noisy, options, exception, message):
    (X, y), _ = noisy
    with pytest.raises(exception, match=message):
        fs.fit_sgd(X, y, **options)


# Validation and patience


@pytest.mark.parametrize("average", [0.0, 0.5])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("soft", [False, True])
def test_validation_is_that_of_the_model_of_the_epoch(noisy, average, weighted, soft):
    train, (X, y) = noisy
    weight = np.linspace(0, 1, len(y)) if weighted else None
    targets = np.eye(3)[y] if soft else y
    models = []
    history = fs.fit_sgd(
        *train,
        epochs=6,
        average=average,
        validation_data=(X, targets) if weight is None else (X, targets, weight),
        callback=lambda epoch: models.append(epoch.model),
    ).history
    assert len(models) == 6
    losses = [fs.loss(X, y, m.W, m.b, sample_weight=weight) for m in models]
    right = [np.average(m.predict(X) == y, weights=weight) for m in models]
    np.testing.assert_allclose(history["validation_loss"], losses, rtol=1e-13)
    np.testing.assert_allclose(history["validation_accuracy"], right, rtol=1e-13)
    plain = fs.fit_sgd(*train, epochs=6, average=average).history
    assert history["loss"] == plain["loss"]  # validation changes nothing


def test_patience_stops_and_returns_the_best_model(noisy):
    (X, y), validation = noisy
    overfits = {"learning_rate": 3.0, "l2": 0, "batch_size": 10, "epochs": 100}
    result = fs.fit_sgd(X, y, validation_data=validation, patience=4, **overfits)
    losses = result.history["validation_loss"]
    assert result.stopped == "patience"
    assert len(losses) == np.argmin(losses) + 5 < 100
    W, b = result.model.W, result.model.b
    assert fs.loss(*validation, W, b) == pytest.approx(min(losses), rel=1e-14)
    assert min(losses) < losses[-1]
    # without patience, the last weights
    last = fs.fit_sgd(X, y, validation_data=validation, **(overfits | {"epochs": 6}))
    assert last.stopped == "epochs"
    at_end = fs.loss(*validation, last.model.W, last.model.b)
    assert at_end == pytest.approx(last.history["validation_loss"][-1], rel=1e-14)


def test_patience_gives_the_best_model_though_it_never_stops(noisy):
    (X, y), validation = noisy
    options = {"learning_rate": 3.0, "l2": 0, "batch_size": 10, "epochs": 9}
    result = fs.fit_sgd(X, y, validation_data=validation, patience=100, **options)
    losses = result.history["validation_loss"]
    assert result.stopped == "epochs"
    assert np.argmin(losses) < 8
    loss = fs.loss(*validation, result.model.W, result.model.b)
    assert loss == pytest.approx(min(losses), rel=1e-14)


# What is told


def test_the_callback_sees_each_epoch(noisy):
    (X, y), validation = noisy
    told = []
    result = fs.fit_sgd(X, y, epochs=4, validation_data=validation, callback=told.append)
    assert all(isinstance(epoch, Epoch) for epoch in told)
    assert [epoch.epoch for epoch in told] == [0, 1, 2, 3]
    assert result.history == {key: [getattr(e, key) for e in told] for key in result.history}
    assert told[-1].model.W.tobytes() == result.model.W.tobytes()
    assert told[0].model.W.tobytes() != result.model.W.tobytes()  # asked for late, as it was then
    plain = []
    fs.fit_sgd(X, y, epochs=1, callback=plain.append)
    assert plain[0].validation_loss is plain[0].validation_accuracy is None


def test_the_model_of_an_epoch_is_whole(noisy):
    (X, y), _ = noisy
    names = np.array(["a", "b", "c"])[y]
    scores = []
    features = ["v", "w", "x", "y", "z"]
    result = fs.fit_sgd(
        X,
        names,
        epochs=3,
        feature_names=features,
        callback=lambda epoch: scores.append((epoch.model.score(X, names), epoch.model)),
    )
    assert scores[-1][0] == result.model.score(X, names) > 0.5
    assert scores[0][1].feature_names == tuple(features)
    assert scores[0][1].classes.tolist() == ["a", "b", "c"]


def test_the_callback_may_stop(noisy):
    (X, y), _ = noisy
    options = {"learning_rate": 0.1}
    result = fs.fit_sgd(X, y, callback=lambda epoch: epoch.epoch == 2, **options)
    assert result.stopped == "callback"
    assert_same_bits(result, fs.fit_sgd(X, y, epochs=3, **options))


def test_what_the_callback_raises_leaves_later_fits_alone(noisy):
    (X, y), _ = noisy

    def fail(epoch):
        raise LookupError(f"epoch {epoch.epoch}")

    before = fs.fit_sgd(X, y)
    with pytest.raises(LookupError, match="epoch 0"):
        fs.fit_sgd(X, y, callback=fail)
    assert_same_bits(fs.fit_sgd(X, y), before)


@pytest.mark.parametrize("average", [0.0, 1.0])
def test_ctrl_c_keeps_what_was_learnt(noisy, average):
    (X, y), _ = noisy
    options = {"learning_rate": 0.1, "average": average}

    def interrupt(epoch):
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="interrupted after 3 epochs; see `result`") as seen:
        fs.fit_sgd(X, y, callback=interrupt, **options)
    assert isinstance(seen.value, TrainingInterrupted)
    three = fs.fit_sgd(X, y, epochs=3, **options)
    assert_same_bits(seen.value.result, three)
    assert_same_bits(pickle.loads(pickle.dumps(seen.value)).result, three)


@pytest.mark.parametrize("average", [0.0, 1.0])
def test_ctrl_c_within_the_first_epoch(noisy, monkeypatch, average):
    (X, y), validation = noisy
    monkeypatch.setattr(optimizer, "_SECONDS_PER_CALL", 1e-9)
    monkeypatch.setattr(optimizer, "_FIRST_CALL_FLOPS", 1)

    def interrupt(epoch, rows, loss):
        assert (epoch, rows, loss) == (0, 50, None)
        raise KeyboardInterrupt

    options = {"batch_size": 50, "learning_rate": 0.1, "average": average, "shuffle": False}
    with pytest.raises(TrainingInterrupted, match="after 0 epochs") as seen:
        fs.fit_sgd(X, y, progress=interrupt, patience=1, validation_data=validation, **options)
    result = seen.value.result
    assert [len(values) for values in result.history.values()] == [0] * 5
    # one step on the first 50 rows
    scale = X.std(axis=0)
    U = (X - X.mean(axis=0)) / scale
    _, g_V, _ = fs.loss_and_gradient(U[:50], y[:50], np.zeros((5, 3)), np.zeros(3))
    np.testing.assert_allclose(scale[:, None] * result.model.W, -0.1 * g_V, rtol=0, atol=1e-14)


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine", "auto"])
def test_history(noisy, schedule):
    (X, y), validation = noisy
    result = fs.fit_sgd(
        X,
        y,
        epochs=3,
        batch_size=29,
        learning_rate=0.2,
        schedule=schedule,
        validation_data=validation,
    )
    keys = ["loss", "learning_rate", "seconds", "validation_loss", "validation_accuracy"]
    assert list(result.history) == keys
    assert [len(values) for values in result.history.values()] == [3] * 5
    assert all(0 < seconds < 60 for seconds in result.history["seconds"])
    # 7 batches an epoch: the last of each is step 6, 13 and 20 of 21
    falls = {"constant": np.ones(3), "linear": np.array([15, 8, 1]) / 21}
    falls["cosine"] = (1 + np.cos(np.pi * np.array([6, 13, 20]) / 21)) / 2
    falls["auto"] = falls["constant"]
    np.testing.assert_allclose(result.history["learning_rate"], 0.2 * falls[schedule], rtol=1e-13)
    assert result.learning_rate == 0.2


def test_the_automatic_rate_rises_and_falls_as_a_cosine(noisy):
    (X, y), _ = noisy
    result = fs.fit_sgd(X, y, epochs=40, batch_size=200)
    fall = (1 + np.cos(np.pi * np.arange(40) / 40)) / 2
    fall[:4] *= [0.25, 0.5, 0.75, 1]
    np.testing.assert_allclose(
        result.history["learning_rate"], result.learning_rate * fall, rtol=1e-13
    )


@pytest.mark.parametrize(
    ("batch_size", "epochs"), [(200, 100), (10, 75), (5, 38), (2, 30), (1, 30)]
)
def test_the_automatic_epochs_make_enough_steps(noisy, batch_size, epochs):
    """1500 of them, but not more than 100 epochs, and 30 at the least."""
    (X, y), _ = noisy
    assert len(X) == 200
    assert len(fs.fit_sgd(X, y, batch_size=batch_size).history["loss"]) == epochs


def test_the_loss_of_the_history_is_that_before_each_step(noisy):
    (X, y), _ = noisy
    models = []
    result = fs.fit_sgd(
        X, y, epochs=3, batch_size=200, callback=lambda epoch: models.append(epoch.model)
    )
    before = [np.log(3)] + [fs.loss(X, y, model.W, model.b) for model in models[:-1]]
    np.testing.assert_allclose(result.history["loss"], before, rtol=1e-13)


def test_a_progress_bar_changes_nothing(noisy, capsys):
    pytest.importorskip("rich")
    (X, y), _ = noisy
    assert_same_bits(fs.fit_sgd(X, y, progress=True), fs.fit_sgd(X, y))
    assert capsys.readouterr().out == ""


def test_progress_must_be_something_to_tell(noisy):
    with pytest.raises(TypeError, match="progress must be True, False or callable, got 3"):
        fs.fit_sgd(*noisy[0], progress=3)


def test_a_progress_bar_needs_rich(noisy, monkeypatch):
    monkeypatch.setitem(sys.modules, "rich", None)
    with pytest.raises(ImportError, match=r"needs rich: pip install 'fastsoftmax\[cli\]'"):
        fs.fit_sgd(*noisy[0], progress=True)


def test_whether_the_loss_still_falls(noisy):
    (X, y), _ = noisy
    model = fs.fit_sgd(X, y).model

    def falls(**options):
        return fs.fit_sgd(X, y, **options).still_falling

    assert falls(epochs=1, batch_size=20, learning_rate=0.1)
    assert falls(epochs=2)
    assert falls(epochs=3, learning_rate=0.03)
    assert not falls(epochs=0)
    assert not falls(epochs=20, learning_rate=3.0)  # it goes up and down
    assert not falls()
    assert not falls(init=model, epochs=1)  # with none before it to compare with
    assert falls(init=fs.SoftmaxModel(-model.W, model.b, model.classes), epochs=2)


# Divergence


def test_divergence_carries_the_last_finite_model():
    """The penalty alone drives W apart, ten thousandfold in each step."""
    X, y = np.array([[1], [1], [2], [1]], np.float32), [0, 0, 0, 1]
    options = {"learning_rate": 1.0, "l2": 1e4, "momentum": 0, "standardize": False}
    with pytest.raises(DivergenceError, match="a lower rate or scaled features will help") as seen:
        fs.fit_sgd(X, y, epochs=30, **options)
    error = seen.value
    assert isinstance(error, FloatingPointError)
    assert error.learning_rate == 1
    assert 1 <= error.epoch < 30
    with pytest.raises(DivergenceError, match="it ended at a loss of") as before:
        fs.fit_sgd(X, y, epochs=error.epoch, **options)
    assert np.isfinite(error.model.W).all()
    np.testing.assert_array_equal(error.model.W, before.value.model.W)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy)) == (DivergenceError, str(error))
    assert (copy.epoch, copy.learning_rate) == (error.epoch, 1)
    np.testing.assert_array_equal(copy.model.W, error.model.W)


@pytest.mark.parametrize(
    "options",
    [
        {"learning_rate": 1e4},
        {"batch_size": 1000},  # one step an epoch, whose history is that of the epoch before
        {"batch_size": 1000, "epochs": 1},
        {"callback": lambda epoch: True},
        {"average": 0.5},
        {"patience": 1},
        {"dtype": np.float32, "learning_rate": 3e38, "batch_size": 1000, "epochs": 1},  # overflows
    ],
)
def test_a_loss_far_above_that_of_equal_probabilities_is_divergence(noisy, options):
    (X, y), validation = noisy
    if "patience" in options:
        options = {**options, "validation_data": validation}
    options = {"learning_rate": 300.0, "epochs": 4, "standardize": False, **options}
    with pytest.raises(DivergenceError, match=r"it ended at a loss of .* have 1\.1; a low") as seen:
        fs.fit_sgd(X, y, **options)
    error = seen.value
    assert error.equal_loss == pytest.approx(np.log(3))
    assert error.loss > 10 * np.log(3)
    if np.isfinite(error.loss):
        assert error.loss == fs.loss(X, y, error.model.W, error.model.b)
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.loss, copy.equal_loss) == (str(error), error.loss, np.log(3))


@pytest.mark.parametrize(
    "options",
    [
        {"learning_rate": 30.0, "schedule": "cosine", "epochs": 100},  # wild at first, well at last
        {"label_smoothing": 0.5, "learning_rate": 0.1, "batch_size": 4},
        {"sample_weight": 10.0 ** (np.arange(200) % 7), "learning_rate": 0.1},
        {"class_weight": {0: 1e-6, 1: 1e6}, "learning_rate": 0.1},
        {"init": fs.SoftmaxModel(np.eye(5, 3) * 1e3, np.zeros(3), range(3)), "learning_rate": 0.01},
        {"init": fs.SoftmaxModel(np.eye(5, 3) * 1e3, np.zeros(3), range(3)), "epochs": 1},
    ],
)
@pytest.mark.parametrize("labels", ["real", "noise", "soft"])
def test_slow_or_noisy_training_is_no_divergence(noisy, labels, options):
    (X, y), _ = noisy
    random = np.random.default_rng(1)
    if labels == "noise":
        y = random.integers(3, size=200)
    if labels == "soft" and "class_weight" not in options:
        y = random.random((200, 3)) * 5
    losses = fs.fit_sgd(X, y, **{"epochs": 3, **options}).history["loss"]
    if "init" in options:
        assert losses[0] > 100


# Pictures, and the notes


def test_examples_in_the_notes_run_as_written(capsys):
    pytest.importorskip("matplotlib")
    pytest.importorskip("sklearn")
    notes = (Path(__file__).parents[1] / "docs" / "training.md").read_text("utf-8")
    names = {}
    for example in re.findall(r"```python\n(.*?)```", notes, re.DOTALL):
        exec(example, names)
    shown, score, first, *_ = capsys.readouterr().out.splitlines()
    assert shown.startswith(
        "SGDResult(SoftmaxModel(64 features, 10 classes, float64), 100 epochs, "
    )
    assert float(score) > 0.9
    assert re.match(r"0 1\.\d+ 0\.\d+$", first)


def test_plot(noisy):
    pytest.importorskip("matplotlib")
    (X, y), validation = noisy
    result = fs.fit_sgd(X, y, epochs=5)
    ax = result.plot()
    (line,) = ax.get_lines()
    np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(line.get_ydata(), result.history["loss"])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "mean cross-entropy")

    result = fs.fit_sgd(X, y, epochs=5, validation_data=validation)
    ax = result.plot()
    first, second = ax.get_lines()
    np.testing.assert_array_equal(first.get_ydata(), result.history["loss"])
    np.testing.assert_array_equal(second.get_ydata(), result.history["validation_loss"])
    (twin,) = (other for other in ax.figure.axes if other is not ax)
    (third,) = twin.get_lines()
    np.testing.assert_array_equal(third.get_ydata(), result.history["validation_accuracy"])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "training loss (running mean)",
        "validation loss",
        "validation accuracy",
    ]


def test_plot_on_given_axes(noisy):
    figure = pytest.importorskip("matplotlib.figure").Figure()
    ax = figure.subplots()
    assert fs.fit_sgd(*noisy[0], epochs=2).plot(ax) is ax
    assert len(ax.get_lines()) == 1


def test_plot_without_matplotlib(noisy, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"needs matplotlib: pip install 'fastsoftmax\[plot\]'"):
        fs.fit_sgd(*noisy[0], epochs=1).plot()
