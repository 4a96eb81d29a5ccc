from __future__ import annotations

import numpy as np
import pytest

from graphws.baselines import MODELS, select
from graphws.baselines.estimators import ALPHAS, Split


def split(count: int, seed: int, kind: str) -> Split:
    """A linear target of standard normal features, or what is made of it."""
    draw = np.random.default_rng(seed)
    features = draw.standard_normal((count, 4)) * [1, 10, 100, 1]
    value = features @ [1.0, -0.2, 0.01, 0.0]
    target = {"regression": value, "share": 1 / (1 + np.exp(-value)), "classification": 3.0 + (value > 0)}[kind]
    return Split(features, target)


KINDS = ("regression", "share", "classification")


def loss(kind: str, split: Split, found: np.ndarray) -> float:
    return float(np.mean(found != split.target if kind == "classification" else (found - split.target) ** 2))


@pytest.mark.parametrize("kind", KINDS)
def test_linear_and_trees_are_better_than_the_mean(kind: str) -> None:
    train, val, test = (split(count, seed, kind) for seed, count in enumerate((200, 60, 60)))
    losses = {model: loss(kind, test, select(model, kind, train, val, 0).predict(test.features)) for model in MODELS}
    assert losses["linear"] < 0.4 * losses["mean"]
    assert losses["trees"] < 0.6 * losses["mean"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_reads_the_training_networks_alone(kind: str) -> None:
    train, val = split(30, 0, kind), split(20, 1, kind)
    chosen = select("mean", kind, train, val, 0)
    values, counts = np.unique(train.target, return_counts=True)
    expected = values[counts.argmax()] if kind == "classification" else train.target.mean()
    assert chosen.predict(val.features).tolist() == [pytest.approx(expected)] * 20
    assert (chosen.settings, chosen.parameters) == ({}, 1)


def test_ridge_is_that_of_the_normal_equations_at_the_best_alpha_on_validation() -> None:
    train, val = split(20, 0, "regression"), split(50, 1, "regression")
    train = Split(train.features, train.target + 4 * np.random.default_rng(2).standard_normal(20))
    mean, spread = train.features.mean(0), train.features.std(0)
    x, y = (train.features - mean) / spread, train.target - train.target.mean()
    found = {}
    for alpha in ALPHAS:
        weights = np.linalg.solve(x.T @ x + alpha * np.eye(4), x.T @ y)
        found[alpha] = (val.features - mean) / spread @ weights + train.target.mean()
    best = min(ALPHAS, key=lambda alpha: loss("regression", val, found[alpha]))
    chosen = select("linear", "regression", train, val, 0)
    assert chosen.settings == {"alpha": best}
    assert chosen.parameters == 5
    np.testing.assert_allclose(chosen.predict(val.features), found[best], rtol=1e-9)
    assert best not in (ALPHAS[0], ALPHAS[-1])


def test_shares_stay_from_0_to_1() -> None:
    train, val = split(60, 0, "share"), split(20, 1, "share")
    far = np.full((1, 4), 1e4) * [1, -1, 1, 0]
    assert select("linear", "share", train, val, 0).predict(far) == 1
    assert select("linear", "regression", train, val, 0).predict(far) > 1


@pytest.mark.parametrize("model", ["linear", "trees"])
def test_missing_features_are_read(model: str) -> None:
    train, val = split(60, 0, "regression"), split(20, 1, "regression")
    holes = Split(np.where(np.random.default_rng(3).random((60, 4)) < 0.2, np.nan, train.features), train.target)
    holes.features[:, 3] = np.nan  # a layer that no training network has
    found = select(model, "regression", holes, val, 0).predict(val.features)
    assert np.isfinite(found).all()
    assert loss("regression", val, found) < val.target.var()


def test_trees_take_as_many_as_do_best_on_validation_and_follow_their_seed() -> None:
    train, val = split(60, 0, "regression"), split(30, 1, "regression")
    first, again, other = (select("trees", "regression", train, val, seed) for seed in (0, 0, 1))
    assert first.settings == again.settings
    assert np.array_equal(first.predict(val.features), again.predict(val.features))
    assert not np.array_equal(first.predict(val.features), other.predict(val.features))
    from sklearn.ensemble import HistGradientBoostingRegressor

    fixed = {"max_features": 0.5, "early_stopping": False, "random_state": 0}
    alone = HistGradientBoostingRegressor(**first.settings, **fixed).fit(train.features, train.target)
    np.testing.assert_array_equal(alone.predict(val.features), first.predict(val.features))
