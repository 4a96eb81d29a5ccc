"""The seven statistics of arXiv 2002.11448 of one list of numbers."""

from __future__ import annotations

import math


def slow_statistics(values: list[float]) -> list[float]:
    """Mean, variance and five quantiles."""
    ordered, count = sorted(values), len(values)
    mean = sum(values) / count
    out = [mean, sum((v - mean) ** 2 for v in values) / count]
    for quarter in range(5):
        position = quarter * (count - 1) / 4
        low, high = math.floor(position), math.ceil(position)
        out.append(ordered[low] * (1 - (position - low)) + ordered[high] * (position - low))
    return out
