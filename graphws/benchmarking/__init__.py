"""Measure what models cost in time and memory on this machine, against each other and against other packages."""

from graphws.benchmarking.against import CONTESTS, Contest, Duel, contests_of, run_contest
from graphws.benchmarking.cases import MODELS, PUBLISHED, QUICK, Case, editing_case, model_of
from graphws.benchmarking.growth import AXES, Growth, measure_growth
from graphws.benchmarking.hardware import Rates, machine, matrix_rate, measure_rates
from graphws.benchmarking.memory import Memory, peak_memory
from graphws.benchmarking.suite import Row, Setting, run_suite
from graphws.benchmarking.timing import Timing, alternate

__all__ = [
    "AXES",
    "CONTESTS",
    "MODELS",
    "PUBLISHED",
    "QUICK",
    "Case",
    "Contest",
    "Duel",
    "Growth",
    "Memory",
    "Rates",
    "Row",
    "Setting",
    "Timing",
    "alternate",
    "contests_of",
    "editing_case",
    "machine",
    "matrix_rate",
    "measure_growth",
    "measure_rates",
    "model_of",
    "peak_memory",
    "run_contest",
    "run_suite",
]
