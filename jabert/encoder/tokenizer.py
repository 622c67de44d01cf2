"""Texts to token ids with the SentencePiece model of an encoder folder."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jabert.config import EncoderSettings
from jabert.encoder.folder import EncoderFolder
from jabert.encoder.ragged import TokenIds
from jabert.encoder.sentencepiece import SentencePiece
from jabert.errors import JabertError

_CHUNK = 50_000  # texts; bounds the memory of the lists that SentencePiece returns


@dataclass(frozen=True)
class TokenizedTexts:
    """Token ids of texts and what tokenization found. All arrays have one entry per text.

    Attributes:
        ids: of each text `[CLS]`, pieces, `[SEP]`.
        pieces: int32, tokens before truncation, `[CLS]` and `[SEP]` included.
        unknown: int32, pieces (before truncation) that are not in the vocabulary.
        truncated: bool, whether the text was truncated.
    """

    ids: TokenIds
    pieces: npt.NDArray[np.int32]
    unknown: npt.NDArray[np.int32]
    truncated: npt.NDArray[np.bool_]


class Tokenizer(SentencePiece):
    """SentencePiece as one encoder uses it: special tokens, lower case, maximum length.

    Args:
        folder: the encoder folder.
        settings: `max_tokens`, `pad_to` and `lower_case` are used. Unset, they are: all positions of the
            encoder; no padding; what `encoder.toml` says, and without that lower case exactly when no
            ordinary piece has an upper-case Latin letter.

    Attributes:
        cls_id: token id of `[CLS]`.
        sep_id: token id of `[SEP]`.
        max_tokens: longest text in tokens, `[CLS]` and `[SEP]` included; longer ones are truncated.
        pad_to: tokens that every text is padded to with id 0, None without padding.

    Raises:
        JabertError: the SentencePiece model cannot be read, lacks `[CLS]` or `[SEP]`, differs in
            size from `bert_config.json`, or a limit is beyond the encoder's positions.

    Example:
        >>> settings = jabert.load_settings("sample")
        >>> tokenizer = jabert.Tokenizer(jabert.open_encoder("jabert-mini"), settings.encoder)
        >>> tokenizer(["京都のお寺。"]).pieces
        array([7], dtype=int32)
    """

    def __init__(self, folder: EncoderFolder, settings: EncoderSettings) -> None:
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
        self.max_tokens = min(limit for limit in (*limits.values(), positions) if limit is not None)
        self.pad_to = settings.pad_to

    def __call__(self, texts: Sequence[str]) -> TokenizedTexts:
        """Tokenize texts on all cores."""
        ids: list[TokenIds] = []
        pieces = np.zeros(len(texts), dtype=np.int32)
        unknown = np.zeros(len(texts), dtype=np.int32)
        for start in range(0, len(texts), _CHUNK):
            framed: list[list[int]] = []
            for row, encoded in enumerate(self.encode(texts[start : start + _CHUNK]), start):
                pieces[row] = len(encoded) + 2
                unknown[row] = encoded.count(self.unknown_id)
                kept = [self.cls_id, *encoded[: self.max_tokens - 2], self.sep_id]
                framed.append(kept + [0] * ((self.pad_to or 0) - len(kept)))
            ids.append(TokenIds.of(framed))
        return TokenizedTexts(TokenIds.joined(ids), pieces, unknown, pieces > self.max_tokens)
