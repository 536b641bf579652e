"""The trainings of `fastsoftmax train`: what is saved of them, and how they may end early."""

from __future__ import annotations

from typing import Any

from fastsoftmax.cli import model_file
from fastsoftmax.cli.output import FAILED, INTERRUPTED, ended
from fastsoftmax.cli.training.data import TrainingData
from fastsoftmax.cli.training.request import Request
from fastsoftmax.cli.training.streamed import StreamedData
from fastsoftmax.model import SoftmaxModel
from fastsoftmax.solvers import FitResult, fit
from fastsoftmax.sources import SourceError
from fastsoftmax.training import DivergenceError, SGDResult, TrainingInterrupted, fit_sgd

Result = SGDResult | FitResult
Data = TrainingData | StreamedData


def trained(asked: Request, data: Data, solver: dict[str, Any]) -> Result:
    """A training on the rows not held out.

    Ctrl-C, and rows that cannot be read any more, end the program with what was learnt by then
    saved.
    """
    try:
        result = _fitted(asked, data, data.rows(), solver)
    except (TrainingInterrupted, SourceError) as error:
        result = error.result
        if result is None or not result.history["seconds"]:
            raise  # nothing was learnt that could take the place of an older model
        by_hand = isinstance(error, TrainingInterrupted)
        told = f"{'interrupted' if by_hand else error} after {result.how_far}"
        if asked.output is not None:
            _save(asked, result.model, data)
            told += f"; what was learnt by then is saved as {asked.output}"
        raise ended(told, INTERRUPTED if by_hand else FAILED) from None
    _save(asked, result.model, data)
    return result


def refitted(asked: Request, data: Data, solver: dict[str, Any]) -> Result:
    """The same training on all rows; the model of fewer rows stays if that is interrupted."""
    try:
        result = _fitted(asked, data, data.rows(whole=True), solver)
    except KeyboardInterrupt:
        told = "interrupted while training on all rows"
        if asked.output is not None:
            told += f"; the model trained on {data.n_train} of them is saved as {asked.output}"
        raise ended(told, INTERRUPTED) from None
    _save(asked, result.model, data)
    return result


def _fitted(asked: Request, data: Data, rows: tuple[Any, ...], solver: dict[str, Any]) -> Result:
    """`fit_sgd` or `fit`; a training that diverged ends the program."""
    train = fit if asked.optimum else fit_sgd
    try:
        result: Result = train(*rows, feature_names=data.names, **solver)
        return result
    except DivergenceError as error:
        rate = solver.get("learning_rate")
        if rate is None:
            what = "--optimum needs no rate"
        else:
            what = f"--learning-rate {rate:g} is too high: give a lower one, or leave it out"
        told = f"training diverged in epoch {error.epoch + 1}, and its model is not saved; {what}"
        raise ended(told, FAILED) from None


def _save(asked: Request, model: SoftmaxModel, data: Data) -> None:
    if asked.output is not None:
        model_file.save(asked.output, model, data.recipe)
