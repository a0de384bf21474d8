"""Scikit-learn estimators: a classifier and a regressor that train by block coordinate descent."""

from __future__ import annotations

from fastbcd.estimators.classifier import BCDClassifier
from fastbcd.estimators.regressor import BCDRegressor

__all__ = ["BCDClassifier", "BCDRegressor"]
