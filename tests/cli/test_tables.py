"""What tables may hold, and how their columns become features."""

import datetime
import gzip
import tracemalloc

import numpy as np
import polars as pl
import pytest

import fastsoftmax as fs
from fastsoftmax.cli.tables import delimited
from fastsoftmax.cli.tables.encoding import encode
from fastsoftmax.cli.tables.learning import learn
from fastsoftmax.cli.tables.recipe import Recipe


@pytest.fixture
def mixed():
    """Each column tells the label `y` in part; as a file may hold them."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, 90)
    return pl.DataFrame(
        {
            "number": y + rng.normal(size=90) / 9,
            "city": np.array(["Bern", "Ulm, south", 'a "q"'])[y],
            "flag": y == 1,
            "y": np.array(["low", "mid", "top"])[y],
        }
    )


def train(run, path, *options):
    result = run("train", path, "-o", path.parent / "m.npz", "--epochs", 30, *options)
    assert result.exit_code == 0, result.output
    return fs.SoftmaxModel.load(path.parent / "m.npz")


def predictions(run, path, *options):
    result = run("predict", path.parent / "m.npz", path, *options)
    assert result.exit_code == 0, result.output
    return pl.read_csv(result.stdout.encode(), infer_schema=False)["prediction"].to_list()


FEATURES = ("number", 'city=a "q"', "city=Bern", "city=Ulm, south", "flag")


@pytest.mark.parametrize("name", ["d.csv", "D.CSV", "d.tsv", "d.csv.gz", "d.TSV.GZ", "d.Parquet"])
def test_files_of_any_ending_are_read_alike(run, mixed, tmp_path, name):
    path = tmp_path / name
    separator = "\t" if "tsv" in name.lower() else ","
    if name.endswith("gz"):
        path.write_bytes(gzip.compress(mixed.write_csv(separator=separator).encode()))
    elif name == "d.Parquet":
        mixed.with_columns(pl.col("city").cast(pl.Categorical)).write_parquet(path)
    else:
        mixed.write_csv(path, separator=separator)
    model = train(run, path)
    assert sorted(model.feature_names) == sorted(FEATURES)
    assert model.W.dtype == np.float32
    assert predictions(run, path) == mixed["y"].to_list()


def test_standard_input_is_a_csv_or_parquet(run, mixed, tmp_path):
    out = "-o", tmp_path / "m.npz"
    text = mixed.write_csv().encode()
    mixed.write_parquet(tmp_path / "d.parquet")
    for stdin in (text, gzip.compress(text), (tmp_path / "d.parquet").read_bytes()):
        result = run("train", "-", *out, stdin=stdin)
        assert result.exit_code == 0, result.output
        assert "NEW.csv" in result.stdout
        result = run("predict", tmp_path / "m.npz", "-", stdin=stdin)
        assert result.stdout.split() == ["prediction", *mixed["y"]]
    result = run("train", "-", "--separator", ";", stdin=mixed.write_csv(separator=";").encode())
    assert result.exit_code == 0, result.output
    assert run("train", "-", stdin=b"").exit_code == 1


def test_blocks_end_where_rows_do(tmp_path, monkeypatch):
    """Also where cells hold newlines in quotes, and rows are longer than a block."""
    cells = ["plain", 'a "b"\nc', "x" * 300, "\n\n", '"', "", "é\n" * 9]
    frame = pl.DataFrame({"a": cells * 20, "n": [str(i) for i in range(140)]})
    frame.write_csv(tmp_path / "d.csv")
    for size in (1, 7, 64, 1000, 1 << 20):
        monkeypatch.setattr(delimited, "_BLOCK", size)
        table = delimited.Delimited(tmp_path / "d.csv", "d.csv", ",", True)
        read = table.whole(["n", "a"])
        assert read["n"].to_list() == frame["n"].to_list()
        assert [cell or "" for cell in read["a"]] == frame["a"].to_list()
        assert table.count_rows() == 140


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_blank_lines_at_the_end_are_no_rows(run, fails, tmp_path, monkeypatch, end):
    """Many files have some. Others are rows without values, for predictions to be in line."""
    path = tmp_path / "d.csv"
    rows = ["x,y", *["1,a", "-1,b"] * 9]
    for size in (1, 5, 1 << 20):
        monkeypatch.setattr(delimited, "_BLOCK", size)
        path.write_bytes(end.join([*rows, "", "", ""]).encode())
        assert delimited.Delimited(path, "d.csv", ",", True).count_rows() == 18
    train(run, path)
    assert predictions(run, path) == ["a", "b"] * 9
    path.write_bytes(end.join([*rows[:5], "", *rows[5:]]).encode())
    fails(run("train", path), "'y' has no label in row 5")
    path.write_bytes(end.join(["x,z", "1,", ",", "-1,", ""]).encode())
    assert predictions(run, path, "--missing", "drop") == ["a", None, "b"]


def test_a_table_without_a_header(run, mixed, tmp_path):
    path = tmp_path / "d.csv"
    mixed.write_csv(path, include_header=False)
    model = train(run, path, "--no-header", "--label", -1)
    assert model.feature_names[0] == "0"
    assert predictions(run, path, "--no-header") == mixed["y"].to_list()
    mixed.select("y", "number", "city", "flag").write_csv(path, include_header=False)
    train(run, path, "--no-header", "--label", 0, "--drop", 2)
    mixed.select("number", "flag").write_csv(path, include_header=False)
    assert len(set(predictions(run, path, "--no-header"))) == 3  # columns are matched by position


def test_columns_are_chosen_by_names_with_commas(run, misused, mixed, tmp_path):
    mixed = mixed.rename({"flag": "a,b"})
    path = tmp_path / "d.csv"
    mixed.write_csv(path)
    assert train(run, path, "--features", "a,b").feature_names == ("a,b",)
    assert train(run, path, "--drop", "city, number").feature_names == ("a,b",)
    two = "--features", "number", "--features", "a,b"
    assert train(run, path, *two).feature_names == ("number", "a,b")
    assert train(run, path, *two, "--drop", "number").feature_names == ("a,b",)


def test_values_never_seen_have_no_category_and_are_counted(run, mixed, tmp_path):
    path = tmp_path / "d.csv"
    mixed.write_csv(path)
    model = train(run, path, "--drop", "number,flag")
    mixed.head(3).with_columns(city=pl.Series(["Bern", "Rome", "Oslo"])).write_csv(path)
    result = run("predict", tmp_path / "m.npz", path, "--proba")
    assert "column 'city': 2 rows of values that training did not have" in result.stderr
    P = pl.read_csv(result.stdout.encode()).drop("prediction").to_numpy()
    X = np.array([[0, 1, 0], [0, 0, 0], [0, 0, 0]])
    columns = [model.feature_names.index(f"city={c}") for c in ('a "q"', "Bern", "Ulm, south")]
    np.testing.assert_allclose(P, model.predict_proba(X[:, np.argsort(columns)]), rtol=1e-6)


def test_numbers_as_categories(run, tmp_path):
    path = tmp_path / "d.csv"
    code = np.arange(60) % 3
    pl.DataFrame({"code": code + 1000, "y": code == 1}).write_csv(path)
    assert train(run, path, "--categories", "code").feature_names == (
        "code=1000",
        "code=1001",
        "code=1002",
    )
    assert predictions(run, path) == [str(value).lower() for value in code == 1]


def test_lists_of_numbers_are_vectors(run, fails, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 5)).astype(np.float32)
    y = (X @ np.arange(5) > 0).astype(int)
    path = tmp_path / "d.parquet"
    for column in (pl.Series(X.tolist()), pl.Series(X)):
        pl.DataFrame({"e": column, "y": y}).write_parquet(path)
        model = train(run, path, "--no-holdout")
        assert model.feature_names == tuple(f"e[{i}]" for i in range(5))
        twin = fs.fit_sgd(X, y, epochs=30).model
        np.testing.assert_array_equal(model.W, twin.W)
        assert predictions(run, path) == [str(k) for k in twin.predict(X)]
    rows = X.tolist()
    rows[7] = rows[7][:4]
    pl.DataFrame({"e": rows, "y": y}).write_parquet(path)
    for command in (("train", path), ("predict", tmp_path / "m.npz", path)):
        fails(run(*command), "column 'e' holds 4 numbers in row 8, which should be 5")


@pytest.mark.parametrize(
    ("column", "what"),
    [
        (pl.Series([datetime.date(2024, 1, 5)] * 40), "dates"),
        (pl.Series([datetime.datetime(2024, 1, 5, 7)] * 40), "dates"),
        (pl.Series([datetime.time(7)] * 40), "times"),
        (pl.Series([datetime.timedelta(7)] * 40), "times"),
        (pl.Series([b"\xff"] * 40), "bytes"),
        (pl.Series([{"a": 1}] * 40), "records"),
        (pl.Series([["a"]] * 40), "lists of no numbers"),
        (pl.Series([None] * 40), "no values"),
        (pl.Series([None] * 40, dtype=pl.Categorical), "no values"),
        (pl.Series([None] * 40, dtype=pl.List(pl.Float32)), "no values"),
        (pl.Series([f"name {i}" for i in range(40)]), "40 different texts in 40 rows"),
    ],
)
def test_columns_that_are_no_features_are_refused_by_name(run, fails, tmp_path, column, what):
    """With what to do; and all at once."""
    frame = pl.DataFrame({"n": range(40), "when": column, "y": [0, 1] * 20, "also": column})
    told = f"column 'when' holds {what}, column 'also' holds {what}", "--drop when,also"
    frame.write_parquet(tmp_path / "d.parquet")
    fails(run("train", tmp_path / "d.parquet"), *told)
    out = "-o", tmp_path / "m.npz"
    assert run("train", tmp_path / "d.parquet", "--drop", "when,also", *out).exit_code == 0
    if not (column.dtype.is_nested() or column.dtype == pl.Binary or "times" in what):
        frame.write_csv(tmp_path / "d.csv")
        fails(run("train", tmp_path / "d.csv"), *told)


@pytest.mark.parametrize(
    ("ending", "missing"),
    [
        ("csv", ""),
        ("csv", "NA"),
        ("csv", " nan"),
        ("csv", "?"),
        ("parquet", None),
        ("parquet", "nan"),
    ],
)
def test_missing_values(run, fails, tmp_path, ending, missing):
    """Refused by default; left out; or filled by what the model keeps."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=60).round(3).tolist()
    y = [int(value > 0) for value in x]
    z = ["u", "v"] * 30
    x[9] = x[40] = None
    z[9] = z[20] = None
    frame = pl.DataFrame({"x": x, "z": z, "y": y})
    path = tmp_path / f"d.{ending}"
    if ending == "parquet":
        if missing is not None:
            frame = frame.with_columns(pl.col("x").fill_null(float("nan")))
        frame.write_parquet(path)
    else:
        text = frame["x"].cast(pl.String).fill_null(missing)
        frame.with_columns(x=text).write_csv(path)
    fails(
        run("train", path), "column 'x' has no value in row 10", "--missing drop", "--missing fill"
    )
    whole = [n for n in range(60) if n not in (9, 20, 40)]
    known = np.array([value for value in x if value is not None])
    filled = np.array([known.mean() if value is None else value for value in x])
    onehot = np.array([[value == "u", value == "v"] for value in z])
    X = np.column_stack([filled, onehot]).astype(np.float32)
    model = train(run, path, "--no-holdout", "--missing", "fill")
    np.testing.assert_array_equal(model.W, fs.fit_sgd(X, y, epochs=30).model.W)
    assert predictions(run, path) == [str(k) for k in model.predict(X)]
    result = run("train", path, "--no-holdout", "--missing", "drop", "-o", tmp_path / "m.npz")
    assert "3 of 60 rows with missing values are left out" in result.stderr
    model = fs.SoftmaxModel.load(tmp_path / "m.npz")
    np.testing.assert_array_equal(model.W, fs.fit_sgd(X[whole], np.array(y)[whole]).model.W)
    told = [str(k) if n in whole else None for n, k in enumerate(model.predict(X))]
    assert predictions(run, path) == told
    result = run("evaluate", tmp_path / "m.npz", path)
    assert "57 rows" in result.stdout
    assert "3 rows with missing values are left out" in result.stderr
    fails(run("predict", tmp_path / "m.npz", path, "--missing", "refuse"), "no value in row 10")


def test_rows_without_a_label(run, fails, tmp_path):
    path = tmp_path / "d.csv"
    rows = [f"{i},{i % 2}" for i in range(30)]
    rows[4] = "4,"
    path.write_text("\n".join(["x,y", *rows]))
    for missing in ("refuse", "fill"):
        fails(
            run("train", path, "--missing", missing), "'y' has no label in row 5", "--missing drop"
        )
    result = run("train", path, "--missing", "drop", "-o", tmp_path / "m.npz")
    assert "1 of 30 rows with missing values are left out" in result.stderr
    assert "29 rows" in run("evaluate", tmp_path / "m.npz", path).stdout


@pytest.mark.parametrize(
    ("column", "dtype"),
    [
        (["1e3", "+2", "-.5", "0"], "float32"),
        (["true", "FALSE", "True", "false"], "float32"),
        (["16777217", "0", "3", "9"], "float32"),
        (["1e-40", "2e-40", "0", "1"], "float32"),
        (["1700000001", "1700000002", "1700000003", "1700000004"], "float64"),
        (["1e31", "0", "1", "2"], "float64"),
        (["1e-31", "0", "0", "2e-31"], "float64"),
        (["5", "5", "5", "5"], "float32"),
    ],
)
def test_float32_is_taken_unless_it_would_lose_digits(run, fails, tmp_path, column, dtype):
    path = tmp_path / "d.csv"
    path.write_text("\n".join(["x,y", *(f"{cell},{n % 2}" for n, cell in enumerate(column))]))
    assert train(run, path, "--no-standardize").W.dtype == dtype
    assert train(run, path, "--no-standardize", "--dtype", "float64").W.dtype == "float64"
    if column[0] == "1e31":
        path.write_text("x,y\n1e39,0\n2,1\n")
        fails(run("train", path, "--dtype", "float32"), "1e+39 in row 1", "too large for float32")


def test_a_large_csv_takes_little_more_memory_than_its_numbers(run, tmp_path):
    """It is never in memory as a whole: neither its text nor numbers of twice the size."""
    rows = 80_000
    path = tmp_path / "d.csv"
    path.write_text(
        "y," + ",".join(f"x{i}" for i in range(50)) + "\n" + f"1{',0.25' * 50}\n" * rows
    )
    table = delimited.Delimited(path, "d.csv", ",", True)
    assert max(len(block) for block in table._blocks()) <= (1 << 20) + 300
    tracemalloc.start()
    learnt = learn(table, table.columns[1:])
    X = encode(Recipe(tuple(learnt.columns)), table, np.dtype("float32"), learnt.n_rows).X
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert X.nbytes == rows * 50 * 4
    assert peak < X.nbytes + 8 * (1 << 20)
