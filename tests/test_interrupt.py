"""Ctrl-C: as a real signal, in a process of its own, and at each of many moments of a call."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

import fastsoftmax as fs
from fastsoftmax.sklearn import SoftmaxClassifier, SoftmaxRegression, SoftmaxRegressionCV

PROGRAM = """
import os, signal, sys, threading, time
import numpy as np
import fastsoftmax as fs

N, D, K = map(int, sys.argv[1:4])
X = np.random.default_rng(0).standard_normal((N, D), dtype=np.float32)
y = np.arange(N) % K
options = dict(batch_size=64, learning_rate=1e-4, dtype=np.float32)
fs.fit_sgd(X[:1000], y[:1000], epochs=1, **options)  # compiles
sent = []


def interrupt():
    sent.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)


threading.Timer(1.0, interrupt).start()
try:
    fs.fit_sgd(X, y, epochs=100_000, **options)
except fs.TrainingInterrupted as interrupted:
    late = time.monotonic() - sent[0]
    result = interrupted.result
    assert np.isfinite(result.model.W).all() and result.model.W.any()
    assert isinstance(interrupted.__cause__, KeyboardInterrupt)
    assert fs.softmax([0.0, 0.0])[0] == 0.5
    print(late)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals are sent as POSIX does")
@pytest.mark.parametrize("shape", [(2000, 20, 5), (200_000, 30, 10)])
def test_a_signal_stops_a_long_fit_within_a_second(run_program, shape):
    assert 0 <= float(run_program(PROGRAM, *shape)) < 1


PACKAGE = str(Path(fs.__file__).parent)


def interrupted_at(moment, call):
    """Call, with a KeyboardInterrupt at so many lines of the package; (lines run, the exception).

    A signal shows between two lines, as this does.
    """
    lines = 0

    def trace(frame, event, argument):
        nonlocal lines
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if event == "line":
            lines += 1
            if lines == moment:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt as interrupt:
        return lines, interrupt
    finally:
        sys.settrace(before)
    return lines, None


def moments_of(call, n):
    """So many of the call's lines, spread evenly, and the last ten."""
    lines, _ = interrupted_at(-1, call)
    return sorted({*np.linspace(1, lines, n).astype(int).tolist(), *range(lines - 9, lines + 1)})


X = np.random.default_rng(0).normal(size=(60, 4))
Y = np.arange(60) % 3
FIT = (lambda model: None, lambda model: model.fit(X, Y))
FIT_AGAIN = (lambda model: model.fit(X[:, :3], Y % 2), lambda model: model.fit(X, Y))
STARTS = {
    "fit": FIT,
    "fit again": FIT_AGAIN,
    "first partial_fit": (lambda model: None, lambda model: model.partial_fit(X, Y, [0, 1, 2])),
    "next partial_fit": (
        lambda model: model.partial_fit(X, Y, [0, 1, 2]).set_params(momentum=0.5),
        lambda model: model.partial_fit(X + 1, Y),
    ),
    "partial_fit after fit": (
        lambda model: model.fit(X, Y),
        lambda model: model.partial_fit(X + 1, Y),
    ),
}


def classifier():
    return SoftmaxClassifier(random_state=0, max_iter=1, batch_size=40, class_weight={0: 2.0})


CASES = {name: (classifier, *steps) for name, steps in STARTS.items()} | {
    "regression": (SoftmaxRegression, *FIT_AGAIN),
    "regression, penalty chosen": (lambda: SoftmaxRegressionCV(2, cv=2), *FIT_AGAIN),
}


@pytest.mark.filterwarnings("ignore:the loss was still falling")
@pytest.mark.parametrize(("make", "prepare", "learn"), CASES.values(), ids=CASES)
def test_a_classifier_has_learnt_all_or_nothing(make, prepare, learn):
    def prepared():
        model = make()
        prepare(model)
        return model

    learn(prepared())  # what is done once in a process
    learnt, too_late = prepared(), 0
    for moment in moments_of(lambda: learn(learnt), 40):
        model = prepared()
        before, keys = pickle.dumps(model), set(vars(model))
        _, interrupt = interrupted_at(moment, lambda model=model: learn(model))
        assert interrupt is not None
        if pickle.dumps(model) == before:
            assert set(vars(model)) == keys
        else:  # in the line that returns
            too_late += 1
            assert vars(model).keys() == vars(learnt).keys()
            assert model.model_.W.tobytes() == learnt.model_.W.tobytes()
            if make is classifier:
                assert model.loss_curve_ == learnt.loss_curve_
    assert too_late <= 1


@pytest.mark.parametrize("patience", [None, 2])
def test_an_interrupted_fit_has_a_whole_result(patience):
    """From the first step on, while an epoch is measured or recorded, and at the very end."""
    validation = (X[:20], Y[:20])
    options = {"batch_size": 20, "epochs": 4, "average": 0.5, "l2": 0.0, "standardize": False}
    told = []

    def fit():
        told.clear()
        options["progress"] = lambda epoch, rows, loss: told.append(epoch)
        return fs.fit_sgd(X, Y, validation_data=validation, patience=patience, **options)

    whole = fit()
    caught = []
    for moment in moments_of(fit, 60):
        _, interrupt = interrupted_at(moment, fit)
        caught.append(interrupt)
        if not isinstance(interrupt, fs.TrainingInterrupted):
            assert not told
            continue
        history = interrupt.result.history
        assert {len(values) for values in history.values()} <= {len(history["loss"])}
        for key in ("loss", "learning_rate", "validation_loss", "validation_accuracy"):
            assert history[key] == whole.history[key][: len(history["loss"])]
    kinds = [isinstance(interrupt, fs.TrainingInterrupted) for interrupt in caught]
    assert kinds == sorted(kinds)
    last = caught[-1].result
    assert last.model.W.tobytes() == whole.model.W.tobytes()
    assert last.stopped == whole.stopped


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_interrupted_solution_has_a_whole_result(dtype):
    """From the first value of the objective on, and a path those of the penalties done."""
    samples = X.astype(dtype)
    whole = fs.fit(samples, Y, tol=1e-9)
    best = fs.fit(X, Y, tol=1e-12).objective
    kinds = []
    for moment in moments_of(lambda: fs.fit(samples, Y, tol=1e-9), 60):
        _, interrupt = interrupted_at(moment, lambda: fs.fit(samples, Y, tol=1e-9))
        kinds.append(isinstance(interrupt, fs.TrainingInterrupted))
        if not kinds[-1]:
            continue
        result = interrupt.result
        n = len(result.history["gap"])
        assert {len(values) for values in result.history.values()} == {n}
        assert result.history["objective"] == whole.history["objective"][:n]
        assert np.isfinite(result.objective)
        assert result.lower_bound <= best * (1 + 1e-6)  # scales are rounded to X's dtype
        assert np.isfinite(result.model.W).all()
    assert kinds == sorted(kinds)
    assert sum(kinds) > 20
    assert result.model.W.tobytes() == whole.model.W.tobytes()
    assert result.stopped == whole.stopped


def test_an_interrupted_path_has_the_penalties_done():
    l2s = [1.0, 0.1, 0.01]

    def path():
        return fs.fit_path(X, Y, l2s=l2s, validation_data=(X, Y))

    whole, lengths = path(), []
    for moment in moments_of(path, 30):
        _, interrupt = interrupted_at(moment, path)
        if not isinstance(interrupt, fs.TrainingInterrupted):
            assert not lengths
            continue
        result = interrupt.result
        lengths.append(len(result.results))
        assert result.l2s == whole.l2s[: lengths[-1]]
        assert result.validation_loss == whole.validation_loss[: lengths[-1]]
        for got, want in zip(result.results, whole.results, strict=False):
            assert got.model.W.tobytes() == want.model.W.tobytes()
    assert lengths == sorted(lengths)
    assert (lengths[0], lengths[-1]) == (0, 3)
