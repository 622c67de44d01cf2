"""The registered model: its versions, the gate that a new one must pass, and the way back."""

from jabert.registry.gate import Gate, Verdict
from jabert.registry.leaks import LEARNED_FROM, write_learned
from jabert.registry.moves import CHAMPION, PREVIOUS, Move, champion_of
from jabert.registry.versions import Registry, classify, open_registry

__all__ = [
    "CHAMPION",
    "LEARNED_FROM",
    "PREVIOUS",
    "Gate",
    "Move",
    "Registry",
    "Verdict",
    "champion_of",
    "classify",
    "open_registry",
    "write_learned",
]
