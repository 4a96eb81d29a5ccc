"""What computes the definitions of :mod:`graphws.nn` faster: passes over chunks that fit the cache, gradients by hand.

An engine function has the signature of its definition and says where it applies; elsewhere the definition runs.
``GRAPHWS_ENGINE=0`` in the environment, or the context :func:`off`, runs every model on definitions alone.
"""

from graphws.engine.registry import PAIRS, Pair, fused, off, recomputed, watched

__all__ = ["PAIRS", "Pair", "fused", "off", "recomputed", "watched"]
