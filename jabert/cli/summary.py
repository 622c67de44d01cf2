"""The summary that `jabert retrain` prints at its end."""

from pathlib import Path
from shlex import quote
from typing import Any

from jabert.cli.output import grid, print_rich, say
from jabert.config import Settings, TrackingSettings, load_settings
from jabert.safe import printable

_EXAMPLE = "紅葉の京都を一日歩いた。"


def print_summary(result: dict[str, Any], settings: Settings) -> None:
    """Print the outcome of a retraining, where its results are, and which commands to try next.

    Args:
        result: returned by the flow `retrain`.
        settings: of the run.
    """
    model = settings.tracking.model_name
    outcome = {
        "promoted": "is the new champion",
        "kept": "is registered; the champion stays",
        "refused": "is registered but was refused; the champion stays",
        "unchanged": "was made from the same data, encoder and settings; nothing was done",
    }[result["outcome"]]
    if result["outcome"] == "kept" and result["champion_weighted_f1"] is None:
        outcome = "is registered; there is no champion yet"
    headline = f"Version {result['model_version']} of model {model!r} {outcome}."
    print_rich("", printable(headline), "", grid(_facts(result, settings).items()), "", "Try next:")
    for command in _commands(settings.tracking):
        say(f"  {command}")  # without rich, which would fold it: it is there to be copied


def _facts(result: dict[str, Any], settings: Settings) -> dict[str, str]:
    champion_f1, features = result["champion_weighted_f1"], result["features"]
    stages, baselines, rows = result["stages"], result["baselines"], result["rows"]
    by_stage = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in stages.items())
    report = Path(settings.tracking.artifacts or "") / result["run_id"] / "artifacts" / "report" / "report.md"
    before = "no champion before" if champion_f1 is None else f"the champion before: {champion_f1:.4f}"
    return {
        "weighted F1": f"{result['weighted_f1']:.4f} on the test rows ({before})",
        **({"baselines": ", ".join(map(_baseline, baselines, baselines.values()))} if baselines else {}),
        "reason": result["reason"],
        **({"warnings": "\n".join(result["warnings"])} if result["warnings"] else {}),
        "rows": f"{sum(rows.values()):,}: {', '.join(f'{split} {count:,}' for split, count in rows.items())}",
        "features": f"{features['computed']:,} texts computed, {features['reused']:,} reused",
        **({"seconds": f"{sum(stages.values()):.1f} ({by_stage})"} if stages else {}),
        "recipe": f"{settings.recipe or 'none'}, settings {result['config_digest'][:12]}",
        "data": f"{settings.data.path}, digest {result['data_digest'][:12]}",
        "run": result["run_id"],
        "report": str(report) if report.is_file() else "report/report.md among the artifacts of the run",
        "model": f"models:/{settings.tracking.model_name}/{result['model_version']}",
    }


def _baseline(kind: str, of: dict[str, float]) -> str:
    low, high = of["gain_low"], of["gain_high"]
    return f"{kind} {of['weighted_f1']:.4f} (gain {of['gain']:+.4f}, 95 % interval {low:+.4f} to {high:+.4f})"


def _commands(settings: TrackingSettings) -> list[str]:
    """Commands to try next, with the settings of the store and the model where they are not the defaults."""
    default = load_settings().tracking
    changed = [name for name in ("uri", "model_name") if getattr(settings, name) != getattr(default, name)]
    values = {name: getattr(settings, name) for name in changed}
    options = "".join(f" --set {quote(f'tracking.{name}={value}')}" for name, value in values.items())
    uri = str(settings.uri)
    ui = f"open {uri}" if uri.startswith("http") else f"jabert ui{options}"
    return [f'jabert predict "{_EXAMPLE}"{options}', f"jabert models{options}", ui]
