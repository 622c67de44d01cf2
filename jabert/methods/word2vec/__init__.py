"""The article's comparison: a Bi-LSTM on word2vec vectors of the encoder's pieces, without its BERT."""

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import Field

from jabert.config import Count, Kind, Location, Settings
from jabert.errors import JabertError
from jabert.methods import Description, Epoch, Export, Fitted, Job, Layer, Need
from jabert.methods.bi_lstm import BiLstm, BiLstmSettings

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from jabert.training.rows import Rows


class Word2VecSettings(BiLstmSettings):
    """The vectors, and the Bi-LSTM on them."""

    kind: str = "word2vec"
    vectors_path: Location | None = Field(None, json_schema_extra={"kind": Kind.LOCATION})
    """file of pretrained vectors of pieces, in word2vec's text or binary format (`.bin`); without it they are
    learned from the training rows and the raw text of `corpus.paths`"""
    size: Count = 200
    """columns of a vector that is learned"""
    window: Count = 5
    """pieces to each side that a piece is learned from"""
    passes: Count = 10
    """over all text"""


class Word2Vec(BiLstm):
    """Vectors are gensim's, skip-gram with negative samples; they are frozen when the Bi-LSTM learns."""

    settings_type = Word2VecSettings
    summary = "a Bi-LSTM on word2vec vectors of the encoder's pieces, the article's comparison"
    cost = "minutes to train on a CPU; serves in a millisecond or two, without BERT"
    needs: tuple[Need, ...] = ("tokens",)

    def decides(self, settings: Settings) -> dict[str, Any]:
        """See `Method.decides`; with digests of the files that vectors come from."""
        from jabert.methods.word2vec.vectors import digest_of_files

        return {**super().decides(settings), **digest_of_files(settings)}

    def fit(self, job: Job, train: "Rows", validation: "Rows", on_epoch: Callable[[Epoch], None]) -> Fitted:
        """See `Method.fit`.

        Raises:
            JabertError: gensim is not installed, or the vectors or the raw text cannot be read.
        """
        import numpy as np

        from jabert.files import atomic_path
        from jabert.methods.word2vec.vectors import make_table

        if not find_spec("gensim"):
            raise JabertError("method.kind=word2vec needs gensim: pip install 'jabert[word2vec]'")
        if cast(Word2VecSettings, job.settings.method).mix:
            raise JabertError(
                "method.mix is true, but the vectors of word2vec have no layers to mix; leave it out"
            )
        path = job.folder / "vectors.npy"
        if not path.exists():
            with atomic_path(path) as temporary:
                np.save(temporary, make_table(job, train), allow_pickle=False)
        table = _table(job)
        fitted = super().fit(job, _looked_up(train, table), _looked_up(validation, table), on_epoch)
        known = int(table.any(axis=1).sum())
        return replace(fitted, metrics={**fitted.metrics, "pieces_with_vectors": known})

    def predict(self, job: Job, rows: "Rows") -> "npt.NDArray[np.float64]":
        """See `Method.predict`."""
        return super().predict(job, _looked_up(rows, _table(job)))

    def export(self, job: Job, target: Path) -> Export:
        """See `Method.export`; what stands in the place of BERT looks vectors up."""
        import numpy as np

        from jabert.methods._frozen import OwnEncoder, export_network
        from jabert.methods.word2vec.vectors import fingerprint, lookup_graph

        assert job.encoder is not None, "the method needs tokens, so there is an encoder"
        table, head = _table(job), self._head(job, np.dtype(np.float32))
        named = fingerprint(table, job.encoder.fingerprint)
        return export_network(head, job, target, OwnEncoder(lookup_graph(table), named, "float32"))

    def describe(self, job: Job, fitted: Fitted) -> Description:
        """See `Method.describe`."""
        own = cast(Word2VecSettings, job.settings.method)
        learned = f"skip-gram of {own.size} columns, window {own.window}, {own.passes} passes"
        described = super().describe(job, fitted)
        return replace(
            described,
            summary="A Bi-LSTM on word2vec vectors of pieces",
            protocol=[
                f"Vectors: {'from a file' if own.vectors_path else 'gensim, ' + learned}.",
                *described.protocol,
            ],
            limits=["A piece has the same vector wherever it stands, and none if no text had it."],
        )

    def _below(self, job: Job) -> tuple[list[Layer], int]:
        pieces, size = _table(job).shape
        vectors = Layer("vectors", "word2vec, frozen", f"(tokens, {size})", pieces * size)
        return [Layer("text", "SentencePiece", "(tokens)", 0), vectors], size


def _table(job: Job) -> "npt.NDArray[np.float32]":
    import numpy as np

    found: npt.NDArray[np.float32] = np.load(job.folder / "vectors.npy", allow_pickle=False)
    return found


def _looked_up(rows: "Rows", table: "npt.NDArray[np.float32]") -> "Rows":
    """The rows with vectors from the table (pieces, columns)."""
    import numpy as np

    from jabert.methods.word2vec.vectors import LookedUp
    from jabert.training.rows import StoredVectors

    assert rows.ids is not None, "the method needs tokens"
    lengths, numbers = rows.ids.lengths, np.arange(len(rows))[:, None]
    vectors = StoredVectors(LookedUp(table, rows.ids), numbers, lengths, np.ones_like(lengths))
    return replace(rows, vectors=vectors)


METHOD = Word2Vec()
