"""What is pickled: arrays, names and options, never compiled code."""

from __future__ import annotations

import copy
import io
import pickle
import sys

import joblib
import numpy as np
import pytest
from sklearn.multioutput import MultiOutputClassifier

import fastsoftmax as fs
from fastsoftmax.sklearn import SoftmaxClassifier, SoftmaxRegression, SoftmaxRegressionCV

X = np.random.default_rng(0).normal(size=(60, 4))
y = np.arange(60) % 3
NAMES = ("a", "b", "c", "d")


def raised(**options):
    with pytest.raises(fs.DivergenceError) as seen:
        fs.fit_sgd(X, y, learning_rate=1e307, standardize=False, **options)
    return seen.value


def interrupted(train=fs.fit_sgd, **options):
    def interrupt(progress):
        raise KeyboardInterrupt

    with pytest.raises(fs.TrainingInterrupted) as seen:
        train(X, y, callback=interrupt, **options)
    return seen.value


def told():
    epochs = []
    fs.fit_sgd(X, y, epochs=1, callback=epochs.append)
    return epochs[0]


def step():
    steps = []
    fs.fit(X, y, callback=steps.append)
    return steps[0]


PUBLIC = {
    "new classifier": SoftmaxClassifier,
    "fit": lambda: SoftmaxClassifier(random_state=0).fit(X, y),
    "partial_fit": lambda: SoftmaxClassifier(alpha=0.1).partial_fit(X, y, [0, 1, 2]),
    "both": lambda: SoftmaxClassifier(random_state=0).fit(X, y).partial_fit(X, y),
    "regression": lambda: SoftmaxRegression().fit(X, y),
    "regression, penalty chosen": lambda: SoftmaxRegressionCV(3, cv=2).fit(X, y),
    "model": lambda: fs.SoftmaxModel(np.eye(4, 3), np.zeros(3), y[:3], NAMES),
    "result": lambda: fs.fit_sgd(X, y, epochs=2, validation_data=(X, y)),
    "divergence": raised,
    "interruption": interrupted,
    "epoch": told,
    "optimum": lambda: fs.fit(X, y),
    "optima": lambda: fs.fit_path(X, y, l2s=[1, 0.1], validation_data=(X, y)),
    "step": step,
    "interrupted optimum": lambda: interrupted(fs.fit),
    "interrupted optima": lambda: interrupted(fs.fit_path, l2s=[1, 0.1]),
    "diagnosis": fs.diagnose,
}


class Recorder(pickle.Unpickler):
    """Notes where each class and function of a pickle comes from."""

    def __init__(self, file):
        super().__init__(file)
        self.modules = set()

    def find_class(self, module, name):
        self.modules.add(module)
        return super().find_class(module, name)


def model_of(value):
    value = getattr(value, "result", value)
    return getattr(value, "model_", getattr(value, "model", value))


def pickled(value):
    return pickle.loads(pickle.dumps(value))


def through_joblib(value):
    file = io.BytesIO()
    joblib.dump(value, file)
    file.seek(0)
    return joblib.load(file)


@pytest.mark.parametrize("make", PUBLIC.values(), ids=PUBLIC)
def test_a_pickle_holds_plain_data(make):
    value = make()
    unpickler = Recorder(io.BytesIO(pickle.dumps(value)))
    assert type(unpickler.load()) is type(value)
    own = {name for name in unpickler.modules if name.startswith("fastsoftmax")}
    assert not {name for name in own if ".kernels" in name}
    others = {name.partition(".")[0] for name in unpickler.modules - own}
    # distributed, once it was imported, has tblib pickle the tracebacks of all errors
    of_others = {"tblib"} & sys.modules.keys()
    assert others <= {"numpy", "copyreg", "builtins", "_codecs"} | of_others
    assert len(pickle.dumps(value)) < 6000


@pytest.mark.parametrize("twin", [pickled, copy.copy, copy.deepcopy, through_joblib])
@pytest.mark.parametrize("make", PUBLIC.values(), ids=PUBLIC)
def test_copies_are_alike(make, twin):
    value = make()
    other = twin(value)
    assert type(other) is type(value)
    assert str(other) == str(value)
    model, other_model = model_of(value), model_of(other)
    if isinstance(model, fs.SoftmaxModel):
        assert model.W.tobytes() == other_model.W.tobytes()
        assert model.b.tobytes() == other_model.b.tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("twin", [pickled, copy.copy, copy.deepcopy, through_joblib])
def test_a_copy_of_a_classifier_goes_on_with_the_same_bits(twin, dtype):
    """The velocity, the scales and the cut into chunks, which the largest batch decides, too."""
    samples = X.astype(dtype)
    model = SoftmaxClassifier(alpha=0.1, nesterov=True, batch_size=30)
    model.partial_fit(samples, y, [0, 1, 2])
    other, before = twin(model), model.coef_.copy()
    model.partial_fit(samples[:7], y[:7]).partial_fit(samples, y)
    np.testing.assert_array_equal(other.coef_, before)
    other.partial_fit(samples[:7], y[:7]).partial_fit(samples, y)
    assert other.model_.W.tobytes() == model.model_.W.tobytes()
    assert other.model_.b.tobytes() == model.model_.b.tobytes()
    assert other.loss_curve_ == model.loss_curve_


def test_classifiers_go_to_other_processes_and_come_back():
    labels = np.stack([y, y // 2], axis=1)
    classes = [np.unique(column) for column in labels.T]
    several, one = (
        MultiOutputClassifier(SoftmaxClassifier(random_state=0), n_jobs=n) for n in (2, None)
    )
    for each in (several, one):
        each.partial_fit(X, labels, classes).partial_fit(X, labels)
    for model, twin in zip(several.estimators_, one.estimators_, strict=True):
        assert model.model_.W.tobytes() == twin.model_.W.tobytes()


def test_classifiers_are_found_where_they_always_were():
    """Pickles of a time when fastsoftmax.sklearn was one module name it."""
    assert pickle.loads(b"cfastsoftmax.sklearn\nSoftmaxClassifier\n.") is SoftmaxClassifier
