"""The stages of a pretraining, from raw text to an encoder folder; the flow calls them in order."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from jabert import markdown
from jabert.config import EncoderSettings, PretrainingSettings, Settings, decisive
from jabert.dataset.raw_text import CorpusFacts, documents, examine
from jabert.encoder import EncoderFolder, Tokenizer, open_folder
from jabert.encoder.folder import BertConfig, read_variables
from jabert.errors import DamagedError, JabertError
from jabert.experiments.recording import by_split
from jabert.files import digest_of_file, digest_of_json, set_aside, write_text
from jabert.legacy_keras import gpu_names, import_tensorflow, use_device
from jabert.pretraining.export import check_out, write_encoder
from jabert.pretraining.shards import write_shards
from jabert.pretraining.teacher import Teacher
from jabert.pretraining.training import Point, Pretrained, pretrain
from jabert.pretraining.vocabulary import Vocabulary, train_sentencepiece
from jabert.report import plots
from jabert.tracking import Attempt, Run, with_local_encoder

if TYPE_CHECKING:  # it loads TensorFlow
    from jabert.pretraining.learning import Learner

log = logging.getLogger("jabert")

_FORMAT = 3  # of the working folder; raised when the state of a training changes


@dataclass(frozen=True)
class Texts:
    """The corpus of a pretraining, and the encoders that it starts from.

    Attributes:
        work: folder of the unfinished run.
        facts: size and digest of the corpus.
        start: the encoder that is adapted, None for a new one.
        teacher: the encoder whose vectors are learned, None without one.
        origin: fingerprints of start and teacher by role.
    """

    work: Attempt
    facts: CorpusFacts
    start: EncoderFolder | None
    teacher: EncoderFolder | None
    origin: dict[str, str]

    @property
    def shards(self) -> Path:
        """Folder of the corpus as token ids."""
        return self.work.path / "shards"


def read(settings: Settings, run: Run) -> Texts:
    """Check the settings and read the whole corpus once, so that errors in them show before the training."""
    start, teacher = _encoders(settings)
    facts = examine(settings.corpus.paths)
    given = {"start": start, "teacher": teacher}
    origin = {role: folder.fingerprint for role, folder in given.items() if folder}
    model = settings.vocabulary.path
    pieces = digest_of_file(Path(model)) if model else None
    of_others = {"tracking", "serving", "method", "training"}
    read = decisive(settings, type(settings).model_fields.keys() - of_others)
    name = digest_of_json([_FORMAT, digest_of_json(read), facts.digest, origin, pieces])[:16]
    work = Attempt(Path(settings.training.work_path) / f"pretrain-{name}")
    out = Path(settings.pretraining.out)
    if not _is_written(out, work):
        check_out(out)
    fingerprints = {f"{role}_fingerprint": fingerprint for role, fingerprint in origin.items()}
    run.tags({"job": "pretrain", "data_digest": facts.digest, **fingerprints})
    run.metrics({f"corpus/{name}": count for name, count in vars(facts).items() if isinstance(count, int)})
    return Texts(work, facts, start, teacher, origin)


def _is_written(out: Path, work: Attempt) -> bool:
    """Whether `out` is the encoder of this work: a run wrote it and then failed or was killed."""
    about, writer = out / "encoder.toml", work.path / "writer"  # both name that run
    return about.is_file() and writer.exists() and writer.read_bytes() in about.read_bytes()


def resume(texts: Texts, run: Run) -> None:
    """Resume an earlier run that did not finish the same work: link it, and mark it as killed."""
    before = texts.work.resume(run.id)
    if before is not None:
        run.tags({"resumes": before})
        run.end_killed(before)
        log.info("resuming run %s, which did not finish", before)


def vocabulary(settings: Settings, texts: Texts) -> Vocabulary:
    """The SentencePiece model given, or one trained on the corpus."""
    given = texts.start or texts.teacher
    if given:
        tokenizer = Tokenizer(given, EncoderSettings(lower_case=settings.vocabulary.lower_case))
        return Vocabulary(given.tokenizer, lower_case=tokenizer.lower_case)
    if settings.vocabulary.path:
        return Vocabulary(Path(settings.vocabulary.path), lower_case=settings.vocabulary.lower_case)
    lower_case = settings.vocabulary.lower_case is not False
    path = texts.work.path / "sentencepiece.model"
    if path.exists():
        try:
            return Vocabulary(path, lower_case=lower_case)
        except JabertError as error:  # it was good when it was written
            set_aside(path, str(error))
    sentences = (
        sentence.lower() if lower_case else sentence
        for document in documents(settings.corpus.paths)
        for sentence in document
    )
    train_sentencepiece(sentences, settings.vocabulary, path)
    return Vocabulary(path, lower_case=lower_case)


def tokenize(settings: Settings, texts: Texts, pieces: Vocabulary) -> None:
    """Write the corpus as token ids."""
    write_shards(documents(settings.corpus.paths), pieces, texts.shards, settings.corpus.validation_share)


def train(
    settings: Settings, texts: Texts, pieces: Vocabulary, run: Run, on_point: Callable[[Point], None]
) -> Pretrained:
    """Pretrain, or resume a killed run."""
    device = use_device(settings.encoder.device)
    run.params({"resolved.training_device": device, "resolved.gpu": gpu_names()})

    def report(point: Point) -> None:
        metrics = {name: value for name, value in point.items() if name not in ("step", "batches")}
        run.metrics_once(by_split(metrics), step=int(point["step"]))
        log.info("step %d of %d: loss %.4f", point["step"], settings.pretraining.steps, point["loss"])
        on_point(point)

    def learn() -> Pretrained:
        learner = _learner(settings, texts, pieces)
        return pretrain(learner, pieces, texts.shards, settings.pretraining, folder, on_point=report)

    folder = texts.work.path / "training"
    with import_tensorflow().device(device):
        try:
            trained = learn()
        except DamagedError as error:
            set_aside(folder, str(error))
            trained = learn()
    history = pd.DataFrame(trained.history)
    run.tags({"resumed_measurements": trained.resumed})
    run.text("training/history.csv", history.to_csv(index=False))
    curves = plots.pretraining_curves(history)
    run.file(plots.save(curves, texts.work.path / "pretraining_curves.png"), "training")
    return trained


def write(settings: Settings, texts: Texts, pieces: Vocabulary, trained: Pretrained, run: Run) -> Path:
    """Write the encoder folder with its card, and log it as the run's artifact `encoder`."""
    out = Path(settings.pretraining.out)
    if not _is_written(out, texts.work):
        write_text(texts.work.path / "writer", run.id)
        dtype, origin = np.dtype(settings.pretraining.dtype), f"jabert pretrain, run {run.id}"
        write_encoder(
            out,
            {name: value.astype(dtype) for name, value in trained.weights.items()},
            trained.config,
            pieces.path,
            step=settings.pretraining.steps,
            dropout=settings.pretraining.dropout,
            settings={"lower_case": pieces.lower_case, "licence": settings.corpus.licence, "origin": origin},
            card=_card(settings, texts, trained),
        )
    run.folder(out, "encoder")
    return out


def _card(settings: Settings, texts: Texts, trained: Pretrained) -> str:
    """Markdown for `README.md`: texts, sizes, the last measurement, and a recipe that repeats the run."""
    end = {name: value for name, value in trained.history[-1].items() if name not in ("epoch", "batches")}
    last = {"step": int(end.pop("step"))} | {name: float(value) for name, value in end.items()}
    corpus, sizes, at_the_end, learned_from = (
        [list(pair) for pair in pairs.items()]
        for pairs in (vars(texts.facts), vars(trained.config), last, texts.origin)
    )
    licence = (settings.corpus.licence or "not stated").rstrip(".")
    parts = [
        "# A Japanese BERT encoder, pretrained by jabert",
        f"Licence of the texts: {licence}.",
        markdown.table(["texts", ""], corpus, longest=None),
        markdown.table(["size", ""], sizes),
        markdown.table(["at the end", ""], at_the_end),
        *([markdown.table(["learned from", "fingerprint"], learned_from, None)] if learned_from else []),
        "Made with `jabert pretrain --recipe config.toml`, where `config.toml` is",
        f"```toml\n{settings.to_toml().strip()}\n```\n",
    ]
    return "\n\n".join(parts)


def summary(settings: Settings, texts: Texts, out: Path, trained: Pretrained, run: Run) -> dict[str, Any]:
    """The result of a pretraining, JSON-ready."""
    at_the_end = {name: round(value, 4) for name, value in trained.history[-1].items() if name != "seconds"}
    return {
        "run_id": run.id,
        "encoder": str(out),
        "encoder_path": f"runs:/{run.id}/encoder",
        "fingerprint": open_folder(out).fingerprint,
        "corpus": vars(texts.facts),
        "at_the_end": at_the_end,
        "stages": run.seconds,
        "config_digest": settings.digest(),
    }


def _encoders(settings: Settings) -> tuple[EncoderFolder | None, EncoderFolder | None]:
    """Start and teacher, checked to have the same vocabulary, also as a given `vocabulary.path`."""
    for name in ("pretraining.start", "pretraining.teacher"):
        settings = with_local_encoder(settings, name)
    pretraining, given = settings.pretraining, settings.vocabulary.path
    start = open_folder(pretraining.start, "pretraining.start") if pretraining.start else None
    teacher = open_folder(pretraining.teacher, "pretraining.teacher") if pretraining.teacher else None
    for name, folder in (("pretraining.start", start), ("pretraining.teacher", teacher)):
        if folder and folder.tokenizer.suffix != ".model":
            raise JabertError(
                f"{name} {folder.path} has the tokenizer {folder.tokenizer.name}; pretraining needs an "
                "encoder with a SentencePiece model"
            )
    if given and not Path(given).is_file():
        raise JabertError(f"vocabulary.path: there is no SentencePiece model {given}")
    models = {
        "pretraining.start": start and start.tokenizer,
        "pretraining.teacher": teacher and teacher.tokenizer,
        "vocabulary.path": Path(given) if given else None,
    }
    digests = {name: digest_of_file(path) for name, path in models.items() if path}
    if len(set(digests.values())) > 1:
        first, *_, last = digests
        raise JabertError(
            f"{last} has another SentencePiece model ({models[last]}) than {first} ({models[first]}); "
            "the same token ids would mean different pieces; give encoders that share one"
        )
    _check_sizes(pretraining, start, teacher)
    return start, teacher


def _check_sizes(
    pretraining: PretrainingSettings, start: EncoderFolder | None, teacher: EncoderFolder | None
) -> None:
    positions = {"encoder": start.config.max_position_embeddings if start else pretraining.positions}
    if teacher:
        positions["teacher"] = teacher.config.max_position_embeddings
    for who, longest in positions.items():
        if pretraining.max_tokens > longest:
            raise JabertError(
                f"pretraining.max_tokens = {pretraining.max_tokens}, but the {who} has {longest} positions; "
                f"set {longest} or fewer"
            )
    if not start and pretraining.hidden_size % pretraining.heads:
        raise JabertError(
            f"pretraining.heads = {pretraining.heads} do not divide "
            f"pretraining.hidden_size = {pretraining.hidden_size}"
        )
    if not (pretraining.masked_lm_weight or pretraining.examples == "pairs" or teacher):
        raise JabertError(
            "there is nothing to learn with pretraining.masked_lm_weight = 0, pretraining.examples = "
            f"{pretraining.examples!r} and no pretraining.teacher; set one of them otherwise"
        )


def _learner(settings: Settings, texts: Texts, pieces: Vocabulary) -> "Learner":
    from jabert.pretraining.learning import Learner
    from jabert.pretraining.model import PretrainingModel, head_shapes, initial_weights

    pretraining = settings.pretraining
    config = (
        texts.start.config
        if texts.start
        else BertConfig(
            vocab_size=pieces.size,
            hidden_size=pretraining.hidden_size,
            num_hidden_layers=pretraining.layers,
            num_attention_heads=pretraining.heads,
            intermediate_size=pretraining.intermediate_size,
            max_position_embeddings=pretraining.positions,
        )
    )
    # A GPU's engine pads every batch to its token budget, so the teacher gets the budget of the examples.
    teaching = settings.encoder.model_copy(update={"token_budget": pretraining.token_budget})
    teacher = (
        Teacher(texts.teacher, teaching, texts.shards, pieces, config.hidden_size) if texts.teacher else None
    )
    weights = initial_weights(config, pretraining.seed)
    if texts.start:
        weights |= read_variables(texts.start, optional=head_shapes(config))
    elif teacher:
        weights["bert/embeddings/word_embeddings"] = teacher.start.table
    options = pretraining.model_dump(include={"dropout", "precision", "seed"})
    return Learner(PretrainingModel(weights, config, **options), pretraining, teacher)
