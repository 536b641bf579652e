import json
import re

import numpy as np
import polars as pl
import pytest

import fastsoftmax as fs
from fastsoftmax import threads
from fastsoftmax.cli.training import fitting, split
from fastsoftmax.cli.training.split import held_out


def test_digits_reach_a_test_accuracy_of_095(run):
    result = run("train")
    assert result.exit_code == 0, result.output
    accuracy = re.search(r"test accuracy\s+([\d.]+)", result.stdout)
    assert float(accuracy[1]) > 0.95
    assert 0 < float(re.search(r"test loss\s+([\d.]+)", result.stdout)[1]) < 0.3
    assert re.search(r"[\d,]+ rows per second", result.stdout)
    assert "NumPy" not in result.stdout


@pytest.mark.parametrize("label", [0, 1, -1])
def test_npy_takes_a_column_number(run, frame, tmp_path, label):
    columns = [frame["a"].to_numpy(), frame["b"].to_numpy()]
    y = (frame["kind"] == "wet").to_numpy().astype(float)
    columns.insert(label if label >= 0 else 2, y)
    np.save(tmp_path / "data.npy", np.stack(columns, axis=1))
    model = tmp_path / "m.npz"
    result = run("train", tmp_path / "data.npy", "--label", label, "-o", model)
    assert result.exit_code == 0, result.output
    X = frame.select("a", "b").to_numpy()
    np.save(tmp_path / "new.npy", X)
    out = tmp_path / "out.csv"
    assert run("predict", model, tmp_path / "new.npy", "-o", out).exit_code == 0
    assert np.mean(pl.read_csv(out)["prediction"].to_numpy() == y) > 0.95


def test_npz_with_string_labels(run, frame, tmp_path):
    X = frame.select("a", "b").to_numpy()
    np.savez(tmp_path / "data.npz", X=X, kind=frame["kind"].to_numpy().astype(str))
    model = tmp_path / "m.npz"
    result = run("train", tmp_path / "data.npz", "--label", "kind", "-o", model)
    assert result.exit_code == 0, result.output
    out = tmp_path / "out.csv"
    assert run("predict", model, tmp_path / "data.npz", "-o", out).exit_code == 0
    assert np.mean(pl.read_csv(out)["prediction"].to_numpy() == frame["kind"].to_numpy()) > 0.95


def test_letter_and_mnist_train(run, data_folder, tmp_path):
    for name, floor in (("letter", 0.7), ("mnist10k", 0.85)):
        result = run("train", data_folder / f"{name}.npz", "--epochs", 10)
        assert result.exit_code == 0, result.output
        assert float(re.search(r"test accuracy\s+([\d.]+)", result.stdout)[1]) > floor


@pytest.mark.parametrize(
    ("ending", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
def test_train_draws_the_loss_curves(run, frame, tmp_path, ending, start):
    pytest.importorskip("matplotlib")
    frame.write_csv(tmp_path / "data.csv")
    picture = tmp_path / f"loss.{ending}"
    result = run("train", tmp_path / "data.csv", "--label", "kind", "--plot", picture)
    assert result.exit_code == 0, result.output
    assert f"loss curves drawn as {picture}" in result.stdout
    assert picture.read_bytes().startswith(start)
    assert picture.stat().st_size > 2000


def test_plot_is_checked_before_the_training(run, fails, misused, frame, tmp_path, monkeypatch):
    frame.write_csv(tmp_path / "data.csv")
    train = "train", tmp_path / "data.csv", "--label", "kind", "-o", tmp_path / "m.npz", "--plot"
    misused(run(*train, tmp_path / "loss.txt"), "--plot must end in .png, .svg or .pdf")
    misused(run(*train, tmp_path / "no" / "loss.png"), "no folder")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    fails(run(*train, tmp_path / "loss.png"), "--plot needs matplotlib", "fastsoftmax[plot]")
    assert not (tmp_path / "m.npz").exists()


def test_train_passes_its_options_on(run, frame, tmp_path):
    frame.write_csv(tmp_path / "data.csv")
    X = frame.select("a", "b", "n").to_numpy().astype(np.float32)
    y = frame["kind"].to_numpy()
    shared = ["--label", "kind", "-o", tmp_path / "m.npz", "--test-fraction", 0, "--epochs", 3]
    for options, arguments in (
        ([], {}),
        (["--no-standardize"], {"standardize": False}),
        (["--l2", 0.3], {"l2": 0.3}),
        (["--momentum", 0.5, "--learning-rate", 0.1], {"momentum": 0.5, "learning_rate": 0.1}),
        (["--batch-size", 20, "--seed", 3], {"batch_size": 20, "seed": 3}),
    ):
        result = run("train", tmp_path / "data.csv", *shared, *options)
        assert result.exit_code == 0, result.output
        twin = fs.fit_sgd(X, y.astype(str), epochs=3, **arguments).model
        np.testing.assert_array_equal(fs.SoftmaxModel.load(tmp_path / "m.npz").W, twin.W)


def test_a_test_file_is_judged_on_and_all_rows_are_trained_on(run, frame, tmp_path):
    frame.head(150).write_csv(tmp_path / "data.csv")
    frame.tail(50).write_parquet(tmp_path / "test.parquet")
    train = "train", tmp_path / "data.csv", "--label", "kind", "-o", tmp_path / "m.npz"
    result = run(*train, "--test", tmp_path / "test.parquet")
    assert result.exit_code == 0, result.output
    assert "trained on all 150 rows" in result.stdout
    evaluate = "evaluate", tmp_path / "m.npz", tmp_path / "test.parquet"
    judged = run(*evaluate).stdout
    accuracy, loss = re.findall(r"(?:accuracy|loss)\s+([\d.]+)", judged)
    assert re.search(rf"test accuracy\s+{accuracy} on 50 rows of the test file", result.stdout)
    assert re.search(rf"test loss\s+{loss}", result.stdout)
    by_class = [line for line in judged.splitlines() if re.match(r" (dry|wet) .*\.\d{4}", line)]
    assert len(by_class) == 2
    assert set(by_class) <= set(result.stdout.splitlines())
    found = json.loads(run(*train, "--test", tmp_path / "test.parquet", "--json").stdout)
    assert found["test"] == json.loads(run(*evaluate, "--json").stdout)
    assert found["rows"] == found["trained_on"] == 150
    assert found["features"] == 3
    assert found["classes"] == ["dry", "wet"]
    assert found["model"] == str(tmp_path / "m.npz")
    assert found["training"]["epochs"] == 100


def test_what_the_model_was_trained_on_is_said(run, frame, tmp_path):
    frame.write_csv(tmp_path / "data.csv")
    X = frame.select("a", "b", "n").to_numpy().astype(np.float32)
    y = frame["kind"].to_numpy().astype(str)
    train = "train", tmp_path / "data.csv", "--label", "kind", "-o", tmp_path / "m.npz"
    whole = fs.fit_sgd(X, y).model.W
    rows = held_out(y, 0.2, 0)
    order = np.argsort(rows, kind="stable")
    refitted = fs.fit_sgd(X[order], y[order]).model.W
    part = fs.fit_sgd(X[~rows], y[~rows]).model
    accuracy = f"{part.score(X[rows], y[rows]):.4f} on 40 held-out rows"
    for options, W, words in (
        ((), part.W, (accuracy, "trained on 160 of 200 rows (--refit trains on all")),
        (("--refit",), refitted, (accuracy, "trained on all 200 rows, after the test above")),
        (("--no-holdout",), whole, ("trained on all 200 rows",)),
        (("--test-fraction", 0), whole, ("trained on all 200 rows",)),
    ):
        result = run(*train, *options)
        assert result.exit_code == 0, result.output
        np.testing.assert_array_equal(fs.SoftmaxModel.load(tmp_path / "m.npz").W, W)
        for word in (*words, f"next: fastsoftmax predict {tmp_path / 'm.npz'} NEW.csv -o"):
            assert word in result.stdout
        assert ("test accuracy" in result.stdout) == (accuracy in words)
    assert "the model is not saved; -o model.npz saves it" in run(*train[:-2]).stdout


def test_rows_held_out_are_a_share_of_each_class():
    y = np.repeat(["a", "b", "c", "d", "e"], [1, 2, 10, 87, 900])
    np.random.default_rng(0).shuffle(y)
    for fraction, rows in ((0.2, 200), (0.001, 1), (0.5, 500), (0.999, 995)):
        test = held_out(y, fraction, seed=1)
        assert test.sum() == rows
        for name in np.unique(y):
            here = y == name
            assert (~test & here).sum() >= 1
            assert abs((test & here).sum() - fraction * here.sum()) <= 2
    assert (held_out(y, 0.2, seed=1) == held_out(y, 0.2, seed=1)).all()
    assert (held_out(y, 0.2, seed=1) != held_out(y, 0.2, seed=2)).any()


@pytest.mark.parametrize("writable", [True, False])
def test_rows_to_test_on_are_put_last(monkeypatch, writable):
    """In place where that may be; in blocks."""
    monkeypatch.setattr(split, "_BLOCK", 7)
    X, y = np.arange(60.0).reshape(30, 2), np.arange(30)
    test = np.random.default_rng(0).random(30) < 0.3
    given = X.copy()
    given.flags.writeable = writable
    order = [*np.flatnonzero(~test), *np.flatnonzero(test)]
    there, labels = split.put_last(given, y, test)
    np.testing.assert_array_equal(there, X[order])
    np.testing.assert_array_equal(labels, y[order])
    assert (there is given) == writable


def test_threads_are_those_asked_for(run, frame, tmp_path, monkeypatch):
    frame.write_csv(tmp_path / "data.csv")
    used = []

    def fit_sgd(*arguments, **options):
        used.append(threads.threads_in_use())
        return fs.fit_sgd(*arguments, **options)

    monkeypatch.setattr(fitting, "fit_sgd", fit_sgd)
    train = "train", tmp_path / "data.csv", "--label", "kind"
    assert run(*train, "--threads", 1).exit_code == 0
    assert used == [1]
