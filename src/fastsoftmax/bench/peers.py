"""One full pass (mean loss, its gradient by W and b) as each library's users write it.

Each maker takes the data and returns a function of nothing that runs one pass and returns the
loss. It is called in a process of its own, with the thread count already in the environment. Where
X has numbers of one or two bytes, all but this library convert it in each pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Pass = Callable[[], float]


def fastsoftmax(X: Array, y: Array, W: Array, b: Array, threads: int) -> Pass:
    import fastsoftmax as fs

    fs.set_num_threads(threads)
    return lambda: float(fs.loss_and_gradient(X, y, W, b)[0])


def numpy(X: Array, y: Array, W: Array, b: Array, threads: int) -> Pass:
    from fastsoftmax.reference import baseline_loss_and_gradient

    return lambda: float(baseline_loss_and_gradient(X.astype(W.dtype, copy=False), y, W, b)[0])


def torch(X: Array, y: Array, W: Array, b: Array, threads: int) -> Pass:
    import torch

    torch.set_num_threads(threads)
    X_, y_ = torch_rows(X), torch.from_numpy(y)
    W_ = torch.from_numpy(W.copy()).requires_grad_()
    b_ = torch.from_numpy(b.copy()).requires_grad_()

    def run() -> float:
        W_.grad = b_.grad = None
        loss = torch.nn.functional.cross_entropy(torch.addmm(b_, X_.to(W_.dtype), W_), y_)
        loss.backward()
        return float(loss.detach())

    return run


def torch_rows(X: Array) -> Any:
    """A tensor in the memory of X."""
    import torch

    if X.dtype.name == "bfloat16":
        return torch.from_numpy(X.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(X)


def jax(X: Array, y: Array, W: Array, b: Array, threads: int) -> Pass:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", X.dtype == np.float64)

    def mean_loss(W: Any, b: Any, X: Any, y: Any) -> Any:
        Z = X.astype(W.dtype) @ W + b
        z_y = jnp.take_along_axis(Z, y[:, None], axis=1)[:, 0]
        return (jax.nn.logsumexp(Z, axis=1) - z_y).mean()

    step = jax.jit(jax.value_and_grad(mean_loss, argnums=(0, 1)))
    arguments = [jnp.asarray(a) for a in (W, b, X, y)]
    return lambda: float(jax.block_until_ready(step(*arguments))[0])


def sklearn(X: Array, y: Array, W: Array, b: Array, threads: int) -> Pass:
    from sklearn._loss import HalfMultinomialLoss
    from sklearn.linear_model._linear_loss import LinearModelLoss

    n_classes = W.shape[1]
    model = LinearModelLoss(HalfMultinomialLoss(n_classes=n_classes), fit_intercept=True)
    coefficients = np.asfortranarray(np.vstack([W, b]).T)
    target = y.astype(W.dtype)

    def run() -> float:
        rows = X.astype(W.dtype, copy=False)
        return float(model.loss_gradient(coefficients, rows, target, n_threads=threads)[0])

    return run


PEERS: dict[str, Callable[..., Pass]] = {
    "fastsoftmax": fastsoftmax,
    "numpy": numpy,
    "torch": torch,
    "jax": jax,
    "sklearn": sklearn,
}
