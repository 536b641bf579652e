"""Training: mini-batch SGD around the kernels, and what it returns."""

from fastsoftmax.training.result import DivergenceError, Epoch, SGDResult, TrainingInterrupted
from fastsoftmax.training.sgd import fit_sgd

__all__ = ["DivergenceError", "Epoch", "SGDResult", "TrainingInterrupted", "fit_sgd"]
