"""The registered model: its versions, the gate that a new version must pass, and rollback."""

from jabert.registry.gate import Gate, Verdict
from jabert.registry.leaks import write_training_digests
from jabert.registry.moves import CHAMPION, PREVIOUS, Move, champion_of
from jabert.registry.versions import Registry, classify, open_registry

__all__ = [
    "CHAMPION",
    "PREVIOUS",
    "Gate",
    "Move",
    "Registry",
    "Verdict",
    "champion_of",
    "classify",
    "open_registry",
    "write_training_digests",
]
