"""Texts to token ids with the SentencePiece model of an encoder folder."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jabert.config import EncoderSettings
from jabert.encoder.folder import EncoderFolder
from jabert.encoder.ragged import TokenIds
from jabert.errors import JabertError

__all__ = ["TokenizedTexts", "Tokenizer", "is_lower_cased"]

_UPPER_CASE_LATIN = re.compile("[A-ZÀ-ÖØ-Þ]")
_CHUNK = 50_000  # texts; bounds the memory of the lists that SentencePiece returns


@dataclass(frozen=True)
class TokenizedTexts:
    """Token ids of texts, with what was found on the way. All arrays have one entry a text.

    Attributes:
        ids: of each text `[CLS]`, pieces, `[SEP]`.
        pieces: int32, tokens before cutting, `[CLS]` and `[SEP]` included.
        unknown: int32, pieces (before cutting) that are not in the vocabulary.
        truncated: bool, whether the text was cut.
    """

    ids: TokenIds
    pieces: np.ndarray
    unknown: np.ndarray
    truncated: np.ndarray


class Tokenizer:
    """SentencePiece with the habits of one encoder: special tokens, lower case, longest text.

    Args:
        folder: the encoder folder.
        settings: `max_tokens`, `pad_to` and `lower_case` are used. Unset, they are: all positions of the
            encoder; no padding; what `encoder.toml` says, and without that lower case exactly when no
            ordinary piece has an upper-case Latin letter.

    Raises:
        JabertError: the SentencePiece model cannot be read, lacks `[CLS]` or `[SEP]`, differs in
            size from `bert_config.json`, or a limit is beyond the encoder's positions.
    """

    def __init__(self, folder: EncoderFolder, settings: EncoderSettings) -> None:
        self._processor = _load(folder)
        self.lower_case = _lower_case(self._processor, folder, settings)
        self.cls_id = _special(self._processor, "[CLS]", folder)
        self.sep_id = _special(self._processor, "[SEP]", folder)
        positions = folder.config.max_position_embeddings
        limits = {"max_tokens": settings.max_tokens, "pad_to": settings.pad_to}
        for name, limit in limits.items():
            if limit is not None and limit > positions:
                raise JabertError(f"encoder.{name} = {limit}, but {folder.path} has {positions} positions")
        self.max_tokens = min(limit for limit in (*limits.values(), positions) if limit is not None)
        self.pad_to = settings.pad_to

    def pieces(self, text: str) -> list[str]:
        """The pieces of one text, without special tokens."""
        pieces: list[str] = self._processor.encode(self._prepare(text), out_type=str)
        return pieces

    def text(self, ids: np.ndarray) -> str:
        """The text that has these token ids, as far as they tell."""
        decoded: str = self._processor.decode(ids.tolist())
        return decoded

    def __call__(self, texts: Sequence[str]) -> TokenizedTexts:
        """Tokenize texts on all cores."""
        ids: list[TokenIds] = []
        pieces = np.zeros(len(texts), dtype=np.int32)
        unknown = np.zeros(len(texts), dtype=np.int32)
        for start in range(0, len(texts), _CHUNK):
            chunk = [self._prepare(text) for text in texts[start : start + _CHUNK]]
            framed: list[list[int]] = []
            for row, encoded in enumerate(self._encode(chunk), start):
                pieces[row] = len(encoded) + 2
                unknown[row] = encoded.count(self._processor.unk_id())
                framed.append(self._frame(encoded))
            ids.append(TokenIds.of(framed))
        return TokenizedTexts(TokenIds.joined(ids), pieces, unknown, pieces > self.max_tokens)

    def _prepare(self, text: str) -> str:
        return text.lower() if self.lower_case else text

    def _encode(self, texts: list[str]) -> list[list[int]]:
        encoded: list[list[int]] = self._processor.encode(texts, num_threads=os.cpu_count() or 1)
        return encoded

    def _frame(self, encoded: list[int]) -> list[int]:
        kept = [self.cls_id, *encoded[: self.max_tokens - 2], self.sep_id]
        if self.pad_to is not None:
            kept += [0] * (self.pad_to - len(kept))
        return kept


def _load(folder: EncoderFolder) -> Any:
    import sentencepiece

    try:
        processor = sentencepiece.SentencePieceProcessor(model_file=str(folder.sentencepiece))
    except (RuntimeError, OSError):
        raise JabertError(f"{folder.sentencepiece} is not a SentencePiece model") from None
    if processor.vocab_size() != folder.config.vocab_size:
        raise JabertError(
            f"{folder.sentencepiece} has {processor.vocab_size()} pieces, "
            f"but bert_config.json says vocab_size = {folder.config.vocab_size}"
        )
    return processor


def _special(processor: Any, piece: str, folder: EncoderFolder) -> int:
    # piece_to_id never raises: what it does not know becomes <unk>.
    token_id = int(processor.piece_to_id(piece))
    if token_id == processor.unk_id():
        raise JabertError(f"{folder.sentencepiece} has no piece {piece}")
    return token_id


def _lower_case(processor: Any, folder: EncoderFolder, settings: EncoderSettings) -> bool:
    if settings.lower_case is not None:
        return settings.lower_case
    if "lower_case" in folder.settings:
        return bool(folder.settings["lower_case"])
    return is_lower_cased(processor)


def is_lower_cased(processor: Any) -> bool:
    """Whether no ordinary piece of a SentencePiece model has an upper-case Latin letter."""
    ordinary = (
        processor.id_to_piece(i)
        for i in range(processor.vocab_size())
        if not (processor.is_control(i) or processor.is_unknown(i) or processor.is_byte(i))
    )
    return not any(_UPPER_CASE_LATIN.search(piece) for piece in ordinary)
