"""What `jabert retrain`, `validate`, `leaderboard`, `sweep`, `score` and `data check` print at their end."""

import os
import sys
from pathlib import Path
from shlex import quote
from shutil import which
from typing import TYPE_CHECKING, Any

from jabert.cli.output import grid, print_listing, print_rich, say
from jabert.config import Settings, TrackingSettings, load_settings
from jabert.markdown import as_sentence
from jabert.safe import printable

if TYPE_CHECKING:
    from jabert.validation.report import ValidationReport

_SHOWN_SUSPECTS = 20
_SHOWN_TRIALS = 10
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


def print_leaderboard(result: dict[str, Any]) -> None:
    """Print the verdict of a leaderboard, its table, and what failed.

    Args:
        result: returned by the flow `leaderboard`.
    """
    scores = ("weighted_f1", "interval", "difference_to_best", "p_value")
    measured = [each for each in result["methods"] if each["weighted_f1"] is not None]
    print_listing(measured, ("method", *scores, "fit_seconds", "serve_ms"), "")
    for each in result["methods"]:
        if each["weighted_f1"] is None:
            say(f"{each['method']} failed: {each['error']}")
    print_rich("", as_sentence(result["verdict"]), "", result["protocol"] + ".")
    if promotion := result.get("promotion"):
        print_rich(f"Version {promotion['model_version']}: {promotion['outcome']}, {promotion['reason']}.")
    print_rich(f"Report: leaderboard/leaderboard.html among the artifacts of run {result['run_id']}.")


def print_sweep(result: dict[str, Any]) -> None:
    """Print the best trials of a sweep, what failed, the honest figure, and what to do with the recipe.

    Args:
        result: returned by the flow `sweep`.
    """
    trials = result["trials"]
    complete = sorted(
        (each for each in trials if each["weighted_f1"] is not None), key=lambda each: -each["weighted_f1"]
    )
    shown = [{**each, "trial": each["number"], **each["values"]} for each in complete[:_SHOWN_TRIALS]]
    print_listing(shown, ("trial", "weighted_f1", *shown[0]["values"]), "")
    for each in trials:
        if each["state"] == "failed":
            say(f"trial {each['number']} failed: {each['error']}")
    pruned = sum(each["state"] == "pruned" for each in trials)
    print_rich("", f"{len(trials)} trials, {pruned} of them pruned; {result['protocol']}.")
    print_rich(as_sentence(result["verdict"]))
    print_rich(f"Report: sweep/sweep.html among the artifacts of run {result['run_id']}.", "", "Try next:")
    say(f"  {_typed()} retrain --recipe {quote(result['recipe'])}")


def print_validation(counts: dict[str, int], report: "ValidationReport") -> None:
    """Print what was read, and which expectations are not met, each with its first row.

    Args:
        counts: rows read, left out and in each split.
        report: the outcome of the suite.
    """
    say(", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in counts.items() if count))
    say(f"\n{report.outcome}\n")
    for finding in report.findings:
        say(f"{finding.severity}, {finding.short()}\n")
    say(f"data docs: {report.page}")


def print_scored(result: dict[str, Any]) -> None:
    """Print what a scoring wrote, and what it could not score; that texts were cut is told by the flow.

    Args:
        result: returned by the flow `score`.
    """
    say(f"{result['output']}: {result['scored']:,} of {result['rows']:,} rows scored")
    for name, meaning in (
        ("failed", "without a text that can be classified; their label is empty"),
        ("resumed", "scored by an earlier run that did not finish"),
    ):
        if result[name]:
            say(f"  {result[name]:,} {meaning}")
    speed = f"{result['rows_per_second']:,.0f} rows a second, {result['seconds']:.1f} s"
    loading = f"{result['setup_seconds']:.1f} s to load version {result['model_version']}"
    say(f"  {speed}, and {loading}")


def print_quick_check(found: dict[str, Any]) -> None:
    """Print what `jabert validate --check` found: the most suspicious labels, near-duplicates, mixed groups.

    Args:
        found: of `quick_check`.
    """
    say("")
    _print_suspects(found["suspects"], "`validate --json`")
    rows = [
        {"set": number, "place": _place(row), **row}
        for number, each in enumerate(found["duplicates"][:_SHOWN_SUSPECTS], 1)
        for row in each["rows"]
    ]
    say("")
    print_listing(rows, ("set", "place", "split", "label", "text"), "no text is nearly the same as another")
    mixed = [{**each, "labels": str(each["labels"])} for each in found["groups"][:_SHOWN_SUSPECTS]]
    say("")
    print_listing(mixed, ("group", "labels"), "no group stands out with several labels")


def _print_suspects(suspects: list[dict[str, Any]], where: str) -> None:
    shown = [{**each, "file": Path(each["file"]).name} for each in suspects[:_SHOWN_SUSPECTS]]
    print_listing(shown, ("score", "file", "line", "label", "likely", "text"), "no label is in doubt")
    if len(suspects) > len(shown):
        say(f"… and {len(suspects) - len(shown):,} more: {where} shows all")


def _place(row: dict[str, Any]) -> str:
    return f"{Path(row['file']).name}, line {row['line']}"


def print_data_check(found: dict[str, Any]) -> None:
    """Print what `jabert data check` found: counts, and the most suspicious labels.

    Args:
        found: of `Checked.to_dict`, with `written` where the rows to keep were written.
    """
    suspects, last = found["suspects"], found["learning_curve"][-1]
    more = found["more_labels"]
    facts = {
        "rows": f"{found['rows']:,}, checked in {found['seconds']:.0f} s",
        "labels in doubt": f"{len(suspects):,}",
        "near-duplicates": f"{len(found['duplicates']):,} sets of texts, under several labels or in several "
        "splits",
        "outliers": f"{len(found['outliers']):,}",
        "classes that overlap": ", ".join(
            f"{each['label']} → {each['likely']} {each['share']:.1%}" for each in found["overlaps"][:3]
        ),
        "weighted F1": f"{last['weighted_f1']:.3f} by mean-pooling of {last['rows']:,} rows",
        f"{more['rows']} more labels": f"{more['gain']:+.3f} ({more['low']:+.3f} to {more['high']:+.3f})",
    }
    if written := found.get("written"):
        facts["written"] = (
            f"{written['kept']:,} rows to {written['file']}; {written['left_out']:,} are left out"
        )
    if "to_label" in found:
        facts["to be labelled first"] = f"{len(found['to_label']):,} texts"
    print_rich(grid(facts.items()), "")
    _print_suspects(suspects, "--json, --suspects FILE or --page FILE")


def _facts(result: dict[str, Any], settings: Settings) -> dict[str, str]:
    champion_f1, features = result["champion_weighted_f1"], result["features"]
    stages, baselines, rows = result["stages"], result["baselines"], result["rows"]
    by_stage = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in stages.items())
    report = Path(settings.tracking.artifacts or "") / result["run_id"] / "artifacts" / "report.html"
    before = "no champion before" if champion_f1 is None else f"the champion before: {champion_f1:.4f}"
    return {
        "weighted F1": f"{result['weighted_f1']:.4f} on the test rows ({before})",
        **({"baselines": ", ".join(map(_baseline, baselines, baselines.values()))} if baselines else {}),
        "reason": result["reason"],
        **({"evidence": "\n".join(evidence)} if (evidence := result.get("evidence")) else {}),
        **({"warnings": "\n".join(result["warnings"])} if result["warnings"] else {}),
        "rows": f"{sum(rows.values()):,}: {', '.join(f'{split} {count:,}' for split, count in rows.items())}",
        "features": f"{features['computed']:,} texts computed, {features['reused']:,} reused",
        **({"seconds": f"{sum(stages.values()):.1f} ({by_stage})"} if stages else {}),
        "recipe": f"{settings.recipe or 'none'}, settings {result['config_digest'][:12]}",
        "data": f"{settings.data.path}, digest {result['data_digest'][:12]}",
        "run": result["run_id"],
        "report": str(report) if report.is_file() else "report.html among the artifacts of the run",
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
    jabert, uri = _typed(), str(settings.uri)
    ui = f"open {uri}" if uri.startswith("http") else f"{jabert} ui{options}"
    predict = f'{jabert} predict "{_EXAMPLE}"{options}'
    return [predict, f"{jabert} report{options}", f"{jabert} models{options}", ui]


def _typed() -> str:
    """What a shell finds this program by."""
    return "jabert" if which("jabert") else quote(min(sys.argv[0], os.path.relpath(sys.argv[0]), key=len))
