"""Every public function once, on work for several threads: for tests in processes of their own."""

from __future__ import annotations

import numpy as np
from csr_rows import CSRRows

import fastsoftmax as fs

N, D, K = 4200, 19, 7


def every_call(seed=0):
    """A call of each public function that computes, by name."""
    random = np.random.default_rng(seed)
    X = random.standard_normal((N, D))
    W, b = random.standard_normal((D, K)), random.standard_normal(K)
    # not X @ W: NumPy's BLAS has threads of its own, and may hang in a forked child
    Z, P = np.einsum("nd,dk->nk", X, W) + b, random.dirichlet(np.ones(K), N)
    y, weight = random.integers(K, size=N), random.uniform(0.5, 2, N)
    model = fs.SoftmaxModel(W, b, np.arange(K))
    sparse = CSRRows.of(X * (X > 0.5))
    rows = fs.prepared(sparse)
    return {
        "softmax": lambda: fs.softmax(Z),
        "log_softmax": lambda: fs.log_softmax(Z),
        "logsumexp": lambda: fs.logsumexp(Z),
        "cross_entropy": lambda: fs.cross_entropy(Z, y, sample_weight=weight),
        "cross_entropy_and_gradient": lambda: fs.cross_entropy_and_gradient(Z, P),
        "softmax_jacobian": lambda: fs.softmax_jacobian(P),
        "softmax_jvp": lambda: fs.softmax_jvp(P, Z),
        "loss": lambda: fs.loss(X, y, W, b),
        "loss_and_gradient": lambda: fs.loss_and_gradient(X, y, W, b, sample_weight=weight),
        "decision_function": lambda: fs.decision_function(X, W, b),
        "predict_proba": lambda: fs.predict_proba(X, W, b),
        "predict_log_proba": lambda: fs.predict_log_proba(X, W, b),
        "predict": lambda: fs.predict(X, W, b),
        "decide": lambda: fs.decide(P, np.arange(K)),
        "binary_to_softmax": lambda: fs.binary_to_softmax(W[:, 0], 1.0),
        "softmax_to_binary": lambda: fs.softmax_to_binary(W[:, :2], b[:2]),
        "fit_sgd": lambda: fs.fit_sgd(X, y, batch_size=700, epochs=2),
        "fit": lambda: fs.fit(X, y, sample_weight=weight, tol=1e-6),
        "fit_path": lambda: fs.fit_path(X, y, l2s=[0.1, 1e-3], dtype=np.float32),
        "sparse loss_and_gradient": lambda: fs.loss_and_gradient(sparse, y, W, b),
        "prepared": lambda: fs.loss_and_gradient(rows, y, W, b),
        "sparse predict_proba": lambda: fs.predict_proba(sparse, W, b),
        "sparse fit": lambda: fs.fit(sparse, y, tol=1e-3),
        "SoftmaxModel.score": lambda: model.score(X, y),
    }


def bits(result):
    """All bytes of a result."""
    if isinstance(result, fs.PathResult):
        return b"".join(map(bits, result.results))
    if isinstance(result, fs.FitResult):
        numbers = result.objective, result.lower_bound, result.n_passes
        return b"".join(map(bits, (result.model.W, result.model.b, numbers)))
    if isinstance(result, fs.SGDResult):
        losses = np.array(result.history["loss"])
        return result.model.W.tobytes() + result.model.b.tobytes() + losses.tobytes()
    parts = result if isinstance(result, tuple) else (result,)
    return b"".join(np.asarray(part).tobytes() for part in parts)


def all_bits(seed=0):
    """The bytes of every call's result."""
    return {name: bits(call()) for name, call in every_call(seed).items()}


def serial_bits(seed=0):
    """The same, computed by one thread, which enters no threading layer."""
    with fs.num_threads(1):
        return all_bits(seed)
