"""Cross-validation of penalties, against fits on copies of the rows."""

from __future__ import annotations

import numpy as np
import pytest

import fastsoftmax as fs
from fastsoftmax.solvers.folds import cross_validate, stratified_folds


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    y = np.array(["a"] * 60 + ["b"] * 25 + ["c"] * 4 + ["d"])
    rng.shuffle(y)
    return rng.normal(size=(90, 4)) + (y == "a")[:, None], y


def test_each_fold_has_its_share_of_each_class(rows):
    _, y = rows
    folds = stratified_folds(y, 4, seed=0)
    assert folds[y == "d"] == -1  # its only row trains always
    for label, shares in (("a", [15] * 4), ("b", [6, 6, 6, 7]), ("c", [1] * 4)):
        assert sorted(np.bincount(folds[y == label], minlength=4)) == shares
    np.testing.assert_array_equal(folds, stratified_folds(y, 4, seed=0))
    assert (folds != stratified_folds(y, 4, seed=1)).any()


def test_the_losses_are_those_of_models_trained_on_copies_of_the_other_rows(rows):
    X, y = rows
    folds = stratified_folds(y, 3, seed=0)
    options = {"tol": 1e-8, "standardize": False}
    found = cross_validate(X, y, folds, l2s=[0.01, 1.0], **options)
    assert found.l2s == (1.0, 0.01)
    losses, accuracies = np.empty((2, 3, 2))
    for fold in range(3):
        held = folds == fold
        for i, l2 in enumerate(found.l2s):
            model = fs.fit(X[~held], y[~held], l2=l2, **options).model
            labels = model.label_indices(y[held])
            losses[fold, i] = fs.loss(X[held], labels, model.W, model.b)
            accuracies[fold, i] = model.score(X[held], y[held])
    np.testing.assert_allclose(found.losses, losses, rtol=1e-3)
    np.testing.assert_allclose(found.accuracies, accuracies)
    np.testing.assert_allclose(found.mean_loss, found.losses.sum(axis=0) / 3)
    squares = ((found.losses - found.mean_loss) ** 2).sum(axis=0) / 2
    np.testing.assert_allclose(found.standard_error, np.sqrt(squares / 3))
    assert found.best == found.mean_loss.tolist().index(min(found.mean_loss))


def test_folds_that_cannot_be_made_are_errors():
    with pytest.raises(ValueError, match="the number of folds must be at least 2, got 1"):
        stratified_folds(np.zeros(9), 1, seed=0)
    with pytest.raises(ValueError, match=r"4 folds need as many rows .*, got 3"):
        stratified_folds(np.array([0, 0, 0, 1]), 4, seed=0)
