"""The commands, run in this process, and what their errors look like."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import fastsoftmax as fs
from fastsoftmax.cli.app import app
from fastsoftmax.cli.training import fitting


@pytest.fixture
def run():
    """A command with these arguments, and what standard input holds."""

    def run(*arguments, stdin=None):
        return CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)

    return run


def _ends_in_one_line(code):
    def check(result, *words):
        assert result.exit_code == code, result.output
        lines = result.stderr.strip().splitlines()
        assert lines[-1].startswith("fastsoftmax: ")
        assert all("Traceback" not in line for line in lines)
        for word in words:
            assert word in lines[-1]

    return check


@pytest.fixture
def fails():
    """The work failed: one clear line on standard error, exit code 1."""
    return _ends_in_one_line(1)


@pytest.fixture
def misused():
    """The command was wrong: one clear line on standard error, exit code 2."""
    return _ends_in_one_line(2)


@pytest.fixture
def trains_sparse_rows(monkeypatch):
    """Until `fit_sgd` takes sparse rows itself."""

    def fit_sgd(X, y, **options):
        return fs.fit_sgd(X if isinstance(X, np.ndarray) else X.toarray(), y, **options)

    monkeypatch.setattr(fitting, "fit_sgd", fit_sgd)


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    kind = np.where(x[:, 0] - x[:, 1] > 0, "wet", "dry")
    return pl.DataFrame({"a": x[:, 0], "kind": kind, "b": x[:, 1], "n": np.arange(200) % 3})


@pytest.fixture
def trained(frame, tmp_path, run):
    """A model of `frame`, which is in data.csv beside it."""
    frame.write_csv(tmp_path / "data.csv")
    result = run(
        "train", tmp_path / "data.csv", "--label", "kind", "-o", tmp_path / "m.npz", "--epochs", 20
    )
    assert result.exit_code == 0, result.output
    return tmp_path / "m.npz"
