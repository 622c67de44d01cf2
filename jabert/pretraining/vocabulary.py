"""The SentencePiece model of a new encoder, laid out as bert-japanese's."""

import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jabert.config import VocabularySettings
from jabert.encoder.tokenizer import is_lower_cased
from jabert.errors import JabertError
from jabert.files import atomic_path, write_text

__all__ = ["Vocabulary", "train_sentencepiece"]

_CONTROL = ("[PAD]", "[CLS]", "[SEP]", "[MASK]")  # behind <unk> <s> </s>
_LIMIT = re.compile(r"value <= (\d+)")


def train_sentencepiece(sentences: Iterable[str], settings: VocabularySettings, path: Path) -> None:
    """Train a unigram model with the first ids `<unk> <s> </s> [PAD] [CLS] [SEP] [MASK]`, nmt_nfkc.

    The layout is that of bert-japanese (train-sentencepiece.py). At most `sample_sentences` are held in
    memory, drawn at random.

    Args:
        sentences: lower-cased already, if the encoder is to be.
        settings: size, character_coverage and sample_sentences are used.
        path: of the `.model`; the pieces and their scores go to a `.vocab` beside it.

    Raises:
        JabertError: the text supports fewer pieces, or the files cannot be written.
    """
    import sentencepiece

    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=model,
            model_type="unigram",
            vocab_size=settings.size,
            control_symbols=list(_CONTROL),
            normalization_rule_name="nmt_nfkc",
            character_coverage=settings.character_coverage,
            input_sentence_size=settings.sample_sentences,
            shuffle_input_sentence=True,
            minloglevel=3,
        )
    except (RuntimeError, OSError) as error:
        raise JabertError(_reason(error, settings.size)) from error
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    pieces = ((processor.id_to_piece(i), processor.get_score(i)) for i in range(processor.vocab_size()))
    write_text(path.with_suffix(".vocab"), "".join(f"{piece}\t{score:g}\n" for piece, score in pieces))
    with atomic_path(path) as temporary:
        temporary.write_bytes(model.getvalue())


def _reason(error: Exception, size: int) -> str:
    message = " ".join(str(error).split())
    if limit := _LIMIT.search(message):
        return f"vocabulary.size = {size}, but the text supports at most {limit[1]} pieces"
    if "required_chars" in message:
        return (
            f"vocabulary.size = {size} is too small for the characters of the text; "
            "raise it, or lower vocabulary.character_coverage"
        )
    return f"SentencePiece cannot be trained on this text: {message}"


class Vocabulary:
    """A SentencePiece model as pretraining sees it.

    Args:
        path: of the model.
        lower_case: whether text is lower-cased before it is cut; None: if the model has no piece with an
            upper-case Latin letter.

    Raises:
        JabertError: the file is no SentencePiece model, or lacks a special piece.
    """

    def __init__(self, path: Path, *, lower_case: bool | None) -> None:
        import sentencepiece

        try:
            self._processor: Any = sentencepiece.SentencePieceProcessor(model_file=str(path))
        except (RuntimeError, OSError):
            raise JabertError(f"{path} is not a SentencePiece model") from None
        self.path = path
        self.lower_case = is_lower_cased(self._processor) if lower_case is None else lower_case
        self.size = int(self._processor.vocab_size())
        self.unknown = int(self._processor.unk_id())
        self.cls_id, self.sep_id, self.mask_id = (
            self._special(piece, path) for piece in ("[CLS]", "[SEP]", "[MASK]")
        )
        if self.unknown:
            raise JabertError(f"{path}: <unk> has the id {self.unknown}; it must be 0, as in bert-japanese")

    def encode(self, sentences: list[str]) -> list[list[int]]:
        """Token ids of each sentence, without special pieces."""
        prepared = [sentence.lower() for sentence in sentences] if self.lower_case else sentences
        encoded: list[list[int]] = self._processor.encode(prepared)
        return encoded

    def ordinary(self) -> list[int]:
        """Ids of the pieces that stand for text: neither control symbols nor `<unk>`."""
        is_special = (self._processor.is_control, self._processor.is_unknown)
        return [i for i in range(self.size) if not any(special(i) for special in is_special)]

    def _special(self, piece: str, path: Path) -> int:
        token_id = int(self._processor.piece_to_id(piece))  # never raises: what it lacks becomes <unk>
        if token_id == self._processor.unk_id():
            raise JabertError(f"{path} has no piece {piece}")
        return token_id
