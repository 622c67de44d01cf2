"""What a person sees when a retraining is done."""

from pathlib import Path
from shlex import quote
from typing import Any

from jabert.cli.output import grid, print_rich
from jabert.config import Settings, TrackingSettings, load_settings
from jabert.errors import redacted

__all__ = ["print_summary"]

_EXAMPLE = "紅葉の京都を一日歩いた。"


def print_summary(result: dict[str, Any], settings: Settings) -> None:
    """Print what became of a retraining, where its results are, and what to try next.

    Args:
        result: as the flow `retrain` returns it.
        settings: those of the run.
    """
    model = settings.tracking.model_name
    fate = {
        "promoted": "is the new champion",
        "kept": "is registered; the champion stays",
        "refused": "is registered but was refused; the champion stays",
        "unchanged": "came of the same data, encoder and settings; nothing was done",
    }[result["outcome"]]
    headline = f"Version {result['model_version']} of model {model!r} {fate}."
    print_rich("", headline, "", grid(_facts(result, settings).items()), "", "Try next:")
    for command in _commands(settings.tracking):
        print(f"  {command}")  # not folded, so that it can be copied


def _facts(result: dict[str, Any], settings: Settings) -> dict[str, str]:
    champion_f1, features = result["champion_weighted_f1"], result["features"]
    against = "no champion before" if champion_f1 is None else f"the champion before: {champion_f1:.4f}"
    return {
        "weighted F1": f"{result['weighted_f1']:.4f} on the test rows ({against})",
        "reason": ". ".join([result["reason"], *result["warnings"]]),
        "rows": ", ".join(f"{side} {count:,}" for side, count in result["rows"].items()),
        "features": f"{features['computed']:,} texts computed, {features['reused']:,} reused",
        **({"seconds": _seconds(result["stages"])} if result["stages"] else {}),
        "recipe": f"{settings.recipe or 'none'}, settings {result['config_digest'][:12]}",
        "data": f"{redacted(str(settings.data.path))}, digest {result['data_digest'][:12]}",
        "run": result["run_id"],
        "report": _report(result["run_id"], settings.tracking),
        "model": f"models:/{settings.tracking.model_name}/{result['model_version']}",
    }


def _seconds(stages: dict[str, float]) -> str:
    each = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in stages.items())
    return f"{sum(stages.values()):.1f} ({each})"


def _report(run_id: str, settings: TrackingSettings) -> str:
    """A path where the artifacts are on this machine, else the name among them."""
    path = Path(settings.artifacts or "") / run_id / "artifacts" / "report" / "report.md"
    return str(path) if path.is_file() else "report/report.md among the artifacts of the run"


def _commands(settings: TrackingSettings) -> list[str]:
    """With the settings that lead to the same store and model, where the built-in defaults would not."""
    default = load_settings().tracking
    changed = [name for name in ("uri", "model_name") if getattr(settings, name) != getattr(default, name)]
    values = {name: redacted(getattr(settings, name)) for name in changed}
    options = "".join(f" --set {quote(f'tracking.{name}={value}')}" for name, value in values.items())
    predict, models = f'jabert predict "{_EXAMPLE}"{options}', f"jabert models{options}"
    is_server = str(settings.uri).startswith("http")
    return [predict, models, f"open {redacted(str(settings.uri))}" if is_server else f"jabert ui{options}"]
