"""Retrain, compare and serve Japanese text classifiers.

All that a notebook or script needs is here, and is loaded when it is first used:

    import jabert

    settings = jabert.load_settings("sample")
    corpus = jabert.read_corpus(settings.data)
    classifier = jabert.fit(settings)
    test = corpus.table[corpus.table["split"] == "test"]
    report = jabert.evaluate(test, classifier.predict(test["text"]), classifier.labels)
    jabert.plot_confusion_matrix(report).savefig("confusion_matrix.png")
"""

import sys
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

# With it, importing openvino tells its maker so, over the network and in a process of its own.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

if TYPE_CHECKING:
    from jabert.notebook import (
        Classifier,
        EvaluationReport,
        Experiment,
        JabertError,
        Settings,
        Tokenizer,
        evaluate,
        fit,
        load_champion,
        load_settings,
        open_encoder,
        plot_confusion_matrix,
        read_corpus,
        register,
        run_experiment,
        token_vectors,
    )

__all__ = [
    "Classifier",
    "EvaluationReport",
    "Experiment",
    "JabertError",
    "Settings",
    "Tokenizer",
    "evaluate",
    "fit",
    "load_champion",
    "load_settings",
    "open_encoder",
    "plot_confusion_matrix",
    "read_corpus",
    "register",
    "run_experiment",
    "token_vectors",
]

__version__ = version("jabert")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("jabert.notebook"), name)
