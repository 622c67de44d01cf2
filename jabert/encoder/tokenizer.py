"""Texts to token ids with a SentencePiece model; the one place where such a model is opened."""

import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jabert.config import DataSettings, EncoderSettings
from jabert.encoder.batching import TokenIds
from jabert.encoder.folder import EncoderFolder
from jabert.errors import JabertError

_OVERLAP = 8  # a window repeats an eighth of the one before it
_CHUNK = 50_000  # texts; bounds the memory of the lists that SentencePiece returns

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
        prepared = list(map(self._prepare, texts))
        return list(self._processor.encode(prepared, num_threads=os.cpu_count() or 1))

    def pieces(self, text: str) -> list[str]:
        """The pieces of one text, without special pieces."""
        return list(self._processor.encode(self._prepare(text), out_type=str))

    def text(self, ids: npt.NDArray[np.int32]) -> str:
        """The text that token ids (tokens,) stand for; what normalization removed is not in it."""
        return str(self._processor.decode(ids.tolist()))

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


@dataclass(frozen=True)
class TokenizedTexts:
    """Token ids of texts and what tokenization found. All arrays have one entry per text.

    Attributes:
        ids: of each text `[CLS]`, pieces, `[SEP]`; of one in windows that for each, one behind the other.
        pieces: int32, tokens before anything is cut, `[CLS]` and `[SEP]` included once.
        unknown: int32, pieces (before anything is cut) that are not in the vocabulary.
        cut: int32, pieces that are in none of the ids.
    """

    ids: TokenIds
    pieces: npt.NDArray[np.int32]
    unknown: npt.NDArray[np.int32]
    cut: npt.NDArray[np.int32]

    @property
    def truncated(self) -> npt.NDArray[np.bool_]:
        """Whether something of the text was cut, bool."""
        return self.cut > 0


class Tokenizer(SentencePiece):
    """SentencePiece as one encoder uses it: special tokens, lower case, and what it gets of a long text.

    Args:
        folder: the encoder folder.
        settings: `max_tokens`, `pad_to` and `lower_case` are used. Unset, they are: all positions of the
            encoder; no padding; what `encoder.toml` says, and without that lower case exactly when no
            ordinary piece has an upper-case Latin letter.
        data: `long_texts` and `windows` are used; without it long texts lose their ends.

    Attributes:
        cls_id: token id of `[CLS]`.
        sep_id: token id of `[SEP]`.
        max_tokens: of a text, `[CLS]` and `[SEP]` included; a longer one is cut, or put in windows.
        pad_to: tokens that every text, or window, is padded to with id 0, None without padding.
        long_texts: what is kept of a long text: `head`, `tail`, `head-tail` or `windows`.
        windows: of a text at most.
        overlap: pieces that a window repeats of the one before it.

    Raises:
        JabertError: the SentencePiece model cannot be read, lacks `[CLS]` or `[SEP]`, differs in
            size from `bert_config.json`, or a limit is beyond the encoder's positions.

    Example:
        >>> settings = jabert.load_settings("sample")
        >>> tokenizer = jabert.Tokenizer(jabert.open_encoder("jabert-mini"), settings.encoder)
        >>> tokenizer(["京都のお寺。"]).pieces
        array([7], dtype=int32)
    """

    def __init__(
        self, folder: EncoderFolder, settings: EncoderSettings, data: DataSettings | None = None
    ) -> None:
        given = (settings.lower_case, folder.settings.get("lower_case"))
        lower_case = next((answer for answer in given if answer is not None), None)
        super().__init__(folder.sentencepiece, lower_case=lower_case)
        if self.size != folder.config.vocab_size:
            raise JabertError(
                f"{folder.sentencepiece} has {self.size} pieces, "
                f"but bert_config.json says vocab_size = {folder.config.vocab_size}"
            )
        self.cls_id, self.sep_id = self.special_id("[CLS]"), self.special_id("[SEP]")
        positions = folder.config.max_position_embeddings
        limits = {"max_tokens": settings.max_tokens, "pad_to": settings.pad_to}
        for name, limit in limits.items():
            if limit is not None and limit > positions:
                raise JabertError(f"encoder.{name} = {limit}, but {folder.path} has {positions} positions")
        self.max_tokens = _max_tokens(folder, settings)
        self.pad_to = settings.pad_to
        self.long_texts, self.windows = (data.long_texts, data.windows) if data else ("head", 1)
        self.overlap = (self.max_tokens - 2) // _OVERLAP

    def __call__(self, texts: Sequence[str]) -> TokenizedTexts:
        """Tokenize texts on all cores."""
        ids: list[TokenIds] = []
        pieces, unknown, cut = np.zeros((3, len(texts)), dtype=np.int32)
        for start in range(0, len(texts), _CHUNK):
            framed: list[list[int]] = []
            for row, encoded in enumerate(self.encode(texts[start : start + _CHUNK]), start):
                windows = self._windows(encoded)
                repeated = (len(windows) - 1) * self.overlap
                pieces[row] = len(encoded) + 2
                unknown[row] = encoded.count(self.unknown_id)
                cut[row] = len(encoded) + repeated - sum(map(len, windows))
                framed.append([token for window in windows for token in self._framed(window)])
            ids.append(TokenIds.of(framed))
        return TokenizedTexts(TokenIds.joined(ids), pieces, unknown, cut)

    def _windows(self, pieces: list[int]) -> list[list[int]]:
        room = self.max_tokens - 2
        if len(pieces) <= room:
            return [pieces]
        # As the registered model does it. Importing MLflow takes a second, and most texts are short.
        from jabert.runtime.text_classifier import windows_of

        return windows_of(pieces, room, self.long_texts, self.windows, self.overlap)

    def _framed(self, pieces: list[int]) -> list[int]:
        ids = [self.cls_id, *pieces, self.sep_id]
        return ids + [0] * ((self.pad_to or 0) - len(ids))


def longest_row(folder: EncoderFolder, settings: EncoderSettings) -> int:
    """Tokens of the longest row that the encoder is given; a text with more is several rows, its windows."""
    return settings.pad_to or _max_tokens(folder, settings)


def may_be_long(texts: Iterable[str], folder: EncoderFolder, settings: EncoderSettings) -> bool:
    """Whether one of the texts may be longer than the encoder takes, known without tokenization.

    A piece is a character at least, of the text as SentencePiece normalizes it. Before the first it puts one.
    """
    room = _max_tokens(folder, settings) - 3
    return any(len(unicodedata.normalize("NFKC", text)) > room for text in texts)


def _max_tokens(folder: EncoderFolder, settings: EncoderSettings) -> int:
    limits = (settings.max_tokens, settings.pad_to, folder.config.max_position_embeddings)
    return min(limit for limit in limits if limit is not None)
