import numpy as np
import polars as pl
import pytest

from fastsoftmax.cli.training import fitting


def test_wrong_commands_are_one_line_with_exit_code_2(run, misused, frame, trained, tmp_path):
    csv = tmp_path / "data.csv"
    train = "train", csv, "--label", "kind"
    misused(run("train", tmp_path / "none.csv"), "none.csv", "no such file")
    misused(
        run("predict", tmp_path / "none.npz", csv), "none.npz", "no such model file", "train -o"
    )
    misused(run("train", csv), "--label", "'a'")
    misused(run("train", csv, "--label", "zzz"), "'zzz'", "'kind'")
    misused(run("train", tmp_path / "table.xlsx"), "table.xlsx")
    (tmp_path / "table.xlsx").write_bytes(b"PK")
    misused(run("train", tmp_path / "table.xlsx"), ".parquet")
    np.save(tmp_path / "flat.npy", np.zeros((5, 2)))
    misused(run("train", tmp_path / "flat.npy", "--label", "7"), "--label")
    misused(run("train", tmp_path / "flat.npy", "--label", "0", "--drop", "1"), "--drop is for tab")
    misused(
        run("predict", trained, tmp_path / "flat.npy", "--keep", "a"), "--keep", "named columns"
    )
    for command in ("predict", "evaluate"):
        misused(run(command, trained, tmp_path / "flat.npy", "--missing", "drop"), "--missing is")
    misused(run("predict", trained, csv, "-o", "p.npz"), "--output must end in .csv, .tsv or .parq")
    misused(run("predict", trained, csv, "--keep", "id"), "--keep", "'id'", "'kind'")
    for option, value, words in (
        ("--test-fraction", 1, "at least 0 and below 1, got 1"),
        ("-o", tmp_path / "no" / "m.npz", "no folder"),
        ("-o", tmp_path, "is a folder"),
        ("--epochs", 0, "--epochs must be at least 1, got 0"),
        ("--batch-size", 0, "--batch-size must be at least 1"),
        ("--learning-rate", "nan", "--learning-rate must be at least 0, got nan"),
        ("--learning-rate", -1, "--learning-rate must be at least 0, got -1"),
        ("--momentum", 1, "--momentum must be at least 0 and below 1"),
        ("--l2", "inf", "--l2 must be at least 0, got inf"),
        ("--seed", -1, "--seed must be at least 0, got -1"),
        ("--threads", 0, "--threads must be from 1 to"),
        ("--dtype", "int8", "--dtype must be auto, float32 or float64, got 'int8'"),
        ("--missing", "guess", "--missing must be refuse, drop or fill, got 'guess'"),
        ("--separator", ";;", "--separator must be one ASCII character"),
        ("--features", "a,z", "has no column 'z'"),
        ("--text", "kind", "--text: 'kind' is the column of labels"),
        ("--drop", "z", "has no column 'z'"),
        ("--test", tmp_path / "none.csv", "no such file"),
    ):
        misused(run(*train, option, value), words)
    both = "--no-holdout", "--test", csv
    for options in (both, ("--refit", "--no-holdout"), ("--test", csv, "--test-fraction", 0.1)):
        misused(run(*train, *options), "leave")


def test_work_that_fails_is_one_line_with_exit_code_1(run, fails, frame, trained, tmp_path):
    csv = tmp_path / "data.csv"
    fails(run("predict", csv, csv), "data.csv", "not a fastsoftmax model")
    frame.drop("b").write_csv(tmp_path / "short.csv")
    fails(run("predict", trained, tmp_path / "short.csv"), "'b'")
    (tmp_path / "bad.parquet").write_bytes(b"not parquet at all")
    fails(run("train", tmp_path / "bad.parquet", "--label", "a"), "bad.parquet")
    (tmp_path / "bad.npz").write_bytes(b"PK not a zip")
    fails(run("train", tmp_path / "bad.npz"), "bad.npz")
    (tmp_path / "bad.csv.gz").write_bytes(b"\x1f\x8bno")
    fails(run("train", tmp_path / "bad.csv.gz"), "bad.csv.gz could not be read")
    (tmp_path / "ragged.csv").write_text("a,y\n1,2\n1,2,3\n")
    fails(run("train", tmp_path / "ragged.csv"), "ragged.csv could not be read", "more fields")
    (tmp_path / "empty.csv").write_text("")
    fails(run("train", tmp_path / "empty.csv", "--label", "a"), "empty.csv")
    (tmp_path / "head.csv").write_text("a,kind\n")
    fails(run("train", tmp_path / "head.csv", "--label", "kind"), "head.csv", "no rows")
    fails(run("evaluate", trained, tmp_path / "head.csv", "--label", "kind"), "'b', 'n'")
    np.save(tmp_path / "cube.npy", np.zeros((2, 2, 2)))
    fails(run("train", tmp_path / "cube.npy", "--label", "0"), "two-dimensional")
    np.savez(tmp_path / "y.npz", X=np.zeros((3, 2)))
    fails(run("train", tmp_path / "y.npz"), "'y'")
    (tmp_path / "alone.csv").write_text("y\n0\n1\n")
    fails(run("train", tmp_path / "alone.csv"), "alone.csv has no feature columns")


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_another_separator_is_noticed(run, misused, tmp_path, separator):
    (tmp_path / "d.csv").write_text(separator.join("ay") + "\n" + f"1{separator}2\n")
    misused(run("train", tmp_path / "d.csv"), "has one column", "--separator")


def test_divergence_speaks_of_the_options(run, fails, tmp_path):
    out = "-o", tmp_path / "m.npz"
    for rate, epoch in (("1e39", 1), ("1000", 3)):  # the loss overflows, or ends far too high
        result = run("train", "--learning-rate", rate, "--epochs", 3, *out)
        told = f"diverged in epoch {epoch}", f"--learning-rate {float(rate):g} is too high"
        fails(result, *told, "not saved")
    assert not (tmp_path / "m.npz").exists()


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (range(1500), ("1500 different labels in 3000 rows", "a measurement", "--many-classes")),
        ([f"id{i}" for i in range(3000)], ("3000 different labels", "names of the rows")),
        ([7], ("all 3000 rows have the label 7", "at least two")),
    ],
)
@pytest.mark.parametrize("ending", ["csv", "npz"])
def test_labels_that_are_no_classes_stop_before_the_training(
    run, fails, tmp_path, monkeypatch, labels, words, ending
):
    y = np.resize(np.array(labels), 3000)
    x = np.arange(3000) % 7
    path = tmp_path / f"d.{ending}"
    if ending == "csv":
        pl.DataFrame({"x": x, "y": y}).write_csv(path)
    else:
        np.savez(path, X=x[:, None], y=y)
    monkeypatch.setattr(fitting, "fit_sgd", lambda *a, **k: pytest.fail("it was trained"))
    fails(run("train", path), "d.", "labels" if ending == "npz" else "column 'y'", *words)


def test_many_classes_are_trained_on_request(run, tmp_path):
    y = np.arange(100) % 60
    np.savez(tmp_path / "d.npz", X=np.eye(60)[y], y=y)
    train = "train", tmp_path / "d.npz", "--epochs", 1
    assert run(*train).exit_code == 1
    assert run(*train, "--many-classes").exit_code == 0


@pytest.mark.parametrize(
    ("cell", "words"), [("", ("no value", "row 3")), ("tall", ("'tall'", "row 3", "not a number"))]
)
def test_bad_cells_are_named_and_nothing_is_written(run, fails, tmp_path, cell, words):
    (tmp_path / "d.csv").write_text(f"a,y\n1,0\n2,1\n{cell},1\n4,0\n")
    before = sorted(tmp_path.iterdir())
    result = run("train", tmp_path / "d.csv", "--label", "y", "-o", tmp_path / "m.npz")
    fails(result, "'a'", *words)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("cell", ["nan", "inf", "-inf"])
def test_non_finite_cells_are_named_where_the_file_has_them(run, fails, trained, tmp_path, cell):
    """Rows of tables count from 1, as in the other errors; indices of arrays from 0."""
    rows = [f"{i},{2 * i},{i % 2},wet" for i in range(40)]
    rows[30] = f"{cell},1,1,dry"
    (tmp_path / "d.csv").write_text("\n".join(["b,n,a,y", *rows]))
    place = ["d.csv", "column 'b'", "has no value" if cell == "nan" else cell, "in row 31"]
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
def test_a_label_that_is_not_finite_is_named(run, fails, tmp_path, ending):
    frame = pl.DataFrame({"a": [1.0, 2.0, 3.0], "y": [0.0, 1.0, float("nan")]})
    path = tmp_path / f"d.{ending}"
    frame.write_csv(path) if ending == "csv" else frame.write_parquet(path)
    fails(run("train", path, "--label", "y"), "column 'y'", "nan", "row 3,")


@pytest.mark.parametrize("labels", ["1 2.5", "1.0 2.5"])
def test_labels_with_decimals_look_continuous(run, fails, tmp_path, labels):
    (tmp_path / "d.csv").write_text("\n".join(["a,y", *(f"1,{label}" for label in labels.split())]))
    fails(run("train", tmp_path / "d.csv", "--label", "y"), "'y'", "2.5 in row 2", "continuous")
