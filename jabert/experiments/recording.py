"""What a step leaves in its MLflow run: metrics, tables and pictures."""

import logging
import math
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from jabert.config import Settings
from jabert.dataset import row_digests, table_digest
from jabert.dataset.splits import SPLITS
from jabert.evaluation import Baseline, Leaderboard, Sweep, baseline_metrics, predictions
from jabert.evaluation.occlusion import Explained
from jabert.experiments.steps import Data, Evaluated, Fit, Tokens
from jabert.features import Featurized
from jabert.markdown import as_sentence
from jabert.methods import Epoch, encoder_of, method_of
from jabert.registry import Move, Verdict
from jabert.report import plots
from jabert.report.card import Card, Facts
from jabert.report.leaderboard import leaderboard_html, leaderboard_page, leaderboard_plots
from jabert.report.metrics import evaluation_metrics
from jabert.report.page import report_page
from jabert.report.pages import comparison_page, evaluation_page
from jabert.report.sweep import sweep_html, sweep_page, sweep_plots
from jabert.tracking import Run, name_of
from jabert.validation import ValidationReport

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger("jabert")

CARD = "card/card.md"
CARD_PAGE = "card/card.html"
REPORT_PAGE = "report.html"
_SECONDS_BETWEEN = 5  # about, of the lines about epochs


def record_data(data: Data, settings: Settings, run: Run) -> None:
    """Digests as tags, counts as metrics, the rows of each split as datasets."""
    if settings.note:
        log.info("%s", settings.note)
    run.tags({"data_digest": data.digest, "model_name": settings.tracking.model_name})
    if encoder := encoder_of(settings):
        run.tags({"encoder_fingerprint": encoder.fingerprint})
    counts = data.counts
    splits = ", ".join(f"{split} {counts[split]:,}" for split in SPLITS)
    log.info("%s rows read, %s kept: %s", f"{counts['rows_read']:,}", f"{counts['rows']:,}", splits)
    tell(data.notes)
    rows = pd.DataFrame({"digest": row_digests(data.table["text"].fillna("")), "split": data.table["split"]})
    run.text("data/rows.csv", rows.to_csv(index=False))
    run.metrics({f"rows/{name}": count for name, count in data.counts.items()})
    for split, table in data.table.groupby("split"):
        columns = table.drop(columns=["split", "file", "line"])
        run.dataset(columns, data.source, table_digest(table), str(split))
    if data.notes:
        run.text("data/notes.txt", "\n".join((*data.notes, "")))
    if data.conflicts:
        run.text("data/texts_under_two_labels.md", data.conflicts)


def tell(sentences: Iterable[str]) -> None:
    """Say on the terminal, and in Prefect's log, what is there to be said."""
    for sentence in sentences:
        log.warning("%s", sentence)


def record_validation(report: ValidationReport, name: str, run: Run) -> None:
    """The findings as a page, the data docs and the JSON result, also of a suite that failed."""
    for found in ("data_docs", "result.json"):
        path = report.folder / found
        if path.is_dir():
            run.folder(path, f"validation/{name}/{found}")
        elif path.is_file():
            run.file(path, f"validation/{name}")
    run.file(report.suite_file, f"validation/{name}")
    run.text(f"validation/{name}.md", report.to_markdown())
    run.metrics({f"validation/{name}_findings": len(report.findings)})
    tell(report.warnings())


def validation_page(report: ValidationReport, name: str) -> str:
    """Where Great Expectations' page of the results is among the artifacts."""
    return f"validation/{name}/{report.page.relative_to(report.folder).as_posix()}"


def record_tokens(data: Data, tokens: Tokens, run: Run) -> None:
    """Counts as metrics, and what the tokenizer's settings were resolved to."""
    tell([*tokens.warnings(), *data.indistinct(tokens)])
    run.metrics(
        {
            "pieces/mean": tokens.pieces / tokens.texts,
            "pieces/longest": tokens.longest,
            "pieces/unknown_share": tokens.unknown / max(1, tokens.pieces),
            "pieces/truncated_texts": tokens.truncated,
            "pieces/cut_share": tokens.cut / max(1, tokens.pieces),
        }
    )
    run.params({"resolved.lower_case": tokens.lower_case, "resolved.max_tokens": tokens.max_tokens})


def record_features(features: Featurized, run: Run) -> None:
    """What the featurization did."""
    facts = features.to_dict()
    run.params({f"features.{name}": facts.pop(name) for name in ("engine", "precision", "device", "store")})
    run.metrics({f"features/{name}": value for name, value in facts.items()})


def record_epoch(epoch: Epoch, settings: Settings, run: Run) -> None:
    """Metrics of one epoch: `loss` as `train/loss`, and so on; of quick epochs only some are logged."""
    run.metrics_once(by_split(epoch), step=int(epoch["epoch"]))
    number, monitor = int(epoch["epoch"]), settings.training.monitor
    if number == 1 or number % math.ceil(_SECONDS_BETWEEN / max(epoch["seconds"], 0.1)) == 0:
        watched = f", {monitor} {epoch[monitor]:.4f}" if monitor in epoch else ""
        log.info("epoch %d: loss %.3f%s", number, epoch["loss"], watched)


def by_split(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics of a training under MLflow's names: `loss` as `train/loss`, `val_loss` as `validation/loss`."""
    return {
        f"validation/{name.removeprefix('val_')}" if name.startswith("val_") else f"train/{name}": value
        for name, value in metrics.items()
    }


def record_fit(fit: Fit, run: Run) -> None:
    """The history as a table and a picture, TensorBoard's logs, and a drawing of the classifier."""
    fitted, settings = fit.fitted, fit.job.settings
    run.params({f"resolved.{name}": value for name, value in fitted.resolved.items()})
    run.metrics({f"train/{name}": value for name, value in fitted.metrics.items()})
    described = method_of(settings).describe(fit.job, fitted)
    _record_picture(plots.model_structure(described.layers), "training/model_structure.png", run)
    if (fit.job.folder / "tensorboard").exists():
        run.folder(fit.job.folder / "tensorboard", "tensorboard")
    if not fitted.history:
        return
    history = pd.DataFrame(fitted.history)
    run.metrics({"train/best_epoch": fitted.best_epoch or 0, "train/epochs": len(history)})
    run.tags({"resumed_epochs": fitted.resumed})
    run.text("training/history.csv", history.to_csv(index=False))
    best = history["epoch"] == fitted.best_epoch
    curves = plots.learning_curves(history.assign(best=best), f"{settings.training.watch} rows")
    _record_picture(curves, "training/learning_curves.png", run)


def record_evaluation(evaluated: Evaluated, run: Run) -> None:
    """Metrics, the report as text, data and page, its pictures, and the prediction for each row."""
    report = evaluated.report
    run.metrics(evaluation_metrics(report, evaluated.measured_on))
    run.text("report/report.md", evaluation_page(report))
    run.text("report/classification_report.txt", report.report_text)
    run.json("report/report.json", report.to_dict())
    predicted = predictions(evaluated.rows, evaluated.answers, report.labels)
    run.text("report/predictions.csv", predicted.to_csv(index=False))
    _record_picture(plots.confusion_matrix(report), "report/confusion_matrix.png", run)
    _record_picture(plots.per_class(report), "report/per_class.png", run)
    _record_picture(plots.reliability(report), "report/reliability.png", run)
    _record_picture(plots.coverage(report), "report/coverage.png", run)


def record_baselines(baselines: list[Baseline], evaluated: Evaluated, run: Run) -> None:
    """Their numbers as metrics, and the report once more, with them."""
    run.metrics(baseline_metrics(baselines))
    run.text("report/report.md", evaluation_page(evaluated.report, baselines))


def record_leaderboard(board: Leaderboard, result: Mapping[str, Any], run: Run) -> None:
    """The leaderboard as Markdown, as a page with its pictures, as JSON, and its figures as metrics."""
    run.tags({"verdict": board.verdict, "mlflow.note.content": board.verdict})
    for standing in board.standings:
        slug = re.sub(r"[^A-Za-z0-9_. /-]", "-", standing.method)
        figures = {name: getattr(standing, name) for name in ("weighted_f1", "macro_f1", "serve_ms")}
        run.metrics({f"{name}/{slug}": value for name, value in figures.items()})
    run.json("leaderboard/leaderboard.json", dict(result))
    run.text("leaderboard/leaderboard.md", leaderboard_page(board))
    with _pictures(leaderboard_plots(board), "leaderboard", run) as pictures:
        run.text("leaderboard/leaderboard.html", leaderboard_html(board, pictures))


def record_sweep(sweep: Sweep, result: Mapping[str, Any], recipe: str, run: Run) -> None:
    """The trials as Markdown, as a page with its pictures and as JSON, and the recipe of the best."""
    run.tags({"verdict": sweep.verdict, "mlflow.note.content": sweep.verdict})
    run.metrics({"validation/best_weighted_f1": sweep.best.weighted_f1 or 0.0})
    if tested := sweep.tested:
        run.metrics(
            {f"test/{name}": getattr(tested, name) for name in ("weighted_f1", "macro_f1", "accuracy")}
        )
    run.json("sweep/sweep.json", dict(result))
    run.text("sweep/best.toml", recipe)
    run.text("sweep/sweep.md", sweep_page(sweep))
    with _pictures(sweep_plots(sweep), "sweep", run) as pictures:
        run.text("sweep/sweep.html", sweep_html(sweep, pictures))


@contextmanager
def _pictures(figures: "Mapping[str, Figure]", folder: str, run: Run) -> Iterator[dict[str, Path]]:
    """Files of figures by their names, which are among the artifacts too."""
    with tempfile.TemporaryDirectory() as scratch:
        pictures = {
            f"{name}.png": plots.save(figure, Path(scratch) / f"{name}.png")
            for name, figure in figures.items()
        }
        for picture in pictures.values():
            run.file(picture, folder)
        yield pictures


def record_card(card: Card, evaluated: Evaluated, run: Run) -> None:
    """The card as Markdown and as a page, with the confusion matrix in it."""
    run.text(CARD, card.to_markdown())
    with tempfile.TemporaryDirectory() as folder:
        picture = plots.save(plots.confusion_matrix(evaluated.report), Path(folder) / "confusion_matrix.png")
        run.text(CARD_PAGE, card.to_html(picture))


def record_report(
    facts: Facts,
    evaluated: Evaluated,
    fit: Fit,
    verdict: Verdict,
    told: Sequence[str],
    *,
    explained: Sequence[Explained],
    run: Run,
) -> None:
    """All of it as one page, with the sentences that were `told`, and in short; the run is named by it."""
    rows, answers = evaluated.rows, evaluated.answers
    predicted = predictions(rows, answers, evaluated.report.labels).assign(group=rows.get("group"))
    flips = verdict.comparison.flips if verdict.comparison else ()
    best = fit.fitted.best_epoch
    history = [{**epoch, "best": epoch["epoch"] == best} for epoch in fit.fitted.history]
    run.text("report/report.md", evaluation_page(evaluated.report, facts.baselines, explained))
    run.text(REPORT_PAGE, report_page(facts, predicted, history, flips, told, explained=explained))
    score = f"{evaluated.report.weighted_f1:.3f} {verdict.outcome} v{verdict.version}"
    run.rename(f"{name_of(facts.settings)} {score}")


def record_comparison(verdict: Verdict, run: Run, folder: str = "promotion") -> None:
    """What a verdict rests on: both reports, the gain, the flips, both confusion matrices."""
    run.json(f"{folder}/verdict.json", verdict.facts())
    comparison = verdict.comparison
    if comparison is None:
        return
    run.text(f"{folder}/comparison.md", comparison_page(comparison))
    run.json(f"{folder}/comparison.json", comparison.to_dict())
    run.text(f"{folder}/flips.csv", comparison.flips_csv())
    for name, report in (("champion", comparison.champion), ("challenger", comparison.challenger)):
        _record_picture(plots.confusion_matrix(report), f"{folder}/confusion_matrix_of_{name}.png", run)


def record_verdict(verdict: Verdict, note: str, history: list[Move], run: Run) -> None:
    """Tags that runs can be filtered by, the gain, and the history of the champion as a table."""
    facts, said = verdict.facts(), map(as_sentence, verdict.evidence)
    run.tags(
        {
            "promotion": verdict.outcome,
            "promoted": str(verdict.promoted).lower(),
            "reason": verdict.reason,
            "mlflow.note.content": "\n\n".join(
                filter(None, [note, f"Verdict: {verdict.reason}.", *said, *verdict.warnings])
            ),
            **({"below_best": verdict.below_best} if verdict.below_best else {}),
        }
    )
    names = ("champion_weighted_f1", "compared_rows", "gain", "gain_low", "gain_high", "judged_before")
    run.metrics({f"test/{name}": facts[name] for name in names if name in facts})
    columns = {name: [getattr(move, name) for move in history] for name in Move.__annotations__}
    run.table("promotion/history.json", columns)


def _record_picture(figure: "Figure", name: str, run: Run) -> None:
    path = Path(name)
    with tempfile.TemporaryDirectory() as folder:
        run.file(plots.save(figure, Path(folder) / path.name), str(path.parent))
