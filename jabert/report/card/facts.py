"""What a model card is written from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from jabert.config import Settings
from jabert.encoder import EncoderFolder
from jabert.evaluation import EvaluationReport
from jabert.features import Featurized
from jabert.methods import Description

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
        learned_from: the splits that the classifier learned from.
        test_chose: whether test rows chose the epoch.
        validation: what the suites found, as Markdown.
        encoder: its folder, None for a method without one.
        lower_case: whether the texts were lower-cased, None for a method without an encoder.
        max_tokens: longest text in token ids, None for a method without an encoder.
        features: what the featurization did, None without token vectors.
        method: what people should know of the classifier.
        report: on the test rows.
        verdict: of the gate, as `Verdict.facts` gives it.
        environment: as `tracking.provenance` gives it.
    """

    version: str
    run_id: str
    date: str
    settings: Settings
    source: str
    split_by: str
    counts: Mapping[str, int]
    table: pd.DataFrame
    learned_from: Sequence[str]
    test_chose: bool
    validation: Sequence[str]
    encoder: EncoderFolder | None
    lower_case: bool | None
    max_tokens: int | None
    features: Featurized | None
    method: Description
    report: EvaluationReport
    verdict: Mapping[str, Any]
    environment: Mapping[str, str]
