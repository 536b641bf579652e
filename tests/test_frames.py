"""Frames and columns of pandas and polars in the core, which imports neither."""

from __future__ import annotations

import numpy as np
import pytest

import fastsoftmax as fs

X = np.array([[1.5, 0, 3], [-2, 1, 1], [0.5, 1, 2], [4, 0, -5]])
Y = np.array([0, 1, 1, 0])
PLAIN = ("float64", "bool", "int64")
TYPES = {
    "booleans": PLAIN,
    "nullable": ("Float64", "boolean", "Int64"),
    "arrow": ("double[pyarrow]", "bool[pyarrow]", "int64[pyarrow]"),
    "narrow": ("float32", "boolean", "Int16"),
    "categories": ("float64", "category", "category"),
}


@pytest.fixture(scope="module")
def pandas():
    return pytest.importorskip("pandas")


def frame_of(pandas, types):
    """The columns of X in these types; two have the same name."""
    if any("pyarrow" in name for name in types):
        pytest.importorskip("pyarrow")
    columns = [pandas.Series(x.astype(t)) for x, t in zip(X.T, PLAIN, strict=True)]
    columns = [column.astype(t) for column, t in zip(columns, types, strict=True)]
    frame = pandas.concat(columns, axis=1)
    frame.columns = ["a", "b", "b"]
    return frame


@pytest.mark.parametrize("types", TYPES.values(), ids=TYPES)
def test_columns_of_several_types(pandas, types):
    frame = frame_of(pandas, types)
    plain = X.astype(np.float32) if types[0] == "float32" else X
    result = fs.fit_sgd(frame, Y, epochs=3)
    expected = fs.fit_sgd(plain, Y, epochs=3)
    assert result.model.W.dtype == expected.model.W.dtype
    assert result.model.W.tobytes() == expected.model.W.tobytes()
    np.testing.assert_array_equal(result.model.predict(frame), expected.model.predict(plain))
    assert fs.loss(frame, Y, X.T[:, :2]) == fs.loss(X, Y, X.T[:, :2])


@pytest.mark.parametrize("kind", ["Int64", "int64[pyarrow]", "object"])
def test_columns_of_labels_and_weights(pandas, kind):
    if "pyarrow" in kind:
        pytest.importorskip("pyarrow")
    y, weight = pandas.Series(Y).astype(kind), pandas.Series([1, 2, 3, 4]).astype(kind)
    result = fs.fit_sgd(X, y, sample_weight=weight, epochs=3)
    expected = fs.fit_sgd(X, Y, sample_weight=[1, 2, 3, 4], epochs=3)
    assert result.model.classes.dtype.kind == "i"
    assert result.model.W.tobytes() == expected.model.W.tobytes()
    assert result.model.score(X, y) == expected.model.score(X, Y)


def test_labels_that_are_strings(pandas):
    names = np.array(["no", "yes"])[Y]
    for y in (pandas.Series(names), pandas.Series(names, dtype="string")):
        assert fs.fit_sgd(X, y, epochs=1).model.classes.tolist() == ["no", "yes"]
    with pytest.raises(ValueError, match=r"y is a column, of shape \(4, 1\)"):
        fs.fit_sgd(X, pandas.DataFrame({"y": names}))


@pytest.mark.parametrize(
    ("column", "dtype", "message"),
    [
        ([1, None, 3, 4], "Int64", r"X\[1, 1\] is nan|'b' of X must .* is <NA>"),
        ([True, None, False, True], "boolean", r"column 'b' of X must .*'b' of X\[1\] is <NA>"),
        (["p", "q", "r", "s"], "object", r"column 'b' of X must .*'b' of X\[0\] is 'p'"),
        ([0, 0, 0, 0], "datetime64[ns]", "column 'b' of X must hold real numbers, got dtype datet"),
    ],
)
def test_columns_that_hold_no_numbers_are_named(pandas, column, dtype, message):
    frame = pandas.DataFrame({"a": X[:, 0], "b": pandas.array(column, dtype=dtype)})
    for arguments in ({"X": frame, "y": Y}, {"X": X[:, :2], "y": Y, "validation_data": (frame, Y)}):
        with pytest.raises((TypeError, ValueError), match=message):
            fs.fit_sgd(**arguments)


@pytest.mark.parametrize(
    ("y", "dtype", "message"),
    [
        (["a", None, "b", "a"], "string", r"y must hold .* dtype object: y\[1\] is <NA>"),
        ([True, None, False, True], "boolean", r"y must hold .* dtype object: y\[1\] is <NA>"),
        ([1, None, 0, 1], "Int64", r"y\[1\] is (nan|<NA>)"),
        ([1, None, 0, 1], "category", r"y\[1\] is nan"),
    ],
)
def test_missing_labels_are_named(pandas, y, dtype, message):
    with pytest.raises((TypeError, ValueError), match=message):
        fs.fit_sgd(X, pandas.Series(y, dtype=dtype))


def test_polars():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"a": X[:, 0], "b": X[:, 1].astype(bool), "c": X[:, 2].astype(int)})
    result = fs.fit_sgd(frame, polars.Series(Y), epochs=3)
    assert result.model.W.tobytes() == fs.fit_sgd(X, Y, epochs=3).model.W.tobytes()
    missing = frame.with_columns(b=polars.Series([True, None, False, True]))
    with pytest.raises(ValueError, match=r"X\[1, 1\] is nan"):
        fs.fit_sgd(missing, Y)
    with pytest.raises(TypeError, match=r"X must hold real numbers, .* X\[1, 0\] is None"):
        fs.fit_sgd(missing.select("b"), Y)
    with pytest.raises(TypeError, match=r"y must hold .* y\[1\] is None"):
        fs.fit_sgd(X, polars.Series(["a", None, "b", "a"]))
    with pytest.raises(ValueError, match="y is a column"):
        fs.fit_sgd(X, polars.DataFrame({"y": Y}))


# Names of columns


@pytest.fixture(params=["pandas", "polars", "pyarrow"])
def named(request):
    """What makes a frame of columns by name."""
    library = pytest.importorskip(request.param)
    return library.table if request.param == "pyarrow" else library.DataFrame


def columns(*names):
    return dict(zip(names, X.T, strict=False))


@pytest.mark.parametrize(
    "train",
    [
        lambda *a, **k: fs.fit_sgd(*a, epochs=2, **k).model,
        lambda *a, **k: fs.fit(*a, **k).model,
        lambda *a, **k: fs.fit_path(*a, l2s=[0.1], **k).results[0].model,
    ],
)
def test_the_names_of_columns_are_kept_and_checked(named, train):
    frame, turned = named(columns("a", "b", "c")), named(columns("c", "a", "b"))
    model = train(frame, Y)
    assert model.feature_names == ("a", "b", "c")
    assert train(frame, Y, feature_names=list("xyz")).feature_names == ("x", "y", "z")
    assert train(X, Y).feature_names is None
    assert train(X, Y, init=model).feature_names == ("a", "b", "c")
    with pytest.raises(ValueError, match="of X are not those of init: the order is to be 'a', 'b'"):
        train(turned, Y, init=model)


def test_a_model_refuses_frames_with_other_columns(named):
    frame = named(columns("a", "b", "c"))
    model = fs.fit_sgd(frame, Y, epochs=2).model
    for function in (
        model.predict,
        model.predict_proba,
        model.predict_log_proba,
        model.decision_function,
        lambda X: model.score(X, Y),
        lambda X: model.decide(X, [1.0, 2.0]),
    ):
        expected = function(X)
        np.testing.assert_array_equal(function(frame), expected)
        for names, message in (
            ("cab", "the columns of X are not the model's: the order is to be 'a', 'b', 'c'$"),
            ("abx", "the model's: unexpected are 'x'; missing are 'c'$"),
            ("ab", "the model's: missing are 'c'$"),
        ):
            with pytest.raises(ValueError, match=message):
                function(named(columns(*names)))


def test_held_out_rows_have_the_columns_trained_on(named):
    frame, turned = named(columns("a", "b", "c")), named(columns("c", "a", "b"))
    message = "^validation_data: the columns of X are not those trained on: the order"
    for names in (None, ["x", "y", "z"]):
        options = {"feature_names": names, "validation_data": (frame, Y)}
        assert fs.fit_sgd(frame, Y, epochs=2, **options).history["validation_loss"]
        assert fs.fit_path(frame, Y, l2s=[0.1], **options).validation_loss
        options["validation_data"] = turned, Y
        with pytest.raises(ValueError, match=message):
            fs.fit_sgd(frame, Y, **options)
        with pytest.raises(ValueError, match=message):
            fs.fit_path(frame, Y, l2s=[0.1], **options)


def test_names_that_are_no_strings_are_none(pandas):
    frame = pandas.DataFrame(X)
    model = fs.fit_sgd(frame, Y, epochs=2).model
    assert model.feature_names is None
    many = fs.SoftmaxModel(np.zeros((9, 2)), [0, 0], [0, 1], list("abcdefghi"))
    with pytest.raises(ValueError, match=r"missing are 'a', 'b', 'c', 'd', 'e' and 4 more$"):
        many.predict(pandas.DataFrame(np.zeros((1, 2)), columns=["y", "z"]))
    assert many.predict(pandas.DataFrame(np.zeros((1, 9)))).tolist() == [0]
