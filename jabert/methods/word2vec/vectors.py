"""Vectors of pieces: learned by gensim or read from a file, as a table by token id."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, cast

import fsspec
import numpy as np
import numpy.typing as npt

from jabert.config import Settings, revealed
from jabert.dataset.raw_text import documents, files_of
from jabert.dataset.sources import reading
from jabert.encoder import TokenIds, Tokenizer
from jabert.encoder.packed import graph, ints
from jabert.errors import JabertError
from jabert.files import digest_of_file, digest_of_json
from jabert.methods import Job
from jabert.methods.word2vec import Word2VecSettings
from jabert.training.rows import Rows

_FEWEST = 2  # occurrences of a piece that gets a vector
_Table = npt.NDArray[np.float32]


@dataclass(frozen=True)
class LookedUp:
    """What stands in the place of a feature store: vectors are looked up by token id.

    Attributes:
        table: (pieces, columns).
        ids: of each text.
    """

    table: _Table
    ids: TokenIds

    @property
    def hidden_size(self) -> int:
        """Columns of a vector."""
        return int(self.table.shape[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the vectors."""
        return self.table.dtype

    def vectors(self, index: int) -> _Table:
        """The vectors (tokens, columns) of one text."""
        return self.table[self.ids[index]]


def make_table(job: Job, rows: Rows) -> _Table:
    """Vectors of all pieces, (pieces, columns), with a standard deviation of 1; 0 where there is none.

    Args:
        job: the encoder's tokenizer is used.
        rows: whose texts are learned from, unless the vectors are in a file.

    Raises:
        JabertError: a file cannot be read, or has no vector of any piece.
    """
    assert job.encoder is not None, "the method needs tokens, so there is an encoder"
    own, tokenizer = cast(Word2VecSettings, job.settings.method), Tokenizer(job.encoder, job.settings.encoder)
    if own.vectors_path:
        names = {name: number for number, name in enumerate(tokenizer.model.names())}
        vectors = _read(Path(own.vectors_path))
    else:
        names = {str(number): number for number in range(tokenizer.size)}
        vectors = _learned(_Sentences(tokenizer, rows.texts, job.settings.corpus.paths), job.settings)
    found = [name for name in vectors.index_to_key if name in names]
    if not found:
        raise JabertError(
            f"method.vectors_path {own.vectors_path} has no piece of {tokenizer.path}; give vectors of its "
            "pieces, or corpus.paths, from which they are learned"
        )
    table = np.zeros((tokenizer.size, vectors.vector_size), dtype=np.float32)
    table[[names[name] for name in found]] = vectors[found] / np.std(vectors[found])
    return table


def _learned(sentences: "_Sentences", settings: Settings) -> Any:
    from gensim.models import Word2Vec

    own = cast(Word2VecSettings, settings.method)
    model = Word2Vec(
        vector_size=own.size,
        window=own.window,
        epochs=own.passes,
        min_count=_FEWEST,
        sg=1,
        seed=settings.training.seed,
        workers=1,  # several finish in any order, and the result depends on it
    )
    model.build_vocab(sentences)
    if not len(model.wv):
        raise JabertError(
            f"word2vec has too little text: no piece stands in it {_FEWEST} times; corpus.paths can name more"
        )
    model.train(sentences, total_examples=model.corpus_count, epochs=model.epochs)
    return model.wv


class _Sentences:
    """Token ids of all texts as strings, anew for each pass."""

    def __init__(self, tokenizer: Tokenizer, texts: Sequence[str], paths: Sequence[str]) -> None:
        self._tokenizer, self._texts, self._paths = tokenizer, texts, paths

    def __iter__(self) -> Iterator[list[str]]:
        for document in chain([self._texts], documents(self._paths) if self._paths else []):
            for ids in self._tokenizer.encode(document):
                yield list(map(str, ids))


def _read(path: Path) -> Any:
    """gensim's vectors from a file in a format of word2vec; none that is read by unpickling."""
    from gensim.models import KeyedVectors

    fault = "has no vectors in word2vec's text or binary format"
    try:
        with path.open("rb") as file:
            if not re.fullmatch(rb"\d+ \d+\r?\n", file.readline(100)):
                raise JabertError(
                    f"method.vectors_path {path} {fault}: its first line is not 'words columns'"
                )
        return KeyedVectors.load_word2vec_format(str(path), binary=path.suffix == ".bin")
    except OSError as error:
        raise JabertError(f"method.vectors_path {path} cannot be read: {error.strerror}") from error
    except (ValueError, EOFError, IndexError) as error:
        raise JabertError(f"method.vectors_path {path} {fault}: {error}") from error


def digest_of_files(settings: Settings) -> dict[str, str]:
    """Digests of the files that vectors come from, by the setting that names them.

    Raises:
        JabertError: a file cannot be read, or both are given.
    """
    own, paths = cast(Word2VecSettings, settings.method), settings.corpus.paths
    if own.vectors_path and paths:
        raise JabertError("method.vectors_path and corpus.paths are both set: leave one out")
    if own.vectors_path:
        with reading(own.vectors_path):
            return {"method.vectors_path": digest_of_file(Path(own.vectors_path))}
    if not paths:
        return {}
    digest = hashlib.sha256()
    for file in files_of(paths):
        with reading(file), fsspec.open(revealed(file), "rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return {"corpus.paths": digest.hexdigest()}


def fingerprint(table: _Table, encoder: str) -> str:
    """What names the vectors, so that no vector of BERT in a feature store is taken for one of these.

    Args:
        table: (pieces, columns).
        encoder: fingerprint of the encoder whose pieces they are.
    """
    return digest_of_json([encoder, hashlib.sha256(table.tobytes()).hexdigest()])


def lookup_graph(table: _Table) -> Any:
    """In the place of `bert_graph`, with its inputs and output: a row of the table for each token."""
    from openvino import opset13 as ops

    shapes = {"tokens": [-1], "positions": [-1], "rows": [-1, -1], "places": [-1]}
    inputs = {name: ops.parameter(shape, np.int32) for name, shape in shapes.items()}
    inputs["mask"] = ops.parameter([-1, 1, 1, -1], np.float32)
    return graph("lookup", inputs, {"vectors": ops.gather(table, inputs["tokens"], ints(0))})
