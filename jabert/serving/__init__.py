"""HTTP server for the registered model: MLflow's formats and routes, following the alias."""

from jabert.serving.server import serve

__all__ = ["serve"]
