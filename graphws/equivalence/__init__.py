"""Translations between weight-space architectures: parameters of one compiled into another (arXiv 2602.01083)."""

from graphws.equivalence.translate import translate
from graphws.equivalence.translation import Step, Translation

__all__ = ["Step", "Translation", "translate"]
