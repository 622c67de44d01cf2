"""The registered model: its versions, the gate that a new version must pass, and rollback."""

from jabert.registry.gate import Gate, Verdict
from jabert.registry.leaks import write_training_digests
from jabert.registry.moves import Move
from jabert.registry.versions import Registry, classify, context_of, cut_of, explain, open_registry, predict

__all__ = [
    "Gate",
    "Move",
    "Registry",
    "Verdict",
    "classify",
    "context_of",
    "cut_of",
    "explain",
    "open_registry",
    "predict",
    "write_training_digests",
]
