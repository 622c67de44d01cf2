"""What `jabert validate` does: the data against the suite, without a run."""

from pathlib import Path

from jabert.config import Settings
from jabert.dataset import read_corpus, table_digest
from jabert.files import digest_of_json, exclusive, write_text
from jabert.validation import ValidationReport, check_texts


def validate(settings: Settings) -> tuple[dict[str, int], ValidationReport]:
    """Counts of rows and what the suite found; its pages stay in a folder of `training.work_path`.

    Raises:
        JabertError: the data or the suite cannot be read.
    """
    corpus = read_corpus(settings.data)
    digest = digest_of_json([settings.digest(), table_digest(corpus.table)])
    folder = Path(settings.training.work_path) / f"validation-{digest[:12]}"
    write_text(folder / "config.toml", settings.to_toml())
    with exclusive(folder / "lock", "another process is at the very same pages; waiting for it"):
        return corpus.counts, check_texts(corpus.table, settings, corpus.split_by, folder)
