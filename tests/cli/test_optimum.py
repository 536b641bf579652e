import re

import numpy as np
import polars as pl
import pytest

import fastsoftmax as fs
from fastsoftmax.solvers.folds import cross_validate, stratified_folds


def test_train_to_the_optimum_passes_its_options_on(run, frame, tmp_path):
    frame.write_csv(tmp_path / "data.csv")
    X = frame.select("a", "b", "n").to_numpy().astype(np.float32)
    y = frame["kind"].to_numpy().astype(str)
    train = "train", tmp_path / "data.csv", "--label", "kind", "--optimum", "--test-fraction", 0
    for options, arguments in (
        (["--tol", 1e-6], {"tol": 1e-6}),
        (["--l2", 0.3, "--no-standardize"], {"l2": 0.3, "standardize": False}),
    ):
        result = run(*train, *options, "-o", tmp_path / "m.npz")
        assert result.exit_code == 0, result.output
        twin = fs.fit(X, y, **arguments)
        model = fs.SoftmaxModel.load(tmp_path / "m.npz")
        np.testing.assert_array_equal(model.W, twin.model.W)
        assert model.feature_names == ("a", "b", "n")
        assert re.search(rf"objective\s+{twin.objective:.6f},", result.stdout)
        assert re.search(rf"gap\s+{twin.gap:.1e} .* proved", result.stdout)
        assert re.search(rf"stopped\s+{twin.stopped} *\n", result.stdout)
        assert re.search(rf"solving\s+{twin.n_passes:.1f} passes .* in [\d.]+ s", result.stdout)
    assert re.search(r"stopped\s+max_passes, not conv|rounding", run(*train, "--tol", 0).stdout)


def test_cross_validation_chooses_the_penalty(run, frame, tmp_path):
    pytest.importorskip("matplotlib")
    frame.write_csv(tmp_path / "data.csv")
    X = frame.select("a", "b", "n").to_numpy().astype(np.float32)
    y = frame["kind"].to_numpy().astype(str)
    train = "train", tmp_path / "data.csv", "--label", "kind", "--optimum", "--cv", 3
    train += "--test-fraction", 0, "--seed", 7
    assert "chosen, at an end" in run(*train).stdout  # the classes are separable
    y[::5] = np.where(y[::5] == "wet", "dry", "wet")
    frame.with_columns(kind=pl.Series(y)).write_csv(tmp_path / "data.csv")
    out = "-o", tmp_path / "m.npz", "--plot", tmp_path / "gap.png"
    result = run(*train, *out)
    assert result.exit_code == 0, result.output
    assert f"the gap drawn as {tmp_path / 'gap.png'}" in result.stdout
    l2s = np.logspace(4, -4, 13) / 200
    found = cross_validate(X, y, stratified_folds(y, 3, seed=7), l2s=l2s)
    lines = [line.split() for line in result.stdout.splitlines()[1:14]]
    columns = found.l2s, found.mean_loss, found.standard_error, found.accuracies.mean(axis=0)
    for i, (line, numbers) in enumerate(zip(lines, zip(*columns, strict=True), strict=True)):
        np.testing.assert_allclose([float(text) for text in line[:4]], numbers, 5e-3, 5e-5)
        assert (line[4:5] == ["chosen"]) == (i == found.best)
    model = fs.SoftmaxModel.load(tmp_path / "m.npz")
    np.testing.assert_array_equal(model.W, fs.fit(X, y, l2=found.l2s[found.best]).model.W)


def test_options_of_the_other_way_of_training_are_refused(run, misused, frame, tmp_path):
    frame.write_csv(tmp_path / "data.csv")
    train = "train", tmp_path / "data.csv", "--label", "kind", "-o", tmp_path / "m.npz"
    for option, value in (
        ("--epochs", 3),
        ("--batch-size", 128),
        ("--learning-rate", 0.1),
        ("--momentum", 0.9),
    ):
        misused(run(*train, "--optimum", option, value), f"{option} is an option of SGD")
    misused(run(*train, "--tol", 0.1), "--tol needs --optimum")
    misused(run(*train, "--cv", 5), "--cv needs --optimum")
    misused(run(*train, "--optimum", "--cv", 5, "--l2", 1), "--cv chooses the penalty")
    misused(run(*train, "--optimum", "--cv", 1), "--cv must be at least 2, got 1")
    misused(run(*train, "--optimum", "--tol", -1), "--tol must be at least 0, got -1")
    assert not (tmp_path / "m.npz").exists()
