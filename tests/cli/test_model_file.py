"""Model files: what they hold beside the model, and what else is read."""

import json

import numpy as np
import polars as pl
import pytest

import fastsoftmax as fs
from fastsoftmax.cli import model_file


def test_any_model_that_was_saved_is_read(run, fails, frame, tmp_path):
    """By `SoftmaxModel.save` too, with names of features or without."""
    X, y = frame.select("a", "b", "n").to_numpy(), frame["kind"].to_numpy().astype(str)
    frame.select("b", "n", "a").write_csv(tmp_path / "new.csv")
    frame.select("a", "b", "n").write_csv(tmp_path / "in_order.csv")
    frame.select("kind", "a", "b", "n").write_csv(tmp_path / "labelled.csv")
    for names, path in ((("a", "b", "n"), "new.csv"), (None, "in_order.csv")):
        model = fs.fit_sgd(X, y, feature_names=names).model
        model.save(tmp_path / "m.npz")
        result = run("predict", tmp_path / "m.npz", tmp_path / path)
        assert result.stdout.split()[1:] == model.predict(X).tolist()
        evaluate = "evaluate", tmp_path / "m.npz", tmp_path / "labelled.csv", "--label", "kind"
        assert f"{model.score(X, y):.4f}" in run(*evaluate).stdout
    fails(run("predict", tmp_path / "m.npz", tmp_path / "labelled.csv"), "has 4 columns", "needs 3")
    frame.select(pl.lit(None).alias("a"), "b", "n").write_csv(tmp_path / "in_order.csv")
    fill = "predict", tmp_path / "m.npz", tmp_path / "in_order.csv", "--missing", "fill"
    fails(run(*fill), "column 'a' has no value in row 1")


def test_the_file_holds_no_pickle_and_loads_as_a_model(run, trained):
    with np.load(trained, allow_pickle=False) as archive:
        recipe = json.loads(archive["columns"].tobytes())
    assert [column["name"] for column in recipe["columns"]] == ["a", "b", "n"]
    model = fs.SoftmaxModel.load(trained)
    saved = model_file.load(trained)
    np.testing.assert_array_equal(saved.model.W, model.W)
    assert saved.recipe.label == "kind"
    assert saved.recipe.feature_names == model.feature_names


@pytest.mark.parametrize(
    "damage",
    [
        lambda recipe: recipe.pop("columns"),
        lambda recipe: recipe["columns"].pop(),
        lambda recipe: recipe["columns"][0].update(kind="code"),
        lambda recipe: recipe["columns"][0].pop("name"),
        lambda recipe: recipe.update(missing="guess"),
        lambda recipe: recipe.update(version=2),
    ],
)
def test_a_damaged_recipe_is_one_line(run, fails, trained, tmp_path, damage):
    with np.load(trained, allow_pickle=False) as archive:
        arrays = dict(archive)
    recipe = json.loads(arrays["columns"].tobytes())
    damage(recipe)
    arrays["columns"] = np.frombuffer(json.dumps(recipe).encode(), np.uint8)
    np.savez(tmp_path / "bad.npz", **arrays)
    fails(run("predict", tmp_path / "bad.npz", tmp_path / "data.csv"), "bad.npz", "is damaged")
    assert fs.SoftmaxModel.load(tmp_path / "bad.npz").W.any()
