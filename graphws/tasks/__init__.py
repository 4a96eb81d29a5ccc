"""Lightning modules that receive a built weight-space network, and the data they read."""

from graphws.tasks.data import ZooDataModule
from graphws.tasks.edit import EditTask
from graphws.tasks.predict import PredictTask
from graphws.tasks.protocol import Task
from graphws.tasks.standardise import Standardised, Statistics

__all__ = ["EditTask", "PredictTask", "Standardised", "Statistics", "Task", "ZooDataModule"]
