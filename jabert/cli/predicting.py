"""What `jabert predict` reads, answers and prints."""

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

from jabert.cli.output import print_listing, say
from jabert.config import Settings, expanded
from jabert.errors import JabertError, reason_of
from jabert.texts import fault_of, is_unicode

_STDIN = "-"


def given_texts(texts: Sequence[str], file: str | None, most: int) -> list[str]:
    """The texts to classify: those on the command line, or the lines of a file or of stdin.

    Args:
        texts: as typed; a single `-` stands for stdin.
        file: its lines are classified, blank ones left out; None: the texts are.
        most: bytes of the lines that are held, `data.max_bytes`.

    Raises:
        JabertError: a text is blank or no text; or the lines cannot be read, are too many, or there are none.
    """
    if file is None and list(texts) != [_STDIN]:
        for number, text in enumerate(texts, 1):
            if not is_unicode(text):  # bytes that Python could not decode
                raise JabertError(
                    f"text {number} is not in the encoding of the locale; `--file FILE` reads UTF-8 in any"
                )
            if fault := fault_of(text):
                raise JabertError(f"text {number} is {fault}")
        return list(texts)
    name = "stdin" if file in (None, _STDIN) else str(file)
    try:
        with nullcontext(sys.stdin.buffer) if name == "stdin" else expanded(name).open("rb") as source:
            content = source.read(most + 1)
        if len(content) > most:
            raise JabertError(
                f"{name} has more bytes than the {most:,} that data.max_bytes allows to be held in memory; "
                "`jabert score` classifies a table of any size"
            )
        # By line feeds only: str.splitlines divides at signs that stand in texts, too.
        lines = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    except UnicodeDecodeError:
        raise JabertError(
            f"{name} is not UTF-8 text; `jabert score` reads tables in other encodings"
        ) from None
    except OSError as error:
        raise JabertError(f"{name} cannot be read ({reason_of(error)})") from None
    if not (found := [line for line in lines if fault_of(line) is None]):
        raise JabertError(f"{name} has no line with a text")
    return found


def texts_beside(texts: Sequence[str], **options: str | None) -> dict[str, list[list[str]]]:
    """The columns `before` and `after` of a single text, as the options of these names give them in JSON.

    Raises:
        JabertError: an option is no JSON array of texts, or there are several texts.
    """
    beside = {name: [_texts_of(name, option)] for name, option in options.items() if option is not None}
    if beside and len(texts) > 1:
        raise JabertError(f"--before and --after are of one TEXT, but {len(texts)} are given; give one")
    return beside


def _texts_of(name: str, option: str) -> list[str]:
    try:
        texts = json.loads(option)
    except (ValueError, RecursionError):
        texts = None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise JabertError(f"--{name} {option!a} is not a JSON array of texts, such as '[\"…\"]'")
    return texts


def predictions(
    settings: Settings, texts: list[str], beside: Mapping[str, list[list[str]]], *, explained: bool
) -> list[dict[str, Any]]:
    """The champion's answer for each text, JSON-ready; on stderr which texts were cut.

    Args:
        settings: name the registered model.
        texts: not blank.
        beside: of `texts_beside`.
        explained: whether to tell what each piece of a text spoke for.

    Raises:
        JabertError: there is no champion, or it takes no neighbours.
    """
    import pandas as pd

    from jabert.registry import context_of, cut_of, explain, open_registry, predict

    registry = open_registry(settings)
    model = registry.load_champion()
    if beside and not context_of(model):
        reason = "looks at a text alone; `jabert retrain` with data.context makes one that takes neighbours"
        raise JabertError(f"--before and --after: the champion of {registry.name!r} {reason}")
    asked = pd.DataFrame({"text": texts, **beside})
    predicted, cut = predict(model, asked), cut_of(model, texts)
    answers = zip(texts, predicted["label"], predicted["probabilities"], cut, strict=True)
    rows = [
        {"text": text, "label": label, "probabilities": of, "cut": part} for text, label, of, part in answers
    ]
    for number in [number for number, part in enumerate(cut, 1) if part]:
        say(f"text {number} is longer than the model takes and was cut", error=True)
    if explained:
        for row, pieces in zip(rows, explain(model, asked), strict=True):
            likely = max(row["probabilities"], key=row["probabilities"].get)
            row["explanation"] = {"label": likely, "pieces": [asdict(piece) for piece in pieces]}
    return rows


def print_predictions(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print a line for each text, and below what each of its pieces spoke for, where that was asked for."""
    scored = [{**row, "score": max(row["probabilities"].values())} for row in rows]
    if "explanation" not in rows[0]:
        print_listing(scored, ("text", "label", "score"), "")
        return
    for number, row in enumerate(scored):
        likely = row["explanation"]["label"]
        say(f"\n{row['text']}" if number else row["text"])
        label = likely if row["label"] else f"no label, most likely {likely}"
        say(f"{label}, {row['score']:.4f}; without a piece this is lower by:")
        print_listing([_shown(piece) for piece in row["explanation"]["pieces"]], ("effect", "piece"), "")


def _shown(piece: Mapping[str, Any]) -> dict[str, str]:
    effect = "" if piece["effect"] is None else f"{piece['effect']:+.4f}"
    return {"effect": effect, "piece": piece["text"] + ("" if piece["known"] else " (unknown)")}
