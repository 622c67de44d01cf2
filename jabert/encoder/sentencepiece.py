"""The one place where a SentencePiece model is opened."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jabert.errors import JabertError

_UPPER_CASE_LATIN = re.compile("[A-ZÀ-ÖØ-Þ]")


class SentencePiece:
    """A SentencePiece model, and whether it is given lower-cased text.

    Args:
        path: the `.model` file.
        lower_case: None: if no ordinary piece has an upper-case Latin letter.

    Attributes:
        path: the `.model` file.
        lower_case: whether texts are lower-cased before they are cut into pieces.
        size: number of pieces.
        unknown_id: token id of `<unk>`.

    Raises:
        JabertError: the file is not a SentencePiece model.
    """

    def __init__(self, path: Path, *, lower_case: bool | None = None) -> None:
        import sentencepiece

        try:
            self._processor: Any = sentencepiece.SentencePieceProcessor(model_file=str(path))
        except (RuntimeError, OSError):
            raise JabertError(f"{path} is not a SentencePiece model") from None
        self.path = path
        self.size = int(self._processor.vocab_size())
        self.unknown_id = int(self._processor.unk_id())
        if lower_case is None:
            ordinary = [i for i in self.ordinary_ids() if not self._processor.is_byte(i)]
            lower_case = not any(map(_UPPER_CASE_LATIN.search, map(self._processor.id_to_piece, ordinary)))
        self.lower_case = lower_case

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without special pieces; on all cores."""
        prepared = [self._prepare(text) for text in texts]
        encoded: list[list[int]] = self._processor.encode(prepared, num_threads=os.cpu_count() or 1)
        return encoded

    def pieces(self, text: str) -> list[str]:
        """The pieces of one text, without special pieces."""
        pieces: list[str] = self._processor.encode(self._prepare(text), out_type=str)
        return pieces

    def text(self, ids: npt.NDArray[np.int32]) -> str:
        """The text that token ids (tokens,) stand for; what normalization removed is not in it."""
        decoded: str = self._processor.decode(ids.tolist())
        return decoded

    def find(self, piece: str) -> int | None:
        """Token id of a piece, None if the model lacks it."""
        token_id = int(self._processor.piece_to_id(piece))  # <unk>'s for a piece that it does not know
        return token_id if self._processor.id_to_piece(token_id) == piece else None

    def special_id(self, piece: str) -> int:
        """Token id of a piece that the model must have.

        Raises:
            JabertError: it has not.
        """
        token_id = self.find(piece)
        if token_id is None:
            raise JabertError(f"{self.path} has no piece {piece}")
        return token_id

    def ordinary_ids(self) -> list[int]:
        """Token ids of the pieces that stand for text: neither control symbols nor `<unk>`."""
        is_control, is_unknown = self._processor.is_control, self._processor.is_unknown
        return [i for i in range(self.size) if not (is_control(i) or is_unknown(i))]

    def scores(self) -> list[tuple[str, float]]:
        """Each piece with its log probability, in the order of the token ids."""
        return [(self._processor.id_to_piece(i), self._processor.get_score(i)) for i in range(self.size)]

    def _prepare(self, text: str) -> str:
        return text.lower() if self.lower_case else text
