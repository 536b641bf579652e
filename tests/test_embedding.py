import re
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

from fastsoftmax import kernels, reference

DTYPES = (np.float32, np.float64)


def example(n_rows=5, n_classes=37, dtype=np.float64):
    rng = np.random.default_rng(0)
    Z = (3 * rng.normal(size=(n_rows, n_classes))).astype(dtype)
    T = rng.random((n_rows, n_classes)).astype(dtype)
    return Z, rng.integers(0, n_classes, n_rows), T


@pytest.mark.parametrize("dtype", DTYPES)
def test_blocks_of_rows_match_numpy(dtype):
    Z, y, T = example(dtype=dtype)
    exact = Z.astype(np.float64)
    tolerance = {"rtol": 0, "atol": 40 * np.finfo(dtype).eps}
    out, losses = np.empty_like(Z), np.empty(len(Z))

    @numba.njit
    def softmaxes(Z, out):
        kernels.softmax_rows(Z, out)

    softmaxes(Z, out)
    np.testing.assert_allclose(out, reference.softmax(exact), **tolerance)
    kernels.log_softmax_rows(Z, out)
    np.testing.assert_allclose(out, reference.log_softmax(exact), **tolerance)
    kernels.log_sum_exp_rows(Z, losses)
    np.testing.assert_allclose(losses, reference.logsumexp(exact), **tolerance)
    for targets in (y, T):
        want_losses, want = reference.cross_entropy_and_gradient(
            exact, targets.astype(np.float64) if targets is T else targets, reduction="none"
        )
        scale = 1 if targets is y else T.sum(axis=1).max()
        tolerance["atol"] = 40 * scale * np.finfo(dtype).eps
        kernels.cross_entropy_gradient_rows(Z, targets, losses, out)
        np.testing.assert_allclose(losses, want_losses, **tolerance)
        np.testing.assert_allclose(out, want, **tolerance)
        losses[:] = 0
        kernels.cross_entropy_rows(Z, targets, losses)
        np.testing.assert_allclose(losses, want_losses, **tolerance)


def test_rows_work_in_place_and_in_parallel_code():
    Z, y, _ = example(n_rows=100)

    @numba.njit(parallel=True)
    def gradients(Z, y):
        total = 0.0
        for n in numba.prange(len(Z)):
            total += kernels.cross_entropy_gradient_row(Z[n], y[n], Z[n])
        return total

    loss, dZ = reference.cross_entropy_and_gradient(Z, y, reduction="sum")
    assert gradients(Z, y) == pytest.approx(loss, rel=1e-13)
    np.testing.assert_allclose(Z, dZ, atol=1e-14)


@numba.njit
def of_columns(Z, out):
    for k in range(Z.shape[1]):
        kernels.softmax_row(Z[:, k], out)


def test_strided_or_integer_rows_are_an_error_of_one_line():
    out, Z = np.empty(3), np.zeros((3, 6))
    for call, got in (
        (lambda: of_columns(Z, out), "array(float64, 1d, A)"),
        (lambda: kernels.softmax_row(Z[0, ::2], out), "array(float64, 1d, A)"),
        (lambda: kernels.softmax_rows(Z[:, ::2], Z), "array(float64, 1d, A)"),
        (lambda: kernels.softmax_row(np.zeros(3, np.int64), out), "array(int64, 1d, C)"),
        (lambda: kernels.softmax_row(Z, out), "array(float64, 2d, C)"),
    ):
        with pytest.raises(TypeError) as seen:
            call()
        assert str(seen.value) == (
            "fastsoftmax.kernels work on C-contiguous rows (K,) of float32 or float64, "
            f"np.ascontiguousarray makes such; got {got}"
        )
    with pytest.raises(TypeError, match=r"^a target is .* a row of float64, got array.float32, 1d"):
        kernels.cross_entropy_row(np.zeros(3), np.zeros(3, np.float32))


def test_cached_code_can_call_them(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import numba, numpy as np\n"
        "from fastsoftmax import kernels\n"
        "@numba.njit(cache=True)\n"
        "def f(z, out):\n"
        "    kernels.softmax_row(z, out)\n"
        "out = np.empty(2)\n"
        "f(np.zeros(2), out)\n"
        "print(out.tolist(), sum(f.stats.cache_hits.values()))\n"
    )
    for hits in (0, 1):
        done = subprocess.run(
            [sys.executable, "-c", "import mine"], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.stdout.strip() == f"[0.5, 0.5] {hits}", done.stderr


def test_example_of_the_docs_runs():
    text = (Path(__file__).parents[1] / "docs" / "embedding.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names = {}
    exec(code, names)
    want, dZ = reference.cross_entropy_and_gradient(names["Z"], np.array([0, 2]), reduction="none")
    assert names["loss"] == pytest.approx(want.mean(), rel=1e-14)
    np.testing.assert_allclose(names["residuals"], dZ, atol=1e-15)
