import io

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

import fastsoftmax as fs
from fastsoftmax.cli.output import counting


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_columns_are_matched_by_name_and_the_label_ignored(run, frame, trained, tmp_path, ending):
    model = fs.SoftmaxModel.load(trained)
    assert model.feature_names == ("a", "b", "n")
    X = frame.select("a", "b", "n").to_numpy().astype(np.float32)
    shuffled = frame.select("n", "kind", "b", "a")
    path = tmp_path / f"new.{ending}"
    shuffled.write_csv(path) if ending == "csv" else shuffled.write_parquet(path)
    out = tmp_path / "out.csv"
    assert run("predict", trained, path, "-o", out).exit_code == 0
    assert pl.read_csv(out)["prediction"].to_list() == model.predict(X).tolist()
    assert np.mean(model.predict(X) == frame["kind"].to_numpy()) > 0.95
    assert run("predict", trained, path, "-o", out, "--proba").exit_code == 0
    P = pl.read_csv(out)
    assert P.columns == ["prediction", "dry", "wet"]
    truth = fs.predict_proba(*(part.astype(np.float64) for part in (X, model.W, model.b)))
    np.testing.assert_allclose(P.drop("prediction").to_numpy(), truth, rtol=1e-6)


def test_predict_prints_without_an_output(run, frame, trained, tmp_path):
    result = run("predict", trained, tmp_path / "data.csv")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 201
    assert result.stdout.startswith("prediction\n")


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
def test_predictions_are_spelt_as_the_labels_were(run, tmp_path, labels, kind):
    rows = [f"{i % len(labels)},{labels[i % len(labels)]}" for i in range(12)]
    (tmp_path / "d.csv").write_text("\n".join(["a,y", *rows]))
    train = "train", tmp_path / "d.csv", "--label", "y", "-o", tmp_path / "m.npz"
    result = run(*train, "--test-fraction", 0, "--epochs", 200)
    assert result.exit_code == 0, result.output
    assert fs.SoftmaxModel.load(tmp_path / "m.npz").classes.dtype.kind == kind
    predict = "predict", tmp_path / "m.npz", tmp_path / "d.csv"
    assert run(*predict).stdout.split() == ["prediction", *(row.split(",")[1] for row in rows)]
    columns = run(*predict, "--proba").stdout.split()[0].split(",")
    assert columns[0] == "prediction"
    assert set(columns[1:]) == set(labels)


def test_a_failed_predict_leaves_the_old_output(run, fails, trained, tmp_path):
    out = tmp_path / "out.csv"
    out.write_text("precious\n")
    (tmp_path / "new.csv").write_text("a,b,n\n1,x,0\n")
    fails(run("predict", trained, tmp_path / "new.csv", "-o", out), "'b'")
    assert out.read_text() == "precious\n"


def test_columns_are_kept_beside_the_predictions(run, misused, frame, trained, tmp_path):
    frame = frame.with_columns(dry=pl.lit(1), id=pl.int_range(1000, 1200))
    frame.write_csv(tmp_path / "new.csv")
    predict = "predict", trained, tmp_path / "new.csv", "-o", tmp_path / "out.csv"
    model = fs.SoftmaxModel.load(trained)
    predicted = model.predict(frame.select("a", "b", "n").to_numpy()).tolist()
    for options, columns in (
        ((), ["prediction"]),
        (("--keep", "id"), ["id", "prediction"]),
        (("--keep", "b,id", "--keep", "kind"), ["b", "id", "kind", "prediction"]),
        (("--keep-all",), [*frame.columns, "prediction"]),
        (("--keep", "id", "--proba"), ["id", "prediction", "dry", "wet"]),
        (("--keep", "dry", "--proba"), ["dry", "prediction", "probability of dry", "wet"]),
    ):
        result = run(*predict, *options)
        assert result.exit_code == 0, result.output
        out = pl.read_csv(tmp_path / "out.csv")
        assert out.columns == columns
        assert out["prediction"].to_list() == predicted
        kept = columns[: columns.index("prediction")]
        assert out.select(kept).equals(frame.select(kept))
    misused(run(*predict, "--keep", "id", "--keep-all"), "--keep-all keeps the columns of --keep")
    (tmp_path / "out.csv").rename(tmp_path / "new.csv")
    frame.with_columns(prediction=0).write_csv(tmp_path / "new.csv")
    misused(run(*predict, "--keep-all"), "has a column 'prediction' already")


def test_predictions_are_written_by_the_ending(run, frame, trained, tmp_path):
    predict = "predict", trained, tmp_path / "data.csv", "--proba", "--keep", "n"
    text = run(*predict).stdout
    csv = pl.read_csv(text.encode())
    for name, read in (
        ("p.parquet", pl.read_parquet),
        ("p.PARQUET", pl.read_parquet),
        ("p.tsv", lambda path: pl.read_csv(path, separator="\t")),
        ("p.csv", pl.read_csv),
    ):
        assert run(*predict, "-o", tmp_path / name).exit_code == 0
        out = read(tmp_path / name)
        assert out.columns == csv.columns
        assert out["prediction"].to_list() == csv["prediction"].to_list()
        np.testing.assert_allclose(out["wet"], csv["wet"], rtol=1e-6)
    assert pl.read_parquet(tmp_path / "p.parquet").schema["wet"] == pl.Float32


def test_few_rows_are_left_to_numpy_with_the_same_predictions(run, frame, trained, monkeypatch):
    """Loading the compiled functions takes longer; both agree to rounding."""
    command = "predict", trained, trained.parent / "data.csv", "--proba"
    few = pl.read_csv(run(*command).stdout.encode())
    monkeypatch.setattr("fastsoftmax.cli.predict._FEW", 0)
    many = pl.read_csv(run(*command).stdout.encode())
    assert few["prediction"].to_list() == many["prediction"].to_list()
    np.testing.assert_allclose(few["wet"], many["wet"], rtol=1e-5)
    assert few["wet"].to_list() != many["wet"].to_list()  # it is another route


@pytest.mark.parametrize("ending", ["csv", "parquet", "npy"])
def test_predictions_are_written_as_rows_are_read(
    run, frame, trained, tmp_path, monkeypatch, ending
):
    """In parts, with what the rows in one part give."""
    features = frame.select("a", "b", "n")
    path = tmp_path / f"new.{ending}"
    if ending == "npy":
        np.save(path, features.to_numpy())
        options = ("--proba",)
    else:
        gaps = frame.with_row_index("id").with_columns(b=pl.when(pl.col("id") % 7 > 0).then("b"))
        if ending == "csv":
            gaps.write_csv(path)
        else:
            gaps.write_parquet(path, row_group_size=30)
        options = "--proba", "--keep", "id", "--missing", "drop"
    monkeypatch.setattr("fastsoftmax.cli.predict._FEW", 0)
    predict = "predict", trained, path, *options, "-o"
    whole = run(*predict, tmp_path / "whole.parquet")
    monkeypatch.setattr("fastsoftmax.cli.tables.delimited._BLOCK", 500)
    monkeypatch.setattr("fastsoftmax.cli.applying._PART", 30)
    monkeypatch.setattr("fastsoftmax.cli.tables.table._ROWS", 13)  # of groups of 30
    in_parts = run(*predict, tmp_path / "parts.parquet")
    assert in_parts.exit_code == whole.exit_code == 0, in_parts.output
    assert in_parts.stderr == whole.stderr
    expected = pl.read_parquet(tmp_path / "whole.parquet")
    assert len(expected) == len(frame)
    assert pl.read_parquet(tmp_path / "parts.parquet").equals(expected)
    n_parts = pq.read_metadata(tmp_path / "parts.parquet").num_row_groups
    assert n_parts >= (15 if ending == "parquet" else 2)
    run(*predict, tmp_path / "parts.csv")
    assert (tmp_path / "parts.csv").read_text() == expected.write_csv()


def test_a_pattern_means_several_files(run, fails, misused, frame, trained, tmp_path):
    whole, out = tmp_path / "whole.parquet", tmp_path / "out.csv"
    frame.write_parquet(whole)
    for i, part in enumerate((frame[:50], frame[50:120], frame[120:])):
        part.write_parquet(tmp_path / f"part-{i}.parquet")
    expected = run("predict", trained, whole).stdout
    assert run("predict", trained, tmp_path / "part-*.parquet", "-o", out).exit_code == 0
    assert out.read_text() == expected
    frame.drop("b").write_parquet(tmp_path / "part-3.parquet")
    fails(run("predict", trained, tmp_path / "part-*.parquet"), "part-*.parquet", "b")
    (tmp_path / "part-4.csv").write_text("a\n1\n")
    misused(run("predict", trained, tmp_path / "part-*"), "only .parquet are read", "part-4.csv")
    misused(run("predict", trained, tmp_path / "none-*.parquet"), "no file matches")


def test_no_rows_have_no_predictions(run, trained, tmp_path):
    (tmp_path / "none.csv").write_text("a,b,n,id\n")
    out = tmp_path / "out.parquet"
    assert run("predict", trained, tmp_path / "none.csv", "--keep", "id", "-o", out).exit_code == 0
    assert pl.read_parquet(out).schema == {"id": pl.String, "prediction": pl.String}


def test_rows_are_counted_on_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stream, words in ((Terminal(), "predicted for 1,500 rows"), (io.StringIO(), "")):
        monkeypatch.setattr("sys.stderr", stream)
        with counting("predicted for") as count:
            count(1000)
            count(500)
        assert words in stream.getvalue()
        assert bool(stream.getvalue()) == bool(words)
