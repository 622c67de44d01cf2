"""HTTP over the registered model: MLflow's formats and routes, the version that the alias points to."""

from jabert.serving.server import serve

__all__ = ["serve"]
