"""Keys of a retraining: by them it is found whether the same was judged, or left unfinished, before."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from jabert.config import LONG_TEXTS, RENAMED, Settings, decisive
from jabert.encoder import EncoderFolder, case_changed, may_be_long
from jabert.files import digest_of_file, digest_of_json
from jabert.methods import method_of
from jabert.validation import find_suite, rules_digest


def kept_of(texts: Iterable[str], settings: Settings, encoder: EncoderFolder | None) -> list[Any]:
    """What makes token ids other than those of a version without a choice; empty if nothing does.

    What is kept of long texts, where some are long and lose not their ends; and the case that the vocabulary
    wants, where jabert 0.1 took it for another. So a key is that of such a version wherever the result is.
    """
    if encoder is None:
        return []
    keep, kept = settings.data.long_texts, list[Any]()
    if keep != "head" and may_be_long(texts, encoder, settings.encoder):
        kept = [keep, *([settings.data.windows] if keep == "windows" else [])]
    return [*kept, *(["case by words"] if case_changed(encoder, settings.encoder) else [])]


def attempt_key(
    settings: Settings, data_digest: str, encoder: EncoderFolder | None, kept: Sequence[Any] = ()
) -> str:
    """The same for the same data, encoder and settings: a retraining with this key was judged already.

    Args:
        settings: of the run.
        data_digest: of the table.
        encoder: None for a method without.
        kept: of `kept_of`.
    """
    groups = ["data", "validation", "package", "promotion"]
    method = method_of(settings)
    if encoder:
        groups += ["encoder", "features"] if "vectors" in method.needs else ["encoder"]
    read = {**decisive(settings, groups, without=LONG_TEXTS), **method.decides(settings)}
    parts = [read, [*map(rules_digest, _suites(settings))], data_digest, encoder and encoder.fingerprint]
    return digest_of_json(["2", *parts, *([kept] if kept else [])])[:16]


def attempt_key_0_1(
    settings: Settings, data_digest: str, encoder: EncoderFolder | None, kept: Sequence[Any] = ()
) -> str | None:
    """The key that jabert 0.1 gave the same retraining; None if it could not have made it.

    It was a digest of every setting that it had, whatever its value. The names are frozen here, so that what
    0.1 judged, or left unfinished, is found.
    """
    flat = settings.flat()
    names = [f"{group}.{key}" for group, keys in _SETTINGS_0_1.items() for key in keys.split()]
    known = [RENAMED.get(name, name) for name in names]
    groups = {name.partition(".")[0] for name in known}
    if encoder is None or kept or decisive(settings, groups, without=[*LONG_TEXTS, *known]):
        return None
    values = {name: flat[now] for name, now in zip(names, known, strict=True)}
    for name in ("validation.suite", "validation.pieces_suite"):
        values[name] = Path(values[name]).name
    suites = [_FILES_0_1.get(suite) or digest_of_file(find_suite(suite)) for suite in _suites(settings)]
    parts = [digest_of_json(values), suites, data_digest, encoder.fingerprint]
    return digest_of_json(parts)[:16]


_SETTINGS_0_1 = {
    "data": "format sha256 text_column label_column group_column split_column labels split test_share "
    "test_rows validation_share seed strip_topic_tag drop_duplicates",
    "validation": "suite pieces_suite",
    "encoder": "max_tokens pad_to lower_case engine precision token_budget",
    "features": "dtype",
    "classifier": "units dropout",
    "training": "epochs batch_size patience monitor watch averaging shuffle precision seed",
    "package": "max_texts",
    "promotion": "min_gain require_significance",
}
"""Keys of the settings that decided a result in 0.1, by group."""


# 0.1 took the digest of a suite's file; those that came with it were reworded since, their rules were not.
_FILES_0_1 = {
    "labelled_texts": "f10121286d15edb85fd3a2ca862c30bd2f5818949eff62f9ff2cede0b10aea6b",
    "pieces": "1ee6e0916a7c3849f0822f3b08c0be96cd6d6bf422f4f42e05c1b22d2abcdda0",
    "seed": "75268a5268e62e20f476038f4d94ed5e3a6a1cdd99cb6137ae5cb1ea1805aac9",
}


def _suites(settings: Settings) -> list[str]:
    return [settings.validation.suite, settings.validation.pieces_suite]
