"""The SentencePiece model of a new encoder, with the special pieces of bert-japanese."""

import io
import re
from collections.abc import Iterable
from pathlib import Path

from jabert.config import VocabularySettings
from jabert.encoder.pieces import SentencePiece
from jabert.errors import JabertError
from jabert.files import atomic_path, write_text


def train_sentencepiece(sentences: Iterable[str], settings: VocabularySettings, path: Path) -> None:
    """Train a unigram model with the first ids `<unk> <s> </s> [PAD] [CLS] [SEP] [MASK]`, nmt_nfkc.

    The ids are those of bert-japanese (train-sentencepiece.py). Memory holds at most `sample_sentences`,
    drawn at random.

    Args:
        sentences: lower-cased beforehand, if the encoder is to lower-case its texts.
        settings: size, character_coverage and sample_sentences are used.
        path: the `.model` file to write; pieces and their scores are written to a `.vocab` beside it.

    Raises:
        JabertError: the text does not support so many pieces, or the files cannot be written.
    """
    import sentencepiece

    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=model,
            model_type="unigram",
            vocab_size=settings.size,
            control_symbols=["[PAD]", "[CLS]", "[SEP]", "[MASK]"],  # after <unk> <s> </s>
            normalization_rule_name="nmt_nfkc",
            character_coverage=settings.character_coverage,
            input_sentence_size=settings.sample_sentences,
            shuffle_input_sentence=True,
            minloglevel=3,
        )
    except (RuntimeError, OSError) as error:
        message = " ".join(str(error).split())
        reason = f"SentencePiece cannot be trained on this text: {message}"
        if limit := re.search(r"value <= (\d+)", message):
            reason = f"vocabulary.size = {settings.size}, but the text supports at most {limit[1]} pieces"
        elif "required_chars" in message:
            reason = (
                f"vocabulary.size = {settings.size} is too small for the characters of the text; "
                "raise it, or lower vocabulary.character_coverage"
            )
        raise JabertError(reason) from error
    with atomic_path(path) as temporary:
        temporary.write_bytes(model.getvalue())
        scores = SentencePiece(temporary).scores()
        write_text(path.with_suffix(".vocab"), "".join(f"{piece}\t{score:g}\n" for piece, score in scores))


class Vocabulary(SentencePiece):
    """A SentencePiece model with the special pieces that pretraining needs, `<unk>` first.

    Args:
        path: the `.model` file.
        lower_case: as for `SentencePiece`.

    Raises:
        JabertError: the file is not a SentencePiece model, lacks a special piece, or `<unk>` is not id 0.
    """

    def __init__(self, path: Path, *, lower_case: bool | None) -> None:
        super().__init__(path, lower_case=lower_case)
        self.cls_id, self.sep_id, self.mask_id = map(self._special_id, ("[CLS]", "[SEP]", "[MASK]"))
        if self.unknown_id:
            raise JabertError(
                f"{path}: <unk> has the id {self.unknown_id}; it must be 0, as in bert-japanese"
            )

    def _special_id(self, piece: str) -> int:
        found = self.find(piece)
        if found is None:
            raise JabertError(
                f"{self.path} has no piece {piece}, which pretraining needs; without vocabulary.path "
                "one with it is made"
            )
        return found
