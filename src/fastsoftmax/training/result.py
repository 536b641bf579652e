"""What training tells and returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy.typing as npt

from fastsoftmax.model import SoftmaxModel
from fastsoftmax.once import once
from fastsoftmax.sources import SourceError

Array = npt.NDArray[Any]
History = dict[str, list[float]]


@dataclass(frozen=True)
class SGDResult:
    """What training gave.

    Attributes
    ----------
    model : SoftmaxModel
        In the units of X, whatever the scaling. With validation data and `patience`, that of the
        best epoch.
    history : dict of str to list of float
        One entry per epoch. "loss": the weighted mean of the cross-entropy over the epoch's
        batches, each as it was before its step, without the penalty: it lags behind the loss of
        the epoch's last weights. "learning_rate": that of the epoch's last step. "seconds": how
        long the epoch took. With validation data also "validation_loss" (the mean cross-entropy
        after the epoch, without the penalty) and "validation_accuracy".
    learning_rate : float
        The rate at the first step, after any backing off.
    stopped : str
        Why training ended: "epochs" (all were done), "patience" or "callback".
    still_falling : bool
        Whether the last epoch's loss is below that of all epochs before (and of equal
        probabilities, unless training went on from a model) by more than a hundredth of that of
        equal probabilities: more epochs will help.
    """

    model: SoftmaxModel
    history: History = field(default_factory=dict)
    learning_rate: float = 0.0
    stopped: str = "epochs"
    still_falling: bool = False

    def __repr__(self) -> str:
        last = {key: values[-1] for key, values in self.history.items() if values}
        losses = [
            f"{key.replace('_', ' ')} {last[key]:.4g}"
            for key in ("loss", "validation_loss")
            if key in last
        ]
        parts = [repr(self.model), self.how_far, *losses, f"stopped: {self.stopped}"]
        return f"SGDResult({', '.join(parts)})"

    @property
    def how_far(self) -> str:
        """How long training went on, in words."""
        done = len(self.history.get("loss", ()))
        return "1 epoch" if done == 1 else f"{done} epochs"

    def plot(self, ax: Any = None) -> Any:
        """Draw the losses by epoch, with the validation accuracy where there is one.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        ImportError
            If matplotlib is not installed (the extra ``fastsoftmax[plot]``).
        """
        from fastsoftmax.training.plot import plot_history

        return plot_history(self.history, ax)


@dataclass(frozen=True)
class Epoch:
    """What a callback is told after each epoch.

    Attributes
    ----------
    epoch : int
        From 0.
    loss, learning_rate, seconds : float
        The epoch's entries in the history; see `SGDResult`.
    validation_loss, validation_accuracy : float or None
    model : SoftmaxModel
        As it is after this epoch; made when first asked for.
    """

    epoch: int
    loss: float
    learning_rate: float
    seconds: float
    validation_loss: float | None
    validation_accuracy: float | None
    _make_model: Callable[[], SoftmaxModel] = field(repr=False, compare=False)

    @once
    def model(self) -> SoftmaxModel:
        return self._make_model()

    def __getstate__(self) -> dict[str, Any]:
        # the model itself goes along, for what makes it holds the training
        return {**self.__dict__, "model": self.model, "_make_model": None}


class DivergenceError(FloatingPointError):
    """The learning rate is too high for the data: the loss overflowed, or ended far too high.

    Attributes
    ----------
    epoch : int
        The one whose loss overflowed, or the last.
    learning_rate : float
    model : SoftmaxModel
        The last finite one, as it was before that epoch; or, where nothing overflowed, the one that
        training ended with. Its labels may be of use, its probabilities are not.
    loss, equal_loss : float or None
        Where nothing overflowed: the mean loss of the model on the rows trained on, and that of
        equal probabilities.
    """

    def __init__(
        self,
        epoch: int,
        learning_rate: float,
        model: SoftmaxModel,
        loss: float | None = None,
        equal_loss: float | None = None,
    ) -> None:
        rate = f"with learning_rate={learning_rate:g}"
        how, which = f"in epoch {epoch} {rate}", "the last one that was finite"
        if loss is not None:
            equal = f"equal probabilities have {equal_loss:.3g}"
            how = f"{rate}: it ended at a loss of {loss:.3g}, {equal}"
            which = "what it ended with"
        super().__init__(
            f"training diverged {how}; a lower rate or scaled features will help. "
            f"The exception's `model` is {which}"
        )
        self.epoch, self.learning_rate, self.model = epoch, learning_rate, model
        self.loss, self.equal_loss = loss, equal_loss

    def __reduce__(self) -> Any:
        arguments = self.epoch, self.learning_rate, self.model, self.loss, self.equal_loss
        return DivergenceError, arguments


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C during training; `result` holds what was learnt by then.

    Attributes
    ----------
    result : SGDResult, or FitResult of `fit`, or PathResult of `fit_path`
    """

    def __init__(self, result: Any) -> None:
        super().__init__(f"training was interrupted after {result.how_far}; see `result`")
        self.result = result

    def __reduce__(self) -> Any:
        return TrainingInterrupted, (self.result,)


def raise_with(error: KeyboardInterrupt | SourceError, result: Any) -> NoReturn:
    """Raise what ended a training, with what was learnt by then."""
    if isinstance(error, SourceError):
        error.result = result
        raise error
    raise TrainingInterrupted(result) from error
