"""Raw Japanese text to an encoder folder: SentencePiece pieces, then masked-LM pretraining of a BERT.

Run it as `jabert pretrain --set corpus.paths=texts/ --set pretraining.out=my-encoder`, as
`python flows/pretrain.py` with the same options, or as a Prefect deployment. The encoder lies in
`pretraining.out` and, as `runs:/<run id>/encoder`, in MLflow; both can be given as `encoder.path`.
"""

from pathlib import Path
from typing import Any

import flows  # noqa: F401  the settings come before Prefect
from flows.flow import flow
from flows.pages import progress, show_markdown, show_table
from flows.retrain import prefect_tags
from flows.stage import stage
from jabert.config import Settings, load_settings
from jabert.pretraining import Pretrained, Vocabulary
from jabert.pretraining import stages as pretraining
from jabert.pretraining.stages import Texts
from jabert.tracking import Run, tracked_run


@flow("pretrain")
def pretrain(recipe: str = "", overrides: list[str] | None = None) -> dict[str, Any]:
    """Make an encoder, or adapt one to other text.

    Args:
        recipe: name of a bundled recipe or path of a TOML file; empty for none.
        overrides: settings as `group.key=value`.
    """
    settings = load_settings(recipe, overrides or [])
    with tracked_run(settings, prefect_tags()) as run:
        with run.stage("read"):
            texts = read(settings, run)
        with texts.work.exclusive():
            pretraining.resume(texts, run)
            with run.stage("vocabulary"):
                pieces = vocabulary(settings, texts)
            with run.stage("tokenize"):
                tokenize(settings, texts, pieces)
            with run.stage("train"):
                trained = train(settings, texts, pieces, run)
            with run.stage("write"):
                out = write(settings, texts, pieces, trained, run)
            texts.work.remove()
        return pretraining.summary(settings, texts, out, trained, run)


@stage("Read raw text")
def read(settings: Settings, run: Run) -> Texts:
    """All of the corpus once, streamed."""
    texts = pretraining.read(settings, run)
    show_table("corpus", vars(texts.facts), flow="pretrain")
    return texts


@stage("Vocabulary")
def vocabulary(settings: Settings, texts: Texts) -> Vocabulary:
    """SentencePiece, trained or taken."""
    return pretraining.vocabulary(settings, texts)


@stage("Cut into pieces")
def tokenize(settings: Settings, texts: Texts, pieces: Vocabulary) -> None:
    """Token ids on disk."""
    pretraining.tokenize(settings, texts, pieces)


@stage("Pretrain", days=30)
def train(settings: Settings, texts: Texts, pieces: Vocabulary, run: Run) -> Pretrained:
    """The training; one that was killed goes on from its last measurement."""
    update, total = progress("progress", flow="pretrain"), settings.pretraining.steps
    trained = pretraining.train(
        settings, texts, pieces, run, on_point=lambda point: update(int(point["step"]), total)
    )
    show_markdown("training", trained.to_markdown(), flow="pretrain")
    return trained


@stage("Write")
def write(settings: Settings, texts: Texts, pieces: Vocabulary, trained: Pretrained, run: Run) -> Path:
    """The encoder folder, here and in MLflow."""
    return pretraining.write(settings, texts, pieces, trained, run)


if __name__ == "__main__":
    import sys

    from jabert.cli import main

    main(["pretrain", *sys.argv[1:]])
