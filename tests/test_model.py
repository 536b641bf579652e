"""The trained model: immutable, saved and loaded without loss, and careful with its input."""

from __future__ import annotations

import copy
import dataclasses
import io
import pickle
import zipfile

import numpy as np
import pytest

import fastsoftmax as fs

CLASSES = {
    "strings": np.array(["rabbit", "mouse", "élan"]),
    "integers": np.array([-7, 3, 2**40]),
    "bytes": np.array([0, 200, 5], np.uint8),
    "floats": np.array([0.5, -1.25, 1e300]),
}
X = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0], [2.0, 1.0]])
ARCHIVE = {
    "format": np.array("fastsoftmax.SoftmaxModel"),
    "format_version": np.array(1),
    "W": np.eye(2, 3),
    "b": np.zeros(3),
    "classes": np.array([5, 6, 7]),
}


def make(classes=CLASSES["strings"], dtype=np.float64, **options):
    W = np.array([[2.0, -1.0, -1.0], [-1.0, 2.0, -1.0]], dtype)
    return fs.SoftmaxModel(W, np.array([0.0, 0.25, 0.5], dtype), classes, **options)


def assert_same(model, other):
    for name in ("W", "b", "classes"):
        ours, theirs = getattr(model, name), getattr(other, name)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    assert model.feature_names == other.feature_names


# Predictions


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_predictions_are_those_of_the_functions(dtype):
    model = make(dtype=dtype)
    for name in ("decision_function", "predict_proba", "predict_log_proba"):
        truth = getattr(fs, name)(X, model.W, model.b)
        result = getattr(model, name)(X)
        assert result.dtype == dtype
        np.testing.assert_array_equal(result, truth)
        out = np.empty((4, 3), dtype)
        assert getattr(model, name)(X, out=out) is out
        np.testing.assert_array_equal(out, truth)


@pytest.mark.parametrize("classes", CLASSES.values(), ids=CLASSES)
def test_predict_names_the_classes(classes):
    model = make(classes)
    labels = model.predict(X)
    assert labels.dtype == classes.dtype
    np.testing.assert_array_equal(labels, classes[[0, 1, 2, 0]])
    np.testing.assert_array_equal(model.label_indices(labels), [0, 1, 2, 0])
    assert model.predict(X[:0]).shape == (0,)


def test_two_classes_may_be_booleans():
    model = fs.SoftmaxModel([[1.0, -1.0]], [0.0, 0.0], [True, False])
    np.testing.assert_array_equal(model.predict([[1.0], [-1.0]]), [True, False])
    assert model.score([[1.0], [-1.0]], [True, True]) == 0.5


def test_decide():
    model = make()
    P = model.predict_proba(X)
    utility = np.array([0.0, 1.0, 10.0])
    np.testing.assert_array_equal(
        model.decide(X, utility), model.classes[(P * utility).argmax(axis=1)]
    )
    np.testing.assert_array_equal(model.decide(X, [1, 1, 1]), model.predict(X))
    matrix = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    np.testing.assert_array_equal(model.decide(X, matrix), (P @ matrix.T).argmax(axis=1))
    with pytest.raises(ValueError, match=r"utility must have shape \(3,\)"):
        model.decide(X, [1.0, 2.0])


def test_score():
    model = make()
    y = ["rabbit", "mouse", "rabbit", "rabbit"]
    assert model.score(X, y) == 0.75
    assert model.score(X, np.array(y, object)) == 0.75
    assert model.score(X, y, sample_weight=[1, 1, 6, 0]) == 0.25
    assert model.score(X, y, sample_weight=np.broadcast_to(2.0, 4)) == 0.75
    assert model.score(X, ["unknown"] * 4) == 0
    assert make(CLASSES["integers"]).score(X, [-7.0, 3.0, 2.0, 2.5]) == 0.5


SCORE_ERRORS = [
    (X, ["mouse"] * 3, None, r"y must have one label per row of X.*\(3,\)"),
    (X, ["mouse"], None, r"y must have one label per row of X.*\(1,\)"),
    (X[:1], ["mouse"] * 3, None, r"y must have one label per row of X.*\(3,\)"),
    (X, [["mouse"]] * 4, None, r"y must be one-dimensional, got shape \(4, 1\)"),
    (X, ["mouse"] * 4, [1.0] * 3, r"sample_weight must have shape \(4,\), got \(3,\)"),
    (X, ["mouse"] * 4, [0.0] * 4, "^sample_weight sums to zero"),
    (X, ["mouse"] * 4, [1, 1, -1, 1], r"sample_weight\[2\] = -1.0 must be finite"),
    (X[:0], np.empty(0, str), None, "^there are no rows"),
    (X[:, :1], ["mouse"] * 4, None, "X has 1 features, 2 were expected"),
]


@pytest.mark.parametrize(("X", "y", "sample_weight", "message"), SCORE_ERRORS)
def test_score_errors(X, y, sample_weight, message):
    with pytest.raises(ValueError, match=message):
        make().score(X, y, sample_weight=sample_weight)


@pytest.mark.parametrize(
    ("classes", "y", "message"),
    [
        ([1, 2, 3], ["1", "2", "3", "1"], "y and the model's classes must both be numbers or both"),
        (["1", "2", "3"], [1, 2, 3, 1], "y and the model's classes must both be numbers or both"),
        ([1, 2, 3], np.ma.array([1, 2, 3, 1], mask=[0, 0, 0, 1]), "y has masked entries"),
    ],
)
def test_labels_that_cannot_match_have_no_score(classes, y, message):
    with pytest.raises(TypeError, match=message):
        make(classes).score(X, y)


def test_label_indices():
    model = make(np.array([30, 10, 20]))
    indices = model.label_indices([10, 20, 30, 10])
    np.testing.assert_array_equal(indices, [1, 2, 0, 1])
    loss = fs.loss(X, indices, model.W, model.b)
    log_P = model.predict_log_proba(X)
    np.testing.assert_allclose(loss, -log_P[np.arange(4), indices].mean(), rtol=1e-14)
    np.testing.assert_array_equal(model.label_indices(np.array([20.0, 30.0])), [2, 0])
    assert model.label_indices([]).shape == (0,)
    assert make().label_indices([]).shape == (0,)
    np.testing.assert_array_equal(make().label_indices(np.array(["élan"], object)), [2])


LABEL_ERRORS = [
    ([10, 40, 20], ValueError, r"^y\[1\] = .*40.* is not one of the model's classes"),
    ([5], ValueError, r"^y\[0\] = .*5.* is not one of"),
    ([10.5], ValueError, r"^y\[0\] = .*10.5.* is not one of"),
    (["10"], ValueError, r"^y\[0\] = .*'10'.* is not one of"),
    ([[10]], ValueError, r"y must be one-dimensional, got shape \(1, 1\)"),
    ([10, np.nan], ValueError, r"y\[1\] is nan; y must be finite"),
    ([10, None], TypeError, "y must hold numbers or strings, got dtype object"),
]


@pytest.mark.parametrize(("y", "exception", "message"), LABEL_ERRORS)
def test_unknown_labels(y, exception, message):
    with pytest.raises(exception, match=message):
        make(np.array([30, 10, 20])).label_indices(y)


def test_unknown_label_of_a_named_argument():
    with pytest.raises(ValueError, match=r"^targets\[0\] = .*'cow'.* is not one of"):
        make().label_indices(["cow"], "targets")


# Immutability


def test_arrays_are_copies_that_cannot_be_written():
    W, b, classes = np.ones((2, 3)), np.ones(3), np.arange(3)
    model = fs.SoftmaxModel(W, b, classes)
    W[:], b[:], classes[:] = 7, 7, 7
    assert (model.W == 1).all()
    assert (model.b == 1).all()
    np.testing.assert_array_equal(model.classes, [0, 1, 2])
    for array in (model.W, model.b, model.classes):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    for name in ("W", "b", "classes", "feature_names"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(model, name, None)


def pickled(model):
    return pickle.loads(pickle.dumps(model))


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickled])
def test_a_copy_is_the_same_and_as_immutable(duplicate):
    model = make(feature_names=["a", "b"])
    other = duplicate(model)
    assert_same(other, model)
    np.testing.assert_array_equal(other.predict_proba(X), model.predict_proba(X))
    assert not any(array.flags.writeable for array in (other.W, other.b, other.classes))


def test_arguments():
    model = fs.SoftmaxModel([[1, 2]], [0, 0], ["a", "b"], ("x",))
    assert model.W.dtype == np.float64
    assert model.b.dtype == np.float64
    assert model.feature_names == ("x",)
    model = fs.SoftmaxModel(np.ones((1, 2), np.float32), [0.5, 0.0], np.array(["a", "b"], object))
    assert model.b.dtype == np.float32
    assert model.classes.dtype.kind == "U"
    assert model.feature_names is None
    assert fs.SoftmaxModel(np.empty((0, 1)), [0], [1]).predict(np.empty((2, 0))).tolist() == [1, 1]


MODEL_ERRORS = [
    ({"W": np.ones(3)}, ValueError, r"W must have shape \(n_features, n_classes\), got \(3,\)"),
    ({"W": np.ones((2, 0))}, ValueError, r"W must have shape .* got \(2, 0\)"),
    ({"W": [["a"]]}, TypeError, "W must hold real numbers"),
    ({"W": [[1, np.nan, 1], [1, 1, 1]]}, ValueError, r"W\[0, 1\] is nan; W must be finite"),
    ({"b": [1.0]}, ValueError, r"b must have shape \(3,\)"),
    ({"b": [1.0, 2.0, np.inf]}, ValueError, r"b\[2\] is inf; b must be finite"),
    ({"classes": [1, 2]}, ValueError, r"classes must have shape \(3,\), got \(2,\)"),
    ({"classes": [1, 2, 1]}, ValueError, "classes must all be different"),
    ({"classes": [[1, 2, 3]]}, ValueError, r"classes must be one-dimensional, got shape \(1, 3\)"),
    ({"classes": [1, 2, np.nan]}, ValueError, r"classes\[2\] is nan; classes must be finite"),
    ({"classes": [1, None, 2]}, TypeError, "classes must hold numbers or strings, got dtype obj"),
    ({"classes": [1j, 2, 3]}, TypeError, "classes must hold numbers or strings, got dtype compl"),
    ({"feature_names": ["a"]}, ValueError, "feature_names must hold 2 names, got 1"),
]


@pytest.mark.parametrize(("change", "exception", "message"), MODEL_ERRORS)
def test_argument_errors(change, exception, message):
    arguments = {"W": np.ones((2, 3)), "b": np.ones(3), "classes": [1, 2, 3]} | change
    with pytest.raises(exception, match=message):
        fs.SoftmaxModel(**arguments)


# Files


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("classes", CLASSES.values(), ids=CLASSES)
@pytest.mark.parametrize("feature_names", [None, ("width", "höhe £ 猫")])
def test_round_trip(tmp_path, classes, dtype, feature_names):
    model = make(classes, dtype, feature_names=feature_names)
    path = tmp_path / "model.npz"
    model.save(path)
    other = fs.SoftmaxModel.load(path)
    assert_same(other, model)
    assert not other.W.flags.writeable
    np.testing.assert_array_equal(other.predict(X), model.predict(X))
    assert [p.name for p in tmp_path.iterdir()] == ["model.npz"]


def test_round_trip_of_odd_shapes(tmp_path):
    path = tmp_path / "model.npz"
    for model in (
        fs.SoftmaxModel(np.empty((0, 2)), [0.0, 1.0], [False, True], ()),
        fs.SoftmaxModel([[1.0]], [0.0], [""], ("",)),
    ):
        model.save(path)
        assert_same(fs.SoftmaxModel.load(path), model)


def test_the_name_of_the_file_is_the_one_given(tmp_path):
    for name in ("model", "model.bin", "модель.npz"):
        make().save(str(tmp_path / name))
        assert_same(fs.SoftmaxModel.load(str(tmp_path / name)), make())
    assert len(list(tmp_path.iterdir())) == 3


def test_the_file_is_an_archive_without_pickles(tmp_path):
    path = tmp_path / "model.npz"
    make(np.array(["a", "b", "c"], object), feature_names=["x", "y"]).save(path)
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    assert arrays.keys() == {"format", "format_version", "W", "b", "classes", "feature_names"}
    assert arrays["format_version"] == 1


def test_saving_replaces_the_old_file(tmp_path):
    path = tmp_path / "model.npz"
    make(CLASSES["floats"]).save(path)
    make(CLASSES["integers"]).save(path)
    assert_same(fs.SoftmaxModel.load(path), make(CLASSES["integers"]))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failed_save_leaves_what_was_there(tmp_path, monkeypatch, failure):
    def write_half(file, **arrays):
        file.write(b"PK half a file")
        raise failure

    path = tmp_path / "model.npz"
    make().save(path)
    before = path.read_bytes()
    monkeypatch.setattr(np, "savez", write_half)
    for target in (path, tmp_path / "new.npz"):
        with pytest.raises(type(failure)):
            make(CLASSES["integers"]).save(target)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


def test_files_that_cannot_be_written_or_read(tmp_path):
    folder = tmp_path / "model.npz"
    folder.mkdir()
    with pytest.raises(OSError, match=r"model\.npz"):
        make().save(folder)
    with pytest.raises(OSError, match="nowhere"):
        make().save(tmp_path / "nowhere" / "model.npz")
    with pytest.raises(OSError, match=r"absent\.npz"):
        fs.SoftmaxModel.load(tmp_path / "absent.npz")
    assert list(tmp_path.iterdir()) == [folder]


def write_text(path):
    path.write_text("a,b\n1,2\n")


def write_nothing(path):
    path.write_bytes(b"")


def write_array(path):
    with open(path, "wb") as file:
        np.save(file, np.eye(3))


def write_pickle(path):
    path.write_bytes(pickle.dumps({"W": np.eye(3)}))


def archive_writer(**change):
    def write(path):
        arrays = {name: array for name, array in (ARCHIVE | change).items() if array is not None}
        with open(path, "wb") as file:
            np.savez(file, **arrays)

    return write


BAD_FILES = {
    "text": (write_text, "is not a fastsoftmax model file: it is no .npz archive$"),
    "empty": (write_nothing, "is not a fastsoftmax model file: it is no .npz archive$"),
    "npy": (write_array, "is not a fastsoftmax model file: it is no .npz archive$"),
    "pickle": (write_pickle, "is not a fastsoftmax model file: it is no .npz archive$"),
    "foreign": (archive_writer(format=None), "is not a fastsoftmax model file"),
    "other format": (archive_writer(format=np.array("x")), "is not a fastsoftmax model file"),
    "format of objects": (archive_writer(format=np.array(None)), "is not a fastsoftmax model"),
    "later version": (archive_writer(format_version=np.array(2)), "has format version 2; this"),
    "version 0": (archive_writer(format_version=np.array(0)), "format version"),
    "no version": (archive_writer(format_version=None), "has no format version"),
    "text version": (archive_writer(format_version=np.array("1")), "has no format version"),
    "two versions": (archive_writer(format_version=np.array([1, 1])), "has no format version"),
    "no weights": (archive_writer(W=None, b=None), "it lacks W, b"),
    "object classes": (archive_writer(classes=np.array([1, "a", None], object)), "[Oo]bject"),
    "complex W": (archive_writer(W=np.ones((2, 3), complex)), "W must hold real numbers"),
    "NaN": (archive_writer(W=np.full((2, 3), np.nan)), r"W\[0, 0\] is nan"),
    "shapes": (archive_writer(b=np.zeros(2)), r"b must have shape \(3,\)"),
    "classes": (archive_writer(classes=np.array([1, 1, 2])), "classes must all be different"),
    "few names": (archive_writer(feature_names=np.array(["a"])), "feature_names must hold 2"),
    "no array": (archive_writer(feature_names=np.array("a")), "is not a fastsoftmax model file"),
}


@pytest.mark.parametrize(("write", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_file_that_is_no_model_is_named(tmp_path, write, message):
    path = tmp_path / "strange file.npz"
    write(path)
    with pytest.raises(ValueError, match=message) as caught:
        fs.SoftmaxModel.load(path)
    assert "strange file.npz" in str(caught.value)


def test_the_archive_of_these_tests_is_a_model(tmp_path):
    archive_writer()(tmp_path / "model.npz")
    np.testing.assert_array_equal(fs.SoftmaxModel.load(tmp_path / "model.npz").W, np.eye(2, 3))


def outcome(path, content):
    path.write_bytes(content)
    try:
        fs.SoftmaxModel.load(path)
    except ValueError as error:
        return "named" if path.name in str(error) else "not named"
    return "loaded"


def test_a_truncated_file_is_a_value_error(tmp_path):
    path = tmp_path / "model.npz"
    make().save(path)
    content = path.read_bytes()
    outcomes = {outcome(path, content[:length]) for length in range(0, len(content), 3)}
    assert outcomes == {"named"}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_file_is_a_value_error_or_loads(tmp_path, save):
    path = tmp_path / "model.npz"
    with open(path, "wb") as file:
        save(file, **ARCHIVE)
    content = path.read_bytes()
    outcomes = []
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        outcomes.append(outcome(path, damaged))
    assert set(outcomes) == {"named", "loaded"}  # some bytes, such as dates, matter to nobody


# What a hostile file may try


def header_of(shape="(2, 3)", descr="'<f8'", extra=""):
    """An .npy file that claims a shape and a dtype, without any items."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}{extra}}}".encode()
    return b"\x93NUMPY\x02\x00" + len(header).to_bytes(4, "little") + header


def zip_with(path, **members):
    """An archive of a model in which some members hold these bytes instead."""
    archive_writer()(path)
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    contents |= {f"{name}.npy": content for name, content in members.items()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)


class Bomb:
    """An object whose unpickling leaves a trace."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


HOSTILE = {
    "more items than memory": header_of("(1 << 60, 3)"),
    "a huge shape": header_of("(1000000000000000, 3)"),
    "a negative shape": header_of("(-2, 3)"),
    "no items": header_of(),
    "a huge header": header_of(extra=" " * 200_000),
    "code in the header": header_of("__import__('os').abort()"),
    "nested brackets": header_of("(" * 500 + ")" * 500),
    "objects": header_of(descr="'|O'"),
    "a strange dtype": header_of(descr="'<q9'"),
    "a header longer than the file": b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}",
    "a later .npy": b"\x93NUMPY\x09\x00\x00\x00",
    "nothing": b"",
}


@pytest.mark.parametrize("name", ["W", "classes", "format", "format_version"])
@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_member_is_a_value_error(tmp_path, name, content):
    path = tmp_path / "hostile.npz"
    zip_with(path, **{name: content})
    with pytest.raises(ValueError, match=r"hostile\.npz"):
        fs.SoftmaxModel.load(path)


@pytest.mark.parametrize("name", ["W", "classes", "format", "feature_names", "another"])
def test_loading_runs_no_code(tmp_path, name):
    trace, path = tmp_path / "trace", tmp_path / "hostile.npz"
    pickled = io.BytesIO()
    np.save(pickled, np.array([Bomb(trace)], object), allow_pickle=True)
    for content in (pickled.getvalue(), pickle.dumps(Bomb(trace))):
        zip_with(path, **{name: content})
        with pytest.raises(ValueError, match=r"hostile\.npz"):
            fs.SoftmaxModel.load(path)
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"hostile\.npz"):
            fs.SoftmaxModel.load(path)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Bomb(trace))).close()
    assert trace.exists()  # the bomb is one


# What is shown


def test_a_line_is_shown():
    X, y = [[-2.0], [-1.0], [1.0], [2.0]], ["no", "no", "yes", "yes"]
    held_out = {"validation_data": (X, y)}
    model = "SoftmaxModel(1 feature, 2 classes, float64)"
    one = fs.SoftmaxModel(np.zeros((784, 1), np.float32), [0], ["it"])
    assert repr(one) == "SoftmaxModel(784 features, 1 class, float32)"
    training = fs.fit_sgd(X, y, epochs=1, learning_rate=0.1)
    assert repr(training) == f"SGDResult({model}, 1 epoch, loss 0.6931, stopped: epochs)"
    training = fs.fit_sgd(X, y, epochs=2, callback=lambda epoch: True, **held_out)
    loss = f"validation loss {training.history['validation_loss'][0]:.4g}"
    assert repr(training) == f"SGDResult({model}, 1 epoch, loss 0.6931, {loss}, stopped: callback)"
    training = fs.fit_sgd(X, y, epochs=0)
    assert repr(training) == f"SGDResult({model}, 0 epochs, stopped: epochs)"
    optimum = fs.fit(X, y, l2=1.0)
    found = f"{optimum.n_passes:g} passes, objective {optimum.objective:.4g}, gap {optimum.gap:.1e}"
    assert repr(optimum) == f"FitResult({model}, {found}, stopped: gap)"
    path = fs.fit_path(X, y, l2s=[0.01, 1], **held_out)
    gaps = f"gaps up to {max(result.gap for result in path.results):.1e}"
    least = f"least validation loss {path.validation_loss[1]:.4g} for l2 = 0.01"
    assert repr(path) == f"PathResult(2 penalties, l2 from 1 to 0.01, {gaps}, {least})"
    assert repr(type(path)((), ())) == "PathResult(0 penalties)"
