"""Training by mini-batch stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fastsoftmax import validation as check
from fastsoftmax.kernels.tiles.sizes import ceil_div
from fastsoftmax.model import SoftmaxModel
from fastsoftmax.sources import Source, SourceError
from fastsoftmax.training import data
from fastsoftmax.training.columns import (
    moments,
    no_scaling,
    raise_if_out_of_scale,
    standard_scaling,
    standardizes,
)
from fastsoftmax.training.loop import Training
from fastsoftmax.training.progress import Progress, shown
from fastsoftmax.training.result import Epoch, SGDResult, raise_with
from fastsoftmax.training.schedules import SCHEDULES
from fastsoftmax.training.steps import dense_steps, sparse_steps
from fastsoftmax.training.streamed import StreamedSamples

Array = npt.NDArray[Any]

MAX_EPOCHS = 2**31 - 1  # so that steps are counted in 64 bits

# What epochs="auto" aims at: so many epochs, or steps where more epochs make no more than these.
_AUTO_EPOCHS = 30
_AUTO_STEPS = 1500
_MOST_AUTO_EPOCHS = 100

# Of sparse rows, whose weights stand still sooner: 16,000 titles were predicted as well after 8
# epochs of 125 steps as at the optimum, and the loss hardly fell after 12, by their words, pairs of
# words, hashes or counts.
_AUTO_SPARSE_EPOCHS = 12


def fit_sgd(
    X: npt.ArrayLike | Source,
    y: npt.ArrayLike | None = None,
    *,
    classes: npt.ArrayLike | None = None,
    sample_weight: npt.ArrayLike | None = None,
    class_weight: Any = None,
    label_smoothing: float = 0.0,
    l2: float | Literal["auto"] = "auto",
    standardize: bool | Literal["auto"] = "auto",
    batch_size: int = 128,
    epochs: int | Literal["auto"] = "auto",
    learning_rate: float | Literal["auto"] = "auto",
    schedule: str = "auto",
    momentum: float = 0.9,
    nesterov: bool = False,
    average: float = 0.0,
    shuffle: bool = True,
    seed: int = 0,
    dtype: npt.DTypeLike | None = None,
    init: SoftmaxModel | None = None,
    validation_data: Any = None,
    patience: int | None = None,
    feature_names: Sequence[str] | None = None,
    callback: Callable[[Epoch], Any] | None = None,
    progress: bool | Progress = False,
) -> SGDResult:
    """Train softmax regression by mini-batch SGD; the defaults need no tuning.

    Each epoch visits the rows in a new random order; each batch takes one step ``v = momentum * v
    + g``, ``W = W - rate * v``, with g the gradient of the batch's mean loss plus ``l2 * W``, and
    likewise for b without ``l2``. Weights and biases start at zero, or at those of `init`.

    Parameters
    ----------
    X : array_like, (N, D)
        Samples in rows. float32, float64 and numbers of one or two bytes (bool, uint8, int8,
        uint16, int16, float16, bfloat16) are read where they lie, in any strides, never copied or
        changed; other real types are converted once. Of SciPy's sparse arrays and matrices, CSR and
        CSC are taken, with copies of the entries at most; a step reads and writes the weights of
        its batch's features alone. A source (`fastsoftmax.sources`) takes the place of `X` and `y`
        and brings its weights. Rows within half of its budget of memory are loaded; of more, an
        epoch visits windows of pieces that come from everywhere: docs/large-data.md.
    y : array_like, (N,) or (N, K)
        Labels, strings or whole numbers (any that `classes` lists); or soft targets, rows of
        finite weights of at least 0.
    classes : array_like, (K,), optional
        What the classes are called, in the order of the model's columns. Default: the sorted
        labels of `y`, or ``range(K)`` for soft targets.
    sample_weight : array_like, (N,), optional
        Finite weights of at least 0. The loss is divided by their sum. A row of weight 0 is
        absent, but for its place in a batch: its X may hold anything.
    class_weight : dict or "balanced", optional
        Factors on the weights of the rows of each class, 1 for those not named; "balanced" gives
        all classes the same total weight.
    label_smoothing : float in [0, 1]
        As in `loss_and_gradient`.
    l2 : float or "auto"
        Penalty ``l2 / 2 * ||W||**2`` on the mean loss; b is not penalised. With `standardize` it
        acts on the weights of the scaled features. "auto" is 1 over the sum of the weights (N
        without any), scikit-learn's ``C=1``: little, and enough for an optimum to exist.
    standardize : bool or "auto"
        Centre each feature and scale it to variance 1, implicitly; constant features are centred
        only. The model is in the units of X all the same. "auto" does so but for sparse X, where
        rare words would weigh as much as common ones.
    batch_size : int
        Rows per step, at most: an epoch takes as few steps as it can, of equally many rows, and
        of the remainder in the last.
    epochs : int or "auto"
        Passes over the data; 0 returns the starting weights. "auto" is 30, or 12 over sparse X,
        and on small data as many as make 1500 steps, but not more than 100.
    learning_rate : float or "auto"
        The size of the first step. "auto" is 1 over the curvature of a batch's mean loss,
        estimated on a sample of rows, and backs off if the loss rises all the same. It shortens
        steps along the few directions of the features in which the loss bends most; for sparse X,
        those of the biases alone. A number is taken as it is, for plain steps.
    schedule : {"auto", "constant", "linear", "cosine", "one_cycle"}
        How the rate changes. "linear" falls by the same amount with each step and "cosine" along
        half a wave, both to zero at the last step; "one_cycle" is "cosine" after a linear rise
        over a tenth of the steps. "auto" is "one_cycle" with the automatic rate, "constant" with
        a number.
    momentum : float in [0, 1)
        The share of the last step that goes into the next.
    nesterov : bool
        Step along ``g + momentum * v`` instead of v.
    average : float in [0, 1]
        The share of the epochs, the last ones, over which the weights are averaged; the model is
        that average. 0 takes the last weights.
    shuffle : bool
        False visits the rows as they lie.
    seed : int
        Seeds the order of the rows. The same seed and data give the same bits, whatever the
        number of threads.
    dtype : float32 or float64, optional
        To compute in. Default: float64 for float64 X and wider integers, else
        float32.
    init : SoftmaxModel, optional
        To start from; with the same features and classes.
    validation_data : (X, y) or (X, y, sample_weight), optional
        To measure loss and accuracy on after each epoch.
    patience : int, optional
        Stop after so many epochs without a lower validation loss. The model is then that of the
        best epoch, also where it never came to a stop.
    feature_names : sequence of str, (D,), optional
        Kept in the model, which refuses frames whose columns have other names. Default: those of
        the columns of X, or else of `init`.
    callback : callable, optional
        Called as ``callback(epoch)`` with an `Epoch` after each; a true result stops.
    progress : bool or callable
        True shows a bar (the extra ``fastsoftmax[cli]``). A callable is told a few times a second,
        as ``progress(epoch, rows, loss)``: rows of the epoch done, and its loss at its end.

    Returns
    -------
    SGDResult

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range; if X holds a value that is not finite
        (the text names the cell) or, with `standardize`, a column whose variance is beyond float64
        or whose standard deviation is beyond what weights in `dtype` can make up for.
    DivergenceError
        If the loss overflows, or the model that training ends with has one on these rows that is
        more than ten times that of equal probabilities (and of `init`, if there is one): a
        `learning_rate` too high for the data. It carries the last finite model.
    TrainingInterrupted
        A KeyboardInterrupt that carries the result so far.

    Notes
    -----
    The gradient is that of docs/math.md, "The matrix form", for the rows of a batch; the automatic
    rate is its section "How far a step may go", scaling its "Scaled features". In float32, the
    logits of a feature whose mean is m standard deviations from zero are off by about 1e-7 m
    standard deviations of it in a prediction; training centres as it loads and is not.

    Examples
    --------
    >>> import fastsoftmax
    >>> result = fastsoftmax.fit_sgd([[-2.0], [-1.0], [1.0], [2.0]], ["no", "no", "yes", "yes"])
    >>> result.model.predict([[-3.0], [3.0]])
    array(['no', 'yes'], dtype='<U3')
    """
    classes = data.classes_of(classes, init)
    under_way: list[Training] = []
    try:
        with data.opened(X, y, classes, sample_weight, class_weight, dtype) as given:
            return _trained(
                given,
                under_way,
                label_smoothing=label_smoothing,
                l2=l2,
                standardize=standardize,
                batch_size=batch_size,
                epochs=epochs,
                learning_rate=learning_rate,
                schedule=schedule,
                momentum=momentum,
                nesterov=nesterov,
                average=average,
                shuffle=shuffle,
                seed=seed,
                init=init,
                validation_data=validation_data,
                patience=patience,
                feature_names=feature_names,
                callback=callback,
                progress=progress,
            )
    except (KeyboardInterrupt, SourceError) as error:
        if not under_way:
            raise
        raise_with(error, under_way[0].result())


def _trained(
    given: data.Given,
    under_way: list[Training],
    *,
    label_smoothing: Any,
    l2: Any,
    standardize: Any,
    batch_size: Any,
    epochs: Any,
    learning_rate: Any,
    schedule: Any,
    momentum: Any,
    nesterov: Any,
    average: Any,
    shuffle: Any,
    seed: Any,
    init: Any,
    validation_data: Any,
    patience: Any,
    feature_names: Any,
    callback: Any,
    progress: Any,
) -> SGDResult:
    """`fit_sgd`, its rows at hand; the training is put into `under_way` before it begins."""
    samples, names, compute_dtype, columns = given
    n_rows, n_features = samples.n_rows, samples.n_features

    def start() -> tuple[Array, Array]:
        return data.starting_weights(init, names, n_features)

    W, b = start()
    batch_size = even_batches(n_rows, check.integer(batch_size, "batch_size", 1))
    n_batches = ceil_div(n_rows, batch_size)
    epochs = budget(epochs, n_batches, sparse=samples.is_sparse)
    average = check.number(average, "average", 0, 1)
    l2 = penalty(l2, samples.total_weight, compute_dtype)
    samples = samples.in_units()
    if samples.is_sparse:
        samples = samples.canonical()
    standardize = standardizes(standardize, sparse=samples.is_sparse)
    if standardize and isinstance(samples, StreamedSamples):
        samples.raise_for_sparse("standardize=True")
    shuffle, seed = check.flag(shuffle, "shuffle"), check.integer(seed, "seed", 0)
    rate, schedule = rate_and_schedule(learning_rate, schedule)
    backs_off = rate is None
    feature_names = data.feature_names(feature_names, columns, init, n_features)
    held_out = None
    if validation_data is not None:
        expected = columns or feature_names
        held_out = data.validation(validation_data, n_features, names, compute_dtype, expected)
    if patience is not None:
        patience = check.integer(patience, "patience", 1)
        if held_out is None:
            raise ValueError("patience needs validation_data to measure progress on")
    callback = check.callback(callback)

    scaling = no_scaling()
    if standardize:
        spread = moments(samples)
        raise_if_out_of_scale(spread, samples, compute_dtype)
        scaling = standard_scaling(spread, samples.precision)
    options: dict[str, Any] = {
        "batch_size": batch_size,
        "l2": l2,
        "momentum": check.number(momentum, "momentum", 0, 1, below=True),
        "nesterov": check.flag(nesterov, "nesterov"),
        "label_smoothing": check.number(label_smoothing, "label_smoothing", 0, 1),
    }
    steps = sparse_steps if samples.is_sparse else dense_steps
    generator = np.random.default_rng(seed) if shuffle else None
    task = steps(samples, W, b, compute_dtype, scaling, rate, options, generator)
    del W, b

    def make_model(W: Array, b: Array) -> SoftmaxModel:
        if task.columns is not None:
            whole = np.zeros((n_features, len(b)), W.dtype)
            whole[task.columns] = W
            W = whole
        return SoftmaxModel(W, b, names, feature_names)

    with shown(progress, epochs, n_rows) as tell:
        training = Training(
            task.samples,
            task.visited,
            held_out,
            task.optimizer,
            samples,
            make_model,
            start,
            goes_on=init is not None,
            epochs=epochs,
            rate=task.rate,
            backs_off=backs_off,
            schedule=schedule,
            averaged_epochs=int(np.ceil(average * epochs)),
            patience=patience,
            callback=callback,
            progress=tell,
        )
        under_way.append(training)
        training.run()
    result = training.result()
    training.raise_if_diverged(result)
    return result


def even_batches(n_rows: int, at_most: int) -> int:
    """Rows of a batch such that the last has about as many.

    129 rows in batches of 128 and 1 ended at a loss of 4.5, 65 and 64 at 0.24.
    """
    return ceil_div(n_rows, ceil_div(n_rows, at_most))


def penalty(l2: Any, total_weight: float, dtype: np.dtype[Any]) -> float:
    """The factor of the penalty, checked."""
    if check.is_auto(l2, "l2"):
        factor, name = 1 / total_weight, "l2='auto', 1 over the sum of the weights,"
    else:
        factor, name = check.number(l2, "l2", 0), "l2"
    if factor > float(np.finfo(dtype).max):
        raise ValueError(f"{name} is {factor:g}, which does not fit {dtype}")
    return factor


def rate_and_schedule(learning_rate: Any, schedule: Any) -> tuple[float | None, str]:
    """(the rate, None where it is to be found; the schedule), both checked."""
    check.choice(schedule, "schedule", ("auto", *SCHEDULES))
    if isinstance(learning_rate, str) and learning_rate in SCHEDULES:
        raise ValueError(
            f"learning_rate must be 'auto' or a number: {learning_rate!r} is a schedule, to be "
            f"given as schedule={learning_rate!r}"
        )
    if check.is_auto(learning_rate, "learning_rate"):
        return None, "one_cycle" if schedule == "auto" else schedule
    rate = check.number(learning_rate, "learning_rate", 0)
    return rate, "constant" if schedule == "auto" else schedule


def budget(epochs: Any, n_batches: int, name: str = "epochs", *, sparse: bool = False) -> int:
    """The number of epochs, checked; "auto" by the steps of one."""
    if check.is_auto(epochs, name, "an integer"):
        least = _AUTO_SPARSE_EPOCHS if sparse else _AUTO_EPOCHS
        return max(least, min(_MOST_AUTO_EPOCHS, ceil_div(_AUTO_STEPS, n_batches)))
    return check.integer(epochs, name, 0, MAX_EPOCHS)
