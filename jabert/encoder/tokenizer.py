"""Texts to token ids as one encoder wants them: special tokens, prefix, lower case, long texts."""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from jabert.config import DataSettings, EncoderSettings
from jabert.encoder.batching import TokenIds
from jabert.encoder.folder import EncoderFolder
from jabert.encoder.pieces import open_pieces
from jabert.errors import JabertError

_OVERLAP = 8  # a window repeats an eighth of the one before it
_CHUNK = 50_000  # texts; bounds the memory of the lists that a tokenizer returns
_TRIED = 2000  # texts that are cut with the other choice of case
_CLEARLY = 0.5  # at most so many of the unknown pieces would be left
_NOTICED = 0.001  # of all pieces of the texts


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


class Tokenizer:
    """A SentencePiece or other tokenizer as one encoder uses it, and what the encoder gets of a long text.

    Args:
        folder: the encoder folder.
        settings: `max_tokens`, `pad_to` and `lower_case` are used. Unset, they are: all positions of the
            encoder; no padding; what `encoder.toml` says, and without that what the vocabulary wants: lower
            case exactly when no ordinary piece of several Latin letters has an upper-case one.
        data: `long_texts` and `windows` are used; without it long texts lose their ends.

    Attributes:
        model: what cuts texts into pieces.
        path: its file.
        size: one more than the largest token id.
        lower_case: whether texts are lower-cased before they are cut into pieces.
        lower_case_because: the reason.
        unknown_id: token id of `<unk>`.
        cls_id: token id of `[CLS]`.
        sep_id: token id of `[SEP]`.
        prefix_ids: token ids that stand between `[CLS]` and every text.
        max_tokens: of a text, `[CLS]`, prefix and `[SEP]` included; a longer one is cut, or put in windows.
        pad_to: tokens that every text, or window, is padded to with id 0, None without padding.
        long_texts: what is kept of a long text: `head`, `tail`, `head-tail` or `windows`.
        windows: of a text at most.
        overlap: pieces that a window repeats of the one before it.

    Raises:
        JabertError: the tokenizer cannot be read, lacks `[CLS]` or `[SEP]`, has more pieces than
            `bert_config.json` says, or a limit is beyond the encoder's positions.

    Example:
        >>> settings = jabert.load_settings("sample")
        >>> tokenizer = jabert.Tokenizer(jabert.open_encoder("jabert-mini"), settings.encoder)
        >>> tokenizer(["京都のお寺。"]).pieces
        array([7], dtype=int32)
    """

    def __init__(
        self, folder: EncoderFolder, settings: EncoderSettings, data: DataSettings | None = None
    ) -> None:
        said = folder.settings.get("lower_case")
        self._folder, self._is_set = folder, settings.lower_case is not None
        self.model = open_pieces(folder, settings.lower_case if self._is_set else said)
        self.path, self.unknown_id = self.model.path, self.model.unknown_id
        self.lower_case = self.model.lower_case
        if self._is_set:
            self.lower_case_because = "encoder.lower_case says so"
        else:
            self.lower_case_because = self.model.case.because if said is None else "encoder.toml says so"
        if self.model.size > folder.config.vocab_size:
            raise JabertError(
                f"{self.path} has {self.model.size} pieces, but bert_config.json says vocab_size = "
                f"{folder.config.vocab_size}; take the tokenizer that was published with the checkpoint"
            )
        self.cls_id, self.sep_id = self._frame_id("cls_id", "[CLS]"), self._frame_id("sep_id", "[SEP]")
        self.size = max(self.model.size, self.cls_id + 1, self.sep_id + 1)
        prefix = folder.settings.get("prefix", "")
        self.prefix_ids: list[int] = self.encode([prefix])[0] if prefix else []
        positions = folder.config.max_position_embeddings
        limits = {"max_tokens": settings.max_tokens, "pad_to": settings.pad_to}
        for name, limit in limits.items():
            if limit is not None and limit > positions:
                raise JabertError(
                    f"encoder.{name} = {limit}, but {folder.path} has {positions} positions; set "
                    f"{positions} or fewer"
                )
        if settings.pad_to and self.cls_id == 0:
            raise JabertError(
                f"encoder.pad_to pads with the token id 0, with which every text begins in {folder.path}; "
                "leave it unset"
            )
        self.max_tokens = _max_tokens(folder, settings)
        self.pad_to = settings.pad_to
        self._room = self.max_tokens - 2 - len(self.prefix_ids)
        if self._room < 1:
            raise JabertError(
                f"encoder.max_tokens = {self.max_tokens} leaves no room for a text: [CLS], [SEP] and the "
                f"prefix {prefix!r} of {folder.path} are {2 + len(self.prefix_ids)} tokens; set more"
            )
        self.long_texts, self.windows = (data.long_texts, data.windows) if data else ("head", 1)
        self.overlap = self._room // _OVERLAP

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without special pieces and prefix; on all cores."""
        return self.model.encode(texts)

    def pieces(self, text: str) -> list[str]:
        """The pieces of one text, without special pieces and prefix."""
        return self.model.pieces(text)

    def text(self, ids: npt.NDArray[np.int32]) -> str:
        """The text that token ids (tokens,) stand for; what normalization removed is not in it."""
        return self.model.text(ids)

    def find(self, piece: str) -> int | None:
        """Token id of a piece, special ones included; None if there is none."""
        return self.model.find(piece)

    def _frame_id(self, name: str, piece: str) -> int:
        found: int | None = self._folder.settings.get(name, self.find(piece))
        if found is None:
            raise JabertError(
                f"{self.path} has no piece {piece}; if another stands there, give its token id in "
                f"encoder.toml, {name} = …"
            )
        if found >= self._folder.config.vocab_size:
            raise JabertError(
                f"{self._folder.path / 'encoder.toml'}: {name} = {found}, but bert_config.json says "
                f"vocab_size = {self._folder.config.vocab_size}; give an id below that"
            )
        return found

    def __call__(self, texts: Sequence[str]) -> TokenizedTexts:
        """Tokenize texts on all cores."""
        ids: list[TokenIds] = []
        pieces, unknown, cut = np.zeros((3, len(texts)), dtype=np.int32)
        for start in range(0, len(texts), _CHUNK):
            framed: list[list[int]] = []
            for row, encoded in enumerate(self.encode(texts[start : start + _CHUNK]), start):
                windows = self._windows(encoded)
                repeated = (len(windows) - 1) * self.overlap
                pieces[row] = len(encoded) + 2 + len(self.prefix_ids)
                unknown[row] = encoded.count(self.unknown_id)
                cut[row] = len(encoded) + repeated - sum(map(len, windows))
                framed.append([token for window in windows for token in self._framed(window)])
            ids.append(TokenIds.of(framed))
        return TokenizedTexts(TokenIds.joined(ids), pieces, unknown, cut)

    def _windows(self, pieces: list[int]) -> list[list[int]]:
        if len(pieces) <= self._room:
            return [pieces]
        # As the registered model does it. Importing MLflow takes a second, and most texts are short.
        from jabert.runtime.text_classifier import windows_of

        return windows_of(pieces, self._room, self.long_texts, self.windows, self.overlap)

    def _framed(self, pieces: list[int]) -> list[int]:
        ids = [self.cls_id, *self.prefix_ids, *pieces, self.sep_id]
        return ids + [0] * ((self.pad_to or 0) - len(ids))

    def unknown_otherwise(self, texts: Sequence[str]) -> tuple[int, int, int]:
        """Unknown pieces of texts with upper-case letters if case were kept, or lowered, the other way.

        Args:
            texts: of which the first 2,000 with upper-case letters are tried.

        Returns:
            Unknown pieces of these texts with the other choice and as it is, and their pieces as it is.
        """
        tried = [text for text in texts if text != text.lower()][:_TRIED]
        other = open_pieces(self._folder, not self.lower_case)
        found, now = other.encode(tried), self.encode(tried)
        return (
            sum(row.count(other.unknown_id) for row in found),
            sum(row.count(self.unknown_id) for row in now),
            sum(map(len, now)),
        )

    def doubt_of_case(self, texts: Sequence[str]) -> str | None:
        """A sentence if the other choice of case would leave clearly fewer unknown pieces, else None.

        Texts never decide case: it would change as they do. What `encoder.lower_case` says is not doubted.
        """
        if self._is_set:
            return None
        otherwise, now, pieces = self.unknown_otherwise(texts)
        if otherwise > _CLEARLY * now or now - otherwise <= _NOTICED * pieces:
            return None
        is_so, would_be = ("lower-cased", "kept") if self.lower_case else ("kept", "lower-cased")
        return (
            f"case is {is_so} ({self.lower_case_because}), and {now:,} of {pieces:,} pieces of texts with "
            f"upper-case letters are unknown; were it {would_be}, {otherwise:,} would be: if the encoder was "
            f"made so, set encoder.lower_case = {str(not self.lower_case).lower()}"
        )


def longest_row(folder: EncoderFolder, settings: EncoderSettings) -> int:
    """Tokens of the longest row that the encoder is given; a text with more is several rows, its windows."""
    return settings.pad_to or _max_tokens(folder, settings)


def may_be_long(texts: Iterable[str], folder: EncoderFolder, settings: EncoderSettings) -> bool:
    """Whether one of the texts may be longer than the encoder takes, known without tokenization.

    A piece is a character at least, of the text as SentencePiece normalizes it. Before the first it puts one.
    Other tokenizers may take characters apart first.
    """
    room = _max_tokens(folder, settings) - 3 - len(folder.settings.get("prefix", ""))
    form: Literal["NFKC", "NFKD"] = "NFKC" if folder.tokenizer.suffix == ".model" else "NFKD"
    return any(len(unicodedata.normalize(form, text)) > room for text in texts)


def case_changed(folder: EncoderFolder, settings: EncoderSettings) -> bool:
    """Whether the vocabulary decides on case, and otherwise than jabert 0.1 took it to."""
    if settings.lower_case is not None or "lower_case" in folder.settings:
        return False
    model = open_pieces(folder, None)
    return model.case.lower is not model.case_before


def _max_tokens(folder: EncoderFolder, settings: EncoderSettings) -> int:
    limits = (settings.max_tokens, settings.pad_to, folder.config.max_position_embeddings)
    return min(limit for limit in limits if limit is not None)
