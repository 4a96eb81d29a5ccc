"""Keras itself, on torch, where it is installed: it makes files and outputs to compare with."""

from __future__ import annotations

import os
import warnings
from typing import Any

import pytest


def keras_on_torch() -> Any:
    """The package; the test is skipped where it is missing or runs on something else."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        keras = pytest.importorskip("keras")
    if keras.backend.backend() != "torch":
        pytest.skip("Keras runs on another backend than torch here")
    return keras
