"""The trainings of `fastsoftmax train`: what is saved of them, and how they may end early."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from fastsoftmax.cli import model_file
from fastsoftmax.cli.output import FAILED, INTERRUPTED, ended
from fastsoftmax.cli.training.data import TrainingData
from fastsoftmax.cli.training.request import Request
from fastsoftmax.model import SoftmaxModel
from fastsoftmax.solvers import FitResult, fit
from fastsoftmax.training import DivergenceError, SGDResult, TrainingInterrupted, fit_sgd

Array = npt.NDArray[Any]
Result = SGDResult | FitResult


def trained(asked: Request, data: TrainingData, X: Any, y: Array, solver: dict[str, Any]) -> Result:
    """A training on X and y; Ctrl-C ends the program with what was learnt by then saved."""
    try:
        result = _fitted(asked, data, X, y, solver)
    except TrainingInterrupted as interrupt:
        result = interrupt.result
        if not result.history["seconds"]:
            raise  # nothing was learnt that could take the place of an older model
        told = f"interrupted after {result.how_far}"
        if asked.output is not None:
            _save(asked, result.model, data)
            told += f"; what was learnt by then is saved as {asked.output}"
        raise ended(told, INTERRUPTED) from None
    _save(asked, result.model, data)
    return result


def refitted(asked: Request, data: TrainingData, solver: dict[str, Any], n_train: int) -> Result:
    """The same training on all rows; the model of fewer rows stays if that is interrupted."""
    try:
        result = _fitted(asked, data, data.X, data.y, solver)
    except KeyboardInterrupt:
        told = "interrupted while training on all rows"
        if asked.output is not None:
            told += f"; the model trained on {n_train} of them is saved as {asked.output}"
        raise ended(told, INTERRUPTED) from None
    _save(asked, result.model, data)
    return result


def _fitted(asked: Request, data: TrainingData, X: Any, y: Array, solver: dict[str, Any]) -> Result:
    """`fit_sgd` or `fit`; a training that diverged ends the program."""
    train = fit if asked.optimum else fit_sgd
    try:
        result: Result = train(X, y, feature_names=data.names, **solver)
        return result
    except DivergenceError as error:
        rate = solver.get("learning_rate")
        if rate is None:
            what = "--optimum needs no rate"
        else:
            what = f"--learning-rate {rate:g} is too high: give a lower one, or leave it out"
        told = f"training diverged in epoch {error.epoch + 1}, and its model is not saved; {what}"
        raise ended(told, FAILED) from None


def _save(asked: Request, model: SoftmaxModel, data: TrainingData) -> None:
    if asked.output is not None:
        model_file.save(asked.output, model, data.recipe)
