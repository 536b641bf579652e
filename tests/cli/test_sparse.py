"""Sparse rows: files in svmlight's format, SciPy's .npz, and documents."""

import gzip
import json

import numpy as np
import polars as pl
import pytest
import scipy.sparse
from sklearn.datasets import dump_svmlight_file
from sklearn.feature_extraction.text import TfidfVectorizer

import fastsoftmax as fs
from fastsoftmax.cli import model_file
from fastsoftmax.cli.tables.files import read
from fastsoftmax.cli.training import fitting

pytestmark = pytest.mark.usefixtures("trains_sparse_rows")


@pytest.fixture
def X():
    X = scipy.sparse.random(80, 12, 0.4, format="csr", dtype=np.float64, random_state=1)
    X[0, 0] = X[0, 11] = 2.5
    return scipy.sparse.csr_array(X)


def write_svm(path, X, labels, first_index):
    rows = []
    for n, label in enumerate(labels):
        part = slice(X.indptr[n], X.indptr[n + 1])
        cells = zip(X.indices[part] + first_index, X.data[part], strict=True)
        rows.append(" ".join([str(label), *(f"{d}:{float(value)!r}" for d, value in cells)]))
    text = "# a comment\n" + "\n".join(rows) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


@pytest.mark.parametrize("first_index", [0, 1])
@pytest.mark.parametrize("name", ["d.svm", "D.LIBSVM", "d.svm.gz"])
def test_svmlight_files_hold_labels_of_any_kind(X, tmp_path, first_index, name):
    for labels, kind in ((["+1", "-1"], "i"), (["spam", "ham"], "U"), (["1", "spam"], "U")):
        y = np.resize(labels, 80)
        write_svm(tmp_path / name, X, y, first_index)
        source = read(tmp_path / name)
        np.testing.assert_allclose(source.X.toarray(), X.toarray(), rtol=1e-15)
        assert source.first_index == first_index
        found = source.split(None)[1]
        assert found.dtype.kind == kind
        assert found.tolist() == (y.astype(int) if kind == "i" else y).tolist()


def test_files_of_scikit_learn_are_read(X, tmp_path):
    y = np.arange(80) % 3
    dump_svmlight_file(X, y, str(tmp_path / "d.svm"), comment="it writes comments")
    source = read(tmp_path / "d.svm")
    np.testing.assert_allclose(source.X.toarray(), X.toarray(), rtol=1e-15)
    np.testing.assert_array_equal(source.split(None)[1], y)


def test_sparse_matrices_of_scipy_are_read(run, fails, X, tmp_path):
    """With the labels in the archive, or in a file of their own."""
    y = np.resize(["a", "b"], 80)
    for given in (X, X.tocsc(), X.tocoo()):
        scipy.sparse.save_npz(tmp_path / "d.npz", given)
        np.testing.assert_array_equal(read(tmp_path / "d.npz").X.toarray(), X.toarray())
    np.save(tmp_path / "y.npy", y)
    found = read(tmp_path / "d.npz").split(str(tmp_path / "y.npy"))[1]
    np.testing.assert_array_equal(found, y)
    with np.load(tmp_path / "d.npz") as archive:
        np.savez(tmp_path / "both.npz", y=y, **archive)
    np.testing.assert_array_equal(read(tmp_path / "both.npz").split(None)[1], y)
    fails(run("train", tmp_path / "d.npz"), "no array 'y' of labels", "--label y.npy")
    np.save(tmp_path / "y.npy", y[1:])
    fails(run("train", tmp_path / "d.npz", "--label", tmp_path / "y.npy"), "must have shape (80,)")
    X.data[7] = np.inf
    scipy.sparse.save_npz(tmp_path / "d.npz", X)
    row = int(np.searchsorted(X.indptr, 7, side="right")) - 1
    place = f"row {row}, column {X.indices[7]} (counted from 0) is inf"
    fails(run("train", tmp_path / "d.npz", "--label", tmp_path / "y.npy"), place)


@pytest.mark.parametrize("first_index", [0, 1])
def test_rows_are_read_as_those_that_were_trained_on(run, fails, X, tmp_path, first_index):
    """Whatever columns they lack, or have beside those."""
    y = np.resize(["a", "b"], 80)
    write_svm(tmp_path / "d.svm", X, y, first_index)
    result = run("train", tmp_path / "d.svm", "-o", tmp_path / "m.npz", "--no-holdout")
    assert result.exit_code == 0, result.output
    assert "80 rows x 12 features, 2 classes" in result.stdout
    model = fs.SoftmaxModel.load(tmp_path / "m.npz")
    predicted = model.predict(X.toarray())
    write_svm(tmp_path / "narrow.svm", X[:9, :7], y[:9], first_index)
    wide = scipy.sparse.csr_array(scipy.sparse.hstack([X[:9], X[:9, :4]]))
    write_svm(tmp_path / "wide.svm", wide, y[:9], first_index)
    narrow = X[:9].toarray()
    narrow[:, 7:] = 0
    for name, expected, told in (
        ("d.svm", predicted, ""),
        ("narrow.svm", model.predict(narrow), ""),
        ("wide.svm", predicted[:9], "4 columns that training did not have are ignored"),
    ):
        result = run("predict", tmp_path / "m.npz", tmp_path / name)
        assert result.stdout.split()[1:] == expected.tolist()
        assert told in result.stderr
    write_svm(tmp_path / "inner.svm", X[:9, 3:], y[:9], first_index + 3)
    inner = X[:9].toarray()
    inner[:, :3] = 0
    found = run("predict", tmp_path / "m.npz", tmp_path / "inner.svm").stdout.split()[1:]
    assert found == model.predict(inner).tolist()
    judged = json.loads(run("evaluate", tmp_path / "m.npz", tmp_path / "d.svm", "--json").stdout)
    assert judged["accuracy"] == np.mean(predicted == y)
    if first_index == 1:
        write_svm(tmp_path / "d.svm", X, y, 0)
        fails(run("predict", tmp_path / "m.npz", tmp_path / "d.svm"), "d.svm has an index 0")
    (tmp_path / "bad.svm").write_text("a 1:2\nb 1:x\n")
    fails(run("train", tmp_path / "bad.svm"), "bad.svm, line 2")


# Documents

POSTS = ["the cat sat", "dogs bark and dogs run", "a cat and a dog", "Birds sing", "the dogs"]


@pytest.fixture
def posts():
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(POSTS, 2)) for _ in range(60)]
    label = ["dog" if "dog" in text else "other" for text in texts]
    return pl.DataFrame({"label": label, "text": texts, "id": range(60)})


def test_documents_become_tfidf_and_the_model_file_keeps_it(run, posts, tmp_path):
    posts.write_csv(tmp_path / "posts.csv")
    train = "train", tmp_path / "posts.csv", "--label", "label", "--text", "text", "--drop", "id"
    result = run(*train, "-o", tmp_path / "m.npz")
    assert result.exit_code == 0, result.output
    vectorizer = TfidfVectorizer()
    X = vectorizer.fit_transform(posts["text"]).astype(np.float32)
    saved = model_file.load(tmp_path / "m.npz")
    (text,) = saved.recipe.columns
    assert list(text.terms) == vectorizer.get_feature_names_out().tolist()
    np.testing.assert_array_equal(text.idf, vectorizer.idf_)
    assert f"60 rows x {len(text.terms)} features" in result.stdout
    predicted = saved.model.predict(X.toarray())
    assert np.mean(predicted == posts["label"].to_numpy()) > 0.9
    predict = "predict", tmp_path / "m.npz", tmp_path / "posts.csv", "--keep", "id"
    out = pl.read_csv(run(*predict).stdout.encode())
    assert out.columns == ["id", "prediction"]
    assert out["prediction"].to_list() == predicted.tolist()
    found = json.loads(run("evaluate", *predict[1:3], "--json").stdout)
    assert found["accuracy"] == np.mean(predicted == posts["label"].to_numpy())
    posts.with_columns(text=pl.lit("words never seen")).write_csv(tmp_path / "posts.csv")
    assert len(run(*predict).stdout.split()) == 61


def test_documents_beside_other_columns(posts, tmp_path, run, monkeypatch):
    """Numbers and categories come first; missing texts are as other missing values."""
    texts = [None if n in (3, 8) else text for n, text in enumerate(posts["text"])]
    posts = posts.with_columns(text=pl.Series(texts), kind=pl.Series(["u", "v"] * 30))
    posts = posts.with_columns(x=pl.col("id") * 0.5).drop("id")
    posts.write_parquet(tmp_path / "posts.parquet")
    given = []

    def fit_sgd(X, y, **options):
        given.append(X.toarray())
        raise ValueError("that is enough")

    monkeypatch.setattr(fitting, "fit_sgd", fit_sgd)
    train = "train", tmp_path / "posts.parquet", "--label", "label", "--text", "text"
    assert "'text' has no value in row 4" in run(*train).stderr
    run(*train, "--no-holdout", "--missing", "fill")
    run(*train, "--no-holdout", "--missing", "drop")
    documents = TfidfVectorizer().fit(text for text in texts if text is not None)
    onehot = [[kind == "u", kind == "v"] for kind in posts["kind"]]
    columns = onehot, posts["x"].to_numpy()[:, None]
    X = np.hstack([*columns, documents.transform([text or "" for text in texts]).toarray()])
    np.testing.assert_allclose(given[0], X, rtol=1e-6)
    np.testing.assert_allclose(given[1], np.delete(X, [3, 8], axis=0), rtol=1e-6)


def test_texts_without_words_are_refused(run, fails, posts, tmp_path):
    posts.with_columns(text=pl.lit("a ! ?")).write_csv(tmp_path / "posts.csv")
    train = "train", tmp_path / "posts.csv", "--label", "label", "--text", "text"
    fails(run(*train), "column 'text' holds no words")


def test_sparse_rows_are_solved_as_they_are(run, posts, X, tmp_path):
    """To the optimum, with the bits of `fit` on the same rows."""
    posts.write_csv(tmp_path / "posts.csv")
    text = TfidfVectorizer().fit_transform(posts["text"]).astype(np.float32)
    y = np.resize(["a", "b"], 80)
    write_svm(tmp_path / "d.svm", X, y, 1)
    for given, rows, labels in (
        (("posts.csv", "--text", "text", "--drop", "id"), text, posts["label"].to_numpy()),
        (("d.svm",), read(tmp_path / "d.svm").X, y),
    ):
        label = ("--label", "label") if given[0] == "posts.csv" else ()
        train = "train", tmp_path / given[0], *given[1:], *label, "--optimum", "--no-holdout"
        result = run(*train, "-o", tmp_path / "m.npz")
        assert result.exit_code == 0, result.output
        twin = fs.fit(scipy.sparse.csr_array(rows), labels.astype(str)).model
        np.testing.assert_array_equal(fs.SoftmaxModel.load(tmp_path / "m.npz").W, twin.W)
        evaluate = "evaluate", tmp_path / "m.npz", tmp_path / given[0], *label, "--json"
        accuracy = twin.score(scipy.sparse.csr_array(rows), labels.astype(str))
        assert json.loads(run(*evaluate).stdout)["accuracy"] == accuracy
