"""Mean, linear and tree models of features, their hyper-parameters selected on validation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["MODELS", "Chosen", "Split", "select"]

Array = NDArray[np.float64]
Predictor = Callable[[Array], Array]
ALPHAS = tuple(10.0**power for power in range(-4, 6))  # of ridge regression
TREES, LEARNING_RATES, LEAVES, SMALLEST_LEAF = 300, (0.05, 0.1), (8, 31), (5, 20)
SHARE_OF_FEATURES = 0.5  # drawn at each split of a tree


@dataclass(frozen=True)
class Split:
    """Networks as numbers.

    Args:
        features: [n, features], NaN where a network has none.
        target: [n], classes as whole numbers.
    """

    features: Array
    target: Array


@dataclass(frozen=True)
class Chosen:
    """A model with the hyper-parameters that do best on validation.

    Args:
        class_path: Path of the model's class in scikit-learn.
        settings: The hyper-parameters that were selected; empty where there is none.
        parameters: Number of learned numbers; None for trees.
        predict: Function from features to predictions, [n, features] to [n].
    """

    class_path: str
    settings: dict[str, Any]
    parameters: int | None
    predict: Predictor


def select(model: str, kind: str, train: Split, val: Split, seed: int) -> Chosen:
    """Fit every candidate on the training networks, keep the best on validation, the first of equals.

    The error on validation is the mean square, for classification the share of wrong classes.

    Args:
        model: A name of :data:`MODELS`.
        kind: ``"classification"``, ``"regression"`` or ``"share"``, whose predictions are cut to 0 to 1.
        train: The training networks.
        val: The validation networks.
        seed: Seed of what a model draws, a number from 0 to 2**32 - 1.
    """
    candidates = MODELS[model](kind, train, val, seed)
    return min(candidates, key=lambda candidate: _error(kind, val, candidate.predict(val.features)))


def _error(kind: str, split: Split, found: Array) -> float:
    wrong = found != split.target if kind == "classification" else (found - split.target) ** 2
    return float(wrong.mean())


def _means(kind: str, train: Split, val: Split, seed: int) -> Iterator[Chosen]:
    """The mean target, or the most common class."""
    if kind == "classification":
        values, counts = np.unique(train.target, return_counts=True)
        value, name = float(values[counts.argmax()]), "DummyClassifier"
    else:
        value, name = float(train.target.mean()), "DummyRegressor"
    yield Chosen(f"sklearn.dummy.{name}", {}, 1, lambda features: np.full(len(features), value))


def _linear(kind: str, train: Split, val: Split, seed: int) -> Iterator[Chosen]:
    """Ridge regression on standardised features, or that of -1 and 1 for each class."""
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import Ridge, RidgeClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    estimator = RidgeClassifier if kind == "classification" else Ridge
    for alpha in ALPHAS:
        missing = SimpleImputer(keep_empty_features=True)  # of layers a network does not have: the mean
        fitted = make_pipeline(missing, StandardScaler(), estimator(alpha=alpha)).fit(train.features, train.target)
        parameters = int(fitted[-1].coef_.size + np.size(fitted[-1].intercept_))
        class_path = f"sklearn.linear_model.{estimator.__name__}"
        yield Chosen(class_path, {"alpha": alpha}, parameters, _bounded(kind, fitted.predict))


def _trees(kind: str, train: Split, val: Split, seed: int) -> Iterator[Chosen]:
    """Gradient-boosted trees, each setting with as many as do best on validation."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    estimator = HistGradientBoostingClassifier if kind == "classification" else HistGradientBoostingRegressor
    class_path = f"sklearn.ensemble.{estimator.__name__}"
    kept = _varying(train.features)
    for rate, leaves, smallest in product(LEARNING_RATES, LEAVES, SMALLEST_LEAF):
        settings = {"learning_rate": rate, "max_leaf_nodes": leaves, "min_samples_leaf": smallest}
        fitted = estimator(
            **settings,
            max_iter=TREES,
            max_features=SHARE_OF_FEATURES,
            early_stopping=False,
            random_state=seed,
        ).fit(train.features[:, kept], train.target)
        stages = (_cut(kind, found) for found in fitted.staged_predict(val.features[:, kept]))
        errors = [_error(kind, val, found) for found in stages]
        count = 1 + errors.index(min(errors))
        yield Chosen(class_path, {**settings, "max_iter": count}, None, _bounded(kind, _staged(fitted, kept, count)))


def _varying(features: Array) -> NDArray[np.bool_]:
    """The features that have two values or more; of others scikit-learn's trees find no bins.

    Raises:
        ValueError: If there is none.
    """
    missing = np.isnan(features)
    varying: NDArray[np.bool_] = np.where(missing, -np.inf, features).max(0) > np.where(missing, np.inf, features).min(
        0
    )
    if not varying.any():
        raise ValueError("all training networks have the same features; there is nothing to predict from")
    return varying


def _staged(fitted: Any, kept: NDArray[np.bool_], count: int) -> Predictor:
    def predict(features: Array) -> Array:
        found: Array = next(islice(fitted.staged_predict(features[:, kept]), count - 1, None))
        return found

    return predict


def _bounded(kind: str, predict: Predictor) -> Predictor:
    return lambda features: _cut(kind, predict(features))


def _cut(kind: str, found: Array) -> Array:
    return found.clip(0, 1) if kind == "share" else found


MODELS: dict[str, Callable[[str, Split, Split, int], Iterator[Chosen]]] = {
    "mean": _means,
    "linear": _linear,
    "trees": _trees,
}
