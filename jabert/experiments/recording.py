"""What a stage leaves in its MLflow run: metrics, tables and pictures."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from jabert.config import Settings
from jabert.encoder import EncoderFolder
from jabert.evaluation import EvaluationReport
from jabert.experiments.work import Work
from jabert.methods.bi_lstm import Epoch, Trained
from jabert.registry import Move, Verdict
from jabert.report import plots
from jabert.report.card import Card
from jabert.tracking import Run
from jabert.validation import ValidationReport

__all__ = [
    "CARD",
    "CARD_PAGE",
    "by_split",
    "layers_of",
    "record_card",
    "record_comparison",
    "record_epoch",
    "record_evaluation",
    "record_training",
    "record_validation",
    "record_verdict",
]

CARD = "card/card.md"
CARD_PAGE = "card/card.html"


def record_validation(report: ValidationReport, name: str, run: Run) -> None:
    """The findings as a page, the data docs and the JSON result, also of a suite that failed."""
    run.folder(report.folder, f"validation/{name}")
    run.file(report.suite_file, f"validation/{name}")
    run.text(f"validation/{name}.md", report.to_markdown())
    run.metrics({f"validation/{name}_findings": len(report.findings)})


def record_epoch(epoch: Epoch, run: Run) -> None:
    """Metrics of one epoch: `loss` as `train/loss`, `val_loss` as `validation/loss`, and so on."""
    run.metrics_once(by_split(epoch), step=int(epoch["epoch"]))


def record_training(
    settings: Settings, work: Work, trained: Trained, layers: list[plots.LayerBox], run: Run
) -> None:
    """The history as a table and a picture, TensorBoard's logs, and a drawing of the model."""
    history = pd.DataFrame(trained.history)
    run.metrics({"train/best_epoch": trained.best["epoch"], "train/epochs": len(history)})
    run.tags({"resumed_epochs": trained.resumed})
    run.text("training/history.csv", history.to_csv(index=False))
    run.folder(trained.folder / "tensorboard", "tensorboard")
    best = history["epoch"] == trained.best["epoch"]
    curves = plots.learning_curves(history.assign(best=best), f"{settings.training.watch} rows")
    run.file(plots.save(curves, work.path / "learning_curves.png"), "training")
    run.file(plots.save(plots.model_structure(layers), work.path / "model_structure.png"), "training")


def record_evaluation(report: EvaluationReport, predicted: pd.DataFrame, work: Work, run: Run) -> None:
    """Metrics, the report as text, data and page, its pictures, and what was said of each test row."""
    run.metrics(report.metrics())
    run.text("report/report.md", report.to_markdown())
    run.text("report/classification_report.txt", report.report_text)
    run.json("report/report.json", report.to_dict())
    run.text("report/predictions.csv", predicted.to_csv(index=False))
    for name, draw in (("confusion_matrix", plots.confusion_matrix), ("per_class", plots.per_class)):
        run.file(plots.save(draw(report), work.path / f"{name}.png"), "report")


def record_card(card: Card, work: Work, run: Run) -> None:
    """The card as Markdown and as a page, which holds the picture that `record_evaluation` drew."""
    run.text(CARD, card.to_markdown())
    run.text(CARD_PAGE, card.to_html(work.path / "confusion_matrix.png"))


def record_comparison(verdict: Verdict, scratch: Path, run: Run, folder: str = "promotion") -> None:
    """What a verdict rests on: both reports, the gain, the flips, both confusion matrices."""
    run.json(f"{folder}/verdict.json", verdict.facts())
    comparison = verdict.comparison
    if comparison is None:
        return
    run.text(f"{folder}/comparison.md", comparison.to_markdown())
    run.json(f"{folder}/comparison.json", comparison.to_dict())
    run.text(f"{folder}/flips.csv", comparison.flips_csv())
    for name in ("champion", "challenger"):
        picture = plots.confusion_matrix(getattr(comparison, name))
        run.file(plots.save(picture, scratch / f"confusion_matrix_of_{name}.png"), folder)


def record_verdict(verdict: Verdict, note: str, history: list[Move], run: Run) -> None:
    """Tags that runs can be filtered by, the gain, and the history of the champion as a table."""
    facts = verdict.facts()
    run.tags(
        {
            "promotion": verdict.outcome,
            "promoted": str(verdict.promoted).lower(),
            "reason": verdict.reason,
            "mlflow.note.content": "\n\n".join(
                filter(None, [note, f"Verdict: {verdict.reason}.", *verdict.warnings])
            ),
            **({"below_best": verdict.below_best} if verdict.below_best else {}),
        }
    )
    names = ("champion_weighted_f1", "compared_rows", "gain", "gain_low", "gain_high")
    run.metrics({f"test/{name}": facts[name] for name in names if name in facts})
    columns = {name: [getattr(move, name) for move in history] for name in Move.__annotations__}
    run.table("promotion/history.json", columns)


def layers_of(settings: Settings, folder: EncoderFolder, classes: int) -> list[plots.LayerBox]:
    """The whole network from text to probabilities, for the drawing."""
    bert, units = folder.config, settings.classifier.units
    sizes = {name: int(np.prod(shape)) for name, shape in bert.variables().items()}
    block = sum(size for name, size in sizes.items() if "/layer_0/" in name)
    embeddings = sum(size for name, size in sizes.items() if "/embeddings/" in name)
    tokens = f"(tokens, {bert.hidden_size})"
    lstm_parameters = 8 * units * (bert.hidden_size + units + 1)  # 2 directions, 4 gates
    return [
        plots.LayerBox("text", "SentencePiece", "(tokens)", 0),
        plots.LayerBox("embeddings", "BERT, frozen", tokens, embeddings),
        plots.LayerBox("transformer block", "BERT, frozen", tokens, block, bert.num_hidden_layers),
        plots.LayerBox("bi_lstm", "Bidirectional LSTM", f"({2 * units})", lstm_parameters),
        plots.LayerBox("softmax", "Dense", f"({classes})", (2 * units + 1) * classes),
    ]


def by_split(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics of a training under MLflow's names: `loss` as `train/loss`, `val_loss` as `validation/loss`."""
    return {
        f"validation/{name.removeprefix('val_')}" if name.startswith("val_") else f"train/{name}": value
        for name, value in metrics.items()
    }
