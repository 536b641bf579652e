"""Softmax regression on a CPU at the speed of the hardware: fused Numba kernels."""

from fastsoftmax import kernels
from fastsoftmax._version import __version__
from fastsoftmax.diagnosis import Diagnosis, diagnose
from fastsoftmax.functional import (
    binary_to_softmax,
    cross_entropy,
    cross_entropy_and_gradient,
    decide,
    decision_function,
    log_softmax,
    logsumexp,
    loss,
    loss_and_gradient,
    predict,
    predict_log_proba,
    predict_proba,
    prepared,
    softmax,
    softmax_jacobian,
    softmax_jvp,
    softmax_to_binary,
)
from fastsoftmax.model import SoftmaxModel
from fastsoftmax.solvers import FitProgress, FitResult, PathResult, fit, fit_path
from fastsoftmax.threads import num_threads, set_num_threads
from fastsoftmax.training import DivergenceError, Epoch, SGDResult, TrainingInterrupted, fit_sgd
from fastsoftmax.warming import warmup

__all__ = [
    "Diagnosis",
    "DivergenceError",
    "Epoch",
    "FitProgress",
    "FitResult",
    "PathResult",
    "SGDResult",
    "SoftmaxModel",
    "TrainingInterrupted",
    "__version__",
    "binary_to_softmax",
    "cross_entropy",
    "cross_entropy_and_gradient",
    "decide",
    "decision_function",
    "diagnose",
    "fit",
    "fit_path",
    "fit_sgd",
    "kernels",
    "log_softmax",
    "logsumexp",
    "loss",
    "loss_and_gradient",
    "num_threads",
    "predict",
    "predict_log_proba",
    "predict_proba",
    "prepared",
    "set_num_threads",
    "softmax",
    "softmax_jacobian",
    "softmax_jvp",
    "softmax_to_binary",
    "warmup",
]
