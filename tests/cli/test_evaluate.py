import json

import numpy as np
import polars as pl
import pytest

import fastsoftmax as fs
from fastsoftmax import reference


@pytest.mark.parametrize("ending", ["csv", "npz"])
def test_evaluate_gives_the_scores_of_scikit_learn(run, tmp_path, ending):
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


def test_evaluate_is_brief_about_many_classes(run, tmp_path):
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


def test_labels_that_a_model_does_not_know_are_named(run, fails, misused, frame, trained, tmp_path):
    odd = frame.with_columns(kind=pl.when(pl.col("n") == 2).then(pl.lit("hot")).otherwise("kind"))
    odd.write_csv(tmp_path / "odd.csv")
    evaluate = "evaluate", trained
    fails(
        run(*evaluate, tmp_path / "odd.csv", "--label", "kind"),
        "odd.csv: the label 'hot' in row 3 is not one of the model's classes: 'dry', 'wet'",
    )
    misused(run(*evaluate, tmp_path / "data.csv", "--label", "n"), "trained on 'n'")
    assert run(*evaluate, tmp_path / "data.csv").exit_code == 0  # the label that it was trained on
    misused(run(*evaluate, tmp_path / "data.csv", "--label", "b", "--plot", "c.txt"), "--plot must")
    np.savez(tmp_path / "d.npz", X=np.zeros((2, 3)), y=np.arange(2))
    fails(run(*evaluate, tmp_path / "d.npz"), "the label 0 in row 0 (counted from 0)")
    np.savez(tmp_path / "d.npz", X=np.zeros((0, 3)), y=np.array([], str))
    fails(run(*evaluate, tmp_path / "d.npz"), "d.npz has no rows")
