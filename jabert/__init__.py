"""Retrain, compare and serve Japanese text classifiers on BERT vectors.

A library of plain functions that knows nothing of orchestration; `flows/` strings
them together. Importing this package loads none of the heavy libraries.
"""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("jabert")
