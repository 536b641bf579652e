"""The optimum of the objective of `fit_sgd`, and the proof of it.

`fit` (the public function), `path` (many penalties), `folds` (which penalty), `objective` (value,
gradient and products of features, in the coordinates that are solved in), `lbfgs` (the steps),
`factors` (what they are measured by), `certificate` (lower bounds), `result`.
"""

from fastsoftmax.solvers.fit import fit
from fastsoftmax.solvers.path import fit_path
from fastsoftmax.solvers.result import FitProgress, FitResult, PathResult

__all__ = ["FitProgress", "FitResult", "PathResult", "fit", "fit_path"]
