"""Texts to pieces: the one place where a SentencePiece model or another tokenizer is opened."""

import json
import os
import re
import shutil
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from jabert.encoder.case import SPECIAL, Case, case_of
from jabert.encoder.folder import EncoderFolder, parsed
from jabert.errors import JabertError, reason_of, refusing
from jabert.files import write_text

_UPPER_CASE_LATIN = re.compile("[A-ZÀ-ÖØ-Þ]")
_HAN = re.compile("[㐀-䶿一-鿿]")
_OUT_OF_REACH = "\U0010ffff"  # no character: what has it in front is found in no text
_SPECIAL = frozenset(
    ("[CLS]", "[SEP]", "[MASK]", "[PAD]", "<cls>", "<sep>", "<mask>", "<pad>", "<s>", "</s>")
)
_WORDPIECE_LIMIT = 100  # characters of a word; a longer one is unknown
KINDS = {".model": "SentencePiece", ".json": "tokenizers", ".txt": "WordPiece"}
"""Names of tokenizers by the ending of their file."""
_Prepare = Callable[[str], str]


class Pieces(Protocol):
    """A tokenizer without the tokens around a text.

    Attributes:
        path: its file.
        kind: `SentencePiece`, `WordPiece` or another name of its algorithm.
        packages: that the runtime needs for it.
        size: one more than the largest token id.
        unknown_id: token id of pieces that are not in the vocabulary, -1 if there are none.
        lower_case: whether texts are lower-cased before they are cut into pieces.
    """

    path: Path
    kind: str
    packages: tuple[str, ...]
    size: int
    unknown_id: int
    lower_case: bool

    @property
    def case(self) -> Case:
        """What the vocabulary wants."""

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without special pieces; on all cores."""

    def pieces(self, text: str) -> list[str]:
        """The pieces of one text, without special pieces."""

    def text(self, ids: npt.NDArray[np.int32]) -> str:
        """The text that token ids (tokens,) stand for; what normalization removed is not in it."""

    def names(self) -> list[str]:
        """The pieces in the order of their token ids."""

    def find(self, piece: str) -> int | None:
        """Token id of a piece, special ones included; None if there is none."""

    def write(self, folder: Path) -> None:
        """Write the file that the runtime reads."""


class SentencePiece:
    """A SentencePiece model, and whether it is given lower-cased text; `Pieces`.

    Special pieces that a text could spell, as published models have them, are made control symbols.

    Args:
        path: the `.model` file.
        lower_case: None: what the vocabulary wants.
        words: the dictionary with which MeCab cuts texts beforehand, None for none.
        frame: token ids of further special pieces.

    Raises:
        JabertError: the file is not a SentencePiece model, or MeCab is not installed.
    """

    kind = "SentencePiece"

    def __init__(
        self,
        path: Path,
        *,
        lower_case: bool | None = None,
        words: str | None = None,
        frame: Iterable[int] = (),
    ) -> None:
        import sentencepiece

        protobuf: Any = import_module("sentencepiece.sentencepiece_model_pb2")  # which mypy can't read
        self.path, self.packages = path, ("sentencepiece", *packages_of(words))
        model, kinds = protobuf.ModelProto(), protobuf.ModelProto.SentencePiece
        with refusing(f"{path} is not a SentencePiece model"):
            model.ParseFromString(path.read_bytes())
            spelled = self._hide(model, set(frame))
            self._changed = model.SerializeToString() if spelled else None
            if not model.pieces:
                raise ValueError("it has no pieces")
            serialized = self._changed or path.read_bytes()
            self._processor: Any = sentencepiece.SentencePieceProcessor(model_proto=serialized)
        self._ordinary = [each.piece for each in model.pieces if each.type in (kinds.NORMAL, kinds.UNUSED)]
        self._special = [each.piece for each in model.pieces if each.type == kinds.USER_DEFINED] + spelled
        self.lower_case = self.case.lower if lower_case is None else lower_case
        self.size = int(self._processor.vocab_size())
        self.unknown_id = int(self._processor.unk_id())
        self._prepare = preparation(words, lower_case=self.lower_case)

    @cached_property
    def case(self) -> Case:
        """As `Pieces`."""
        return case_of(self._ordinary)

    @property
    def case_before(self) -> bool:
        """What versions up to 0.1 took the vocabulary for, whose special pieces they counted."""
        return not any(map(_UPPER_CASE_LATIN.search, (*self._ordinary, *self._special)))

    @staticmethod
    def _hide(model: Any, frame: set[int]) -> list[str]:
        """Make control symbols of special pieces that a text could spell; returns them."""
        kinds, spelled = type(model).SentencePiece, []
        for number, piece in enumerate(model.pieces):
            if piece.type in (kinds.NORMAL, kinds.USER_DEFINED) and (
                number in frame or piece.piece in _SPECIAL
            ):
                piece.type = kinds.CONTROL
                spelled.append(piece.piece)
        return spelled

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """As `Pieces`."""
        prepared = list(map(self._prepare, texts))
        return list(self._processor.encode(prepared, num_threads=os.cpu_count() or 1))

    def pieces(self, text: str) -> list[str]:
        """As `Pieces`."""
        return list(self._processor.encode(self._prepare(text), out_type=str))

    def text(self, ids: npt.NDArray[np.int32]) -> str:
        """As `Pieces`."""
        return str(self._processor.decode([i for i in ids.tolist() if i < self.size]))

    def names(self) -> list[str]:
        """As `Pieces`."""
        return [name for name, _ in self.scores()]

    def find(self, piece: str) -> int | None:
        """As `Pieces`."""
        token_id = int(self._processor.piece_to_id(piece))  # <unk>'s for a piece that it does not know
        return token_id if self._processor.id_to_piece(token_id) == piece else None

    def write(self, folder: Path) -> None:
        """As `Pieces`: `sentencepiece.model`."""
        target = folder / "sentencepiece.model"
        if self._changed is None:
            shutil.copyfile(self.path, target)
        else:
            target.write_bytes(self._changed)

    def ordinary_ids(self) -> list[int]:
        """Token ids of the pieces that stand for text: neither control symbols nor `<unk>`."""
        is_control, is_unknown = self._processor.is_control, self._processor.is_unknown
        return [i for i in range(self.size) if not (is_control(i) or is_unknown(i))]

    def scores(self) -> list[tuple[str, float]]:
        """Each piece with its log probability, in the order of the token ids."""
        return [(self._processor.id_to_piece(i), self._processor.get_score(i)) for i in range(self.size)]


class JsonTokenizer:
    """A tokenizer of the library tokenizers, which finds no special pieces in a text; `Pieces`.

    Args:
        path: the `tokenizer.json`, or the `vocab.txt` of a WordPiece tokenizer.
        lower_case: None: what the file says, or the vocabulary of one that doesn't.
        words: the dictionary with which MeCab cuts texts beforehand, None for none.

    Raises:
        JabertError: the file is not such a tokenizer, or MeCab is not installed.
    """

    def __init__(self, path: Path, *, lower_case: bool | None = None, words: str | None = None) -> None:
        import tokenizers

        self.path, self.packages = path, ("tokenizers", *packages_of(words))
        if path.name == "vocab.txt":
            content = wordpiece(_lines(path), words=words, path=path)
        else:
            content = parsed(path, json.loads, "JSON")
        with refusing(f"{path} is not a tokenizer that the library tokenizers reads"):
            self._names = _names(content)
            content, lowered = _without_specials(content)
            self._tokenizer = tokenizers.Tokenizer.from_str(json.dumps(content, ensure_ascii=False))
            model = content["model"]
            self.kind = str(model["type"])
            self.size = max(self._names) + 1
            unknown = model.get(
                "unk_id", model["vocab"].get(model.get("unk_token")) if self.kind != "Unigram" else None
            )
            self.unknown_id = -1 if unknown is None else int(unknown)
            self.case = case_of(_ordinary(model))
        if path.name != "vocab.txt":
            self.case = Case(lowered, f"{path.name} says so")
        self.case_before = self.case.lower
        self.lower_case = self.case.lower if lower_case is None else lower_case
        self._prepare = preparation(words, lower_case=self.lower_case)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """As `Pieces`."""
        prepared = list(map(self._prepare, texts))
        found = self._tokenizer.encode_batch_fast(prepared, add_special_tokens=False)
        return [each.ids for each in found]

    def pieces(self, text: str) -> list[str]:
        """As `Pieces`."""
        return list(self._tokenizer.encode(self._prepare(text), add_special_tokens=False).tokens)

    def text(self, ids: npt.NDArray[np.int32]) -> str:
        """As `Pieces`."""
        return str(self._tokenizer.decode(ids.tolist()))

    def names(self) -> list[str]:
        """As `Pieces`; "" for a token id without a piece."""
        return [self._names.get(number, "") for number in range(self.size)]

    def find(self, piece: str) -> int | None:
        """As `Pieces`."""
        return next((number for number, name in self._names.items() if name == piece), None)

    def write(self, folder: Path) -> None:
        """As `Pieces`: `tokenizer.json`."""
        write_text(folder / "tokenizer.json", self._tokenizer.to_str(pretty=False))


def open_pieces(folder: EncoderFolder, lower_case: bool | None) -> SentencePiece | JsonTokenizer:
    """Open the tokenizer of an encoder folder.

    Args:
        folder: the encoder folder.
        lower_case: what `encoder.lower_case` and `encoder.toml` say, None for nothing.

    Raises:
        JabertError: it cannot be read.
    """
    words = folder.settings.get("words")
    if folder.tokenizer.suffix == ".model":
        frame = [folder.settings[name] for name in ("cls_id", "sep_id") if name in folder.settings]
        return SentencePiece(folder.tokenizer, lower_case=lower_case, words=words, frame=frame)
    return JsonTokenizer(folder.tokenizer, lower_case=lower_case, words=words)


def preparation(words: str | None, *, lower_case: bool) -> _Prepare:
    """What is done with a text before it is cut into pieces: MeCab parts its words, then case is lowered."""
    if words is None:
        return str.lower if lower_case else str
    from jabert.runtime.text_classifier import mecab  # as the registered model does it

    part = mecab(words)
    return (lambda text: part(text).lower()) if lower_case else part


def packages_of(words: str | None) -> tuple[str, ...]:
    """Packages that MeCab with a dictionary needs.

    Raises:
        JabertError: one is not installed.
    """
    if words is None:
        return ()
    for package in ("fugashi", words):
        if find_spec(package.replace("-", "_")) is None:
            raise JabertError(
                f"the encoder's words are cut by MeCab with {words}, but the package {package} is not "
                f"installed; pip install fugashi {words}"
            )
    return "fugashi", words


def wordpiece(
    vocabulary: Sequence[str],
    *,
    words: str | None,
    path: Path,
    strip: bool | None = None,
    han_apart: bool = True,
    characters: bool = False,
) -> Any:
    """The content of `tokenizer.json` for a WordPiece vocabulary, with BERT's own rules.

    Args:
        vocabulary: the pieces in the order of their token ids.
        words: as for `JsonTokenizer`; MeCab's words are not parted further.
        path: of the vocabulary, for error messages.
        strip: whether accents and voiced marks are taken off; None: if no piece has one.
        han_apart: whether each Chinese character is a word.
        characters: whether words are cut into characters instead.

    Raises:
        JabertError: the vocabulary has no `[UNK]`, or was made for words of MeCab, and `words` is None.
    """
    import tokenizers

    if "[UNK]" not in vocabulary:
        raise JabertError(f"{path}: a WordPiece vocabulary has one piece a line, among them [UNK]")
    ordinary = [piece.removeprefix("##") for piece in vocabulary if not SPECIAL.fullmatch(piece)]
    if words is None and any(len(_HAN.findall(piece)) > 1 for piece in ordinary):
        raise JabertError(
            f"{path}: this is a WordPiece vocabulary of Japanese words, which MeCab cuts beforehand: name "
            'its dictionary in encoder.toml, words = "ipadic", "unidic-lite" or "unidic", or import the '
            "Hugging Face folder with `jabert encoder import`"
        )
    ids = {piece: number for number, piece in enumerate(vocabulary)}
    models, before = tokenizers.models, tokenizers.pre_tokenizers
    whole = models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=_WORDPIECE_LIMIT)
    tokenizer = tokenizers.Tokenizer(models.WordLevel(ids, unk_token="[UNK]") if characters else whole)
    parts: list[Any] = [before.WhitespaceSplit() if words else before.BertPreTokenizer()]
    if words is None:
        if strip is None:
            strip = case_of(ordinary).lower and not any(map(_is_marked, ordinary))
        tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(
            strip_accents=strip, handle_chinese_chars=han_apart, lowercase=False
        )
    if characters:
        parts.append(before.Split(tokenizers.Regex("."), "isolated"))
    tokenizer.pre_tokenizer = before.Sequence(parts)
    tokenizer.decoder = tokenizers.decoders.WordPiece()
    return json.loads(tokenizer.to_str())


def _is_marked(piece: str) -> bool:
    return any(unicodedata.category(sign) == "Mn" for sign in unicodedata.normalize("NFD", piece))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    except (UnicodeDecodeError, OSError) as error:
        raise JabertError(f"{path}: a WordPiece vocabulary is in UTF-8 ({reason_of(error)})") from None


def _names(content: Any) -> dict[int, str]:
    """The pieces by token id, special ones included."""
    vocabulary = content["model"]["vocab"]
    if isinstance(vocabulary, dict):
        found = {number: piece for piece, number in vocabulary.items()}
    else:
        found = {number: piece for number, (piece, _) in enumerate(vocabulary)}
    return found | {added["id"]: added["content"] for added in content.get("added_tokens") or []}


def _ordinary(model: Any) -> list[str]:
    vocabulary = model["vocab"]
    names = list(vocabulary) if isinstance(vocabulary, dict) else [piece for piece, _ in vocabulary]
    return [name for name in names if not name.startswith(_OUT_OF_REACH)]


def _without_specials(content: Any) -> tuple[Any, bool]:
    """The content of `tokenizer.json` in which no text can spell a special piece, and no case is lowered.

    Returns:
        That, and whether case was lowered.
    """
    model = dict(content["model"])
    special = {added["content"] for added in content.get("added_tokens") or [] if added.get("special")}
    kept = {model.get("unk_token")}
    if isinstance(model["vocab"], dict):
        special |= _SPECIAL
        model["vocab"] = {
            piece: number for piece, number in model["vocab"].items() if piece in kept or piece not in special
        }
    else:
        model["vocab"] = [
            [_OUT_OF_REACH * (piece in special) + piece, score] for piece, score in model["vocab"]
        ]
    rest = dict.fromkeys(("truncation", "padding", "post_processor"))
    normalizer, lowered = _without_lower_case(content.get("normalizer"))
    return {**content, **rest, "added_tokens": [], "normalizer": normalizer, "model": model}, lowered


def _without_lower_case(normalizer: Any) -> tuple[Any, bool]:
    """A normalizer of `tokenizer.json` that does not lower case, and whether it did."""
    if normalizer is None or normalizer["type"] == "Lowercase":
        return None, normalizer is not None
    if normalizer["type"] == "Sequence":
        parts = [_without_lower_case(part) for part in normalizer["normalizers"]]
        kept = [part for part, _ in parts if part is not None]
        return {**normalizer, "normalizers": kept}, any(lowered for _, lowered in parts)
    if normalizer["type"] == "BertNormalizer":
        lowered, strip = normalizer["lowercase"], normalizer["strip_accents"]
        strip = lowered if strip is None else strip
        return {**normalizer, "lowercase": False, "strip_accents": strip}, bool(lowered)
    return normalizer, False
