import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import fastsoftmax as fs
from fastsoftmax import reference
from fastsoftmax.cli import app as commands
from fastsoftmax.cli import timing
from fastsoftmax.cli.app import app
from fastsoftmax.solvers.folds import cross_validate, stratified_folds
from fastsoftmax.solvers.lbfgs import LBFGS


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def fails(result, *words):
    """One clear line on stderr, exit code 2."""
    assert result.exit_code == 2, result.output
    lines = result.stderr.strip().splitlines()
    assert lines[-1].startswith("fastsoftmax: ")
    assert all("Traceback" not in line for line in lines)
    for word in words:
        assert word in lines[-1]


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    kind = np.where(x[:, 0] - x[:, 1] > 0, "wet", "dry")
    return pl.DataFrame({"a": x[:, 0], "kind": kind, "b": x[:, 1], "n": np.arange(200) % 3})


@pytest.fixture
def trained(frame, tmp_path):
    frame.write_csv(tmp_path / "data.csv")
    result = run(
        "train", tmp_path / "data.csv", "--label", "kind", "-o", tmp_path / "m.npz", "--epochs", 20
    )
    assert result.exit_code == 0, result.output
    return tmp_path / "m.npz"


def test_digits_reach_a_test_accuracy_of_095():
    result = run("train")
    assert result.exit_code == 0, result.output
    accuracy = re.search(r"test accuracy\s+([\d.]+)", result.stdout)
    assert float(accuracy[1]) > 0.95
    assert 0 < float(re.search(r"test loss\s+([\d.]+)", result.stdout)[1]) < 0.3
    assert re.search(r"[\d,]+ rows per second", result.stdout)
    assert re.search(r"one pass\s+[\d.]+ ms, NumPy [\d.]+ ms", result.stdout)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_predict_matches_columns_by_name_and_ignores_the_label(frame, trained, tmp_path, ending):
    model = fs.SoftmaxModel.load(trained)
    assert model.feature_names == ("a", "b", "n")
    X = frame.select("a", "b", "n").to_numpy()
    shuffled = frame.select("n", "kind", "b", "a")
    path = tmp_path / f"new.{ending}"
    shuffled.write_csv(path) if ending == "csv" else shuffled.write_parquet(path)
    out = tmp_path / "out.csv"
    assert run("predict", trained, path, "-o", out).exit_code == 0
    assert pl.read_csv(out)["prediction"].to_list() == model.predict(X).tolist()
    assert np.mean(model.predict(X) == frame["kind"].to_numpy()) > 0.95
    assert run("predict", trained, path, "-o", out, "--proba").exit_code == 0
    P = pl.read_csv(out)
    assert P.columns == ["dry", "wet"]
    np.testing.assert_allclose(P.to_numpy(), model.predict_proba(X), rtol=1e-12)


def test_predict_prints_without_an_output(frame, trained, tmp_path):
    result = run("predict", trained, tmp_path / "data.csv")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 201
    assert result.stdout.startswith("prediction\n")


@pytest.mark.parametrize("label", [0, 1, -1])
def test_npy_takes_a_column_number(frame, tmp_path, label):
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


def test_npz_with_string_labels(frame, tmp_path):
    X = frame.select("a", "b").to_numpy()
    np.savez(tmp_path / "data.npz", X=X, kind=frame["kind"].to_numpy().astype(str))
    model = tmp_path / "m.npz"
    result = run("train", tmp_path / "data.npz", "--label", "kind", "-o", model)
    assert result.exit_code == 0, result.output
    out = tmp_path / "out.csv"
    assert run("predict", model, tmp_path / "data.npz", "-o", out).exit_code == 0
    assert np.mean(pl.read_csv(out)["prediction"].to_numpy() == frame["kind"].to_numpy()) > 0.95


def test_letter_and_mnist_train(data_folder, tmp_path):
    for name, floor in (("letter", 0.7), ("mnist10k", 0.85)):
        result = run("train", data_folder / f"{name}.npz", "--epochs", 10)
        assert result.exit_code == 0, result.output
        assert float(re.search(r"test accuracy\s+([\d.]+)", result.stdout)[1]) > floor


@pytest.mark.parametrize(
    ("ending", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
def test_train_draws_the_loss_curves(frame, tmp_path, ending, start):
    pytest.importorskip("matplotlib")
    frame.write_csv(tmp_path / "data.csv")
    picture = tmp_path / f"loss.{ending}"
    result = run("train", tmp_path / "data.csv", "--label", "kind", "--plot", picture)
    assert result.exit_code == 0, result.output
    assert f"loss curves drawn as {picture}" in result.stdout
    assert picture.read_bytes().startswith(start)
    assert picture.stat().st_size > 2000


def test_plot_is_checked_before_the_training(frame, tmp_path, monkeypatch):
    frame.write_csv(tmp_path / "data.csv")
    train = "train", tmp_path / "data.csv", "--label", "kind", "-o", tmp_path / "m.npz", "--plot"
    fails(run(*train, tmp_path / "loss.txt"), "--plot must end in .png, .svg or .pdf")
    fails(run(*train, tmp_path / "no" / "loss.png"), "no folder")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    fails(run(*train, tmp_path / "loss.png"), "--plot needs matplotlib", "fastsoftmax[plot]")
    assert not (tmp_path / "m.npz").exists()


def test_train_passes_its_options_on(frame, tmp_path):
    frame.write_csv(tmp_path / "data.csv")
    X, y = frame.select("a", "b", "n").to_numpy(), frame["kind"].to_numpy()
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


def test_train_to_the_optimum_passes_its_options_on(frame, tmp_path):
    frame.write_csv(tmp_path / "data.csv")
    X, y = frame.select("a", "b", "n").to_numpy(), frame["kind"].to_numpy().astype(str)
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


def test_cross_validation_chooses_the_penalty(frame, tmp_path):
    pytest.importorskip("matplotlib")
    frame.write_csv(tmp_path / "data.csv")
    X, y = frame.select("a", "b", "n").to_numpy(), frame["kind"].to_numpy().astype(str)
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


def test_options_of_the_other_way_of_training_are_refused(frame, tmp_path):
    frame.write_csv(tmp_path / "data.csv")
    train = "train", tmp_path / "data.csv", "--label", "kind", "-o", tmp_path / "m.npz"
    for option, value in (
        ("--epochs", 3),
        ("--batch-size", 128),
        ("--learning-rate", 0.1),
        ("--momentum", 0.9),
    ):
        fails(run(*train, "--optimum", option, value), f"{option} is an option of SGD")
    fails(run(*train, "--tol", 0.1), "--tol needs --optimum")
    fails(run(*train, "--cv", 5), "--cv needs --optimum")
    fails(run(*train, "--optimum", "--cv", 5, "--l2", 1), "--cv chooses the penalty")
    fails(run(*train, "--optimum", "--cv", 1), "folds must be at least 2, got 1")
    fails(run(*train, "--optimum", "--tol", -1), "tol must be")
    assert not (tmp_path / "m.npz").exists()


@pytest.mark.parametrize("ending", ["csv", "npz"])
def test_evaluate_gives_the_scores_of_scikit_learn(tmp_path, ending):
    """Of three classes, one of which is never predicted, and two that the rows lack."""
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    y = rng.choice(["[red]", "1", "$x$"], 60)
    W = np.array([[2.0, -2, 0, 0, 0], [0, 2, 0, 0, 0]])
    b = np.array([0.0, 0, -50, -50, -50])
    names = "a", "b"
    model = fs.SoftmaxModel(W, b, np.array(["[red]", "1", "$x$", "none", "01"]), names)
    model.save(tmp_path / "m.npz")
    path = tmp_path / f"d.{ending}"
    if ending == "csv":
        pl.DataFrame({"b": X[:, 1], "y": y, "a": X[:, 0], "text": y}).write_csv(path)
    else:
        np.savez(path, X=X, y=y)
    result = run("evaluate", tmp_path / "m.npz", path, "--label", "y", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    predicted = model.predict(X)
    truth = metrics.classification_report(y, predicted, output_dict=True, zero_division=np.nan)
    assert found["rows"] == 60
    assert found["accuracy"] == pytest.approx(truth["accuracy"])
    labels = model.label_indices(y)
    assert found["log_loss"] == pytest.approx(reference.loss_and_gradient(X, labels, W, b)[0])
    assert (
        found["confusion"] == metrics.confusion_matrix(y, predicted, labels=model.classes).tolist()
    )
    for each in found["classes"][:2]:
        theirs = truth[each["class"]]
        assert each["precision"] == pytest.approx(theirs["precision"])
        assert each["recall"] == pytest.approx(theirs["recall"])
        assert each["f1"] == pytest.approx(theirs["f1-score"])
        assert each["support"] == theirs["support"]
    missed, absent = found["classes"][2:4]
    assert missed == {
        "class": "$x$",
        "precision": None,
        "recall": 0,
        "f1": 0,
        "support": sum(y == "$x$"),
    }
    assert absent == {"class": "none", "precision": None, "recall": None, "f1": None, "support": 0}
    recalls = [each["recall"] for each in found["classes"][:3]]
    assert found["macro"]["recall"] == pytest.approx(np.mean(recalls))
    result = run("evaluate", tmp_path / "m.npz", path, "--label", "y", "--plot", tmp_path / "c.svg")
    assert result.exit_code == 0, result.output
    assert f"accuracy        {found['accuracy']:.4f}" in result.stdout
    for each in found["classes"]:
        row = [each["class"], *(each[score] for score in ("precision", "recall", "f1"))]
        told = [
            text if isinstance(text, str) else "-" if text is None else f"{text:.4f}"
            for text in row
        ]
        assert [*told, str(each["support"])] in [
            line.split() for line in result.stdout.splitlines()
        ]
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["[red]", *map(str, found["confusion"][0])] in rows
    assert "<svg" in (tmp_path / "c.svg").read_text(encoding="utf-8")


def test_evaluate_is_brief_about_many_classes(tmp_path):
    y = np.arange(40).repeat(2)
    X = np.eye(40)[y]
    X[7] = X[30]
    fs.SoftmaxModel(9 * np.eye(40), np.zeros(40), np.arange(40)).save(tmp_path / "m.npz")
    np.savez(tmp_path / "d.npz", X=X, y=y)
    evaluate = "evaluate", tmp_path / "m.npz", tmp_path / "d.npz"
    rows = [line.split() for line in run(*evaluate).stdout.splitlines()]
    assert len(rows) < 50
    assert ["3", "1.0000", "0.5000", "0.6667", "2"] in rows  # first of the lowest scores
    assert rows[-1] == ["3", "15", "1"]
    assert ["39", "1.0000", "1.0000", "1.0000", "2"] not in rows
    np.savez(tmp_path / "d.npz", X=np.delete(X, 7, axis=0), y=np.delete(y, 7))
    assert "confused" not in run(*evaluate).stdout


def test_labels_that_a_model_does_not_know_are_named(frame, trained, tmp_path):
    odd = frame.with_columns(kind=pl.when(pl.col("n") == 2).then(pl.lit("hot")).otherwise("kind"))
    odd.write_csv(tmp_path / "odd.csv")
    evaluate = "evaluate", trained
    fails(
        run(*evaluate, tmp_path / "odd.csv", "--label", "kind"),
        "odd.csv: the label 'hot' in row 3 is not one of the model's classes: 'dry', 'wet'",
    )
    fails(run(*evaluate, tmp_path / "data.csv", "--label", "n"), "lacks 'n'")
    fails(run(*evaluate, tmp_path / "data.csv"), "name the label with --label")
    fails(run(*evaluate, tmp_path / "data.csv", "--label", "b", "--plot", "c.txt"), "--plot must")
    np.savez(tmp_path / "d.npz", X=np.zeros((2, 3)), y=np.arange(2))
    fails(run(*evaluate, tmp_path / "d.npz"), "the label 0 in row 0 (counted from 0)")
    np.savez(tmp_path / "d.npz", X=np.zeros((0, 3)), y=np.array([], str))
    fails(run(*evaluate, tmp_path / "d.npz"), "d.npz has no rows")


def test_errors_are_one_line_with_exit_code_2(frame, trained, tmp_path):
    csv = tmp_path / "data.csv"
    fails(run("train", tmp_path / "none.csv"), "none.csv", "no such file")
    fails(run("train", csv), "--label", "'a'")
    fails(run("train", csv, "--label", "zzz"), "'zzz'", "'kind'")
    fails(run("train", csv, "--label", "a", "--epochs", "3"), "'kind'", "row 1", "not a number")
    fails(run("train", csv, "--label", "kind", "--test-fraction", "1"), "--test-fraction")
    fails(run("train", csv, "--label", "kind", "-o", tmp_path / "no" / "m.npz"), "no folder")
    fails(run("train", csv, "--label", "kind", "--epochs", "-1"), "epochs")
    fails(run("train", "--learning-rate", "1e39", "--epochs", "1"), "epoch 0", "learning_rate")
    fails(run("predict", csv, csv), "data.csv", "not a fastsoftmax model")
    frame.drop("b").write_csv(tmp_path / "short.csv")
    fails(run("predict", trained, tmp_path / "short.csv"), "'b'")
    (tmp_path / "table.xlsx").write_bytes(b"PK")
    fails(run("train", tmp_path / "table.xlsx"), ".parquet")
    (tmp_path / "bad.parquet").write_bytes(b"not parquet at all")
    fails(run("train", tmp_path / "bad.parquet", "--label", "a"), "bad.parquet")
    (tmp_path / "bad.npz").write_bytes(b"PK not a zip")
    fails(run("train", tmp_path / "bad.npz"), "bad.npz")
    (tmp_path / "empty.csv").write_text("")
    fails(run("train", tmp_path / "empty.csv", "--label", "a"), "empty.csv")
    (tmp_path / "head.csv").write_text("a,kind\n")
    fails(run("train", tmp_path / "head.csv", "--label", "kind"), "head.csv", "no rows")
    np.save(tmp_path / "cube.npy", np.zeros((2, 2, 2)))
    fails(run("train", tmp_path / "cube.npy", "--label", "0"), "two-dimensional")
    np.save(tmp_path / "flat.npy", np.zeros((5, 2)))
    fails(run("train", tmp_path / "flat.npy", "--label", "7"), "--label")
    np.savez(tmp_path / "y.npz", X=np.zeros((3, 2)))
    fails(run("train", tmp_path / "y.npz"), "'y'")


@pytest.mark.parametrize(
    ("cell", "words"), [("", ("no value", "row 3")), ("tall", ("'tall'", "row 3", "not a number"))]
)
def test_bad_cells_are_named_and_nothing_is_written(tmp_path, cell, words):
    (tmp_path / "d.csv").write_text(f"a,y\n1,0\n2,1\n{cell},1\n4,0\n")
    before = sorted(tmp_path.iterdir())
    result = run("train", tmp_path / "d.csv", "--label", "y", "-o", tmp_path / "m.npz")
    fails(result, "'a'", *words)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("cell", ["nan", "inf", "-inf"])
def test_non_finite_cells_are_named_where_the_file_has_them(trained, tmp_path, cell):
    """Rows of tables count from 1, as in the other errors; indices of arrays from 0."""
    rows = [f"{i},{2 * i},{i % 2},wet" for i in range(40)]
    rows[30] = f"{cell},1,1,dry"
    (tmp_path / "d.csv").write_text("\n".join(["b,n,a,y", *rows]))
    place = "d.csv", "column 'b'", cell, "row 31,"
    fails(run("train", tmp_path / "d.csv", "--label", "y"), *place)
    fails(run("predict", trained, tmp_path / "d.csv"), *place)
    X = np.arange(120.0).reshape(40, 3)
    y = X[:, 0] % 2
    np.savez(tmp_path / "y.npz", X=X.copy(), y=np.where(y == y[7], y, float(cell)))
    X[30, 2] = float(cell)
    np.save(tmp_path / "d.npy", X)
    np.savez(tmp_path / "X.npz", X=X, y=y)
    for path, label in (("d.npy", 0), ("d.npy", 2), ("X.npz", "y")):
        fails(run("train", tmp_path / path, "--label", label), path, cell, "row 30, column 2 ")
    fails(run("predict", trained, tmp_path / "d.npy"), cell, "row 30, column 2 ")
    fails(run("train", tmp_path / "y.npz"), "y.npz", cell, "label 0 ")


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_label_that_is_not_finite_is_named(tmp_path, ending):
    frame = pl.DataFrame({"a": [1.0, 2.0, 3.0], "y": [0.0, 1.0, float("nan")]})
    path = tmp_path / f"d.{ending}"
    frame.write_csv(path) if ending == "csv" else frame.write_parquet(path)
    fails(run("train", path, "--label", "y"), "column 'y'", "nan", "row 3,")


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (["01", "1", "2"], "U"),
        (["1e3", "2e3"], "U"),
        (["True", "False"], "U"),
        (["+1", "-1"], "U"),
        (["1", "2.0"], "U"),
        (["18446744073709551616", "0"], "U"),
        (["-1", "12"], "i"),
        (["1.0", "2.0"], "f"),
    ],
)
def test_predictions_are_spelt_as_the_labels_were(tmp_path, labels, kind):
    rows = [f"{i % len(labels)},{labels[i % len(labels)]}" for i in range(12)]
    (tmp_path / "d.csv").write_text("\n".join(["a,y", *rows]))
    train = "train", tmp_path / "d.csv", "--label", "y", "-o", tmp_path / "m.npz"
    result = run(*train, "--test-fraction", 0, "--epochs", 200)
    assert result.exit_code == 0, result.output
    assert fs.SoftmaxModel.load(tmp_path / "m.npz").classes.dtype.kind == kind
    predict = "predict", tmp_path / "m.npz", tmp_path / "d.csv"
    assert run(*predict).stdout.split() == ["prediction", *(row.split(",")[1] for row in rows)]
    assert set(run(*predict, "--proba").stdout.split()[0].split(",")) == set(labels)


@pytest.mark.parametrize("labels", ["1 2.5", "1.0 2.5"])
def test_labels_with_decimals_look_continuous(tmp_path, labels):
    (tmp_path / "d.csv").write_text("\n".join(["a,y", *(f"1,{label}" for label in labels.split())]))
    fails(run("train", tmp_path / "d.csv", "--label", "y"), "'y'", "2.5 in row 2", "continuous")


def test_a_failed_predict_leaves_the_old_output(trained, tmp_path):
    out = tmp_path / "out.csv"
    out.write_text("precious\n")
    (tmp_path / "new.csv").write_text("a,b,n\n1,x,0\n")
    fails(run("predict", trained, tmp_path / "new.csv", "-o", out), "'b'")
    assert out.read_text() == "precious\n"


def test_without_the_extra_the_command_says_so():
    code = "import sys; sys.modules['typer'] = None; from fastsoftmax.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip() == "fastsoftmax: typer is missing; pip install 'fastsoftmax[cli]'"


def test_version():
    assert run("--version").stdout.strip() == fs.__version__


def test_the_comparison_takes_few_rows_where_classes_are_many(monkeypatch):
    """NumPy has arrays of rows x classes; 200,000 x 3000 of them took 4 GB."""
    sizes = []

    def numpys(X, y, W, b):
        sizes.append((len(X), W.shape[1]))
        time.sleep(0.02)  # or it would be compared thousands of times

    monkeypatch.setattr(timing, "baseline_loss_and_gradient", numpys)
    model = fs.SoftmaxModel(np.zeros((8, 3000)), np.zeros(3000), np.arange(3000))
    commands._compare(model, np.zeros((10_000, 8)), np.zeros(10_000, int))
    assert len(set(sizes)) == 1
    assert sizes[0][0] > 100
    assert np.prod(sizes[0]) * 8 < 10e6


def test_a_comparison_without_memory_fails_nothing(frame, tmp_path, monkeypatch):
    def numpys(X, y, W, b):
        raise MemoryError

    monkeypatch.setattr(timing, "baseline_loss_and_gradient", numpys)
    frame.write_csv(tmp_path / "data.csv")
    result = run("train", tmp_path / "data.csv", "--label", "kind", "-o", tmp_path / "m.npz")
    assert result.exit_code == 0, result.output
    assert "test accuracy" in result.stdout
    assert "model saved" in result.stdout
    assert "NumPy" not in result.stdout


@pytest.fixture
def heeds_ctrl_c():
    """As in a terminal: what a shell starts in the background ignores the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(os.name != "posix", reason="a signal is sent as POSIX does")
@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_saves_what_was_learnt(frame, tmp_path, monkeypatch):
    def interrupted(*arguments, **options):
        def interrupt(epoch):
            if epoch.epoch == 2:
                signal.raise_signal(signal.SIGINT)

        return fs.fit_sgd(*arguments, **options, callback=interrupt)

    monkeypatch.setattr(commands, "fit_sgd", interrupted)
    frame.write_csv(tmp_path / "data.csv")
    train = "train", tmp_path / "data.csv", "--label", "kind", "--epochs", 10000
    result = run(*train, "-o", tmp_path / "m.npz")
    assert result.exit_code == 130
    said = result.stderr.strip().splitlines()[-1]
    assert said.startswith("fastsoftmax: interrupted after 3 epochs; ")
    assert said.endswith(f"saved as {tmp_path / 'm.npz'}")
    assert fs.SoftmaxModel.load(tmp_path / "m.npz").W.any()
    result = run(*train)
    assert result.exit_code == 130
    assert result.stderr.strip().endswith("fastsoftmax: interrupted after 3 epochs")


@pytest.mark.skipif(os.name != "posix", reason="a signal is sent as POSIX does")
@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_on_the_way_to_the_optimum(trained, tmp_path, monkeypatch):
    """What was learnt is saved; what was not takes the place of no older model."""
    fit, step = fs.fit, 0

    def interrupted(*arguments, progress, **options):
        def interrupt(done, objective, gap):
            if done == step:
                signal.raise_signal(signal.SIGINT)

        if step < 0:
            monkeypatch.setattr(LBFGS, "step", lambda *a: signal.raise_signal(signal.SIGINT))
        return fit(*arguments, progress=interrupt, **options)

    monkeypatch.setattr(commands, "fit", interrupted)
    older = trained.read_bytes()
    out = "--optimum", "--tol", 1e-9, "-o", trained
    train = "train", tmp_path / "data.csv", "--label", "kind", *out
    result = run(*train)
    assert result.exit_code == 130
    said = result.stderr.strip().splitlines()[-1]
    assert re.match(r"fastsoftmax: interrupted after [\d.]+ passes; what was learnt by then", said)
    assert said.endswith(f" is saved as {trained}")
    learnt = trained.read_bytes()
    assert learnt != older
    step = -1
    result = run(*train)
    assert result.exit_code == 130
    assert result.stderr.strip().splitlines()[-1] == "fastsoftmax: interrupted"
    assert trained.read_bytes() == learnt


def test_ctrl_c_elsewhere_is_one_line(trained, tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands.data, "read", interrupt)
    result = run("predict", trained, tmp_path / "data.csv")
    assert result.exit_code == 130
    assert result.stderr == "fastsoftmax: interrupted\n"


def read_something(reader):
    """From a pipe whose writer may open and close it before it opens it to write."""
    for _ in range(6000):
        with suppress(BlockingIOError):  # a writer, but nothing written
            if os.read(reader, 1):
                return
        time.sleep(0.01)
    pytest.fail("nothing was written")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are POSIX's")
@pytest.mark.parametrize("arguments", [["predict"], ["predict", "-o"], ["train"]])
def test_a_reader_that_goes_away_is_one_line(trained, tmp_path, arguments):
    """Of standard output, where Python would have a last word at its end, and of a named pipe."""
    command, *option = arguments
    rows = "1.5,wet,2.5,0\n" * 20_000  # more than a pipe holds
    (tmp_path / "large.csv").write_text("a,kind,b,n\n" + rows)
    given = [trained, tmp_path / "large.csv"]
    if command == "train":
        given = [tmp_path / "data.csv", "--label", "kind", "--epochs", 1]
    pipe = tmp_path / "pipe"
    if option:
        os.mkfifo(pipe)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        given += [*option, pipe]
    process = subprocess.Popen(
        [sys.executable, "-c", "from fastsoftmax.cli import main; main()", command]
        + [str(argument) for argument in given],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    if option:
        read_something(reader)
        os.close(reader)
    process.stdout.close()
    line = process.stderr.read().strip().splitlines()[-1]
    process.stderr.close()
    assert process.wait(60) == 2
    assert line == "fastsoftmax: whoever read the output closed it"
