"""Softmax regression as scikit-learn classifiers (extra `[sklearn]`).

`regression` (SoftmaxRegression, solved to its optimum), `cv` (SoftmaxRegressionCV, which chooses
the penalty), `solved` (what these two share); `sgd` (SoftmaxClassifier, which takes steps);
`common` (what a classifier does once it has a model).
"""

try:
    from sklearn.utils.validation import validate_data  # noqa: F401  # since scikit-learn 1.6
except ImportError as error:
    raise ImportError(
        "fastsoftmax.sklearn needs scikit-learn 1.6 or later: pip install 'fastsoftmax[sklearn]'"
    ) from error

from fastsoftmax.sklearn.cv import SoftmaxRegressionCV
from fastsoftmax.sklearn.regression import SoftmaxRegression
from fastsoftmax.sklearn.sgd import SoftmaxClassifier

__all__ = ["SoftmaxClassifier", "SoftmaxRegression", "SoftmaxRegressionCV"]
