"""Baselines that read features of networks in place of the networks: means, linear models, gradient-boosted trees."""

from graphws.baselines.estimators import MODELS, Chosen, select
from graphws.baselines.features import FEATURES, network_features

__all__ = ["FEATURES", "MODELS", "Chosen", "network_features", "select"]
