"""Tables larger than the memory that they may take are trained on piece by piece."""

import json

import numpy as np
import polars as pl
import pytest

import fastsoftmax as fs
from fastsoftmax import sources

N, D = 60_000, 30
MEMORY = "7MB"  # X takes 7.2


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Two Parquet files, sorted by class, with a few gaps."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, D)).astype(np.float32)
    kind = np.sort(rng.choice(["dry", "mild", "wet"], N, p=[0.5, 0.3, 0.2]))
    X[:, 0] += 2.0 * (kind == "wet")
    X[:, 1] -= 2.0 * (kind == "dry")
    frame = pl.DataFrame({**{f"x{d}": X[:, d] for d in range(D)}, "kind": kind})
    gaps = (pl.int_range(pl.len()) % 5000 == 7).alias("gap")
    frame = frame.with_columns(x3=pl.when(~gaps).then("x3"))
    folder = tmp_path_factory.mktemp("tables")
    frame[:20_000].write_parquet(folder / "part-0.parquet")
    frame[20_000:].write_parquet(folder / "part-1.parquet")
    return folder / "part-*.parquet"


def trained(run, *options):
    result = run("train", *options, "--label", "kind", "--missing", "drop", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    for part in (found, found["training"]):
        part.pop("seconds", None)
        part.pop("model", None)
    return found, result.stderr


def test_the_optimum_is_that_of_the_rows_in_memory(run, table, tmp_path):
    found, models = [], []
    for memory in ("1GB", MEMORY):
        model = tmp_path / f"{memory}.npz"
        found.append(trained(run, table, "--optimum", "--memory", memory, "-o", model))
        models.append(fs.SoftmaxModel.load(model))
    tests = [facts.pop("test") for facts, _ in found]
    losses = [test.pop("log_loss") for test in tests]
    assert found[0] == found[1]
    assert tests[0] == tests[1]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert tests[0]["rows"] == round((N - 12) / 5)
    assert "12 of 60000 rows with missing values are left out" in found[0][1]
    np.testing.assert_array_equal(models[0].W, models[1].W)
    assert models[1].feature_names == tuple(f"x{d}" for d in range(D))


def test_sgd_comes_near_the_training_in_memory(run, table, tmp_path):
    accuracies = [
        trained(run, table, "--memory", memory, "--epochs", 3)[0]["test"]["accuracy"]
        for memory in ("1GB", MEMORY)
    ]
    assert abs(accuracies[0] - accuracies[1]) < 0.005


def test_training_on_all_rows_after_the_test(run, table, tmp_path):
    found, _ = trained(run, table, "--memory", MEMORY, "--epochs", 1, "--refit")
    assert found["trained_on"] == N - 12
    assert found["test"]["rows"] == round((N - 12) / 5)


def test_what_needs_all_rows_in_memory(run, misused, table):
    train = "train", table, "--label", "kind", "--missing", "drop"
    misused(run(*train, "--memory", "much"), "--memory must be a number of bytes or text")
    misused(run(*train, "--memory", MEMORY, "--optimum", "--cv", 3), "--cv needs all rows in mem")


def test_what_was_learnt_before_reading_failed_is_saved(run, fails, frame, tmp_path, monkeypatch):
    frame.write_csv(tmp_path / "data.csv")
    result = fs.fit_sgd(frame.select("a", "b", "n").to_numpy(), frame["kind"].to_list(), epochs=1)

    def fit_sgd(*arguments, **options):
        raise sources.SourceError("the disk is gone", given[0])

    monkeypatch.setattr("fastsoftmax.cli.training.fitting.fit_sgd", fit_sgd)
    train = "train", tmp_path / "data.csv", "--label", "kind", "-o", tmp_path / "m.npz"
    given = [None]
    fails(run(*train), "the disk is gone")
    assert not (tmp_path / "m.npz").exists()
    given = [result]
    fails(run(*train), "the disk is gone after 1 epoch; what was learnt by then is saved as")
    np.testing.assert_array_equal(fs.SoftmaxModel.load(tmp_path / "m.npz").W, result.model.W)
