"""What a model card is written from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from jabert.config import Settings
from jabert.encoder import EncoderFolder
from jabert.evaluation import EvaluationReport
from jabert.features import Featurized
from jabert.methods.bi_lstm import Trained

__all__ = ["Facts"]


@dataclass(frozen=True)
class Facts:
    """A version, its run and all that came before the verdict.

    Attributes:
        version: of the registered model.
        run_id: of the run that judged it.
        date: of the card, ISO 8601.
        settings: of the run.
        source: of the texts, without a password.
        split_by: `given`, `sentence` or `group`.
        counts: of rows, as `Corpus` has them.
        table: the split table of texts.
        validation: what the suites found, as Markdown.
        encoder: its folder.
        lower_case: whether the texts were lower-cased.
        max_tokens: longest text, in token ids.
        features: what the featurization did.
        trained: the training.
        training_precision: `float32` or `bfloat16`.
        report: on the test rows.
        verdict: of the gate, as `Verdict.facts` gives it.
        environment: as `tracking.provenance` gives it, and `gpu`.
    """

    version: str
    run_id: str
    date: str
    settings: Settings
    source: str
    split_by: str
    counts: Mapping[str, int]
    table: pd.DataFrame
    validation: tuple[str, ...]
    encoder: EncoderFolder
    lower_case: bool
    max_tokens: int
    features: Featurized
    trained: Trained
    training_precision: str
    report: EvaluationReport
    verdict: Mapping[str, Any]
    environment: Mapping[str, str]
