"""The functions of the public API: checks, then one launch of a kernel."""

from fastsoftmax.functional.decisions import binary_to_softmax, decide, softmax_to_binary
from fastsoftmax.functional.linear import loss, loss_and_gradient
from fastsoftmax.functional.predictions import (
    decision_function,
    predict,
    predict_log_proba,
    predict_proba,
)
from fastsoftmax.functional.preparing import prepared
from fastsoftmax.functional.rows import (
    cross_entropy,
    cross_entropy_and_gradient,
    log_softmax,
    logsumexp,
    softmax,
    softmax_jacobian,
    softmax_jvp,
)

__all__ = [
    "binary_to_softmax",
    "cross_entropy",
    "cross_entropy_and_gradient",
    "decide",
    "decision_function",
    "log_softmax",
    "logsumexp",
    "loss",
    "loss_and_gradient",
    "predict",
    "predict_log_proba",
    "predict_proba",
    "prepared",
    "softmax",
    "softmax_jacobian",
    "softmax_jvp",
    "softmax_to_binary",
]
