"""The first stages as Prefect tasks, shared by the flows: read, validate, tokenize, featurize."""

from flows.pages import progress, show_markdown, show_table
from flows.stage import stage
from jabert.config import Settings
from jabert.experiments import retraining
from jabert.experiments.retraining import Data, Tokenized
from jabert.features import Featurized
from jabert.tracking import Run
from jabert.validation import ValidationReport

__all__ = ["featurize", "read", "tokenize", "validate"]


@stage("Read and split")
def read(settings: Settings, run: Run | None = None) -> Data:
    """Labelled texts, cleaned and divided; the table lies in the work folder."""
    data = retraining.read(settings, run)
    show_table("data", {"source": data.source, "split by": data.split_by, **data.counts})
    if data.conflicts:
        show_markdown("texts-under-two-labels", data.conflicts)
    return data


@stage("Validate")
def validate(settings: Settings, data: Data, run: Run | None = None) -> ValidationReport:
    """The suite of expectations on the table; a critical finding stops the run."""
    report = retraining.check_texts(settings, data, run)
    show_markdown("validation", report.to_markdown())
    report.raise_if_critical()
    return report


@stage("Tokenize")
def tokenize(settings: Settings, data: Data, run: Run | None = None) -> Tokenized:
    """Token ids, and the suite of expectations on the pieces."""
    tokenized = retraining.tokenize(settings, data, run)
    show_markdown("pieces", tokenized.to_markdown())
    tokenized.validation.raise_if_critical()
    return tokenized


@stage("Featurize")
def featurize(settings: Settings, data: Data, run: Run | None = None) -> Featurized:
    """Token vectors of BERT, as far as the feature store lacks them."""
    update = progress("featurize-progress")
    featurized = retraining.featurize(settings, data, run, update)
    update(1, 1)  # also when nothing was missing
    show_table("features", featurized.to_dict())
    return featurized
