"""The steps of an experiment: read, validate, tokenize, featurize, fit, calibrate, evaluate.

Each takes the settings and the results of steps before it, and leaves its own result in a folder that is
named by a key: a digest of the keys of its inputs, the contents of the files and the settings that it reads,
and the version of its format. The same key means the same result, which is found and not made again. Token
vectors lie in the feature store, each by a key of its own. Steps know neither Prefect nor MLflow.
"""

import hashlib
import logging
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from jabert import markdown
from jabert.config import CONTEXT, LONG_TEXTS, Settings, decisive, settings_with_method
from jabert.dataset import content_digest, read_corpus, table_digest
from jabert.dataset.context import Neighbours, neighbours, require_groups
from jabert.dataset.labels import RIGHT_COLUMN
from jabert.dataset.readers import location_of
from jabert.encoder import (
    EncoderFolder,
    TokenIds,
    TokenizedTexts,
    Tokenizer,
    folder_of,
    longest_row,
    vector_origin,
)
from jabert.errors import JabertError
from jabert.evaluation import Calibration, Context, EvaluationReport
from jabert.evaluation import calibrate as calibrate_predictions
from jabert.evaluation import evaluate as evaluate_predictions
from jabert.evaluation.context import POWER
from jabert.experiments.keys import kept_of
from jabert.experiments.packaging import open_package
from jabert.experiments.store import find_or_make, key_of
from jabert.features import Featurized, Progress, open_store
from jabert.features import featurize as featurize_ids
from jabert.files import digest_of_file
from jabert.methods import Epoch, Fitted, Job, encoder_of, method_of
from jabert.training.rows import Rows, StoredVectors
from jabert.validation import Finding, ValidationReport, check_pieces, check_texts, find_suite

log = logging.getLogger("jabert")

Split = Literal["train", "validation", "test"]

# Raised when the files of a step, or what stands in them for the same inputs, are no longer as before.
_READ, _VALIDATE, _TOKENIZE, _FIT, _CALIBRATE, _EVALUATE = 2, 1, 1, 1, 1, 1


@dataclass(frozen=True)
class Data:
    """The split table of texts.

    Attributes:
        folder: of the result.
        key: of the result.
        digest: of text, label, group and split of all rows, whatever their order.
        rows_digest: the same in the order of the rows.
        texts_digest: of the texts in the order of the rows.
        source: where the texts were read from.
        split_by: `given`, `sentence` or `group`.
        counts: rows read, dropped, kept, and of each split.
        conflicts: the rows of texts under two labels as a Markdown table, "" without any.
        notes: sentences on what was read and what was left out, and why.
        forms: how each table was read: file, encoding, delimiter, quoting and header.
    """

    folder: Path
    key: str
    digest: str
    rows_digest: str
    texts_digest: str
    source: str
    split_by: str
    counts: dict[str, int]
    conflicts: str
    notes: tuple[str, ...] = ()
    forms: tuple[dict[str, Any], ...] = ()

    @cached_property
    def table(self) -> pd.DataFrame:
        """Columns text, label, group (if there are groups), split, file, line."""
        return pd.read_parquet(self.folder / "table.parquet")

    @property
    def form(self) -> dict[str, Any]:
        """Encoding, delimiter, quoting and header of the tables; None where they differ or have none."""
        found = {
            key: {of[key] for of in self.forms} for key in ("encoding", "delimiter", "quoting", "header")
        }
        return {key: values.pop() if len(values) == 1 else None for key, values in found.items()}

    @cached_property
    def labels(self) -> list[str]:
        """The label encoder: class names in the order of their index, those of the training rows."""
        train = self.table["split"] == "train"
        return sorted(self.table.loc[train, "label"].dropna().unique())

    def indistinct(self, tokens: "Tokens") -> list[str]:
        """A sentence for each split with texts whose token ids are those of training texts."""
        rows = list(zip(self.table["split"], (row.tobytes() for row in tokens.tokenized.ids), strict=True))
        learned = {ids for split, ids in rows if split == "train"}
        found = Counter(split for split, ids in rows if split != "train" and ids in learned)
        return [
            f"{count:,} {split} texts have the token ids of a training text; to the encoder they are the same"
            for split, count in sorted(found.items())
        ]


@dataclass(frozen=True)
class Tokens:
    """Token ids of all texts, and what was found on the way.

    Attributes:
        folder: of the result.
        key: of the result.
        texts, pieces, unknown, truncated: counts; pieces with `[CLS]` and `[SEP]`, before texts are cut.
        longest: pieces of the longest text.
        lower_case: whether texts were lower-cased.
        lower_case_because: the reason.
        max_tokens: that the encoder takes at a time.
        doubt_of_case: a sentence if the texts look as if case were treated wrongly.
    """

    folder: Path
    key: str
    texts: int
    pieces: int
    unknown: int
    truncated: int
    longest: int
    lower_case: bool
    max_tokens: int
    lower_case_because: str = "as an earlier version decided"
    doubt_of_case: str | None = None

    @cached_property
    def tokenized(self) -> TokenizedTexts:
        """A row for each text, in the order of the table."""
        table = pq.read_table(self.folder / "tokens.parquet").combine_chunks()
        column = table["ids"].combine_chunks()
        ids = TokenIds(column.values.to_numpy(), column.offsets.to_numpy())
        pieces, unknown = (table[name].to_numpy() for name in ("pieces", "unknown"))
        if "cut" in table.column_names:
            return TokenizedTexts(ids, pieces, unknown, table["cut"].to_numpy())
        return TokenizedTexts(
            ids, pieces, unknown, np.maximum(pieces - self.max_tokens, 0)
        )  # made before it was counted

    @cached_property
    def cut(self) -> int:
        """Pieces that were cut off, of all texts."""
        return int(self.tokenized.cut.sum())

    def beside(self, table: pd.DataFrame) -> pd.DataFrame:
        """The table of texts with the columns pieces, unknown and truncated."""
        found = self.tokenized
        return table.assign(pieces=found.pieces, unknown=found.unknown, truncated=found.truncated)

    def warnings(self) -> list[str]:
        """That texts were cut, or that the other case may suit the encoder better, a sentence each."""
        cut = (
            f"{self.truncated:,} of {self.texts:,} texts are longer than the encoder takes and were cut, "
            f"by {self.cut / max(1, self.pieces):.1%} of all pieces; data.long_texts and data.windows decide "
            "what is kept"
        )
        return [*([cut] if self.truncated else []), *([self.doubt_of_case] if self.doubt_of_case else [])]

    def to_markdown(self) -> str:
        """The counts as a list."""
        lines = [
            f"{self.texts:,} texts, {self.pieces:,} pieces, the longest {self.longest}",
            f"{self.unknown:,} unknown pieces ({self.unknown / max(1, self.pieces):.2%})",
            f"{self.truncated:,} texts cut, by {self.cut:,} pieces ({self.cut / max(1, self.pieces):.2%})",
            f"{'lower-cased' if self.lower_case else 'case kept'}: {self.lower_case_because}",
        ]
        return "\n".join(f"- {line}" for line in lines) + "\n"


@dataclass(frozen=True)
class Fit:
    """A fitted classifier.

    Attributes:
        job: what its method is given, with the folder of its files.
        key: of the result.
        learned_from: splits whose rows it learned from.
        fitted: what the fit did.
        seconds: that it took, in all processes that were at it.
    """

    job: Job
    key: str
    learned_from: list[Split]
    fitted: Fitted
    seconds: float


@dataclass(frozen=True)
class Evaluated:
    """What a classifier made of rows that it did not learn from.

    Attributes:
        measured_on: the split of the rows.
        rows: of the table, with pieces where texts are tokenized.
        probabilities: float64 (rows, classes), of the classifier.
        answers: the same as the package gives them: calibrated, and with the neighbours if it looks at them.
        report: on the answers.
    """

    measured_on: Split
    rows: pd.DataFrame
    probabilities: npt.NDArray[np.float64]
    answers: npt.NDArray[np.float64]
    report: EvaluationReport


def read(settings: Settings) -> Data:
    """Read, clean and split the texts."""
    location = str(location_of(settings.data))
    read = decisive(settings, ["data"], without=[*LONG_TEXTS, CONTEXT])
    key = key_of(_READ, location, content_digest(settings.data), read)
    folder, record = find_or_make(_work(settings), "read", key, lambda folder: _read(settings, folder))
    data = Data(folder, key, **{**record, "notes": tuple(record["notes"]), "forms": tuple(record["forms"])})
    require_groups(data.table, settings.data.context)
    return data


def _read(settings: Settings, folder: Path) -> dict[str, Any]:
    corpus = read_corpus(settings.data)
    corpus.table.to_parquet(folder / "table.parquet")
    in_doubt = corpus.conflicts.to_numpy().tolist()
    columns = [name for name in ("text", "label", "group", "split") if name in corpus.table]
    return {
        "digest": table_digest(corpus.table),
        "rows_digest": digest_in_order(corpus.table[columns]),
        "texts_digest": digest_in_order(corpus.table[["text"]]),
        "source": corpus.source,
        "split_by": corpus.split_by,
        "counts": corpus.counts,
        "conflicts": markdown.table([*map(str, corpus.conflicts)], in_doubt) if in_doubt else "",
        "notes": corpus.notes,
        "forms": [form.facts() for form in corpus.forms],
    }


def digest_in_order(table: pd.DataFrame) -> str:
    """SHA-256 of the rows of a table of texts, in their order, in hexadecimal."""
    digest = hashlib.sha256("\0".join(map(str, table)).encode())
    for row in table.fillna("\1").itertuples(index=False):  # no text has either sign
        digest.update("\0".join(("", *row)).encode())
    return digest.hexdigest()


def validate(settings: Settings, data: Data) -> ValidationReport:
    """Check the table against the suite of expectations; the caller decides what a failure means."""
    suite = find_suite(settings.validation.suite)
    key = key_of(_VALIDATE, data.key, digest_of_file(suite), settings.training.watch)
    return _validated(
        settings, key, suite, lambda folder: check_texts(data.table, settings, data.split_by, folder)
    )


def validate_pieces(settings: Settings, data: Data, tokens: Tokens) -> ValidationReport:
    """Check the pieces of the texts against their suite of expectations."""
    suite = find_suite(settings.validation.pieces_suite)
    key = key_of(_VALIDATE, data.key, tokens.key, digest_of_file(suite))
    return _validated(
        settings, key, suite, lambda folder: check_pieces(tokens.beside(data.table), settings, folder)
    )


def _validated(
    settings: Settings, key: str, suite: Path, check: Callable[[Path], ValidationReport]
) -> ValidationReport:
    def make(folder: Path) -> dict[str, Any]:
        return {**asdict(check(folder)), "suite_file": "", "folder": ""}

    folder, record = find_or_make(_work(settings), "validate", key, make)
    findings = tuple(
        Finding(**{**finding, "examples": tuple(finding["examples"])}) for finding in record["findings"]
    )
    files = {"suite_file": suite, "folder": folder}  # the same suite may lie elsewhere now
    return ValidationReport(**{**record, **files, "findings": findings})


def tokenize(settings: Settings, data: Data) -> Tokens:
    """Turn the texts into token ids."""
    encoder = folder_of(settings.encoder)
    read = decisive(settings, ["encoder.max_tokens", "encoder.pad_to", "encoder.lower_case"])
    kept = kept_of(data.table["text"], settings, encoder)
    key = key_of(_TOKENIZE, data.texts_digest, encoder.fingerprint, read, *([kept] if kept else []))
    folder, record = find_or_make(
        _work(settings), "tokenize", key, lambda folder: _tokenize(settings, data, encoder, folder)
    )
    tokens = Tokens(folder, key, **record)
    case = "lower-cased" if tokens.lower_case else "not lower-cased"
    log.info("texts are %s: %s", case, tokens.lower_case_because)
    return tokens


def _tokenize(settings: Settings, data: Data, encoder: EncoderFolder, folder: Path) -> dict[str, Any]:
    tokenizer = Tokenizer(encoder, settings.encoder, settings.data)
    texts = data.table["text"].tolist()
    found = tokenizer(texts)
    columns = {
        "ids": pa.LargeListArray.from_arrays(found.ids.offsets, pa.array(found.ids.flat)),
        "pieces": found.pieces,
        "unknown": found.unknown,
        "cut": found.cut,
    }
    pq.write_table(pa.table(columns), folder / "tokens.parquet")
    return {
        "texts": len(found.pieces),
        "pieces": int(found.pieces.sum()),
        "unknown": int(found.unknown.sum()),
        "truncated": int(found.truncated.sum()),
        "longest": int(found.pieces.max()),
        "lower_case": tokenizer.lower_case,
        "max_tokens": tokenizer.max_tokens,
        "lower_case_because": tokenizer.lower_case_because,
        "doubt_of_case": tokenizer.doubt_of_case(texts),
    }


def featurize(settings: Settings, tokens: Tokens, on_progress: Progress | None = None) -> Featurized:
    """Fill the feature store with the vectors that it lacks of the texts."""
    return featurize_ids(tokens.tokenized.ids, folder_of(settings.encoder), settings, on_progress)


def fit(
    settings: Settings,
    data: Data,
    tokens: Tokens | None,
    measured_on: Split,
    *,
    on_epoch: Callable[[Epoch], None],
    unfinished: Path | None = None,
) -> Fit:
    """Fit the classifier, or finish what a killed run began.

    A method that chooses on validation rows gets those; any other learns from them too, unless they are what
    it is measured on.

    Args:
        settings: of the run.
        data: the table.
        tokens: None for a method that needs none.
        measured_on: the rows of the coming evaluation.
        on_epoch: called with each epoch, also with those that were found.
        unfinished: where jabert 0.1 left a training with the same settings and rows, if it did.

    Raises:
        JabertError: the training rows have one label only, a row that is learned from has a label that they
            lack, or the feature store lacks vectors.
    """
    if len(data.labels) < 2:
        raise JabertError(
            f"the training rows have one label only, and a classifier needs two; {RIGHT_COLUMN}"
        )
    method = method_of(settings)
    learned_from: list[Split] = ["train"]
    watched: list[Split] = [settings.training.watch] if method.chooses else []
    refit = method.refits and settings.training.watch == "validation" and measured_on == "test"
    if refit or (measured_on == "test" and not method.chooses):
        learned_from.append("validation")
    key = key_of(
        _FIT,
        [method.revision, method.decides(settings)],
        data.rows_digest,
        [learned_from, watched],
        tokens.key if tokens else None,
        _vectors_of(settings) if "vectors" in method.needs else None,
    )
    told: list[Epoch] = []

    def tell(epoch: Epoch) -> None:
        told.append(epoch)
        on_epoch(epoch)

    def job(folder: Path) -> Job:
        return Job(settings, data.labels, encoder_of(settings), folder, refit)

    left = [unfinished] if unfinished and unfinished.is_dir() else []  # taken once: it may be damaged

    def make(folder: Path) -> dict[str, Any]:
        if left and not any(folder.iterdir()):
            shutil.copytree(left.pop(), folder, dirs_exist_ok=True)
        first: list[Split] = ["train"] if method.chooses else learned_from
        train, validation = (rows_of(settings, data, tokens, splits) for splits in (first, watched))
        started = time.perf_counter()
        fitted = method.fit(job(folder), train, validation, tell)
        before = sum(epoch["seconds"] for epoch in fitted.history[: fitted.resumed])
        return {**asdict(fitted), "seconds": time.perf_counter() - started + before}

    folder, record = find_or_make(_work(settings), "fit", key, make, resumes=True)
    seconds = record.pop("seconds", None)
    fitted = Fitted(**record)
    if seconds is None:  # fitted before they were noted
        seconds = sum(epoch["seconds"] for epoch in fitted.history)
    for epoch in fitted.history[len(told) :]:
        on_epoch(epoch)
    return Fit(job(folder), key, learned_from, fitted, seconds)


def _vectors_of(settings: Settings) -> list[Any]:
    """What decides the vectors of given token ids."""
    features = settings.features
    origin = vector_origin(folder_of(settings.encoder), settings.encoder, features.layers)
    return [origin, features.dtype]


def rows_of(settings: Settings, data: Data, tokens: Tokens | None, splits: list[Split]) -> Rows:
    """The rows of some splits, with what the method needs of them."""
    chosen = np.flatnonzero(data.table["split"].isin(splits))
    table = data.table.iloc[chosen]
    classes = pd.Index(data.labels).get_indexer(pd.Index(table["label"])).astype(np.int32)
    if (classes < 0).any():
        row = table[classes < 0].iloc[0]
        raise JabertError(
            f"{row['file']}, line {row['line']}: no training row has the label {row['label']!r}; label more "
            "of it, leave it out, or try another data.seed"
        )
    ids = tokens.tokenized.ids.take(chosen) if tokens else None
    vectors = None
    if ids is not None and "vectors" in method_of(settings).needs:
        encoder = folder_of(settings.encoder)
        store, longest = open_store(encoder, settings), longest_row(encoder, settings.encoder)
        vectors = StoredVectors.find(store, ids, longest)
    return Rows(table["text"].tolist(), classes, groups_of(settings, table), ids, vectors)


def groups_of(settings: Settings, table: pd.DataFrame) -> list[str | None]:
    """Groups that folds keep together: none where the split does not, for folds imitate it."""
    if "group" not in table or settings.data.split == "sentence":
        return []
    return list(table["group"].astype(object).where(table["group"].notna(), None))


def baseline(settings: Settings, data: Data, kind: str, measured_on: Split) -> npt.NDArray[np.float64]:
    """Probabilities (rows, classes) of a split by a method that needs but texts, with its default settings.

    It is fitted as `fit` does it, so a run of that method finds it.
    """
    own = settings_with_method(kind).model_validate({**settings.model_dump(), "method": {}})
    fitted = fit(own, data, None, measured_on, on_epoch=lambda _: None)
    return method_of(own).predict(fitted.job, rows_of(own, data, None, [measured_on]))


def calibrate(settings: Settings, data: Data, tokens: Tokens | None, fitted: Fit) -> Calibration:
    """Fit temperature, context and threshold of a classifier on rows that it did not learn from.

    Where it learned from the validation rows too, and has no out-of-fold probabilities, a second one that is
    fitted on the training rows alone stands in for it: that which an experiment measures on validation rows.
    """
    most, precision = settings.data.context, settings.package.min_precision

    def make(_: Path) -> dict[str, Any]:
        rows, found = _not_learned_from(settings, data, tokens, fitted)
        known = np.flatnonzero(np.isfinite(found).all(axis=1))
        rows, found = rows.iloc[known], found[known]
        true = pd.Index(data.labels).get_indexer(pd.Index(rows["label"]))
        around = _neighbours(rows, most)
        return asdict(calibrate_predictions(true, found, precision, context=most, neighbours=around))

    key = key_of(_CALIBRATE, fitted.key, precision, *([most, data.key, POWER] if most else []))
    _, record = find_or_make(_work(settings), "calibrate", key, make)
    context = record["context"] and Context(**{**record["context"], "bias": tuple(record["context"]["bias"])})
    return Calibration(**{**record, "context": context})


def _not_learned_from(
    settings: Settings, data: Data, tokens: Tokens | None, fitted: Fit
) -> tuple[pd.DataFrame, npt.NDArray[np.float64]]:
    """Rows of the table, and the probabilities (rows, classes) of a classifier that they taught nothing."""
    method, table = method_of(settings), data.table
    if (found := method.out_of_fold(fitted.job)) is not None:
        splits = [settings.training.watch] if method.chooses else fitted.learned_from
        return table.loc[table["split"].isin(splits)], found
    rows = table.loc[table["split"] == "validation"]
    if rows.empty:
        return rows, np.empty((0, len(data.labels)))
    apart = fitted
    if "validation" in fitted.learned_from:
        apart = fit(settings, data, tokens, "validation", on_epoch=lambda _: None)
    return rows, method.predict(apart.job, rows_of(settings, data, tokens, ["validation"]))


def _neighbours(table: pd.DataFrame, most: int) -> Neighbours | None:
    """Before and after each row, None where they are not looked at."""
    if not most:
        return None
    return [[*first, *second] for first, second in zip(*neighbours(table, most), strict=True)]


def evaluate(
    settings: Settings,
    data: Data,
    tokens: Tokens | None,
    fit: Fit,
    measured_on: Split,
    *,
    package: Callable[[], Path],
    calibration: Calibration | None = None,
) -> Evaluated:
    """Classify rows from their texts with the packaged classifier, and compare with their labels.

    Args:
        settings: of the run.
        data: the table.
        tokens: as for `fit`.
        fit: the classifier.
        measured_on: the split whose rows are classified.
        package: makes the package of the classifier and returns its folder; called if it is needed.
        calibration: of the package.
    """
    table = tokens.beside(data.table) if tokens else data.table
    rows = table[table["split"] == measured_on]

    def make(folder: Path) -> dict[str, Any]:
        classifier, texts = open_package(package()), rows["text"].tolist()
        step = classifier.about["max_texts"]  # as whoever pulls the model has to call it
        parts = [classifier.classify(texts[start : start + step]) for start in range(0, len(texts), step)]
        np.save(folder / "probabilities.npy", np.concatenate(parts))
        return {}

    if rows.empty:
        raise JabertError(
            f"there are no {measured_on} rows to evaluate on; raise data.{measured_on}_share, or give more"
        )
    key = key_of(_EVALUATE, fit.key, measured_on, settings.package.max_texts)
    folder, _ = find_or_make(_work(settings), "evaluate", key, make)
    probabilities = np.load(folder / "probabilities.npy", allow_pickle=False)
    applied = calibration or Calibration()
    around = _neighbours(rows, settings.data.context) if applied.context else None
    report = evaluate_predictions(
        rows, probabilities, data.labels, calibration=applied, neighbours=around, seed=settings.data.seed
    )
    return Evaluated(measured_on, rows, probabilities, applied.answers(probabilities, around), report)


def _work(settings: Settings) -> Path:
    return Path(settings.training.work_path)
