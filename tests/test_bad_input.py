"""Wrong arguments: each is an error that names it, nothing is changed, and the next call works."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import fastsoftmax as fs

N, D, K = 6, 3, 4


def good():
    """Valid arguments, by name, of everything that takes arrays."""
    random = np.random.default_rng(0)
    X, W, b = random.standard_normal((N, D)), random.standard_normal((D, K)), np.zeros(K)
    return {
        "X": X,
        "targets": np.arange(N) % K,
        "y": np.arange(N) % K,
        "W": W,
        "b": b,
        "Z": X @ W,
        "P": random.dirichlet(np.ones(K), N),
        "V": random.standard_normal((N, K)),
        "w": random.standard_normal(D),
        "utility": np.arange(1.0, K + 1),
        "sample_weight": np.ones(N),
        "classes": np.arange(K),
    }


PARAMETERS = {
    fs.softmax: ("Z",),
    fs.log_softmax: ("Z",),
    fs.logsumexp: ("Z",),
    fs.cross_entropy: ("Z", "targets", "sample_weight"),
    fs.cross_entropy_and_gradient: ("Z", "targets", "sample_weight"),
    fs.softmax_jacobian: ("P",),
    fs.softmax_jvp: ("P", "V"),
    fs.loss: ("X", "targets", "W", "b", "sample_weight"),
    fs.loss_and_gradient: ("X", "targets", "W", "b", "sample_weight"),
    fs.decision_function: ("X", "W", "b"),
    fs.predict_proba: ("X", "W", "b"),
    fs.predict_log_proba: ("X", "W", "b"),
    fs.predict: ("X", "W", "b"),
    fs.decide: ("P", "utility"),
    fs.binary_to_softmax: ("w",),
    fs.softmax_to_binary: ("W", "b"),
    fs.fit_sgd: ("X", "y", "sample_weight"),
    fs.fit: ("X", "y", "sample_weight"),
    fs.fit_path: ("X", "y", "sample_weight"),
    fs.SoftmaxModel: ("W", "b", "classes"),
}

OF_LOGITS = [name for name in PARAMETERS if "Z" in PARAMETERS[name]]
OF_X = [name for name in PARAMETERS if "X" in PARAMETERS[name]]
WITH_OUT = [
    function
    for function in PARAMETERS
    if not inspect.isclass(function)
    and "out" in inspect.signature(function).parameters
    and function is not fs.loss_and_gradient  # a pair of arrays: test_linear.py
]


def arguments(function, **changes):
    values = {name: good()[name] for name in PARAMETERS[function]}
    if function is fs.softmax_to_binary:
        values |= {"W": values["W"][:, :2], "b": values["b"][:2]}
    if function is fs.fit_sgd:
        values |= {"epochs": 2, "batch_size": 4, "learning_rate": 0.1}
    if function is fs.fit_path:
        values |= {"l2s": [1.0, 0.1]}
    return values | changes


def assert_refused(function, message, **changes):
    """A TypeError or ValueError whose text has `message`; inputs stay, and a good call works."""
    values = arguments(function, **changes)
    arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    before = {name: (array.copy(), array.shape) for name, array in arrays.items()}
    with pytest.raises((TypeError, ValueError), match=message) as caught:
        function(**values)
    assert len(str(caught.value)) < 400
    for name, (copy, shape) in before.items():
        assert arrays[name].shape == shape
        if arrays[name].dtype != object:
            assert arrays[name].tobytes() == copy.tobytes()
    function(**arguments(function))


ANY_SHAPE = (fs.softmax, fs.log_softmax, fs.logsumexp)
FREE_LENGTH = {
    *((f, "X") for f in (*WITH_OUT, fs.predict)),
    (fs.softmax_to_binary, "W"),
    (fs.SoftmaxModel, "W"),
    (fs.binary_to_softmax, "w"),
    (fs.decide, "P"),
}
CASES = [(function, name) for function, names in PARAMETERS.items() for name in names]


def identify(value):
    return getattr(value, "__name__", str(value))


@pytest.mark.parametrize(("function", "name"), CASES, ids=identify)
def test_what_holds_no_real_numbers(function, name):
    value = good()[name]
    wrong = [
        value.astype(complex),
        np.full(value.shape, None),
        np.full(value.shape, object()),
        np.full(value.shape, "2020-01-01", "M8[D]"),
        np.zeros(value.shape, [("a", float)]),
        object(),
        {"a": 1},
    ]
    if name not in ("y", "classes"):  # which may be strings
        wrong += [np.full(value.shape, "a"), np.full(value.shape, b"a"), "text"]
    for array in wrong:
        assert_refused(function, rf"\b{name}\b", **{name: array})


@pytest.mark.parametrize(("function", "name"), CASES, ids=identify)
def test_the_wrong_shape(function, name):
    value = arguments(function)[name]
    any_shape = (name == "Z" and function in ANY_SHAPE) or function is fs.softmax_jacobian
    wrong = [] if any_shape else [value[..., None, None], value[None, None]]
    if function not in ANY_SHAPE:
        wrong.append(value.flat[0])
    if (function, name) not in FREE_LENGTH and function not in ANY_SHAPE and not any_shape:
        wrong += [np.concatenate([value, value[:1]]), value[:-1]]
    names = "|".join(PARAMETERS[function])  # lengths that differ name one or the other
    for array in wrong:
        assert_refused(function, rf"\b({names})\b", **{name: array})


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("function", "name"),
    [case for case in CASES if case[1] in ("X", "sample_weight", "utility")]
    + [(fs.decide, "P")]
    + [
        (function, name)
        for function in (*OF_X, fs.SoftmaxModel)
        for name in ("W", "b")
        if name in PARAMETERS[function]
    ],
    ids=identify,
)
def test_what_is_not_finite_is_named_by_its_cell(function, name, dtype, value):
    for cell in (0, -1):
        array = good()[name].astype(dtype)
        array.reshape(-1)[cell] = value
        place = [int(i) for i in np.unravel_index(array.size + cell if cell else 0, array.shape)]
        text = repr(place).replace("[", r"\[").replace("]", r"\]")
        changes = {name: array}
        if dtype == np.float32 and name == "X" and "W" in PARAMETERS[function]:
            changes["W"] = good()["W"].astype(np.float32)
        assert_refused(function, rf"\b{name}{text}", **changes)


@pytest.mark.parametrize("function", [f for f, names in PARAMETERS.items() if "targets" in names])
@pytest.mark.parametrize("bad", [K, K + 1, -1, -K, 2**31, 2**32, 2**62, -(2**62), -(2**63)])
def test_labels_out_of_range(function, bad):
    for place in (0, N - 1):
        targets = good()["targets"]
        targets[place] = bad
        message = rf"targets\[{place}\] = {bad} is not in \[0, {K}\)"
        assert_refused(function, message, targets=targets)


@pytest.mark.parametrize("function", [f for f, names in PARAMETERS.items() if "targets" in names])
def test_labels_of_any_type_out_of_range(function):
    for dtype in "bBhHiIlL":
        targets = good()["targets"].astype(dtype)
        function(**arguments(function, targets=targets))
        targets[2] = np.iinfo(dtype).max
        assert_refused(function, rf"targets\[2\] = {targets[2]}", targets=targets)
    assert_refused(function, "targets", targets=np.full(N, 2**63, np.uint64))
    assert_refused(function, "targets", targets=good()["targets"].astype(float))
    assert_refused(function, "targets", targets=[2**64] * N)


@pytest.mark.parametrize("function", [f for f, names in PARAMETERS.items() if "targets" in names])
@pytest.mark.parametrize("value", [-1.0, -1e-300, np.nan, np.inf, -np.inf])
def test_soft_targets(function, value):
    targets = np.ones((N, K))
    targets[3, 2] = value
    assert_refused(function, r"targets\[3, 2\] = ", targets=targets)


@pytest.mark.parametrize("value", [-1.0, -1e-300, np.nan])
def test_soft_targets_of_training(value):
    y = np.ones((N, K))
    y[3, 2] = value
    assert_refused(fs.fit_sgd, r"y\[3, 2\] = ", y=y)


@pytest.mark.parametrize(
    "function", [f for f, names in PARAMETERS.items() if "sample_weight" in names]
)
def test_weights(function):
    for value in (-1.0, -1e-300):
        weight = np.ones(N)
        weight[4] = value
        assert_refused(function, r"sample_weight\[4\] = ", sample_weight=weight)
    assert_refused(function, "sample_weight", sample_weight=np.zeros(N))
    assert_refused(function, "sample_weight", sample_weight=np.full(N, 1e308))


@pytest.mark.parametrize("function", WITH_OUT)
def test_out(function):
    values = arguments(function)
    result = np.asarray(function(**values))
    read_only = result.copy()
    read_only.flags.writeable = False
    wrong = [
        np.empty(result.shape, np.float32),
        np.empty(result.shape, complex),
        np.empty(result.shape, result.dtype.newbyteorder()),
        np.empty((*result.shape, 1), result.dtype),
        np.empty(result.shape[:-1], result.dtype),
        np.empty((result.shape[0] + 1, *result.shape[1:]), result.dtype),
        np.empty(0, result.dtype),
        result.tolist(),
        "out",
        3.0,
        read_only,
    ]
    for out in wrong:
        assert_refused(function, r"\bout\b", out=out)
    assert read_only.tobytes() == result.tobytes()


@pytest.mark.parametrize("function", [fs.softmax, fs.log_softmax, fs.logsumexp])
@pytest.mark.parametrize(
    "axis", [2, -3, 2**62, -(2**63), 2**70, (0, 0), (0, -2), (), (0, 5), 1.0, "0", None, [[0]]]
)
def test_axis(function, axis):
    assert_refused(function, "axis", axis=axis)


OPTIONS = {
    "label_smoothing": [-0.1, 1.1, np.nan, np.inf, "a", None, [0.1], True, 1j],
    "l2": [-1.0, np.nan, np.inf, "a", None, [0.1], 1j],
    "reduction": ["median", None, 1, "", b"mean", ["mean"]],
    "batch_size": [0, -1, 1.5, "a", None, True, [1]],
    "epochs": [-1, 1.5, "a", None, True],
    "learning_rate": [-1.0, np.nan, np.inf, None, [0.1], 1j, "fast"],
    "momentum": [-0.1, 1.0, np.nan, "a", None],
    "average": [-0.1, 1.1, np.nan, "a", None],
    "seed": [-1, 1.5, "a", None],
    "schedule": ["never", None, 1],
    "standardize": [1, "yes", None],
    "shuffle": [1, "yes", None],
    "nesterov": [1, "yes", None],
    "dtype": ["float16", int, complex, object, "text", 1],
    "class_weight": ["a", 1, [1], {99: 1.0}, {0: -1.0}, {0: np.nan}, {0: "a"}],
    "validation_data": [1, (), (1,), np.ones((2, 2, 2))],
    "patience": [0, -1, 1.5, "a"],
    "init": [1, "a", np.ones((D, K))],
    "feature_names": [["a"], 1, "abc"],
    "fit_intercept": [1, "yes", None],
    "tol": [-1.0, np.nan, np.inf, "a", None],
    "max_passes": [-1.0, np.nan, "a", None],
    "time_limit": [-1.0, np.nan, "a"],
    "l2s": [[], 1.0, [[1.0]], [-1.0], [1.0, np.nan], ["a"], None, [1j]],
    "callback": [1, "a"],
    "progress": [1, "a", None],
    "classes": [[], [0, 0, 1, 2], [0, 1], 1, [[0]], [None] * K],
}
OPTION_CASES = [
    (function, name)
    for function in PARAMETERS
    for name in OPTIONS
    if name in inspect.signature(function).parameters
]


@pytest.mark.parametrize(("function", "name"), OPTION_CASES, ids=identify)
def test_options(function, name):
    for value in OPTIONS[name]:
        message = {"patience": "patience", "classes": "class"}.get(name, rf"\b{name}\b")
        assert_refused(function, message, **{name: value})


@pytest.mark.parametrize("function", [fs.fit_sgd, fs.fit, fs.fit_path], ids=identify)
def test_every_option_of_training_is_tried(function):
    assert set(inspect.signature(function).parameters) <= {*OPTIONS, *PARAMETERS[function]}


@pytest.mark.parametrize("function", OF_X)
def test_logits_that_overflow_say_so(function):
    if "W" not in PARAMETERS[function]:
        return
    X, W = np.full((N, D), 1e200), np.full((D, K), 1e200)
    assert_refused(function, "overflow", X=X, W=W)


@pytest.mark.parametrize("function", list(PARAMETERS), ids=identify)
def test_sparse_and_masked_arrays(function):
    sparse = pytest.importorskip("scipy.sparse")
    for name in PARAMETERS[function]:
        value = arguments(function)[name]
        assert_refused(function, name, **{name: np.ma.masked_equal(value, value.flat[0])})
        if value.ndim == 2:
            make = sparse.coo_array if name == "X" else sparse.csr_array  # of X, CSR is read
            assert_refused(function, name, **{name: make(value)})


@pytest.mark.parametrize("function", OF_LOGITS)
def test_special_logits_are_no_error(function):
    Z = good()["Z"]
    Z[0, 0], Z[1, 1], Z[2, 2] = np.nan, np.inf, -np.inf
    function(**arguments(function, Z=Z))
